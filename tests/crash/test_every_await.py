"""A process that dies at any await of a write, or of what follows from it, loses nothing.

Each operation is played with a death before its first write to store or queue, then with one after
it, after the second, and so on until it lives. What was answered must be there afterwards; what was
not must be there whole, with its event and its effect on access, or not at all; and a client that
repeats the request changes nothing more.
"""

import asyncio
import json
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from administration.demo import TENANT
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.store import Store
from tests.consistency import Directory, assert_consistent
from tests.contract.counting import Counts, counted
from tests.crash import mortal
from tests.crash.mortal import LATER, Fate, process
from tests.crash.operations import OPERATIONS, PEOPLE, Act, Base, exchange_members, prepare
from tests.emulators.cosmos import Facade, serving_in_a_thread
from tests.emulators.cosmos_container import Container
from tests.environment import Environment


@pytest.fixture(scope="module")
def base(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Base]:
    """On SQLite, or behind Cosmos DB's wire protocol."""
    folder = tmp_path_factory.mktemp("base")
    if getattr(request, "param", "sqlite") == "sqlite":
        yield asyncio.run(prepare(folder))
        return
    with (
        serving_in_a_thread(Facade(Container(indexing_policy()))) as facade,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(mortal, "open_store", lambda _: CosmosStore(facade.endpoint, "Zm9v"))
        prepared = asyncio.run(prepare(folder))
        yield replace(prepared, facade=facade, container=facade.container)


REPEATED_AT_ONCE = ("create a user", "exchange a crowd of members", "delete a group")
"""Those whose repetition finds what the first attempt left: something new, half done, gone."""
ON_THE_WIRE = [("wire", "exchange a crowd of members", "at once")]
"""What takes most batches; to play all of them takes long and tells no more."""


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("base", "name", "repeat"),
    [("sqlite", name, "after recovery") for name in OPERATIONS]
    + [("sqlite", name, "at once") for name in REPEATED_AT_ONCE]
    + ON_THE_WIRE,
    indirect=["base"],
)
async def test_a_death_at_any_await_loses_nothing(
    base: Base, name: str, repeat: str, tmp_path: Path
) -> None:
    operation = OPERATIONS[name]
    act = operation.act(base)
    before = await _untouched(base, tmp_path)
    after = await _undisturbed(base, tmp_path, act)
    for writes in count():
        folder = base.restored(tmp_path / "data")
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
    assert writes > (15 if operation.large else 1), "it did not die, or was done at once"


async def test_who_writes_next_comes_after_what_was_left_unfinished(
    base: Base, tmp_path: Path
) -> None:
    """The exchange brings the last user and takes the first; whoever asks for the opposite after it
    gets the opposite, however much of the exchange was done."""
    come = {"op": "Add", "path": "members", "value": base.members(0)}
    go = {"op": "Remove", "path": "members", "value": base.members(PEOPLE - 1)}
    back = base.patch("/Groups", base.groups["Crowd"], come, go)
    for writes in count():
        folder = base.restored(tmp_path / "data")
        life = await _live(folder, Fate(at=writes), exchange_members(base))
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
    folder = base.restored(tmp_path / "data")
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
    assert await counted(muster.queue) == Counts(active=0, scheduled=0, dead_lettered=0)
    await assert_consistent(application.store, TENANT)
    return await Picture.taken(application.store)


async def _untouched(base: Base, tmp_path: Path) -> "Picture":
    async with process(base.restored(tmp_path / "data")) as muster:
        return await _recovered(muster)


async def _undisturbed(base: Base, tmp_path: Path, act: Act) -> "Picture":
    async with process(base.restored(tmp_path / "data")) as muster:
        await act(muster)
        return await _recovered(muster)


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
