"""Why somebody holds something, down to the requests, and what is missing where nobody does."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from directory.documents import Entitlement, EntitlementKey, event_id, user_id
from directory.resources import ENTERPRISE_USER
from directory.store import Assign, Delete, Update, Upsert
from directory.tenants import Policy
from reconciler.access import COST_CENTER
from reconciler.questions.why import Chain, Why, why
from tests.reconciler.world import TENANT, Hooked, World

READER = EntitlementKey(kind="role", key="Reader")
CENTER = EntitlementKey(kind=COST_CENTER, key="cc")
type Change = Callable[[World], Awaitable[None]]

COST_CENTERS_COUNT = Policy(cost_center_from_attribute=True)


async def populate(world: World) -> None:
    """u0 is in g0 by way of g1; g0 gives the role."""
    for one in (READER, CENTER):
        entry = Entitlement(tenant_id=TENANT, kind=one.kind, key=one.key, display_name="Shown")
        await world.store.batch(TENANT, [Upsert(entry.to_document())])
    await world.put_user("u0")
    await world.put_user("u1")
    for group in ("g0", "g1", "g2"):
        await world.put_group(group)
    await world.change_members("g1", ["u0"])
    await world.change_members("g0", ["g1"])
    await world.put_mapping("g0", ["role:Reader"])
    await world.change_members("g2", ["u1"])
    await world.drain()


async def ask(world: World, user: str, held: EntitlementKey = READER) -> Why:
    answer = await why(world.store, TENANT, user, held)
    assert answer is not None
    return answer


async def operations(world: World) -> dict[str, str]:
    """Event → what it did to whom."""
    events = await world.documents("Event")
    return {e["eventId"]: f"{e['operation']} {e['resourceId']}" for e in events}


async def told(world: World, chain: Chain) -> tuple[str, list[str], str | None]:
    """A chain in short: its kind, the requests that brought the members, and its origin."""
    done = await operations(world)
    links = [done[link.cause.event_id] for link in chain.links if link.cause]
    return chain.source.type, links, done[chain.cause.event_id] if chain.cause else None


async def test_a_grant_leads_back_to_the_requests_on_every_way(world: World) -> None:
    await populate(world)
    await world.change_members("g2", ["u0"])
    await world.put_mapping("g2", ["role:Reader"])
    await world.give("u0", ["role:Reader"])
    await world.drain()
    answer = await ask(world, "u0")
    assert (answer.granted, answer.due, answer.obstacles) == (True, True, ())
    assert answer.display_name == "Shown"
    assert [await told(world, chain) for chain in answer.chains] == [
        ("group", ["patch g1", "patch g0"], "mapping g0"),
        ("group", ["patch g2"], "mapping g2"),
        ("manual", [], "grant u0"),
    ]
    nested = answer.chains[0]
    assert nested.source.mapping_version == 1
    assert [(link.member_id, str(link.group)) for link in nested.links] == [
        ("u0", "g1"),
        ("g1", "g0"),
    ]
    cause = nested.links[0].cause
    assert cause is not None
    assert cause.event is not None
    assert (cause.event.actor.id, cause.event.request_id) == ("entra", "request")
    assert cause.at == cause.event.at
    assert nested.links[0].since is not None


async def test_a_cost_center_leads_to_the_request_that_wrote_it(world: World) -> None:
    await populate(world)
    await write_cost_center(world)
    await world.put_policy(COST_CENTERS_COUNT)
    await world.drain()
    (chain,) = (await ask(world, "u0", CENTER)).chains
    assert await told(world, chain) == ("costCenter", [], "patch u0")


async def write_cost_center(world: World) -> None:
    """As a request does, which names the attribute in its event."""
    await world.put_user("u0")
    assign = Assign(("resource", ENTERPRISE_USER), {"costCenter": "cc"})
    wrote = Assign(("attributes",), [f"{ENTERPRISE_USER}:costCenter"])
    event = event_id(world.queue[-1][0])
    await world.store.batch(TENANT, [Update(user_id("u0"), (assign,)), Update(event, (wrote,))])


async def test_an_event_that_is_no_longer_kept_is_said_to_be(world: World) -> None:
    await populate(world)
    for event in await operations(world):
        await world.store.batch(TENANT, [Delete(event_id(event))])
    (chain,) = (await ask(world, "u0")).chains
    for cause in (chain.cause, *(link.cause for link in chain.links)):
        assert cause is not None
        assert cause.expired


async def nothing(world: World) -> None:
    """What `populate` made."""


def mapping_waits(state: str) -> Change:
    async def change(world: World) -> None:
        await world.put_mapping("g2", ["role:Reader"])
        event = event_id(world.queue.pop()[0])
        changes = Assign(("state",), state), Assign(("reason",), "StoreError")
        await world.store.batch(TENANT, [Update(event, changes)])

    return change


async def unmapped(world: World) -> None:
    await world.put_mapping("g0", [])
    await world.drain()


async def not_in_the_catalog(world: World) -> None:
    await world.store.batch(TENANT, [Delete(await entry_of(world, READER))])
    await unmapped(world)


async def entry_of(world: World, held: EntitlementKey) -> str:
    entries = await world.documents("Entitlement")
    (id,) = (entry["id"] for entry in entries if entry["key"] == held.key)
    return str(id)


async def disabled(world: World) -> None:
    await world.put_user("u0", active=False)
    await world.drain()


async def alone_and_disabled(world: World) -> None:
    await world.change_members("g2", removed=["u1"])
    await world.put_user("u1", active=False)
    await world.drain()


async def by_hand(world: World) -> None:
    await world.put_user("u0", source="manual")
    await world.drain()


async def joined_and_waits(world: World) -> None:
    await world.change_members("g0", ["u1"])


async def left_and_waits(world: World) -> None:
    await world.change_members("g1", removed=["u0"])


async def lost_record(world: World) -> None:
    await world.store.batch(TENANT, [Delete("access:u0")])


async def cost_center_off(world: World) -> None:
    await write_cost_center(world)
    await world.drain()


async def cost_center_differs(world: World) -> None:
    await world.put_policy(COST_CENTERS_COUNT)
    await world.drain()


CASES: list[
    tuple[Callable[[World], Awaitable[None]], str, EntitlementKey, list[Any], list[str]]
] = [
    (nothing, "u1", READER, ["notMember"], ["“g0”"]),
    (unmapped, "u0", READER, ["noGroupMapped"], []),
    (not_in_the_catalog, "u0", READER, ["notInCatalog"], []),
    (disabled, "u0", READER, ["disabled"], ["active is false"]),
    (
        alone_and_disabled,
        "u1",
        READER,
        ["disabled", "notMember"],
        ["active is false", "No provisioned group", "“g0”"],
    ),
    (by_hand, "u0", READER, ["notAdopted"], ["externalId"]),
    (mapping_waits("pending"), "u1", READER, ["mappingNotApplied"], ["“g2”", "waits in the queue"]),
    (mapping_waits("failed"), "u1", READER, ["mappingNotApplied"], ["failed (StoreError)"]),
    (joined_and_waits, "u1", READER, ["recordLags"], ["waits in the queue"]),
    (left_and_waits, "u0", READER, ["disabled", "notMember", "recordLags"], ["waits in the queue"]),
    (lost_record, "u0", READER, ["recordLags"], ["operator repairs it"]),
    (cost_center_off, "u0", CENTER, ["costCenterOff", "noGroupMapped"], ["switch"]),
    (nothing, "u1", CENTER, ["noGroupMapped"], []),
    (cost_center_differs, "u0", CENTER, ["costCenterDiffers", "noGroupMapped"], ["costCenter"]),
]


@pytest.mark.parametrize(("change", "user", "held", "kinds", "says"), CASES)
async def test_what_is_missing_is_said_in_order(
    world: World,
    change: Change,
    user: str,
    held: EntitlementKey,
    kinds: list[str],
    says: Iterable[str],
) -> None:
    await populate(world)
    await change(world)
    answer = await ask(world, user, held)
    assert [obstacle.kind for obstacle in answer.obstacles] == kinds
    text = " ".join(obstacle.text for obstacle in answer.obstacles)
    assert all(part in text for part in says), text


async def test_nobody_is_nobody(world: World) -> None:
    await populate(world)
    assert await why(world.store, TENANT, "u9", READER) is None


async def test_the_reads_do_not_grow_with_groups_and_members(world: World) -> None:
    await populate(world)
    few = await reads_of(world, "u0"), await reads_of(world, "u1")
    for number in range(3, 12):
        await world.put_group(f"g{number}")
        await world.change_members(f"g{number}", ["u0"])
        await world.put_mapping(f"g{number}", ["role:Reader"])
        await world.change_members("g2", [f"g{number}"])
    await world.drain()
    many = await reads_of(world, "u0"), await reads_of(world, "u1")
    assert many == few
    assert max(many) <= 9


async def reads_of(world: World, user: str) -> int:
    calls: list[str] = []

    async def note(method: str, _: tuple[Any, ...]) -> None:
        calls.append(method)

    await why(Hooked(world.store, note), TENANT, user, READER)
    return len(calls)
