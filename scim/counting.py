"""How many requests each tenant's connections send, how many of them get an error, and which were
refused and why: for administrators, and in nobody's way.

Each process counts for itself, in memory, and keeps a document per tenant and hour up to date,
off the path of the requests, together with a document for each kind of refusal. What it counted
last goes with it where it dies.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from directory.notes import Notes
from directory.reading import readable
from directory.refusals import MOST, Refusal
from directory.store import Delete, Order, Query, Store, StoreError
from directory.tenants import RequestCount
from directory.ulids import new_ulid
from scim.exchange import Answer
from scim.refusing import Asked, refusals_of

EVERY_SECONDS = 10.0
"""A tenant's count is written at most once in so many seconds, by each process."""
KEPT_SECONDS = 25 * 3600
KINDS = 50
"""Refusals that are told apart in that time; what else is refused then counts as one more kind."""
_ERROR = 400
_HOUR = timedelta(hours=1)

_MORE = {
    "resource_id": None,
    "external_id": None,
    "user_name": None,
    "display_name": None,
    "scim_type": None,
    "detail": "More requests were refused with this status than are told apart.",
}
"""Of a refusal that is not told apart."""

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
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By document id, what was refused since it was written."""

    def refuse(self, refusal: Refusal) -> None:
        """One more."""
        if refusal.document_id not in self.refused and len(self.refused) >= KINDS:
            refusal = refusal.model_copy(update=_MORE)
        known = self.refused.get(refusal.document_id)
        self.refused[refusal.document_id] = known.with_more(refusal) if known else refusal


class RequestCounter:
    """Counts the requests of every tenant. `now` is the clock whose hours count."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._notes = Notes(store, log, "the requests of a tenant were not recorded")
        self._now = now
        self._process = new_ulid()
        self._counts: dict[str, _Count] = {}
        self._closing = asyncio.Event()

    def saw(self, asked: Asked, answer: Answer) -> None:
        """A request got this answer."""
        now = self._now()
        tenant_id = asked.caller.tenant.tenant_id
        count = self._counts.get(tenant_id)
        if count is None or now - count.hour >= _HOUR:
            hour = now.replace(minute=0, second=0, microsecond=0)
            count = self._counts[tenant_id] = _Count(tenant_id, hour, now)
        count.last = now
        count.requests += 1
        count.errors += answer.status >= _ERROR
        for refusal in refusals_of(asked, answer, now):
            count.refuse(refusal)
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
        refused, count.refused = count.refused, {}
        if not refused:
            await self._notes.write(counted)
        elif not await self._write_refusals(counted, refused):
            for refusal in refused.values():
                count.refuse(refusal)

    async def _write_refusals(self, counted: RequestCount, refused: dict[str, Refusal]) -> bool:
        """Store them with the count, added to those of their kind that are stored; whether that
        was done. Of two processes that do so at once for the same kind, one counts."""
        try:
            found = readable(await self._store.read_many(counted.tenant_id, [*refused]))
        except StoreError:
            return False
        notes = [
            Refusal.from_document(found[id].document).with_more(one) if id in found else one
            for id, one in refused.items()
        ]
        if not await self._notes.write(counted, *notes):
            return False
        if len(found) < len(notes):
            await self._forget_the_oldest(counted.tenant_id)
        return True

    async def _forget_the_oldest(self, tenant_id: str) -> None:
        """All beyond the last MOST. The next one that is new makes up for what fails here."""
        with suppress(StoreError):
            query = Query(
                "Refusal",
                order=(Order(("lastAt",), descending=True),),
                fields=(),
                limit=KINDS,
                offset=MOST,
            )
            page = await self._store.query(tenant_id, query)
            if page.items:
                await self._store.batch(
                    tenant_id, [Delete(one.document["id"]) for one in page.items]
                )
