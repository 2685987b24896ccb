"""How Muster scales: from 1,000 users to 100,000, with ten groups per thousand users and twenty
memberships per user, in one tenant of one SQLite file. The directory is written directly to the
store (`bench.seed`); the measured requests go through the server."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from laptop.bench import seed
from laptop.bench.client import Client, Load, Sample, drive
from laptop.bench.muster import SPARE_USERS, running
from laptop.bench.operations import member_case, user_cases
from laptop.bench.process import memory_bytes

SIZES = (1_000, 10_000, 100_000)
MEMBERSHIPS = 20
"""Memberships per user."""
USERS_PER_GROUP = 100
CONCURRENCY = 8
SECONDS = 3.0
TENANT = "scale"


@dataclass(frozen=True, slots=True)
class Scale:
    """The result for one size: users, groups, memberships, bytes on disk, bytes of the server's
    memory before and after the load, and a sample of each operation."""

    users: int
    groups: int
    memberships: int
    disk: int
    memory: tuple[int | None, int | None]
    samples: dict[str, Sample]


async def measure(progress: Callable[[str], None]) -> list[Scale]:
    """Measure each size with a new server. Raises StartFailed, UnexpectedAnswer in an
    ExceptionGroup, TimeoutError."""
    return [await _size(users, progress) for users in SIZES]


async def _size(users: int, progress: Callable[[str], None]) -> Scale:
    groups = users // USERS_PER_GROUP
    async with running() as server:
        store = server.store
        progress(f"scale: {users:,} users, {groups:,} groups, {users * MEMBERSHIPS:,} memberships")
        await seed.add_tenant(store, TENANT)
        ids = await seed.add_users(store, TENANT, users + SPARE_USERS)
        chosen = random.Random(users)
        ids_of = [
            await seed.add_group(
                store,
                TENANT,
                f"Group {number}",
                chosen.sample(ids[:users], users * MEMBERSHIPS // groups)
                if groups > MEMBERSHIPS
                else ids[:users],
            )
            for number in range(groups)
        ]
        memberships = await store.count(TENANT, "Membership")
        directory = await server.directory(TENANT, ids)
        disk = sum(file.stat().st_size for file in server.folder.glob("*.sqlite*"))
        before = memory_bytes(server.pid)
        samples: dict[str, Sample] = {}
        size = memberships // groups
        for case in [*user_cases(directory, directory), member_case(size, directory, ids_of[0])]:
            progress(f"scale: {case.name}")
            loads = [Load(case.calls(worker, CONCURRENCY)) for worker in range(CONCURRENCY)]
            clients = [Client(directory.url, directory.token) for _ in loads]
            name = "PATCH member" if case.name.startswith("PATCH member") else case.name
            samples[name] = await drive(clients, loads, SECONDS, server.pid)
            await server.settle([TENANT])
        memory = (before, memory_bytes(server.pid))
        return Scale(users, groups, memberships, disk, memory, samples)
