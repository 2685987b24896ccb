"""Events about groups inside groups share a walk: each group is walked once for all that wait, and
every one of them is answered by reading that began after it came."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from administration.replay import Replay
from directory.condition import Compare
from directory.documents import event_id
from directory.ledger import Ledger
from directory.store import Assign, Query, Update
from reconciler.expansion import Cursor
from reconciler.overdue import Overdue
from reconciler.worker import Reconciler
from tests.reconciler.world import TENANT, Hooked, World

LATER = datetime(2026, 1, 2, tzinfo=UTC)


async def circle(world: World, size: int) -> None:
    """Groups that contain the next one, the last one the first, each with a user; the first is
    mapped. All of it is still to be reconciled."""
    for n in range(size):
        await world.put_group(f"g{n}")
        await world.put_user(f"u{n}")
        await world.change_members(f"g{n}", [f"u{n}"])
    await world.put_mapping("g0", ["role:Reader"])
    await world.drain()
    for n in range(size):
        await world.change_members(f"g{n}", [f"g{(n + 1) % size}"])


async def put_on_top(world: World) -> None:
    """A mapped group that contains one of the circle; still to be reconciled."""
    await world.put_group("top")
    await world.put_mapping("top", ["role:Owner"])
    await world.change_members("top", ["g7"])


async def go_until_a_walk_is_next(world: World, reconciler: Reconciler) -> None:
    """Handle messages in order until the next one is a piece of a shared walk."""
    while not (cursor := world.queue[0][1]) or not Cursor.model_validate(cursor).leads:
        await reconciler.handle(TENANT, *world.queue.pop(0))


class Walks:
    """Counts how often the members of each group are asked for."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    async def __call__(self, method: str, asked: tuple[Any, ...]) -> None:
        query = asked[1] if method == "query" else None
        if isinstance(query, Query) and query.type == "Membership":
            where = query.where
            if isinstance(where, Compare) and where.path == ("groupId",):
                self.of[str(where.value)] += 1


async def test_a_circle_is_walked_once_for_all_events(world: World) -> None:
    size = 20
    await circle(world, size)
    walks = Walks()
    await world.drain(world.reconciler(Hooked(world.store, walks)))
    await world.settled()
    # The first messages walk a few groups of their own; then there is one walk.
    assert walks.of.total() <= size * (world.portions.groups_per_event + 2)


async def test_who_comes_during_a_walk_waits_for_the_next_one(world: World) -> None:
    await circle(world, 16)
    reconciler = world.reconciler()
    while not any(cursor and Cursor.model_validate(cursor).leads for _, cursor in world.queue):
        await reconciler.handle(TENANT, *world.queue.pop(0))
    await put_on_top(world)
    came = world.queue[-1][0]
    await reconciler.handle(TENANT, *world.queue.pop(-1))
    assert (await world.event(came))["state"] == "pending"
    assert came not in {event for event, _ in world.queue}, "it has no message while it waits"
    await world.drain()
    await world.settled()
    assert (await world.held())["u3"] == (True, frozenset({"role:Owner", "role:Reader"}))


async def test_an_event_that_is_done_while_it_walks_for_others_leaves_nobody_waiting(
    world: World,
) -> None:
    await circle(world, 16)
    reconciler = world.reconciler()
    await go_until_a_walk_is_next(world, reconciler)
    await reconciler.handle(TENANT, world.queue[0][0], {"exhausted": True})
    assert (await world.event(world.queue[0][0]))["state"] == "done"
    await world.drain()
    await world.settled()


async def test_the_timer_alone_walks_for_all(world: World) -> None:
    """The queue is away, and each run is another process that has time for little."""

    async def no_queue(*_: Any) -> None:
        raise AssertionError("nothing may depend on the queue")

    await circle(world, 7)
    world.queue.clear()
    runs = 0
    while {event["state"] for event in await world.documents("Event")} != {"done"}:
        runs += 1
        assert runs < 100
        seconds = iter(range(1000))
        timer = Overdue(
            world.store,
            world.reconciler(submit=no_queue),
            lambda: LATER,
            after_seconds=120.0,
            attempts=10,
            clock=lambda: float(next(seconds)),  # noqa: B023 (used within its run)
        )
        await timer.apply(seconds=3)
    assert runs > 1
    await world.settled()


async def test_what_was_replayed_does_not_wait_for_a_walk_that_knew_it_before(
    world: World,
) -> None:
    """It begins anew, with the users that it names."""
    await circle(world, 12)
    (event, _), *_ = world.queue
    await world.reconciler().handle(TENANT, *world.queue[0])
    assert (await world.event(event))["progress"]["waits"]
    failed = (Assign(("state",), "failed"), Assign(("reason",), "Test"), Assign(("resume",), {}))
    await world.store.batch(TENANT, [Update(event_id(event), failed)])
    sent: list[Any] = []

    class Queue:
        async def send(self, messages: Any) -> None:
            sent.extend(messages)

        async def list_dead_letters(self, *_: Any) -> list[Any]:
            return []

    queue: Any = Queue()
    assert (await Replay(Ledger(world.store, world.now), queue, queue).one(event)).events == 1
    assert not {"progress", "resume", "reason"} & (await world.event(event)).keys()


async def test_what_could_not_be_read_stays_with_its_event(world: World) -> None:
    """The users that an event names are its own work, and so is what could not be read of them."""
    await circle(world, 12)
    await world.put_user("u98")
    await world.put_user("u99")
    await world.drain()
    await world.change_members("g3", ["u98", "u99"])
    await world.change_members("g3", [], ["g4"])
    await world.drain()
    await world.store.batch(TENANT, [Update("user:u98", (Assign(("resource",), 7),))])
    await world.change_members("g3", ["g4"], ["u98", "u99"])
    ((event, _),) = world.queue
    await world.drain()
    failed = await world.event(event)
    assert (failed["state"], "user:u98" in failed["reason"]) == ("failed", True)
    assert (await world.held())["u99"] == (False, frozenset())


async def test_groups_that_do_not_lead_to_each_other_share_a_walk_too(world: World) -> None:
    """Three chains: while one is walked, the other two wait, and then one walks for both."""
    for chain in "abc":
        for n in range(7):
            await world.put_group(f"{chain}{n}")
        for n in range(1, 6):
            await world.change_members(f"{chain}{n}", [f"{chain}{n + 1}"])
        await world.put_user(f"u{chain}")
        await world.change_members(f"{chain}6", [f"u{chain}"])
        await world.put_mapping(f"{chain}0", [f"role:{chain}"])
    await world.drain()
    for chain in "abc":
        await world.change_members(f"{chain}0", [f"{chain}1"])
    walks = [event for event, _ in world.queue]
    reconciler = world.reconciler()
    while not any(cursor and cursor.get("along") for _, cursor in world.queue):
        await reconciler.handle(TENANT, *world.queue.pop(0))
    assert [(e, c["along"]) for e, c in world.queue if c and "along" in c] == [
        (walks[1], [walks[2]])
    ]
    await world.drain()
    await world.settled()


async def test_a_walk_that_is_not_needed_any_more_gives_the_turn_on(world: World) -> None:
    """A first message that comes twice makes its event walk twice. The end of the first walk gives
    somebody the turn who is refused it, because the second one still walks."""
    await circle(world, 16)
    reconciler = world.reconciler()
    first = world.queue[0]
    await go_until_a_walk_is_next(world, reconciler)
    await put_on_top(world)
    await reconciler.handle(TENANT, *world.queue.pop(-1))
    while {"exhausted": True} not in (cursor for _, cursor in world.queue):
        await reconciler.handle(TENANT, *world.queue.pop(0))
    await reconciler.handle(TENANT, *first)
    await world.drain()
    await world.settled()


async def test_an_event_that_ends_alone_after_it_waited_gives_the_turn_on(world: World) -> None:
    """It came twice, and the second time there were fewer groups; another one waits for it."""
    await circle(world, 12)
    await put_on_top(world)
    reconciler = world.reconciler()
    waits, later = world.queue[0], world.queue[-1]
    await reconciler.handle(TENANT, *waits)
    await reconciler.handle(TENANT, *later)
    assert (await world.event(later[0]))["progress"]["waits"]
    await world.change_members("g1", [], ["g2"])
    world.queue = [waits, world.queue[-1]]
    await world.drain()
    assert {(await world.event(one[0]))["state"] for one in (waits, later)} == {"done"}
