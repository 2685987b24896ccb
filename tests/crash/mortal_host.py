"""`python -m tests.crash.mortal_host POINT`: devhost in one process, killed as SIGKILL does it at a
point of its work. Nothing in the product knows of the points; what is around the work is replaced
here.

    never             until somebody else kills it
    unsent            never either, but the queue does not take what is sent
    sending           between a commit and its message
    chunk             when the first batch of a membership change too large for one is written
    page-N            when the access of N pages of users is written
    completing        when an event is reconciled and its message is not completed
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import override

import pytest

import wiring
from directory.portions import PORTIONS
from directory.sqlite.store import SqliteStore
from directory.store import Operation, Replace, Update
from laptop.devhost.roles import APP_FOLDER, http_triggers, log_to_terminal, work
from laptop.devhost.runtime import FunctionApp
from laptop.devhost.server import Server, listen, url_of
from laptop.devhost.welcome import welcome
from queues.port import Message
from queues.sqlite.queue import ReceivedMessage, SqliteQueue

LOCK_SECONDS = 2.0
"""Messages of a killed process come back after this, instead of after a minute."""


def die() -> None:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class Unsent(SqliteQueue):
    @override
    async def send(self, messages: Sequence[Message]) -> None:
        await asyncio.Event().wait()


class Sending(SqliteQueue):
    @override
    async def send(self, messages: Sequence[Message]) -> None:
        die()


class Completing(SqliteQueue):
    @override
    async def complete(self, message: ReceivedMessage) -> None:
        die()


class Chunk(SqliteStore):
    @override
    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        etags = await super().batch(tenant_id, operations)
        if any(isinstance(o, Update) and _is_chunk(o) for o in operations):
            die()
        return etags


def _is_chunk(update: Update) -> bool:
    return any(change.path == ("membership", "applied") for change in update.changes)


class Page(SqliteStore):
    last = 0
    """The page that the process does not outlive."""
    written = 0

    @override
    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        etags = await super().batch(tenant_id, operations)
        records = [
            o for o in operations if isinstance(o, Replace) and o.document["type"] == "Access"
        ]
        self.written += len(records) == PORTIONS.users_per_batch
        if self.written == self.last:
            die()
        return etags


def arrange(point: str, patch: pytest.MonkeyPatch) -> None:
    """Replace what the point is about in what the application is built of."""
    queue: type[SqliteQueue] = SqliteQueue
    name, _, number = point.partition("-")
    match name:
        case "never":
            pass
        case "unsent":
            queue = Unsent
        case "sending":
            queue = Sending
        case "completing":
            queue = Completing
        case "chunk":
            patch.setattr(wiring, "SqliteStore", Chunk)
        case "page":
            Page.last = int(number)
            patch.setattr(wiring, "SqliteStore", Page)
        case _:
            sys.exit(f"There is no point {point}.")
    patch.setattr(wiring, "SqliteQueue", partial(queue, lock_duration=LOCK_SECONDS))


async def live(port: int) -> None:
    """Do in this process what devhost does in several, until it is killed."""
    app = await FunctionApp.load(APP_FOLDER)
    application = wiring.application()
    with listen("127.0.0.1", port) as listener:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Server(http_triggers(app)).serve([listener]))
            tasks.create_task(work(app, application, asyncio.Event()))
            await welcome(application, url_of(listener))


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        arrange(sys.argv[1], patch)
        log_to_terminal()
        asyncio.run(live(int(os.environ["PORT"])))
