"""What failed, and audits of access records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from administration.failures import Failures
from administration.replay import NotFailed, Replay, Replayed
from directory.documents import is_resource_id
from operators.call import OF_TENANT, Call
from operators.models import Continued
from reconciler.questions import drift
from web.operation import Answer, Operation, Parameters


class Difference(Answer):
    """An access record that differs from the computed access."""

    user_id: str
    kind: Literal["missing", "orphaned", "different", "unreadable"]
    pending: bool
    """Whether an event waits that will change the record; then it is not drift."""
    text: str
    """The difference between what is stored and what was computed."""


class Audit(Answer):
    """A part of an audit."""

    users: int
    """How many users were examined."""
    differences: tuple[Difference, ...]
    next_cursor: str | None
    """Leads to the next part; null: this was the last one."""


async def list_failed(call: Call[Parameters, None]) -> Failures:
    """Failed events and dead letters of the whole deployment, the oldest first."""
    async with _replay(call) as replay:
        return await replay.failed.listed()


async def replay_all_failed(call: Call[Parameters, None]) -> Replayed:
    """Apply every failed event of the deployment once more."""
    async with _replay(call) as replay:
        return await replay.everything()


async def discard_dead_letter(call: Call[Parameters, None]) -> None:
    """Remove for good a dead letter that nothing waits for: its event is done or gone, or the
    message is not from Muster."""
    async with _replay(call) as replay:
        await replay.discard([call.path["messageId"]])


async def replay_failed(call: Call[Parameters, None]) -> Replayed:
    """Apply one failed event once more."""
    id = call.path["eventId"]
    if not is_resource_id(id):
        raise NotFailed(
            f"No event {id[:100]} has failed: that is not an event's id.", "replay --list"
        )
    async with _replay(call) as replay:
        return await replay.one(id)


async def audit_access(call: Call[Continued, None]) -> Audit:
    """Compute a tenant's access anew and compare it with the records, 1,000 users to a part.
    Nothing is written."""
    start = call.pages.continuation(call.query.cursor) or ""
    part = await drift.audit_part(call.store, (await call.tenant()).tenant_id, start)
    return Audit(
        users=part.examined,
        differences=tuple(Difference.model_validate(one) for one in part.differences),
        next_cursor=call.pages.cursor(part.next),
    )


@asynccontextmanager
async def _replay(call: Call[Any, None]) -> AsyncIterator[Replay]:
    """A Replay for the tenant that the path names, or for all of them. Raises Absent."""
    named = call.path.get("tenant")
    tenant_id = (await call.tenant()).tenant_id if named is not None else None
    async with call.deployment.replay(tenant_id, call.actor) as replay:
        yield replay


def _both(method: str, path: str, handler: Any, answer: Any, status: int = 200) -> Any:
    """An operation on the deployment, and the same on one tenant."""
    yield Operation(method, path, handler, answer, status=status)
    yield Operation(method, OF_TENANT + path, handler, answer, status=status, suffix="OfTenant")


OPERATIONS: tuple[Operation, ...] = (
    *_both("GET", "/failed", list_failed, Failures),
    *_both("POST", "/failed/replay", replay_all_failed, Replayed),
    *_both("DELETE", "/dead-letters/{messageId}", discard_dead_letter, None, 204),
    *_both("POST", "/failed/{eventId}/replay", replay_failed, Replayed),
    Operation("GET", f"{OF_TENANT}/drift", audit_access, Audit, query=Continued),
)
