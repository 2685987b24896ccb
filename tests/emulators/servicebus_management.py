"""Requests to `$cbs` and to `<entity>/$management`.

Source: Azure Service Bus, "AMQP 1.0 in Azure Service Bus: request-response-based operations", and
"AMQP 1.0 protocol guide" for claims-based security. What is not known here is refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from queues.port import Message
from queues.sqlite.queue import LockLost, ReceivedMessage
from tests.emulators.amqp_types import Array, Described, Int, Long, Symbol, encode
from tests.emulators.servicebus_entity import Entity
from tests.emulators.servicebus_message import (
    APPLICATION_PROPERTIES,
    PROPERTIES,
    VALUE,
    Incoming,
    annotate,
    milliseconds,
    read,
    sections,
)

LOCK_LOST = "com.microsoft:message-lock-lost"
_VENDOR = "com.microsoft:"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for; `body` is a map, or the token at `$cbs`."""

    id: Any
    properties: dict[str, Any]
    body: Any

    @property
    def operation(self) -> str:
        """Its name, without the vendor's prefix."""
        return str(self.properties.get("operation", "")).removeprefix(_VENDOR)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer; `body` is a map."""

    status: int
    description: str = "OK"
    body: dict[str, Any] | None = None
    condition: str | None = None


def read_request(payload: bytes) -> Request:
    """Raises MalformedError."""
    id, properties, body = None, {}, None
    for kind, value, _ in sections(payload):
        if kind == PROPERTIES and value:
            id = value[0]
        elif kind == APPLICATION_PROPERTIES:
            properties = value
        elif kind == VALUE:
            body = value
    return Request(id, properties, body)


def write_reply(request: Request, reply: Reply, *, cbs: bool) -> bytes:
    """`$cbs` spells its fields in another way than `$management` does."""
    status, description = "statusCode", "statusDescription"
    if cbs:
        status, description = "status-code", "status-description"
    properties: dict[str, Any] = {status: Int(reply.status), description: reply.description}
    if reply.condition is not None:
        properties["errorCondition"] = Symbol(reply.condition)
    addressed = Described(PROPERTIES, [None, None, None, None, None, request.id])
    return (
        encode(addressed)
        + encode(Described(APPLICATION_PROPERTIES, properties))
        + encode(Described(VALUE, reply.body))
    )


def put_token(request: Request) -> Reply:
    """Any token of any kind will do."""
    if request.operation != "put-token" or not request.body:
        return Reply(400, "A token is missing.")
    return Reply(202, "Accepted")


async def manage(entity: Entity, request: Request, now: Callable[[], float]) -> Reply:
    """Do what is asked for."""
    operation = _OPERATIONS.get(request.operation)
    if operation is None:
        return Reply(501, f"{request.operation} is not known here.", None, "amqp:not-implemented")
    try:
        return await operation(entity, request.body, now)
    except LockLost as error:
        return Reply(410, str(error), None, LOCK_LOST)


def delay_of(message: Incoming, now: float) -> float:
    """Seconds until it is to be enqueued."""
    return max(0.0, (message.scheduled_for or now) - now)


def token_of(id: UUID) -> str:
    """The lock token of the engine, as hexadecimal digits."""
    return id.bytes_le.hex().upper()


def delivered(message: ReceivedMessage, entity: Entity) -> bytes:
    """A message under a lock as its receiver gets it."""
    return annotate(
        message.body,
        sequence_number=message.sequence_number,
        deliveries_before=message.delivery_count - 1,
        enqueued_at=message.enqueued_at.timestamp(),
        locked_until=message.locked_until.timestamp(),
        dead_letter_source=entity.dead_letter_source,
    )


async def _peek(entity: Entity, body: dict[str, Any], _: Callable[[], float]) -> Reply:
    peeked = await entity.peek(body["from-sequence-number"], body["message-count"])
    messages = [
        annotate(
            message.body,
            sequence_number=message.sequence_number,
            deliveries_before=message.delivery_count,
            enqueued_at=message.enqueued_at,
            locked_until=None,
            state=message.state,
            dead_letter_source=entity.dead_letter_source,
        )
        for message in peeked
    ]
    if not messages:
        return Reply(204, "No content", {})
    return Reply(200, body={"messages": [{"message": message} for message in messages]})


async def _renew(entity: Entity, body: dict[str, Any], _: Callable[[], float]) -> Reply:
    expirations = Array()
    for token in body["lock-tokens"]:
        until = await entity.renew(entity.held(token_of(token)))
        expirations.append(milliseconds(until.timestamp()))
    return Reply(200, body={"expirations": expirations})


async def _schedule(entity: Entity, body: dict[str, Any], now: Callable[[], float]) -> Reply:
    numbers = Array()
    for part in body["messages"]:
        message = read(part["message"])
        scheduled = Message(message.id, message.bare, delay_of(message, now()))
        numbers.append(Long(await entity.schedule(scheduled)))
    return Reply(200, body={"sequence-numbers": numbers})


async def _cancel(entity: Entity, body: dict[str, Any], _: Callable[[], float]) -> Reply:
    for number in body["sequence-numbers"]:
        if not await entity.cancel(number):
            description = f"No scheduled message has the sequence number {number}."
            return Reply(404, description, None, "com.microsoft:message-not-found")
    return Reply(200, body={})


async def _receive(entity: Entity, body: dict[str, Any], _: Callable[[], float]) -> Reply:
    messages = []
    for number in body["sequence-numbers"]:
        message = await entity.receive_deferred(number)
        if message is None:
            description = f"No deferred message has the sequence number {number}."
            return Reply(404, description, None, "com.microsoft:message-not-found")
        token = UUID(bytes_le=bytes.fromhex(message.lock_token))
        messages.append({"lock-token": token, "message": delivered(message, entity)})
    return Reply(200, body={"messages": messages})


async def _dispose(entity: Entity, body: dict[str, Any], _: Callable[[], float]) -> Reply:
    for token in body["lock-tokens"]:
        message = entity.held(token_of(token))
        match body["disposition-status"]:
            case "completed":
                await entity.complete(message)
            case "abandoned":
                await entity.abandon(message)
            case "defered" | "deferred":
                await entity.defer(message)
            case "suspended":
                reason = body.get("deadletter-reason") or ""
                description = body.get("deadletter-description") or ""
                await entity.dead_letter(message, reason, description)
            case status:
                return Reply(400, f"{status} is no disposition.", None, "amqp:invalid-field")
    return Reply(200, body={})


_OPERATIONS: dict[
    str, Callable[[Entity, dict[str, Any], Callable[[], float]], Awaitable[Reply]]
] = {
    "peek-message": _peek,
    "renew-lock": _renew,
    "schedule-message": _schedule,
    "cancel-scheduled-message": _cancel,
    "receive-by-sequence-number": _receive,
    "update-disposition": _dispose,
}
