"""The SQLite store: the store port on one machine, in one file.

Several processes may share the file. Reads run on the event loop, where a point read costs less
than a change of threads; a read that turns out to be long is repeated in a thread. Writes queue up
and are executed together in one transaction, on the event loop, too; where the disk is slow, a
thread waits for it. A write is answered when it is on the disk; other processes may write, and see
it, a moment before.
"""

import asyncio
import math
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from directory.condition import EVERYTHING, Condition
from directory.lanes import Lanes
from directory.sqlite.batch import Batch, execute, purge
from directory.sqlite.feed import select_changes, to_changes
from directory.sqlite.json_text import original_text, stored_text
from directory.sqlite.schema import BUSY_SECONDS, connect, open_database
from directory.sqlite.select import Row, Select, select_count, select_page, to_page, whole
from directory.store import (
    READ_MANY,
    Changes,
    NotFound,
    Operation,
    Page,
    Query,
    Stored,
    Unavailable,
)

INLINE_SECONDS = 0.002
TURN_SECONDS = 0.01
INSTRUCTIONS = 1000
"""Instructions of SQLite's virtual machine between two looks at the clock."""
READ_THREADS = 4
"""For long reads; one tenant has one of them at a time."""
GROUP_OPERATIONS = 256
"""A transaction takes no further write once it has this many operations, which are written in some
10 ms: the more, the more of them share the pages that they change. Against 128, four bulk requests
at once are answered 12 % faster."""
OPERATION_BYTES = 8_192
"""So many bytes of documents count as one more operation."""
PURGE_SECONDS = 60.0
LOOK_SECONDS = 0.0001
"""Pause between two attempts of a write that waits for another process's write, which takes one to
four milliseconds. The pause keeps the event loop, whose own timers count whole milliseconds; other
work has a turn before it. With two busy processes, 4 % more POSTs."""
SHORT_LOOKS = 20
"""After so many pauses, longer ones leave the event loop to others."""
LONG_LOOK_SECONDS = 0.001
TURNS = 12
"""Of the event loop, before a transaction: about as many as a request takes until it writes. So
what came a moment later comes along, for a tenth of a millisecond: at eight requests at once, 4 %
more POSTs."""
COMMIT_SECONDS = 0.005
"""A thread commits once a commit took longer: a fast disk takes a tenth of it."""
CHECKPOINT_OPERATIONS = 4000
"""After so many operations of this process, or where the log may have a gap, a thread commits, so
that it can copy the log into the file. Three busy processes write some 17,000 pages (70 MB)
meanwhile. Pages that changed several times are copied once: with a fourth of it, 3 % fewer POSTs
and 15 % fewer bulk requests."""
AGAIN_OPERATIONS = 500
"""After so many more it is tried again, where the log could not begin anew."""
RESTART_MILLISECONDS = 20
"""How long the log waits for others to let it begin anew. Nobody writes while it waits for those
who read."""

_flush: Callable[[FileIO], None] = getattr(os, "fdatasync", os.fsync)
"""Has a file's content written to the disk."""

_READ = "SELECT id, etag, body FROM documents WHERE tenant = ? AND id = ? AND expires > ?"
_READ_MANY = """
SELECT id, etag, body FROM documents
WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires > ?3
"""

type _Job[T] = Callable[[sqlite3.Connection], T]
type _Outcome[T] = tuple[T, None] | tuple[None, Exception]


@dataclass(frozen=True, slots=True)
class _Write[T]:
    """A write that waits for its turn in a transaction, with about how many operations it has."""

    job: _Job[T]
    operations: int
    answer: asyncio.Future[T]

    def settle(self, outcome: _Outcome[T]) -> None:
        """Give the outcome to the caller; after a cancelled call the write stands all the same."""
        if self.answer.cancelled():
            return
        match outcome:
            case result, None:
                self.answer.set_result(result)
            case _, error:
                self.answer.set_exception(error)


class _HalfWritten(Exception):
    """A job wrote something and then raised `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class SqliteStore:
    """`directory.store.Store` in the SQLite file `path`, which is created where it is missing.

    `now` is the clock for expiry, in seconds since 1970. Use the store on one event loop. Raises
    UnusableFile where the file is damaged, or a newer version of Muster wrote it.

    A read may keep the event loop for `inline_seconds`, and is looked at after each so many
    `instructions` of SQLite; reads that follow each other may keep it for `turn_seconds`. A commit
    may keep it for `commit_seconds`; after one that took longer, a thread commits. A write waits
    for another process's write for up to `busy_seconds`.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        *,
        inline_seconds: float = INLINE_SECONDS,
        instructions: int = INSTRUCTIONS,
        turn_seconds: float = TURN_SECONDS,
        commit_seconds: float = COMMIT_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._path = path
        self._now = now
        self._writer = open_database(path)
        self._writer.execute("PRAGMA busy_timeout = 0")  # `_begin` waits
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")  # `_commit_and_copy` copies
        self._log = FileIO(f"{path}-wal", "r+b")
        self._log_number = _log_number(self._log)
        self._reader = connect(path)
        self._reader.set_progress_handler(self._is_too_long, instructions)
        self._inline_seconds = inline_seconds
        self._turn_seconds = turn_seconds
        self._commit_seconds = commit_seconds
        self._commit_took = 0.0
        self._not_copied: float = 0
        """Operations; infinite where the log may have a gap."""
        self._busy_seconds = busy_seconds
        self._inline_until = 0.0
        self._turn_began: float | None = None
        self._write_thread = ThreadPoolExecutor(1, "store writes")
        self._reads = Lanes(READ_THREADS, "store reads")
        self._long_readers: list[sqlite3.Connection] = []
        self._of_thread = threading.local()
        self._waiting: deque[_Write[Any]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._purge_at = 0.0

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """Point read. Raises NotFound, Unavailable."""
        key = (stored_text(tenant_id), stored_text(document_id), self._now())
        rows = await self._rows(tenant_id, Select(_READ, key), list)
        if not rows:
            raise NotFound(document_id)
        return whole(*rows[0])

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """Up to READ_MANY documents by id; missing ones are left out. Raises ValueError for more,
        Unavailable."""
        if len(ids) > READ_MANY:
            raise ValueError(f"{len(ids)} ids; at most {READ_MANY} can be read at once.")
        array = orjson.dumps([stored_text(id) for id in ids]).decode()
        parameters = (stored_text(tenant_id), array, self._now())
        return await self._rows(
            tenant_id,
            Select(_READ_MANY, parameters),
            lambda rows: {original_text(row[0]): whole(*row) for row in rows},
        )

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """All or nothing; see the port. Raises Unavailable where the batch is not known to be
        written."""
        batch = Batch.of(tenant_id, operations)
        counted = len(batch.steps) + batch.size // OPERATION_BYTES
        return await self._written(partial(self._execute, batch), counted)

    async def beside[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Write to other tables of the same file (the queue's): all that `job` does or, where it
        raises, nothing. Such writes share transactions with batches instead of waiting for them.
        Raises what the job raises, Unavailable where SQLite reports an error."""
        return await self._written(job, 1)

    async def query(self, tenant_id: str, query: Query) -> Page:
        """One page. Raises BadContinuation and ValueError (select_page says when), Unavailable."""
        select = select_page(query, tenant_id, self._now())
        return await self._rows(tenant_id, select, lambda rows: to_page(query, tenant_id, rows))

    async def query_every_tenant(self, query: Query) -> Page:
        """One page over all tenants, ordered by `order`, `id` and tenant. Raises as `query`."""
        select = select_page(query, None, self._now())
        return await self._rows("", select, lambda rows: to_page(query, None, rows))

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store. Raises BadPosition, LostPosition, Unavailable."""
        select = select_changes(tenant_id, after, limit, self._now())
        changes = await self._rows(
            tenant_id or "", select, lambda rows: to_changes(after, limit, rows)
        )
        if changes.position != after:
            await self._flushed()
        return changes

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """How many documents satisfy the condition. Raises ValueError, Unavailable."""
        select = select_count(type, where, tenant_id, self._now())
        ((count,),) = await self._rows(tenant_id, select, list)
        return int(count)

    async def close(self) -> None:
        """Finish what is being written and release the file."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._write_thread.shutdown)
        await self._reads.close()
        for connection in (self._writer, self._reader, *self._long_readers):
            connection.close()
        self._log.close()

    async def _written[T](self, job: _Job[T], operations: int) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Write(job, operations, answer))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        return await answer

    async def _rows[T](self, tenant_id: str, select: Select, shape: Callable[[list[Row]], T]) -> T:
        """What `shape` makes of the rows."""
        await self._turn()
        self._inline_until = time.perf_counter() + self._inline_seconds
        try:
            return shape(self._reader.execute(select.sql, select.parameters).fetchall())
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_ERROR:  # only the condition varies in our SQL
                raise ValueError(f"SQLite refuses the query: {error}") from error
            if _code(error) != sqlite3.SQLITE_INTERRUPT:
                raise self._unavailable(error) from error
        return await self._reads.run(tenant_id, lambda: shape(self._long_rows(select)))

    async def _turn(self) -> None:
        """Give up the event loop once reads have kept it for long: a read that is answered at once
        never does, and a caller may make any number of them."""
        now = time.perf_counter()
        if self._turn_began is None:
            self._turn_began = now
            asyncio.get_running_loop().call_soon(self._turn_ends)
        elif now - self._turn_began > self._turn_seconds:
            await asyncio.sleep(0)

    def _turn_ends(self) -> None:
        self._turn_began = None

    def _is_too_long(self) -> bool:
        return time.perf_counter() > self._inline_until

    def _long_rows(self, select: Select) -> list[Row]:
        try:
            reader: sqlite3.Connection | None = getattr(self._of_thread, "reader", None)
            if reader is None:
                reader = self._of_thread.reader = connect(self._path)
                self._long_readers.append(reader)
            return reader.execute(select.sql, select.parameters).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error | OSError) -> Unavailable:
        """The error with SQLite's name for it (https://www.sqlite.org/rescode.html)."""
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return Unavailable(f"{self._path}: {error} ({name})")

    async def _write(self) -> None:
        """Write what waits, one transaction after the other, until nothing waits.

        A savepoint keeps a copy of every page that a write changes, a third of what a small write
        costs. So writes have none at first; where one fails half-way, which is rare, the
        transaction is rolled back and repeated with a savepoint for each write."""
        savepoints = False
        while self._waiting:
            group: list[tuple[_Write[Any], _Outcome[Any]]] = []
            try:
                await _turns()
                await self._begin()
                self._execute_waiting(group, savepoints)
                await self._commit()
            except _HalfWritten:
                self._writer.execute("ROLLBACK")
                self._waiting.extendleft(write for write, _ in reversed(group))
                savepoints = True
                continue
            except (sqlite3.Error, OSError) as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                lost = [*(write for write, _ in group), *self._waiting]
                self._waiting.clear()
                group = [(write, (None, self._unavailable(error))) for write in lost]
            savepoints = False
            for write, outcome in group:
                write.settle(outcome)

    async def _begin(self) -> None:
        """Waits instead of SQLite, which sleeps for up to 100 ms between two attempts."""
        give_up = time.monotonic() + self._busy_seconds
        for looks in count(1):
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
            else:
                return
            if looks > SHORT_LOOKS:
                await asyncio.sleep(LONG_LOOK_SECONDS)
            else:
                await asyncio.sleep(0)
                time.sleep(LOOK_SECONDS)  # noqa: ASYNC251 - uvloop pauses for 1 ms at least

    async def _commit(self) -> None:
        if CHECKPOINT_OPERATIONS <= self._not_copied < math.inf:
            self._look_at_log()
        if self._not_copied >= CHECKPOINT_OPERATIONS:
            await self._in_thread(self._commit_and_copy)
        else:
            await self._on_the_disk(self._commit_now)

    def _look_at_log(self) -> None:
        """Another process may have had it copied since. So the one that writes most does it for
        all: on a laptop, the one that does not answer requests."""
        number = _log_number(self._log)
        if number != self._log_number:
            self._log_number, self._not_copied = number, 0

    async def _flushed(self) -> None:
        """A position that was given is never given to another change: not even after the loss of
        power, where what another process committed last is gone unless it was flushed."""
        try:
            await self._on_the_disk(self._flush_log)
        except OSError as error:
            raise self._unavailable(error) from error

    async def _on_the_disk(self, work: Callable[[], None]) -> None:
        """On the event loop, because a change of threads costs as much as a commit; in the thread
        where the last commit took long."""
        if self._commit_took > self._commit_seconds:
            await self._in_thread(work)
        else:
            work()

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._write_thread, work)

    def _commit_and_copy(self) -> None:
        """Others write while most of the log is copied, and so it would never be copied whole and
        begin anew: it would grow, every page would take longer to find, and each commit would copy
        it once more. So the rest is copied while nobody writes, which takes some milliseconds. A
        log that cannot be copied or begin anew is tried later; the writes are on the disk in any
        case."""
        self._commit_now()
        self._not_copied -= AGAIN_OPERATIONS
        with suppress(sqlite3.Error):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._writer.execute(f"PRAGMA busy_timeout = {RESTART_MILLISECONDS}")
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not busy:
                self._log_number += 1
                self._not_copied = 0
        with suppress(sqlite3.Error):
            self._writer.execute("PRAGMA busy_timeout = 0")

    def _commit_now(self) -> None:
        """SQLite can flush its log before it lets others write (`synchronous = FULL`). They need
        not wait for the disk, which takes most of a commit: with two busy processors, 11 % more
        POSTs and PATCHes."""
        began = time.perf_counter()
        self._writer.execute("COMMIT")
        self._flush_log()
        self._commit_took = time.perf_counter() - began

    def _flush_log(self) -> None:
        try:
            _flush(self._log)
        except OSError:  # a later flush may not write it either, and nothing after a gap is read
            self._not_copied = math.inf
            raise

    def _execute_waiting(
        self, group: list[tuple[_Write[Any], _Outcome[Any]]], savepoints: bool
    ) -> None:
        """Execute some of the waiting writes, and append each with its outcome. Raises
        _HalfWritten."""
        operations = 0
        attempt = self._attempt_in_savepoint if savepoints else self._attempt
        while self._waiting and operations < GROUP_OPERATIONS:
            write = self._waiting[0]
            operations += write.operations
            group.append((write, attempt(write.job)))
            self._waiting.popleft()
        self._not_copied += operations
        now = self._now()
        if now >= self._purge_at:
            self._purge_at = now + PURGE_SECONDS
            purge(self._writer, now)

    def _attempt[T](self, job: _Job[T]) -> _Outcome[T]:
        """What the job returns, or its error, which concerns this write alone. Raises the
        database's errors, which concern the whole transaction, and _HalfWritten."""
        written = self._writer.total_changes
        try:
            return job(self._writer), None
        except sqlite3.Error:
            raise
        except Exception as error:
            if self._writer.total_changes != written:
                raise _HalfWritten(error) from error
            return None, error

    def _attempt_in_savepoint[T](self, job: _Job[T]) -> _Outcome[T]:
        """The same, without the trace of a job that fails."""
        self._writer.execute("SAVEPOINT write")
        try:
            outcome = self._attempt(job)
        except _HalfWritten as torn:
            self._writer.execute("ROLLBACK TO write")
            outcome = None, torn.error
        self._writer.execute("RELEASE write")
        return outcome

    def _execute(self, batch: Batch, db: sqlite3.Connection) -> list[str | None]:
        return execute(db, batch, self._now())


def _log_number(log: FileIO) -> int:
    """How often the log began anew; 0 for an empty one. It is in the header at byte 12
    (https://www.sqlite.org/walformat.html)."""
    log.seek(12)
    return int.from_bytes(log.read(4))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code (https://www.sqlite.org/rescode.html)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
