"""One mapping on one very large group: how fast it reaches all members, and how much memory the
server takes meanwhile. Then one more member, whose addition must touch no other user."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from directory.reading import every
from directory.store import Query, Store
from laptop.bench import payloads, seed
from laptop.bench.client import Call, Client
from laptop.bench.muster import ROOT, Server, running
from laptop.bench.process import cpu_seconds, peak_memory

TENANT = "crowd"
GROUP = "Everybody"
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class FanOut:
    """`seconds` and processor seconds (`cpu`, None where the system does not show them) from saving
    the mapping until the last of `users` has the grant; `peak` memory in bytes; `touched`: access
    records written for one new member."""

    users: int
    seconds: float
    cpu: float | None
    peak: int | None
    touched: int


async def measure(users: int, progress: Callable[[str], None]) -> FanOut:
    """Measure a group of `users`. Raises StartFailed, TimeoutError, and RuntimeError where the
    mapping cannot be saved."""
    progress(f"fan-out: loading a group of {users:,}")
    async with running() as server:
        store = server.store
        await seed.add_tenant(store, TENANT)
        ids = await seed.add_users(store, TENANT, users + 1)
        group = await seed.add_group(store, TENANT, GROUP, ids[:users])
        progress("fan-out: applying a mapping to it")
        before = cpu_seconds(server.pid)
        async with peak_memory(server.pid) as peak:
            await _save_mapping(server)
            started = time.perf_counter()
            await server.settle([TENANT])
            seconds = time.perf_counter() - started
        after = cpu_seconds(server.pid)
        granted = await store.count(TENANT, "Access")
        if granted != users:
            raise RuntimeError(f"{granted} of {users} users have an access record.")
        return FanOut(
            users,
            seconds,
            None if before is None or after is None else after - before,
            peak.bytes,
            await _touched_by_one(server, group, ids[-1]),
        )


async def _save_mapping(server: Server) -> None:
    """Save the mapping with the operator's command, in another process."""
    mapping = {"displayName": GROUP, "entitlements": [{"kind": "role", "key": "addInUser"}]}
    file = server.folder / "mappings.json"
    await asyncio.to_thread(file.write_bytes, orjson.dumps({"mappings": [mapping]}))
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "mapping",
        "load",
        TENANT,
        str(file),
        cwd=ROOT,
        env={**os.environ, "MUSTER_DATA": str(server.folder)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await command.wait():
        raise RuntimeError("The mapping could not be saved.")


async def _touched_by_one(server: Server, group: str, user: str) -> int:
    before = await _versions(server.store)
    change = payloads.patch({"op": "add", "path": "members", "value": [{"value": user}]})
    directory = await server.directory(TENANT)
    async with Client(directory.url, directory.token) as client:
        await client.send(Call("PATCH", f"/Groups/{group}", orjson.dumps(change), 204))
    await server.settle([TENANT])
    return await _versions(server.store) - before


async def _versions(store: Store) -> int:
    """How often access records were written in all: the sum of their versions."""
    query = Query("Access", fields=("version",), limit=PAGE)
    return sum([record.document["version"] async for record in every(store, TENANT, query)])
