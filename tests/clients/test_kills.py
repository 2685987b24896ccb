"""kill -9 of the server amid writes, and the death of the follower at the worst moment: the copy
equals the access records on disk."""

import asyncio
import socket
from collections.abc import Iterator
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

import muster_client.access
from administration.demo import TENANT
from administration.mappings import Mappings
from muster_client import Access, Copy
from scim.writing import Service
from tests.crash.killing import Host, State, host, state
from tests.crash.operations import OWNER
from tests.scim.messages import add, create_group, create_user, operation, patch, remove
from wiring import utc_now

KILLS = 2
PEOPLE = 12
"""Come, and some of them go, before the server is killed."""
SIDE_BY_SIDE = 4
PAGES = 2
"""The follower dies when it has applied so many, and has not saved the last one."""


class Follower:
    """An application that dies again and again."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self.saved = Copy()
        self.deaths = 0

    async def live_and_die(self) -> None:
        """Until it is cancelled, which is a death, too."""
        while True:
            copy, pages = deepcopy(self.saved), count(1)
            async with Access(self._url, self._token) as access:
                async for changes in access.follow(copy):
                    if changes and next(pages) == PAGES:
                        break
                    self.saved = deepcopy(copy)
            self.deaths += 1

    async def catch_up(self) -> None:
        """Until there is nothing new."""
        async with Access(self._url, self._token) as access:
            async for changes in access.follow(self.saved):
                if not changes and not any(user.pending for user in self.saved.users.values()):
                    return


async def come_and_go(running: Host, owners: str, numbers: Iterator[int], people: int) -> None:
    """Joiners, movers and leavers; after so many people the server is killed, whatever is going on
    in it."""
    left = count(1)

    async def play(scim: httpx.AsyncClient) -> None:
        while True:
            number = next(numbers)
            id = await create_user(scim, f"u{number}")
            if number % 2:
                await scim.patch(f"/Groups/{owners}", json=add([id]))
            if number % 3 == 0:
                off = patch(operation("replace", "active", False))
                await scim.patch(f"/Users/{id}", json=off)
            if number % 5 == 0:
                await scim.patch(f"/Groups/{owners}", json=remove([id]))
            if number % 7 == 0:
                await scim.delete(f"/Users/{id}")
            if next(left) == people:
                running.process.kill()

    async with running.scim() as scim:
        plays = (play(scim) for _ in range(SIDE_BY_SIDE))
        failed = await asyncio.gather(*plays, return_exceptions=True)
    assert all(isinstance(failure, httpx.TransportError) for failure in failed), failed
    running.killed()


async def records(disk: State) -> dict[str, tuple[bool, frozenset[str]]]:
    """Everybody's access as it is stored."""
    return {
        record["userId"]: (record["enabled"], _grants(record))
        for record in await disk.documents("Access")
    }


def _grants(record: dict[str, Any]) -> frozenset[str]:
    return frozenset(f"{grant['kind']}:{grant['key']}" for grant in record["grants"])


async def test_a_copy_outlives_the_server_and_the_follower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muster_client.access, "MOST", 3)
    monkeypatch.setattr(muster_client.access, "WAIT_SECONDS", 1)
    monkeypatch.setattr(muster_client.access, "AGAIN_SECONDS", 0.05)
    folder, numbers = tmp_path / "data", count(1)
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with state(folder) as disk, asyncio.TaskGroup() as living:
        with host(folder, "never", port) as running:
            async with running.scim() as scim:
                owners = await create_group(scim, "Owners")
            mappings = Mappings(Service(disk.store, lambda *_: None, utc_now, {}), TENANT)
            await mappings.save(owners, (OWNER,))
            follower = Follower(running.url, running.demo.access_token)
            life = living.create_task(follower.live_and_die())
            await come_and_go(running, owners, numbers, PEOPLE)
        for _ in range(KILLS - 1):
            with host(folder, "never", port) as running:
                await come_and_go(running, owners, numbers, PEOPLE)
        with host(folder, "never", port):
            await disk.settled()
            life.cancel()
            await follower.catch_up()
            copy = {
                id: (user.enabled, user.grants) for (_, id), user in follower.saved.users.items()
            }
            assert copy == await records(disk)
        assert follower.deaths > KILLS
        assert len(copy) > KILLS * PEOPLE // 2
