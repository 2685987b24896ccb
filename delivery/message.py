"""The messages of the queue `webhook-deliveries`: ids only. The body for an endpoint is read from
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
"""The largest body that Standard Webhooks recommends. Longer changes come without the grants."""
EVERYBODY = "all"
SENT_AT_ONCE = 100
"""Messages in one send to the queue."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Send the content of a document to an endpoint, or, without `endpoint`, find all endpoints
    that get it.

    `attempt` counts from 1. `turn` counts how often the message was put off without an attempt;
    `run` is a ULID where a person asked to send it again.
    """

    partition: str
    document: str
    endpoint: str = ""
    attempt: int = 1
    turn: int = 0
    run: str = ""

    def message(self, delay: float = 0.0) -> Message:
        """The message for the queue, after `delay` seconds. Its id is the same however often it is
        made, so that nothing is doubled if the process dies after sending it and before completing
        the message that led to it."""
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
        """The first attempt for one endpoint."""
        return replace(self, endpoint=endpoint.endpoint_id, attempt=1, turn=0)

    def next_attempt(self) -> "Delivery":
        """The attempt after this one."""
        return replace(self, attempt=self.attempt + 1, turn=0)

    def next_turn(self) -> "Delivery":
        """The same attempt, put off."""
        return replace(self, turn=self.turn + 1)

    @property
    def kind(self) -> str:
        """The message type, if the document's id shows it; empty for a notice."""
        return ACCESS_CHANGED if self.document.startswith("change:") else ""


@dataclass(frozen=True, slots=True)
class Told:
    """The content for an endpoint: message id, type and body."""

    message_id: str
    kind: str
    body: bytes


def told_by(document: Document) -> Told:
    """The content of a stored AccessChange or Notice. Raises Unreadable."""
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
    """The delivery of a notice to all endpoints that get it."""
    return Delivery(notice.tenant_id, notice_document_id(notice.notice_id))
