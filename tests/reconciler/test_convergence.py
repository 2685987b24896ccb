"""Any order, duplication, replay or crash ends in the access that the model says."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory import membership_change
from directory.tenants import Policy
from reconciler import recomputation, worker
from reconciler.worker import Reconciler
from tests.reconciler.world import TENANT, Hook, Hooked, Message, World, nothing, tenant

USERS = [f"u{number}" for number in range(5)]
GROUPS = [f"g{number}" for number in range(4)]


@pytest.fixture(autouse=True)
def small_pieces() -> Iterator[None]:
    """Five users are a crowd."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership_change, "CHUNK", 2)
        patch.setattr(worker, "PAGE", 2)
        patch.setattr(worker, "PAGES_PER_MESSAGE", 2)
        patch.setattr(worker, "EDGES_PER_MESSAGE", 3)
        patch.setattr(recomputation, "PAGE", 2)
        patch.setattr(recomputation, "BACKOFF", 0.002)
        yield


users = st.sampled_from(USERS)
groups = st.sampled_from(GROUPS)
member_sets = st.lists(st.sampled_from(USERS + GROUPS), max_size=5, unique=True)
entitlements = st.lists(st.sampled_from(["role:Owner", "role:Reader"]), unique=True)
changes = st.one_of(
    st.tuples(st.just("put_user"), users, st.booleans()),
    st.tuples(st.just("put_group"), groups),
    st.tuples(st.just("delete_user"), users),
    st.tuples(st.just("delete_group"), groups),
    st.tuples(st.just("change_members"), groups, member_sets, member_sets),
    st.tuples(st.just("intend_members"), groups, member_sets, member_sets),
    st.tuples(st.just("put_mapping"), groups, entitlements),
)


async def change(world: World, name: str, *arguments: Any) -> None:
    """Make a change, unless it makes no sense now; ids are never used twice, so what was deleted
    does not come back."""
    model = world.model
    subject = arguments[0]
    exists = subject in model.users or subject in model.groups
    gone = {e["resourceId"] for e in await world.documents("Event") if e["operation"] == "delete"}
    if subject in gone or (not exists and name not in ("put_user", "put_group")):
        return
    if name == "put_group" and exists:
        return
    if name in ("change_members", "intend_members"):
        known = [id for id in arguments[1] if id in model.users or id in model.groups]
        current = model.members[subject]
        added = [id for id in known if id not in current]
        removed = [id for id in arguments[2] if id in current]
        if not added and not removed:
            return
        await finish_first(world, subject)
        arguments = (subject, added, removed)
    await getattr(world, name)(*arguments)


async def finish_first(world: World, group: str) -> None:
    """What every writer to a group does with an intent that it finds."""
    stored = await world.store.read(TENANT, f"group:{group}")
    if unfinished := stored.document.get("intent"):
        await membership_change.finish(world.store, TENANT, unfinished)


async def handle_some(world: World, reconciler: Reconciler, chance: random.Random) -> None:
    """Some of the waiting messages, in any order, some of them twice, several at a time."""
    chance.shuffle(world.queue)
    some = [world.queue.pop() for _ in range(chance.randint(0, len(world.queue)))]
    again = [message for message in some if chance.random() < 0.3]
    await asyncio.gather(*(reconciler.handle(TENANT, *m) for m in some + again[:2]))
    world.queue += again[2:]


@settings(max_examples=60, deadline=None)
@given(st.lists(changes, min_size=5, max_size=30), st.integers(0, 2**32))
def test_any_order_and_duplicates_converge(steps: list[tuple[Any, ...]], seed: int) -> None:
    async def play() -> None:
        chance = random.Random(seed)

        async def elsewhere(method: str, asked: tuple[Any, ...]) -> None:
            for _ in range(chance.randint(0, 2)):
                await asyncio.sleep(0)

        async with tenant() as world:
            reconciler = world.reconciler(Hooked(world.store, elsewhere, elsewhere))
            for user in USERS:
                await world.put_user(user)
            for group in GROUPS[:3]:
                await world.put_group(group)
            for step in steps:
                await change(world, *step)
                if chance.random() < 0.3:
                    await handle_some(world, reconciler, chance)
            handled: list[Message] = list(world.queue)
            while world.queue:
                await handle_some(world, reconciler, chance)
            await world.settled()
            records = {d["id"]: d for d in await world.documents("Access")}
            for event, _ in handled:  # a replay of what is done does nothing
                await reconciler.handle(TENANT, event)
            await reconciler.recompute(TENANT, USERS, "drift")
            for record in await world.documents("Access"):
                assert record | {"version": 0} == records[record["id"]] | {"version": 0}

    asyncio.run(play())


class Crash(Exception):
    """The process is gone."""


async def populate(world: World) -> None:
    for user in USERS:
        await world.put_user(user)
    for group in GROUPS[:3]:
        await world.put_group(group)
    await world.put_mapping("g0", ["role:Owner"])
    await world.put_mapping("g1", ["role:Reader"])
    await world.change_members("g1", USERS[:3])
    await world.change_members("g0", ["g1", "u4"])
    await world.drain()
    await world.settled()


EVENTS: dict[str, Callable[[World], Awaitable[None]]] = {
    "large membership change": lambda w: w.intend_members("g1", USERS[3:], USERS[:1]),
    "mapping": lambda w: w.put_mapping("g0", ["role:Editor"]),
    "nested group removed": lambda w: w.change_members("g0", removed=["g1"]),
    "first record": lambda w: w.put_user("u9"),
    "user deleted": lambda w: w.delete_user("u1"),
    "group deleted": lambda w: w.delete_group("g1"),
    "policy": lambda w: w.put_policy(Policy()),
}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
async def test_a_crash_at_any_call_loses_nothing(
    event: Callable[[World], Awaitable[None]], committed: bool
) -> None:
    """The process dies at the k-th call to the store or the queue, before the call took effect or
    after it; the message is delivered again to a new process."""
    async with tenant() as original:
        await populate(original)
        await event(original)
        for k in count(1):
            async with original.copy() as world:
                calls = 0

                async def die(method: str, asked: tuple[Any, ...], at: int = k) -> None:
                    nonlocal calls
                    calls += 1
                    if calls == at:
                        raise Crash

                crashed = await handle_until_crash(world, die, committed)
                await world.drain()
                await world.settled()
                if not crashed:
                    break
    assert k > 7


async def handle_until_crash(world: World, die: Hook, committed: bool) -> bool:
    before, after = (nothing, die) if committed else (die, nothing)

    async def submit(*message: Any) -> None:
        await before("submit", message)
        await world.submit(*message)
        await after("submit", message)

    dying = Reconciler(Hooked(world.store, before, after), submit, world.publish, world.now)
    while world.queue:
        try:
            await dying.handle(TENANT, *world.queue[0])
        except Crash:
            return True
        world.queue.pop(0)
    return False
