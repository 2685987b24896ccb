"""The audit finds every record that is wrong, and nothing that merely waits."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count, repeat
from typing import Any

import pytest

from directory.access import Access, Grant, GrantSource, access_id
from directory.documents import Actor
from directory.ledger import Ledger
from directory.store import Assign, Delete, Update, Upsert, member
from directory.tenants import Policy
from reconciler.questions.drift import Difference, audit, audit_part, compare, repair
from tests.reconciler.world import TENANT, Hooked, World

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OPERATOR = Actor(type="operator", id="test")
USERS = [f"u{number}" for number in range(5)]

type Change = Callable[[World], Awaitable[None]]


async def populate(world: World) -> None:
    """u0 and u1 are in g1, and so in g0, which gives a role; u2 and u3 are in g2."""
    for user in USERS:
        await world.put_user(user)
    for group in ("g0", "g1", "g2"):
        await world.put_group(group)
    await world.change_members("g1", ["u0", "u1"])
    await world.change_members("g0", ["g1"])
    await world.change_members("g2", ["u2", "u3"])
    await world.put_mapping("g0", ["role:Reader"])
    await world.give("u2", ["role:Owner"])
    await world.drain()
    await world.settled()


async def found(world: World) -> list[Difference]:
    """Of an audit at once, which finds the same as one in parts."""
    whole = [one async for page in audit(world.store, TENANT, step=2) for one in page.differences]
    assert await in_parts(world, seconds=0) == await in_parts(world, seconds=1000) == whole
    return whole


async def in_parts(world: World, seconds: int) -> list[Difference]:
    """The parts end by themselves, or after each look."""
    differences: list[Difference] = []
    place: str | None = ""
    ticks = count(step=10) if seconds == 0 else repeat(0)
    while place is not None:
        part = await audit_part(
            world.store, TENANT, place, lambda: next(ticks), documents=3, step=2
        )
        assert part.examined <= (2 if seconds == 0 else 4)
        differences += part.differences
        place = part.next
    return differences


async def test_what_is_settled_has_not_drifted(world: World) -> None:
    await populate(world)
    examined = [page.examined async for page in audit(world.store, TENANT, step=2)]
    assert (max(examined), sum(examined)) == (2, len(USERS))
    assert await found(world) == []


async def damage(world: World) -> None:
    """Every way in which a record can be wrong."""
    elsewhere = GrantSource(type="group", group_id="g2", mapping_version=7, path=("g2",))
    reader = Grant(kind="role", key="Reader", sources=(elsewhere,))
    nobody = Access(tenant_id=TENANT, user_id="u9", enabled=True, changed_at=NOW, event_id="e")
    writer = Grant(kind="role", key="Writer", sources=(GrantSource(type="manual"),))
    other = nobody.model_copy(update={"user_id": "u3", "grants": (writer,)})
    disabled = Assign(("enabled",), False), Assign(("reasons",), ["inactive"])
    await world.store.batch(
        TENANT,
        [
            Delete(access_id("u0")),
            Update(
                access_id("u1"),
                (Assign(("grants",), [reader.model_dump(mode="json", by_alias=True)]),),
            ),
            Update(access_id("u2"), (*disabled, Assign(("grants",), []))),
            Upsert(other.to_document()),
            Upsert(nobody.to_document()),
        ],
    )


async def test_every_kind_of_drift_is_found_and_repaired(world: World) -> None:
    await populate(world)
    untouched = await world.access("u4")
    await damage(world)
    differences = await found(world)
    assert [(one.user_id, one.kind, one.pending, one.text) for one in differences] == [
        ("u0", "missing", False, "no record"),
        ("u1", "different", False, "the same grants from other sources"),
        (
            "u2",
            "different",
            False,
            "is disabled (inactive), must be enabled; lacks role Owner",
        ),
        ("u3", "different", False, "must not have role Writer"),
        ("u9", "orphaned", False, "the record of no user"),
    ]
    users = [one.user_id for one in differences]
    await repair(Ledger(world.store, world.now), world.reconciler(), TENANT, users, OPERATOR)
    assert await found(world) == []
    await world.settled_but_for_the_topic()
    repairs = [e for e in await world.documents("Event") if e["operation"] == "repair"]
    assert sorted(event["resourceId"] for event in repairs) == users
    assert await world.access("u4") == untouched


async def group_deleted(world: World) -> None:
    await world.delete_group("g2")


async def test_what_cannot_be_read_is_told_and_stops_nothing(world: World) -> None:
    """A record that cannot be read is repaired; a mapping that cannot be is told of its members."""
    await populate(world)
    await world.put_mapping("g2", ["role:Owner"])
    await world.drain()
    await world.store.batch(
        TENANT,
        [
            Update(access_id("u1"), (Assign(("enabled",), "perhaps"),)),
            Update("mapping:g2", (Assign(("version",), "first"),)),
            Delete(access_id("u4")),
        ],
    )
    differences = await found(world)
    assert [(one.user_id, one.kind, one.repairable, one.text) for one in differences] == [
        ("u1", "unreadable", True, "a stored Access cannot be read"),
        ("u2", "unreadable", False, "a stored Mapping cannot be read"),
        ("u3", "unreadable", False, "a stored Mapping cannot be read"),
        ("u4", "missing", True, "no record"),
    ]
    await world.store.batch(TENANT, [Update("mapping:g2", (Assign(("version",), 1),))])
    version = member(await world.store.read(TENANT, access_id("u1")), "version")
    await repair(Ledger(world.store, world.now), world.reconciler(), TENANT, ["u1", "u4"], OPERATOR)
    assert await found(world) == []
    assert (await world.access("u1")).version == version + 1


async def test_what_waits_is_read_once(world: World) -> None:
    await populate(world)
    await damage(world)
    asked: list[str] = []

    async def note(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "query":
            asked.append(arguments[1].type)

    store = Hooked(world.store, before=note)
    assert sum([len(page.differences) async for page in audit(store, TENANT)]) == 5
    assert asked.count("Event") == 1


WAITING: dict[str, tuple[Change, list[str]]] = {
    "user": (lambda w: w.put_user("u0", active=False), ["u0"]),
    "user deleted": (lambda w: w.delete_user("u0"), ["u0"]),
    "member": (lambda w: w.change_members("g1", removed=["u0"]), ["u0"]),
    "nested group": (lambda w: w.change_members("g0", removed=["g1"]), ["u0", "u1"]),
    "mapping": (lambda w: w.put_mapping("g0", []), ["u0", "u1"]),
    "group deleted": (lambda w: w.delete_group("g2"), ["u2", "u3"]),
    "policy": (lambda w: w.put_policy(Policy(disable_when=())), ["u4"]),
}


@pytest.mark.parametrize(("change", "users"), WAITING.values(), ids=WAITING.keys())
async def test_what_waits_for_its_event_is_no_drift(
    world: World, change: Change, users: list[str]
) -> None:
    await populate(world)
    await change(world)
    assert [(one.user_id, one.pending) for one in await found(world)] == [
        (user, True) for user in users
    ]
    await world.drain()
    assert await found(world) == []


async def test_other_users_events_excuse_nobody(world: World) -> None:
    """Nor does an event that failed."""
    await populate(world)
    await world.store.batch(TENANT, [Delete(access_id("u2"))])
    await world.change_members("g1", ["u4"])
    await world.put_user("u2")
    failed = Update(f"event:{world.queue[-1][0]}", (Assign(("state",), "failed"),))
    await world.store.batch(TENANT, [failed])
    assert [(one.user_id, one.pending) for one in await found(world)] == [
        ("u2", False),
        ("u4", True),
    ]


@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_reconciled_during_the_audit_is_no_drift(world: World, times: int) -> None:
    """Each time records were read, the user changes and is reconciled before the truth is."""
    await populate(world)
    left = times

    async def change(method: str, asked: tuple[Any, ...]) -> None:
        nonlocal left
        if left and method == "read_many" and asked[1] == [access_id("u0")]:
            left -= 1
            await world.put_user("u0", active=not world.model.users["u0"])
            await world.drain()

    store = Hooked(world.store, after=change)
    assert await compare(store, TENANT, ["u0"]) == ()
    assert left == 0
