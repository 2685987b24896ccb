"""Every tenant at a glance, for operators: summaries that a timer writes, read page by page. A run
of the timer finds out which tenants and summaries there are, and which tenants sent requests lately
or have events that wait or failed. It summarises those tenants, then those whose summaries are
oldest: at most TENANTS_IN_A_RUN, each with a number of reads that does not grow with the tenant.
The next run takes the rest. Requests write nothing for it."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched

from administration.failures import FAILED
from administration.reading.health import PROVISIONED, read_hours
from administration.reading.paging import PageOf
from administration.tenants import new_summary
from delivery.watching import tenant_secrets
from directory.condition import EVERYTHING, Compare, Condition
from directory.documents import ulid_of
from directory.fleet import ENDING, TenantSummary
from directory.reading import every, every_tenant
from directory.store import (
    NEWEST_FIRST,
    Delete,
    Operation,
    Query,
    Store,
    Stored,
    StoreError,
    Upsert,
)
from directory.tenants import TENANT_ID, Tenant
from directory.ulids import made_at
from queues.relay import second
from scim.protocol.scalars import fold
from telemetry.logs import place
from trust.signing import PARTITION

TENANTS_IN_A_RUN = 500
RUN_SECONDS = 60.0
AT_ONCE = 8
"""How many tenants are summarised at the same time."""
STALE = timedelta(hours=1)
"""A summary of this age is written anew even if nothing is known to have happened."""
DAY = timedelta(hours=24)
WAITING_EVENTS = 1_000
"""How many pending events, and how many failed ones, a run reads to find tenants to look at."""
ALL_AT_ONCE = 10_000
"""Page size of queries that read only ids and times."""
PENDING: Condition = Compare(("state",), "eq", "pending")

NEVER = datetime.min.replace(tzinfo=UTC)
FOR_EVER = datetime.max.replace(tzinfo=UTC)

log = logging.getLogger("muster.fleet")


async def list_fleet(
    store: Store, text: str = "", after: str | None = None, limit: int = 100
) -> PageOf[TenantSummary]:
    """A page of the tenants whose name or id contains the text, those in the worst trouble first.
    One query, however many tenants there are. Raises BadContinuation, StoreError."""
    wanted = fold(text)
    where = Compare(("search",), "co", wanted) if wanted else EVERYTHING
    query = Query("TenantSummary", where, limit=limit, continuation=after)
    page = await store.query(PARTITION, query)
    rows = tuple(TenantSummary.from_document(item.document) for item in page.items)
    return PageOf(rows, page.continuation)


async def summarize(
    store: Store, tenant: Tenant, now: datetime, before: datetime | None = None
) -> TenantSummary:
    """A tenant as it is now; `before` is the time of the last request known so far. The number of
    reads does not grow with the tenant. Raises StoreError."""
    id = tenant.tenant_id
    since = Compare(("lastAt",), "ge", second(now - DAY))
    hours, oldest, written = await asyncio.gather(
        read_hours(store, id, now),
        store.query(id, Query("Event", PENDING, fields=(), limit=1)),
        store.query(id, Query("Event", PROVISIONED, NEWEST_FIRST, (), limit=1)),
    )
    pending, failed, refusals, users, groups = await asyncio.gather(
        store.count(id, "Event", PENDING),
        store.count(id, "Event", FAILED),
        store.count(id, "Refusal", since),
        store.count(id, "User"),
        store.count(id, "Group"),
    )
    requests = [at for at in (hours.last_request, before) if at]
    return (
        new_summary(tenant)
        .model_copy(
            update={
                "requests": sum(hour.requests for hour in hours.hours),
                "errors": sum(hour.errors for hour in hours.hours),
                "last_request": max(requests, default=None),
                "refusals": refusals,
                "pending": pending,
                "oldest_pending": _made_at(oldest.items),
                "failed": failed,
                "secret_ends": first_end(tenant, now),
                "last_write": _made_at(written.items),
                "users": users,
                "groups": groups,
            }
        )
        .with_troubles(now)
    )


def first_end(tenant: Tenant, now: datetime) -> datetime | None:
    """When a connection, a client or an API first has no valid secret left; of several valid ones
    the last to expire counts. None: not within 30 days."""
    ends: dict[tuple[str, str], datetime] = {}
    for kind, connection_id, token in tenant_secrets(tenant):
        owner, expires = (kind, connection_id), token.expires or FOR_EVER
        ends[owner] = max(ends.get(owner, expires), expires)
    first = min(ends.values(), default=None)
    return first if first is not None and first - now <= ENDING else None


def _made_at(items: Sequence[Stored]) -> datetime | None:
    return made_at(ulid_of(items[0].document["id"])) if items else None


@dataclass(slots=True)
class _Known:
    """What is stored of a tenant's summary."""

    ids: list[str] = field(default_factory=list)
    """More than one only after a process died, or while two run at once."""
    as_of: datetime = NEVER
    last_request: datetime | None = None
    etag: str = ""
    waits: bool = False
    """Whether an event was pending, or had failed."""


class Fleet:
    """Keeps the summaries. `now` answers an aware UTC time. A run looks at `most` tenants."""

    def __init__(
        self, store: Store, now: Callable[[], datetime], *, most: int = TENANTS_IN_A_RUN
    ) -> None:
        self._store = store
        self._now = now
        self._most = most

    async def refresh(self) -> int:
        """Summarise the tenants in which something has happened, and those whose summaries are
        oldest; returns how many. A tenant that cannot be read does not stop the others. Raises
        StoreError."""
        end = time.monotonic() + RUN_SECONDS
        known, moved = await self._known(), await self._moved()
        tenants = [
            stored
            async for stored in every_tenant(
                self._store, Query("Tenant", fields=("tenantId",), limit=ALL_AT_ONCE)
            )
        ]
        due = self._due(tenants, known, moved)[: self._most]
        looked = 0
        for some in batched(due, AT_ONCE, strict=False):
            if time.monotonic() > end:
                break
            looked += sum(await asyncio.gather(*(self._look(id, known[id]) for id in some)))
        return looked

    def _due(
        self, tenants: Iterable[Stored], known: defaultdict[str, _Known], moved: dict[str, datetime]
    ) -> list[str]:
        """The tenants to look at, in order."""
        now, due = self._now(), list[tuple[bool, datetime, str]]()
        for stored in tenants:
            id = stored.document["tenantId"]
            summary = known[id]
            happened = (
                summary.waits
                or summary.etag != stored.etag
                or len(summary.ids) != 1
                or (id in moved and moved[id] >= summary.as_of)
            )
            if happened or now - summary.as_of > STALE:
                due.append((not happened, summary.as_of, id))
        return [id for _, _, id in sorted(due)]

    async def _known(self) -> defaultdict[str, _Known]:
        known: defaultdict[str, _Known] = defaultdict(_Known)
        names = ("tenant", "asOf", "lastRequest", "tenantEtag", "pending", "failed")
        query = Query("TenantSummary", fields=names, limit=ALL_AT_ONCE)
        async for stored in every(self._store, PARTITION, query):
            found = stored.document
            summary = known[found["tenant"]]
            summary.ids.append(found["id"])
            summary.as_of = _at(found.get("asOf")) or summary.as_of
            summary.last_request = _at(found.get("lastRequest"))
            summary.etag = found["tenantEtag"]
            summary.waits = bool(found["pending"] or found["failed"])
        return known

    async def _moved(self) -> dict[str, datetime]:
        """Tenants that sent requests in this hour or the one before, with the time of the last
        request; and tenants with pending or failed events."""
        begin = self._now() - timedelta(hours=1)
        counts = Query(
            "RequestCount",
            Compare(("id",), "ge", f"requests:{begin:%Y-%m-%dT%H}"),
            fields=("tenantId", "last"),
            limit=ALL_AT_ONCE,
        )
        moved: dict[str, datetime] = {}
        async for stored in every_tenant(self._store, counts):
            id, last = stored.document["tenantId"], _at(stored.document["last"])
            moved[id] = max(moved.get(id, last), last) if last else self._now()
        for state in (PENDING, FAILED):
            query = Query("Event", state, fields=("tenantId",), limit=WAITING_EVENTS)
            page = await self._store.query_every_tenant(query)
            moved |= {stored.document["tenantId"]: self._now() for stored in page.items}
        return moved

    async def _look(self, tenant_id: str, known: _Known) -> bool:
        """Write the tenant's summary anew; returns whether it was written."""
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
            tenant = Tenant.from_document(stored.document)
            summary = await summarize(self._store, tenant, self._now(), known.last_request)
            document = summary.model_copy(update={"tenant_etag": stored.etag}).to_document()
            gone = [Delete(id) for id in known.ids if id != document["id"]]
            operations: list[Operation] = [*gone, Upsert(document)]
            await self._store.batch(PARTITION, operations)
        except (StoreError, ValueError) as error:
            log.warning("no summary of tenant %s: %s", tenant_id, place(error))
            return False
        return True


def _at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
