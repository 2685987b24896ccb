"""Checking the resulting access with the access API."""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from laptop.simulation.provisioning import answer_to

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Expected:
    """The access that a user must have. `grants` are (kind, key); None where the mappings are
    unknown, so that only `enabled` is checked."""

    enabled: bool
    grants: frozenset[tuple[str, str]] | None = None


@dataclass
class Checking:
    """Compares access with the expected one, and measures how long it takes to become so."""

    access_url: str
    token: str
    seconds_to_access: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.token}"}, timeout=30
        )
        self._requests = asyncio.Semaphore(8)
        self._watching = asyncio.Semaphore(4)

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def access(self, user: str) -> dict[str, Any]:
        """The access of a user, as the application sees it."""
        async with self._requests:
            response = await answer_to(partial(self._client.get, f"{self.access_url}/users/{user}"))
        response.raise_for_status()
        record: dict[str, Any] = response.json()
        return record

    async def watch(self, user: str, expected: Expected, within: float) -> None:
        """Measure the time from now, just after a request's answer, until the access is as
        expected. It takes samples: while four users are watched, further calls do nothing."""
        if self._watching.locked():
            return
        async with self._watching:
            started = time.perf_counter()
            while time.perf_counter() - started < within:
                if fits(await self.access(user), expected):
                    self.seconds_to_access.append(time.perf_counter() - started)
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def wait(self, user: str, expected: Expected, within: float) -> dict[str, Any] | None:
        """The access of a user once it is as expected; None where it is not in time."""
        until = time.perf_counter() + within
        while True:
            record = await self.access(user)
            if fits(record, expected):
                return record
            if time.perf_counter() > until:
                return None
            await asyncio.sleep(POLL_SECONDS)


def fits(record: dict[str, Any], expected: Expected) -> bool:
    """Whether access is as expected."""
    held = {(grant["kind"], grant["key"]) for grant in record["grants"]}
    if record["enabled"] != expected.enabled or record["pending"]:
        return False
    return expected.grants is None or held == expected.grants
