"""How many requests at once one instance should take: the plan's `requestsPerInstance`.

Half of the requests read a user, half change one. Meanwhile a probe sends requests that cost nearly
nothing: the time of their answers is how long the worker's event loop keeps others waiting.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from laptop.bench import seed
from laptop.bench.client import Call, Client, Load, Sample, drive, percentile
from laptop.bench.muster import Server, running
from laptop.bench.operations import Directory, user_cases
from laptop.bench.process import memory_bytes
from laptop.devhost.__main__ import COUNT_SETTING

AT_ONCE = (1, 8, 16, 32, 64)
USERS = 2_000
PROBE_SECONDS = 0.02
TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The result with `at_once` concurrent requests; `waits` are the probe's answer times in
    seconds, `memory` is in bytes."""

    at_once: int
    sample: Sample
    waits: tuple[float, ...]
    memory: int | None

    def waited(self, share: float) -> float:
        """Seconds that this share of the probe's answers did not exceed."""
        return percentile(self.waits, share)


async def measure(seconds: float, progress: Callable[[str], None]) -> list[Concurrency]:
    """Measure each number in AT_ONCE for `seconds`. Raises StartFailed, UnexpectedAnswer in an
    ExceptionGroup, TimeoutError."""
    async with running(**{COUNT_SETTING: "1"}) as server:
        await seed.add_tenant(server.store, TENANT)
        users = await seed.add_users(server.store, TENANT, USERS)
        directory = await server.directory(TENANT, users)
        results = []
        for at_once in AT_ONCE:
            progress(f"{at_once} requests at once for {seconds:g} s")
            results.append(await _at(server, directory, at_once, seconds))
            await server.settle([TENANT])
        return results


async def _at(server: Server, directory: Directory, at_once: int, seconds: float) -> Concurrency:
    cases = {case.name: case for case in user_cases(directory, directory)}
    read, change = cases["GET user by id"], cases["PATCH active"]

    def mixed(worker: int) -> Iterator[Call]:
        pairs = zip(read.calls(worker, at_once), change.calls(worker, at_once), strict=False)
        return chain.from_iterable(pairs)

    loads = [Load(mixed(worker)) for worker in range(at_once)]
    clients = [Client(directory.url, directory.token) for _ in loads]
    waits: list[float] = []
    probing = asyncio.create_task(_probe(directory, waits))
    try:
        sample = await drive(clients, loads, seconds, server.pid)
    finally:
        probing.cancel()
    return Concurrency(at_once, sample, tuple(waits), memory_bytes(server.pid))


async def _probe(directory: Directory, waits: list[float]) -> None:
    async with Client(directory.url, directory.token) as client:
        while True:
            began = time.perf_counter()
            await client.send(Call("GET", "/ServiceProviderConfig"))
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(PROBE_SECONDS)
