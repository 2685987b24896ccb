"""The messages of the queue `webhook-deliveries`: ids only. What an endpoint is sent is read from
the store at each attempt."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import orjson

from delivery.endpoints import ACCESS_CHANGED, Endpoint
from directory.access import AccessChange
from directory.notices import Notice, notice_document_id
from directory.store import Document
from queues.port import Message
from reconciler.publishing import told_of

BODY_BYTES = 20_000
"""What Standard Webhooks advises to stay below. Longer changes come without the grants."""
EVERYBODY = "all"
SENT_AT_ONCE = 100
"""Messages in one send to the queue."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Send what a document says to an endpoint, or, where none is named, find out to which ones.

    `attempt` is 1 at first. `turn` counts the messages that were put off without an attempt;
    `run` is a ULID where a person asked for it to be sent again.
    """

    partition: str
    document: str
    endpoint: str = ""
    attempt: int = 1
    turn: int = 0
    run: str = ""

    def message(self, delay: float = 0.0) -> Message:
        """For the queue, in so many seconds. Its id is the same however often it is made, so that
        a death between sending it and completing the one before doubles nothing."""
        where = self.endpoint or EVERYBODY
        id = f"{self.document}:{where}:{self.attempt}.{self.turn}:{self.run}"
        body = {
            "partition": self.partition,
            "document": self.document,
            "endpoint": self.endpoint,
            "attempt": self.attempt,
            "turn": self.turn,
            "run": self.run,
        }
        return Message(id, orjson.dumps(body), delay)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read back what `message` wrote. Raises ValueError for anything else."""
        content = orjson.loads(body)
        if not isinstance(content, dict):
            raise ValueError("The message is not a JSON object.")
        texts = [content.get(name) for name in ("partition", "document", "endpoint", "run")]
        numbers = [content.get(name) for name in ("attempt", "turn")]
        partition, document, endpoint, run = texts
        attempt, turn = numbers
        if not (isinstance(partition, str) and partition and isinstance(document, str)):
            raise ValueError("The message needs the strings partition and document.")
        if not (isinstance(endpoint, str) and isinstance(run, str)):
            raise ValueError("The message needs the strings endpoint and run.")
        if not (isinstance(attempt, int) and isinstance(turn, int)):
            raise ValueError("The message needs the numbers attempt and turn.")
        return cls(partition, document, endpoint, attempt, turn, run)

    def to(self, endpoint: Endpoint) -> "Delivery":
        """The same for one endpoint, from the first attempt."""
        return replace(self, endpoint=endpoint.endpoint_id, attempt=1, turn=0)

    def next_attempt(self) -> "Delivery":
        """The one after this."""
        return replace(self, attempt=self.attempt + 1, turn=0)

    def next_turn(self) -> "Delivery":
        """The same, later."""
        return replace(self, turn=self.turn + 1)

    @property
    def kind(self) -> str:
        """The type where the document's id says it; empty for a notice."""
        return ACCESS_CHANGED if self.document.startswith("change:") else ""


@dataclass(frozen=True, slots=True)
class Told:
    """What an endpoint is told."""

    message_id: str
    kind: str
    body: bytes


def told_by(document: Document) -> Told:
    """What a stored AccessChange or Notice says. Raises Unreadable."""
    if document["type"] == Notice.document_type:
        notice = Notice.from_document(document)
        return Told(notice.notice_id, notice.kind, _body(notice.kind, notice.at, notice.details))
    change = AccessChange.from_document(document)
    body = _body(ACCESS_CHANGED, change.at, told_of(change))
    if len(body) > BODY_BYTES:
        body = _body(ACCESS_CHANGED, change.at, told_of(change, complete=False))
    return Told(change.change_id, ACCESS_CHANGED, body)


def _body(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    timestamp = at.isoformat().replace("+00:00", "Z")
    return orjson.dumps({"type": kind, "timestamp": timestamp, "data": data})


def of_notice(notice: Notice) -> Delivery:
    """What sends a notice to whoever wants it."""
    return Delivery(notice.tenant_id, notice_document_id(notice.notice_id))
