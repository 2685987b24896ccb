"""What each kind of event does to access, and how an event ends."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from directory import lanes
from directory.access import access_id
from directory.documents import (
    EntitlementKey,
    event_id,
    group_id,
    mapping_id,
    membership_id,
    user_id,
)
from directory.portions import Portions
from directory.sqlite.store import SqliteStore
from directory.store import (
    Assign,
    Create,
    Delete,
    NotFound,
    Operation,
    PreconditionFailed,
    Replace,
    Throttled,
    TooLarge,
    Unavailable,
    Unreadable,
    Update,
    member,
)
from directory.tenants import Policy
from queues.relay import EventMessage
from reconciler.access import STEPS_PER_GRANT
from reconciler.questions.preview import Preview
from reconciler.questions.proposal import MappingProposal
from reconciler.recomputation import Committed
from tests.contract.explaining import explained
from tests.reconciler.world import TENANT, Hooked, World, tenant


async def staff(world: World, count: int = 3) -> None:
    """Group `staff` with users `u0` …, mapped to `role:Reader`; everything settled."""
    await world.put_group("staff")
    await world.put_mapping("staff", ["role:Reader"])
    users = [f"u{number}" for number in range(count)]
    for user in users:
        await world.put_user(user)
    await world.intend_members("staff", users)
    await world.drain()
    await world.settled()


async def test_a_member_gets_what_the_group_is_mapped_to(world: World) -> None:
    await staff(world, 1)
    access = await world.access("u0")
    (grant,) = access.grants
    assert (access.enabled, grant.kind, grant.key) == (True, "role", "Reader")
    assert grant.sources[0].model_dump(exclude_none=True) == {
        "type": "group",
        "group_id": "staff",
        "mapping_version": 1,
        "path": ("staff",),
    }


async def test_a_leaver_keeps_the_memberships_and_comes_back_to_what_they_say_now(
    world: World,
) -> None:
    await staff(world)
    await world.put_user("u0", active=False)
    await world.drain()
    access = await world.access("u0")
    assert (access.enabled, access.reasons, access.grants) == (False, ("inactive",), ())
    await world.put_mapping("staff", ["role:Owner"])
    await world.put_user("u0", active=True)
    await world.drain()
    await world.settled()
    assert (await world.held())["u0"] == (True, frozenset({"role:Owner"}))


async def test_nested_groups_reach_down_to_everybody_and_loops_end(world: World) -> None:
    await staff(world)
    for group in ("top", "middle"):
        await world.put_group(group)
    await world.change_members("top", ["middle"])
    await world.change_members("middle", ["staff", "top"])
    await world.put_mapping("top", ["role:Owner"])
    await world.drain()
    await world.settled()
    assert (await world.held())["u2"] == (True, frozenset({"role:Owner", "role:Reader"}))
    await world.change_members("middle", removed=["staff"])
    await world.drain()
    await world.settled()
    assert (await world.held())["u2"] == (True, frozenset({"role:Reader"}))


async def test_a_deleted_group_takes_its_access_and_its_edges_along(world: World) -> None:
    await staff(world)
    await world.put_group("top")
    await world.change_members("top", ["staff", "u0"])
    await world.put_mapping("top", ["role:Owner"])
    await world.drain()
    await world.delete_group("staff")
    await world.drain()
    await world.settled()
    assert await world.held() == {
        "u0": (True, frozenset({"role:Owner"})),
        "u1": (False, frozenset()),
        "u2": (False, frozenset()),
    }


async def test_a_deleted_user_leaves_neither_record_nor_edges(world: World) -> None:
    await staff(world)
    await world.delete_user("u1")
    await world.drain()
    await world.settled()
    assert "u1" not in await world.held()


async def test_a_policy_reaches_everybody(world: World) -> None:
    await staff(world, 1)
    for number in range(1, 4):
        await world.put_user(f"u{number}")
    await world.drain()
    assert not (await world.access("u3")).enabled
    await world.put_policy(Policy(disable_when=("inactive",)))
    await world.drain()
    assert {id: enabled for id, (enabled, _) in (await world.held()).items()} == dict.fromkeys(
        ("u0", "u1", "u2", "u3"), True
    )


async def test_a_user_made_by_hand_is_left_alone(world: World) -> None:
    await staff(world, 1)
    await world.put_user("u0", active=False, source="manual")
    await world.drain()
    access = await world.access("u0")
    assert (access.enabled, access.reasons, access.grants) == (True, (), ())


async def test_recomputing_changes_nothing_but_the_version(world: World) -> None:
    await staff(world)
    before = await world.access("u0")
    await world.recompute(["u0", "u0"], "another")
    after = await world.access("u0")
    assert after == before.model_copy(update={"version": before.version + 1})


async def test_an_event_that_is_done_keeps_for_the_retention_and_costs_one_read(
    world: World,
) -> None:
    await staff(world, 1)
    event = await world.event("e0000")
    assert (event["state"], event["ttl"]) == ("done", 400 * 24 * 3600)
    assert event["doneAt"].endswith("Z")

    calls: list[str] = []

    async def note(method: str, asked: tuple[Any, ...]) -> None:
        calls.append(method)

    reconciler = world.reconciler(Hooked(world.store, note))
    await reconciler.handle(TENANT, "e0000")
    await reconciler.handle(TENANT, "gone")
    assert calls == ["read", "read"]


async def test_a_later_save_of_a_mapping_supersedes_an_earlier_one(world: World) -> None:
    await staff(world)
    await world.put_mapping("staff", ["role:Owner"])
    await world.put_mapping("staff", ["role:Editor"])
    first, second = world.queue
    asked: list[str] = []

    async def note(method: str, _: tuple[Any, ...]) -> None:
        asked.append(method)

    await world.reconciler(Hooked(world.store, note)).handle(TENANT, *first)
    assert "query" not in asked, "the second save does all that there is to do"
    assert (await world.event(first[0]))["state"] == "done"
    mapping = (await world.store.read(TENANT, mapping_id("staff"))).document
    assert (mapping["version"], mapping["appliedVersion"]) == (3, 2)
    await world.reconciler().handle(TENANT, *second)
    await world.settled()


async def test_big_events_go_on_in_further_messages(world: World) -> None:
    await staff(world, 23)
    await world.put_group("top")
    await world.change_members("top", ["staff", "u0", "u1"])
    await world.drain()
    world.portions = Portions(users_per_batch=3, pages_per_message=2, edges_per_message=5)
    await world.put_mapping("top", ["role:Owner"])
    event = world.queue[0][0]
    reconciler = world.reconciler()
    progress = []
    messages = 0
    while world.queue:
        await reconciler.handle(TENANT, *world.queue.pop(0))
        messages += 1
        progress.append((await world.event(event))["progress"])
        assert progress[-1].pop("at")
    # A page of 3 edges of top, then 8 pages of staff; two pages to a message.
    assert messages == 5
    assert progress[0] == {"done": 5, "total": 25}
    assert progress[-1] == {"done": 23, "total": 25}
    await world.settled()

    await world.delete_group("staff")
    await world.drain()
    await world.settled()
    assert (await world.held())["u0"] == (True, frozenset({"role:Owner"}))

    await world.put_policy(Policy(disable_when=("inactive",)))
    await world.drain()
    assert all(enabled for enabled, _ in (await world.held()).values())


async def test_a_large_membership_change_is_read_in_pages(world: World) -> None:
    world.portions = Portions(users_per_batch=2, pages_per_message=1)
    await staff(world, 7)
    await world.put_group("top")
    await world.put_mapping("top", ["role:Owner"])
    await world.change_members("top", ["staff"])
    await world.drain()
    await world.change_members("staff", removed=["u0", "u1", "u2"])
    event = world.queue[0][0]
    await world.reconciler().handle(TENANT, *world.queue.pop(0))
    assert (await world.event(event))["progress"]["done"] == 2
    await world.drain()
    await world.settled()


async def test_an_intent_that_the_group_names_is_finished_too(world: World) -> None:
    await staff(world, 1)
    await world.put_user("u1")
    await world.intend_members("staff", ["u1"])
    await world.put_mapping("staff", ["role:Owner"])
    last = world.queue.pop()
    await world.reconciler().handle(TENANT, *last)
    group = await world.store.read(TENANT, group_id("staff"))
    assert "intent" not in group.document
    assert (await world.held())["u1"] == (True, frozenset({"role:Owner"}))


async def test_a_member_group_that_was_deleted_meanwhile_leaves_no_edge(world: World) -> None:
    await staff(world)
    await world.put_group("top")
    await world.delete_group("staff")
    await world.drain()
    await world.change_members("top", ["staff"])
    world.model.members["top"].clear()
    await world.drain()
    await world.settled()


async def test_an_edge_that_somebody_else_removes_does_not_end_the_sweep(world: World) -> None:
    await staff(world, 3)
    await world.delete_group("staff")
    interfered = False

    async def interfere(method: str, asked: tuple[Any, ...]) -> None:
        nonlocal interfered
        if method == "batch" and isinstance(asked[1][0], Delete) and not interfered:
            interfered = True
            await world.store.batch(TENANT, [Delete(membership_id("staff", "u1"))])

    await world.drain(world.reconciler(Hooked(world.store, interfere)))
    assert interfered
    await world.settled()


async def test_a_page_too_large_for_one_batch_is_written_in_halves(world: World) -> None:
    await staff(world, 5)
    before = await world.access("u0")
    sizes: list[int] = []

    async def limit(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch":
            sizes.append(len(asked[1]))
            if len(asked[1]) > 2:
                raise TooLarge

    users = [f"u{number}" for number in range(5)]
    await world.recompute(users, "e", Hooked(world.store, limit))
    assert sizes == [5, 2, 3, 1, 2]
    versions = {(await world.access(f"u{number}")).version for number in range(5)}
    assert versions == {before.version + 1}


async def test_a_race_without_end_is_an_error_of_one_user_only(world: World) -> None:
    await staff(world, 3)

    async def interfere(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and any(op.document["id"] == access_id("u2") for op in asked[1]):
            await world.store.batch(TENANT, [Update(access_id("u2"), (Assign(("x",), 1),))])

    with pytest.raises(PreconditionFailed, match=access_id("u2")):
        await world.recompute(["u0", "u1", "u2"], "e", Hooked(world.store, interfere))
    versions = [(await world.access(f"u{number}")).version for number in range(3)]
    assert versions[0] == versions[1] == versions[2] + 1


async def test_the_last_attempt_marks_the_event_failed_and_a_replay_repairs_it(
    world: World,
) -> None:
    await staff(world, 1)
    await world.put_user("u0", active=False)
    ((event, _),) = world.queue

    async def fail(method: str, asked: tuple[Any, ...]) -> None:
        if method == "read_many":
            raise ValueError("a fault of Muster's")

    reconciler = world.reconciler(Hooked(world.store, fail))
    with pytest.raises(ValueError, match="fault"):
        await reconciler.handle(TENANT, event)
    assert (await world.event(event))["state"] == "pending"
    with pytest.raises(ValueError, match="fault"):
        await reconciler.handle(TENANT, event, last_attempt=True)
    failed = await world.event(event)
    assert (failed["state"], failed["reason"], "ttl" in failed) == (
        "failed",
        "ValueError",
        False,
    )
    await world.drain()
    await world.settled()
    assert "reason" not in await world.event(event)


@pytest.mark.parametrize("error", [Throttled(1.0), Unavailable()])
async def test_a_store_that_asks_for_patience_does_not_fail_the_event(
    world: World, error: Exception
) -> None:
    await world.put_user("u0")
    ((event, _),) = world.queue

    async def refuse(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and isinstance(asked[1][0], Create):
            raise error

    with pytest.raises(type(error)):
        await world.reconciler(Hooked(world.store, refuse)).handle(TENANT, event, last_attempt=True)
    assert (await world.event(event))["state"] == "pending"


async def test_an_event_that_nobody_can_read_fails_with_its_kind(world: World) -> None:
    await world.put_user("u0")
    ((event, _),) = world.queue
    await world.store.batch(TENANT, [Update(event_id(event), (Assign(("scope",), "planet"),))])
    with pytest.raises(Unreadable, match="scope"):
        await world.reconciler().handle(TENANT, event, last_attempt=True)
    failed = await world.store.read(TENANT, event_id(event))
    assert (member(failed, "state"), "scope" in member(failed, "reason")) == ("failed", True)


async def test_a_tenant_without_document_is_an_error(world: World) -> None:
    await world.put_user("u0")
    await world.store.batch(TENANT, [Delete("tenant")])
    with pytest.raises(LookupError):
        await world.drain()
    with pytest.raises(NotFound):
        await world.store.read(TENANT, access_id("u0"))
    assert await world.store.read(TENANT, user_id("u0"))


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # it tells its plans
async def test_one_member_more_costs_the_same_in_any_group_and_nothing_is_scanned(
    world: World,
) -> None:
    await staff(world, 3)
    asked_for: list[tuple[Any, ...]] = []
    costs: list[list[int]] = []

    async def note(method: str, asked: tuple[Any, ...]) -> None:
        asked_for.append((method, *asked))

    reconciler = world.reconciler(Hooked(world.store, note))
    for size in (3, 63):
        await world.put_user(f"u{size}")
        await world.change_members("staff", [f"u{size}"])
        await world.drain()
        await world.change_members("staff", removed=[f"u{size}"])
        asked_for.clear()
        await world.drain(reconciler)
        costs.append([len(call[2]) for call in asked_for if call[0] in ("batch", "read_many")])
        crowd = [f"u{number}" for number in range(3, 63)]
        for user in crowd:
            await world.put_user(user)
        await world.change_members("staff", crowd)
        await world.drain()
    assert costs[0] == costs[1]

    asked_for.clear()
    await world.put_group("top")
    await world.change_members("top", ["staff"])
    await world.delete_user("u0")
    await world.delete_group("staff")
    await world.drain(reconciler)
    store = world.place.store
    assert isinstance(store, SqliteStore)
    queries = [call[2] for call in asked_for if call[0] == "query"]
    looked_at = sum(query.type == "Access" for query in queries)
    assert looked_at == 1  # how many hold anything, once many lost something: few times as many
    plans = [explained(store, TENANT, query) for query in queries if query.type != "Access"]
    assert len(plans) > 10
    assert all("INDEX Membership." in plan[0] for plan in plans)


async def test_users_with_many_grants_are_written_few_at_a_time(world: World) -> None:
    """And a message ends sooner: what holds its tenant's turn is bounded by grants, too."""
    many = [f"costCenterMembership:{number}" for number in range(10)]
    world.portions = Portions(
        users_per_batch=4,
        steps_per_batch=20 * STEPS_PER_GRANT,
        steps_per_message=40 * STEPS_PER_GRANT,
    )
    await staff(world, 12)
    await world.put_mapping("staff", many)
    written: list[int] = []
    messages: list[int] = []

    async def note(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch":
            records = [op for op in asked[1] if isinstance(op, Replace)]
            written.append(sum(op.document["type"] == "Access" for op in records))

    reconciler = world.reconciler(Hooked(world.store, note))
    while world.queue:
        written.clear()
        await reconciler.handle(TENANT, *world.queue.pop(0))
        messages.append(sum(written))
        assert max(written) <= 2
    assert messages == [4, 4, 4]
    await world.settled()


async def test_many_grants_are_computed_apart_from_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of users with hundreds of grants each takes seconds; others would wait for it."""
    apart: list[str] = []
    run = lanes.computations.run

    async def noted(tenant_id: str, job: Callable[[], Any]) -> Any:
        apart.append(tenant_id)
        return await run(tenant_id, job)

    monkeypatch.setattr(lanes.computations, "run", noted)
    await world.put_group("few")
    users = [f"u{number}" for number in range(20)]
    for user in users:
        await world.put_user(user)
    await world.change_members("few", users)
    await world.put_mapping("few", ["role:Owner"])
    await world.drain()
    assert apart == []
    many = [f"costCenterMembership:{number:04}" for number in range(200)]
    await world.put_mapping("few", many)
    proposal = MappingProposal({"few": (EntitlementKey(kind="role", key="Owner"),)})
    await Preview(world.store, TENANT, proposal).page()
    assert apart == [TENANT, TENANT]  # two steps
    await world.drain()
    await world.settled()
    assert apart == [TENANT] * 3


def one_message(world: World) -> EventMessage:
    """All events that wait, in one message."""
    first, *others = [event for event, _ in world.queue]
    world.queue.clear()
    return EventMessage(TENANT, first, others=tuple(others))


def created_by(operations: Sequence[Operation]) -> set[str]:
    """The documents (ids) that these create."""
    return {each.document["id"] for each in operations if isinstance(each, Create)}


def ends_of(operations: Sequence[Operation]) -> list[str]:
    """The documents that are changed or replaced."""
    changed = [one.id for one in operations if isinstance(one, Update)]
    return changed + [one.document["id"] for one in operations if isinstance(one, Replace)]


async def test_one_of_many_events_fails_alone(world: World) -> None:
    """What shares a message is done together once; what is left of it has a message of its own."""
    for number in range(6):
        await world.put_user(f"u{number}")
    message = one_message(world)
    world.sent.clear()
    poison = message.others[2]

    async def fail(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and event_id(poison) in ends_of(asked[1]):
            raise ValueError

    broken = world.reconciler(Hooked(world.store, fail))
    with pytest.raises(ValueError):
        await broken.handle_all(message, delivery=1, last=False)
    undone = [one["eventId"] for one in await world.documents("Event") if one["state"] != "done"]
    assert undone == [poison]
    await broken.handle_all(message, delivery=2, last=False)
    assert world.queue == [(poison, None)]
    await world.drain()
    await world.settled()


async def test_of_events_in_one_message_the_first_is_the_cause(world: World) -> None:
    """As if each were handled alone. An event that does not touch just one user is handled, too."""
    await staff(world, 1)
    await world.put_user("u1")
    await world.drain()
    await world.put_user("u2", active=False)
    await world.change_members("staff", ["u1"])
    await world.put_user("u2", active=True)
    message = one_message(world)
    await world.reconciler().handle_all(message, delivery=1, last=False)
    await world.settled()
    assert (await world.access("u2")).event_id == message.event_id
    assert (await world.held())["u1"] == (True, frozenset({"role:Reader"}))


async def test_an_event_that_is_changed_while_its_message_is_handled_keeps_the_change(
    world: World,
) -> None:
    for number in range(3):
        await world.put_user(f"u{number}")
    message = one_message(world)
    marked = message.others[1]

    async def mark(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and event_id(marked) in ends_of(asked[1]):
            await world.store.batch(TENANT, [Update(event_id(marked), (Assign(("x",), 1),))])

    marking = world.reconciler(Hooked(world.store, mark))
    await marking.handle_all(message, delivery=1, last=False)
    await world.settled()
    assert (await world.event(marked))["x"] == 1


async def test_the_next_page_waits_neither_for_the_topic_nor_for_the_ends_of_events(
    place: str,
) -> None:
    async with tenant(place, Portions(users_per_batch=2)) as world:
        for number in range(4):
            await world.put_user(f"u{number}")
        message = one_message(world)
        first, second = message.event_ids[:2], asyncio.Event()

        async def hold(method: str, asked: tuple[Any, ...]) -> None:
            if method == "batch" and event_id(first[0]) in ends_of(asked[1]):
                await second.wait()

        async def note(method: str, asked: tuple[Any, ...]) -> None:
            if method == "batch" and access_id("u3") in created_by(asked[1]):
                second.set()

        async def publish(committed: Sequence[Committed]) -> None:
            if {change.event_id for one in committed for change in one.changes} & {*first}:
                await second.wait()
            await world.publish(committed)

        reconciler = world.reconciler(Hooked(world.store, hold, note), publish=publish)
        async with asyncio.timeout(10):
            await reconciler.handle_all(message, delivery=1, last=False)
        await world.settled()


@pytest.mark.parametrize("events", [1, 3])
async def test_a_message_waits_until_its_changes_are_published(world: World, events: int) -> None:
    """Or the host might stop meanwhile, and the timer would send them only minutes later."""
    for number in range(events):
        await world.put_user(f"u{number}")

    async def publish(committed: Sequence[Committed]) -> None:
        await asyncio.sleep(0.1)
        await world.publish(committed)

    slow = world.reconciler(publish=publish)
    await slow.handle_all(one_message(world), delivery=1, last=False)
    assert {change.user_id for change in world.told} == {f"u{number}" for number in range(events)}


async def test_a_message_whose_events_are_done_writes_nothing(world: World) -> None:
    for number in range(3):
        await world.put_user(f"u{number}")
    message = one_message(world)
    await world.reconciler().handle_all(message, delivery=1, last=False)
    await world.settled()
    called: list[str] = []

    async def note(method: str, _asked: tuple[Any, ...]) -> None:
        called.append(method)

    idle = world.reconciler(Hooked(world.store, note))
    await idle.handle_all(message, delivery=1, last=False)
    assert called == ["read_many"]


async def test_a_store_that_asks_for_patience_is_left_alone(world: World) -> None:
    """No event of the message is tried alone: it will come again."""
    for number in range(3):
        await world.put_user(f"u{number}")
    message = one_message(world)
    called: list[str] = []

    async def throttle(method: str, _asked: tuple[Any, ...]) -> None:
        called.append(method)
        if method == "batch":
            raise Throttled(1.0)

    busy = world.reconciler(Hooked(world.store, throttle))
    with pytest.raises(Throttled):
        await busy.handle_all(message, delivery=1, last=False)
    assert called.count("batch") == 1
