"""The last use of a credential is recorded cheaply and in nobody's way (product section 2)."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from administration.tenants import read_tenant
from administration.tokens import last_uses, list_tokens
from directory.store import Operation, Unavailable
from tests.environment import TENANT, running
from trust.usage import EVERY_SECONDS, Usage


class Store:
    """Writes that wait, and are counted."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.gate = asyncio.Event()
        self.fails = False

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        await self.gate.wait()
        if self.fails:
            raise Unavailable("the database at a secret place")
        self.written += [f"{tenant_id}/{operation.document['id']}" for operation in operations]  # type: ignore[union-attr]
        return [""]


async def test_a_use_is_written_once_in_minutes_and_nobody_waits() -> None:
    store, clock = Store(), 0.0
    usage = Usage(store, lambda: datetime.now(UTC), lambda: clock)  # type: ignore[arg-type]
    for _ in range(3):
        usage.saw("acme", "one")
        usage.saw("acme", "two")
    assert store.written == []
    store.gate.set()
    await usage.close()
    assert sorted(store.written) == ["acme/use:one", "acme/use:two"]
    clock = EVERY_SECONDS - 1
    usage.saw("acme", "one")
    clock = EVERY_SECONDS
    usage.saw("acme", "one")
    usage.saw("acme", "one")
    await usage.close()
    assert sorted(store.written) == ["acme/use:one", "acme/use:one", "acme/use:two"]


async def test_a_store_that_fails_is_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.gate.set()
    store.fails = True
    usage = Usage(store, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "muster.trust"):
        usage.saw("acme", "one")
        await usage.close()
    assert "Unavailable" in caplog.text
    assert "secret" not in caplog.text


async def test_a_request_leaves_its_use_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        store = environment.application.store
        scim, access = await list_tokens(store, await read_tenant(store, TENANT), now())
        assert (scim.last_used, access.last_used) == (None, None)
        before = now()
        assert (await environment.client.get("/Users")).is_success
        await environment.application.authenticator.close()
        uses = await last_uses(store, TENANT, [scim.token.token_id, access.token.token_id])
        assert uses.keys() == {scim.token.token_id}
        assert before <= uses[scim.token.token_id] <= now()


def now() -> datetime:
    return datetime.now(UTC)
