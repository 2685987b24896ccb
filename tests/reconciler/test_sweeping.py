"""Memberships of what was deleted: they go, and the groups that lose them have another version."""

from typing import Any

import pytest

from directory.store import BATCH_OPERATIONS, Delete, Replace, Update
from tests.reconciler.world import TENANT, Hooked, World


class Dead(Exception):
    """The process is gone."""


async def versions(world: World) -> dict[str, str]:
    """Group → its ETag."""
    return {
        group: (await world.store.read(TENANT, f"group:{group}")).etag
        for group in world.model.groups
    }


async def edges(world: World) -> set[tuple[str, str]]:
    return {(e["groupId"], e["memberId"]) for e in await world.documents("Membership")}


async def crowded(world: World, groups: int) -> None:
    """One user in many groups, and another in one of them only."""
    await world.put_user("u0")
    await world.put_user("u1")
    for number in range(groups):
        await world.put_group(f"g{number}")
        await world.change_members(f"g{number}", ["u0"])
    await world.put_group("other")
    await world.change_members("other", ["u1"])
    await world.drain()


@pytest.mark.parametrize(
    ("place", "crash"),
    [("sqlite", "before"), ("sqlite", "after"), ("wire", "after")],
    indirect=["place"],
)
async def test_no_edge_goes_without_its_group_wherever_the_process_dies(
    world: World, crash: str
) -> None:
    """And somebody in many groups is taken out of them in batches that fit."""
    await crowded(world, groups := 120)
    before, had = await versions(world), await edges(world)
    await world.delete_user("u0")
    message = world.queue[-1]
    writes = 0
    while message in world.queue:
        writes += 1
        left = writes

        async def die(method: str, asked: tuple[Any, ...]) -> None:
            nonlocal left
            if method == "batch":
                assert len(asked[1]) <= BATCH_OPERATIONS
                left -= 1
                if not left:
                    raise Dead

        store = Hooked(world.store, **{crash: die})
        try:
            await world.reconciler(store).handle(TENANT, *message)
        except Dead:
            now = await versions(world)
            lost = {group for group, member in had - await edges(world)}
            assert {group for group, etag in now.items() if etag != before[group]} == lost
        else:
            world.queue.remove(message)
    assert writes > 2 * groups / BATCH_OPERATIONS
    after = await versions(world)
    assert {group for group in after if after[group] == before[group]} == {"other"}
    await world.settled()


async def test_a_group_that_loses_many_moves_with_each_batch_only(world: World) -> None:
    users = [f"u{number}" for number in range(40)]
    await world.put_group("g0")
    for user in users:
        await world.put_user(user)
    await world.change_members("g0", users)
    await world.drain()
    for user in users:
        await world.delete_user(user)
    world.queue.clear()
    written: list[Any] = []

    async def note(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch":
            written.extend(asked[1])

    await world.recompute(users, "e0000", Hooked(world.store, before=note))
    assert sum(isinstance(one, Update) for one in written) == 1
    members = [one for one in written if isinstance(one, Delete) and one.id.startswith("member:")]
    assert len(members) == len(users)


async def test_a_damaged_group_keeps_nobody(world: World) -> None:
    """It has no version to move; the edges of others go all the same."""
    await crowded(world, 2)
    damaged = (await world.store.read(TENANT, "group:g0")).document
    del damaged["search"]
    await world.store.batch(TENANT, [Replace(damaged)])
    await world.delete_user("u0")
    await world.drain()
    await world.settled()
