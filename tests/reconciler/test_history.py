"""What access was at any moment is what the record was then."""

from datetime import datetime, timedelta

from directory.access import AccessChange, AccessState, access_change_id
from directory.store import Assign, Delete, Update, Upsert
from reconciler.access import state_of
from reconciler.questions.history import AccessHistory, access_at, timeline
from tests.reconciler.world import TENANT, World

USERS = ("u0", "u1", "u2")

type Snapshot = tuple[datetime, dict[str, AccessState]]


async def play(world: World) -> list[Snapshot]:
    """Days in a tenant, each with the records at its end."""
    days = [await snapshot(world)]
    steps = [
        world.put_group("g0"),
        world.put_user("u0"),
        world.put_mapping("g0", ["role:Reader"]),
        world.change_members("g0", ["u0"]),
        world.put_user("u1", source="manual"),
        world.give("u1", ["role:Owner"]),
        world.put_mapping("g0", ["role:Owner"]),
        world.put_user("u0", active=False),
        world.put_user("u2"),
        world.put_user("u0"),
        world.delete_user("u1"),
    ]
    for step in steps:
        await step
        await world.drain()
        days.append(await snapshot(world))
    return days


async def snapshot(world: World) -> Snapshot:
    held = await world.held()
    states = {user: state_of(await world.access(user)) for user in USERS if user in held}
    return world.now.moment, states


async def test_access_at_any_moment_is_the_record_of_then(world: World) -> None:
    days = await play(world)
    oldest = days[0][0]
    for moment, states in days:
        for user in USERS:
            past = await access_at(world.store, TENANT, user, moment, oldest)
            assert (past.known, past.state) == (True, states.get(user)), (moment, user)
            assert past.until is None or past.until > moment
            if past.state is not None:
                assert past.since is not None
                assert past.since <= moment
                assert past.cause is not None
                assert not past.cause.expired


async def test_the_very_moment_of_a_change_is_after_it(world: World) -> None:
    """To the microsecond, with several changes in one millisecond."""
    days = await play(world)
    first, *_ = (await timeline(world.store, TENANT, "u0", limit=100)).changes
    moment = first.change.at
    micro = timedelta(microseconds=1)
    states = [first.change.before, AccessState(enabled=True), first.change.after]
    for version, at, before, after in (
        (90, moment + micro, states[0], states[1]),
        (91, moment + 2 * micro, states[1], states[2]),
    ):
        change = first.change.model_copy(
            update={
                "change_id": f"{first.change.change_id[:10]}{'zy'[version % 90] * 16}",
                "version": version,
                "at": at,
                "before": before,
                "after": after,
            }
        )
        await world.store.batch(TENANT, [Upsert(change.to_document())])
    record = f"access:{first.change.user_id}"
    moved = Assign(("changedAt",), (moment + 2 * micro).isoformat())
    await world.store.batch(
        TENANT, [Update(record, (moved,)), Delete(access_change_id(first.change.change_id))]
    )
    oldest = days[0][0]
    for steps, state in enumerate(states):
        past = await access_at(world.store, TENANT, "u0", moment + steps * micro, oldest)
        assert past.state == state, steps
        if steps == 1:
            assert (past.since, past.until) == (moment + micro, moment + 2 * micro)


async def test_what_is_no_longer_kept_is_not_known(world: World) -> None:
    days = await play(world)
    moment, _ = days[4]
    later = days[6][0]
    assert not (await access_at(world.store, TENANT, "u0", moment, oldest=later)).known
    unchanged_since = await access_at(world.store, TENANT, "u2", days[-1][0], oldest=later)
    assert unchanged_since.known
    for document in await world.documents("AccessChange"):
        await world.store.batch(TENANT, [Delete(document["id"])])
    assert not (await access_at(world.store, TENANT, "u0", moment, oldest=moment)).known
    forever = days[-1][0] + timedelta(days=4000)
    held = await access_at(world.store, TENANT, "u0", forever, oldest=forever)
    assert held.state == state_of(await world.access("u0"))


async def test_the_timeline_is_every_change_newest_first(world: World) -> None:
    await play(world)
    found: list[AccessHistory] = []
    continuation = None
    while True:
        page = await timeline(world.store, TENANT, "u0", continuation, limit=2)
        found += page.changes
        continuation = page.continuation
        if continuation is None:
            break
    stored = [AccessChange.from_document(d) for d in await world.documents("AccessChange")]
    of_user = [change for change in stored if change.user_id == "u0"]
    of_user.sort(key=lambda change: change.version, reverse=True)
    assert [one.change for one in found] == of_user
    told = [
        (
            [one.key for one in each.gained],
            [one.key for one in each.lost],
            each.cause.event and each.cause.event.operation,
        )
        for each in found
    ]
    assert told == [
        (["Owner"], [], "patch"),
        ([], ["Owner"], "patch"),
        (["Owner"], ["Reader"], "mapping"),
        (["Reader"], [], "patch"),
        ([], [], "patch"),
    ]
