"""Messages as Service Bus keeps them: what the sender wrote, and what the service adds.

Source: OASIS AMQP 1.0, part 3 "Messaging"; Azure Service Bus, "AMQP 1.0 protocol guide".
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.emulators.amqp_types import (
    Described,
    Int,
    Long,
    MalformedError,
    Reader,
    Symbol,
    Timestamp,
    Uint,
    encode,
)

BATCH_FORMAT = 0x80013700
"""The message-format of a message whose data sections are messages."""
HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA = range(
    0x70, 0x76
)
VALUE = 0x77
SCHEDULED_ENQUEUE_TIME = "x-opt-scheduled-enqueue-time"
ACTIVE, DEFERRED, SCHEDULED = 0, 1, 2
"""The states of a message, as `x-opt-message-state` has them."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that a client sent. `bare` is what is handed on untouched."""

    id: str
    bare: bytes
    scheduled_for: float | None
    """Seconds since 1970."""


def sections(payload: bytes) -> list[tuple[int, Any, bytes]]:
    """Descriptor, value and bytes of each section. Raises MalformedError."""
    reader = Reader(payload)
    found = []
    while not reader.at_end:
        start = reader.position
        section = reader.read()
        if not isinstance(section, Described):
            raise MalformedError("A message consists of sections.")
        found.append((int(section.descriptor), section.value, reader.slice(start)))
    return found


def read(payload: bytes) -> Incoming:
    """A message as a client sent it. One without an id gets one, so it is nobody's duplicate."""
    id, scheduled_for, bare = uuid4().hex, None, b""
    for kind, value, content in sections(payload):
        if kind >= PROPERTIES:
            bare += content
        if kind == PROPERTIES and value and value[0] is not None:
            id = str(value[0])
        elif kind == MESSAGE_ANNOTATIONS and SCHEDULED_ENQUEUE_TIME in value:
            scheduled_for = value[SCHEDULED_ENQUEUE_TIME] / 1000
    return Incoming(id, bare, scheduled_for)


def read_batch(payload: bytes) -> list[Incoming]:
    """The messages of a batch."""
    return [read(value) for kind, value, _ in sections(payload) if kind == DATA]


def annotate(
    bare: bytes,
    *,
    sequence_number: int,
    deliveries_before: int,
    enqueued_at: float,
    locked_until: float | None,
    state: int = ACTIVE,
    dead_letter_source: str | None = None,
) -> bytes:
    """The message as a receiver gets it. Times are seconds since 1970."""
    annotations: dict[Symbol, Any] = {
        Symbol("x-opt-sequence-number"): Long(sequence_number),
        Symbol("x-opt-enqueue-sequence-number"): Long(sequence_number),
        Symbol("x-opt-enqueued-time"): milliseconds(enqueued_at),
        Symbol("x-opt-message-state"): Int(state),
    }
    if locked_until is not None:
        annotations[Symbol("x-opt-locked-until")] = milliseconds(locked_until)
    if state == SCHEDULED:
        annotations[Symbol(SCHEDULED_ENQUEUE_TIME)] = milliseconds(enqueued_at)
    if dead_letter_source is not None:
        annotations[Symbol("x-opt-deadletter-source")] = dead_letter_source
    header = Described(HEADER, [None, None, None, None, Uint(deliveries_before)])
    return encode(header) + encode(Described(MESSAGE_ANNOTATIONS, annotations)) + bare


def with_reason(bare: bytes, reason: str, description: str) -> bytes:
    """The message as the dead-letter queue has it: the reason is among the application's
    properties."""
    properties: dict[str, Any] = {}
    before, after = b"", b""
    for kind, value, content in sections(bare):
        if kind == APPLICATION_PROPERTIES:
            properties = value
        elif kind == PROPERTIES:
            before += content
        else:
            after += content
    properties |= {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
    return before + encode(Described(APPLICATION_PROPERTIES, properties)) + after


def milliseconds(seconds: float) -> Timestamp:
    """A point in time as AMQP has it."""
    return Timestamp(round(seconds * 1000))
