"""Statistics for administrators, taken without slowing requests: how many requests each tenant's
connections send, how many get an error, which were refused and why, and which steps of its set-up a
connection has shown.

Each process counts for itself, in memory, and in the background keeps a document per tenant and
hour up to date, one for each kind of refusal and one for each connection. If the process dies, the
last few seconds of its counts are lost.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from directory.documents import StoredModel
from directory.notes import Notes
from directory.reading import readable
from directory.refusals import MOST, Refusal
from directory.seen import Seen
from directory.store import Delete, Order, Query, Store, StoreError
from directory.tenants import RequestCount
from directory.ulids import new_ulid
from scim.exchange import Answer
from scim.refusing import Asked, refusals_of
from scim.seeing import Step, steps_of

EVERY_SECONDS = 10.0
KEPT_SECONDS = 25 * 3600
KINDS = 50
"""Kinds of refusals that are distinguished between two writes; others count as one more kind."""
SEEN_AGAIN = timedelta(minutes=10)
"""How often a step that is seen again and again is written."""
REMEMBERED = 10_000
"""Steps that a process remembers."""
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
"""Fields of the kind for refusals that are not distinguished."""

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
    """Whether a write is scheduled."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By document id, refusals since the last write."""
    seen: dict[str, dict[str, datetime]] = field(default_factory=dict)
    """By connection, the steps of its set-up that were seen since the last write."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while stored documents are read, added to and written."""

    def refuse(self, refusal: Refusal) -> None:
        """Count a refusal."""
        if refusal.document_id not in self.refused and len(self.refused) >= KINDS:
            refusal = refusal.model_copy(update=_MORE)
        known = self.refused.get(refusal.document_id)
        self.refused[refusal.document_id] = known.with_more(refusal) if known else refusal


class RequestCounter:
    """Counts the requests of every tenant, by the hours of the clock `now`. `every_seconds` is the
    least time between two writes of a tenant's count, and `most` how many refusals are kept."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        *,
        every_seconds: float = EVERY_SECONDS,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._every_seconds = every_seconds
        self._most = most
        self._notes = Notes(store, log, "the requests of a tenant were not recorded")
        self._now = now
        self._process = new_ulid()
        self._counts: dict[str, _Count] = {}
        self._seen: dict[tuple[str, str, Step], datetime] = {}
        self._closing = asyncio.Event()

    def saw(self, asked: Asked, answer: Answer) -> None:
        """Count a request and its answer."""
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
        for step in steps_of(asked, answer):
            self._see(count, asked.caller.connection_id, step, now)
        if not count.waiting:
            count.waiting = True
            self._notes.begin(self._write_soon(count))

    def _see(self, count: _Count, connection_id: str, step: Step, now: datetime) -> None:
        key = (count.tenant_id, connection_id, step)
        last = self._seen.get(key)
        if last is not None and now - last < SEEN_AGAIN:
            return
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[key] = now
        count.seen.setdefault(connection_id, {})[step] = now

    async def close(self) -> None:
        """Write the last counts."""
        self._closing.set()
        await self._notes.settle()

    async def _write_soon(self, count: _Count) -> None:
        clock = asyncio.get_running_loop().time
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), count.due - clock())
        count.due = clock() + self._every_seconds
        count.waiting = False  # requests from here on schedule the next write
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
        seen, count.seen = count.seen, {}
        async with count.writing:
            if await self._write(counted, refused, seen):
                return
        for refusal in refused.values():
            count.refuse(refusal)
        for connection_id, steps in seen.items():
            count.seen[connection_id] = steps | count.seen.get(connection_id, {})

    async def _write(
        self,
        counted: RequestCount,
        refused: dict[str, Refusal],
        seen: dict[str, dict[str, datetime]],
    ) -> bool:
        """Store the count, and add refusals and steps to their stored documents; whether that
        succeeded. Where two processes do so at the same time, the additions of one are lost."""
        tenant_id = counted.tenant_id
        fresh = [Seen(tenant_id=tenant_id, connection_id=id, steps=seen[id]) for id in seen]
        ids = [*refused, *(each.document_id for each in fresh)]
        try:
            found = readable(await self._store.read_many(tenant_id, ids)) if ids else {}
        except StoreError:
            return False
        notes: list[StoredModel] = [counted]
        for id, one in refused.items():
            notes.append(
                Refusal.from_document(found[id].document).with_more(one) if id in found else one
            )
        for each in fresh:
            known = found.get(each.document_id)
            notes.append(
                Seen.from_document(known.document).with_more(each.steps) if known else each
            )
        if not await self._notes.write(*notes):
            return False
        if refused.keys() - found.keys():
            await self._forget_the_oldest(tenant_id)
        return True

    async def _forget_the_oldest(self, tenant_id: str) -> None:
        """Delete refusals beyond the last `most`. If that fails, the next new refusal does it."""
        with suppress(StoreError):
            query = Query(
                "Refusal",
                order=(Order(("lastAt",), descending=True),),
                fields=(),
                limit=KINDS,
                offset=self._most,
            )
            page = await self._store.query(tenant_id, query)
            if page.items:
                await self._store.batch(
                    tenant_id, [Delete(one.document["id"]) for one in page.items]
                )
