"""The feed on Cosmos DB: changes in the order of `_ts`, the second in which the service wrote them.

`_ts` alone is no position: many changes share a second, and one may become readable a little after
another with a later `_ts`. So a position has two parts. Up to `settled` everything is final: it is
older than OVERLAP_SECONDS by the service's clock, and was answered. Younger changes are answered,
too, and the position remembers the id of each (`seen`) until it is settled. It remembers at most
SEEN of them; further changes wait until they are settled.

Within a second, changes are in the order of the versions of the access records that they led to, so
that the changes of one user are in order, whatever the clocks of the processes that made their ids.
"""

# ruff: noqa: S608 - composes SQL of constants, quoted keys and parameters

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, NamedTuple, Protocol

from directory.access import AccessChange, access_change_id
from directory.cosmos.indexing import FEED_ORDER
from directory.cosmos.query import DOCUMENT, CosmosCompiler, Select, member
from directory.store import LATEST, BadPosition, Changes, LostPosition, Stored

OVERLAP_SECONDS = 10
"""A change is final once it is this much older than the service's newest answer: more than the 5
seconds that a request may run, the second that `_ts` is rounded to, and the drift of its clocks."""
SEEN = 128
"""Changes that a position remembers, 26 characters each."""
KEYS = 5_000
"""Places that one query over all tenants reads at most, to find the first ones among them."""
_AHEAD_SECONDS = 3600
"""A position further ahead of the service's clock means that the store was restored."""
_TYPE = AccessChange.document_type
_PREFIX = access_change_id("")
_POSITION = re.compile(
    r"(?P<ts>\d{1,12})\.(?P<version>\d{1,12})\.(?P<id>([0-9a-z]{26})?)"
    rf"\.(?P<seen>([0-9a-z]{{26}}){{0,{SEEN}}})"
)


class Place(NamedTuple):
    """Where a change is in the feed."""

    ts: int
    version: int
    id: str


START = Place(0, 0, "")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has read."""

    settled: Place = START
    seen: frozenset[str] = frozenset()
    """Ids of documents behind `settled` that were answered."""

    def write(self) -> str:
        """As URL-safe text."""
        ts, version, id = self.settled
        seen = "".join(sorted(each.removeprefix(_PREFIX) for each in self.seen))
        return f"{ts}.{version}.{id.removeprefix(_PREFIX)}.{seen}"

    @classmethod
    def read(cls, text: str | None) -> "Position":
        """Raises BadPosition."""
        if text is None:
            return cls()
        found = _POSITION.fullmatch(text)
        if found is None:
            raise BadPosition
        settled = Place(
            int(found["ts"]), int(found["version"]), found["id"] and _PREFIX + found["id"]
        )
        seen = batched(found["seen"], 26, strict=True)
        return cls(settled, frozenset(_PREFIX + "".join(each) for each in seen))

    def is_ahead_of(self, now: int) -> bool:
        """Whether no reader can have got there by the service's clock."""
        return self.settled.ts > now + _AHEAD_SECONDS


@dataclass(frozen=True, slots=True)
class Found:
    """Places behind a position, in order: all up to the last one, and all before the second `until`
    (None: all there are). From the index `doubtful` on, an unsettled place may be missing, because
    these were not read at the same moment as the others."""

    places: Sequence[Place]
    until: int | None
    doubtful: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a reader."""

    places: tuple[Place, ...]
    position: Position
    more: bool


def take(position: Position, found: Found, now: int, limit: int) -> Taken:
    """The next `limit` of the found places; `now` is the service's clock, in seconds."""
    final = now - OVERLAP_SECONDS
    taken: list[Place] = []
    settled, seen = position.settled, set(position.seen)
    going_on, more = True, False
    """Whether everything so far was answered and is final."""
    for number, place in enumerate(found.places):
        young = place.ts > final
        if place.id not in seen:
            more = len(taken) >= limit
            if more or (young and (len(seen) >= SEEN or number >= found.doubtful)):
                going_on = False
                break
            taken.append(place)
            if young:
                seen.add(place.id)
        if young:
            going_on = False
        elif going_on:
            settled = place
            seen.discard(place.id)
    else:
        # All final changes were found, so everything up to `final` is settled.
        end = final + 1 if found.until is None else min(final + 1, found.until)
        settled = max(settled, Place(end, 0, ""))
        if found.until is None:
            seen &= {place.id for place in found.places if place > settled}
        else:
            more = bool(taken) or settled > position.settled
    return Taken(tuple(taken), Position(settled, frozenset(seen)), more)


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of a query. The first answer that had rows held `first` of them; `at` is when it was
    given, by the service's clock in seconds. `whole`: there are no other rows."""

    rows: Sequence[Mapping[str, Any]]
    first: int
    at: int | None
    whole: bool = True


class FeedQueries(Protocol):
    """What the feed needs from the store."""

    async def answered(self, select: Select, tenant_id: str | None, most: int) -> Answered:
        """At most `most` rows of a query, in one tenant's partition or (None) in all of them."""
        ...

    async def items(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
        """Documents by (id, tenant)."""
        ...

    def stored(self, row: Mapping[str, Any]) -> Stored:
        """A row that is a whole document."""
        ...


async def read_changes(
    store: FeedQueries, tenant_id: str | None, after: str | None, limit: int
) -> Changes:
    """See Store. Raises BadPosition, LostPosition, what the store raises."""
    if after == LATEST:
        nothing = await store.answered(select_changes(_NEVER, 1), tenant_id or "", 1)
        return Changes((), _taken(Position(), nothing, None, 0).position.write())
    position = Position.read(after)
    if tenant_id is None:
        return await _of_every_tenant(store, position, limit)
    most = limit + len(position.seen)
    answered = await store.answered(select_changes(position, most + 1), tenant_id, most)
    taken = _taken(position, answered, None if answered.whole else 0, limit)
    by_id = {row["id"]: row for row in answered.rows}
    items = tuple(store.stored(by_id[place.id]) for place in taken.places)
    return Changes(items, taken.position.write(), taken.more)


_NEVER = Position(Place(10**11, 0, ""))


async def _of_every_tenant(store: FeedQueries, position: Position, limit: int) -> Changes:
    """Sorting over all partitions would read everything, so this looks for a span of seconds that
    holds at most KEYS places, or one second: the rows that were read show where to cut."""
    since, until = position.settled.ts, None
    while True:
        most = KEYS if until is None or until > since + 1 else 10**9
        answered = await store.answered(select_places(since, until), None, most)
        if answered.whole:
            break
        times = sorted(place_of(row).ts for row in answered.rows)
        until = max(since + 1, times[len(times) // 2])
    tenants = {row["id"]: row["tenant"] for row in answered.rows}
    beyond = sorted(
        (row for row in answered.rows if place_of(row) > position.settled), key=place_of
    )
    # Two answers are never of the same moment, so with more than one every place is doubtful.
    first = len(beyond) if answered.first == len(answered.rows) else 0
    taken = _taken(position, Answered(beyond, first, answered.at), until, limit)
    keys = [(place.id, tenants[place.id]) for place in taken.places]
    found = await store.items(keys) if keys else {}
    items = tuple(found[key] for key in keys if key in found)
    return Changes(items, taken.position.write(), taken.more)


def _taken(position: Position, answered: Answered, until: int | None, limit: int) -> Taken:
    if answered.at is not None and position.is_ahead_of(answered.at):
        raise LostPosition
    places = [place_of(row) for row in answered.rows]
    # Where the answer has no time, the newest place that it found stands in for it.
    newest = max((place.ts for place in places), default=0)
    now = answered.at if answered.at is not None else newest
    return take(position, Found(places, until, answered.first), now, limit)


def select_changes(position: Position, limit: int) -> Select:
    """Up to `limit` changes of one tenant behind the settled place, in order."""
    compiler = CosmosCompiler(_TYPE)
    ts, version, id = map(compiler.bind, position.settled)
    return compiler.select(
        f'SELECT * FROM c WHERE c["type"] = {compiler.bind(_TYPE)} AND c["_ts"] >= {ts}'
        f' AND (c["_ts"] > {ts} OR c["version"] > {version}'
        f' OR (c["version"] = {version} AND c["id"] > {id}))'
        f" ORDER BY {', '.join(member(DOCUMENT, path) for path in FEED_ORDER)}"
        f" OFFSET 0 LIMIT {limit}"
    )


def select_places(since: int, until: int | None) -> Select:
    """The places of all tenants' changes, unordered, in seconds from `since` to before `until`."""
    compiler = CosmosCompiler(_TYPE)
    selected = f'c["type"] = {compiler.bind(_TYPE)} AND c["_ts"] >= {compiler.bind(since)}'
    if until is not None:
        selected += f' AND c["_ts"] < {compiler.bind(until)}'
    return compiler.select(
        'SELECT c["id"] AS id, c["tenantId"] AS tenant, c["_ts"] AS ts, c["version"] AS version'
        f" FROM c WHERE {selected}"
    )


def place_of(row: Any) -> Place:
    """The place of a document, or of a row of `select_places`."""
    ts = row["_ts"] if "_ts" in row else row["ts"]
    version = row.get("version")
    return Place(ts, version if type(version) is int else 0, row["id"])
