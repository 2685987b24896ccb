"""What the queue does not bring in time, the timer reconciles itself."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from directory.access import AccessChange, access_id
from directory.documents import Event, user_id
from directory.store import Create, Unavailable
from directory.tenants import Tenant
from reconciler.overdue import AT_ONCE, PAUSE_SECONDS, Overdue
from reconciler.worker import Reconciler, Share
from tests.reconciler.world import SMALL, TENANT, Hooked, World

AFTER = 120.0
LATER = datetime(2026, 1, 2, tzinfo=UTC)
OTHER = "fabrikam"


class Steps:
    """A clock that moves by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def overdue(
    world: World,
    reconciler: Reconciler | None = None,
    *,
    clock: Any = None,
    attempts: int = 10,
    at_once: int = AT_ONCE,
) -> Overdue:
    """A timer of tomorrow, for which all that is pending is overdue."""
    return Overdue(
        world.store,
        reconciler or world.reconciler(),
        lambda: LATER,
        after_seconds=AFTER,
        attempts=attempts,
        clock=clock or Steps(),
        at_once=at_once,
    )


async def no_queue(*_: Any) -> None:
    raise AssertionError("nothing may depend on the queue")


async def small_team(world: World) -> None:
    for user in ("u1", "u2", "u3"):
        await world.put_user(user)
    await world.put_group("g1")
    await world.change_members("g1", ["u1", "u2", "u3"])
    await world.put_mapping("g1", ["role:Owner"])
    await world.delete_user("u2")


async def foreign_user(world: World, tenant_id: str) -> None:
    """A user of another tenant, whose creation is pending."""
    user = (await world.store.read(TENANT, "user:u1")).document | {"tenantId": tenant_id}
    event = Event.from_document(await world.event("e0000"))
    foreign = event.model_copy(
        update={"tenant_id": tenant_id, "state": "pending", "ttl": None, "done_at": None}
    )
    tenant = Tenant(tenant_id=tenant_id, name=tenant_id).to_document()
    documents = [tenant, user, foreign.to_document()]
    await world.store.batch(tenant_id, [Create(document) for document in documents])


async def test_without_any_queue_all_access_is_right(world: World) -> None:
    await small_team(world)
    reconciler = world.reconciler(submit=no_queue)
    assert await overdue(world, reconciler).apply() == 7
    await world.settled()


async def test_what_is_young_is_left_to_the_queue(world: World) -> None:
    await world.put_user("u1")
    young = Overdue(
        world.store,
        world.reconciler(),
        lambda: world.now.moment + timedelta(seconds=AFTER - 1),
        after_seconds=AFTER,
        attempts=10,
    )
    assert await young.apply() == 0
    assert (await world.event("e0000"))["state"] == "pending"


async def test_zero_switches_it_off(world: World) -> None:
    await world.put_user("u1")
    off = Overdue(world.store, world.reconciler(), lambda: LATER, after_seconds=0, attempts=10)
    assert await off.apply() == 0
    assert (await world.event("e0000"))["state"] == "pending"


async def test_a_large_event_goes_on_where_the_run_before_ended(world: World) -> None:
    world.portions = SMALL
    crowd = [f"u{number}" for number in range(20)]
    for user in crowd:
        await world.put_user(user)
    await world.put_group("g1")
    await world.change_members("g1", crowd)
    await world.drain()
    await world.put_mapping("g1", ["role:Owner"])
    world.queue.clear()
    runs = 0
    held = [0]
    while held[-1] < len(crowd):
        # Each run is another process: what it knows is what the store knows.
        await overdue(world).apply(seconds=2)
        held.append(sum(bool(grants) for _, grants in (await world.held()).values()))
        runs += 1
        assert held[-1] > held[-2], "a run began anew"
    assert runs > 2
    await overdue(world).apply()
    await world.settled()


async def test_what_the_queue_works_on_is_left_to_it(world: World) -> None:
    world.portions = replace(world.portions, pages_per_message=1)
    await world.put_group("g1")
    crowd = [f"u{number}" for number in range(120)]
    for user in crowd:
        await world.put_user(user)
    await world.change_members("g1", crowd[:60])
    await world.change_members("g1", crowd[60:])
    await world.drain()
    await world.put_mapping("g1", ["role:Owner"])
    event = world.queue[0][0]
    await world.reconciler().handle(TENANT, *world.queue.pop(0))
    assert (await world.event(event))["state"] == "pending"

    def soon() -> datetime:
        return world.now.moment + timedelta(seconds=AFTER)

    waiting = Overdue(
        world.store, world.reconciler(), soon, after_seconds=AFTER, attempts=10, clock=Steps()
    )
    assert await waiting.apply() == 0, "its last share was done just now"
    await world.drain()
    await world.settled()


async def test_trigger_and_timer_at_once_make_one_history(world: World) -> None:
    await small_team(world)
    await asyncio.gather(world.drain(), overdue(world).apply(), world.drain())
    await overdue(world).apply()
    await world.settled()
    changes = [AccessChange.from_document(d) for d in await world.documents("AccessChange")]
    versions = [(change.user_id, change.version) for change in changes]
    assert len(set(versions)) == len(versions)


async def test_events_that_fail_hold_up_nobody(world: World, caplog: Any) -> None:
    await world.put_user("u1")
    for _ in range(3):
        await world.put_user("u0")
    await foreign_user(world, OTHER)
    broken = [f"e{number:04}" for number in (1, 2, 3)]

    async def refuse(method: str, asked: tuple[Any, ...]) -> None:
        if method == "read_many" and user_id("u0") in asked[1]:
            raise ValueError("u0@example.com cannot be read")

    failing = world.reconciler(Hooked(world.store, refuse))
    timer = overdue(world, failing, clock=lambda: 1.0)
    assert await timer.apply() == 2
    assert await world.store.read_many(OTHER, [access_id("u1")])
    assert await world.store.read_many(TENANT, [access_id("u1")])
    for event in broken:
        assert (await world.event(event))["state"] == "pending"
    assert "u0@example.com" not in caplog.text
    assert "could not be applied" in caplog.text


async def test_an_event_that_fails_is_tried_again_later_and_then_marked(world: World) -> None:
    await world.put_user("u0")
    tries = 0

    async def refuse(method: str, _: tuple[Any, ...]) -> None:
        nonlocal tries
        if method == "read_many":
            tries += 1
            raise ValueError("broken")

    seconds = 0.0
    failing = world.reconciler(Hooked(world.store, refuse))
    timer = overdue(world, failing, clock=lambda: seconds, attempts=2)
    await timer.apply()
    await timer.apply()
    assert tries == 1, "it is left alone for a while"
    seconds = PAUSE_SECONDS + 1
    await timer.apply()
    assert tries == 2
    assert (await world.event("e0000"))["state"] == "failed"


async def test_a_store_that_asks_for_patience_is_no_fault_of_the_event(world: World) -> None:
    await world.put_user("u0")
    away = True

    async def busy(method: str, _: tuple[Any, ...]) -> None:
        if away and method == "read_many":
            raise Unavailable("away")

    timer = overdue(world, world.reconciler(Hooked(world.store, busy)), attempts=1)
    assert await timer.apply() == 0
    assert (await world.event("e0000"))["state"] == "pending"
    away = False
    assert await timer.apply() == 1
    await world.settled()


async def test_tenants_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await world.put_user(f"u{number}")
    await foreign_user(world, OTHER)
    order: list[str] = []
    at_work = most = 0

    async def work(_: Reconciler, tenant_id: str, *__: Any, **___: Any) -> Share:
        nonlocal at_work, most
        order.append(tenant_id)
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1
        return Share(completed=True)

    monkeypatch.setattr(Reconciler, "work", work)
    assert await overdue(world, at_once=1).apply() == 6
    assert OTHER in order[:2]
    assert most == 1
