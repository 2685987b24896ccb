"""What every store must do: Azure Cosmos DB's semantics and limits, as one suite.

A test class for a store derives from `StoreContract` and provides two fixtures: `store`, and
`clock`, the time that the store's documents expire by.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.store import (
    BATCH_OPERATIONS,
    DOCUMENT_BYTES,
    Assign,
    Change,
    Conflict,
    Create,
    Delete,
    Document,
    Increment,
    NotFound,
    Operation,
    PreconditionFailed,
    Query,
    Replace,
    Require,
    Store,
    TooLarge,
    Unset,
    Update,
    Upsert,
)
from tests.contract.store_model import operations, played
from tests.contract.store_query_contract import SHARED, StoreQueryContract, create, document, tenant

STRANGE: dict[str, Any] = {
    "text": "\0\x01\x03é\u0301\U0001f600\uffff '\"\\%_",
    "numbers": [0, -1, 1.5, 2**53, -(2**63), 2**63 - 1, 1e300],
    "others": [None, True, False, "", [], {}],
    "keys": {"": 1, "a.b": 2, 'q"': 3, "\0": 4, "\\u0000": 5, "urn:x:2.0:User": {"$ref": 6}},
}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


async def exists(store: Store, tenant_id: str, id: str) -> bool:
    return id in await store.read_many(tenant_id, [id])


class StoreContract(StoreQueryContract):
    """Documents, batches, expiry and concurrency; queries come from `StoreQueryContract`."""

    async def test_a_document_comes_back_as_it_was(self, store: Store) -> None:
        acme = tenant()
        written = document(acme, "user:é'\"%", **STRANGE)
        (etag,) = await store.batch(acme, [Create(written)])
        found = await store.read(acme, written["id"])
        assert found.document == written
        assert found.etag == etag

    @pytest.mark.parametrize(
        "id", ["missing", "a/b", "a\\b", "a?b", "a#b", "", "\0", "\ud800", "é"]
    )
    async def test_read_raises_not_found(self, store: Store, id: str) -> None:
        acme = tenant()
        await create(store, [document(acme, "there")])
        with pytest.raises(NotFound) as error:
            await store.read(acme, id)
        assert error.value.document_id == id

    async def test_tenants_are_apart(self, store: Store) -> None:
        acme, other = tenant(), tenant()
        await create(store, [document(acme, "a", x=1)])
        await create(store, [document(other, "a", x=2)])
        assert (await store.read(acme, "a")).document["x"] == 1
        await store.batch(other, [Delete("a")])
        assert await exists(store, acme, "a")
        for operation in (
            Delete("a"),
            Replace(document(other, "a")),
            Update("a", (Unset(("x",)),)),
        ):
            with pytest.raises(NotFound):
                await store.batch(other, [operation])

    async def test_every_write_has_an_etag_of_its_own(self, store: Store) -> None:
        acme = tenant()
        same = document(acme, "a", n=1)
        seen = []
        batches: list[list[Operation]] = [
            [Create(same)],
            [Replace(same)],
            [Upsert(same), Upsert(same)],
            [Update("a", (Assign(("n",), 1),))],
            [Delete("a"), Create(same), Require("a")],
            [Delete("a")],
            [Upsert(same)],
        ]
        for batch in batches:
            etags = await store.batch(acme, batch)
            assert [etag is None for etag in etags] == [
                isinstance(o, Delete | Require) for o in batch
            ]
            seen += [etag for etag in etags if etag is not None]
            if written := [etag for etag in etags if etag is not None]:
                assert (await store.read(acme, "a")).etag == written[-1]
        assert len(set(seen)) == len(seen) == 7

    async def test_preconditions(self, store: Store) -> None:
        acme = tenant()
        (old,) = await store.batch(acme, [Create(document(acme, "a"))])
        (new,) = await store.batch(acme, [Replace(document(acme, "a", x=1), old)])
        change = (Assign(("x",), 2),)
        for operation in (
            Replace(document(acme, "a"), old),
            Update("a", change, old),
            Delete("a", old),
        ):
            with pytest.raises(PreconditionFailed) as error:
                await store.batch(acme, [operation])
            assert error.value.document_id == "a"
        assert (await store.read(acme, "a")).document == document(acme, "a", x=1)
        (newer,) = await store.batch(acme, [Update("a", change, new)])
        await store.batch(acme, [Delete("a", newer)])
        assert not await exists(store, acme, "a")

    async def test_missing_and_existing(self, store: Store) -> None:
        acme = tenant()
        for operation in (
            Replace(document(acme, "a"), "etag"),
            Replace(document(acme, "a")),
            Update("a", (Increment(("n",)),), "etag"),
            Delete("a", "etag"),
            Delete("a"),
            Delete("a/b"),
            Require("a"),
            Require("a/b"),
            Update("\0", (Increment(("n",)),)),
        ):
            with pytest.raises(NotFound):
                await store.batch(acme, [operation])
        await store.batch(acme, [Create(document(acme, "a"))])
        with pytest.raises(Conflict):
            await store.batch(acme, [Create(document(acme, "a", x=1))])
        assert (await store.read(acme, "a")).document == document(acme, "a")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ((Assign(("a",), [1]),), {"a": [1], "n": 1, "o": {"x": None}, "s": "s"}),
            (
                (Assign(("o", "y"), {"z": "\0"}),),
                {"n": 1, "o": {"x": None, "y": {"z": "\0"}}, "s": "s"},
            ),
            ((Assign(("n",), None),), {"n": None, "o": {"x": None}, "s": "s"}),
            ((Increment(("n",)), Increment(("n",), 5)), {"n": 7, "o": {"x": None}, "s": "s"}),
            ((Increment(("o", "k"), -2),), {"n": 1, "o": {"x": None, "k": -2}, "s": "s"}),
            ((Unset(("o", "x")), Unset(("s",))), {"n": 1, "o": {}}),
            (
                (Assign(("p",), {}), Assign(("p", "q"), 1)),
                {"n": 1, "o": {"x": None}, "s": "s", "p": {"q": 1}},
            ),
            ((Assign(("p", "q"), 1),), None),
            ((Assign(("s", "q"), 1),), None),
            ((Assign(("o", "x", "y"), 1),), None),
            ((Increment(("p", "q")),), None),
            ((Increment(("s",)),), None),
            ((Increment(("b",)),), None),
            ((Increment(("o", "x")),), None),
            ((Unset(("p",)),), None),
            ((Unset(("s",)), Unset(("s",))), None),
        ],
    )
    async def test_partial_update(
        self, store: Store, changes: tuple[Change, ...], expected: dict[str, Any] | None
    ) -> None:
        """None: it does not fit, and nothing is written."""
        acme = tenant()
        before = document(acme, "a", n=1, o={"x": None}, s="s", b=True)
        await create(store, [before])
        if expected is None:
            with pytest.raises(PreconditionFailed):
                await store.batch(acme, [Update("a", changes)])
            assert (await store.read(acme, "a")).document == before
        else:
            await store.batch(acme, [Update("a", changes)])
            assert (await store.read(acme, "a")).document == document(acme, "a", b=True, **expected)

    async def test_what_a_caller_changes_later_is_not_written(self, store: Store) -> None:
        acme = tenant()
        whole, part = document(acme, "a", x=[1]), {"y": [1]}
        writing = asyncio.ensure_future(
            store.batch(acme, [Create(whole), Update("a", (Assign(("z",), part),))])
        )
        await asyncio.sleep(0)
        whole["x"].append(2)
        part["y"].append(2)
        await writing
        assert (await store.read(acme, "a")).document == document(acme, "a", x=[1], z={"y": [1]})

    async def test_operations_see_the_ones_before_them(self, store: Store) -> None:
        acme = tenant()
        await store.batch(
            acme,
            [
                Create(document(acme, "a", n=1)),
                Update("a", (Increment(("n",)),)),
                Create(document(acme, "b")),
                Delete("b"),
                Upsert(document(acme, "b", x=1)),
            ],
        )
        assert (await store.read(acme, "a")).document["n"] == 2
        assert (await store.read(acme, "b")).document["x"] == 1

    async def test_a_batch_that_fails_writes_nothing(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, id, n=1) for id in ("old", "gone", "changed")])
        before = await store.read_many(acme, ["old", "gone", "changed"])
        good: list[Operation] = [
            Create(document(acme, "new")),
            Replace(document(acme, "old", n=2)),
            Update("changed", (Increment(("n",)),)),
            Delete("gone"),
        ]
        failures: list[tuple[Operation, type[Exception], str]] = [
            (Create(document(acme, "old")), Conflict, "old"),
            (Replace(document(acme, "gone")), NotFound, "gone"),
            (
                Replace(document(acme, "changed"), before["changed"].etag),
                PreconditionFailed,
                "changed",
            ),
            (Update("old", (Unset(("missing",)),)), PreconditionFailed, "old"),
            (Update("missing", (Increment(("n",)),)), NotFound, "missing"),
            (Delete("missing"), NotFound, "missing"),
            (Require("gone"), NotFound, "gone"),
        ]
        for bad, expected, id in failures:
            with pytest.raises(expected) as error:
                await store.batch(acme, [*good, bad, Delete("also missing")])
            raised: Any = error.value
            assert raised.document_id == id
        assert await store.read_many(acme, ["old", "gone", "changed", "new"]) == before

    async def test_limits_of_a_batch(self, store: Store) -> None:
        acme = tenant()
        many = [Create(document(acme, f"{n}")) for n in range(BATCH_OPERATIONS + 1)]
        with pytest.raises(TooLarge):
            await store.batch(acme, many)
        assert len(await store.batch(acme, many[:-1])) == BATCH_OPERATIONS
        assert not await exists(store, acme, f"{BATCH_OPERATIONS}")
        assert await store.batch(acme, []) == []

    async def test_limits_of_size(self, store: Store) -> None:
        acme = tenant()
        half = "x" * (DOCUMENT_BYTES // 2)
        with pytest.raises(TooLarge):
            await store.batch(acme, [Create(document(acme, "a", x=half + half))])
        with pytest.raises(TooLarge):
            await store.batch(acme, [Create(document(acme, id, x=half)) for id in ("a", "b")])
        await store.batch(acme, [Create(document(acme, "a", x=half))])
        with pytest.raises(TooLarge):
            await store.batch(acme, [Update("a", (Assign(("y",), half),))])
        with pytest.raises(TooLarge):
            await store.batch(acme, [Create(document(acme, "é", x="é" * (DOCUMENT_BYTES // 2)))])
        assert "y" not in (await store.read(acme, "a")).document

    @pytest.mark.parametrize(
        "members",
        [
            {"id": ""},
            {"id": "a/b"},
            {"id": "a\\b"},
            {"id": "a?b"},
            {"id": "a#b"},
            {"id": "x" * 1024},
            {"id": "é" * 512},
            {"id": 1},
            {"id": "\ud800"},
            {"type": None},
            {"tenantId": "another"},
            {"ttl": 0},
            {"ttl": -2},
            {"ttl": "1"},
            {"ttl": True},
            {"x": {1}},
            {"x": "\ud800"},
            {"x": {1: 2}},
        ],
    )
    async def test_what_is_no_document_is_refused(
        self, store: Store, members: dict[str, Any]
    ) -> None:
        acme = tenant()
        bad = document(acme, "a") | members
        for operation in (Create(bad), Upsert(bad), Replace(bad)):
            with pytest.raises(ValueError):
                await store.batch(acme, [Create(document(acme, "b")), operation])
        assert not await exists(store, acme, "b")

    @pytest.mark.parametrize(
        "changes",
        [
            (),
            (Assign((), 1),),
            (Assign(("id",), "b"),),
            (Assign(("tenantId",), "b"),),
            (Unset(("id",)),),
            (Assign(("type",), 1),),
            (Unset(("type",)),),
            (Assign(("ttl",), 0),),
            (Assign(("x",), {1}),),
            tuple(Increment((f"{n}",)) for n in range(11)),
        ],
    )
    async def test_what_is_no_update_is_refused(
        self, store: Store, changes: tuple[Change, ...]
    ) -> None:
        acme = tenant()
        await create(store, [document(acme, "a")])
        with pytest.raises(ValueError):
            await store.batch(acme, [Create(document(acme, "b")), Update("a", changes)])
        assert not await exists(store, acme, "b")
        await store.batch(acme, [Update("a", tuple(Increment((f"{n}",)) for n in range(10)))])

    async def test_longest_id(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, "x" * 1023)])
        assert await exists(store, acme, "x" * 1023)

    async def test_expired_documents_are_gone(self, store: Store, clock: Clock) -> None:
        acme = tenant()
        await create(store, [document(acme, "a", ttl=10), document(acme, "b", ttl=-1)])
        clock.advance(9)
        assert await exists(store, acme, "a")
        clock.advance(2)
        with pytest.raises(NotFound):
            await store.read(acme, "a")
        assert list(await store.read_many(acme, ["a", "b"])) == ["b"]
        assert [i.document["id"] for i in (await store.query(acme, Query("User"))).items] == ["b"]
        every = await store.query_every_tenant(Query("User", limit=1000))
        assert ("a", acme) not in {(i.document["id"], i.document["tenantId"]) for i in every.items}
        assert await store.count(acme, "User") == 1
        for operation in (
            Replace(document(acme, "a")),
            Update("a", (Increment(("n",)),)),
            Delete("a"),
        ):
            with pytest.raises(NotFound):
                await store.batch(acme, [operation])
        await store.batch(acme, [Create(document(acme, "a", again=True))])
        clock.advance(1000)
        assert (await store.read(acme, "a")).document == document(acme, "a", again=True)

    async def test_ttl_counts_from_the_last_write(self, store: Store, clock: Clock) -> None:
        acme = tenant()
        await create(store, [document(acme, id, ttl=10) for id in ("updated", "kept", "freed")])
        await create(store, [document(acme, "given")])
        clock.advance(8)
        await store.batch(
            acme,
            [
                Update("updated", (Increment(("n",)),)),
                Update("freed", (Unset(("ttl",)),)),
                Update("given", (Assign(("ttl",), 5),)),
            ],
        )
        clock.advance(4)
        assert set(await store.read_many(acme, ["updated", "kept", "freed", "given"])) == {
            "updated",
            "freed",
            "given",
        }
        clock.advance(10)
        assert set(await store.read_many(acme, ["updated", "kept", "freed", "given"])) == {"freed"}

    async def test_parallel_updates_are_all_kept(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, "a")])
        increment = [Update("a", (Increment(("n",)),))]
        etags = await asyncio.gather(*(store.batch(acme, increment) for _ in range(100)))
        assert (await store.read(acme, "a")).document["n"] == 100
        assert len({etag for (etag,) in etags}) == 100

    async def test_one_of_two_wins(self, store: Store) -> None:
        acme = tenant()
        rounds: list[list[list[Operation]]] = [
            [[Create(document(acme, "a", n=n)), Create(document(acme, f"{n}"))] for n in range(8)],
            [[Delete("a"), Create(document(acme, f"deleted by {n}"))] for n in range(8)],
        ]
        for batches in rounds:
            outcomes = await asyncio.gather(
                *(store.batch(acme, batch) for batch in batches), return_exceptions=True
            )
            winners = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, list)]
            assert len(winners) == 1
            assert all(isinstance(o, list | Conflict | NotFound) for o in outcomes)
            for n, batch in enumerate(batches):
                last = batch[-1]
                assert isinstance(last, Create)
                assert await exists(store, acme, last.document["id"]) == (n == winners[0])

    async def test_one_replacement_of_a_version_wins(self, store: Store) -> None:
        acme = tenant()
        (etag,) = await store.batch(acme, [Create(document(acme, "a"))])
        outcomes = await asyncio.gather(
            *(store.batch(acme, [Replace(document(acme, "a", n=n), etag)]) for n in range(8)),
            return_exceptions=True,
        )
        (winner,) = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, list)]
        assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 7
        assert (await store.read(acme, "a")).document["n"] == winner

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
    async def test_a_caller_that_gives_up_disturbs_nobody(self, store: Store, turns: int) -> None:
        acme = tenant()
        batches = [
            asyncio.ensure_future(store.batch(acme, [Create(document(acme, f"{n}"))]))
            for n in range(6)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        batches[2].cancel()
        outcomes = await asyncio.gather(*batches, return_exceptions=True)
        given_up = outcomes.pop(2)  # written already, where the disk was quick
        assert isinstance(given_up, list | asyncio.CancelledError)
        assert all(isinstance(outcome, list) for outcome in outcomes)
        await create(store, [document(acme, "after")])

    @settings(max_examples=60, suppress_health_check=SHARED)
    @given(data=st.data())
    async def test_batches_do_what_the_model_does(self, store: Store, data: st.DataObject) -> None:
        acme = tenant()
        model: dict[str, Document] = {}
        for _ in range(data.draw(st.integers(1, 5), "batches")):
            batch = data.draw(st.lists(operations(acme), min_size=1, max_size=4), "batch")
            expected, error = played(model, batch)
            if error is None:
                await store.batch(acme, batch)
                model = expected
            else:
                with pytest.raises(error[0]) as raised:
                    await store.batch(acme, batch)
                assert getattr(raised.value, "document_id", None) == error[1]
            found = await store.read_many(acme, ["a", "b", "c"])
            assert {id: stored.document for id, stored in found.items()} == model
