"""Following every change of access: the feed, as the application reads it.

A position of the API is the store's with the moment up to which it has read, so that a reader who
was away for longer than changes are kept is told, instead of missing what expired.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from directory.access import AccessChange, AccessState
from directory.lanes import apart
from directory.store import LATEST, BadPosition, Store, Stored, Unreadable, member
from directory.ulids import made_at
from reconciler.access import visible

MOST_SECONDS = 30
"""A reader may wait so long for a change."""
LOOK_SECONDS = 1.0
"""Between two looks for whom waits; each costs one query."""
WAITING = 8
"""Readers who wait in one process, a quarter of the requests that an instance is given at once
(`requestsPerInstance` in infra/main.bicep), so that others find room. More are answered at once."""
WAITING_EACH = 2
"""Those of one tenant, and those of all tenants together."""
CHUNK = 100
"""Changes that are read at once."""
MOST_GRANTS = 50_000
"""Entitlements in an answer; what comes behind them is left to the next one."""
MARGIN = timedelta(days=1)
"""So long before changes expire, a position that old counts as lost."""
_STEPS_PER_CHANGE = 100
_POSITION = re.compile(r"(?P<at>\d{1,11})~(?P<place>.+)", re.ASCII)


class TooOld(Exception):
    """Changes behind this position have expired."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Changes in order, and the position behind them."""

    changes: list[dict[str, Any]]
    position: str
    more: bool


class Feed:
    """Reads changes. `now` answers an aware UTC time; `retention` is how long (seconds) changes are
    kept."""

    def __init__(self, store: Store, now: Callable[[], datetime], retention: int) -> None:
        self._store = store
        self._now = now
        self._kept = timedelta(seconds=retention) - MARGIN
        self._waiting: Counter[str] = Counter()
        """By tenant; "" for those who follow all of them."""
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer those who wait, and let nobody wait any more: the process is about to end."""
        self._stopping.set()

    async def position(self, tenant_id: str) -> str:
        """Where the tenant's feed ends now."""
        page = await self._store.changes(tenant_id, LATEST, 0)
        return _written(self._now(), page.position)

    async def read(
        self, tenant_id: str | None, after: str | None, limit: int, wait: float = 0.0
    ) -> Followed:
        """Up to `limit` changes behind a position, of every tenant without one; where there is
        none, whatever comes within `wait` seconds. No thread waits. Raises TooOld, BadPosition,
        LostPosition, StoreError."""
        clock = asyncio.get_running_loop().time
        until = clock() + wait
        page = await self._page(tenant_id, after, limit)
        if page.changes or page.more or not wait or not self._has_room(tenant_id or ""):
            return page
        self._waiting[tenant_id or ""] += 1
        try:
            while not (page.changes or page.more) and (left := until - clock()) > 0:
                if await self._stopped_within(min(LOOK_SECONDS, left)):
                    break
                page = await self._page(tenant_id, page.position, limit)
        finally:
            self._waiting[tenant_id or ""] -= 1
        return page

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _has_room(self, whose: str) -> bool:
        """Whether one more may wait."""
        self._waiting += Counter()  # drops who is not there any more
        return self._waiting[whose] < WAITING_EACH and self._waiting.total() < WAITING

    async def _page(self, tenant_id: str | None, after: str | None, limit: int) -> Followed:
        reached, place = self._place(after)
        told: list[dict[str, Any]] = []
        looked_at, grants, more = 0, 0, True
        while more and looked_at < limit and grants < MOST_GRANTS:
            asked = min(CHUNK, limit - looked_at)
            page = await self._store.changes(tenant_id, place, asked)
            looked_at, place, more = looked_at + asked, page.position, page.more
            items = page.items
            here = sum(_size(stored) for stored in items)
            grants += here
            size = here * 10 + len(items) * _STEPS_PER_CHANGE
            told += await apart(tenant_id or "", size, partial(_told, items))
            if items:
                reached = made_at(str(member(items[-1], "changeId"))) or reached
        return Followed(told, _written(reached if more else self._now(), place or ""), more)

    def _place(self, after: str | None) -> tuple[datetime, str | None]:
        """When a position was reached, and the store's own. Raises BadPosition, TooOld."""
        if after is None:
            return self._now(), None
        found = _POSITION.fullmatch(after)
        if found is None:
            raise BadPosition
        at = datetime.fromtimestamp(int(found["at"]), UTC)
        if self._now() - at > self._kept:
            raise TooOld
        return at, found["place"]


def _told(items: Sequence[Stored]) -> list[dict[str, Any]]:
    """Those that the application can see a difference in. Of what cannot be read it is told whose
    access changed, as far as that is known."""
    told = []
    for stored in items:
        try:
            change = AccessChange.from_document(stored.document)
        except Unreadable:
            told.append(_unreadable(stored))
            continue
        if visible(change.before, change.after):
            told.append(_change(change))
    return told


def _change(change: AccessChange) -> dict[str, Any]:
    return {
        "id": change.change_id,
        "tenant": change.tenant_id,
        "userId": change.user_id,
        "version": change.version,
        "at": change.at,
        "eventId": change.event_id,
        "complete": True,
        "before": _state(change.before),
        "after": _state(change.after),
    }


def _unreadable(stored: Stored) -> dict[str, Any]:
    texts = {
        name: value if isinstance(value := member(stored, name), str) else None
        for name in ("changeId", "tenantId", "userId")
    }
    return {
        "id": texts["changeId"] or "",
        "tenant": texts["tenantId"] or "",
        "userId": texts["userId"],
        "version": 0,
        "at": None,
        "eventId": None,
        "complete": False,
        "before": None,
        "after": None,
    }


def _state(state: AccessState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "enabled": state.enabled,
        "reasons": state.reasons,
        "grants": [{"kind": grant.kind, "key": grant.key} for grant in state.grants],
    }


def _size(stored: Stored) -> int:
    """About how many grants a change tells of, on both sides."""
    differences, sides = member(stored, "differences"), 0
    if isinstance(differences, dict):
        groups = differences.get("grants") or ()
        return 2 * sum(len(keys) for group in groups for keys in group.get("held", {}).values())
    for name in ("before", "after"):
        side = member(stored, name)
        sides += len(side.get("grants", ())) if isinstance(side, dict) else 0
    return sides


def _written(at: datetime, place: str) -> str:
    return f"{int(at.timestamp())}~{place}"
