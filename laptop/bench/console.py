"""How long the console's pages take, in an organisation of many users and groups."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx

import wiring
from administration.mappings import Mappings
from console.one_time import one_time_link
from directory.documents import EntitlementKey
from directory.store import NEWEST_FIRST, Query, Store
from laptop.bench import seed
from laptop.bench.muster import running
from settings import Settings

TENANT = "wide"
BASE = "http://127.0.0.1:7071"
GIVEN = EntitlementKey(kind="role", key="addInUser")
PER_GROUP = 20
"""Members of every group except the one that contains everybody."""


@dataclass(frozen=True, slots=True)
class PageTimes:
    """The server's time for one page, in seconds, request by request."""

    page: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """p50."""
        return statistics.median(self.seconds)

    @property
    def worst(self) -> float:
        """p99; with fewer than a hundred requests, the slowest."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


async def measure(
    users: int, groups: int, rounds: int, progress: Callable[[str], None]
) -> list[PageTimes]:
    """Measure every page that only reads, in this process and without a network. Raises
    StartFailed, TimeoutError, and RuntimeError where a page cannot be shown."""
    progress(f"console: loading {users:,} users and {groups:,} groups")
    async with running() as server:
        await seed.add_tenant(server.store, TENANT)
        ids = await seed.add_users(server.store, TENANT, users)
        everybody = await seed.add_group(server.store, TENANT, "Everybody", ids)
        for number in range(1, groups):
            some = [ids[(number * PER_GROUP + n) % users] for n in range(PER_GROUP)]
            await seed.add_group(server.store, TENANT, f"Group {number:04}", some)
        await seed.add_log(server.store, TENANT, ids, everybody)
        application = wiring.Application(Settings(data=server.folder))
        try:
            progress("console: everybody is given something")
            await Mappings(application.service, TENANT).save(everybody, (GIVEN,))
            await application.relay.drain()
            await server.settle([TENANT])
            gc.collect()
            gc.freeze()  # as a server does; also, a server would not hold what was loaded here
            progress("console: asking for each page")
            link = await one_time_link(application.store, TENANT, BASE, wiring.utc_now())
            paths = await _paths(application.store, everybody, ids[users // 2])
            transport = httpx.ASGITransport(app=application.console)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
                form = dict(parse_qsl(urlsplit(link).query))
                await browser.post("/console/sign-in/once", data=form)
                return [
                    PageTimes(name, await _times(browser, path, rounds))
                    for name, path in paths.items()
                ]
        finally:
            await application.close()


async def _paths(store: Store, group: str, user: str) -> dict[str, str]:
    events = Query("Event", order=NEWEST_FIRST, limit=1)  # the event that gave everybody a grant
    event = (await store.query(TENANT, events)).items[0].document["eventId"]
    entitlement = f"{GIVEN.kind}:{GIVEN.key}"
    return {
        "Overview": "",
        "Groups": "/groups",
        "Groups, searched": "/groups?q=041",
        "Group of everybody": f"/groups/{group}",
        "Users": "/users",
        "Users, searched": "/users?q=99",
        "User": f"/users/{user}",
        "Why": f"/users/{user}/why?entitlement={entitlement}",
        "Access in the past": f"/users/{user}/past?at=2030-01-01T00:00",
        "Grants by hand": f"/users/{user}/grants",
        "Provisioning log": "/log",
        "Log of a user": f"/log?resource={user}",
        "Log entry": f"/log/{event}",
        "Failed events": "/failed",
        "Catalog": "/catalog",
        "Policy": "/policy",
    }


async def _times(browser: httpx.AsyncClient, path: str, rounds: int) -> tuple[float, ...]:
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        answer = await browser.get(f"/console{path}")
        taken.append(time.perf_counter() - started)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answers {answer.status_code}.")
    return tuple(taken[1:])  # the first one compiles the template
