"""What every store must do with queries. `StoreContract` includes it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directory.condition import (
    EVERYTHING,
    NOTHING,
    All,
    AnyElement,
    Compare,
    Condition,
    Either,
    Negated,
    OneOf,
    Present,
    matches,
)
from directory.store import (
    BATCH_OPERATIONS,
    READ_MANY,
    BadContinuation,
    Create,
    Delete,
    Document,
    Order,
    Page,
    Query,
    Replace,
    Store,
    Stored,
    Upsert,
)
from directory.ulids import new_ulid

EXTENSION = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

SHARED = (HealthCheck.function_scoped_fixture, HealthCheck.differing_executors)
"""Examples share a store, in which each has a tenant of its own; and several classes derive."""


def tenant() -> str:
    """A tenant that nobody else writes to."""
    return f"tenant-{new_ulid()}"


def document(tenant_id: str, id: str, type: str = "User", **members: Any) -> Document:
    return {"id": id, "tenantId": tenant_id, "type": type, **members}


async def create(store: Store, documents: Sequence[Document]) -> None:
    for start in range(0, len(documents), BATCH_OPERATIONS):
        batch = documents[start : start + BATCH_OPERATIONS]
        await store.batch(batch[0]["tenantId"], [Create(document) for document in batch])


def ids(items: Iterable[Stored]) -> list[str]:
    return [item.document["id"] for item in items]


async def pages(store: Store, tenant_id: str | None, query: Query) -> list[Page]:
    """Every page, the next asked for with the continuation of the one before."""
    found: list[Page] = []
    while True:
        page = await (
            store.query_every_tenant(query) if tenant_id is None else store.query(tenant_id, query)
        )
        found.append(page)
        if page.continuation is None:
            return found
        assert page.items, "a page without documents that is not the last"
        assert page.continuation != query.continuation, "a page that leads to itself"
        query = replace(query, continuation=page.continuation)


async def walked(store: Store, tenant_id: str, query: Query) -> list[str]:
    return [id for page in await pages(store, tenant_id, query) for id in ids(page.items)]


PEOPLE: list[dict[str, Any]] = [
    {"search": {"userName": "ada", "active": True, "emails": [{"type": "work", "value": "a@x"}]}},
    {"search": {"userName": "bob", "active": False, "emails": [{"type": "home", "value": "a@x"}]}},
    {"search": {"userName": "Bob", "emails": [{"value": "b@x"}, {"type": "work", "value": "c@x"}]}},
    {"search": {"userName": "bo", "emails": ["b@x"], "level": 3, EXTENSION: {"costCenter": "7"}}},
    {"search": {"userName": 'it\'s 100%_\\ "so"', "level": 3.5, EXTENSION: {"costCenter": 7}}},
    {"search": {"userName": "z\U0001f600", "externalId": "", "level": "3", "emails": {}}},
    {"search": {"userName": "z\uffff", "externalId": None, "level": True, "emails": []}},
    {"search": {"userName": "admin\0x", "tags": ["x", ["y"]], "emails": [None, 1, {"value": 1}]}},
    {"search": {"userName": ["ada"], "deep": {"er": {"est": "gold"}}}},
    {"search": None},
]
USER_NAME, EMAILS, VALUE = ("search", "userName"), ("search", "emails"), ("value",)
WORK = Compare(("type",), "eq", "work")
CONDITIONS: list[Condition] = [
    EVERYTHING,
    NOTHING,
    Compare(USER_NAME, "eq", "bob"),
    Compare(USER_NAME, "eq", "admin"),
    Compare(USER_NAME, "eq", '["ada"]'),
    Compare(USER_NAME, "ne", "bob"),
    Negated(Compare(USER_NAME, "eq", "bob")),
    Compare(USER_NAME, "sw", "bo"),
    Compare(USER_NAME, "ew", '%_\\ "so"'),
    Compare(USER_NAME, "co", "'"),
    Compare(USER_NAME, "gt", "z\uffff"),
    Compare(USER_NAME, "le", "ada"),
    Compare(("search", "active"), "eq", True),
    Compare(("search", "active"), "ne", True),
    Compare(("search", "level"), "ge", 3),
    Compare(("search", "level"), "lt", 3.5),
    Compare(("search", "level"), "eq", "3"),
    Compare(("search", EXTENSION, "costCenter"), "eq", "7"),
    Compare(("search", EXTENSION, "costCenter"), "eq", 7),
    Present(("search", "externalId")),
    Present(("search", "deep", "er")),
    Negated(Present(("search",))),
    OneOf(USER_NAME, ("ada", "bo", "nobody")),
    OneOf(USER_NAME, ()),
    OneOf(("id",), ("user:0", "user:9", "user:x")),
    Compare(("id",), "gt", "user:6"),
    AnyElement(EMAILS, Compare(VALUE, "eq", "a@x")),
    AnyElement(EMAILS, All((WORK, Compare(VALUE, "eq", "a@x")))),
    AnyElement(EMAILS, All((WORK, Compare(VALUE, "eq", "b@x")))),
    Negated(AnyElement(EMAILS, Compare(VALUE, "eq", "a@x"))),
    AnyElement(EMAILS, Negated(Compare(VALUE, "eq", "a@x"))),
    AnyElement(EMAILS, Compare((), "eq", "b@x")),
    AnyElement(("search", "tags"), AnyElement((), Compare((), "eq", "y"))),
    Either((Compare(USER_NAME, "eq", "ada"), AnyElement(EMAILS, Compare(VALUE, "eq", "c@x")))),
]


class StoreQueryContract:
    """Queries, counts and reads of many documents."""

    @pytest.mark.parametrize("condition", CONDITIONS, ids=repr)
    async def test_query_and_count_select_what_matches(
        self, store: Store, condition: Condition
    ) -> None:
        acme = tenant()
        people = [document(acme, f"user:{n}", **person) for n, person in enumerate(PEOPLE)]
        await create(store, [*people, document(acme, "group:1", "Group", search={})])
        expected = [person["id"] for person in people if matches(condition, person)]
        page = await store.query(acme, Query("User", condition))
        assert ids(page.items) == expected
        assert [item.document for item in page.items] == [
            person for person in people if person["id"] in expected
        ]
        assert page.continuation is None
        assert await store.count(acme, "User", condition) == len(expected)

    async def test_a_query_sees_what_was_written_last(self, store: Store) -> None:
        acme = tenant()

        def user(name: str, *emails: str) -> Document:
            search = {"userName": name, "emails": [{"value": email} for email in emails]}
            return document(acme, "user:1", search=search)

        async def found(email: str) -> int:
            return await store.count(acme, "User", AnyElement(EMAILS, Compare(VALUE, "eq", email)))

        await create(store, [user("ada", "a@x", "a@x", "b@x")])
        assert [await found(email) for email in ("a@x", "b@x", "c@x")] == [1, 1, 0]
        await store.batch(acme, [Replace(user("bob", "b@x", "c@x"))])
        assert [await found(email) for email in ("a@x", "b@x", "c@x")] == [0, 1, 1]
        assert await store.count(acme, "User", Compare(USER_NAME, "eq", "ada")) == 0
        assert await store.count(acme, "User", Compare(USER_NAME, "eq", "bob")) == 1
        await store.batch(acme, [Upsert(user("bob") | {"type": "Group"})])
        assert [await found(email) for email in ("a@x", "b@x", "c@x")] == [0, 0, 0]
        await store.batch(acme, [Upsert(user("bob", "d@x"))])
        assert await found("d@x") == 1
        await store.batch(acme, [Delete("user:1")])
        assert await found("d@x") == 0

    async def test_a_query_stays_in_its_tenant_and_type(self, store: Store) -> None:
        acme, other = tenant(), tenant()
        await create(store, [document(acme, "a"), document(acme, "b", "Group")])
        await create(store, [document(other, "c")])
        assert ids((await store.query(acme, Query("User"))).items) == ["a"]
        assert await store.count(other, "User") == 1
        assert await store.count(other, "Group") == 0
        assert await store.count(tenant(), "User") == 0
        assert await store.count(other, "it's") == 0

    async def test_a_page_carries_etags_and_the_fields_that_were_asked_for(
        self, store: Store
    ) -> None:
        acme = tenant()
        await create(store, [document(acme, "a", x=1, y={"z": 2})])
        whole = await store.read(acme, "a")
        for fields, expected in (
            (None, whole.document),
            ((), {"id": "a"}),
            (("y", "missing"), {"id": "a", "y": {"z": 2}}),
            (("id", "x"), {"id": "a", "x": 1}),
        ):
            page = await store.query(acme, Query("User", fields=fields))
            assert page.items == (Stored(expected, whole.etag),)

    async def test_limit_and_offset(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, f"{n}") for n in range(5)])

        async def page(limit: int, offset: int = 0) -> tuple[list[str], bool]:
            found = await store.query(acme, Query("User", limit=limit, offset=offset))
            return ids(found.items), found.continuation is not None

        assert await page(2) == (["0", "1"], True)
        assert await page(2, 3) == (["3", "4"], False)
        assert await page(5) == (["0", "1", "2", "3", "4"], False)
        assert await page(2, 9) == ([], False)
        assert await page(0) == ([], False)
        for query in (Query("User", limit=-1), Query("User", offset=-1)):
            with pytest.raises(ValueError, match="negative"):
                await store.query(acme, query)

    @settings(max_examples=60, suppress_health_check=SHARED)
    @given(
        people=st.lists(
            st.fixed_dictionaries(
                {},
                optional={"name": st.sampled_from(("a", "b", "B", "", "é", "\0", None))}
                | {"rank": st.integers(0, 2)},
            ),
            max_size=12,
        ),
        order=st.lists(
            st.builds(Order, st.sampled_from((("name",), ("rank",), ("id",))), st.booleans()),
            max_size=2,
            unique_by=lambda order: order.path,
        ),
        limit=st.integers(1, 5),
    )
    async def test_pages_are_in_order_and_miss_nothing(
        self, store: Store, people: list[dict[str, Any]], order: list[Order], limit: int
    ) -> None:
        acme = tenant()
        documents = [document(acme, f"{n:02}", **person) for n, person in enumerate(people)]
        await create(store, list(reversed(documents)))
        expected = documents
        for by in reversed(order):  # sorting is stable: the first key comes last

            def key(person: Document, name: str = by.path[0]) -> tuple[bool, Any]:
                return person.get(name) is None, person.get(name)

            groups = sorted({key(person) for person in expected}, key=_sortable)
            places = {group: n for n, group in enumerate(groups)}
            sign = -1 if by.descending else 1
            expected = sorted(expected, key=lambda person: sign * places[key(person)])
        query = Query("User", order=tuple(order), limit=limit)
        found = await pages(store, acme, query)
        assert [id for page in found for id in ids(page.items)] == [d["id"] for d in expected]
        assert all(len(page.items) == limit for page in found[:-1])

    async def test_a_walk_is_not_disturbed_by_writes(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, f"{n}", name=f"{n}") for n in range(1, 7)])
        query = Query("User", order=(Order(("name",)),), limit=2)
        first = await store.query(acme, query)
        await store.batch(
            acme,
            [Delete("2"), Create(document(acme, "0", name="0")), Delete("3")],
        )
        rest = await walked(store, acme, replace(query, continuation=first.continuation))
        assert ids(first.items) == ["1", "2"]
        assert rest == ["4", "5", "6"]

    async def test_a_continuation_belongs_to_its_query(self, store: Store) -> None:
        acme = tenant()
        await create(store, [document(acme, f"{n}", name=f"{n}") for n in range(3)])
        by_name = Query("User", order=(Order(("name",)),), limit=1)
        continuation = (await store.query(acme, by_name)).continuation
        assert continuation is not None
        strange = ("", "x", "é", "\ud800", "W10=", "bnVsbA==", continuation[:-8], continuation[8:])
        for query in (
            replace(by_name, order=(), continuation=continuation),
            replace(by_name, order=(Order(("name",), descending=True),), continuation=continuation),
            replace(by_name, order=(Order(("x",)),), continuation=continuation),
            replace(by_name, type="Group", continuation=continuation),
            *(replace(by_name, continuation=text) for text in strange),
        ):
            with pytest.raises(BadContinuation):
                await store.query(acme, query)

    async def test_query_every_tenant(self, store: Store) -> None:
        type = new_ulid()  # of this test alone: other tests have tenants too
        tenants = sorted(tenant() for _ in range(3))
        for acme in reversed(tenants):
            await create(
                store,
                [
                    document(acme, id, type, state=state)
                    for id, state in (("2", "done"), ("1", "pending"), ("3", "pending"))
                ],
            )
        query = Query(type, Compare(("state",), "eq", "pending"), fields=("state",), limit=2)
        found = await pages(store, None, query)
        assert [item.document for page in found for item in page.items] == [
            {"id": id, "tenantId": acme, "state": "pending"}
            for id in ("1", "3")
            for acme in tenants
        ]

    async def test_read_many(self, store: Store) -> None:
        acme, other = tenant(), tenant()
        await create(store, [document(acme, f"{n}", x="\0") for n in range(5)])
        await create(store, [document(other, "other")])
        asked = ["1", "3", "3", "missing", "other", "a/b", "", "\ud800", "\0"]
        found = await store.read_many(acme, asked)
        assert found == {id: await store.read(acme, id) for id in ("1", "3")}
        assert await store.read_many(acme, []) == {}
        many = [f"{n}" for n in range(READ_MANY)]
        assert len(await store.read_many(acme, many)) == 5
        with pytest.raises(ValueError, match=f"{READ_MANY}"):
            await store.read_many(acme, [*many, "one more"])


def _sortable(key: tuple[bool, Any]) -> tuple[bool, Any]:
    missing, value = key
    return missing, 0 if value is None else value
