"""What a user's access was: at a moment, and every change of it.

Each change of access is kept for the retention, in the same batch as the record that it led to.
The record says what holds since its last change; further back, the earliest change after a moment
says what held until then.
"""

from dataclasses import dataclass
from datetime import datetime

from directory.access import Access, AccessChange, AccessState, access_id
from directory.condition import All, Compare, Condition
from directory.documents import EntitlementKey
from directory.resources import StoredUser
from directory.store import NotFound, Order, Query, Store
from directory.tenants import Policy
from directory.ulids import TIME, first_ulid
from reconciler.access import current_access, lacking, state_of
from reconciler.questions.causes import Cause, read_causes

SAME_MOMENT = 10
"""Changes read at once where one is looked for: several of a user may fall in one millisecond."""


@dataclass(frozen=True, slots=True)
class PastAccess:
    """Access at a moment."""

    known: bool
    """Whether what is kept reaches back so far."""
    state: AccessState | None = None
    """None, where it is known: there was no such user, or no access was computed yet."""
    since: datetime | None = None
    """When it became so, where that is kept."""
    until: datetime | None = None
    """When it changed; None: it holds to this day."""
    cause: Cause | None = None
    """The event that made it so, where that is known."""


@dataclass(frozen=True, slots=True)
class AccessHistory:
    """One change of a user's access."""

    change: AccessChange
    cause: Cause
    """The event whose reconciliation changed it."""

    @property
    def gained(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that came."""
        return lacking(self.change.before, self.change.after)

    @property
    def lost(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that went."""
        return lacking(self.change.after, self.change.before)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Some changes, the newest first; `continuation` is None at the end."""

    changes: tuple[AccessHistory, ...]
    continuation: str | None


async def access_now(store: Store, tenant_id: str, user: StoredUser, policy: Policy) -> PastAccess:
    """What a read of the access of a stored user says at this moment, deactivation at once
    included. Raises StoreError."""
    record = await _record(store, tenant_id, user.id)
    current = current_access(record, user, policy)
    state = state_of(current)
    if record is None or state != state_of(record):
        return PastAccess(True, state)
    causes = await read_causes(store, tenant_id, [record.event_id])
    return PastAccess(True, state, record.changed_at, cause=causes[record.event_id])


async def access_at(
    store: Store, tenant_id: str, user: str, at: datetime, oldest: datetime
) -> PastAccess:
    """What the access of a user (SCIM id) was at an aware moment; `oldest` is now less the
    retention, since when every change is kept. Raises StoreError."""
    record = await _record(store, tenant_id, user)
    if record is not None and record.changed_at <= at:
        causes = await read_causes(store, tenant_id, [record.event_id])
        return PastAccess(True, state_of(record), record.changed_at, cause=causes[record.event_id])
    if at < oldest:
        return PastAccess(known=False)
    following = await _next_change(store, tenant_id, user, at)
    if following is None:  # a record that changed since, and no change of it kept: cut short
        return PastAccess(known=record is None)
    previous = await _last_change(store, tenant_id, user, at)
    if previous is None:
        return PastAccess(True, following.before, until=following.at)
    causes = await read_causes(store, tenant_id, [previous.event_id])
    cause = causes[previous.event_id]
    return PastAccess(True, following.before, previous.at, following.at, cause)


async def timeline(
    store: Store, tenant_id: str, user: str, continuation: str | None = None, limit: int = 20
) -> Timeline:
    """The changes of a user's access that are kept, the newest first. Raises StoreError, and
    BadContinuation for a continuation that is not one of these."""
    query = Query(
        "AccessChange",
        Compare(("userId",), "eq", user),
        (Order(("changeId",), descending=True),),
        limit=limit,
        continuation=continuation,
    )
    page = await store.query(tenant_id, query)
    changes = [AccessChange.from_document(stored.document) for stored in page.items]
    causes = await read_causes(store, tenant_id, [change.event_id for change in changes])
    told = tuple(AccessHistory(change, causes[change.event_id]) for change in changes)
    return Timeline(told, page.continuation)


async def _record(store: Store, tenant_id: str, user: str) -> Access | None:
    try:
        stored = await store.read(tenant_id, access_id(user))
    except NotFound:
        return None
    return Access.from_document(stored.document)


async def _next_change(
    store: Store, tenant_id: str, user: str, at: datetime
) -> AccessChange | None:
    """The first change after a moment."""
    where = Compare(("changeId",), "ge", _first_ulid(at))
    found = await _changes(store, tenant_id, user, where, descending=False)
    later = [change for change in found if change.at > at]
    return min(later, key=_moment, default=None)


async def _last_change(
    store: Store, tenant_id: str, user: str, at: datetime
) -> AccessChange | None:
    """The last change up to a moment."""
    where = Compare(("changeId",), "le", _last_ulid(at))
    found = await _changes(store, tenant_id, user, where, descending=True)
    earlier = [change for change in found if change.at <= at]
    return max(earlier, key=_moment, default=None)


async def _changes(
    store: Store, tenant_id: str, user: str, where: Condition, *, descending: bool
) -> list[AccessChange]:
    of_user = All((Compare(("userId",), "eq", user), where))
    order = (Order(("changeId",), descending=descending),)
    page = await store.query(tenant_id, Query("AccessChange", of_user, order, limit=SAME_MOMENT))
    return [AccessChange.from_document(stored.document) for stored in page.items]


def _moment(change: AccessChange) -> tuple[datetime, int]:
    return change.at, change.version


def _first_ulid(at: datetime) -> str:
    """The smallest id of a change in the millisecond of a moment."""
    return first_ulid(at)[:TIME]


def _last_ulid(at: datetime) -> str:
    """What is greater than every id of a change in that millisecond."""
    return _first_ulid(at) + "~"
