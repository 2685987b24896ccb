"""How provisioning goes: writes of the last 24 hours, and what waits or has failed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from administration.reading.log import LISTED, first_ulid
from directory.condition import All, Compare, Condition
from directory.documents import Event, event_id
from directory.store import NEWEST_FIRST, Query, Store

HOURS = 24
PROVISIONED = Compare(("actor", "type"), "eq", "connection")
"""What a connection wrote; what administrators and operators changed is not provisioning."""
FAILED = Compare(("state",), "eq", "failed")


@dataclass(frozen=True, slots=True)
class Hour:
    """The accepted writes of connections in one hour, and how many of them have failed to be
    applied."""

    begins: datetime
    writes: int
    failed: int


@dataclass(frozen=True, slots=True)
class Health:
    """What the overview says. Requests that only read, and those that were refused, leave no
    event and are not counted."""

    hours: tuple[Hour, ...]
    last: Event | None
    """The last write of a connection."""
    pending: int
    """Of all events, those of administrators too."""
    failed: int
    """As with `pending`."""


async def read_health(store: Store, tenant_id: str, now: datetime) -> Health:
    """The last 24 hours by the hour; the current one is not over."""
    current = now.replace(minute=0, second=0, microsecond=0)
    begins = [current - timedelta(hours=HOURS - 1 - n) for n in range(HOURS)]
    pending, failed, last, writes = await asyncio.gather(
        store.count(tenant_id, "Event", Compare(("state",), "eq", "pending")),
        store.count(tenant_id, "Event", FAILED),
        store.query(tenant_id, Query("Event", PROVISIONED, NEWEST_FIRST, LISTED, limit=1)),
        _by_hour(store, tenant_id, begins, PROVISIONED),
    )
    failures = [0] * HOURS
    if failed:
        failures = await _by_hour(store, tenant_id, begins, All((FAILED, PROVISIONED)))
    return Health(
        hours=tuple(map(Hour, begins, writes, failures)),
        last=Event.from_document(last.items[0].document) if last.items else None,
        pending=pending,
        failed=failed,
    )


async def _by_hour(
    store: Store, tenant_id: str, begins: Sequence[datetime], where: Condition
) -> list[int]:
    """How many events each of these hours has. An event's id begins with its time."""
    ids = [event_id(first_ulid(at)) for at in (*begins, begins[-1] + timedelta(hours=1))]
    ranges = [
        All((where, Compare(("id",), "ge", first), Compare(("id",), "lt", end)))
        for first, end in pairwise(ids)
    ]
    return await asyncio.gather(*(store.count(tenant_id, "Event", one) for one in ranges))
