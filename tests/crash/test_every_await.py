"""A process that dies at any await of a write, or of what follows from it, loses nothing.

Each operation is played with a death before its first write to store or queue, then with one after
it, after the second, and so on until it lives. What was answered must be there afterwards; what was
not must be there whole, with its event and its effect on access, or not at all; and a client that
repeats the request changes nothing more.
"""

import asyncio
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from administration.demo import TENANT, prepare_demo
from directory import membership_change
from directory.documents import EntitlementKey
from directory.store import Store
from queues.sqlite import Counts
from reconciler import recomputation, worker
from scim import groups as groups_module
from tests.consistency import Directory, assert_consistent
from tests.crash.mortal import LATER, Fate, process
from tests.environment import Environment
from wiring import Settings, build, utc_now

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OWNER = EntitlementKey(kind="role", key="owner")
USER_OF_ADD_IN = EntitlementKey(kind="role", key="addInUser")
PEOPLE = 14


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """A dozen members are a crowd: what takes 98 memberships a batch, 50 users a page and 500 a
    message takes a few here, and so as many pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups_module, "BATCH_EDGES", 4)
        patch.setattr(membership_change, "CHUNK", 4)
        patch.setattr(worker, "PAGE", 3)
        patch.setattr(worker, "PAGES_PER_MESSAGE", 2)
        patch.setattr(worker, "EDGES_PER_MESSAGE", 3)
        patch.setattr(recomputation, "PAGE", 3)
        yield


@dataclass(frozen=True)
class Base:
    """State to start from, on disk: a dozen people; Sales with three of them, mapped; Crowd with
    eight, mapped, in Sales; Empty, with nothing."""

    folder: Path
    users: list[str]
    groups: dict[str, str]

    def patch(self, endpoint: str, id: str, *operations: dict[str, Any]) -> "Act":
        """A SCIM PATCH."""
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return lambda muster: _status(muster.client.patch(f"{endpoint}/{id}", json=body))

    def members(self, *numbers: int) -> list[dict[str, str]]:
        """Users as values of `members`."""
        return [{"value": self.users[number]} for number in numbers]


type Act = Callable[[Environment], Awaitable[int]]
"""Plays a request and answers its status."""


async def _status(request: Awaitable[Any]) -> int:
    status: int = (await request).status_code
    return status


@dataclass(frozen=True)
class Operation:
    """A write: its status, and the one of its repetition."""

    act: Callable[[Base], Act]
    status: int
    repeated: int


def _create_user(base: Base) -> Act:
    return lambda muster: _status(muster.client.post("/Users", json=user("new")))


def _create_crowd(base: Base) -> Act:
    body = {"schemas": [GROUP], "displayName": "New", "members": base.members(*range(9))}
    return lambda muster: _status(muster.client.post("/Groups", json=body))


def _add_member(base: Base) -> Act:
    operation = {"op": "Add", "path": "members", "value": base.members(12)}
    return base.patch("/Groups", base.groups["Sales"], operation)


def _exchange_members(base: Base) -> Act:
    """More than a batch holds: eight come, six go."""
    come = {"op": "Add", "path": "members", "value": base.members(*range(6, PEOPLE))}
    go = {"op": "Remove", "path": "members", "value": base.members(*range(6))}
    return base.patch("/Groups", base.groups["Crowd"], come, go)


def _replace_members(base: Base) -> Act:
    body = {"schemas": [GROUP], "displayName": "Crowd", "members": base.members(0, *range(8, 14))}
    url = f"/Groups/{base.groups['Crowd']}"
    return lambda muster: _status(muster.client.put(url, json=body))


def _delete_user(base: Base) -> Act:
    return lambda muster: _status(muster.client.delete(f"/Users/{base.users[0]}"))


def _delete_group(base: Base) -> Act:
    return lambda muster: _status(muster.client.delete(f"/Groups/{base.groups['Crowd']}"))


def _rename_user(base: Base) -> Act:
    value = {"userName": "renamed@contoso.example", "externalId": "renamed"}
    return base.patch("/Users", base.users[0], {"op": "Replace", "value": value})


def _rename_group(base: Base) -> Act:
    operation = {"op": "Replace", "path": "displayName", "value": "Renamed"}
    return base.patch("/Groups", base.groups["Crowd"], operation)


def _deactivate(base: Base) -> Act:
    return base.patch(
        "/Users", base.users[0], {"op": "Replace", "path": "active", "value": "False"}
    )


def _map(base: Base) -> Act:
    async def act(muster: Environment) -> int:
        await muster.mappings.save(base.groups["Crowd"], (OWNER, USER_OF_ADD_IN))
        return 200

    return act


OPERATIONS = {
    "create a user": Operation(_create_user, 201, 409),
    "create a group with a crowd": Operation(_create_crowd, 201, 409),
    "add a member": Operation(_add_member, 204, 204),
    "exchange a crowd of members": Operation(_exchange_members, 204, 204),
    "replace a crowd of members": Operation(_replace_members, 200, 200),
    "delete a user": Operation(_delete_user, 204, 404),
    "delete a group": Operation(_delete_group, 204, 404),
    "rename a user": Operation(_rename_user, 200, 200),
    "rename a group": Operation(_rename_group, 204, 204),
    "deactivate a user": Operation(_deactivate, 200, 200),
    "save a mapping": Operation(_map, 200, 200),
}


def user(name: str) -> dict[str, Any]:
    """A complete user."""
    address = f"{name}@contoso.example"
    return {
        "schemas": [USER],
        "userName": address,
        "externalId": name,
        "name": {"givenName": name, "familyName": "Contoso"},
        "emails": [{"type": "work", "value": address}],
        "active": True,
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, small_pieces: None) -> Base:
    return asyncio.run(_prepare(tmp_path_factory.mktemp("base")))


async def _prepare(folder: Path) -> Base:
    application = build(Settings(data=folder))
    await prepare_demo(application.store, folder, "eu", utc_now)
    await application.close()
    base = Base(folder, [], {})
    async with process(folder) as muster:
        for number in range(PEOPLE):
            created = await muster.client.post("/Users", json=user(f"user{number}"))
            base.users.append(created.json()["id"])
        for name, members in (
            ("Crowd", base.members(*range(8))),
            ("Sales", base.members(9, 10, 11)),
            ("Empty", []),
        ):
            if name == "Sales":
                members = [*members, {"value": base.groups["Crowd"]}]
            body = {"schemas": [GROUP], "displayName": name, "members": members}
            created = await muster.client.post("/Groups", json=body)
            base.groups[name] = created.json()["id"]
        await muster.mappings.save(base.groups["Crowd"], (USER_OF_ADD_IN,))
        await muster.mappings.save(base.groups["Sales"], (OWNER,))
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)
    return base


@pytest.mark.parametrize("repeat", ["after recovery", "at once"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_death_at_any_await_loses_nothing(
    name: str, repeat: str, base: Base, tmp_path: Path
) -> None:
    operation = OPERATIONS[name]
    act = operation.act(base)
    before = await _untouched(base, tmp_path)
    after = await _undisturbed(base, tmp_path, act)
    for writes in count():
        folder = _copy(base, tmp_path)
        life = await _live(folder, Fate(at=writes), act)
        if life.ended:
            break
        assert life.status in (None, operation.status)
        async with process(folder, later=LATER) as muster:
            if repeat == "after recovery":
                found = await _recovered(muster)
                assert found == after or (found == before and life.status is None)
                expected = {operation.repeated if found == after else operation.status}
            else:
                expected = {operation.repeated}
                if life.status is None:
                    expected.add(operation.status)
            assert await act(muster) in expected
            assert (await _recovered(muster)).directory == after.directory
    assert writes > 1, "it did not die"


async def test_who_writes_next_comes_after_what_was_left_unfinished(
    base: Base, tmp_path: Path
) -> None:
    """The exchange brings the last user and takes the first; whoever asks for the opposite after it
    gets the opposite, however much of the exchange was done."""
    come = {"op": "Add", "path": "members", "value": base.members(0)}
    go = {"op": "Remove", "path": "members", "value": base.members(PEOPLE - 1)}
    back = base.patch("/Groups", base.groups["Crowd"], come, go)
    for writes in count():
        folder = _copy(base, tmp_path)
        life = await _live(folder, Fate(at=writes), _exchange_members(base))
        async with process(folder, later=LATER) as muster:
            assert await back(muster) == 204
            await _recovered(muster)
            found = await Directory.read(muster.application.store, TENANT)
        crowd = base.groups["Crowd"]
        assert f"member:{crowd}:{base.users[0]}" in found.of("Membership")
        assert f"member:{crowd}:{base.users[-1]}" not in found.of("Membership")
        if life.ended:
            break
    assert writes > 1, "it did not die"


@pytest.mark.parametrize("seed", range(6))
async def test_deaths_amid_everything_at_once(seed: int, base: Base, tmp_path: Path) -> None:
    chance = random.Random(seed)
    folder = _copy(base, tmp_path)
    waiting = {name: operation.act(base) for name, operation in OPERATIONS.items()}
    for lives in count():
        fate = Fate(at=chance.randint(1, 40))
        async with process(folder, fate, lives * LATER) as muster:
            if await _outlives(fate, _everything(muster, waiting)):
                break
    async with process(folder, later=(lives + 1) * LATER) as muster:
        await _recovered(muster)
        found = await Directory.read(muster.application.store, TENANT)
    names = [user["resource"]["userName"] for user in found.of("User").values()]
    assert names.count("new@contoso.example") == 1
    assert not found.exists("User", base.users[0])
    assert not found.exists("Group", base.groups["Crowd"])
    assert lives, "it did not die"


async def _everything(muster: Environment, waiting: dict[str, Act]) -> None:
    """What the timer does, all requests that were not answered yet, and reconciling."""

    async def play(name: str) -> None:
        status = await waiting[name](muster)
        assert status < 500, f"{name}: {status}"
        del waiting[name]

    application = muster.application
    await application.relay.resend_pending(application.settings.relay_after_seconds)
    await asyncio.gather(*map(play, list(waiting)))
    await muster.settle()


@dataclass(frozen=True)
class Life:
    """What a process got done: the answer's status, None where there was none; whether it came
    to its end alive."""

    status: int | None
    ended: bool


async def _live(folder: Path, fate: Fate, act: Act) -> Life:
    """Answer the request and reconcile."""
    status = None

    async def work() -> None:
        nonlocal status
        status = await act(muster)
        await muster.settle()

    async with process(folder, fate) as muster:
        ended = await _outlives(fate, work())
    return Life(status, ended)


async def _outlives(fate: Fate, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the process lives until the work is done."""
    working, dying = asyncio.create_task(work), asyncio.create_task(fate.death.wait())
    await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
    alive = not fate.death.is_set()
    if alive:
        await working
    working.cancel()
    dying.cancel()
    return alive


async def _recovered(muster: Environment) -> "Picture":
    """The timer runs, the queue runs dry, and everything agrees."""
    application = muster.application
    await application.relay.resend_pending(application.settings.relay_after_seconds)
    await muster.settle()
    assert await muster.queue.counts() == Counts(active=0, scheduled=0, dead_lettered=0)
    await assert_consistent(application.store, TENANT)
    return await Picture.taken(application.store)


async def _untouched(base: Base, tmp_path: Path) -> "Picture":
    async with process(_copy(base, tmp_path)) as muster:
        return await _recovered(muster)


async def _undisturbed(base: Base, tmp_path: Path, act: Act) -> "Picture":
    async with process(_copy(base, tmp_path)) as muster:
        await act(muster)
        return await _recovered(muster)


def _copy(base: Base, tmp_path: Path) -> Path:
    """The state to start from, in one place again and again."""
    folder = tmp_path / "data"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base.folder, folder)
    return folder


@dataclass(frozen=True)
class Picture:
    """A tenant with names for the ids that differ from run to run."""

    directory: list[str]
    """Users, groups, reservations, edges, mappings, access."""
    log: list[str]
    """Events and the versions of mappings, which tell a repetition."""

    @classmethod
    async def taken(cls, store: Store) -> "Picture":
        """Of the demo tenant."""
        found = await Directory.read(store, TENANT)
        shown: list[Any] = [document["resource"] for _, _, document in found.resources()]
        shown += [key["id"] for key in found.of("Key").values()]
        shown += [("in", e["groupId"], e["memberId"]) for e in found.of("Membership").values()]
        shown += [(m["groupId"], m["entitlements"]) for m in found.of("Mapping").values()]
        shown += [
            (record["userId"], record["enabled"], record["reasons"], grant["kind"], grant["key"])
            for record in found.of("Access").values()
            for grant in record["grants"] or [{"kind": "", "key": ""}]
        ]
        log: list[Any] = [(m["groupId"], m["version"]) for m in found.of("Mapping").values()]
        log += [
            (e["operation"], e["resourceType"], e["resourceId"], e["attributes"], e["scope"])
            for e in found.of("Event").values()
        ]
        names = {
            id: document["resource"].get("userName") or document["resource"]["displayName"]
            for _, id, document in found.resources()
        }
        return cls(_named(shown, names), _named(log, names))


def _named(things: list[Any], names: dict[str, str]) -> list[str]:
    texts = []
    for thing in things:
        text = json.dumps(thing, sort_keys=True)
        for id, name in names.items():
            text = text.replace(id, name)
        texts.append(text)
    return sorted(texts)
