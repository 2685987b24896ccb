"""Hosts as processes of their own, to be killed and started again on the same state."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from administration.demo import TENANT, Demo
from directory.condition import Compare
from directory.reading import every
from directory.sqlite.store import SqliteStore
from directory.store import Document, Query, Store
from queues.sqlite.queue import SqliteQueue
from settings import DATABASE
from tests import hosting
from tests.consistency import assert_consistent
from tests.contract.counting import Counts, counted

PATIENCE = 60.0
"""Seconds until something that should have happened has not; no test waits for so long."""
NOTHING = Counts(active=0, scheduled=0, dead_lettered=0)


@dataclass(frozen=True)
class Host:
    """A running host, and what a client of its demo tenant needs."""

    process: subprocess.Popen[str]
    url: str
    demo: Demo

    def scim(self) -> httpx.AsyncClient:
        """A SCIM client."""
        return self._client("/scim", self.demo.scim_token)

    def access(self) -> httpx.AsyncClient:
        """A client of the access API."""
        return self._client("/access/v1", self.demo.access_token)

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said."""
        self.process.kill()
        self.killed()

    def killed(self) -> None:
        """Wait until it has been killed."""
        assert self.process.wait(PATIENCE) == -signal.SIGKILL

    def _client(self, surface: str, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url + surface,
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=8),
        )


@contextmanager
def host(folder: Path, point: str | None = None, port: int = 0) -> Iterator[Host]:
    """Start a host with its state in `folder`: one that dies at a point (`mortal_host`), or
    exactly what `make run` starts. Its timer takes up whatever is pending, however young."""
    command = () if point is None else ("tests.crash.mortal_host", point)
    settings = {"MUSTER_RELAY_AFTER_SECONDS": "-1", "PORT": str(port)}
    with hosting.running_host(folder, *command, **settings) as running:
        demo = Demo.read(folder)
        assert demo, running.log.read_text()
        yield Host(running.process, running.url, demo)


@dataclass(frozen=True)
class State:
    """What is on disk, beside a host or after its death."""

    store: SqliteStore
    queue: SqliteQueue

    async def documents(self, type: str) -> list[Document]:
        """All documents of a type of the demo tenant."""
        found = every(self.store, TENANT, Query(type, limit=1000))
        return [item.document async for item in found]

    async def pending(self) -> int:
        """How many events nobody has reconciled."""
        return await _pending(self.store)

    async def settled(self) -> None:
        """Wait until nothing is left to do; then everything must agree, and nothing may have
        failed."""
        async with asyncio.timeout(PATIENCE):
            while await self.pending() or (await counted(self.queue)).active:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await counted(self.queue) == NOTHING
        await assert_consistent(self.store, TENANT)


async def _pending(store: Store) -> int:
    return await store.count(TENANT, "Event", Compare(("state",), "eq", "pending"))


@asynccontextmanager
async def state(folder: Path) -> AsyncIterator[State]:
    """The state in `folder`."""
    path = folder / DATABASE
    found = State(SqliteStore(path), SqliteQueue(path))
    try:
        yield found
    finally:
        await found.queue.close()
        await found.store.close()
