"""Muster as it is measured: `python -m laptop.devhost`, durable SQLite in a new folder."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import wiring
from administration.tokens import Tokens
from directory.condition import Compare
from directory.store import Store
from laptop.bench import seed
from laptop.bench.contender import Contender
from laptop.bench.operations import Directory, member_case, user_cases
from scim.writing import Service
from settings import Settings

NAME = "Muster"
ROOT = Path(__file__).parents[2]
SETTLE_SECONDS = 300.0
POLL_SECONDS = 0.02
SPARE_USERS = 16
"""Users of a tenant who are in no group, for adding them to one."""


class StartFailed(Exception):
    """The server ended instead of listening; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process, its Tenant URL, the folder of its state, and a Service."""

    pid: int
    url: str
    folder: Path
    service: Service
    """Works in this process on the server's state."""

    @property
    def store(self) -> Store:
        """The server's store, opened by this process."""
        return self.service.store

    async def directory(self, tenant_id: str, users: tuple[str, ...] = ()) -> Directory:
        """A tenant that was seeded with these users (SCIM ids), with a new token."""
        token = await Tokens(self.service, tenant_id).create("scim")
        return Directory(self.url, token, users)

    async def settle(self, tenants: Sequence[str]) -> None:
        """Wait until every event of these tenants is reconciled. Raises TimeoutError."""
        pending = Compare(("state",), "eq", "pending")
        async with asyncio.timeout(SETTLE_SECONDS):
            for tenant in tenants:
                # The server is another process: there is nothing to wait on but the store.
                while await self.store.count(tenant, "Event", pending):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[Server]:
    """A server whose state is in a new folder, with these settings beside its environment. Raises
    StartFailed."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        application = wiring.Application(Settings(data=folder))
        try:
            async with _serving(folder, settings) as (pid, url):
                yield Server(pid, url, folder, application.service)
        finally:
            await application.close()


@asynccontextmanager
async def serving(users: int, groups: tuple[int, ...]) -> AsyncIterator[Contender]:
    """A server with `users` users, and a group for each number of members in `groups`. Raises
    StartFailed."""
    async with running() as server:
        tenants = ("people", "growing", "groups")
        for tenant in tenants:
            await seed.add_tenant(server.store, tenant)
        fixed = await server.directory(
            "people", await seed.add_users(server.store, "people", users)
        )
        crowd = await seed.add_users(server.store, "groups", max(groups) + SPARE_USERS)
        directory = await server.directory("groups", crowd)
        cases = user_cases(fixed, await server.directory("growing"))
        for members in groups:
            some = crowd[:members]
            group = await seed.add_group(server.store, "groups", f"{members} members", some)
            cases.append(member_case(members, directory, group))
        yield Contender(
            NAME,
            server.pid,
            {case.name: case for case in cases},
            f"{NAME}: {users:,} users in the tenant, on disk, every answered write flushed to it.",
            lambda: server.settle(tenants),
        )


@asynccontextmanager
async def _serving(folder: Path, more: Mapping[str, str]) -> AsyncIterator[tuple[int, str]]:
    """The server's process id and Tenant URL."""
    settings = {"MUSTER_DATA": str(folder), "HOST": "127.0.0.1", "PORT": "0", **more}
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "laptop.devhost",
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        async for line in cast("asyncio.StreamReader", process.stdout):
            if found := re.search(rb"http://\S+/scim\b", line):
                break
        else:
            raise StartFailed(log.read_text()[-2000:])
        yield process.pid, found[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
