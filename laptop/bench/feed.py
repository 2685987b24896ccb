"""How long it takes to read the feed of changes, and to find that there is nothing new."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import wiring
from access.following import Feed
from directory.access import AccessChange, AccessState, Grant, GrantSource
from directory.documents import new_resource_id
from directory.store import Create
from laptop.bench.seed import write
from settings import Settings

TENANT = "people"
PAGE = 1000
IDLE = 200


@dataclass(frozen=True, slots=True)
class FeedTimes:
    """Seconds of the process, on SQLite: for all pages, for one of the first and of the last ten,
    and for a read that finds nothing new."""

    changes: int
    all: float
    first: float
    last: float
    idle: float


async def measure(changes: int, progress: Callable[[str], None]) -> FeedTimes:
    """Read so many changes, a page after the other. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        application = wiring.Application(Settings(data=Path(name)))
        try:
            progress(f"feed: storing {changes:,} changes")
            await write(application.store, TENANT, _creates(changes))
            progress("feed: reading them")
            return await _read(application.feed, changes)
        finally:
            await application.close()


async def _read(feed: Feed, changes: int) -> FeedTimes:
    seconds: list[float] = []
    position: str | None = None
    found = 0
    while found < changes:
        started = time.perf_counter()
        page = await feed.read(TENANT, position, PAGE)
        position = page.position
        seconds.append(time.perf_counter() - started)
        found += len(page.changes)
    return FeedTimes(
        changes,
        sum(seconds),
        statistics.median(seconds[:10]),
        statistics.median(seconds[-10:]),
        await _idle(feed, position),
    )


async def _idle(feed: Feed, end: str | None) -> float:
    seconds = []
    for _ in range(IDLE):
        started = time.perf_counter()
        await feed.read(TENANT, end, PAGE)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _creates(changes: int) -> Iterator[Create]:
    """Each gives a user one role."""
    now = wiring.utc_now()
    given = Grant(kind="role", key="addInUser", sources=(GrantSource(type="manual"),))
    for _ in range(changes):
        change = AccessChange(
            tenant_id=TENANT,
            change_id=new_resource_id(),
            user_id=new_resource_id(),
            version=1,
            at=now,
            event_id=new_resource_id(),
            after=AccessState(enabled=True, grants=(given,)),
            ttl=400 * 86_400,
        )
        yield Create(change.to_document())
