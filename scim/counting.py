"""How many requests each tenant's connections send, and how many of them get an error: told to
administrators, and in nobody's way.

Each process counts for itself, in memory, and keeps a document per tenant and hour up to date,
off the path of the requests. What it counted last goes with it where it dies.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from directory.notes import Notes
from directory.store import Store
from directory.tenants import RequestCount
from directory.ulids import new_ulid

EVERY_SECONDS = 10.0
"""A tenant's count is written at most once in so many seconds, by each process."""
KEPT_SECONDS = 25 * 3600
_ERROR = 400
_HOUR = timedelta(hours=1)

log = logging.getLogger("muster.scim")


@dataclass(slots=True)
class _Count:
    tenant_id: str
    hour: datetime
    last: datetime
    requests: int = 0
    errors: int = 0
    due: float = 0.0
    """When it may be written again, by the event loop's clock."""
    waiting: bool = False
    """Whether it is going to be written."""


class RequestCounter:
    """Counts the requests of every tenant. `now` is the clock whose hours count."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._notes = Notes(store, log, "the requests of a tenant were not recorded")
        self._now = now
        self._process = new_ulid()
        self._counts: dict[str, _Count] = {}
        self._closing = asyncio.Event()

    def saw(self, tenant_id: str, status: int) -> None:
        """A request that was proven to be the tenant's got this answer."""
        now = self._now()
        count = self._counts.get(tenant_id)
        if count is None or now - count.hour >= _HOUR:
            hour = now.replace(minute=0, second=0, microsecond=0)
            count = self._counts[tenant_id] = _Count(tenant_id, hour, now)
        count.last = now
        count.requests += 1
        count.errors += status >= _ERROR
        if not count.waiting:
            count.waiting = True
            self._notes.begin(self._write_soon(count))

    async def close(self) -> None:
        """Write what was counted."""
        self._closing.set()
        await self._notes.settle()

    async def _write_soon(self, count: _Count) -> None:
        clock = asyncio.get_running_loop().time
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), count.due - clock())
        count.due = clock() + EVERY_SECONDS
        count.waiting = False  # what is counted from here on is written later
        counted = RequestCount(
            tenant_id=count.tenant_id,
            hour=count.hour,
            process=self._process,
            requests=count.requests,
            errors=count.errors,
            last=count.last,
            ttl=KEPT_SECONDS,
        )
        await self._notes.write(counted)
