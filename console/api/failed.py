"""What could not be applied: replaying it, or discarding its dead letters."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal

from administration.replay import NoSuchLetter, NotFailed, Replay
from console.api.operation import Call
from console.api.problems import absent
from directory.documents import is_resource_id
from web.operation import Answer, Operation, Parameters


class FailedEvent(Answer):
    """An accepted write that could not be applied."""

    event_id: str
    at: datetime
    operation: str
    resource_type: str
    resource_id: str
    attributes: tuple[str, ...]
    reason: str
    attempts: int
    """How often its message was delivered without success."""


class Letter(Answer):
    """A message that could not be delivered, though its event has not failed."""

    message_id: str
    event_id: str | None
    event: Literal["pending", "done", "gone", "unreadable"]
    enqueued_at: datetime
    attempts: int
    reason: str


class Failures(Answer):
    """What failed, the oldest first."""

    events: tuple[FailedEvent, ...]
    letters: tuple[Letter, ...]
    more: bool
    """Whether there is more than is shown."""


class Replayed(Answer):
    """What is replayed."""

    events: int
    letters: int


async def list_failed(call: Call[Parameters, None]) -> Failures:
    """What failed."""
    async with _replay(call) as replay:
        return Failures.model_validate(await replay.failed.listed())


async def read_failed(call: Call[Parameters, None]) -> FailedEvent:
    """One event that failed, with its reason."""
    async with _replay(call) as replay:
        found = await replay.failed.event(_event(call))
    if found is None:
        raise absent("failed event")
    return FailedEvent.model_validate(found)


async def replay_failed(call: Call[Parameters, None]) -> Replayed:
    """Apply one failed event once more."""
    async with _replay(call) as replay:
        try:
            return Replayed.model_validate(await replay.one(_event(call)))
        except NotFailed:
            raise absent("failed event") from None


async def replay_all_failed(call: Call[Parameters, None]) -> Replayed:
    """Apply all failed events once more."""
    async with _replay(call) as replay:
        return Replayed.model_validate(await replay.everything())


async def discard_dead_letter(call: Call[Parameters, None]) -> None:
    """Remove the dead letter with this message id for good, where its event is done or gone. A
    pending event is sent again automatically; a failed one must be replayed."""
    async with _replay(call) as replay:
        try:
            await replay.discard([call.path["messageId"]])
        except NoSuchLetter:
            raise absent("dead letter") from None


def _replay[Q, B](call: Call[Q, B]) -> AbstractAsyncContextManager[Replay]:
    return call.deployment.replay(call.tenant_id, call.actor)


def _event[Q, B](call: Call[Q, B]) -> str:
    """The id in the path. Raises Problem for anything that cannot be an event's id."""
    id = call.path["eventId"]
    if not is_resource_id(id):
        raise absent("failed event")
    return id


OPERATIONS = (
    Operation("GET", "/failed", list_failed, Failures),
    Operation("POST", "/failed/replay", replay_all_failed, Replayed),
    Operation("GET", "/failed/{eventId}", read_failed, FailedEvent),
    Operation("POST", "/failed/{eventId}/replay", replay_failed, Replayed),
    Operation("DELETE", "/dead-letters/{messageId}", discard_dead_letter, None, status=204),
)
