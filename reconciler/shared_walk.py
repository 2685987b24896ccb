"""Walks through nested groups that several events share.

A bulk request that makes a circle of a thousand groups writes a thousand events, and each of them
concerns everybody in the circle. Walked one by one, that is a million groups. So an event that
finds more groups than it walks by itself (`Portions.groups_per_event`) marks itself as waiting
(`Progress.waits`). The oldest waiting event of the tenant walks for all that wait at that moment,
each group once. Its reading begins after all of them came, which is all that level-triggered work
needs. Events that come later wait for the next walk.

An event marks itself as waiting before it asks whose turn it is. At the end of a walk its events
stop waiting before the next turn is decided. So one of the two always sees the other. An event that
waits may end in another way: another walk includes it, or a later message of it finds fewer groups.
Others may have left the turn to it until then, so whoever ends it, or asks or walks for it after
its end, gives the turn on. Where a process dies, the timer finds the waiting events pending, and
works on the oldest.
"""

from contextlib import suppress
from itertools import batched

from directory.condition import All, Compare
from directory.documents import Event, event_id, ulid_of
from directory.reading import every
from directory.store import (
    BATCH_OPERATIONS,
    Assign,
    NotFound,
    PreconditionFailed,
    Query,
    Store,
    Update,
)
from reconciler.expansion import GROUPS_PER_MESSAGE, Cursor, changed, first_cursor

EVENTS = 1_000
"""The most other events that one walk includes."""
STARTS = GROUPS_PER_MESSAGE // 2
"""The most groups from which a shared walk starts."""
PAGE = 100

_WAITS = All((Compare(("state",), "eq", "pending"), Compare(("progress", "waits"), "eq", True)))


def is_for_sharing(event: Event, cursor: Cursor, alone: int) -> bool:
    """Whether the rest of an event that has just begun is left to a shared walk: only groups are
    left, more than it walks `alone`, and nothing was unreadable, which the event itself must
    report."""
    return (
        event.scope in ("members", "group")
        and not cursor.exhausted
        and not cursor.unreadable
        and cursor.position >= (changed(event).size if event.scope == "members" else 0)
        and len(cursor.groups) > alone
        and len(first_cursor(event).groups) <= STARTS
    )


async def begun(store: Store, event: Event, asks: Cursor) -> Cursor | None:
    """The cursor of the walk that this event, which `asks` for its turn, does for all waiting
    events; None where another one has waited longer."""
    tenant_id = event.tenant_id
    if await _oldest(store, tenant_id) != event.event_id:
        return None
    groups = dict.fromkeys(first_cursor(event).groups)
    along: list[str] = []
    async for stored in every(store, tenant_id, Query("Event", _WAITS, limit=PAGE)):
        other = Event.from_document(stored.document)
        if other.event_id == event.event_id:
            continue
        more = [group for group in first_cursor(other).groups if group not in groups]
        if len(groups) + len(more) > STARTS or len(along) == EVENTS:
            break
        groups |= dict.fromkeys(more)
        along.append(other.event_id)
    return Cursor(
        position=changed(event).size if event.scope == "members" else 0,
        groups=tuple(groups),
        turn=asks.turn,
        along=tuple(along),
    )


async def ended(store: Store, event: Event, cursor: Cursor, turn: str) -> list[tuple[str, Cursor]]:
    """The messages to send at the end of a walk, in this order, as pairs of an event and a cursor:
    the next waiting event gets the `turn`, then each event of the walk ends, last the one that
    walked."""
    events = (*cursor.along, event.event_id)
    for some in batched(events, BATCH_OPERATIONS, strict=False):
        await _wait_no_more(store, event.tenant_id, some)
    end = Cursor(exhausted=True, unreadable=cursor.unreadable)
    after = await next_turn(store, event.tenant_id, turn)
    return [*after, *((id, end) for id in events)]


async def next_turn(store: Store, tenant_id: str, turn: str) -> list[tuple[str, Cursor]]:
    """The event that has waited longest and its cursor, which gives it the `turn`; empty where no
    event waits."""
    oldest = await _oldest(store, tenant_id)
    return [] if oldest is None else [(oldest, Cursor(turn=turn))]


async def _wait_no_more(store: Store, tenant_id: str, events: tuple[str, ...]) -> None:
    """Events that expired or were replayed meanwhile do not wait any more."""
    updates = [Update(event_id(id), (Assign(("progress", "waits"), False),)) for id in events]
    try:
        await store.batch(tenant_id, updates)
    except (NotFound, PreconditionFailed):
        for update in updates:
            with suppress(NotFound, PreconditionFailed):
                await store.batch(tenant_id, [update])


async def _oldest(store: Store, tenant_id: str) -> str | None:
    page = await store.query(tenant_id, Query("Event", _WAITS, fields=(), limit=1))
    return ulid_of(page.items[0].document["id"]) if page.items else None
