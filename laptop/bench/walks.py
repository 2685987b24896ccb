"""How long a page takes where a client pages by index through everybody."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

import wiring
from administration.tokens import Tokens
from laptop.bench import seed
from settings import Settings

TENANT = "people"
PAGE = 100
PAGES = 10
"""The first and the last ones; the very first counts everybody, too, and is left out."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Seconds of one of the first pages, and of one of the last."""

    users: int
    first: float
    last: float


async def measure(sizes: Sequence[int], progress: Callable[[str], None]) -> list[Walk]:
    """A walk through so many users, in this process. Raises RuntimeError where it misses one."""
    return [await _walk(users, progress) for users in sizes]


async def _walk(users: int, progress: Callable[[str], None]) -> Walk:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        application = wiring.Application(Settings(data=Path(name)))
        try:
            progress(f"walks: loading {users:,} users")
            await seed.add_tenant(application.store, TENANT)
            await seed.add_users(application.store, TENANT, users)
            token = await Tokens(application.service, TENANT).create("scim")
            progress("walks: paging through them")
            transport = httpx.ASGITransport(app=application.scim)
            headers = {"authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://bench/scim", headers=headers
            ) as scim:
                seconds = await _pages(scim, users)
        finally:
            await application.close()
    first, last = seconds[1 : 1 + PAGES], seconds[-PAGES:]
    return Walk(users, statistics.median(first), statistics.median(last))


async def _pages(scim: httpx.AsyncClient, users: int) -> list[float]:
    seconds: list[float] = []
    seen = 0
    while seen < users:
        path = f"/Users?startIndex={seen + 1}&count={PAGE}&attributes=userName"
        started = time.perf_counter()
        answer = await scim.get(path)
        seconds.append(time.perf_counter() - started)
        found = len(answer.json().get("Resources", ()))
        if not found:
            raise RuntimeError(f"After {seen:,} of {users:,} users: {answer.text[:500]}")
        seen += found
    return seconds
