"""All of Muster in this process, as something that can die at any await.

A process that is killed leaves what its store and its queue have on disk, and nothing else. So
death is an exception that nobody catches, raised by the call to either that is the process's last,
and by every call after it. Reading leaves nothing: whoever dies at it leaves what was there after
the write before it. So the deaths after each write, and the one before the first, are all there
are.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import wiring
from administration.demo import TENANT, Demo
from directory.portions import Portions
from directory.sqlite import schema as sqlite_schema
from directory.sqlite.schema import connect
from directory.sqlite.store import SqliteStore
from directory.store import Store
from queues.port import Message
from queues.sqlite.file import Beside
from queues.sqlite.queue import ReceivedMessage, SqliteQueue
from scim.counting import RequestCounter
from settings import Settings
from tests.environment import Environment, client_of
from tests.reconciler.world import Hooked
from trust.usage import Usage

LATER = timedelta(minutes=2)
"""After a death: by now the locks on messages have expired, and what is pending is old enough for
the timer."""
WRITES = ("batch", "send", "receive", "complete")
"""What changes something on disk; receiving a message locks it."""
SMALL = Portions(
    edges_beside_group=4,
    edges_per_batch=4,
    users_per_batch=3,
    pages_per_message=2,
    edges_per_message=3,
)
"""A dozen members are a crowd: what takes 98 memberships a batch, 48 users a page and 480 a message
takes a few here, and so as many pieces."""

open_store: Callable[[Path], Store] = SqliteStore
"""What a process opens its store with. A test that puts another one here tells where it is."""


class Died(BaseException):
    """The process is no more."""


@dataclass
class Fate:
    """When a process dies: when its write number `at` to store or queue is carried out and has not
    returned yet; before the first one where that is 0."""

    at: float = float("inf")
    writes: int = 0
    death: asyncio.Event = field(default_factory=asyncio.Event)

    async def before(self, *_: object) -> None:
        """What precedes each call."""
        self._meet()

    async def after(self, method: str, *_: object) -> None:
        """What follows each call."""
        self.writes += method in WRITES
        self._meet()

    def _meet(self) -> None:
        if self.writes >= self.at:
            self.death.set()
        if self.death.is_set():
            raise Died


class MortalStore(Hooked):
    """The store of a process that may die."""

    @property
    def beside(self) -> Beside | None:
        """For the queue, whose own methods count its writes."""
        return self._store.beside if isinstance(self._store, SqliteStore) else None


class MortalQueue(SqliteQueue):
    """The queue of a process that may die."""

    fate: Fate

    async def send(self, messages: Sequence[Message]) -> None:
        await self._fated("send", partial(super().send, messages))

    async def receive(
        self, max_messages: int = 1, wait_seconds: float = 0.0
    ) -> list[ReceivedMessage]:
        receive = partial(super().receive, max_messages, wait_seconds)
        return await self._fated("receive", receive)

    async def complete(self, message: ReceivedMessage) -> None:
        await self._fated("complete", partial(super().complete, message))

    async def _fated[T](self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        await self.fate.before(method)
        answer = await call()
        await self.fate.after(method)
        return answer


@asynccontextmanager
async def process(
    folder: Path,
    fate: Fate | None = None,
    later: timedelta = timedelta(),
    portions: Portions = SMALL,
) -> AsyncIterator[Environment]:
    """A process on the state in `folder`, which holds the demo tenant; `later` than now."""
    fate = fate or Fate()

    def now() -> datetime:
        return datetime.now(UTC) + later

    def store(path: Path) -> MortalStore:
        return MortalStore(open_store(path), fate.before, fate.after)

    def queue(path: Path, name: str, **properties: Any) -> SqliteQueue:
        made = MortalQueue(path, name, lambda: now().timestamp(), **properties)
        made.fate = fate
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "SqliteStore", store)
        patch.setattr(wiring, "SqliteQueue", queue)
        patch.setattr(sqlite_schema, "connect", _connect_in_haste)
        application = wiring.Application(Settings(data=folder), now, portions=portions)
        assert application.store, "built while the parts are the mortal ones"
        assert isinstance(application.sender, MortalQueue)
    demo = Demo.read(folder)
    assert demo
    patch = pytest.MonkeyPatch()
    # Written beside the requests, whenever it fits: it is no step of theirs, and no loss.
    patch.setattr(Usage, "saw", lambda *_: None)
    patch.setattr(RequestCounter, "saw", lambda *_: None)
    try:
        async with (
            client_of(application.scim, "/scim", demo.scim_token) as client,
            client_of(application.access, "/access/v1", demo.access_token) as access,
        ):
            yield Environment(
                application, TENANT, demo.scim_token, client, access, application.sender
            )
    finally:
        fate.death.set()
        await application.relay.close()  # or some would wait forever for its task, which died
        await asyncio.gather(
            *asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True
        )
        await application.close()
        patch.undo()


def _connect_in_haste(path: Path) -> sqlite3.Connection:
    """Without waiting for the disk: what was committed outlives a process in any case."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    return connection
