"""Requests and errors are counted by the hour, cheaply and in nobody's way (the console's
overview)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from administration.reading.health import Hour, read_health
from directory.sqlite.store import SqliteStore
from directory.store import Operation, Unavailable
from directory.tenants import Tenant
from scim.counting import RequestCounter
from scim.exchange import Answer
from scim.refusing import Asked
from tests.environment import TENANT, Environment, running
from trust.caller import Caller

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


class Store(SqliteStore):
    """One whose writes are counted, and may fail."""

    fails = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written = Counter[str]()

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        self.written[tenant_id] += 1
        if self.fails:
            raise Unavailable("the database at a secret place")
        return await super().batch(tenant_id, operations)


def counting_at(store: SqliteStore, moment: datetime, **bounds: Any) -> RequestCounter:
    """A process of which it is that moment."""
    return RequestCounter(store, lambda: moment, **bounds)


def saw(counter: RequestCounter, tenant_id: str, status: int) -> None:
    """It counts an answer."""
    caller = Caller(Tenant(tenant_id=tenant_id, name="x", region="eu"), "c")
    counter.saw(Asked(caller, "r", "GET /Users/{id}"), Answer(status))


async def test_processes_add_up_by_the_hour_and_tenants_do_not(tmp_path: Path) -> None:
    store, now = Store(tmp_path / "muster.sqlite"), NINE
    processes = [RequestCounter(store, lambda: now) for _ in range(2)]
    answers = ((0, "acme", 200), (0, "acme", 400), (60, "acme", 204), (0, "umbrella", 500))
    for minutes, tenant_id, status in answers:
        now = NINE + timedelta(minutes=minutes)
        for process in processes:
            saw(process, tenant_id, status)
    await asyncio.gather(*(process.close() for process in processes))
    assert store.written == {"acme": 4, "umbrella": 2}
    health = await read_health(store, "acme", NINE + timedelta(hours=2, minutes=5))
    assert [hour for hour in health.hours if hour.requests] == [
        Hour(NINE, 4, 2),
        Hour(NINE + timedelta(hours=1), 2, 0),
    ]
    assert health.last_request == NINE + timedelta(hours=1)
    later = await read_health(store, "acme", NINE + timedelta(hours=24))
    assert [hour for hour in later.hours if hour.requests] == [later.hours[0]]
    assert later.hours[0] == Hour(NINE + timedelta(hours=1), 2, 0)
    gone = await read_health(store, "acme", NINE + timedelta(hours=25))
    assert (sum(hour.requests for hour in gone.hours), gone.last_request) == (0, None)
    await store.close()


async def test_a_count_is_written_once_for_many_requests_and_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "muster.sqlite")
    counter = counting_at(store, NINE, every_seconds=0.01)
    for total in (100, 200):
        for _ in range(100):
            saw(counter, "acme", 200)
        await counter._notes.settle()
        assert (await read_health(store, "acme", NINE)).hours[-1] == Hour(NINE, total, 0)
    assert store.written == {"acme": 2}
    counter = counting_at(store, NINE, every_seconds=3600)
    for _ in range(2):
        saw(counter, "acme", 200)  # at once, the first one
        await asyncio.sleep(0.02)
        assert (await read_health(store, "acme", NINE)).hours[-1] == Hour(NINE, 201, 0)
    await counter.close()
    assert (await read_health(store, "acme", NINE)).hours[-1] == Hour(NINE, 202, 0)
    assert store.written == {"acme": 4}
    await store.close()


async def test_a_store_that_fails_is_no_matter_and_loses_no_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "muster.sqlite")
    counter = counting_at(store, NINE)
    store.fails = True
    with caplog.at_level(logging.INFO, "muster.scim"):
        saw(counter, "acme", 200)
        await counter._notes.settle()
    assert "Unavailable" in caplog.text
    assert "secret" not in caplog.text
    store.fails = False
    saw(counter, "acme", 404)
    await counter.close()
    assert (await read_health(store, "acme", NINE)).hours[-1] == Hour(NINE, 2, 1)
    await store.close()


async def test_proven_requests_count_whatever_their_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        client = environment.client
        assert (await client.get("/Users")).status_code == 200
        assert (await client.get("/Users/unknown")).status_code == 404
        assert (await client.post("/Users", json={"schemas": []})).status_code == 400
        assert (await client.get("/Users", headers={"Authorization": "no"})).status_code == 401
        assert (await environment.access.get("/users/unknown")).status_code == 404
        requests, errors = await _today(environment)
        assert (requests, errors) == (3, 2)


async def _today(environment: Environment) -> tuple[int, int]:
    application = environment.application
    await application.counter.close()
    health = await read_health(application.store, TENANT, datetime.now(UTC))
    return sum(hour.requests for hour in health.hours), sum(hour.errors for hour in health.hours)
