"""What a customer costs beside the fixed price of a stamp: what one request and its reconciliation
take, counted on the real SDK against a façade of Cosmos DB's wire protocol, times how often it
happens, times list prices.

Request units are estimated from documented prices (`laptop.bench.cosmos_facade`), processor time is
this machine's, and log bytes are those of Muster's own records: only an account tells the bill.
"""

import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
import orjson
from pydantic import SecretStr

import wiring
from administration.mappings import Mappings
from administration.tokens import Tokens
from directory.documents import EntitlementKey
from laptop.bench import payloads, seed
from laptop.bench.cosmos import facade_counts, running_facade
from queues.port import Message
from queues.relay import parse
from queues.sqlite.queue import SqliteQueue
from settings import Settings
from telemetry.logs import json_lines
from web.surface import Surface

TENANT = "people"
ROLE = EntitlementKey(kind="role", key="addInUser")
REPEATS = 40
TOGETHER = 20
"""Members that Entra ID adds in one request of an initial cycle."""
MEMORY_GB = 2
OPERATIONS_PER_EVENT = 3
"""Sent, received, completed."""
OPERATIONS_PER_CHANGE = 5
"""Sent to the topic; received and completed by both subscriptions."""
CUSTOMERS = (100, 1_000, 10_000)

PRICES = {
    "request units": 0.25e-6,
    "queue operations": 0.8e-6,
    "executions": 0.4e-6,
    "GB-seconds": 16e-6,
    "log bytes": 2.76e-9,
}
"""US dollars for one: list prices as assumed on 2026-11-25 (docs/deploy.md, What it costs)."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took, by the names of PRICES."""

    meters: Mapping[str, float]

    def __add__(self, other: "Spent") -> "Spent":
        names = PRICES
        return Spent({n: self.meters.get(n, 0.0) + other.meters.get(n, 0.0) for n in names})

    def times(self, often: float) -> "Spent":
        """As often."""
        return Spent({name: meter * often for name, meter in self.meters.items()})

    @property
    def dollars(self) -> float:
        """At list prices."""
        return sum(PRICES[name] * meter for name, meter in self.meters.items())


MONTHS: Mapping[str, Mapping[str, float]] = {
    "initial cycle": {"match": 2, "user": 1, "members": 5 / TOGETHER},
    "quiet month": {"match": 0.04, "user": 0.02, "change": 0.1, "member": 0.2, "question": 110},
    "busy month": {"match": 0.2, "user": 0.1, "change": 1, "member": 2, "question": 110},
}
"""How often each happens for one user of a customer, who is in five groups. The application asks
five times on each of 22 working days."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What each kind of work takes, once."""

    each: Mapping[str, Spent]

    def of(self, users: int, month: str) -> Spent:
        """What a customer of so many users takes in such a month."""
        total = Spent({})
        for name, often in MONTHS[month].items():
            total += self.each[name].times(often * users)
        return total


async def measure(progress: Callable[[str], None]) -> Bill:
    """Do each kind of work REPEATS times, one after the other."""
    progress("the bill, on Cosmos DB's wire protocol")
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        async with running_facade() as endpoint, aiohttp.ClientSession() as session:
            application = wiring.Application(
                Settings(data=Path(name), cosmos_endpoint=endpoint, cosmos_key=SecretStr("Zm9v"))
            )
            try:
                return await _Meter(application, session, endpoint).bill()
            finally:
                await application.close()


class _Meter:
    def __init__(
        self, application: wiring.Application, session: aiohttp.ClientSession, endpoint: str
    ) -> None:
        self._application = application
        self._session = session
        self._endpoint = endpoint
        self._events = self._changes = 0
        send = application.topic.send

        async def counted(messages: Sequence[Message]) -> None:
            self._changes += len(messages)
            await send(messages)

        setattr(application.topic, "send", counted)  # noqa: B010 - a protocol's method

    async def bill(self) -> Bill:
        store = self._application.store
        await seed.add_tenant(store, TENANT)
        users = await seed.add_users(store, TENANT, 3 * REPEATS * TOGETHER)
        groups = [await seed.add_group(store, TENANT, f"Group {n}", ()) for n in range(2)]
        for group in groups:
            await Mappings(self._application.service, TENANT).save(group, (ROLE,))
        tokens = Tokens(self._application.service, TENANT)
        scim = _client(self._application.scim, "/scim", await tokens.create("scim"))
        access = _client(self._application.access, "/access/v1", await tokens.create("access"))
        await self._settle()
        numbers, crowd = count(1_000_000), iter(users[REPEATS:])

        async def match() -> None:
            condition = quote(f'externalId eq "{payloads.object_id(next(numbers))}"')
            _checked(await scim.get(f"/Users?filter={condition}"))

        async def user() -> None:
            _checked(await scim.post("/Users", content=orjson.dumps(payloads.user(next(numbers)))))

        async def change() -> None:
            operation = {"op": "Replace", "path": "title", "value": f"T{next(numbers)}"}
            _checked(await _patched(scim, f"/Users/{next(members)}", operation))

        async def add(group: str, some: list[str]) -> None:
            value = [{"value": id} for id in some]
            operation = {"op": "Add", "path": "members", "value": value}
            _checked(await _patched(scim, f"/Groups/{group}", operation))

        async def question() -> None:
            _checked(await access.get(f"/users/{users[next(numbers) % REPEATS]}"))

        members = iter(users)
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "match": match,
            "user": user,
            "members": lambda: add(groups[0], [next(crowd) for _ in range(TOGETHER)]),
            "member": lambda: add(groups[1], [next(crowd)]),
            "change": change,
            "question": question,
        }
        return Bill({name: await self._spent(work) for name, work in works.items()})

    async def _spent(self, work: Callable[[], Awaitable[None]]) -> Spent:
        """Each time alone, reconciled before the next one: nothing is shared."""
        await work()
        await self._settle()
        await facade_counts(self._session, self._endpoint)
        self._events = self._changes = 0
        started = time.process_time()
        with _logged() as written:
            for _ in range(REPEATS - 1):
                await work()
                await self._settle()
        seconds = time.process_time() - started
        counts = await facade_counts(self._session, self._endpoint)
        total = Spent(
            {
                "request units": sum(each["units"] for each in counts),
                "queue operations": self._events * OPERATIONS_PER_EVENT
                + self._changes * OPERATIONS_PER_CHANGE,
                "executions": REPEATS - 1 + self._events + self._changes,
                "GB-seconds": seconds * MEMORY_GB,
                "log bytes": sum(written),
            }
        )
        return total.times(1 / (REPEATS - 1))

    async def _settle(self) -> None:
        """Reconcile what was committed."""
        application = self._application
        queue = application.sender
        if not isinstance(queue, SqliteQueue):
            raise TypeError(queue)
        while True:
            await application.relay.drain()
            received = await queue.receive(16)
            if not received:
                return
            for message in received:
                self._events += 1
                await application.reconciler.handle_all(
                    parse(message.body), delivery=message.delivery_count, last=False
                )
                await queue.complete(message)


def _client(app: Surface, base: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url=f"http://bench{base}",
        headers={"authorization": f"Bearer {token}", "content-type": "application/scim+json"},
    )


async def _patched(scim: httpx.AsyncClient, path: str, operation: dict[str, Any]) -> httpx.Response:
    return await scim.patch(path, content=orjson.dumps(payloads.patch(operation)))


def _checked(answer: httpx.Response) -> None:
    """Raises RuntimeError."""
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.method} {answer.request.url} got {answer.text}")


@contextmanager
def _logged() -> Iterator[list[int]]:
    """The size of each log record that Muster writes meanwhile."""
    sizes: list[int] = []
    formatter, log = json_lines(), logging.getLogger("muster")

    class Sizes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sizes.append(len(formatter.format(record)))

    handler, level = Sizes(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield sizes
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
