"""What is protected stays with its last holder, whatever is taken away and in whatever order it is
worked on."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from directory.access import protection_id
from directory.documents import EntitlementKey, user_id
from directory.store import Assign, Delete, Unreadable, Unset, Update, Upsert
from directory.tenants import Policy
from reconciler import keeping
from reconciler.questions.drift import compare
from tests.reconciler.test_races import Pause
from tests.reconciler.world import SMALL, TENANT, Hooked, Model, World, tenant

OWNER, PROTECTED = "role:Owner", EntitlementKey("role", "Owner")
USERS = [f"u{number}" for number in range(5)]
GROUPS = ["g0", "g1"]
"""Both give it."""


async def populate(world: World, holders: int = 2) -> None:
    """So many of the users are in g0; all are in `all`, which gives something else."""
    await world.put_policy(Policy(protected=(PROTECTED,)))
    for group in (*GROUPS, "all"):
        await world.put_group(group)
        await world.put_mapping(group, [OWNER] if group in GROUPS else ["role:Reader"])
    for user in USERS:
        await world.put_user(user)
    await world.change_members("all", USERS)
    await world.change_members("g0", USERS[:holders])
    await world.drain()
    await world.settled()


type Act = Callable[[World, str, str], Awaitable[None]]


async def toggle(world: World, user: str, group: str) -> None:
    member = user in world.model.members[group]
    await world.change_members(group, [] if member else [user], [user] if member else [])


async def leave(world: World, user: str, group: str) -> None:
    for each in [*world.model.groups]:
        if user in world.model.members[each]:
            await world.change_members(each, removed=[user])


async def toggle_mapping(world: World, user: str, group: str) -> None:
    await world.put_mapping(group, [] if world.model.mapped[group] else [OWNER])


async def toggle_active(world: World, user: str, group: str) -> None:
    await world.put_user(user, not world.model.users[user])


async def toggle_grant(world: World, user: str, group: str) -> None:
    await world.give(user, [] if world.model.given.get(user) else [OWNER])


async def delete_user(world: World, user: str, group: str) -> None:
    await world.delete_user(user)


async def delete_group(world: World, user: str, group: str) -> None:
    await world.delete_group(group)


ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        toggle,
        leave,
        toggle_mapping,
        toggle_active,
        toggle_grant,
        delete_user,
        delete_group,
    )
}
acts = st.tuples(st.sampled_from([*ACTS]), st.sampled_from(USERS), st.sampled_from(GROUPS))
rounds = st.lists(
    st.tuples(st.lists(acts, min_size=1, max_size=5), st.booleans()), min_size=1, max_size=4
)


def expected(model: Model, held: set[str]) -> str | None:
    """Who keeps it, when `held` held it before: by definition."""
    if model.holders(OWNER):
        return None
    if (keeper := model.kept.get(OWNER)) is not None:
        return keeper if keeper in model.users else None
    return min((user for user in held if model.able(user)), default=None)


@settings(max_examples=25)
@given(played=rounds, holders=st.integers(1, 3), seed=st.integers(0, 99))
@example([([("leave", "u0", ""), ("leave", "u1", "")], True)], 2, 1)
@example(
    [([("toggle_grant", "u0", "")], False), ([("leave", "u0", ""), ("toggle", "u1", "g0")], False)],
    1,
    0,
)
@example(
    [([("leave", "u0", "")], False), ([("toggle", "u1", "g1"), ("toggle_active", "u0", "")], True)],
    1,
    3,
)
async def test_it_is_kept_for_the_first_of_the_last_in_any_order_of_events(
    played: list[tuple[list[tuple[str, str, str]], bool]], holders: int, seed: int
) -> None:
    """Each round changes much before any of it is worked on: in any order, twice, and half of the
    time by three workers at once."""
    chance = random.Random(seed)
    async with tenant(portions=SMALL) as world:
        await populate(world, holders)
        model = world.model
        for changes, at_once in played:
            held = model.holders(OWNER)
            for name, user, group in changes:
                if user in model.users and (group in model.groups or name == "leave"):
                    await ACTS[name](world, user, group)
            model.kept = {OWNER: keeper} if (keeper := expected(model, held)) else {}
            await work(world, chance, at_once)
            await world.settled()
            assert await compare(world.store, TENANT, [*model.users]) == ()


async def work(world: World, chance: random.Random, at_once: bool) -> None:
    while world.queue:
        messages = world.queue * 2
        world.queue.clear()
        chance.shuffle(messages)

        async def turn(messages: list[Any]) -> None:
            reconciler = world.reconciler()
            for message in messages:
                await reconciler.handle(TENANT, *message)

        if at_once:
            await asyncio.gather(*(turn(messages[start::3]) for start in range(3)))
        else:
            await turn(messages)


async def test_of_a_crowd_that_loses_it_at_once_one_keeps_it() -> None:
    """What is true is only asked of the last few, so the cost of the others does not grow."""
    async with tenant(portions=SMALL) as world:
        await populate(world, holders=5)
        crowd = [f"u{number}" for number in range(30, 30 + keeping.FEW)]
        for user in crowd:
            await world.put_user(user)
        await world.change_members("g0", crowd)
        world.now.moment += keeping.SETTLES
        await world.put_user("u4")
        await world.drain()
        asked = Asked()
        await world.put_mapping("g0", [])
        world.model.kept = {OWNER: "u30"}  # those before it leave more than a few
        await world.drain(world.reconciler(Hooked(world.store, before=asked)))
        await world.settled()
        # Who else holds it, and once many lost something, how many hold anything.
        assert asked.methods.count("query Access") == 2


class Asked:
    """What was asked of a store."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.ids: list[str] = []

    async def __call__(self, method: str, asked: tuple[Any, ...]) -> None:
        query = f" {asked[1].type}" if method == "query" else ""
        self.methods.append(method + query)
        if method == "read_many":
            self.ids += asked[1]
        elif method == "batch":
            self.ids += [one.id if isinstance(one, Update) else "" for one in asked[1]]


async def test_whoever_is_nothing_to_what_is_protected_pays_nothing_for_it() -> None:
    async with tenant(portions=SMALL) as world:
        await populate(world)
        for policy in (Policy(protected=(PROTECTED,)), Policy(protected=())):
            await world.put_policy(policy)
            await world.drain()
            asked = Asked()
            await world.change_members("all", removed=["u4"])
            await world.drain(world.reconciler(Hooked(world.store, before=asked)))
            await world.change_members("all", ["u4"])
            await world.drain()
            assert not [id for id in asked.ids if id.startswith("protection:")]
            assert asked.methods == [
                "read",
                "read",
                "read_many",
                "read_many",
                "query Membership",
                "read_many",
                "batch",
                "batch",
            ]


@pytest.mark.parametrize("place", ["sqlite", "wire"])
async def test_what_is_known_of_the_holders_is_found_out_anew_where_it_is_lost(place: str) -> None:
    """The document is gone or cannot be read, or is from before protection was switched off."""
    id = protection_id(PROTECTED)
    stale = Assign(("protectedSince",), "before"), Assign(("holders",), 99), Unset(("kept",))
    async with tenant(place, SMALL) as world:
        await populate(world, holders=1)
        for harm in (Delete(id), Update(id, (Assign(("holders",), "many"),)), Update(id, stale)):
            await world.store.batch(TENANT, [Update(id, (Assign(("kept",), "nobody"),))])
            await world.store.batch(TENANT, [harm])
            await world.change_members("g0", removed=["u0"])
            world.model.kept = {OWNER: "u0"}
            await world.drain()
            await world.settled()
            await world.store.batch(TENANT, [harm])
            await world.change_members("g1", ["u1"])
            world.model.kept = {}
            await world.drain()
            await world.settled()
            await world.change_members("g1", removed=["u1"])
            await world.change_members("g0", ["u0"])
            await world.drain()
            await world.settled()


async def test_what_the_policy_protects_no_more_goes() -> None:
    async with tenant(portions=SMALL) as world:
        await populate(world, holders=1)
        await world.change_members("g0", removed=["u0"])
        world.model.kept = {OWNER: "u0"}
        await world.drain()
        (source,) = (await world.access("u0")).grants[0].sources
        assert (source.type, source.event_id) == ("kept", f"e{world.commits - 1:04}")
        await world.put_policy(Policy(protected=()))
        world.model.kept = {}
        await world.drain()
        await world.settled()


async def test_somebody_who_holds_it_is_not_overlooked_by_a_page_that_keeps_it() -> None:
    """Of two who lost it, one is about to keep it, when the other comes back: nothing changes for
    that one, and yet the first must see it."""
    async with tenant(portions=SMALL) as world:
        await populate(world)
        await world.change_members("g0", removed=["u0", "u1"])
        pause = Pause("batch")
        paused = Hooked(world.store, before=pause)
        first = asyncio.create_task(world.recompute(["u0"], "a", paused))
        await pause.reached.wait()
        await world.change_members("g0", ["u1"])
        await world.recompute(["u1"], "b")
        pause.go()
        await first
        assert await world.held() == world.model.access()


async def test_one_who_keeps_it_and_cannot_be_read_stops_nobody_else() -> None:
    """The event of whoever gets it ends as failed; replayed, it takes it from the other."""
    async with tenant(portions=SMALL) as world:
        await populate(world, holders=1)
        await world.change_members("g0", removed=["u0"])
        await world.drain()
        whole = await world.store.read(TENANT, user_id("u0"))
        await world.store.batch(TENANT, [Update(user_id("u0"), (Unset(("resource",)),))])
        await world.change_members("g0", ["u1"])
        (message,) = world.queue
        with suppress(Unreadable):  # whoever asked for few users is told; delivered again for long
            await world.drain()
        held = await world.held()
        assert [user for user in ("u0", "u1") if OWNER in held[user][1]] == ["u0", "u1"]
        await world.store.batch(TENANT, [Upsert(whole.document)])
        await world.reconciler().handle(TENANT, *message)
        await world.drain()
        await world.settled()
