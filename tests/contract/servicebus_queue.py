"""A Service Bus queue in the shape that the contract asks for, on the SDK's receiver.

Receiving is the Functions trigger's job on Azure; nothing but the contract's tests needs this.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.servicebus import (
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError, ServiceBusError

from queues.port import DIRECTORY_EVENTS, ID_CHARACTERS, DeadLetter, Message
from queues.servicebus.queue import ServiceBusQueue
from queues.servicebus.sender import ServiceBusNamespace, ServiceBusSender
from queues.sqlite.queue import LockLost, ReceivedMessage
from tests.contract.counting import Counts, ServiceBusCounter

RECEIVE_SECONDS = 1.0
"""How long to wait for dead letters that exist."""
LOOK_SECONDS = 0.6
"""How long `receive` waits where it is not to wait: the answer takes a round trip."""


@dataclass(eq=False, slots=True)
class _Receiver:
    """The SDK's receivers do not bear concurrent calls."""

    sdk: ServiceBusReceiver
    using: asyncio.Lock = field(default_factory=asyncio.Lock)


def namespace_of(connection_string: str, **patience: Any) -> ServiceBusNamespace:
    """With pauses as short as the stand-in allows."""
    return ServiceBusNamespace(connection_string, retry_seconds=0.05, **patience)


class ReceivingQueue:
    """Sends with `ServiceBusSender`, sees to dead letters with `ServiceBusQueue`, and receives and
    counts with the SDK.

    `prefix` goes before every message id, so that the duplicate detection of a queue that lives
    on knows none of them.
    """

    def __init__(
        self,
        connection_string: str,
        now: Callable[[], float] = time.time,
        *,
        name: str = DIRECTORY_EVENTS,
        prefix: str = "",
    ) -> None:
        namespace = namespace_of(connection_string)
        self.prefix = prefix
        self._name = name
        self._sender = ServiceBusSender(namespace, name, now)
        self._queue = ServiceBusQueue(namespace, name, now, receive_seconds=RECEIVE_SECONDS)
        self._client = ServiceBusClient.from_connection_string(
            connection_string, socket_timeout=0.02, retry_mode="fixed", retry_backoff_factor=0.1
        )
        self._counter = ServiceBusCounter(self._client, name)
        self._receivers: list[_Receiver] = []
        self._held: dict[str, tuple[_Receiver, ServiceBusReceivedMessage]] = {}

    async def send(self, messages: Sequence[Message]) -> None:
        await self._sender.send([self._prefixed(message) for message in messages])

    async def receive(
        self, max_messages: int = 1, wait_seconds: float = 0.0
    ) -> list[ReceivedMessage]:
        if max_messages < 1:
            raise ValueError("max_messages must be at least 1")
        receiver = next((r for r in self._receivers if not r.using.locked()), None)
        if receiver is None:
            receiver = _Receiver(self._client.get_queue_receiver(self._name))
            self._receivers.append(receiver)
        async with receiver.using:
            await receiver.sdk.__aenter__()  # opening takes longer than a look; once, that is
            wait = max(wait_seconds, LOOK_SECONDS)
            messages = await receiver.sdk.receive_messages(max_messages, wait)
            if len(messages) < max_messages:
                # What it asked for and did not get would still come to it. Closing does this, too,
                # but closing takes a second.
                drain: Callable[..., Awaitable[None]] = (
                    receiver.sdk._amqp_transport.drain_and_release_messages_async
                )
                await drain(receiver.sdk._handler)
        return [self._hold(receiver, message) for message in messages]

    async def complete(self, message: ReceivedMessage) -> None:
        receiver, received = self._find(message)
        async with receiver.using:
            with _settling(message):
                await receiver.sdk.complete_message(received)

    async def abandon(self, message: ReceivedMessage) -> None:
        receiver, received = self._find(message)
        async with receiver.using:
            with _settling(message):
                await receiver.sdk.abandon_message(received)

    async def renew(self, message: ReceivedMessage) -> datetime:
        receiver, received = self._find(message)
        async with receiver.using:
            with _settling(message):
                until = await receiver.sdk.renew_message_lock(received)
        return until

    async def dead_letter(
        self, message: ReceivedMessage, reason: str, description: str = ""
    ) -> None:
        receiver, received = self._find(message)
        async with receiver.using:
            with _settling(message):
                await receiver.sdk.dead_letter_message(
                    received, reason=reason, error_description=description
                )

    async def list_dead_letters(self, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        return [
            DeadLetter(
                self._bare(dead.id),
                dead.body,
                dead.sequence_number,
                dead.enqueued_at,
                dead.delivery_count,
                dead.reason,
                dead.description,
            )
            for dead in await self._queue.list_dead_letters(limit, after)
        ]

    async def resubmit(self, ids: Collection[str] | None = None) -> int:
        return await self._queue.resubmit(ids if ids is None else [self.prefix + i for i in ids])

    async def discard(self, sequence_numbers: Collection[int]) -> list[int]:
        return await self._queue.discard(sequence_numbers)

    async def counts(self) -> Counts:
        return await self._counter.counts()

    async def clear(self) -> None:
        """Remove what other tests left; what is locked by nobody who is left takes a minute."""
        for receiver, message in self._held.values():
            with suppress(ServiceBusError, MessageAlreadySettled):
                await receiver.sdk.complete_message(message)
        self._held.clear()
        async with asyncio.timeout(90):
            while await self.counts() != Counts(0, 0, 0):
                await self._cancel_scheduled()
                await self._take_all(None)
                await self._take_all(ServiceBusSubQueue.DEAD_LETTER)

    async def _take_all(self, sub_queue: ServiceBusSubQueue | None) -> None:
        async with self._client.get_queue_receiver(
            self._name,
            sub_queue=sub_queue,
            receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE,
        ) as receiver:
            while await receiver.receive_messages(100, LOOK_SECONDS):
                pass

    async def _cancel_scheduled(self) -> None:
        async with (
            self._client.get_queue_receiver(self._name) as receiver,
            self._client.get_queue_sender(self._name) as sender,
        ):
            for message in await receiver.peek_messages(100, sequence_number=1):
                if message.state == ServiceBusMessageState.SCHEDULED:
                    await sender.cancel_scheduled_messages(message.sequence_number or 0)

    async def close(self) -> None:
        await asyncio.gather(self._sender.close(), self._queue.close(), self._client.close())

    def _prefixed(self, message: Message) -> Message:
        if not 1 <= len(message.id) <= ID_CHARACTERS:
            return message  # is to be refused
        id = (self.prefix + message.id)[:ID_CHARACTERS]
        return Message(id, message.body, message.delay)

    def _bare(self, id: str) -> str:
        return id.removeprefix(self.prefix)

    def _hold(self, receiver: _Receiver, message: ServiceBusReceivedMessage) -> ReceivedMessage:
        token = str(message.lock_token)
        self._held[token] = (receiver, message)
        assert message.message_id is not None
        assert message.sequence_number is not None
        return ReceivedMessage(
            id=self._bare(message.message_id),
            body=b"".join(message.body),
            sequence_number=message.sequence_number,
            enqueued_at=message.enqueued_time_utc or datetime.now(UTC),
            delivery_count=(message.delivery_count or 0) + 1,
            lock_token=token,
            locked_until=message.locked_until_utc or datetime.now(UTC),
        )

    def _find(self, message: ReceivedMessage) -> tuple[_Receiver, ServiceBusReceivedMessage]:
        return self._held[message.lock_token]


@contextmanager
def _settling(message: ReceivedMessage) -> Iterator[None]:
    """Says in the contract's words that a lock was lost."""
    try:
        yield
    except (MessageLockLostError, MessageAlreadySettled) as error:
        raise LockLost(f"{message.id}: {error}") from error
