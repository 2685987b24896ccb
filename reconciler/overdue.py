"""The second way to access: the timer itself reconciles events that the queue did not deliver in
time.

A scale controller that cannot read the queue, an unavailable queue, a message that was lost, or
dead-lettered for a cause that has gone: each leaves an event pending. The queue is the fast way,
the timer the sure one. Both do the same idempotent work, even on one event at the same time.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from directory.documents import event_id, ulid_of
from directory.store import (
    Assign,
    Document,
    NotFound,
    Store,
    Throttled,
    Unavailable,
    Update,
)
from queues.relay import pending_events, second
from reconciler.worker import Reconciler, Share
from telemetry.logs import place
from telemetry.observation import Observation, current

RUN_SECONDS = 20.0
"""A run starts no further work after this time; the timer runs every 30 seconds."""
AT_ONCE = 16
PAGE = 500
"""Events that are listed in one round trip."""
PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 900.0

log = logging.getLogger("muster.overdue")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event, and where its next share begins (None: at its start)."""

    tenant_id: str
    event_id: str
    cursor: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    until: float
    """When the event is tried again (seconds of the clock)."""


class Overdue:
    """Reconciles events that have been pending for longer than `after_seconds` (0: never).

    After `attempts` failures here an event is marked `failed`, as it is after the last delivery of
    its message. `now` answers an aware UTC time; `clock` is a steady one, in seconds. `at_once`
    events are worked on at the same time.
    """

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        now: Callable[[], datetime],
        *,
        after_seconds: float,
        attempts: int,
        clock: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._now = now
        self._after = timedelta(seconds=after_seconds)
        self._attempts = attempts
        self._clock = clock
        self._at_once = at_once
        self._failures: dict[str, _Failures] = {}

    async def apply(self, seconds: float = RUN_SECONDS) -> int:
        """Work for about `seconds`, on the oldest events first and on tenants in turn; returns how
        many events were completed. The next run continues with what is left. An event that fails is
        logged and does not stop others. Raises StoreError where events cannot be listed."""
        if not self._after:
            return 0
        end = self._clock() + seconds
        cutoff = self._now() - self._after
        turns, completed = _Turns(), 0
        query = pending_events(cutoff, PAGE, ("progress", "resume"))
        more = True
        while self._clock() < end:
            while more and len(turns) < self._at_once:
                page = await self._store.query_every_tenant(query)
                turns.add(self._due((stored.document for stored in page.items), cutoff))
                more = page.continuation is not None
                query = replace(query, continuation=page.continuation)
            together = turns.take(self._at_once)
            if not together:
                break
            shares = await asyncio.gather(*(self._share(one) for one in together))
            for one, share in zip(together, shares, strict=True):
                completed += share.completed
                turns.add(_Waiting(one.tenant_id, id, cursor) for id, cursor in share.others)
                if share.rest is not None:
                    turns.add([replace(one, cursor=share.rest)])
        current().measures["applied_by_timer"] = completed
        return completed

    def _due(self, documents: Iterable[Document], cutoff: datetime) -> list[_Waiting]:
        """Events that have not moved since `cutoff` and whose pause after a failure is over."""
        self._failures = {
            id: failures
            for id, failures in self._failures.items()
            if failures.until + LONGEST_PAUSE_SECONDS > self._clock()
        }
        due = []
        for document in documents:
            tenant_id, event = document["tenantId"], ulid_of(document["id"])
            moved = (document.get("progress") or {}).get("at", "")
            failures = self._failures.get(event)
            if moved < second(cutoff) and not (failures and self._clock() < failures.until):
                due.append(_Waiting(tenant_id, event, document.get("resume")))
        return due

    async def _share(self, one: _Waiting) -> Share:
        """Do one share of an event, and store on the event where the next share begins."""
        count = self._failures[one.event_id].count if one.event_id in self._failures else 0
        last = count + 1 >= self._attempts
        try:
            with Observation(log, "apply", tenant_id=one.tenant_id, event_id=one.event_id):
                share = await self._reconciler.work(
                    one.tenant_id, one.event_id, one.cursor, last_attempt=last
                )
                if share.rest is not None:
                    await self._remember(one, share.rest)
        except (Throttled, Unavailable):
            return Share()  # the store is busy; the next run comes soon enough
        except Exception as error:  # noqa: BLE001 - one event must not hold up others
            log.error("event %s could not be applied: %s", one.event_id, place(error))
            pause = min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2**count)
            self._failures[one.event_id] = _Failures(count + 1, self._clock() + pause)
            return Share()
        self._failures.pop(one.event_id, None)
        return share

    async def _remember(self, one: _Waiting, rest: dict[str, Any]) -> None:
        resume = Update(event_id(one.event_id), (Assign(("resume",), rest),))
        with suppress(NotFound):
            await self._store.batch(one.tenant_id, [resume])


class _Turns:
    """Waiting events, taken from tenants in turn; within a tenant in the order of arrival."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, deque[_Waiting]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_tenant.values()))

    def add(self, events: Iterable[_Waiting]) -> None:
        for one in events:
            self._by_tenant.setdefault(one.tenant_id, deque()).append(one)

    def take(self, count: int) -> list[_Waiting]:
        """The next events, at most `count`; a tenant goes to the end after each of its events."""
        taken: list[_Waiting] = []
        while self._by_tenant and len(taken) < count:
            tenant_id = next(iter(self._by_tenant))
            waiting = self._by_tenant.pop(tenant_id)
            taken.append(waiting.popleft())
            if waiting:
                self._by_tenant[tenant_id] = waiting
        return taken
