"""The SQLite file in which queues and topics lie: its tables, its thread, how it is written.

The file may hold other things; the queue's tables are its own, and any number of processes may use
them.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from queues.port import BODY_BYTES, ID_CHARACTERS, Message, QueueError

BUSY_SECONDS = 10.0
"""How long to wait for another process's write before giving up."""

# `enqueued_at` is a message's place in the order; it lies in the future while it is scheduled.
# Everything else is available whose `locked_until` has passed.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue_message (
    sequence_number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    enqueued_at REAL NOT NULL,
    delivery_count INTEGER NOT NULL DEFAULT 0,
    lock_token TEXT,
    locked_until REAL NOT NULL DEFAULT 0
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
    description TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS queue_dead_letter_id ON queue_dead_letter (queue, id);
CREATE TABLE IF NOT EXISTS queue_subscription (
    topic TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (topic, name)
) STRICT, WITHOUT ROWID;
"""


class QueueFile:
    """A connection to the file, opened at its first use, in a thread of its own: a write may have
    to wait for another process, and the event loop must not wait with it. `name` is what an error
    calls the queue."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._thread = ThreadPoolExecutor(1, f"queue {name}")
        self._connection: sqlite3.Connection | None = None

    async def run[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job in the thread. Raises QueueError where SQLite reports an error."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(self._call, job))
        except sqlite3.Error as error:
            raise QueueError(f"Queue {self._name} in {self._path}: {error}") from error

    async def close(self) -> None:
        """Release the connection and its thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def _call[T](self, job: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connect(self._path)
        return job(self._connection)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One write transaction, begun with the write lock so that it cannot fail half-way."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        yield


def insert(
    db: sqlite3.Connection, queue: str, messages: Sequence[Message], now: float, window: float
) -> None:
    """Add messages to a queue, in order, but for those whose id it was sent within `window`
    seconds. Call it inside `writing`."""
    db.execute("DELETE FROM queue_recent_id WHERE queue = ? AND expires_at <= ?", (queue, now))
    for message in messages:
        new = db.execute(
            "INSERT INTO queue_recent_id VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (queue, message.id, now + window),
        )
        if new.rowcount == 1:
            db.execute(
                "INSERT INTO queue_message (queue, id, body, enqueued_at) VALUES (?, ?, ?, ?)",
                (queue, message.id, message.body, now + message.delay),
            )


def check(message: Message) -> None:
    """Raises ValueError for a message that Service Bus would refuse."""
    if not 1 <= len(message.id) <= ID_CHARACTERS:
        raise ValueError(f"A message id has 1 to {ID_CHARACTERS} characters.")
    if len(message.body) > BODY_BYTES:
        raise ValueError(f"Message {message.id} is over {BODY_BYTES} bytes.")
    if message.delay < 0:
        raise ValueError(f"Message {message.id} has a negative delay.")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _switch_to_wal(db)
        # With WAL and NORMAL, what was committed survives the death of the process.
        db.executescript(f"PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """SQLite does not wait by itself where several processes do this to a new file at once."""
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
