"""`kill -9` of the real process at chosen points: after a restart, everything that was answered is
there, every event is done, and everybody's access is what directory and mappings say.
"""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from administration.demo import TENANT, prepare_demo
from administration.mappings import Mappings
from directory.portions import PORTIONS
from queues.relay import Relay
from scim.writing import Service
from settings import Settings
from tests.contract.counting import counted
from tests.crash.killing import NOTHING, State, host, state
from tests.crash.mortal import process
from tests.crash.operations import OWNER, PATCH, group, user
from wiring import Application, utc_now

CROWD = 600
"""Members of a group whose mapping takes twelve pages of users, in two messages."""
EXCHANGED = 250
"""Members that one request adds: three batches."""


def values(members: list[str]) -> list[dict[str, str]]:
    """Ids as `members` has them."""
    return [{"value": member} for member in members]


def patch(op: str, path: str, value: Any) -> dict[str, Any]:
    """A PATCH of one operation."""
    return {"schemas": [PATCH], "Operations": [{"op": op, "path": path, "value": value}]}


async def write(client: httpx.AsyncClient, method: str, url: str, body: Any = None) -> str:
    """A write that is answered; the id of what it created."""
    answer = await client.request(method, url, json=body)
    assert answer.is_success, answer.text
    created: str = answer.json()["id"] if answer.status_code == 201 else ""
    return created


async def show(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """What is there."""
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "data"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State with a group of many members and an empty one."""
    folder = tmp_path_factory.mktemp("crowd")
    asyncio.run(_gather_crowd(folder))
    return folder


async def _gather_crowd(folder: Path) -> None:
    application = Application(Settings(data=folder))
    await prepare_demo(application.service, folder, "eu")
    await application.close()
    async with process(folder, portions=PORTIONS) as muster:
        requests = (muster.client.post("/Users", json=user(f"u{n}")) for n in range(CROWD))
        ids = [(await request).json()["id"] for request in requests]
        await write(muster.client, "POST", "/Groups", group("Crowd", values(ids)))
        await write(muster.client, "POST", "/Groups", group("Empty", []))
        await muster.settle()


async def test_what_was_answered_and_never_sent_is_applied(folder: Path) -> None:
    with host(folder, "unsent") as first:
        async with first.scim() as scim:
            ada, bo, cleo = [
                await write(scim, "POST", "/Users", user(n)) for n in ("ada", "bo", "cleo")
            ]
            sales = await write(scim, "POST", "/Groups", group("Sales", values([ada, bo])))
            legal = await write(scim, "POST", "/Groups", group("Legal", values([ada])))
            request = patch("Add", "members", values([cleo]))
            await write(scim, "PATCH", f"/Groups/{sales}", request)
            await write(scim, "PATCH", f"/Users/{bo}", patch("Replace", "active", "False"))
            await write(scim, "PATCH", f"/Users/{ada}", patch("Replace", "userName", "lovelace"))
            await write(scim, "DELETE", f"/Groups/{legal}")
            async with state(folder) as disk:
                mappings = Mappings(Service(disk.store, lambda *_: None, utc_now, {}), TENANT)
                await mappings.save(sales, (OWNER,))
        first.kill()
    async with state(folder) as disk:
        assert await disk.pending() == 10
        assert await counted(disk.queue) == NOTHING
        with host(folder) as second:
            await disk.settled()
            async with second.scim() as scim, second.access() as access:
                assert (await show(scim, f"/Users/{ada}"))["userName"] == "lovelace"
                shown = await show(scim, f"/Groups/{sales}")
                assert {member["value"] for member in shown["members"]} == {ada, bo, cleo}
                assert (await scim.get(f"/Groups/{legal}")).status_code == 404
                held = [await show(access, f"/users/{id}") for id in (ada, bo, cleo)]
                assert [record["enabled"] for record in held] == [True, False, True]
                assert [len(record["grants"]) for record in held] == [1, 0, 1]


async def test_a_death_between_commit_and_send(folder: Path) -> None:
    with host(folder, "sending") as first:
        async with first.scim() as scim:
            with suppress(httpx.TransportError):
                await scim.post("/Users", json=user("ada"))
        first.killed()
    async with state(folder) as disk:
        assert await disk.pending() == 1
        assert await counted(disk.queue) == NOTHING
        with host(folder) as second:
            await disk.settled()
            async with second.scim() as scim:
                repeated = await scim.post("/Users", json=user("ada"))
                assert repeated.status_code == 409
                (found,) = await disk.documents("User")
                shown = await show(scim, f"/Users/{found['resource']['id']}")
                assert shown["userName"] == "ada@contoso.example"


async def test_a_death_amid_many_requests(folder: Path) -> None:
    answered: list[str] = []

    async def create(name: str) -> None:
        answered.append(await write(scim, "POST", "/Users", user(name)))
        if len(answered) == 20:
            first.process.kill()

    with host(folder, "never") as first:
        async with first.scim() as scim:
            requests = (create(f"user{number}") for number in range(80))
            failed = await asyncio.gather(*requests, return_exceptions=True)
        first.killed()
    assert all(isinstance(failure, httpx.TransportError | None) for failure in failed)
    assert len(answered) < 80, "it was over before"
    async with state(folder) as disk:
        with host(folder):
            await disk.settled()
        found = {document["resource"]["id"] for document in await disk.documents("User")}
        assert found >= set(answered)


async def test_a_death_between_two_batches_of_one_request(crowd: Path, folder: Path) -> None:
    shutil.copytree(crowd, folder)
    async with state(folder) as disk:
        people = [u["resource"]["id"] for u in await disk.documents("User")][:EXCHANGED]
        empty = await _group(disk, "Empty")
        request = patch("Add", "members", values(people))
        with host(folder, "chunk") as first:
            async with first.scim() as scim:
                with pytest.raises(httpx.TransportError):
                    await scim.patch(f"/Groups/{empty}", json=request)
            first.killed()
        written = [e for e in await disk.documents("Membership") if e["groupId"] == empty]
        assert 0 < len(written) < EXCHANGED
        with host(folder) as second:
            await disk.settled()
            written = [e for e in await disk.documents("Membership") if e["groupId"] == empty]
            assert {edge["memberId"] for edge in written} == set(people)
            async with second.scim() as scim:
                await write(scim, "PATCH", f"/Groups/{empty}", request)
            await disk.settled()


@pytest.mark.parametrize("pages", [3, 11])
async def test_a_death_between_two_pages_of_a_mapping(
    crowd: Path, folder: Path, pages: int
) -> None:
    shutil.copytree(crowd, folder)
    async with state(folder) as disk:
        with host(folder, f"page-{pages}") as first:
            await _map(disk, await _group(disk, "Crowd"))
            first.killed()
        assert await _owners(disk) == pages * PORTIONS.users_per_batch
        with host(folder):
            await disk.settled()
        assert await _owners(disk) == CROWD


async def test_a_death_between_the_work_and_completing_its_message(folder: Path) -> None:
    with host(folder, "completing") as first:
        async with first.scim() as scim:
            with suppress(httpx.TransportError):
                await scim.post("/Users", json=user("ada"))
        first.killed()
    async with state(folder) as disk:
        assert await disk.pending() == 0
        assert (await counted(disk.queue)).active == 1
        before = await disk.documents("Access")
        with host(folder):
            await disk.settled()
        assert await disk.documents("Access") == before


async def _group(disk: State, name: str) -> str:
    """The id of a group."""
    groups = [document["resource"] for document in await disk.documents("Group")]
    (found,) = [str(resource["id"]) for resource in groups if resource["displayName"] == name]
    return found


async def _map(disk: State, group: str) -> None:
    """Save a mapping, as the command line does beside a running host."""
    relay = Relay(disk.queue, disk.store)
    service = Service(disk.store, relay.submit, utc_now, {})
    await Mappings(service, TENANT).save(group, (OWNER,))
    await relay.drain()


async def _owners(disk: State) -> int:
    """How many people hold what the mapping gives."""
    return sum(bool(record["grants"]) for record in await disk.documents("Access"))
