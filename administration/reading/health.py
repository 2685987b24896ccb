"""How provisioning goes: requests of the last 24 hours, and what waits or has failed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from administration.failures import FAILED
from administration.reading.log import LISTED
from directory.condition import All, Compare
from directory.documents import Event
from directory.notices import Notice
from directory.reading import every
from directory.store import NEWEST_FIRST, Query, Store
from directory.tenants import RequestCount
from queues.relay import second

HOURS = 24
LOSS_SHOWN = timedelta(days=7)
"""How long the overview tells of a mass loss."""
SHOWN = 3
PROVISIONED = Compare(("actor", "type"), "eq", "connection")
"""Only what connections wrote: changes by administrators and operators are not provisioning."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The SCIM requests of connections in one hour, and how many of them got an error."""

    begins: datetime
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A mass loss: an event, and how many of those who held something lost some of it."""

    at: datetime
    event_id: str
    operation: str
    lost: int
    of: int


@dataclass(frozen=True, slots=True)
class Hours:
    """The SCIM requests of the last 24 hours, hour by hour, with the current, unfinished one. A
    request without a valid token belongs to no tenant and is not counted; any other is counted some
    seconds after its answer."""

    hours: tuple[Hour, ...]
    last_request: datetime | None
    """The last request in these hours."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the overview says."""

    hours: tuple[Hour, ...]
    last_request: datetime | None
    last: Event | None
    """The last write of a connection, whenever it was."""
    pending: int
    """How many events are pending, administrators' included."""
    failed: int
    """How many events have failed, administrators' included."""
    losses: tuple[Loss, ...]
    """The newest mass losses of the last days, newest first."""


async def read_health(store: Store, tenant_id: str, now: datetime) -> Health:
    """The last 24 hours, and what waits or has failed."""
    since = second(now - LOSS_SHOWN)
    told = All((Compare(("kind",), "eq", "access.massLoss"), Compare(("at",), "ge", since)))
    pending, failed, last, requests, losses = await asyncio.gather(
        store.count(tenant_id, "Event", Compare(("state",), "eq", "pending")),
        store.count(tenant_id, "Event", FAILED),
        store.query(tenant_id, Query("Event", PROVISIONED, NEWEST_FIRST, LISTED, limit=1)),
        read_hours(store, tenant_id, now),
        store.query(tenant_id, Query("Notice", told, NEWEST_FIRST, limit=SHOWN)),
    )
    return Health(
        hours=requests.hours,
        last_request=requests.last_request,
        last=Event.from_document(last.items[0].document) if last.items else None,
        pending=pending,
        failed=failed,
        losses=tuple(_loss(Notice.from_document(one.document)) for one in losses.items),
    )


async def read_hours(store: Store, tenant_id: str, now: datetime) -> Hours:
    """The requests of the last 24 hours."""
    current = now.replace(minute=0, second=0, microsecond=0)
    begins = [current - timedelta(hours=HOURS - 1 - n) for n in range(HOURS)]
    counts = await _counts(store, tenant_id, begins[0])
    last = max((count.last for count in counts), default=None)
    return Hours(tuple(_hour(at, counts) for at in begins), last)


async def _counts(store: Store, tenant_id: str, since: datetime) -> list[RequestCount]:
    """The counts of all processes; they are kept a little longer than the hours shown."""
    found = every(store, tenant_id, Query("RequestCount"))
    counts = [RequestCount.from_document(stored.document) async for stored in found]
    return [count for count in counts if count.hour >= since]


def _hour(begins: datetime, counts: Sequence[RequestCount]) -> Hour:
    mine = [count for count in counts if count.hour == begins]
    return Hour(begins, sum(one.requests for one in mine), sum(one.errors for one in mine))


def _loss(notice: Notice) -> Loss:
    said = notice.details
    return Loss(notice.at, said["eventId"], said["operation"], said["lost"], said["of"])
