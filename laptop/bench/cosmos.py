"""Muster's use of Azure Cosmos DB: round trips, bytes, request units and the SDK's processor time
for each operation, with the real SDK against a façade of the wire protocol.

The façade shows nothing about the service's latency. Request units are estimated from documented
prices (`bench.cosmos_facade`), not measured; that takes a live account.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

import aiohttp
from pydantic import SecretStr

import wiring
from administration.tokens import Tokens
from laptop.bench import seed
from laptop.bench.client import Call
from laptop.bench.cosmos_facade import COUNTS
from laptop.bench.muster import ROOT
from laptop.bench.operations import Case, Directory, member_case, user_cases
from settings import Settings

TENANT = "people"
USERS = 200
SMALL, LARGE = 10, 2_000
REPEATS = 20


@dataclass(frozen=True, slots=True)
class CosmosCost:
    """Averages for one request: requests to Cosmos DB by kind, bytes of their bodies both ways,
    estimated request units, and seconds of this process's time on Cosmos DB and on SQLite."""

    operation: str
    kinds: dict[str, float]
    sent: float
    got: float
    units: float
    cpu: float
    cpu_on_sqlite: float


async def measure(progress: Callable[[str], None]) -> list[CosmosCost]:
    """Measure every operation REPEATS times, one after the other."""
    progress("Cosmos DB's wire protocol")
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        async with running_facade() as endpoint, aiohttp.ClientSession() as session:
            on_cosmos = wiring.Application(
                Settings(
                    data=Path(name) / "queue",
                    cosmos_endpoint=endpoint,
                    cosmos_key=SecretStr("Zm9v"),
                )
            )
            on_sqlite = wiring.Application(Settings(data=Path(name) / "sqlite"))
            try:
                cases = await _cases(on_cosmos), await _cases(on_sqlite)
                return [
                    await _cost(
                        session,
                        endpoint,
                        (on_cosmos, here, here.calls(0, 1)),
                        (on_sqlite, there, there.calls(0, 1)),
                    )
                    for here, there in zip(*cases, strict=True)
                ]
            finally:
                await on_cosmos.close()
                await on_sqlite.close()


@asynccontextmanager
async def running_facade() -> AsyncIterator[str]:
    """The façade in a process beside this one; where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "laptop.bench.cosmos_facade",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def _cases(application: wiring.Application) -> list[Case]:
    store = application.store
    await seed.add_tenant(store, TENANT)
    users = await seed.add_users(store, TENANT, USERS)
    token = await Tokens(application.service, TENANT).create("scim")
    directory = Directory("", token, users)
    cases = user_cases(directory, directory)
    for members in (SMALL, LARGE):
        some = [*users[:SMALL], *(f"{number:026}" for number in range(members - SMALL))]
        group = await seed.add_group(store, TENANT, f"{members} members", some)
        cases.append(member_case(members, directory, group))
    return cases


type _Side = tuple[wiring.Application, Case, Iterator[Call]]


async def _cost(
    session: aiohttp.ClientSession, endpoint: str, cosmos: _Side, sqlite: _Side
) -> CosmosCost:
    await _run(cosmos)  # warms up, and has the SDK read its metadata
    await facade_counts(session, endpoint)
    cpu = await _run(cosmos)
    counts = [
        count for count in await facade_counts(session, endpoint) if count["kind"] != "metadata"
    ]
    await _run(sqlite)
    kinds = dict.fromkeys(count["kind"] for count in counts)

    def each(name: str) -> float:
        total: float = sum(map(itemgetter(name), counts))
        return total / REPEATS

    return CosmosCost(
        cosmos[1].name,
        {kind: sum(c["kind"] == kind for c in counts) / REPEATS for kind in kinds},
        each("sent"),
        each("got"),
        each("units"),
        cpu,
        mean([await _run(sqlite) for _ in range(3)]),
    )


async def facade_counts(session: aiohttp.ClientSession, endpoint: str) -> list[dict[str, Any]]:
    """What it was asked since it was asked for this last."""
    async with session.get(endpoint.rstrip("/") + COUNTS) as answer:
        counts: list[dict[str, Any]] = await answer.json()
        return counts


async def _run(side: _Side) -> float:
    """Send REPEATS requests; returns seconds of this process's processor time per request."""
    application, case, calls = side
    started = time.process_time()
    for _ in range(REPEATS):
        await _send(application, case.directory, next(calls))
    return (time.process_time() - started) / REPEATS


async def _send(application: wiring.Application, directory: Directory, call: Call) -> None:
    """Send one request to the SCIM application, without a server. Raises RuntimeError."""
    path, _, query = f"/scim{call.path}".partition("?")
    scope = {
        "type": "http",
        "method": call.method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (b"host", b"bench"),
            (b"authorization", f"Bearer {directory.token}".encode()),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": call.body or b"", "more_body": False}

    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    await application.scim(scope, receive, send)
    if statuses[0] != call.expected:
        raise RuntimeError(f"{call.method} {call.path} answered {statuses[0]}.")
