"""The Cosmos DB store over the wire: the contract, and what only this store can get wrong.

The unmodified SDK talks to the façade in tests/emulators/cosmos.py.
"""

import logging
from collections.abc import AsyncIterator

import pytest

from directory.condition import Compare
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.store import (
    Assign,
    Conflict,
    Create,
    Increment,
    NotFound,
    Order,
    Query,
    Stored,
    Unset,
    Update,
    Upsert,
)
from tests.contract.store_contract import Clock, StoreContract
from tests.contract.store_query_contract import create, document
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container

KEY = "Zm9yIHRlc3Rz"
ACME = "acme"

# aiohttp warns of bodies over 1 MB; the contract writes up to the 2 MB that the service takes.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def facade(clock: Clock) -> AsyncIterator[Facade]:
    async with serving(Facade(Container(indexing_policy(), clock))) as facade:
        yield facade


@pytest.fixture
async def store(facade: Facade) -> AsyncIterator[CosmosStore]:
    store = CosmosStore(facade.endpoint, KEY)
    yield store
    await store.close()


class TestOnTheWire(StoreContract):
    """The contract."""


async def test_request_units_are_told(facade: Facade) -> None:
    told: list[tuple[str, float]] = []
    store = CosmosStore(facade.endpoint, KEY, meter=lambda what, units: told.append((what, units)))
    await store.batch(ACME, [Create(document(ACME, id)) for id in "ab"])
    with pytest.raises(Conflict):
        await store.batch(ACME, [Create(document(ACME, "a"))])
    await store.read(ACME, "a")
    with pytest.raises(NotFound):
        await store.read(ACME, "c")
    await store.read_many(ACME, ["a", "b"])
    await store.query(ACME, Query("User", Compare(("n",), "eq", 1)))
    await store.count(ACME, "User")
    assert [what for what, _ in told] == [
        *("batch", "batch", "read", "read", "read_many", "query", "query")
    ]
    assert all(units > 0 for _, units in told)
    await store.close()


async def test_documents_come_without_what_the_service_adds(
    store: CosmosStore, facade: Facade
) -> None:
    (etag,) = await store.batch(ACME, [Upsert(document(ACME, "a", _x=1, _ets=2))])
    expected = Stored(document(ACME, "a", _x=1, _ets=2), str(etag))
    assert facade.container.read(ACME, "a")["_etag"] == f'"{etag}"'
    assert await store.read(ACME, "a") == expected
    assert await store.read_many(ACME, ["a"]) == {"a": expected}
    assert (await store.query(ACME, Query("User"))).items == (expected,)


@pytest.mark.parametrize("id", [" a ", "a b", "%2F", "a+b", "a&b=c", "é", "~", "...", "a'b", '"'])
async def test_ids_survive_the_url(store: CosmosStore, id: str) -> None:
    await store.batch(ACME, [Create(document(ACME, id))])
    assert (await store.read(ACME, id)).document["id"] == id
    assert list(await store.read_many(ACME, [id, "b"])) == [id]


@pytest.mark.parametrize("id", [".", "..", "a\n"])
async def test_ids_that_a_url_does_not_carry(store: CosmosStore, id: str) -> None:
    with pytest.raises(NotFound):
        await store.read(ACME, id)
    with pytest.raises(ValueError, match="id"):
        await store.batch(ACME, [Create(document(ACME, id))])


async def test_the_sdk_logs_warnings_only(
    store: CosmosStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It would write a line per request, with the ids of people in it."""
    with caplog.at_level(logging.INFO):
        await store.batch(ACME, [Create(document(ACME, "a"))])
        await store.read(ACME, "a")
    assert [record.name for record in caplog.records if record.name.startswith("azure")] == []
    assert logging.getLogger("azure").level == logging.WARNING


async def test_changes_of_members_whose_names_a_pointer_escapes(store: CosmosStore) -> None:
    await create(store, [document(ACME, "a") | {"a/b": {"~1": 1, "c": 2}}])
    changes = (Increment(("a/b", "~1")), Unset(("a/b", "c")), Assign(("~0/",), 3))
    await store.batch(ACME, [Update("a", changes)])
    found = (await store.read(ACME, "a")).document
    assert found == document(ACME, "a") | {"a/b": {"~1": 2}, "~0/": 3}


async def test_round_trips(store: CosmosStore, facade: Facade) -> None:
    """What each call costs, once connected."""
    await create(store, [document(ACME, f"{n}", n=n) for n in range(9)])
    found: dict[str, list[str]] = {}
    for name, call in {
        "read": store.read(ACME, "1"),
        "read_many of one": store.read_many(ACME, ["1"]),
        "read_many": store.read_many(ACME, ["1", "2", "3"]),
        "batch": store.batch(ACME, [Upsert(document(ACME, "1")), Upsert(document(ACME, "2"))]),
        "query": store.query(ACME, Query("User", limit=5)),
        "sorted": store.query(ACME, Query("User", order=(Order(("n",)),), limit=5)),
        "every tenant": store.query_every_tenant(Query("User", limit=5)),
        "count": store.count(ACME, "User"),
    }.items():
        facade.requests.clear()
        await call
        found[name] = [*facade.requests]
    assert found == {
        "read": ["read"],
        "read_many of one": ["ranges", "ranges", "read"],  # the ranges once per process
        "read_many": ["query"],
        "batch": ["batch"],
        "query": ["query"],
        "sorted": ["query", "query"],
        "every tenant": ["query", "query"],
        "count": ["query"],
    }
