"""From a SCIM answer to the access record, with many tenants at once.

Each tenant has one connection, like Entra ID's provisioning service, and a schedule with a fixed
rate; every request changes one user's `active`. Some are followed: after their answer, the store is
polled until the user's access record shows the change.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import orjson

from directory.access import access_id
from directory.store import NotFound, Store
from laptop.bench import payloads, seed
from laptop.bench.client import Call, Client, percentile
from laptop.bench.muster import Server, running
from laptop.bench.operations import Directory
from laptop.bench.process import cpu_seconds

TENANTS = 40
USERS = 400
"""Users of each tenant, all in one group, so that they are enabled. More than a tenant's requests:
a record may skip the state between two changes of the same user."""
FOLLOW_EVERY = 50
LOOK_SECONDS = 0.002
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """`offered` and `answered` requests per second, all tenants together; `answers`: seconds from
    when requests were due to their answers; `records`: seconds from answers to access records;
    `rest`: seconds until everything was reconciled after the last answer; `cores`: the server's
    processor time in cores."""

    offered: float
    answered: float
    answers: tuple[float, ...]
    records: tuple[float, ...]
    rest: float
    cores: float | None

    def percentile(self, share: float) -> tuple[float, float]:
        """The percentile of the answers and that of the records, in seconds."""
        return percentile(self.answers, share), percentile(self.records, share)


async def measure(
    rates: tuple[float, ...], seconds: float, progress: Callable[[str], None]
) -> list[EndToEnd]:
    """Measure each rate (requests per second of one tenant), and last the largest rate that the
    machine can be expected to carry. Raises StartFailed, UnexpectedAnswer in an ExceptionGroup,
    TimeoutError."""
    progress(f"end to end: loading {TENANTS} tenants of {USERS} users")
    async with running() as server:
        tenants = [f"tenant-{number}" for number in range(TENANTS)]
        directories = [await _tenant(server, tenant) for tenant in tenants]
        run = _Run(server, tenants, directories, seconds)
        results = []
        for rate in rates:
            progress(f"end to end: {rate:g} requests/s of each tenant for {seconds:g} s")
            results.append(await run.at(rate))
        carried = 0.5 * min(result.answered for result in results) / TENANTS
        progress(f"end to end: {carried:.3g} requests/s of each tenant")
        return [*results, await run.at(carried)]


async def _tenant(server: Server, tenant: str) -> Directory:
    await seed.add_tenant(server.store, tenant)
    users = await seed.add_users(server.store, tenant, USERS)
    await seed.add_group(server.store, tenant, "Everybody", users)
    return await server.directory(tenant, users)


class _Run:
    def __init__(
        self, server: Server, tenants: list[str], directories: list[Directory], seconds: float
    ) -> None:
        self._server = server
        self._tenants = dict(zip(tenants, directories, strict=True))
        self._loads = {tenant: _changes(each) for tenant, each in self._tenants.items()}
        self._seconds = seconds

    async def at(self, rate: float) -> EndToEnd:
        """Send requests at this rate for each tenant, then wait for the reconciler."""
        answers: list[float] = []
        records: list[float] = []
        cpu, started = cpu_seconds(self._server.pid), time.perf_counter()
        async with asyncio.TaskGroup() as following:

            async def provision(number: int, tenant: str) -> None:
                directory = self._tenants[tenant]
                async with Client(directory.url, directory.token) as client:
                    for turn in range(round(rate * self._seconds)):
                        due = started + (turn + number / TENANTS) / rate
                        if (wait := due - time.perf_counter()) > 0:
                            await asyncio.sleep(wait)
                        elif -wait > self._seconds:
                            return  # too late to catch up
                        user, active, call = next(self._loads[tenant])
                        await client.send(call)
                        answers.append(time.perf_counter() - due)
                        if len(answers) % FOLLOW_EVERY == 0:
                            following.create_task(
                                _follow(self._server.store, tenant, user, active, records)
                            )

            async with asyncio.TaskGroup() as provisioning:
                for number, tenant in enumerate(self._tenants):
                    provisioning.create_task(provision(number, tenant))
            elapsed, used = time.perf_counter() - started, cpu_seconds(self._server.pid)
        await self._server.settle(list(self._tenants))
        return EndToEnd(
            offered=rate * TENANTS,
            answered=len(answers) / elapsed,
            answers=tuple(answers),
            records=tuple(records),
            rest=time.perf_counter() - started - elapsed,
            cores=None if cpu is None or used is None else (used - cpu) / elapsed,
        )


def _changes(directory: Directory) -> Iterator[tuple[str, bool, Call]]:
    """For user after user: the SCIM id, the new value of `active`, and the request."""
    bodies = {
        active: orjson.dumps(
            payloads.patch({"op": "Replace", "path": "active", "value": str(active)})
        )
        for active in (False, True)
    }
    for active in cycle((False, True)):
        for user in directory.users:
            yield user, active, Call("PATCH", f"/Users/{user}", bodies[active])


async def _follow(store: Store, tenant: str, user: str, active: bool, records: list[float]) -> None:
    """Measure the time until the access record shows what the request changed."""
    answered = time.perf_counter()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await _is(store, tenant, user, active):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
    records.append(time.perf_counter() - answered)


async def _is(store: Store, tenant: str, user: str, active: bool) -> bool:
    try:
        record = await store.read(tenant, access_id(user))
    except NotFound:
        return False
    enabled: bool = record.document["enabled"]
    return enabled is active
