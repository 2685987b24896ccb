"""Following every change of access: the feed, as the application reads it.

A position of the API is the store's position with the time up to which it has read. So a reader who
was away for longer than changes are kept gets an error, instead of silently missing expired ones.
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
"""The longest that a reader may wait for a change."""
LOOK_SECONDS = 1.0
"""Pause between two queries for a waiting reader."""
WAITING = 8
"""The most readers that wait in one process: a quarter of an instance's simultaneous requests
(`requestsPerInstance` in infra/main.bicep), so that others have room. Further readers are answered
at once."""
WAITING_EACH = 2
"""The most waiting readers of one tenant, and of those that follow all tenants."""
CHUNK = 100
"""Changes in one query."""
MOST_GRANTS = 50_000
"""The most grants in an answer; further changes are left to the next answer."""
MARGIN = timedelta(days=1)
"""A position counts as too old this long before its changes expire."""
_STEPS_PER_CHANGE = 100
_POSITION = re.compile(r"(?P<at>\d{1,11})~(?P<position>.+)", re.ASCII)


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
    kept. `chunk` changes are read at once, for an answer of about `most_grants` entitlements. A
    waiting reader looks every `look_seconds`."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        retention: int,
        *,
        chunk: int = CHUNK,
        most_grants: int = MOST_GRANTS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._now = now
        self._kept = timedelta(seconds=retention) - MARGIN
        self._chunk = chunk
        self._most_grants = most_grants
        self._look_seconds = look_seconds
        self._waiting: Counter[str] = Counter()
        """Waiting readers by tenant; "" for those who follow all tenants."""
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer all who wait, and let no further reader wait: the process is about to end."""
        self._stopping.set()

    async def position(self, tenant_id: str) -> str:
        """Where the tenant's feed ends now."""
        page = await self._store.changes(tenant_id, LATEST, 0)
        return _written(self._now(), page.position)

    async def read(
        self, tenant_id: str | None, after: str | None, limit: int, wait: float = 0.0
    ) -> Followed:
        """Up to `limit` changes behind the position `after`; without a tenant, those of all. Where
        there are none yet, waits up to `wait` seconds, without blocking a thread. Raises TooOld,
        BadPosition, LostPosition, StoreError."""
        clock = asyncio.get_running_loop().time
        until = clock() + wait
        page = await self._page(tenant_id, after, limit)
        if page.changes or page.more or not wait or not self._has_room(tenant_id or ""):
            return page
        self._waiting[tenant_id or ""] += 1
        try:
            while not (page.changes or page.more) and (left := until - clock()) > 0:
                if await self._stopped_within(min(self._look_seconds, left)):
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
        """Whether one more reader may wait."""
        self._waiting += Counter()  # drops the zeros
        return self._waiting[whose] < WAITING_EACH and self._waiting.total() < WAITING

    async def _page(self, tenant_id: str | None, after: str | None, limit: int) -> Followed:
        reached, position = self._parsed(after)
        changes: list[dict[str, Any]] = []
        looked_at, grants, more = 0, 0, True
        while more and looked_at < limit and grants < self._most_grants:
            chunk = min(self._chunk, limit - looked_at)
            page = await self._store.changes(tenant_id, position, chunk)
            looked_at, position, more = looked_at + chunk, page.position, page.more
            items = page.items
            here = sum(_size(stored) for stored in items)
            grants += here
            size = here * 10 + len(items) * _STEPS_PER_CHANGE
            changes += await apart(tenant_id or "", size, partial(_shown, items))
            if items:
                reached = made_at(str(member(items[-1], "changeId"))) or reached
        return Followed(changes, _written(reached if more else self._now(), position or ""), more)

    def _parsed(self, after: str | None) -> tuple[datetime, str | None]:
        """The time that a position had reached, and the store's position. Raises BadPosition,
        TooOld."""
        if after is None:
            return self._now(), None
        found = _POSITION.fullmatch(after)
        if found is None:
            raise BadPosition
        at = datetime.fromtimestamp(int(found["at"]), UTC)
        if self._now() - at > self._kept:
            raise TooOld
        return at, found["position"]


def _shown(items: Sequence[Stored]) -> list[dict[str, Any]]:
    """The changes in which the application sees a difference. An unreadable change shows whose
    access changed, as far as that is known."""
    shown = []
    for stored in items:
        try:
            change = AccessChange.from_document(stored.document)
        except Unreadable:
            shown.append(_unreadable(stored))
            continue
        if visible(change.before, change.after):
            shown.append(_change(change))
    return shown


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
    """About how many grants both sides of a change have."""
    differences, sides = member(stored, "differences"), 0
    if isinstance(differences, dict):
        groups = differences.get("grants") or ()
        return 2 * sum(len(keys) for group in groups for keys in group.get("held", {}).values())
    for name in ("before", "after"):
        side = member(stored, name)
        sides += len(side.get("grants", ())) if isinstance(side, dict) else 0
    return sides


def _written(at: datetime, position: str) -> str:
    return f"{int(at.timestamp())}~{position}"
