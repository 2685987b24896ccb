"""Rolling a large membership change forward: completely, once, whoever does it."""

import asyncio
from typing import Any

import pytest

from directory.documents import Membership, event_id, group_id, membership_id
from directory.membership_change import finish
from directory.portions import PORTIONS, Portions
from directory.store import (
    BATCH_OPERATIONS,
    Assign,
    Delete,
    PreconditionFailed,
    Unset,
    Update,
)
from tests.reconciler.world import TENANT, Hooked, World

EDGES = 4
"""More are a crowd."""


async def crowd(world: World, count: int = 10) -> list[str]:
    users = [f"u{number}" for number in range(count)]
    for user in users:
        await world.put_user(user)
    await world.put_group("staff")
    return users


async def edges(world: World) -> set[str]:
    return {edge["memberId"] for edge in await world.documents("Membership")}


async def applied(world: World, event: str) -> int:
    document = await world.event(event)
    return int(document["membership"]["applied"])


def test_a_chunk_fits_a_batch_with_the_event_and_the_group() -> None:
    assert PORTIONS.edges_per_batch + 2 == BATCH_OPERATIONS


async def test_all_of_it_is_written_in_order_and_the_intent_goes(world: World) -> None:
    users = await crowd(world)
    await world.change_members("staff", users[:3])
    await world.intend_members("staff", users[3:], users[:2])
    event = world.queue[-1][0]
    await finish(world.store, TENANT, event, world.now, edges_per_batch=EDGES)
    assert await edges(world) == set(users[2:])
    assert await applied(world, event) == 9
    assert "intent" not in (await world.store.read(TENANT, group_id("staff"))).document
    edge = await world.store.read(TENANT, membership_id("staff", "u9"))
    membership = Membership.from_document(edge.document)
    assert (membership.member_type, membership.event_id) == ("User", event)
    assert membership.since.isoformat() == (await world.event(event))["at"].replace("Z", "+00:00")


async def test_to_call_it_again_changes_nothing(world: World) -> None:
    users = await crowd(world)
    await world.intend_members("staff", users)
    event = world.queue[-1][0]
    await finish(world.store, TENANT, event, world.now, edges_per_batch=EDGES)
    await world.change_members("staff", removed=["u0"])
    before = await world.store.read(TENANT, group_id("staff"))
    await finish(world.store, TENANT, event, world.now, edges_per_batch=EDGES)
    await finish(world.store, TENANT, "gone", world.now, edges_per_batch=EDGES)
    assert await world.store.read(TENANT, group_id("staff")) == before
    assert await edges(world) == set(users[1:])


async def test_what_is_so_already_and_who_is_gone_are_passed_over(world: World) -> None:
    users = await crowd(world)
    await world.change_members("staff", ["u0", "u8"])
    earlier = world.queue[-1][0]
    await world.intend_members("staff", users[:8], ["u8", "u9"])
    event = world.queue[-1][0]
    await world.delete_user("u1")
    await world.store.batch(TENANT, [Delete(membership_id("staff", "u8"))])
    await finish(world.store, TENANT, event, world.now, edges_per_batch=EDGES)
    assert await edges(world) == {"u0", *users[2:8]}
    kept = await world.store.read(TENANT, membership_id("staff", "u0"))
    assert kept.document["eventId"] == earlier


async def test_an_edge_that_goes_while_it_is_removed_does_no_harm(world: World) -> None:
    users = await crowd(world)
    await world.change_members("staff", users)
    await world.intend_members("staff", removed=users)
    event = world.queue[-1][0]
    gone = False

    async def interfere(method: str, asked: tuple[Any, ...]) -> None:
        nonlocal gone
        if method == "batch" and not gone:
            gone = True
            await world.store.batch(TENANT, [Delete(membership_id("staff", "u2"))])

    await finish(
        Hooked(world.store, before=interfere), TENANT, event, world.now, edges_per_batch=EDGES
    )
    assert await edges(world) == set()
    assert await applied(world, event) == 10


async def test_two_finishers_write_each_chunk_once(world: World) -> None:
    users = await crowd(world, 30)
    await world.intend_members("staff", users)
    event = world.queue[-1][0]
    written: list[int] = []

    async def elsewhere(method: str, asked: tuple[Any, ...]) -> None:
        await asyncio.sleep(0)

    async def note(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch":
            written.append(asked[1][0].changes[0].value)

    hooked = Hooked(world.store, elsewhere, note)
    await asyncio.gather(
        *(finish(hooked, TENANT, event, world.now, edges_per_batch=EDGES) for _ in range(3))
    )
    assert sorted(written) == [4, 8, 12, 16, 20, 24, 28, 30]
    assert await edges(world) == set(users)


async def test_a_group_deleted_meanwhile_gets_no_more_edges(world: World) -> None:
    world.portions = Portions(edges_per_batch=EDGES)
    users = await crowd(world)
    await world.intend_members("staff", users)
    event = world.queue[-1][0]
    batches = 0

    async def interfere(method: str, asked: tuple[Any, ...]) -> None:
        nonlocal batches
        batches += method == "batch"
        if batches == 2 and "staff" in world.model.groups:
            await world.delete_group("staff")

    await finish(
        Hooked(world.store, before=interfere), TENANT, event, world.now, edges_per_batch=EDGES
    )
    assert await edges(world) == set(users[:4])
    await world.drain()
    await world.settled()


async def test_a_group_that_does_not_name_the_event_is_no_race(world: World) -> None:
    users = await crowd(world, 3)
    await world.intend_members("staff", users)
    await world.store.batch(TENANT, [Update(group_id("staff"), (Unset(("intent",)),))])
    with pytest.raises(PreconditionFailed, match=group_id("staff")):
        await finish(world.store, TENANT, world.queue[-1][0], world.now, edges_per_batch=EDGES)
    assert await edges(world) == set()


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
async def test_a_change_of_50_000_members_fits_its_batches(world: World) -> None:
    """The event lists them all and is near the limit of a document; a batch must not carry it."""
    await world.put_group("staff")
    await world.intend_members("staff", ["u0"])
    event = world.queue[-1][0]
    many = [f"user:{number:026}" for number in range(50_000)]
    members = Assign(("membership",), {"added": many, "removed": [], "applied": 49_990})
    await world.store.batch(TENANT, [Update(event_id(event), (members,))])
    await finish(world.store, TENANT, event, world.now, edges_per_batch=EDGES)
    assert await applied(world, event) == 50_000
