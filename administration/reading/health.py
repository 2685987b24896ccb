"""How provisioning goes: writes of the last 24 hours, and what waits or has failed."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from administration.reading.log import first_ulid
from directory.condition import All, Compare
from directory.documents import Event, event_id
from directory.store import NEWEST_FIRST, Query, Store

HOURS = 24
PROVISIONED = Compare(("actor", "type"), "eq", "connection")
"""What a connection wrote; what administrators and operators changed is not provisioning."""


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
    pending, failed, last, writes, failures = await asyncio.gather(
        _count(store, tenant_id, "pending"),
        _count(store, tenant_id, "failed"),
        store.query(tenant_id, Query("Event", PROVISIONED, NEWEST_FIRST, limit=1)),
        asyncio.gather(*(_between(store, tenant_id, hour) for hour in begins)),
        _failures(store, tenant_id, begins[0]),
    )
    return Health(
        hours=tuple(
            Hour(hour, count, sum(hour <= at < hour + timedelta(hours=1) for at in failures))
            for hour, count in zip(begins, writes, strict=True)
        ),
        last=Event.from_document(last.items[0].document) if last.items else None,
        pending=pending,
        failed=failed,
    )


async def _count(store: Store, tenant_id: str, state: str) -> int:
    return await store.count(tenant_id, "Event", Compare(("state",), "eq", state))


async def _between(store: Store, tenant_id: str, hour: datetime) -> int:
    end = hour + timedelta(hours=1)
    where = All(
        (
            PROVISIONED,
            Compare(("id",), "ge", event_id(first_ulid(hour))),
            Compare(("id",), "lt", event_id(first_ulid(end))),
        )
    )
    return await store.count(tenant_id, "Event", where)


async def _failures(store: Store, tenant_id: str, since: datetime) -> list[datetime]:
    """When the writes were made that have failed, the first thousand since then."""
    where = All(
        (
            PROVISIONED,
            Compare(("state",), "eq", "failed"),
            Compare(("id",), "ge", event_id(first_ulid(since))),
        )
    )
    page = await store.query(tenant_id, Query("Event", where, fields=("at",), limit=1000))
    return [datetime.fromisoformat(stored.document["at"]) for stored in page.items]
