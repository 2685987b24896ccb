"""Sending to a queue or topic on Azure Service Bus.

Consuming is the Functions trigger's job; the operator's side is `queues.servicebus.queue`
(https://learn.microsoft.com/azure/service-bus-messaging/). The queue must have duplicate detection,
no sessions, and not be partitioned: message ids would be partition keys, and a batch has several.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from azure.core.credentials_async import AsyncTokenCredential
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageBatch,
)
from azure.servicebus import aio as servicebus
from azure.servicebus.exceptions import MessageSizeExceededError

from queues.port import DIRECTORY_EVENTS, Message, MessageRefused, QueueError, check

IDLE_SECONDS = 540.0
"""Idle links are replaced after this: the service detaches a link that was idle for 600 s, and the
send after that takes seconds."""
SEND_SECONDS = 30.0
"""Timeout of one batch with its retries; the relay decides about further attempts."""
TRY_SECONDS = 10.0
RETRIES = 2
RETRY_SECONDS = 0.25
CLOSE_SECONDS = 10.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceBusNamespace:
    """How to connect to a namespace: with a connection string (the development emulator's, or of a
    shared access policy), or else with its host name and a credential, which the caller closes.

    The SDK tries what fails `retries` times more, `retry_seconds` apart, each for `try_seconds`."""

    connection_string: str = field(default="", repr=False)
    host: str = ""
    credential: AsyncTokenCredential | None = None
    try_seconds: float = TRY_SECONDS
    retries: int = RETRIES
    retry_seconds: float = RETRY_SECONDS

    def client(self) -> servicebus.ServiceBusClient:
        """A client that connects when it is first used. Raises ValueError where there is neither a
        connection string, nor a host and a credential."""
        retrying: dict[str, Any] = {
            "retry_mode": "fixed",
            "retry_total": self.retries,
            "retry_backoff_factor": self.retry_seconds,
            "try_timeout": self.try_seconds,
        }
        if self.connection_string:
            return servicebus.ServiceBusClient.from_connection_string(
                self.connection_string, **retrying
            )
        if not self.host or self.credential is None:
            raise ValueError("Service Bus needs a connection string, or a host and a credential.")
        return servicebus.ServiceBusClient(self.host, self.credential, **retrying)


class ServiceBusSender:
    """Sends to one queue or topic through one long-lived link, opened by the first send.

    Opening takes half a second, and so does closing. So the link is kept, it is replaced before the
    service would detach it, and the old one is closed in the background. Sends wait for one
    another: a link does not support concurrent sends. After a failure the next send opens a new
    link. `idle_seconds` is how long a link may be idle before it is replaced.
    """

    def __init__(
        self,
        namespace: ServiceBusNamespace,
        queue: str = DIRECTORY_EVENTS,
        now: Callable[[], float] = time.time,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._namespace = namespace
        self._queue = queue
        self._now = now
        self._idle_seconds = idle_seconds
        self._sending = asyncio.Lock()
        self._link: _Link | None = None
        self._used_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Message]) -> None:
        """Send in order, in as few batches as the service allows. Raises MessageRefused, before
        anything is sent, for a message over the limits, and QueueError where the service did not
        confirm: some may have been sent, and duplicate detection drops them when they are sent
        again."""
        for message in messages:
            check(message)
        if not messages:
            return
        async with self._sending, self._opened() as sender:
            for batch in await self._packed(messages, sender):
                await sender.send_messages(batch, timeout=SEND_SECONDS)

    async def close(self) -> None:
        """Release the connection. A later send opens a new one."""
        async with self._sending:
            self._retire()
            await asyncio.gather(*self._closing)

    async def _packed(
        self, messages: Sequence[Message], sender: servicebus.ServiceBusSender
    ) -> list[ServiceBusMessageBatch]:
        batches = [await sender.create_message_batch()]
        for message in messages:
            outgoing = self._outgoing(message)
            if _fits(batches[-1], outgoing):
                continue
            batches.append(await sender.create_message_batch())
            if not _fits(batches[-1], outgoing):
                raise MessageRefused(
                    f"Message {message.id} with its properties is over the"
                    f" {batches[-1].max_size_in_bytes} bytes that the queue {self._queue} takes."
                )
        return batches

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[servicebus.ServiceBusSender]:
        """The link to send on; after a failed or cancelled send it is given up."""
        # A last use in the future means that the clock was set back: the idle time is unknown.
        if self._link is not None and not 0 <= self._now() - self._used_at < self._idle_seconds:
            self._retire()
        try:
            if self._link is None:
                client = self._namespace.client()
                self._link = _Link(client, client.get_queue_sender(self._queue))
                self._used_at = self._now()
            yield self._link.sender
            self._used_at = self._now()
        except MessageRefused:
            raise
        except Exception as error:  # the SDK lets errors of any kind through
            self._retire()
            raise queue_error(self._queue, error) from error
        except BaseException:
            self._retire()
            raise

    def _retire(self) -> None:
        if self._link is not None:
            task = asyncio.create_task(close_all(self._link.sender, self._link.client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._link = None

    def _outgoing(self, message: Message) -> ServiceBusMessage:
        outgoing = ServiceBusMessage(
            message.body,
            message_id=message.id,
            content_type="application/json",
            application_properties=dict(message.properties.items()) or None,
        )
        if message.delay:
            due = datetime.fromtimestamp(self._now(), UTC) + timedelta(seconds=message.delay)
            outgoing.scheduled_enqueue_time_utc = due
        return outgoing


class _Closable(Protocol):
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Link:
    client: servicebus.ServiceBusClient
    sender: servicebus.ServiceBusSender


def _fits(batch: ServiceBusMessageBatch, message: ServiceBusMessage) -> bool:
    try:
        batch.add_message(message)
    except MessageSizeExceededError:
        return False
    return True


async def close_all(*connected: _Closable) -> None:
    """Close a client and its links. The links must be named: a client does not close those that
    nothing refers to any more."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            for one in connected:
                await one.close()
    except Exception:
        _logger.warning("a connection to Service Bus did not close", exc_info=True)


def queue_error(queue: str, error: Exception) -> QueueError:
    """The QueueError for an error of the SDK, with its text."""
    cause = getattr(error, "inner_exception", None)  # often has the more precise text
    texts = dict.fromkeys(str(one) or type(one).__name__ for one in (error, cause) if one)
    return QueueError(f"Queue {queue} on Service Bus: {' '.join(texts)}")
