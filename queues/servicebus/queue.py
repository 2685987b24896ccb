"""The operator's side of a queue on Azure Service Bus: list dead letters, resubmit or discard them
(https://learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from azure.servicebus import ServiceBusReceivedMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.exceptions import MessageLockLostError

from directory.ulids import new_ulid
from queues.port import (
    DIRECTORY_EVENTS,
    ID_CHARACTERS,
    REPLAY,
    DeadLetter,
    Message,
    QueueError,
)
from queues.servicebus.sender import (
    ServiceBusNamespace,
    ServiceBusSender,
    close_all,
    queue_error,
)

PAGE_MESSAGES = 250
"""How many messages are browsed or received at a time."""
RECEIVE_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class ServiceBusQueue:
    """The operator's side of one queue (`queues.port.DeadLetterQueue`).

    A context manager; one call at a time. Every method raises QueueError. `receive_seconds` is how
    long to wait for dead letters that exist.
    """

    def __init__(
        self,
        namespace: ServiceBusNamespace,
        queue: str = DIRECTORY_EVENTS,
        now: Callable[[], float] = time.time,
        *,
        receive_seconds: float = RECEIVE_SECONDS,
    ) -> None:
        self._queue = queue
        self._receive_seconds = receive_seconds
        self._sender = ServiceBusSender(namespace, queue, now)
        self._client = namespace.client()
        self._dead_letters = self._dead_letter_receiver()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def list_dead_letters(self, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """See DeadLetterQueue. Service Bus does not say when a message was dead-lettered."""
        messages = self._browse(after, limit)
        return [_dead_letter(message) async for message in messages]

    async def resubmit(self, ids: Collection[str] | None = None) -> int:
        """Send the dead letters with these message ids (None: all that are there now) once more;
        returns how many. They get new ids, `<id>:replay:<ulid>`, because duplicate detection may
        still know the old ones. A dead letter that was sent but could not be removed stays."""
        wanted = None if ids is None else set(ids)
        chosen: set[int] = set()
        async for message in self._browse():
            if wanted is None or message.message_id in wanted:
                chosen.add(message.sequence_number or 0)
        return len(await self._take(chosen, self._send_again))

    async def discard(self, sequence_numbers: Collection[int]) -> list[int]:
        """See DeadLetterQueue."""

        async def nothing(_: Sequence[ServiceBusReceivedMessage]) -> None:
            """Discarded messages are only completed."""

        return await self._take(sequence_numbers, nothing)

    async def close(self) -> None:
        """Release the connections."""
        receivers = close_all(self._dead_letters, self._client)
        await asyncio.gather(self._sender.close(), receivers)

    def _dead_letter_receiver(self) -> ServiceBusReceiver:
        return self._client.get_queue_receiver(
            self._queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER
        )

    async def _browse(
        self, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[ServiceBusReceivedMessage]:
        found = 0
        while limit is None or found < limit:
            count = PAGE_MESSAGES if limit is None else min(PAGE_MESSAGES, limit - found)
            async with self._errors():
                page = await self._dead_letters.peek_messages(count, sequence_number=after + 1)
            if not page:
                return
            for message in page:
                yield message
            found += len(page)
            after = page[-1].sequence_number or 0

    async def _send_again(self, messages: Sequence[ServiceBusReceivedMessage]) -> None:
        await self._sender.send([_replay(message) for message in messages])

    async def _take(
        self,
        sequence_numbers: Collection[int],
        before: Callable[[Sequence[ServiceBusReceivedMessage]], Awaitable[None]],
    ) -> list[int]:
        """Remove the dead letters with these sequence numbers, after `before` has handled them,
        and except those that another receiver has locked; returns the numbers of those removed."""
        if not sequence_numbers:
            return []
        async with self._errors(), self._dead_letter_receiver() as receiver:
            return await self._take_from(receiver, set(sequence_numbers), before)

    async def _take_from(
        self,
        receiver: ServiceBusReceiver,
        chosen: set[int],
        before: Callable[[Sequence[ServiceBusReceivedMessage]], Awaitable[None]],
    ) -> list[int]:
        """Dead letters come in the queue's order, so those before a chosen one stay locked until
        the end. One that comes twice means that locks expire: the rest is left to the next call."""
        taken: list[int] = []
        seen = set[int]()
        held: dict[int, ServiceBusReceivedMessage] = {}
        try:
            while chosen:
                messages = await receiver.receive_messages(PAGE_MESSAGES, self._receive_seconds)
                received = {message.sequence_number or 0: message for message in messages}
                held |= received
                now = [number for number in received if number in chosen]
                await before([received[number] for number in now])
                for number in now:
                    await receiver.complete_message(held.pop(number))
                    taken.append(number)
                chosen.difference_update(now)
                if not messages or not seen.isdisjoint(received):
                    _logger.warning("%d dead letters are gone or held by others", len(chosen))
                    break
                seen.update(received)
        finally:
            for message in held.values():
                with suppress(MessageLockLostError):  # then it is unlocked already
                    await receiver.abandon_message(message)
        return taken

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except QueueError:
            raise
        except Exception as error:  # the SDK lets errors of any kind through
            raise queue_error(self._queue, error) from error


def _dead_letter(message: ServiceBusReceivedMessage) -> DeadLetter:
    return DeadLetter(
        id=message.message_id or "",
        body=_body(message),
        sequence_number=message.sequence_number or 0,
        enqueued_at=message.enqueued_time_utc or datetime.fromtimestamp(0, UTC),
        delivery_count=message.delivery_count or 0,
        reason=message.dead_letter_reason or "",
        description=message.dead_letter_error_description or "",
    )


def _replay(message: ServiceBusReceivedMessage) -> Message:
    suffix = f"{REPLAY}{new_ulid()}"
    original = (message.message_id or "").partition(REPLAY)[0]
    return Message(original[: ID_CHARACTERS - len(suffix)] + suffix, _body(message))


def _body(message: ServiceBusReceivedMessage) -> bytes:
    return b"".join(message.body)
