"""The SQLite store: the contract, and what only an SQLite file can get wrong."""

import asyncio
import base64
import errno
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from secrets import token_hex
from threading import Timer
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from administration.reading.users import matching
from directory.condition import (
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
from directory.indexing import ELEMENT_INDEXES, ENTERPRISE_USER, SCALAR_INDEXES
from directory.sqlite.schema import SCHEMA_VERSION, DamagedFile
from directory.sqlite.store import AGAIN_OPERATIONS, CHECKPOINT_OPERATIONS, SqliteStore
from directory.store import (
    NEWEST_FIRST,
    BadContinuation,
    Create,
    Document,
    Increment,
    NotFound,
    Order,
    Query,
    Replace,
    Unavailable,
    Update,
    Upsert,
)
from queues.port import Message
from queues.sqlite.queue import SqliteQueue
from tests.contract.explaining import explained
from tests.contract.store_contract import Clock, StoreContract
from tests.contract.store_query_contract import StoreQueryContract, create, document, ids

ROOT = Path(__file__).parents[2]
EMAILS, VALUE = ("search", "emails"), ("value",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "muster.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, clock)
    yield store
    await store.close()


class TestSqliteStore(StoreContract):
    """The contract."""


class TestSqliteStoreWithLongReads(StoreQueryContract):
    """The part about queries again, when no read may keep the event loop."""

    @pytest.fixture
    async def store(self, path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(path, clock, inline_seconds=-1.0, instructions=1)
        await store.read_many("acme", [])
        assert store._long_readers, "it kept the event loop"
        yield store
        await store.close()


class TestSqliteStoreOnASlowDisk(StoreContract):
    """The contract again, when no commit may keep the event loop."""

    @pytest.fixture
    async def store(self, path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(path, clock, commit_seconds=-1.0)
        await create(store, [document("nobody", "0")])
        assert store._write_thread._threads, "it kept the event loop"
        yield store
        await store.close()


def equals(*path: str) -> Condition:
    return Compare(path, "eq", "x")


INDEXED: list[tuple[str, Condition, str]] = [
    ("User", equals("search", "userName"), "User.indexed1 (tenant=? AND indexed1=?)"),
    ("User", equals("search", "externalId"), "User.indexed2 (tenant=? AND indexed2=?)"),
    ("User", equals("search", "displayName"), "User.indexed3 (tenant=? AND indexed3=?)"),
    (
        "User",
        equals("search", ENTERPRISE_USER, "employeeNumber"),
        "User.indexed4 (tenant=? AND indexed4=?)",
    ),
    (
        "User",
        All((Compare(("search", "active"), "eq", True), equals("search", "userName"))),
        "User.indexed1 (tenant=? AND indexed1=?)",
    ),
    (
        "User",
        OneOf(("search", "userName"), ("x", "y")),
        "User.indexed1 (tenant=? AND indexed1=?)",
    ),
    ("User", AnyElement(EMAILS, equals("value")), "INTEGER PRIMARY KEY (rowid=?)"),
    (
        "User",
        AnyElement(EMAILS, All((Compare(("type",), "eq", "work"), equals("value")))),
        "INTEGER PRIMARY KEY (rowid=?)",
    ),
    ("User", equals("id"), "sqlite_autoindex_documents_1 (tenant=? AND id=?)"),
    ("User", OneOf(("id",), ("x", "y")), "(tenant=? AND type=? AND id=? AND expires>?)"),
    ("Group", equals("search", "displayName"), "Group.indexed1 (tenant=? AND indexed1=?)"),
    ("Group", equals("search", "externalId"), "Group.indexed2 (tenant=? AND indexed2=?)"),
    ("Membership", equals("groupId"), "Membership.indexed1 (tenant=? AND indexed1=?)"),
    ("Membership", equals("memberId"), "Membership.indexed2 (tenant=? AND indexed2=?)"),
    ("Membership", OneOf(("groupId",), ("x",)), "Membership.indexed1 (tenant=? AND indexed1=?)"),
    ("Membership", OneOf(("memberId",), ("x",)), "Membership.indexed2 (tenant=? AND indexed2=?)"),
    ("Event", equals("state"), "Event.indexed1 (tenant=? AND indexed1=?)"),
    ("Event", equals("resourceId"), "Event.indexed2 (tenant=? AND indexed2=?)"),
    ("Tenant", Present(("x",)), "documents_type (tenant=? AND type=?)"),
]


def reads_of_documents(plan: list[str]) -> list[str]:
    """The steps of a plan that touch tables; json_each walks one document or one parameter."""
    return [
        step for step in plan if step.startswith(("SCAN", "SEARCH")) and "VIRTUAL TABLE" not in step
    ]


@pytest.mark.parametrize(("type", "where", "index"), INDEXED)
async def test_what_is_indexed_is_answered_from_the_index(
    store: SqliteStore, type: str, where: Condition, index: str
) -> None:
    await create(store, [document("acme", f"{n}", type) for n in range(20)])
    steps = reads_of_documents(explained(store, "acme", Query(type, where)))
    assert steps[0].endswith(index)
    assert steps[1:] in (
        [],
        ["SEARCH elements USING COVERING INDEX elements_value (path=? AND value=? AND tenant=?)"],
    )


BY_TEXT = "User.texts (tenant=?)"
BY_TYPE = "documents_type (tenant=? AND type=?)"
PARTS: list[tuple[Condition, str]] = [
    (Compare(("search", "userName"), "co", "li"), BY_TEXT),
    (Compare(("search", "name", "familyName"), "sw", "li"), BY_TEXT),
    (AnyElement(EMAILS, Compare(VALUE, "ew", "li")), BY_TEXT),
    (matching("li"), BY_TEXT),
    (
        Either((Compare(("search", "displayName"), "co", "li"), Compare(("id",), "co", "li"))),
        BY_TYPE,
    ),
    (
        All((Compare(("search", "active"), "eq", True), Compare(("search", "title"), "co", "li"))),
        BY_TYPE,
    ),
    (
        All((equals("search", "userName"), Compare(("search", "displayName"), "co", "li"))),
        "User.indexed1 (tenant=? AND indexed1=?)",
    ),
]


@pytest.mark.parametrize(("where", "index"), PARTS)
async def test_parts_of_names_are_looked_for_in_an_index(
    store: SqliteStore, where: Condition, index: str
) -> None:
    """In the order of ids: a page of many results ends where it is full."""
    for query in (Query("User", where), Query("User", where, order=NEWEST_FIRST)):
        plan = explained(store, "acme", query)
        (step, *others) = reads_of_documents(plan)
        assert step.endswith(index)
        assert others == []
        assert not any("ORDER BY" in each for each in plan)


TEXTS = st.text(st.sampled_from("aA*?[]^\n\0\u2028é"), max_size=3) | st.just("x" * 70)
NAMES = st.fixed_dictionaries(
    {},
    optional={
        "displayName": TEXTS,
        "userName": TEXTS | st.lists(TEXTS, max_size=2),
        "name": st.fixed_dictionaries({"givenName": TEXTS, "familyName": TEXTS}) | TEXTS,
        "emails": st.lists(st.fixed_dictionaries({"value": TEXTS}) | TEXTS, max_size=2),
    },
)


@settings(max_examples=50)
@example([{"displayName": "a\0b"}, {"userName": "a\x01\x03b"}], "\0")
@example([{"name": {"givenName": "*", "familyName": "[?"}}, {"userName": "a"}], "[?")
@example([{"emails": [{"value": "a"}, {"value": "b"}]}, {"emails": {"value": "b"}}], "b")
@example([{"userName": "x" * 70}, {"userName": "x" * 69}], "x" * 70)
@example([{"displayName": "a", "userName": "b"}, {"displayName": "a\nb"}], "a\nb")
@given(names=st.lists(NAMES, max_size=4), text=TEXTS)
def test_whatever_is_in_a_name_is_found_by_any_part(
    tmp_path_factory: pytest.TempPathFactory, names: list[dict[str, Any]], text: str
) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("names") / "muster.sqlite")
        documents = [document("acme", f"{n}", search=each) for n, each in enumerate(names)]
        await create(store, documents)
        page = await store.query("acme", Query("User", matching(text)))
        expected = [one["id"] for one in documents if matches(matching(text), one)]
        await store.close()
        assert ids(page.items) == expected

    asyncio.run(check())


async def test_plans_of_pages_and_of_every_tenant(store: SqliteStore) -> None:
    await create(store, [document("acme", f"{n}", groupId="x", name="n") for n in range(5)])

    async def plan(query: Query) -> list[str]:
        page = await store.query("acme", query)
        assert page.continuation is not None
        return explained(store, "acme", replace(query, continuation=page.continuation))

    await store.batch(
        "acme",
        [Upsert(document("acme", f"m{n}", "Membership", groupId="x")) for n in range(5)],
    )
    assert await plan(Query("Membership", equals("groupId"), limit=2)) == [
        "SEARCH documents USING INDEX Membership.indexed1 (tenant=? AND indexed1=? AND id>?)"
    ]
    assert await plan(Query("User", limit=2)) == [
        "SEARCH documents USING INDEX documents_type (tenant=? AND type=? AND id>?)"
    ]
    newest = Query("User", order=NEWEST_FIRST, limit=2)  # of the type, not of the tenant
    assert explained(store, "acme", newest) == [
        "SEARCH documents USING INDEX documents_type (tenant=? AND type=?)"
    ]
    assert await plan(newest) == [
        "SEARCH documents USING INDEX documents_type (tenant=? AND type=? AND id<?)"
    ]
    assert await plan(Query("User", order=(Order(("search", "userName")),), limit=2)) == [
        "SEARCH documents USING INDEX User.indexed1 (tenant=? AND indexed1>?)"
    ]
    pending = Query("Event", All((Compare(("state",), "eq", "pending"), Negated(equals("at")))))
    assert explained(store, None, pending)[0] == (
        "SEARCH documents USING INDEX Event.indexed1 (ANY(tenant) AND indexed1=?)"
    )


async def test_a_long_query_leaves_the_event_loop_alone(store: SqliteStore) -> None:
    """Other tasks run while it does."""
    for _ in range(5):
        await store.batch(
            "acme",
            [Upsert(document("acme", f"{n}", tags=["x"] * 2000)) for n in range(100)],
        )
    never = AnyElement(("tags",), Compare((), "co", "y"))
    counting = asyncio.ensure_future(store.count("acme", "User", never))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert await counting == 0
    assert turns > 10


async def test_many_short_reads_leave_it_to_others_too(path: Path) -> None:
    """None of them waits for anything, so somebody who asks for thousands would be alone."""
    store = SqliteStore(path, turn_seconds=0.0)
    reading = asyncio.create_task(read_many_times(store, 50))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20
    await store.close()


async def read_many_times(store: SqliteStore, times: int) -> None:
    for _ in range(times):
        await store.read_many("acme", ["nobody"])


def traced(store: SqliteStore, statement: str) -> list[str]:
    """Grows by each such statement that the writer executes from now on."""
    seen: list[str] = []
    store._writer.set_trace_callback(lambda sql: seen.append(sql) if sql == statement else None)
    return seen


async def test_what_is_written_beside_shares_a_transaction_with_batches_and_stands_alone(
    store: SqliteStore, path: Path
) -> None:
    def make(db: sqlite3.Connection) -> str:
        db.execute("CREATE TABLE note (text TEXT)")
        return "made"

    def write(text: str, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO note VALUES (?)", (text,))
        if text == "b":
            raise LookupError(text)

    assert await store.beside(make) == "made"
    committed = traced(store, "COMMIT")
    outcomes = await asyncio.gather(
        *(store.beside(partial(write, text)) for text in "abc"),
        create(store, [document("acme", "1")]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes[:3]] == [type(None), LookupError, type(None)]
    assert len(committed) == 1
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT text FROM note").fetchall() == [("a",), ("c",)]
    other.close()
    assert (await store.read("acme", "1")).document["id"] == "1"


@pytest.mark.parametrize(("size", "commits"), [(1_000, 1), (1_000_000, 4)])
async def test_a_transaction_holds_many_small_writes_or_few_large_ones(
    store: SqliteStore, size: int, commits: int
) -> None:
    """It keeps the event loop."""
    committed = traced(store, "COMMIT")
    texts = ("x" * size for _ in range(12))
    writes = [Create(document("acme", f"{n}", text=text)) for n, text in enumerate(texts)]
    await asyncio.gather(*(store.batch("acme", [write]) for write in writes))
    assert len(committed) == commits


async def test_expired_documents_are_removed_from_the_file(
    store: SqliteStore, clock: Clock, path: Path
) -> None:
    await create(store, [document("acme", "a", ttl=10, search={"emails": [{"value": "x"}]})])
    clock.advance(100)
    await create(store, [document("acme", "b")])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id FROM documents").fetchall() == [("b",)]
        assert connection.execute("SELECT * FROM elements").fetchall() == []
    connection.close()


async def test_elements_hold_what_the_documents_hold(store: SqliteStore, path: Path) -> None:
    def emails(*values: object) -> dict[str, object]:
        return {"emails": [{"value": value} for value in values]}

    await create(store, [document("acme", "a", search=emails("x", "x", "y", 1, None))])
    await create(store, [document("acme", "b", search={"emails": ["x", {"value": {}}]})])
    await create(store, [document("acme", "c", "Group", search=emails("x"))])

    def held() -> list[tuple[str, str, str]]:
        connection = sqlite3.connect(path)
        rows = connection.execute(
            "SELECT value, elements.tenant, id FROM elements JOIN documents ON number = document"
        ).fetchall()
        connection.close()
        return sorted(rows)

    assert held() == [("x", "acme", "a"), ("y", "acme", "a")]
    await store.batch("acme", [Replace(document("acme", "a", search=emails("y", "z", "\0")))])
    assert held() == [("\x01\x03", "acme", "a"), ("y", "acme", "a"), ("z", "acme", "a")]


async def test_an_index_that_a_file_lacks_is_filled(
    store: SqliteStore, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a later version of Muster indexes more."""
    search = {
        "title": "it's",
        "phones": [{"value": "1"}, {"value": 2}],
        "userName": "ada",
        "emails": [{"value": "no longer"}],
    }
    await create(store, [document("acme", "a", search=search), document("acme", "b")])
    await store.close()
    scalars = (("search", "title"), ("search", "userName"))
    elements = (("search", "phones"), ("value",))
    monkeypatch.setitem(SCALAR_INDEXES, "User", scalars)
    monkeypatch.setitem(ELEMENT_INDEXES, "User", (elements,))
    reopened = SqliteStore(path, clock)
    for where, index in (
        (AnyElement(elements[0], Compare(VALUE, "eq", "1")), "elements_value"),
        (Compare(scalars[0], "eq", "it's"), "User.indexed1"),
        (Compare(scalars[1], "eq", "ada"), "User.indexed2"),
    ):
        query = Query("User", where)
        assert ids((await reopened.query("acme", query)).items) == ["a"]
        assert index in " ".join(explained(reopened, "acme", query))
    await reopened.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM elements").fetchall() == [("1",)]


VERSION_1 = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    body TEXT NOT NULL, etag TEXT NOT NULL, expires REAL NOT NULL, UNIQUE (tenant, id)
) STRICT;
CREATE INDEX documents_type ON documents (tenant, type, id, expires);
CREATE TABLE elements (
    document INTEGER NOT NULL, path TEXT NOT NULL, value TEXT NOT NULL, tenant TEXT NOT NULL,
    PRIMARY KEY (document, path, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX elements_value ON elements (path, value, tenant);
CREATE INDEX "User.search.userName"
    ON documents (tenant, json_extract(body, '$.search.userName'), id, expires) WHERE type = 'User';
CREATE TRIGGER "User.search.emails.value.insert" AFTER INSERT ON documents BEGIN
    INSERT INTO elements VALUES (new.number, 'User.search.emails.value', 'y', new.tenant);
END;
INSERT INTO documents (tenant, id, type, body, etag, expires) VALUES (
    'acme', 'a', 'User',
    '{"id":"a","tenantId":"acme","type":"User","search":{"userName":"n","emails":[{"value":"x"}]}}',
    'e', 9e999
);
PRAGMA user_version = 1;
"""


async def test_a_file_of_version_1_is_brought_up_to_date(path: Path, clock: Clock) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()
    store = SqliteStore(path, clock)
    await create(store, [document("acme", "b", search={"emails": [{"value": "x"}]})])
    by_name = Query("User", Compare(("search", "userName"), "eq", "n"))
    by_email = Query("User", AnyElement(EMAILS, Compare(VALUE, "eq", "x")))
    assert ids((await store.query("acme", by_name)).items) == ["a"]
    assert ids((await store.query("acme", by_email)).items) == ["a", "b"]
    assert (await store.read("acme", "a")).etag == "e"
    await store.close()
    connection = sqlite3.connect(path)
    derived = "SELECT name FROM sqlite_schema WHERE name LIKE '%.search.%'"
    assert connection.execute(derived).fetchall() == []
    connection.close()


@pytest.mark.parametrize(
    "forge",
    [lambda t: [*t, "x"], lambda t: t[:-1], lambda t: [*t[:-1], {}], lambda t: [*t[:-1], 2**63]],
)
async def test_a_forged_continuation_is_refused(
    store: SqliteStore, forge: Callable[[list[object]], object]
) -> None:
    await create(store, [document("acme", f"{n}") for n in range(2)])
    continuation = (await store.query("acme", Query("User", limit=1))).continuation
    assert continuation is not None
    forged = base64.urlsafe_b64encode(
        orjson.dumps(forge(orjson.loads(base64.urlsafe_b64decode(continuation))))
    )
    with pytest.raises(BadContinuation):
        await store.query("acme", Query("User", continuation=forged.decode()))


VERSION_5 = """
ALTER TABLE documents RENAME COLUMN element_values TO elements;
CREATE TRIGGER documents_insert AFTER INSERT ON documents WHEN new.elements IS NOT NULL
BEGIN INSERT INTO elements VALUES (new.number, 'path', 'value', new.tenant); END;
CREATE TRIGGER documents_update AFTER UPDATE OF elements ON documents
BEGIN DELETE FROM elements WHERE document = old.number; END;
CREATE TRIGGER documents_delete AFTER DELETE ON documents
BEGIN DELETE FROM elements WHERE document = old.number; END;
CREATE TRIGGER feed_insert AFTER INSERT ON documents WHEN new.type = 'AccessChange'
BEGIN INSERT INTO feed (document, tenant) VALUES (new.number, new.tenant); END;
CREATE TRIGGER feed_delete AFTER DELETE ON documents WHEN old.type = 'AccessChange'
BEGIN DELETE FROM feed WHERE document = old.number; END;
PRAGMA user_version = 5;
"""
VERSION_4 = """
DROP INDEX "User.texts";
ALTER TABLE documents DROP COLUMN texts;
UPDATE indexing SET paths = 'those of then' WHERE type = 'User';
PRAGMA user_version = 4;
"""
VERSION_3 = """
DROP INDEX documents_type;
CREATE INDEX documents_type ON documents (tenant, type, id, expires);
PRAGMA user_version = 3;
"""


def schema_of(path: Path) -> tuple[set[tuple[str, str]], list[str]]:
    """Every index and trigger, and the columns of `documents`."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'documents'"
    )
    columns = connection.execute("SELECT name FROM pragma_table_info('documents')")
    schema = set(found.fetchall()), [name for (name,) in columns]
    connection.close()
    return schema


@pytest.mark.parametrize(
    "former",
    [VERSION_5, VERSION_5 + VERSION_4, VERSION_5 + VERSION_4 + VERSION_3],
    ids=["version 5", "version 4", "version 3"],
)
async def test_a_file_of_a_former_version_is_brought_up_to_date(
    path: Path, clock: Clock, former: str
) -> None:
    store = SqliteStore(path, clock)
    await create(store, [document("acme", "a", search={"displayName": "ada ek"})])
    await store.close()
    new = schema_of(path)
    connection = sqlite3.connect(path)
    connection.executescript(former)
    connection.close()
    assert schema_of(path) != new
    store = SqliteStore(path, clock)
    by_part = Query("User", Compare(("search", "displayName"), "co", "a e"))
    assert ids((await store.query("acme", by_part)).items) == ["a"]
    await store.close()
    assert schema_of(path) == new


async def test_a_change_of_what_is_not_indexed_writes_no_index(
    store: SqliteStore, path: Path
) -> None:
    """SQLite's own count of pages written tells: an index on random values has pages elsewhere."""
    many = [document("acme", f"{n:03}", search={"userName": token_hex(100)}) for n in range(400)]
    await create(store, many)

    async def pages(changed: list[Document]) -> int:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for at in range(0, len(changed), 100):
            await store.batch("acme", [Replace(each) for each in changed[at : at + 100]])
        _, written, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        connection.close()
        return int(written)

    some = many[:20]
    rest = await pages([{**each, "active": False} for each in some])
    moved = await pages([{**each, "search": {"userName": token_hex(100)}} for each in some])
    assert moved > rest + 10


async def test_a_file_that_is_up_to_date_is_opened_while_another_process_writes(
    store: SqliteStore, path: Path
) -> None:
    await create(store, [document("acme", "a")])
    queue = SqliteQueue(path)
    await queue.send([Message("m", b"")])
    await queue.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        second, queue = SqliteStore(path), SqliteQueue(path)
        assert (await second.read("acme", "a")).document["id"] == "a"
        assert await queue.list_dead_letters() == []
        await second.close()
        await queue.close()


async def test_a_file_of_a_newer_version_is_refused(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(RuntimeError, match="newer version of Muster"):
        SqliteStore(path)


async def test_a_failed_batch_takes_no_other_with_it(store: SqliteStore) -> None:
    """They share a transaction."""
    await create(store, [document("acme", "there")])
    batches = [[Create(document("acme", f"{n}"))] for n in range(5)]
    batches[2].append(Create(document("acme", "there")))
    outcomes = await asyncio.gather(
        *(store.batch("acme", batch) for batch in batches), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [n == 2 for n in range(5)]
    assert set(await store.read_many("acme", [f"{n}" for n in range(5)])) == {"0", "1", "3", "4"}


async def test_another_writer_is_waited_for(store: SqliteStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = asyncio.ensure_future(store.batch("acme", [Create(document("acme", "a"))]))
    await asyncio.sleep(0.05)
    with pytest.raises(NotFound):  # reading goes on
        await store.read("acme", "a")
    assert not batch.done()
    other.execute("COMMIT")
    other.close()
    await batch
    assert (await store.read("acme", "a")).document == document("acme", "a")


async def test_a_long_wait_for_another_writer_keeps_the_event_loop_only_at_first(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[float] = []
    monkeypatch.setattr("directory.sqlite.store.time.sleep", kept.append)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        batch = asyncio.ensure_future(store.batch("acme", [Create(document("acme", "a"))]))
        await asyncio.sleep(0.1)
        assert 0 < sum(kept) < 0.005
        assert not batch.done()
    await batch


async def test_a_writer_that_does_not_let_go_makes_it_unavailable(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batches = [store.batch("acme", [Create(document("acme", f"{n}"))]) for n in range(3)]
    outcomes = await asyncio.gather(*batches, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    other.execute("COMMIT")
    other.close()
    await store.batch("acme", [Create(document("acme", "0"))])
    await store.close()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from directory.indexing import ELEMENT_INDEXES, ENTERPRISE_USER, SCALAR_INDEXES
from directory.sqlite.store import SqliteStore
from directory.store import Create, Increment, Update, Upsert

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    {body}

asyncio.run(main())
"""


async def started(path: Path, body: str) -> asyncio.subprocess.Process:
    """A process of its own that has the store open and runs `body`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.format(body=body.strip().replace("\n", "\n    ")),
        path,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def test_two_processes_write_to_one_document(store: SqliteStore, path: Path) -> None:
    await create(store, [document("acme", "a", n=0)])
    other = await started(
        path,
        """
for _ in range(50):
    await store.batch("acme", [Update("a", (Increment(("n",)),))])
await store.close()
""",
    )
    ending, written = asyncio.ensure_future(other.wait()), 0
    while not ending.done():
        await store.batch("acme", [Update("a", (Increment(("n",)),))])
        written += 1
    assert await ending == 0
    assert (await store.read("acme", "a")).document["n"] == written + 50


async def test_processes_that_open_a_new_file_together_all_get_it(path: Path) -> None:
    body = """
await store.batch("acme", [Upsert({"id": "a", "tenantId": "acme", "type": "User"})])
await store.close()
"""
    processes = [await started(path, body) for _ in range(4)]
    assert [await process.wait() for process in processes] == [0] * 4


@pytest.mark.parametrize("torn", [b"not a database" * 400, None], ids=["not SQLite", "torn"])
async def test_a_damaged_file_is_said_in_a_sentence(tmp_path: Path, torn: bytes | None) -> None:
    path = tmp_path / "directory.db"
    written = SqliteStore(path)
    await create(written, [document("acme", f"{n:04}", text="x" * 900) for n in range(90)])
    await written.close()
    path.write_bytes(torn or path.read_bytes()[:9_000])
    with pytest.raises(DamagedFile, match="Restore a backup"):
        SqliteStore(path)


async def write_many(store: SqliteStore, numbers: range) -> None:
    await create(store, [document("acme", f"{n}", text="x" * 900) for n in numbers])


def is_copied(path: Path) -> bool:
    """Whether the file has, without the log beside it, what `write_many` wrote."""
    return path.stat().st_size > CHECKPOINT_OPERATIONS * 900


async def test_the_log_is_copied_into_the_file(store: SqliteStore, path: Path) -> None:
    await write_many(store, range(CHECKPOINT_OPERATIONS + 100))
    assert is_copied(path)


CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


async def test_a_slow_disk_is_not_asked_to_copy_a_short_log(path: Path) -> None:
    store = SqliteStore(path, commit_seconds=-1.0)
    copied = traced(store, CHECKPOINT)
    await write_many(store, range(200))
    assert copied == []
    await write_many(store, range(200, CHECKPOINT_OPERATIONS + 100))
    assert len(copied) == 1
    await store.close()


async def test_a_log_that_cannot_be_copied_stops_no_write(store: SqliteStore) -> None:
    def authorize(action: int, name: str | None, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if name == "wal_checkpoint" else sqlite3.SQLITE_OK

    store._writer.set_authorizer(authorize)
    await write_many(store, range(CHECKPOINT_OPERATIONS + 200))
    assert await store.count("acme", "User") == CHECKPOINT_OPERATIONS + 200


async def test_a_log_of_which_somebody_reads_is_copied_later(
    store: SqliteStore, path: Path
) -> None:
    await create(store, [document("acme", "first")])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM documents").fetchall()
        asked = traced(store, CHECKPOINT)
        await write_many(store, range(CHECKPOINT_OPERATIONS + 100))
        assert not is_copied(path)
        assert len(asked) <= 2, "not after each commit"
    await create(store, [document("acme", f"later {n}") for n in range(AGAIN_OPERATIONS)])
    assert is_copied(path)


async def test_the_log_begins_anew_while_others_write(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets it only while nobody has written since the last of it was copied."""
    monkeypatch.setattr("directory.sqlite.store.RESTART_MILLISECONDS", 10_000)
    monkeypatch.setattr("directory.sqlite.store.CHECKPOINT_OPERATIONS", 10)
    await create(store, [document("acme", "0")])
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        commit = Timer(0.05, lambda: other.execute("COMMIT"))

        def write_meanwhile(statement: str) -> None:
            if statement == CHECKPOINT:
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE documents SET etag = 'other' WHERE id = '0'")
                commit.start()

        store._writer.set_trace_callback(write_meanwhile)
        await create(store, [document("acme", f"copied {n}") for n in range(9)])
        commit.join()
    await create(store, [document("acme", "last")])
    header = path.with_name(f"{path.name}-wal").read_bytes()[:32]
    assert int.from_bytes(header[12:16]) == 1  # https://www.sqlite.org/walformat.html
    assert (await store.read("acme", "0")).etag == "other"


async def test_one_process_has_the_log_copied_for_all(path: Path) -> None:
    most, least = SqliteStore(path), SqliteStore(path)
    copied = traced(most, CHECKPOINT), traced(least, CHECKPOINT)
    half = CHECKPOINT_OPERATIONS // 2
    for round in range(6):
        await create(most, [document("acme", f"most {round}-{n}") for n in range(2 * half + 1)])
        await create(least, [document("acme", f"least {round}-{n}") for n in range(half + 1)])
    assert [len(each) for each in copied] == [6, 0]
    for store in (most, least):
        await store.close()


@pytest.fixture(params=[1.0, -1.0], ids=["fast disk", "slow disk"])
async def any_disk(path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SqliteStore]:
    """A store that has written once, so that it knows how fast its disk is."""
    store = SqliteStore(path, commit_seconds=request.param)
    await create(store, [document("acme", "first")])
    yield store
    await store.close()


async def test_a_write_is_answered_once_it_is_on_the_disk_while_others_write(
    any_disk: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []

    def flush(log: FileIO) -> None:
        assert os.path.samestat(Path(f"{path}-wal").stat(), os.fstat(log.fileno()))
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            assert other.execute("SELECT 1 FROM documents WHERE id = 'a'").fetchone()
            other.execute("BEGIN IMMEDIATE")
        flushed.append(batch.done())

    monkeypatch.setattr("directory.sqlite.store._flush", flush)
    batch = asyncio.ensure_future(any_disk.batch("acme", [Create(document("acme", "a"))]))
    await batch
    assert flushed == [False]


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(lambda store: create(store, [document("acme", "a")]), id="write"),
        pytest.param(lambda store: store.changes("acme", None, 1), id="feed"),
    ],
)
async def test_a_disk_that_fails_makes_it_unavailable(
    any_disk: SqliteStore,
    asks: Callable[[SqliteStore], Awaitable[object]],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where another process had the log copied before."""

    def fail(_log: FileIO) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(RESTART)")
    await create(any_disk, [document("acme", "first of the new log")])
    with monkeypatch.context() as patched:
        patched.setattr("directory.sqlite.store._flush", fail)
        with pytest.raises(Unavailable, match="Input/output error"):
            await asks(any_disk)
    copied = traced(any_disk, CHECKPOINT)
    await create(any_disk, [document("acme", "b")])
    assert len(copied) == 1, "what the log may lack must be in the file"


async def test_a_position_of_the_feed_is_on_the_disk_before_it_is_given(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have committed the last change a moment ago."""
    flushes: list[str] = []
    monkeypatch.setattr("directory.sqlite.store._flush", lambda log: flushes.append(log.name))
    new = await store.changes("acme", None, 10)
    assert len(flushes) == 1
    await store.changes("acme", new.position, 10)
    assert len(flushes) == 1, "this position was given before"


async def test_nobody_else_on_the_machine_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    path.touch(mode=0o644)
    store = SqliteStore(path)
    await create(store, [document("acme", "a")])
    files = [path, *(path.with_name(path.name + end) for end in ("-shm", "-wal"))]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    await store.close()


async def test_what_was_answered_survives_a_kill(store: SqliteStore, path: Path) -> None:
    """Batches come in pairs of documents: both are there or none is."""
    process = await started(
        path,
        """
async def write(n):
    pair = [{"id": f"{n}-{half}", "tenantId": "acme", "type": "User"} for half in "ab"]
    await store.batch("acme", [Create(document) for document in pair])
    print(n, flush=True)

for start in range(0, 100_000, 8):
    await asyncio.gather(*(write(n) for n in range(start, start + 8)))
""",
    )
    assert process.stdout is not None
    answered = [int(await process.stdout.readline()) for _ in range(100)]
    process.send_signal(signal.SIGKILL)
    answered += [int(line) for line in (await process.stdout.read()).split(b"\n")[:-1]]
    await process.wait()
    for n in answered:
        assert len(await store.read_many("acme", [f"{n}-a", f"{n}-b"])) == 2
    written = (await store.query("acme", Query("User", limit=100_000))).items
    assert len(written) % 2 == 0
    assert {id.removesuffix("-a") + "-b" for id in ids(written) if id.endswith("-a")} == {
        id for id in ids(written) if id.endswith("-b")
    }


async def test_a_part_of_a_text_is_found_whatever_is_in_it(store: SqliteStore) -> None:
    """It is looked for in the whole document first, as JSON writes it."""
    texts = (*'"\\*?[]\n\x00\x05\x7fé😀', "[a]", "long" * 50)
    made = [document("acme", f"{n}", s=f"x{text}y") for n, text in enumerate(texts)]
    await create(store, [*made, document("acme", "other", s="z")])
    for number, text in enumerate(texts):
        for part in (
            Compare(("s",), "co", text),
            Compare(("s",), "sw", f"x{text}"),
            Compare(("s",), "ew", f"{text}y"),
        ):
            where = Either((part, replace(part, path=("o",))))
            page = await store.query("acme", Query("User", where))
            found = [one.document["id"] for one in page.items]
            assert f"{number}" in found, part
            assert "other" not in found
