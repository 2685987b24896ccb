"""The queue port: how a message leaves the process.

Semantics are those of an Azure Service Bus queue with duplicate detection and dead-lettering
(https://learn.microsoft.com/azure/service-bus-messaging/). Receiving is the Functions trigger's
job on Azure; on a laptop `devhost` pumps `queues.sqlite.queue` in its place.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

ID_CHARACTERS = 128
BODY_BYTES = 255 * 1024
"""Service Bus Standard takes 256 KB, the message's properties included."""
DIRECTORY_EVENTS = "directory-events"
"""The queue that carries events to the reconciler."""
ACCESS_CHANGES = "access-changes"
"""The topic with changes of access, for the application."""
WEBHOOKS = "webhooks"
"""The subscription of the topic that webhooks are sent from."""
WEBHOOK_DELIVERIES = "webhook-deliveries"
"""The queue of deliveries to the application's endpoints."""

REPLAY = ":replay:"
"""Separates the original id from a new ULID in the id of a message that is sent once more:
duplicate detection may still know the original id."""

type Properties = Mapping[str, str | bool]
NO_PROPERTIES: Properties = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send: ids only, never personal data.

    `id` is the duplicate-detection key (at most ID_CHARACTERS): a second message of the same id
    inside the detection window is dropped by the queue. `body` is UTF-8 JSON, at most BODY_BYTES.
    `delay` (seconds) schedules it for later. `properties` are for the filters of a topic's
    subscriptions; body and properties together have at most BODY_BYTES.
    """

    id: str
    body: bytes
    delay: float = 0.0
    properties: Properties = NO_PROPERTIES


class QueueError(Exception):
    """The queue did not take the messages after bounded retries; none may be assumed sent."""


class MessageRefused(QueueError, ValueError):
    """A message that Service Bus would never take."""


def check(message: Message) -> None:
    """Raises MessageRefused for a message over the limits."""
    if not 1 <= len(message.id) <= ID_CHARACTERS:
        raise MessageRefused(f"A message id has 1 to {ID_CHARACTERS} characters.")
    if len(message.body) > BODY_BYTES:
        raise MessageRefused(f"Message {message.id} is over {BODY_BYTES} bytes.")
    if message.delay < 0:
        raise MessageRefused(f"Message {message.id} has a negative delay.")


class QueueSender(Protocol):
    """Sends to one queue or topic. Concurrent sends wait for one another."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Send in order, in as few round trips as the queue allows. Raises QueueError."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter queue; `sequence_number` is the one that it has there."""

    id: str
    body: bytes
    sequence_number: int
    enqueued_at: datetime
    delivery_count: int
    reason: str
    description: str


class DeadLetterQueue(Protocol):
    """The operator's view of the messages that could not be delivered. One call at a time; every
    method raises QueueError."""

    async def list_dead_letters(self, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """Dead letters with sequence numbers above `after`, in their order."""
        ...

    async def resubmit(self, ids: Collection[str] | None = None) -> int:
        """Send the dead letters with these message ids (None: all of them) once more, as new
        messages; returns how many."""
        ...

    async def discard(self, sequence_numbers: Collection[int]) -> list[int]:
        """Remove the dead letters with these sequence numbers for good; returns the numbers of
        those removed. Dead letters that another receiver has locked stay."""
        ...
