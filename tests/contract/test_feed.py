"""The feed of changes, on every store: nothing is missed, and each user's changes are in order,
however writers and readers interleave (invariant 9)."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.access import AccessChange
from directory.cosmos import feed
from directory.cosmos.feed import OVERLAP_SECONDS
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.sqlite.store import SqliteStore
from directory.store import LATEST, BadPosition, Create, Delete, LostPosition, Store
from directory.ulids import new_ulid
from tests.contract.store_contract import Clock
from tests.contract.store_query_contract import SHARED, tenant
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(repr=False)
class Place:
    """A store with its clock; `lag` is how slow its transactions are."""

    store: Store
    clock: Clock
    facade: Facade | None = None
    committed: dict[str, float] = field(default_factory=dict)
    """When the last change of a user was."""
    versions: dict[str, int] = field(default_factory=dict)

    async def write(
        self, tenant_id: str, *users: str, lag: float = 0, skew: float = 0
    ) -> list[str]:
        """A batch of changes, one per user, whose ids a clock made that is wrong by `skew`
        seconds. What it follows from, the version before, was committed before it began."""
        now = self.clock()
        last = max((self.committed.get(user, 0.0) for user in users), default=0.0)
        if self.facade is not None:
            self.facade.container.lag = min(lag, max(0.0, now - last))
        changes = [self._change(tenant_id, user, skew) for user in users]
        await self.store.batch(tenant_id, [Create(change.to_document()) for change in changes])
        self.committed |= dict.fromkeys(users, now)
        return [change.document_id for change in changes]

    def _change(self, tenant_id: str, user: str, skew: float) -> AccessChange:
        version = self.versions[user] = self.versions.get(user, 0) + 1
        at = START + timedelta(seconds=self.clock() + skew)
        return AccessChange(
            tenant_id=tenant_id,
            change_id=new_ulid(at),
            user_id=user,
            version=version,
            at=at,
            event_id="e",
            ttl=400 * 86_400,
        )


@pytest.fixture(params=["sqlite", "wire"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    clock = Clock()
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "muster.sqlite", clock)
        yield Place(store, clock)
        await store.close()
        return
    async with serving(Facade(Container(indexing_policy(), clock))) as facade:
        cosmos = CosmosStore(facade.endpoint, "Zm9v")
        yield Place(cosmos, clock, facade)
        await cosmos.close()


@dataclass
class Reader:
    """Follows a feed, and loses its memory at times."""

    tenant_id: str | None
    position: str | None
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def read(self, store: Store, limit: int, *, forgets: bool = False) -> bool:
        """One page; whether there was anything."""
        page = await store.changes(self.tenant_id, self.position, limit)
        assert len(page.items) <= limit
        self.seen += [stored.document for stored in page.items]
        if not forgets:
            self.position = page.position
        return bool(page.items) or page.more

    async def drain(self, store: Store) -> None:
        """Up to the end."""
        while await self.read(store, 50):
            pass

    def check(self, tenants: list[str], written: set[str]) -> None:
        """Nothing is missed, and of every user the versions came in order."""
        mine = [document for document in self.seen if document["tenantId"] in tenants]
        assert {document["id"] for document in mine} == written
        versions: dict[str, list[int]] = {}
        for document in {document["id"]: document for document in reversed(mine)}.values():
            versions.setdefault(document["userId"], []).insert(0, document["version"])
        assert all(each == sorted(each) for each in versions.values()), versions


writes = st.tuples(
    st.just("write"),
    st.sampled_from([(0, ("a",)), (0, ("b",)), (0, ("d", "e", "a")), (1, ("c",))]),
    st.sampled_from([0, 0, 0.5, 3, 9]),
    st.sampled_from([0, -3600, 7, 3600]),
)
reads = st.tuples(st.just("read"), st.integers(0, 2), st.sampled_from([1, 2, 5]), st.booleans())
passing = st.tuples(st.just("pass"), st.sampled_from([0.3, 1, 4, OVERLAP_SECONDS + 1]))


@pytest.mark.parametrize("remembered", [2, 128])
@settings(max_examples=60, suppress_health_check=SHARED)
@given(steps=st.lists(writes | reads | passing, max_size=24))
async def test_nothing_is_missed_and_order_is_kept(
    place: Place, remembered: int, steps: list[tuple[Any, ...]]
) -> None:
    """Slow transactions, skewed clocks, several writers; readers that stop, resume and forget."""
    tenants = [tenant(), tenant()]
    written: list[set[str]] = [set(), set()]
    beginning = (await place.store.changes(None, LATEST, 0)).position
    readers = [Reader(tenants[0], None), Reader(tenants[1], None), Reader(None, beginning)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "SEEN", remembered)
        for step in steps:
            match step:
                case "write", (whose, users), lag, skew:
                    named = [f"{user}-{tenants[whose]}" for user in users]
                    ids = await place.write(tenants[whose], *named, lag=lag, skew=skew)
                    written[whose].update(ids)
                case "read", number, limit, forgets:
                    await readers[number].read(place.store, limit, forgets=forgets)
                case "pass", seconds:
                    place.clock.advance(seconds)
        if remembered > len(written[0] | written[1]):
            for reader in readers:
                await reader.drain(place.store)  # what is there is read at once
            readers[0].check(tenants, written[0])
            readers[2].check(tenants, written[0] | written[1])
        place.clock.advance(OVERLAP_SECONDS + 1)
        for reader in readers:
            await reader.drain(place.store)
    readers[0].check(tenants, written[0])
    readers[1].check(tenants, written[1])
    readers[2].check(tenants, written[0] | written[1])


async def test_the_end_of_the_feed_is_where_a_snapshot_begins(place: Place) -> None:
    mine, others = tenant(), tenant()
    await place.write(mine, "a")
    place.clock.advance(OVERLAP_SECONDS + 2)
    reader = Reader(mine, (await place.store.changes(mine, LATEST, 0)).position)
    assert not await reader.read(place.store, 10)
    after = await place.write(mine, "a", "b")
    await place.write(others, "c")
    assert await reader.read(place.store, 10)
    assert {document["id"] for document in reader.seen} == {*after}
    assert not await reader.read(place.store, 10)


async def test_an_idle_look_is_one_request(place: Place) -> None:
    mine = tenant()
    position = (await place.store.changes(mine, LATEST, 0)).position
    for scope in (mine, None):
        if place.facade is not None:
            place.facade.requests.clear()
        page = await place.store.changes(scope, position, 100)
        assert (page.items, page.more) == ((), False)
        if place.facade is not None:
            assert place.facade.requests == ["query"]


async def test_of_a_crowd_as_many_come_at_once_as_a_position_remembers(place: Place) -> None:
    mine = tenant()
    written = set()
    for batch in range(3):
        users = [f"{batch}-{number}" for number in range(60)]
        written.update(await place.write(mine, *users))
    reader = Reader(mine, None)
    await reader.drain(place.store)
    assert len(reader.seen) == (len(written) if place.facade is None else feed.SEEN)
    assert len(reader.position or "") < 3_500
    place.clock.advance(OVERLAP_SECONDS + 1)
    await reader.drain(place.store)
    reader.check([mine], written)
    assert len(reader.seen) == len(written)


async def test_a_number_is_given_once(place: Place) -> None:
    """The newest change expires or is removed; what comes after it is not taken for it."""
    mine = tenant()
    (removed,) = await place.write(mine, "a")
    reader = Reader(mine, None)
    await reader.drain(place.store)
    await place.store.batch(mine, [Delete(removed)])
    (added,) = await place.write(mine, "a")
    await reader.drain(place.store)
    assert [document["id"] for document in reader.seen] == [removed, added]


@pytest.mark.parametrize(
    "position",
    ["", "x", "-1", "1.5", "9" * 40, "1..x.", "١", "1.2.3.4", "0.0.." + "a" * 27, "\ud800"],
)
async def test_a_position_of_nothing_is_refused(place: Place, position: str) -> None:
    with pytest.raises(BadPosition):
        await place.store.changes(tenant(), position, 10)


async def test_a_position_that_the_feed_has_not_reached_is_lost(place: Place) -> None:
    ahead = "999999" if place.facade is None else f"{int(place.clock()) + 9_999}.0.."
    for scope in (tenant(), None):
        with pytest.raises(LostPosition):
            await place.store.changes(scope, ahead, 10)


async def test_of_many_changes_of_all_tenants_a_span_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEYS", 8)
    tenants = [tenant() for _ in range(3)]
    reader = Reader(None, (await place.store.changes(None, LATEST, 0)).position)
    written = set()
    for number in range(30):
        written.update(await place.write(tenants[number % 3], f"u{number % 3}", f"v{number % 3}"))
        place.clock.advance(0.7)
    place.clock.advance(OVERLAP_SECONDS)
    while await reader.read(place.store, 5):
        pass
    reader.check(tenants, written)


async def test_changes_of_an_earlier_version_are_in_the_feed(tmp_path: Path) -> None:
    path, clock = tmp_path / "muster.sqlite", Clock()
    place = Place(SqliteStore(path, clock), clock)
    before = await place.write("acme", "a", "b")
    await place.store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE documents RENAME COLUMN element_values TO elements")
        connection.execute("DROP TABLE feed")
        connection.execute('DROP INDEX "User.texts"')
        connection.execute("ALTER TABLE documents DROP COLUMN texts")
        connection.execute("PRAGMA user_version = 2")
    place.store = SqliteStore(path, clock)
    after = await place.write("acme", "a")
    reader = Reader("acme", None)
    await reader.drain(place.store)
    assert [document["id"] for document in reader.seen] == [*before, *after]
    await place.store.close()
