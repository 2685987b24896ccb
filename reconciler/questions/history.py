"""A user's access at a past moment, and every change of it.

Each change of access is written in the same batch as the record that it led to, and kept for the
retention. The record has the access since its last change; for an earlier moment, the first change
after it has the access until then (`before`).
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
"""Changes that are read to find one: several changes of a user may fall in one millisecond."""


@dataclass(frozen=True, slots=True)
class PastAccess:
    """Access at a moment."""

    known: bool
    """Whether the stored history reaches back that far."""
    state: AccessState | None = None
    """None although `known`: there was no such user, or no access was computed yet."""
    since: datetime | None = None
    """When the state began, where that is stored."""
    until: datetime | None = None
    """When the state changed; None: it still holds."""
    cause: Cause | None = None
    """The event that led to the state, where that is known."""


@dataclass(frozen=True, slots=True)
class AccessHistory:
    """One change of a user's access."""

    change: AccessChange
    cause: Cause
    """The event whose reconciliation changed it."""

    @property
    def gained(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the change added."""
        return lacking(self.change.before, self.change.after)

    @property
    def lost(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the change removed."""
        return lacking(self.change.after, self.change.before)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Some changes, the newest first; `continuation` is None at the end."""

    changes: tuple[AccessHistory, ...]
    continuation: str | None


async def access_now(store: Store, tenant_id: str, user: StoredUser, policy: Policy) -> PastAccess:
    """The access of a stored user as a read at this moment answers it, with a deactivation applied
    at once. Raises StoreError."""
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
    """The access of a user (SCIM id) at an aware moment; `oldest` is now less the retention: every
    change since then is stored. Raises StoreError."""
    record = await _record(store, tenant_id, user)
    if record is not None and record.changed_at <= at:
        causes = await read_causes(store, tenant_id, [record.event_id])
        return PastAccess(True, state_of(record), record.changed_at, cause=causes[record.event_id])
    if at < oldest:
        return PastAccess(known=False)
    following = await _next_change(store, tenant_id, user, at)
    if following is None:  # a record that changed later, without its change: history is missing
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
    """The stored changes of a user's access, the newest first. Raises StoreError, and
    BadContinuation for a continuation that is not from this timeline."""
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
    history = tuple(AccessHistory(change, causes[change.event_id]) for change in changes)
    return Timeline(history, page.continuation)


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
    """A text greater than every id of a change in that millisecond."""
    return _first_ulid(at) + "~"
