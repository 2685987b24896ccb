"""The queue port: how a message leaves the process.

Semantics are those of an Azure Service Bus queue with duplicate detection and dead-lettering
(https://learn.microsoft.com/azure/service-bus-messaging/). Receiving is the Functions trigger's
job on Azure; on a laptop `devhost` pumps `queues.sqlite` in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ID_CHARACTERS = 128
BODY_BYTES = 255 * 1024
"""Service Bus Standard takes 256 KB, the message's properties included."""
DIRECTORY_EVENTS = "directory-events"
"""The queue that carries events to the reconciler."""
ACCESS_CHANGES = "access-changes"
"""The topic that tells the application whose access changed."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: ids only, never a person's data.

    `id` is the duplicate-detection key (at most ID_CHARACTERS): a second message of the same id
    inside the detection window is dropped by the queue. `body` is UTF-8 JSON, at most BODY_BYTES.
    `delay` (seconds) schedules it for later.
    """

    id: str
    body: bytes
    delay: float = 0.0


class QueueError(Exception):
    """The queue did not take the messages after bounded retries; none may be assumed sent."""


class QueueSender(Protocol):
    """Sends to one queue or topic. Concurrent sends wait for one another."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Send in order, in as few round trips as the queue allows. Raises QueueError."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...
