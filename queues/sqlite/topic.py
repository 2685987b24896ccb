"""The embedded topic: a message goes to every subscription, each of which is a queue in the
application's SQLite file (https://learn.microsoft.com/azure/service-bus-messaging/).
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from queues.port import ACCESS_CHANGES, Message, check
from queues.sqlite.file import Beside, QueueFile, insert
from queues.sqlite.queue import SqliteQueue


class SqliteTopic:
    """One named topic in the SQLite file `path`. Messages to a topic without subscriptions are
    dropped, as on Service Bus. `beside`: see QueueFile. Every method raises QueueError where SQLite
    reports an error."""

    def __init__(
        self,
        path: Path,
        name: str = ACCESS_CHANGES,
        now: Callable[[], float] = time.time,
        *,
        max_delivery_count: int = 10,
        beside: Beside | None = None,
    ) -> None:
        self._path = path
        self._name = name
        self._now = now
        self._max_delivery_count = max_delivery_count
        self._beside = beside
        self._file = QueueFile(path, name, beside)

    async def send(self, messages: Sequence[Message]) -> None:
        """Send all or none, in order, to every subscription; duplicates are dropped as a queue
        drops them. Raises MessageRefused for a message that Service Bus would refuse."""
        for message in messages:
            check(message)
        if await self._file.read(self._subscriptions):  # without any, which is usual: no write
            await self._file.write(partial(self._send, messages))

    async def subscribe(self, name: str) -> SqliteQueue:
        """The queue of a subscription, which is created where it is missing. It gets every message
        from now on, also while nobody receives. The caller closes it."""
        await self._file.write(partial(self._subscribe, name))
        return self.subscription(name)

    def subscription(self, name: str) -> SqliteQueue:
        """The queue of a subscription, which gets no messages until `subscribe` is called. The
        caller closes it."""
        return SqliteQueue(
            self._path,
            f"{self._name}/{name}",
            self._now,
            max_delivery_count=self._max_delivery_count,
            beside=self._beside,
        )

    async def close(self) -> None:
        """Release the connection and its thread; the topic is not used after it."""
        await self._file.close()

    # Everything from here on is a job for the file.

    def _subscriptions(self, db: sqlite3.Connection) -> list[str]:
        names = db.execute("SELECT name FROM queue_subscription WHERE topic = ?", (self._name,))
        return [name for (name,) in names]

    def _send(self, messages: Sequence[Message], db: sqlite3.Connection) -> None:
        for name in self._subscriptions(db):
            insert(db, f"{self._name}/{name}", messages, self._now())

    def _subscribe(self, name: str, db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO queue_subscription VALUES (?, ?) ON CONFLICT DO NOTHING",
            (self._name, name),
        )
