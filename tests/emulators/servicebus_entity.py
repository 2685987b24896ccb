"""A queue of the stand-in: the embedded queue's engine, and what a broker needs besides.

The dead-letter queue of a queue is a queue of its own in the same file: it can be received from
and settled like any other, and nothing leaves it by itself.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from queues.port import Message
from queues.sqlite.queue import LockLost, ReceivedMessage, SqliteQueue
from tests.emulators.servicebus_message import ACTIVE, DEFERRED, SCHEDULED, with_reason

DEAD_LETTER_QUEUE = "$DeadLetterQueue"
_DEFERRED_LOCK = "deferred"
_FOR_EVER = 9e15
_UNLIMITED = 2**31

_PEEK = """
SELECT sequence_number, body, enqueued_at, delivery_count, lock_token, locked_until
FROM queue_message WHERE queue = ? AND sequence_number >= ? ORDER BY sequence_number LIMIT ?
"""
_RELEASE = """
UPDATE queue_message
SET lock_token = NULL, locked_until = 0, delivery_count = delivery_count - 1
WHERE sequence_number = ?
"""
_DEFER = "UPDATE queue_message SET lock_token = ?, locked_until = ? WHERE sequence_number = ?"
_LOCK_DEFERRED = """
UPDATE queue_message
SET delivery_count = delivery_count + 1, lock_token = hex(randomblob(16)), locked_until = ?
WHERE queue = ? AND sequence_number = ? AND lock_token = ?
RETURNING id, body, enqueued_at, delivery_count, lock_token, locked_until
"""
_CANCEL = "DELETE FROM queue_message WHERE queue = ? AND sequence_number = ? AND enqueued_at > ?"
_SEQUENCE_NUMBERS = "SELECT max(sequence_number) FROM queue_message WHERE queue = ? AND id = ?"
_FILL = """
INSERT INTO queue_message (queue, id, body, enqueued_at, delivery_count) VALUES (?, ?, ?, ?, ?)
"""
_EXHUME = "DELETE FROM queue_dead_letter WHERE sequence_number = ?"
_DEAD = """
SELECT sequence_number, id, body, enqueued_at, delivery_count, reason, description
FROM queue_dead_letter WHERE queue = ? ORDER BY sequence_number
"""


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message that somebody looked at; times in seconds since 1970."""

    body: bytes
    sequence_number: int
    enqueued_at: float
    delivery_count: int
    state: int


class Entity(SqliteQueue):
    """A queue whose bodies are AMQP messages. Settling goes by lock token."""

    def __init__(
        self,
        path: Path,
        name: str,
        now: Callable[[], float],
        *,
        lock_duration: float = 60.0,
        max_delivery_count: int = 10,
    ) -> None:
        super().__init__(
            path,
            name,
            now,
            lock_duration=lock_duration,
            max_delivery_count=max_delivery_count,
        )
        self.name = name
        self.dead_letter_source: str | None = None
        self._held: dict[str, ReceivedMessage] = {}

    async def send(self, messages: Sequence[Message]) -> None:
        """Without the limits of `Message`, which are about what the application writes."""
        await self._file.write(partial(self._send, messages))
        self._wake()

    async def schedule(self, message: Message) -> int:
        """Send; returns the sequence number, by which it can be cancelled."""
        await self.send([message])
        return await self._file.read(partial(self._sequence_number, message.id))

    async def cancel(self, sequence_number: int) -> bool:
        """Whether there was such a scheduled message."""
        return await self._file.write(partial(self._cancel, sequence_number))

    async def receive(
        self, max_messages: int = 1, wait_seconds: float = 0.0
    ) -> list[ReceivedMessage]:
        messages = await super().receive(max_messages, wait_seconds)
        self._held |= {message.lock_token: message for message in messages}
        return messages

    async def receive_deferred(self, sequence_number: int) -> ReceivedMessage | None:
        """Lock a deferred message. Once its lock expires, it comes like any other."""
        message = await self._file.write(partial(self._lock_deferred, sequence_number))
        if message is not None:
            self._held[message.lock_token] = message
        return message

    async def peek(self, first: int, limit: int) -> list[Peeked]:
        """Messages in any state, from this sequence number on."""
        await self._bury_all_expired()
        return await self._file.read(partial(self._peek, first, limit))

    async def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        await self._file.write(self._clear)

    def held(self, lock_token: str) -> ReceivedMessage:
        """The message under this lock. Raises LockLost."""
        try:
            return self._held[lock_token]
        except KeyError:
            raise LockLost(f"There is no lock {lock_token}.") from None

    async def release(self, message: ReceivedMessage) -> None:
        """Give the message back as if it had not been delivered. Raises LockLost."""
        await self._under_lock(message, self._release)

    async def defer(self, message: ReceivedMessage) -> None:
        """Set the message aside, for whoever knows its sequence number. Raises LockLost."""
        await self._under_lock(message, self._defer)

    def _clear(self, db: sqlite3.Connection) -> None:
        for table in ("queue_message", "queue_recent_id", "queue_dead_letter"):
            db.execute(f"DELETE FROM {table} WHERE queue = ?", (self.name,))  # noqa: S608

    def _sequence_number(self, id: str, db: sqlite3.Connection) -> int:
        row = db.execute(_SEQUENCE_NUMBERS, (self.name, id)).fetchone()
        return int(row[0] or 0)  # 0: it was a duplicate, and is gone

    def _cancel(self, sequence_number: int, db: sqlite3.Connection) -> bool:
        parameters = (self.name, sequence_number, self._now())
        return db.execute(_CANCEL, parameters).rowcount == 1

    def _lock_deferred(self, number: int, db: sqlite3.Connection) -> ReceivedMessage | None:
        until = self._now() + self._lock_duration
        row = db.execute(_LOCK_DEFERRED, (until, self.name, number, _DEFERRED_LOCK)).fetchone()
        if row is None:
            return None
        id, body, enqueued, count, token, until = row
        return ReceivedMessage(id, body, number, _time(enqueued), count, token, _time(until))

    def _peek(self, first: int, limit: int, db: sqlite3.Connection) -> list[Peeked]:
        return [
            Peeked(body, number, enqueued, count, self._state(enqueued, token))
            for number, body, enqueued, count, token, _ in db.execute(
                _PEEK, (self.name, first, limit)
            )
        ]

    def _state(self, enqueued_at: float, lock_token: str | None) -> int:
        if lock_token == _DEFERRED_LOCK:
            return DEFERRED
        return SCHEDULED if enqueued_at > self._now() else ACTIVE

    def _release(self, sequence_number: int, db: sqlite3.Connection) -> None:
        db.execute(_RELEASE, (sequence_number,))

    def _defer(self, sequence_number: int, db: sqlite3.Connection) -> None:
        db.execute(_DEFER, (_DEFERRED_LOCK, _FOR_EVER, sequence_number))


class Topic:
    """What is sent to it goes to each of its subscriptions, which are queues."""

    def __init__(self, subscriptions: Sequence[Entity]) -> None:
        self._subscriptions = subscriptions

    async def send(self, messages: Sequence[Message]) -> None:
        """See Entity."""
        for subscription in self._subscriptions:
            await subscription.send(messages)


class DeadLetterQueue(Entity):
    """What `source` dead-lettered. It moves in here whenever somebody looks."""

    def __init__(self, path: Path, source: Entity, now: Callable[[], float]) -> None:
        name = f"{source.name}/{DEAD_LETTER_QUEUE}"
        super().__init__(path, name, now, max_delivery_count=_UNLIMITED)
        self.source = source
        self.dead_letter_source = source.name

    def _has_expired(self, db: sqlite3.Connection) -> bool:
        """Receiving and peeking begin with this."""
        dead = db.execute(_DEAD, (self.source.name,)).fetchone()
        return dead is not None or self.source._has_expired(db)

    def _bury_expired(self, db: sqlite3.Connection) -> None:
        self.source._bury_expired(db)
        rows = db.execute(_DEAD, (self.source.name,)).fetchall()
        for number, id, body, enqueued, count, reason, description in rows:
            db.execute(_EXHUME, (number,))
            moved = with_reason(body, reason, description)
            db.execute(_FILL, (self.name, id, moved, enqueued, count))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
