"""What a service does on a bad day: the Cosmos DB store through the unmodified SDK.

Nothing is lost and nothing doubled: what a batch answers is true, and where the truth is not
known it says Unavailable.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from directory.cosmos.batch import UNKNOWN_ETAG
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import PAUSES, CosmosStore
from directory.store import (
    Assign,
    Conflict,
    Create,
    Delete,
    Document,
    Increment,
    NotFound,
    Operation,
    Order,
    PreconditionFailed,
    Query,
    Replace,
    Throttled,
    Unavailable,
    Unset,
    Update,
    Upsert,
)
from tests.contract.store_query_contract import document, ids
from tests.emulators.cosmos import Facade, Fault, serving
from tests.emulators.cosmos_container import Container

KEY = "Zm9yIHRlc3Rz"
ACME = "acme"
ATTEMPTS = 1 + len(PAUSES)


AT_ONCE = (0.0,) * len(PAUSES)


@pytest.fixture
async def facade() -> AsyncIterator[Facade]:
    async with serving(Facade(Container(indexing_policy()))) as facade:
        yield facade


@pytest.fixture
async def store(facade: Facade) -> AsyncIterator[CosmosStore]:
    store = CosmosStore(facade.endpoint, KEY, pauses=AT_ONCE, throttle_seconds=0.1)
    await store.count(ACME, "User")  # connects: faults are for what comes after
    facade.requests.clear()
    yield store
    await store.close()


def event(n: int = 1) -> Create:
    return Create(document(ACME, f"event:{n}", "Event"))


def stored(facade: Facade) -> dict[str, Document]:
    """What the container holds, without what the service adds."""
    return {
        item["id"]: {key: value for key, value in item.items() if not key.startswith("_")}
        for item in facade.container.items(ACME)
    }


LOST = [
    pytest.param("lose", 0, id="the connection breaks after it was executed"),
    pytest.param("lose", 500, id="executed, and answered with 500"),
    pytest.param("lose", 503, id="executed, and answered with 503"),
    pytest.param("lose", 408, id="executed, and answered with 408"),
]
NOT_EXECUTED = [
    pytest.param("drop", 0, id="the connection breaks before it is executed"),
    pytest.param("refuse", 500, id="500"),
    pytest.param("refuse", 503, id="503"),
    pytest.param("refuse", 449, id="449"),
]


@pytest.mark.parametrize(("effect", "status"), LOST + NOT_EXECUTED)
async def test_a_batch_with_an_event_is_written_once(
    store: CosmosStore, facade: Facade, effect: Any, status: int
) -> None:
    old, gone = await store.batch(
        ACME, [Create(document(ACME, "old")), Create(document(ACME, "gone"))]
    )
    await store.batch(ACME, [Create(document(ACME, "group", n=0))])
    facade.faults.append(Fault("batch", effect, status))
    replaced, group, removed, created = await store.batch(
        ACME,
        [
            Replace(document(ACME, "old", x=1), old),
            Update("group", (Increment(("n",)),)),
            Delete("gone", gone),
            event(),
        ],
    )
    assert stored(facade) == {
        "old": document(ACME, "old", x=1),
        "group": document(ACME, "group", n=1),
        "event:1": document(ACME, "event:1", "Event"),
    }
    assert replaced == (await store.read(ACME, "old")).etag
    assert created == (await store.read(ACME, "event:1")).etag
    assert removed is None
    # Whose version a partial update made cannot be told afterwards.
    found = (await store.read(ACME, "group")).etag
    assert group == (UNKNOWN_ETAG if effect == "lose" else found)


@pytest.mark.parametrize(("effect", "status"), LOST)
async def test_an_etag_is_never_that_of_somebody_else_s_version(
    store: CosmosStore, facade: Facade, effect: Any, status: int
) -> None:
    newer = {"operationType": "Replace", "id": "a", "resourceBody": document(ACME, "a", n=2)}
    others = [newer, {"operationType": "Delete", "id": "b"}]
    facade.faults.append(
        Fault("batch", effect, status, meanwhile=lambda: facade.container.execute(ACME, others))
    )
    etags = await store.batch(
        ACME, [Create(document(ACME, "a", n=1)), Create(document(ACME, "b")), event()]
    )
    assert etags[:2] == [UNKNOWN_ETAG, UNKNOWN_ETAG]
    with pytest.raises(PreconditionFailed):
        await store.batch(ACME, [Replace(document(ACME, "a", n=3), etags[0])])


@pytest.mark.parametrize(("effect", "status"), LOST)
async def test_a_lost_answer_of_a_batch_that_was_refused_is_a_refusal(
    store: CosmosStore, facade: Facade, effect: Any, status: int
) -> None:
    """Somebody else's reservation is no proof that ours was written."""
    await store.batch(ACME, [Create(document(ACME, "key")), event(1)])
    facade.faults.append(Fault("batch", effect, status))
    with pytest.raises(Conflict) as error:
        await store.batch(ACME, [event(2), Create(document(ACME, "key"))])
    assert error.value.document_id == "key"
    assert "event:2" not in stored(facade)


@pytest.mark.parametrize(("effect", "status"), LOST)
async def test_a_batch_that_could_be_executed_twice_is_sent_once(
    store: CosmosStore, facade: Facade, effect: Any, status: int
) -> None:
    await store.batch(ACME, [Create(document(ACME, "a", n=0))])
    facade.requests.clear()
    facade.faults.append(Fault("batch", effect, status))
    with pytest.raises(Unavailable):
        await store.batch(ACME, [Update("a", (Increment(("n",)),))])
    assert facade.requests.count("batch") == 1
    assert stored(facade)["a"]["n"] == 1


def assigned(value: int) -> Update:
    return Update("b", (Assign(("n",), value), Unset(("x",))))


@pytest.mark.parametrize(("effect", "status"), LOST + NOT_EXECUTED)
async def test_without_an_event_what_is_stored_tells(
    store: CosmosStore, facade: Facade, effect: Any, status: int
) -> None:
    etag, b, c = await store.batch(
        ACME, [Create(document(ACME, id, x=1)) for id in ("a", "b", "c")]
    )
    facade.faults.append(Fault("batch", effect, status))
    etags = await store.batch(
        ACME,
        [Replace(document(ACME, "a", n=1), etag), assigned(1), Delete("c", c)],
    )
    assert stored(facade) == {"a": document(ACME, "a", n=1), "b": document(ACME, "b", n=1)}
    found = await store.read_many(ACME, ["a", "b"])
    assert etags[0] == found["a"].etag
    assert etags[1] == (UNKNOWN_ETAG if effect == "lose" else found["b"].etag)
    assert b not in etags


@pytest.mark.parametrize(
    "other",
    [
        {"operationType": "Replace", "id": "a", "resourceBody": document(ACME, "a", n=2)},
        {"operationType": "Delete", "id": "a"},
        {"operationType": "Replace", "id": "b", "resourceBody": document(ACME, "b", n=2)},
        {"operationType": "Replace", "id": "b", "resourceBody": document(ACME, "b", n=1, x=1)},
        {"operationType": "Create", "resourceBody": document(ACME, "c")},
    ],
)
async def test_without_an_event_another_one_s_write_leaves_it_open(
    store: CosmosStore, facade: Facade, other: Any
) -> None:
    (etag, *_) = await store.batch(
        ACME, [Create(document(ACME, id, x=1)) for id in ("a", "b", "c")]
    )
    facade.faults.append(
        Fault("batch", "lose", meanwhile=lambda: facade.container.execute(ACME, [other]))
    )
    with pytest.raises(Unavailable):
        await store.batch(ACME, [Replace(document(ACME, "a", n=1), etag), assigned(1), Delete("c")])


async def test_what_does_the_same_twice_is_repeated(store: CosmosStore, facade: Facade) -> None:
    await store.batch(ACME, [Create(document(ACME, "b"))])
    facade.faults.append(Fault("batch", "lose", times=2))
    batch: list[Operation] = [Upsert(document(ACME, "a")), Update("b", (Assign(("n",), 1),))]
    etags = await store.batch(ACME, batch)
    found = await store.read_many(ACME, ["a", "b"])
    assert etags == [found["a"].etag, found["b"].etag]
    assert found["b"].document["n"] == 1


async def test_a_batch_that_is_never_answered(store: CosmosStore, facade: Facade) -> None:
    facade.faults.append(Fault("batch", "refuse", 500, times=100))
    with pytest.raises(Unavailable):
        await store.batch(ACME, [event()])
    assert facade.requests.count("batch") == ATTEMPTS
    assert stored(facade) == {}


async def test_the_event_is_found_when_every_answer_was_lost(
    store: CosmosStore, facade: Facade
) -> None:
    facade.faults.append(Fault("batch", "lose", times=ATTEMPTS))
    (etag,) = await store.batch(ACME, [event()])
    assert etag == (await store.read(ACME, "event:1")).etag


async def test_an_answer_that_does_not_come_is_not_waited_for(facade: Facade) -> None:
    store = CosmosStore(facade.endpoint, KEY, pauses=AT_ONCE, read_seconds=0.5)
    await store.batch(ACME, [Create(document(ACME, "a", n=0))])
    facade.faults.append(Fault("batch", "stall"))
    _, etag = await store.batch(ACME, [Update("a", (Increment(("n",)),)), event()])
    assert etag == (await store.read(ACME, "event:1")).etag
    assert stored(facade)["a"]["n"] == 1
    await store.close()


async def test_the_lost_answer_before_a_storm(store: CosmosStore, facade: Facade) -> None:
    facade.faults.append(Fault("batch", "lose"))
    facade.faults.append(Fault("batch", "refuse", 429, retry_after_ms=60, times=100))
    (etag,) = await store.batch(ACME, [event()])
    assert etag == (await store.read(ACME, "event:1")).etag


type Call = Callable[[CosmosStore], Awaitable[object]]
IDEMPOTENT: list[Any] = [
    pytest.param("read", lambda store: store.read(ACME, "a"), id="read"),
    pytest.param("query", lambda store: store.read_many(ACME, ["a", "b"]), id="read_many"),
    pytest.param("query", lambda store: store.query(ACME, Query("User")), id="query"),
    pytest.param(
        "query", lambda store: store.query(ACME, Query("User", order=(Order(("n",)),))), id="sorted"
    ),
    pytest.param("query", lambda store: store.count(ACME, "User"), id="count"),
    pytest.param(
        "query", lambda store: store.query_every_tenant(Query("User")), id="query_every_tenant"
    ),
]
WRITE = pytest.param("batch", lambda store: store.batch(ACME, [event()]), id="batch")


@pytest.mark.parametrize(("kind", "call"), IDEMPOTENT)
@pytest.mark.parametrize(("effect", "status"), [("drop", 0), ("lose", 0), ("refuse", 500)])
async def test_reads_are_repeated(
    store: CosmosStore, facade: Facade, kind: Any, call: Call, effect: Any, status: int
) -> None:
    await store.batch(ACME, [Create(document(ACME, id, n=1)) for id in "ab"])
    expected = await call(store)
    facade.faults.append(Fault(kind, effect, status, times=ATTEMPTS - 1))
    assert await call(store) == expected
    facade.faults.append(Fault(kind, effect, status, times=100))
    facade.requests.clear()
    with pytest.raises(Unavailable):
        await call(store)
    # aiohttp repeats a GET once by itself when a connection that it had kept turns out broken.
    assert ATTEMPTS <= facade.requests.count(kind) <= ATTEMPTS * (2 if kind == "read" else 1)


@pytest.mark.parametrize(("kind", "call"), [*IDEMPOTENT, WRITE])
async def test_a_storm_of_429_ends_in_throttled(
    store: CosmosStore, facade: Facade, kind: Any, call: Call
) -> None:
    await store.batch(ACME, [Create(document(ACME, id, n=1)) for id in "ab"])
    facade.requests.clear()
    facade.faults.append(Fault(kind, "refuse", 429, retry_after_ms=70, times=1000))
    with pytest.raises(Throttled) as error:
        await call(store)
    assert error.value.retry_after == 0.07
    assert 1 < facade.requests.count(kind) < 10  # patient, and not for ever


@pytest.mark.parametrize(("kind", "call"), [*IDEMPOTENT, WRITE])
async def test_a_gust_of_429_is_waited_out(
    store: CosmosStore, facade: Facade, kind: Any, call: Call
) -> None:
    await store.batch(ACME, [Create(document(ACME, id, n=1)) for id in "ab"])
    facade.faults.append(Fault(kind, "refuse", 429, retry_after_ms=1, times=3))
    await call(store)


async def test_a_page_that_breaks_in_the_middle_is_read_again_whole(
    store: CosmosStore, facade: Facade
) -> None:
    """The service answers a long query in pages of its own."""
    await store.batch(ACME, [Create(document(ACME, f"{n:02}")) for n in range(50)])
    facade.page_items = 7
    facade.faults.append(Fault("query", "refuse", 503, skip=3))
    page = await store.query(ACME, Query("User", limit=40))
    assert ids(page.items) == [f"{n:02}" for n in range(40)]
    assert page.continuation is not None


async def test_the_client_connects_once(facade: Facade) -> None:
    store = CosmosStore(facade.endpoint, KEY, pauses=AT_ONCE)
    await asyncio.gather(*(store.count(ACME, "User") for _ in range(20)))
    assert facade.requests.count("container") == 1
    await store.close()


@pytest.mark.parametrize("kind", ["account", "container"])
async def test_a_service_that_comes_late_is_found(facade: Facade, kind: Any) -> None:
    store = CosmosStore(facade.endpoint, KEY, pauses=())  # the SDK has retries of its own here
    facade.faults.append(Fault(kind, "refuse", 500, times=1000))
    with pytest.raises(Unavailable):
        await store.count(ACME, "User")
    facade.faults.clear()
    assert await store.count(ACME, "User") == 0
    await store.close()


@pytest.mark.parametrize("kind", ["account", "container"])
async def test_a_batch_that_waits_for_the_connection_was_not_sent(
    facade: Facade, kind: Any
) -> None:
    """So it is sent when there is one, even if it could be executed twice."""
    facade.container.execute(
        ACME, [{"operationType": "Create", "resourceBody": document(ACME, "a")}]
    )
    facade.faults.append(Fault(kind, "drop", times=2))
    store = CosmosStore(facade.endpoint, KEY, pauses=AT_ONCE)
    await store.batch(ACME, [Update("a", (Increment(("n",)),))])
    assert stored(facade)["a"]["n"] == 1
    await store.close()


async def test_nobody_listens() -> None:
    store = CosmosStore("http://127.0.0.1:9/", KEY, pauses=AT_ONCE)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await store.batch(ACME, [event()])
    await store.close()


async def test_a_container_that_is_missing_is_named(facade: Facade) -> None:
    store = CosmosStore(facade.endpoint, KEY, "other", pauses=AT_ONCE)
    with pytest.raises(Unavailable, match="other/directory"):
        await store.read(ACME, "a")
    await store.close()


async def test_a_container_that_vanished_is_no_missing_document(
    store: CosmosStore, facade: Facade
) -> None:
    """Sub-status 1003: the owner of what was asked for does not exist."""
    facade.faults.append(Fault("read", "refuse", 404, sub_status=1003))
    with pytest.raises(Unavailable, match="404"):
        await store.read(ACME, "a")
    with pytest.raises(NotFound):
        await store.read(ACME, "a")


async def test_nothing_is_lost_or_doubled_on_a_bad_day(store: CosmosStore, facade: Facade) -> None:
    """Parallel writes to one counter, of which every third meets some fault."""
    chance = random.Random(4)
    await store.batch(ACME, [Create(document(ACME, "counter", n=0))])
    effects: list[Any] = [("lose", 0), ("lose", 503), ("drop", 0), ("refuse", 500), ("refuse", 429)]
    for _ in range(60):
        effect, status = chance.choice(effects)
        fault = Fault("batch", effect, status, retry_after_ms=1, skip=chance.randrange(200))
        facade.faults.append(fault)
    outcomes = await asyncio.gather(
        *(
            store.batch(ACME, [Update("counter", (Increment(("n",)),)), event(n)])
            for n in range(100)
        ),
        return_exceptions=True,
    )
    written = [id for id in stored(facade) if id.startswith("event:")]
    answered = [f"event:{n}" for n, outcome in enumerate(outcomes) if isinstance(outcome, list)]
    assert stored(facade)["counter"]["n"] == len(written)
    assert set(answered) <= set(written)
    assert {type(o) for o in outcomes if not isinstance(o, list)} <= {Unavailable, Throttled}
    assert len(answered) > 80
