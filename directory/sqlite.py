"""The SQLite store: the store port on one machine, in one file.

Several processes may share the file. Reads run on the event loop, where a point read costs less
than a change of threads; one that turns out to be long is done again in a thread. Writes queue
up, are executed together in one transaction, each batch in a savepoint of its own, and wait for
the disk in a thread; a batch is answered when it is on the disk.
"""

import asyncio
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import orjson

from directory.condition import EVERYTHING, Condition
from directory.sqlite_batch import Batch, execute, purge
from directory.sqlite_json import load, stored_text
from directory.sqlite_schema import BUSY_SECONDS, connect, open_database
from directory.sqlite_select import Row, Select, select_count, select_page, to_page
from directory.store import (
    READ_MANY,
    NotFound,
    Operation,
    Page,
    Query,
    Stored,
    Unavailable,
)

INLINE_SECONDS = 0.002
"""How long a read may keep the event loop."""
GROUP_OPERATIONS = 128
"""A transaction takes no further batch once it has so many operations."""
PURGE_SECONDS = 60.0
LOOK_SECONDS = 0.0005
"""How often a write that has to wait for another process' or the queue's looks again."""

_INSTRUCTIONS = 1000
"""Of SQLite's virtual machine, between two looks at the clock."""
_READ = "SELECT body, etag FROM documents WHERE tenant = ? AND id = ? AND expires > ?"
_READ_MANY = """
SELECT body, etag FROM documents
WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires > ?3
"""

type _Answer = asyncio.Future[list[str | None]]
type _Outcome = list[str | None] | Exception


class SqliteStore:
    """`directory.store.Store` in the SQLite file `path`, which is created where it is missing.

    `now` is the clock of expiry, in seconds since 1970. Use it on one event loop. Raises
    RuntimeError where a newer version of Muster wrote the file.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._writer = open_database(path)
        self._writer.execute("PRAGMA busy_timeout = 0")  # `_begin` waits, in the thread
        self._reader = connect(path)
        self._reader.set_progress_handler(self._is_too_long, _INSTRUCTIONS)
        self._inline_until = 0.0
        self._write_thread = ThreadPoolExecutor(1, "store writes")
        self._read_thread = ThreadPoolExecutor(1, "store reads")
        self._long_reader: sqlite3.Connection | None = None
        self._waiting: deque[tuple[Batch, _Answer]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._purge_at = 0.0

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """Point read. Raises NotFound, Unavailable."""
        key = (stored_text(tenant_id), stored_text(document_id), self._now())
        rows = await self._rows(Select(_READ, key))
        if not rows:
            raise NotFound(document_id)
        body, etag = rows[0]
        return Stored(load(body), etag)

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """Up to READ_MANY documents by id; missing ones are left out. Raises ValueError for more,
        Unavailable."""
        if len(ids) > READ_MANY:
            raise ValueError(f"{len(ids)} ids; at most {READ_MANY} can be read at once.")
        array = orjson.dumps([stored_text(id) for id in ids]).decode()
        parameters = (stored_text(tenant_id), array, self._now())
        rows = await self._rows(Select(_READ_MANY, parameters))
        documents = [Stored(load(body), etag) for body, etag in rows]
        return {stored.document["id"]: stored for stored in documents}

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """All or nothing; see the port. Raises Unavailable where it is not known to be written."""
        batch = Batch.of(tenant_id, operations)
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        self._waiting.append((batch, answer))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        return await answer

    async def query(self, tenant_id: str, query: Query) -> Page:
        """One page. Raises ValueError (select_page says when), Unavailable."""
        rows = await self._rows(select_page(query, tenant_id, self._now()))
        return to_page(query, tenant_id, rows)

    async def query_every_tenant(self, query: Query) -> Page:
        """One page over all tenants, ordered by `order`, `id` and tenant. Raises as `query`."""
        rows = await self._rows(select_page(query, None, self._now()))
        return to_page(query, None, rows)

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """How many documents satisfy the condition. Raises ValueError, Unavailable."""
        ((count,),) = await self._rows(select_count(type, where, tenant_id, self._now()))
        return int(count)

    async def close(self) -> None:
        """Finish what is being written and release the file."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        loop = asyncio.get_running_loop()
        for thread in (self._write_thread, self._read_thread):
            await loop.run_in_executor(None, thread.shutdown)
        for connection in (self._writer, self._reader, self._long_reader):
            if connection is not None:
                connection.close()

    def explain(self, tenant_id: str | None, query: Query) -> list[str]:
        """SQLite's plan for a query (over all tenants without `tenant_id`): one line per step."""
        select = select_page(query, tenant_id, self._now())
        self._inline_until = math.inf
        plan = self._reader.execute(f"EXPLAIN QUERY PLAN {select.sql}", select.parameters)
        return [detail for _, _, _, detail in plan.fetchall()]

    async def _rows(self, select: Select) -> list[Row]:
        self._inline_until = time.perf_counter() + INLINE_SECONDS
        try:
            return self._reader.execute(select.sql, select.parameters).fetchall()
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_ERROR:  # only the condition varies in our SQL
                raise ValueError(f"SQLite refuses the query: {error}") from error
            if _code(error) != sqlite3.SQLITE_INTERRUPT:
                raise Unavailable(f"{self._path}: {error}") from error
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_thread, self._long_rows, select)

    def _is_too_long(self) -> bool:
        return time.perf_counter() > self._inline_until

    def _long_rows(self, select: Select) -> list[Row]:
        try:
            if self._long_reader is None:
                self._long_reader = connect(self._path)
            return self._long_reader.execute(select.sql, select.parameters).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path}: {error}") from error

    async def _write(self) -> None:
        """Write what waits, one transaction after the other, until nothing does."""
        commit = partial(self._writer.execute, "COMMIT")
        loop = asyncio.get_running_loop()
        while self._waiting:
            group: list[tuple[_Answer, _Outcome]] = []
            try:
                await self._begin()
                self._execute_waiting(group)
                await loop.run_in_executor(self._write_thread, commit)
            except sqlite3.Error as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                lost = [answer for answer, _ in group] + [answer for _, answer in self._waiting]
                self._waiting.clear()
                group = [(answer, Unavailable(f"{self._path}: {error}")) for answer in lost]
            for answer, outcome in group:
                _settle(answer, outcome)

    async def _begin(self) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._write_thread, self._begin_patiently)

    def _begin_patiently(self) -> None:
        """SQLite would wait, too, but sleeps for up to 100 ms between two looks."""
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(LOOK_SECONDS)
            else:
                return

    def _execute_waiting(self, group: list[tuple[_Answer, _Outcome]]) -> None:
        """Execute batches of those that wait, and append how each went."""
        now = self._now()
        operations = 0
        while self._waiting and operations < GROUP_OPERATIONS:
            batch, answer = self._waiting[0]
            operations += len(batch.steps)
            group.append((answer, self._execute(batch, now)))
            self._waiting.popleft()
        if now >= self._purge_at:
            self._purge_at = now + PURGE_SECONDS
            purge(self._writer, now)

    def _execute(self, batch: Batch, now: float) -> _Outcome:
        """The ETags, or the error of this batch alone; an error of the database is raised."""
        self._writer.execute("SAVEPOINT batch")
        try:
            outcome: _Outcome = execute(self._writer, batch, now)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets it
            self._writer.execute("ROLLBACK TO batch")
            outcome = error
        self._writer.execute("RELEASE batch")
        return outcome


def _settle(answer: _Answer, outcome: _Outcome) -> None:
    if answer.cancelled():  # its caller gave up; what is written is written
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code (https://www.sqlite.org/rescode.html)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
