"""The SQLite file that holds queues and topics: its tables, its connection, its transactions.

The file may hold other tables, and any number of processes may use it. A process has one writer at
a time: where its store writes to the same file, the queue's writes go into the store's
transactions.
"""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from directory.store import Unavailable
from queues.port import Message, Properties, QueueError

BUSY_SECONDS = 10.0
"""How long to wait for another process's write before giving up."""
DUPLICATE_DETECTION_SECONDS = 600.0
"""How long a queue remembers the ids that were sent to it; as in infra/modules/servicebus.bicep."""

# Messages are in the order of `enqueued_at`, which is in the future while a message is scheduled.
# A message that is due is available once its `locked_until` has passed.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue_message (
    sequence_number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    enqueued_at REAL NOT NULL,
    delivery_count INTEGER NOT NULL DEFAULT 0,
    lock_token TEXT,
    locked_until REAL NOT NULL DEFAULT 0,
    properties TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX IF NOT EXISTS queue_message_order ON queue_message (queue, enqueued_at);
CREATE INDEX IF NOT EXISTS queue_message_locked ON queue_message (queue, locked_until)
    WHERE lock_token IS NOT NULL;
CREATE TABLE IF NOT EXISTS queue_recent_id (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS queue_recent_id_expiry ON queue_recent_id (queue, expires_at);
CREATE TABLE IF NOT EXISTS queue_dead_letter (
    sequence_number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    enqueued_at REAL NOT NULL,
    delivery_count INTEGER NOT NULL,
    dead_lettered_at REAL NOT NULL,
    reason TEXT NOT NULL,
    description TEXT NOT NULL,
    properties TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX IF NOT EXISTS queue_dead_letter_id ON queue_dead_letter (queue, id);
CREATE TABLE IF NOT EXISTS queue_subscription (
    topic TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (topic, name)
) STRICT, WITHOUT ROWID;
"""

_NAMES = frozenset(re.findall(r"CREATE (?:TABLE|INDEX) IF NOT EXISTS (\w+)", _SCHEMA))


class Beside(Protocol):
    """Does a job, all or nothing, in a transaction of the process's other writer to the file."""

    async def __call__[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What the job returns. Raises what it raises, Unavailable where SQLite reports an
        error."""
        ...


class QueueFile:
    """A connection to the file, opened at first use. `name` names the queue in errors; `beside` is
    the process's other writer to the file, where it has one.

    A job runs in a thread where it may have to wait for another process: to open the file, and to
    write without `beside`. A read waits for nobody, and a change of threads costs more than it.
    """

    def __init__(self, path: Path, name: str, beside: Beside | None = None) -> None:
        self._path = path
        self._name = name
        self._beside = beside
        self._thread = ThreadPoolExecutor(1, f"queue {name}")
        self._connection: sqlite3.Connection | None = None

    async def write[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job in a transaction, all or nothing. Raises QueueError where SQLite reports an
        error."""
        if self._beside is None:
            return await self._in_thread(partial(_in_transaction, job))
        if self._connection is None:
            await self._in_thread(_nothing)  # connecting creates the tables
        try:
            return await self._beside(job)
        except Unavailable as error:
            raise QueueError(f"Queue {self._name} in {error}") from error

    async def read[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job that only reads, and little. Raises QueueError where SQLite reports an error."""
        if self._connection is None or self._beside is None:  # then a thread writes with it
            return await self._in_thread(job)
        try:
            return job(self._connection)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def close(self) -> None:
        """Release the connection and its thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _in_thread[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(self._call, job))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> QueueError:
        return QueueError(f"Queue {self._name} in {self._path}: {error}")

    def _call[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connect(self._path)
        return job(self._connection)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()


def insert(db: sqlite3.Connection, queue: str, messages: Sequence[Message], now: float) -> None:
    """Add messages to a queue, in order, except those whose id was sent to it within the last
    DUPLICATE_DETECTION_SECONDS."""
    db.execute("DELETE FROM queue_recent_id WHERE queue = ? AND expires_at <= ?", (queue, now))
    for message in messages:
        new = db.execute(
            "INSERT INTO queue_recent_id VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (queue, message.id, now + DUPLICATE_DETECTION_SECONDS),
        )
        if new.rowcount == 1:
            db.execute(
                "INSERT INTO queue_message (queue, id, body, enqueued_at, properties)"
                " VALUES (?, ?, ?, ?, ?)",
                (queue, message.id, message.body, now + message.delay, _json(message.properties)),
            )


def _in_transaction[T](job: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    """The transaction begins with the write lock, so that it cannot fail half-way."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        return job(db)


def _json(properties: Properties) -> str:
    return json.dumps({**properties}) if properties else "{}"


def _is_up_to_date(db: sqlite3.Connection) -> bool:
    present = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    return present >= _NAMES and not _without_properties(db)


def _without_properties(db: sqlite3.Connection) -> list[str]:
    """The tables that an earlier version made without a column for properties."""
    with_them = "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'properties'"
    tables = ("queue_message", "queue_dead_letter")
    return [table for table in tables if db.execute(with_them, (table,)).fetchone() == (0,)]


def _add_properties(db: sqlite3.Connection) -> None:
    for table in _without_properties(db):
        db.execute(f"ALTER TABLE {table} ADD COLUMN properties TEXT NOT NULL DEFAULT '{{}}'")


def _nothing(db: sqlite3.Connection) -> None:
    """A job that only connects."""


def _connect(path: Path) -> sqlite3.Connection:
    with suppress(OSError):  # SQLite reports the error
        path.touch(mode=0o600)  # the store does this where it shares the file
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _switch_to_wal(db)
        # With WAL and NORMAL, what was committed survives the death of the process.
        db.execute("PRAGMA synchronous = NORMAL")
        if not _is_up_to_date(db):  # looking waits for nobody who writes
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            with db:
                db.execute("BEGIN IMMEDIATE")
                _add_properties(db)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """Retries, because SQLite does not wait where several processes do this to a new file."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
