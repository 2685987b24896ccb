"""A crash at any call ends in the access that the model says."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from directory.tenants import Policy
from tests.reconciler.world import SMALL, TENANT, Hook, Hooked, World, nothing, tenant

USERS = [f"u{number}" for number in range(5)]
GROUPS = [f"g{number}" for number in range(4)]


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


async def make_circle(world: World) -> None:
    """Events that share a walk."""
    await world.change_members("g1", ["g2"])
    await world.change_members("g2", ["g0", "u3"])
    await world.put_mapping("g2", ["role:Editor"])


EVENTS: dict[str, Callable[[World], Awaitable[None]]] = {
    "large membership change": lambda w: w.intend_members("g1", USERS[3:], USERS[:1]),
    "mapping": lambda w: w.put_mapping("g0", ["role:Editor"]),
    "nested group removed": lambda w: w.change_members("g0", removed=["g1"]),
    "circle of groups": make_circle,
    "first record": lambda w: w.put_user("u9"),
    "user deleted": lambda w: w.delete_user("u1"),
    "group deleted": lambda w: w.delete_group("g1"),
    "policy": lambda w: w.put_policy(Policy()),
}


SMALL_EVENTS = ("first record", "user deleted")
"""Those of one user; all others take several pieces."""
STEPS = {"circle of groups": 3}
"""How many calls lie between two deaths, where it makes a hundred calls of few kinds."""
ON_THE_WIRE = ("large membership change", "first record", "group deleted")
"""Which of them make every kind of request; more would take longer and tell no more."""


@pytest.mark.parametrize(
    ("place", "event", "committed"),
    [("sqlite", event, True) for event in EVENTS]
    + [("sqlite", "large membership change", False)]
    + [("wire", event, True) for event in ON_THE_WIRE],
    indirect=["place"],
)
async def test_a_crash_at_any_call_loses_nothing(place: str, event: str, committed: bool) -> None:
    """The process dies at the k-th call to the store or the queue, after the call took effect; the
    message is delivered again to a new process. To die before the next call leaves the same behind,
    which one event shows."""
    async with tenant(place, SMALL) as original:
        await populate(original)
        await EVENTS[event](original)
        for k in count(1, STEPS.get(event, 1)):
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
    assert k > (7 if event in SMALL_EVENTS else 20), "it was done at once"


async def handle_until_crash(world: World, die: Hook, committed: bool) -> bool:
    before, after = (nothing, die) if committed else (die, nothing)

    async def submit(*message: Any) -> None:
        await before("submit", message)
        await world.submit(*message)
        await after("submit", message)

    dying = world.reconciler(Hooked(world.store, before, after), submit=submit)
    while world.queue:
        try:
            await dying.handle(TENANT, *world.queue[0])
        except Crash:
            return True
        world.queue.pop(0)
    return False
