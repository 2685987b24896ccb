"""The embedded queue: an Azure Service Bus queue in the application's SQLite file.

Same semantics, so that what runs on a laptop is what runs in a region: peek-lock with a lock that
expires, delivery count, dead-letter queue, scheduled messages, duplicate detection by message id
(https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement).
Any number of processes may send to and receive from one file.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from queues.port import DIRECTORY_EVENTS, NO_PROPERTIES, DeadLetter, Message, Properties, check
from queues.sqlite.file import Beside, QueueFile, insert

MAX_DELIVERY_COUNT_EXCEEDED = "MaxDeliveryCountExceeded"

_EXHAUSTED = """
SELECT sequence_number FROM queue_message
WHERE queue = :queue AND lock_token IS NOT NULL AND locked_until <= :now
    AND delivery_count >= :max_delivery_count
"""
_AVAILABLE = """
SELECT sequence_number FROM queue_message
WHERE queue = :queue AND enqueued_at <= :now AND locked_until <= :now
    AND delivery_count < :max_delivery_count
ORDER BY enqueued_at, sequence_number LIMIT :limit
"""
_LOCK = f"""
UPDATE queue_message
SET delivery_count = delivery_count + 1, lock_token = hex(randomblob(16)), locked_until = :until
WHERE sequence_number IN ({_AVAILABLE})
RETURNING
    sequence_number, id, body, enqueued_at, delivery_count, lock_token, locked_until, properties
"""  # noqa: S608 - of constants
_HELD = """
SELECT 1 FROM queue_message WHERE sequence_number = ? AND lock_token = ? AND locked_until > ?
"""
_BURY = """
INSERT INTO queue_dead_letter
    (queue, id, body, enqueued_at, delivery_count, properties,
     dead_lettered_at, reason, description)
SELECT queue, id, body, enqueued_at, delivery_count, properties, ?, ?, ?
FROM queue_message WHERE sequence_number = ?
"""
_DEAD_LETTERS = """
SELECT sequence_number, id, body, enqueued_at, delivery_count, reason, description
FROM queue_dead_letter WHERE queue = ? AND sequence_number > ? ORDER BY sequence_number LIMIT ?
"""
_RESUBMIT = """
INSERT INTO queue_message (queue, id, body, enqueued_at, properties)
SELECT queue, id, body, ?, properties FROM queue_dead_letter WHERE queue = ? AND id = ?
ORDER BY sequence_number
"""
_DISCARD = """
DELETE FROM queue_dead_letter WHERE queue = ? AND sequence_number = ?
"""


class LockLost(Exception):
    """The receiver no longer holds the message: its lock expired, or it was settled before."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message under a lock; `delivery_count` is 1 the first time it is delivered."""

    id: str
    body: bytes
    sequence_number: int
    enqueued_at: datetime
    delivery_count: int
    lock_token: str
    locked_until: datetime
    properties: Properties = NO_PROPERTIES


class SqliteQueue:
    """One named queue in the SQLite file `path`, which may hold other things.

    The parameters are the queue properties of Service Bus with their defaults, in seconds.
    Receivers of the same object wake as soon as something is sent through it; other processes'
    messages are found within `poll_interval`. `beside`: see QueueFile. Every method raises
    QueueError where SQLite reports an error (the file is gone, the disk is full, another process
    keeps its lock).
    """

    def __init__(
        self,
        path: Path,
        name: str = DIRECTORY_EVENTS,
        now: Callable[[], float] = time.time,
        *,
        lock_duration: float = 60.0,
        max_delivery_count: int = 10,
        poll_interval: float = 0.5,
        beside: Beside | None = None,
    ) -> None:
        self._name = name
        self._now = now
        self._lock_duration = lock_duration
        self._max_delivery_count = max_delivery_count
        self._poll_interval = poll_interval
        self._file = QueueFile(path, name, beside)
        self._arrival = asyncio.Event()
        self._expecting = False
        self._look: Callable[[], None] = lambda: None

    async def send(self, messages: Sequence[Message]) -> None:
        """Send all or none, in order. A message whose id was sent inside the window of duplicate
        detection is dropped. Raises MessageRefused for a message that Service Bus would refuse."""
        for message in messages:
            check(message)
        await self._file.write(partial(self._send, messages))
        self._wake()

    async def receive(
        self, max_messages: int = 1, wait_seconds: float = 0.0
    ) -> list[ReceivedMessage]:
        """Lock and return up to `max_messages`, oldest first, as soon as there is one; an empty
        list after `wait_seconds` without any. Messages that a cancelled call locked are available
        again when the lock expires."""
        if max_messages < 1:
            raise ValueError("max_messages must be at least 1")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            arrival = self._arrival  # set by anything that is sent from here on
            messages = await self._lock_available(max_messages)
            remaining = deadline - loop.time()
            if messages or remaining <= 0:
                return messages
            try:
                async with asyncio.timeout(min(remaining, self._poll_interval)):
                    await arrival.wait()
            except TimeoutError:
                continue

    async def complete(self, message: ReceivedMessage) -> None:
        """Remove the message, because its work is done. Raises LockLost."""
        await self._under_lock(message, self._delete)

    async def abandon(self, message: ReceivedMessage) -> None:
        """Give the message back: it is delivered again at once, or dead-lettered where this was its
        last delivery. Raises LockLost."""
        last = message.delivery_count >= self._max_delivery_count
        await self._under_lock(message, self._bury_exhausted if last else self._unlock)
        self._wake()

    async def renew(self, message: ReceivedMessage) -> datetime:
        """Hold the message for another lock duration; returns until when. Raises LockLost."""
        return await self._under_lock(message, self._extend)

    async def dead_letter(
        self, message: ReceivedMessage, reason: str, description: str = ""
    ) -> None:
        """Move the message to the dead-letter queue. Raises LockLost."""
        await self._under_lock(message, partial(self._bury, reason, description))

    async def list_dead_letters(self, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """See DeadLetterQueue."""
        await self._bury_all_expired()
        return await self._file.read(partial(self._list_dead_letters, limit, after))

    async def resubmit(self, ids: Collection[str] | None = None) -> int:
        """See DeadLetterQueue."""
        count = await self._file.write(partial(self._resubmit, ids))
        self._wake()
        return count

    async def discard(self, sequence_numbers: Collection[int]) -> list[int]:
        """See DeadLetterQueue."""
        return await self._file.write(partial(self._discard, sequence_numbers))

    async def close(self) -> None:
        """Release the connection and its thread; the queue is not used after it."""
        await self._file.close()

    def tell(self, look: Callable[[], None]) -> None:
        """Also call `look` whenever something was sent through this object."""
        self._look = look

    def wake(self) -> None:
        """Make receivers look again, because something was sent."""
        self._expecting = True
        self._arrival.set()
        self._arrival = asyncio.Event()

    def _wake(self) -> None:
        self.wake()
        self._look()

    async def _under_lock[T](
        self, message: ReceivedMessage, action: Callable[[int, sqlite3.Connection], T]
    ) -> T:
        return await self._file.write(partial(self._act_under_lock, message, action))

    async def _lock_available(self, max_messages: int) -> list[ReceivedMessage]:
        # Unless something was sent here, it reads before it writes: an idle receiver must not block
        # writers.
        if not self._expecting and not await self._file.read(self._has_work):
            return []
        self._expecting = False
        messages = await self._file.write(partial(self._lock, max_messages))
        self._expecting |= len(messages) == max_messages
        return messages

    async def _bury_all_expired(self) -> None:
        if await self._file.read(self._has_expired):
            await self._file.write(self._bury_expired)

    # Everything from here on is a job for the file.

    def _send(self, messages: Sequence[Message], db: sqlite3.Connection) -> None:
        insert(db, self._name, messages, self._now())

    def _has_work(self, db: sqlite3.Connection) -> bool:
        available = db.execute(_AVAILABLE, self._parameters(limit=1)).fetchone()
        return available is not None or self._has_expired(db)

    def _has_expired(self, db: sqlite3.Connection) -> bool:
        return db.execute(_EXHAUSTED, self._parameters()).fetchone() is not None

    def _lock(self, max_messages: int, db: sqlite3.Connection) -> list[ReceivedMessage]:
        self._bury_expired(db)
        parameters = self._parameters(limit=max_messages)
        parameters["until"] = self._now() + self._lock_duration
        rows = db.execute(_LOCK, parameters).fetchall()
        rows.sort(key=lambda row: (row[3], row[0]))  # RETURNING has no order
        return [
            ReceivedMessage(
                id,
                body,
                number,
                _time(enqueued),
                count,
                token,
                _time(until),
                json.loads(properties) if properties != "{}" else NO_PROPERTIES,
            )
            for number, id, body, enqueued, count, token, until, properties in rows
        ]

    def _act_under_lock[T](
        self,
        message: ReceivedMessage,
        action: Callable[[int, sqlite3.Connection], T],
        db: sqlite3.Connection,
    ) -> T:
        held = (message.sequence_number, message.lock_token, self._now())
        if db.execute(_HELD, held).fetchone() is None:
            raise LockLost(f"The lock on message {message.id} expired or was given up.")
        return action(message.sequence_number, db)

    def _delete(self, sequence_number: int, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM queue_message WHERE sequence_number = ?", (sequence_number,))

    def _unlock(self, sequence_number: int, db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE queue_message SET lock_token = NULL, locked_until = 0"
            " WHERE sequence_number = ?",
            (sequence_number,),
        )

    def _extend(self, sequence_number: int, db: sqlite3.Connection) -> datetime:
        until = self._now() + self._lock_duration
        db.execute(
            "UPDATE queue_message SET locked_until = ? WHERE sequence_number = ?",
            (until, sequence_number),
        )
        return _time(until)

    def _bury(
        self, reason: str, description: str, sequence_number: int, db: sqlite3.Connection
    ) -> None:
        db.execute(_BURY, (self._now(), reason, description, sequence_number))
        self._delete(sequence_number, db)

    def _bury_exhausted(self, sequence_number: int, db: sqlite3.Connection) -> None:
        description = f"Message could not be consumed after {self._max_delivery_count} deliveries."
        self._bury(MAX_DELIVERY_COUNT_EXCEEDED, description, sequence_number, db)

    def _bury_expired(self, db: sqlite3.Connection) -> None:
        """Dead-letter the messages whose last delivery ended because the lock expired."""
        for (sequence_number,) in db.execute(_EXHAUSTED, self._parameters()).fetchall():
            self._bury_exhausted(sequence_number, db)

    def _list_dead_letters(
        self, limit: int, after: int, db: sqlite3.Connection
    ) -> list[DeadLetter]:
        return [
            DeadLetter(id, body, number, _time(enqueued), count, reason, description)
            for number, id, body, enqueued, count, reason, description in db.execute(
                _DEAD_LETTERS, (self._name, after, limit)
            )
        ]

    def _resubmit(self, ids: Collection[str] | None, db: sqlite3.Connection) -> int:
        self._bury_expired(db)
        now = self._now()
        if ids is None:
            everything = "SELECT id FROM queue_dead_letter WHERE queue = ?"
            ids = [id for (id,) in db.execute(everything, (self._name,))]
        count = 0
        for id in ids:
            count += db.execute(_RESUBMIT, (now, self._name, id)).rowcount
            db.execute("DELETE FROM queue_dead_letter WHERE queue = ? AND id = ?", (self._name, id))
        return count

    def _discard(self, sequence_numbers: Collection[int], db: sqlite3.Connection) -> list[int]:
        return [
            number
            for number in dict.fromkeys(sequence_numbers)
            if db.execute(_DISCARD, (self._name, number)).rowcount
        ]

    def _parameters(self, limit: int = -1) -> dict[str, str | float]:
        return {
            "queue": self._name,
            "now": self._now(),
            "max_delivery_count": self._max_delivery_count,
            "limit": limit,
        }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
