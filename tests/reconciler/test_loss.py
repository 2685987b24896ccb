"""An event after which many lost something is marked and told of, once."""

import asyncio
import logging
from typing import Any

import pytest

from directory.documents import Event
from directory.tenants import MassLossLimits, Policy
from reconciler.loss import FEW
from tests.reconciler.world import SMALL, TENANT, Hooked, World, tenant

USERS = [f"u{number:02}" for number in range(FEW + 2)]


async def populate(world: World, percent: int = 20) -> None:
    """Everybody is in g0 and g1; g0 gives them all something, g1 the last one something else."""
    limits = MassLossLimits(users=FEW + 1, percent=percent)
    await world.put_policy(Policy(mass_loss=limits))
    for group, members in (("g0", USERS), ("g1", USERS), ("g2", USERS[-1:])):
        await world.put_group(group)
        await world.change_members(group, members)
    for user in USERS:
        await world.put_user(user)
    await world.put_mapping("g0", ["role:Reader"])
    await world.put_mapping("g2", ["role:Writer"])
    await world.drain()


async def losses(world: World) -> list[Event]:
    """Events that are marked; each has its notice, and nothing else has one."""
    events = [Event.from_document(one) for one in await world.documents("Event")]
    marked = [event for event in events if event.mass_loss]
    notices = {one["noticeId"]: one["details"] for one in await world.documents("Notice")}
    assert notices.keys() == {event.event_id for event in marked}
    for event in marked:
        assert event.mass_loss is not None
        said = notices[event.event_id]
        assert (said["lost"], said["of"]) == (event.mass_loss.lost, event.mass_loss.of)
    return marked


async def test_a_mapping_that_takes_from_many_is_marked_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Though two workers do the same at once, one dies on the way, and it is done again."""
    async with tenant(portions=SMALL) as world:
        await populate(world)
        assert await losses(world) == []
        await world.put_mapping("g0", [])
        (message,) = world.queue
        calls = 0

        async def die(method: str, asked: tuple[Any, ...]) -> None:
            nonlocal calls
            calls += method == "batch"
            if calls == 2:
                raise ConnectionError

        with pytest.raises(ConnectionError):
            await world.reconciler(Hooked(world.store, after=die)).handle(TENANT, *message)
        await asyncio.gather(
            *(world.reconciler().handle(TENANT, *message, last_attempt=False) for _ in range(2))
        )
        await world.drain()
        await world.reconciler().handle(TENANT, *message)
        (event,) = await losses(world)
        assert (event.event_id, event.state) == (message[0], "done")
        assert (event.lost, event.lost_all) == (len(USERS), len(USERS) - 1)
        assert event.mass_loss is not None
        assert (event.mass_loss.lost, event.mass_loss.of) == (len(USERS), len(USERS))
        assert [r for r in caplog.records if getattr(r, "mass_losses", 0) == 1]
        assert logging.getLogger("muster.reconciler").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
    ("leave", "percent", "marked"),
    [(FEW + 1, 90, True), (FEW + 1, 91, True), (FEW + 1, 100, False), (FEW, 20, False)],
)
async def test_both_limits_must_be_reached(leave: int, percent: int, marked: bool) -> None:
    """Of eleven who hold something, ten are 90.9 per cent."""
    async with tenant(portions=SMALL) as world:
        await populate(world, percent)
        await world.intend_members("g0", removed=USERS[:leave])
        await world.drain()
        await world.settled()
        exactly = marked and leave * 100 >= percent * len(USERS)
        assert [event.mass_loss.lost for event in await losses(world) if event.mass_loss] == (
            [leave] if exactly else []
        )
