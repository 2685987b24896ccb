"""What is asked from outside: whether the database answers, told to nobody in more words."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from directory.sqlite.store import SqliteStore
from directory.store import Throttled, Unavailable
from settings import Settings
from tests.hosting import Host
from web.health import REMEMBERED, Health, health_application
from wiring import Application

type Read = Callable[[], Awaitable[None]]


class Database:
    """A store that counts its reads and answers them with `read`."""

    def __init__(self, read: Read) -> None:
        self.reads = 0
        self._read = read

    async def read(self, *_: str) -> None:
        self.reads += 1
        await self._read()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


@asynccontextmanager
async def asking(health: Health) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(health_application(health))
    async with httpx.AsyncClient(transport=transport, base_url="https://muster") as client:
        yield client


async def _answers() -> None: ...


async def _throttles() -> None:
    raise Throttled(1.0)


async def _is_away() -> None:
    raise Unavailable("ada@contoso.example")


async def _is_broken() -> None:
    raise KeyError("ada@contoso.example")


async def _hangs() -> None:
    await asyncio.sleep(60)


async def test_a_deployment_whose_database_answers_is_healthy(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "muster.sqlite")
    async with asking(Health(store)) as client:
        for path in ("/health", "/health/"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
        head = await client.head("/health")
        assert (head.status_code, head.content) == (200, b"")
        post = await client.post("/health")
        assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.get("/healthy")).status_code == 404
    await store.close()


@pytest.mark.parametrize(
    ("read", "status"),
    [(_answers, 200), (_throttles, 200), (_is_away, 503), (_is_broken, 503), (_hangs, 503)],
)
async def test_what_the_database_does_is_told_by_the_status_alone(
    read: Read, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(Health(Database(read), patience=0.05)) as client:  # type: ignore[arg-type]
        answer = await client.get("/health")
    assert answer.status_code == status
    assert answer.json() == {"status": "healthy" if status == 200 else "unhealthy"}
    assert "ada@" not in caplog.text


async def test_a_cosmos_db_account_that_is_not_there_is_unhealthy(tmp_path: Path) -> None:
    away = "https://127.0.0.1:9/"  # the discard port: nobody listens
    settings = Settings(data=tmp_path, cosmos_endpoint=away, cosmos_key=SecretStr("a2V5"))
    application = Application(settings)
    async with asking(Health(application.store, patience=0.5)) as client:
        assert (await client.get("/health")).status_code == 503
    await application.close()


async def test_the_database_is_read_once_in_ten_seconds() -> None:
    database, now = Database(_answers), 0.0
    async with asking(Health(database, lambda: now)) as client:  # type: ignore[arg-type]
        await asyncio.gather(*(client.get("/health") for _ in range(20)))
        now = REMEMBERED - 0.1
        await client.get("/health")
        assert database.reads == 1
        now = REMEMBERED
        await client.get("/health")
        assert database.reads == 2


async def test_what_was_away_and_has_come_back_is_healthy() -> None:
    reads, now = [_is_away, _answers], 0.0

    async def read() -> None:
        await reads.pop(0)()

    async with asking(Health(Database(read), lambda: now)) as client:  # type: ignore[arg-type]
        assert (await client.get("/health")).status_code == 503
        now = REMEMBERED
        assert (await client.get("/health")).status_code == 200


def test_it_is_asked_through_the_host_and_the_log_names_a_network(host: Host) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7:50512"}
    answer = httpx.get(f"{host.url}/health", headers=forwarded)
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
    logged = host.log.read_text()
    assert re.search(r"GET /health .*network=203\.0\.113\.0/24", logged)
    assert "203.0.113.7" not in logged
