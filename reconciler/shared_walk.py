"""Walks through groups inside groups that several events share.

A bulk request that makes a circle of a thousand groups writes a thousand events, and each of them
concerns everybody in the circle. Walked one by one, that is a million groups. So an event that
finds more than GROUPS_ALONE groups notes on itself that it waits (`Progress.waits`). The oldest
event of the tenant that waits walks for all that wait at that moment, each group once. Its reading
begins after all of them came, which is all that level-triggered work needs. Whoever comes later
waits for the next walk.

To wait is noted first, and whose turn it is asked afterwards; at the end of a walk its events wait
no more first, and who is next is asked afterwards. So one of the two sees the other. Where a
process dies all the same, the timer finds the events that wait pending, and works on the oldest.
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

GROUPS_ALONE = 4
"""Groups that an event walks by itself, in its first message."""
EVENTS = 1_000
"""Events that share a walk."""
STARTS = GROUPS_PER_MESSAGE // 2
"""Groups at which a shared walk begins."""
PAGE = 100

_WAITS = All((Compare(("state",), "eq", "pending"), Compare(("progress", "waits"), "eq", True)))


def is_for_sharing(event: Event, cursor: Cursor) -> bool:
    """Whether the rest of an event that has just begun is left to a shared walk: when nothing but
    groups is left, and more than it walks by itself. What could not be read is its own."""
    return (
        event.scope in ("members", "group")
        and not cursor.exhausted
        and not cursor.unreadable
        and cursor.position >= (changed(event).size if event.scope == "members" else 0)
        and len(cursor.groups) > GROUPS_ALONE
        and len(first_cursor(event).groups) <= STARTS
    )


async def begun(store: Store, event: Event) -> Cursor | None:
    """The cursor of the walk that this event does for all that wait; None where it is not its
    turn."""
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
        turn=event.event_id,
        along=tuple(along),
    )


async def ended(store: Store, event: Event, cursor: Cursor) -> list[tuple[str, Cursor]]:
    """What is left to do when a walk has come to its end: each of its events ends by itself, the
    one that walked last, and the next one that waits has its turn. Pairs of an event and a
    cursor, in the order in which they must be sent."""
    events = (*cursor.along, event.event_id)
    for some in batched(events, BATCH_OPERATIONS, strict=False):
        await _wait_no_more(store, event.tenant_id, some)
    end = Cursor(exhausted=True, unreadable=cursor.unreadable)
    after = await next_turn(store, event.tenant_id, event.event_id)
    return [*after, *((id, end) for id in events)]


async def next_turn(store: Store, tenant_id: str, walked: str) -> list[tuple[str, Cursor]]:
    """The event that waits for longest, which is to ask whether its turn has come after `walked`
    (a ULID), as a pair with its cursor; none where none waits."""
    oldest = await _oldest(store, tenant_id)
    return [] if oldest is None else [(oldest, Cursor(turn=walked))]


async def _wait_no_more(store: Store, tenant_id: str, events: tuple[str, ...]) -> None:
    """Those that expired or were replayed meanwhile wait no more already."""
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
