"""What failed is listed with its reason, stands in nobody's way, and is right after a replay."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from administration.errors import AdministrationError
from administration.failures import Failures
from administration.replay import NoSuchLetter, Replay, Replayed
from directory.condition import Compare
from directory.documents import EntitlementKey, Event, event_id, mapping_id
from directory.ledger import Ledger
from directory.reading import every
from directory.store import Assign, Query, Update
from directory.tenants import Policy
from queues.port import DIRECTORY_EVENTS, Message
from queues.relay import message_for, parse
from queues.servicebus.queue import ServiceBusQueue
from queues.servicebus.sender import ServiceBusNamespace, ServiceBusSender
from queues.sqlite.queue import ReceivedMessage
from tests.administration.operating import Operator
from tests.contract.queue_contract import Clock
from tests.emulators.servicebus import ServiceBusStandIn
from tests.environment import TENANT, Environment, add_tenant, client_of, running
from tests.scim.messages import add, create_group, create_users
from wiring import utc_now

OWNER = EntitlementKey(kind="role", key="owner")
DELIVERIES = 3


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    async with running(tmp_path, max_delivery_count=DELIVERIES) as environment:
        yield environment


def replay_of(environment: Environment, tenant: str | None = TENANT) -> Replay:
    application = environment.application
    return Replay(application.service.ledger, environment.queue, environment.queue, tenant)


async def deliver_all(environment: Environment) -> int:
    """Deliver as the host does, many at a time, until nothing comes any more; how often it was in
    vain."""
    application, queue = environment.application, environment.queue
    in_vain = 0
    while True:
        await application.relay.drain()
        received = await queue.receive(16)
        if not received:
            return in_vain
        handled = await asyncio.gather(*(deliver(environment, message) for message in received))
        in_vain += handled.count(False)


async def deliver(environment: Environment, message: ReceivedMessage) -> bool:
    """Whether the message was handled."""
    delivery = message.delivery_count
    handle = environment.application.reconciler.handle_all
    try:
        await handle(parse(message.body), delivery=delivery, last=delivery >= DELIVERIES)
    except ValueError:
        await environment.queue.abandon(message)
        return False
    await environment.queue.complete(message)
    return True


async def enabled(environment: Environment, user: str) -> bool:
    return bool((await environment.access.get(f"/users/{user}")).json()["enabled"])


async def poison(environment: Environment, group: str) -> None:
    """Whatever computes the access of this group's members fails."""
    await broken(environment, group, [{"kind": "role"}])


async def broken(environment: Environment, group: str, entitlements: list[Any]) -> None:
    change = Assign(("entitlements",), entitlements)
    store = environment.application.store
    await store.batch(TENANT, [Update(mapping_id(group), (change,))])


async def test_poison_blocks_nobody_and_is_right_after_a_replay(environment: Environment) -> None:
    scim = environment.client
    bad, good = await create_users(scim, 2)
    cursed, fine = await create_group(scim, "Cursed"), await create_group(scim, "Fine")
    for group in (cursed, fine):
        await environment.mappings.save(group, (OWNER,))
    assert await deliver_all(environment) == 0
    await poison(environment, cursed)
    await scim.patch(f"/Groups/{cursed}", json=add([bad]))
    await scim.patch(f"/Groups/{fine}", json=add([good]))
    assert await deliver_all(environment) == 0
    assert (await enabled(environment, good), await enabled(environment, bad)) == (True, False)
    replay = replay_of(environment)
    (failed,) = (await replay.failed.listed()).events
    assert mapping_id(cursed) in failed.reason
    assert (failed.operation, failed.resource_id, failed.tenant_id) == ("patch", cursed, TENANT)

    assert await replay.one(failed.event_id) == Replayed(events=1)
    assert await replay.failed.listed() == Failures()
    assert await deliver_all(environment) == 0  # nothing was mended
    assert [one.event_id for one in (await replay.failed.listed()).events] == [failed.event_id]
    await broken(environment, cursed, [{"kind": "role", "key": "owner"}])
    assert await replay.everything() == Replayed(events=1)
    assert await replay.everything() == Replayed()
    assert await deliver_all(environment) == 0
    assert await enabled(environment, bad)
    assert await replay.failed.listed() == Failures()
    with pytest.raises(AdministrationError, match="has failed"):
        await replay.one(failed.event_id)
    store = environment.application.store
    events = [item.document async for item in every(store, TENANT, Query("Event"))]
    assert {event["state"] for event in events} == {"done"}
    assert not [event for event in events if "reason" in event]


async def test_an_event_whose_dead_letter_is_lost_is_sent_anew(environment: Environment) -> None:
    """Its own message id is still known to duplicate detection."""
    (user,) = await create_users(environment.client, 1)
    group = await create_group(environment.client, "Sales", [user])
    await environment.application.relay.drain()
    for message in await environment.queue.receive(16):
        await environment.queue.complete(message)
    store = environment.application.store
    events = [item.document async for item in every(store, TENANT, Query("Event"))]
    lost = [Update(one["id"], (Assign(("state",), "failed"),)) for one in events]
    await store.batch(TENANT, lost)
    (first, second) = (await replay_of(environment).failed.listed()).events
    assert {first.resource_id, second.resource_id} == {user, group}
    assert (first.attempts, first.reason) == (0, "")
    assert await replay_of(environment).one(first.event_id) == Replayed(events=1)
    assert await replay_of(environment).everything() == Replayed(events=1)
    assert await deliver_all(environment) == 0
    assert await enabled(environment, user)


async def test_one_tenant_s_failures_are_its_own(environment: Environment) -> None:
    application, queue = environment.application, environment.queue
    token, _ = await add_tenant(application.store, "other", Policy())
    async with client_of(application.scim, "/scim", token) as other:
        await create_users(other, 1)
    (user,) = await create_users(environment.client, 1)
    await application.relay.drain()
    for message in await queue.receive(16):
        event = parse(message.body)
        failed = [Update(event_id(id), (Assign(("state",), "failed"),)) for id in event.event_ids]
        await application.store.batch(event.tenant_id, failed)
        await queue.dead_letter(message, "Test")
    await environment.bury(Message("none of ours", b"{}"), message_for(TENANT, "gone"))

    mine, all_of_them = replay_of(environment), replay_of(environment, None)
    (failure,) = (await mine.failed.listed()).events
    assert (failure.resource_id, failure.attempts) == (user, 1)
    assert [letter.event for letter in (await mine.failed.listed()).letters] == ["gone"]
    whole = await all_of_them.failed.listed()
    assert [event.tenant_id for event in whole.events] == ["other", "acme"]
    assert sorted(letter.event for letter in whole.letters) == ["gone", "unreadable"]
    assert (await all_of_them.failed.listed(limit=1)).more
    with pytest.raises(AdministrationError):
        await replay_of(environment, "other").one(failure.event_id)
    assert await mine.everything() == Replayed(events=1, letters=2)
    assert [event.tenant_id for event in (await all_of_them.failed.listed()).events] == ["other"]
    assert await all_of_them.everything() == Replayed(events=1, letters=1)
    assert await deliver_all(environment) == 0
    assert [letter.event for letter in (await all_of_them.failed.listed()).letters] == [
        "unreadable"
    ]


@dataclass
class Buried:
    """Dead letters of acme's events, each by its message id, and one that is none of Muster's."""

    failed: str
    pending: str
    done: str
    gone: str = "gone"
    unreadable: str = "none of ours"

    async def left(self, environment: Environment) -> set[str]:
        """Those that are still there."""
        return {letter.id for letter in await environment.queue.list_dead_letters()}


@pytest.fixture
async def buried(environment: Environment) -> Buried:
    application = environment.application
    for _ in range(3):
        await create_users(environment.client, 1)
        await application.relay.drain()
    await environment.bury(Message("none of ours", b"{}"), message_for(TENANT, "gone"))
    letters = await environment.queue.list_dead_letters()
    buried = Buried(*(letter.id for letter in letters[:3]))
    states = [(buried.failed, "failed"), (buried.done, "done")]
    updates = [Update(event_id(id), (Assign(("state",), state),)) for id, state in states]
    await application.store.batch(TENANT, updates)
    return buried


async def discards(environment: Environment) -> list[Event]:
    """The log's entries of what was discarded."""
    where = Compare(("operation",), "eq", "discard")
    page = await environment.application.store.query(TENANT, Query("Event", where))
    return [Event.from_document(stored.document) for stored in page.items]


async def test_what_nothing_waits_for_is_discarded(
    environment: Environment, buried: Buried
) -> None:
    mine = replay_of(environment)
    discarded = await mine.discard([buried.done, buried.gone])
    assert {(one.message_id, one.event) for one in discarded.letters} == {
        (buried.done, "done"),
        (buried.gone, "gone"),
    }
    assert await buried.left(environment) == {buried.failed, buried.pending, buried.unreadable}
    (entry,) = await discards(environment)
    assert (entry.state, entry.scope, entry.resource_id) == ("done", "none", TENANT)
    assert set(entry.attributes) == {f"event {buried.done}", f"event {buried.gone}"}
    with pytest.raises(NoSuchLetter, match=buried.done):
        await mine.discard([buried.done])
    assert len(await discards(environment)) == 1


@pytest.mark.parametrize(
    ("kept", "says"), [("failed", "Replay the event"), ("pending", "sent again by itself")]
)
async def test_an_unprocessed_event_loses_nothing(
    environment: Environment, buried: Buried, kept: str, says: str
) -> None:
    """Not even what was asked for beside it."""
    before = await buried.left(environment)
    with pytest.raises(AdministrationError, match=says):
        await replay_of(environment, None).discard([buried.done, getattr(buried, kept)])
    assert await buried.left(environment) == before
    assert await discards(environment) == []


async def test_a_tenant_discards_what_is_its_own(environment: Environment, buried: Buried) -> None:
    other = replay_of(environment, "other")
    for id in (buried.done, buried.unreadable):
        with pytest.raises(NoSuchLetter):
            await other.discard([id])
    with pytest.raises(NoSuchLetter):
        await replay_of(environment).discard([buried.unreadable])
    await environment.bury(message_for("nobody", "stray"))
    everybody = replay_of(environment, None)
    discarded = await everybody.discard([buried.unreadable, "stray"])
    assert {(one.event, one.tenant_id) for one in discarded.letters} == {
        ("unreadable", None),
        ("gone", "nobody"),
    }
    assert await discards(environment) == []
    nobody = await environment.application.store.query("nobody", Query("Event"))
    assert nobody.items == (), "a tenant that does not exist has no log"


async def test_what_somebody_else_takes_meanwhile_is_told(
    environment: Environment, buried: Buried, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = environment.queue
    discard = queue.discard

    async def meanwhile(numbers: Collection[int]) -> list[int]:
        await queue.resubmit([buried.gone])
        return await discard(numbers)

    monkeypatch.setattr(queue, "discard", meanwhile)
    with pytest.raises(AdministrationError, match="1 of 2"):
        await replay_of(environment).discard([buried.done, buried.gone])
    assert buried.done not in await buried.left(environment)


async def test_at_the_command_line(
    environment: Environment, buried: Buried, tmp_path: Path
) -> None:
    operator = Operator(tmp_path)

    async def types(*arguments: str) -> str:
        return str(await asyncio.to_thread(operator.reads, "replay", *arguments))

    assert buried.unreadable in await types("--list")
    asked = ("--discard", buried.unreadable, "--discard", buried.done)
    said = await types(*asked)
    assert "Discarded" in said
    assert buried.done in said
    assert await buried.left(environment) == {buried.failed, buried.pending, buried.gone}
    refused = await asyncio.to_thread(operator.fails, "replay", "--discard", buried.failed)
    assert f"manage.py replay {buried.failed}" in refused
    narrowed = ("--tenant", TENANT, "--discard", buried.gone)
    (gone,) = (await asyncio.to_thread(operator.does, "replay", *narrowed))["letters"]
    assert (gone["messageId"], gone["event"]) == (buried.gone, "gone")


async def test_on_service_bus(environment: Environment, tmp_path: Path) -> None:
    await create_users(environment.client, 1)
    store = environment.application.store
    (event,) = [item.document async for item in every(store, TENANT, Query("Event"))]
    async with ServiceBusStandIn(tmp_path, Clock()) as service:
        namespace = ServiceBusNamespace(service.connection_string)
        sender = ServiceBusSender(namespace, DIRECTORY_EVENTS)
        entity = service.entities[DIRECTORY_EVENTS]
        await sender.send([message_for(TENANT, event["eventId"])])
        for received in await entity.receive(1):
            await entity.dead_letter(received, "Test")
        failed = Update(event["id"], (Assign(("state",), "failed"), Assign(("reason",), "Test")))
        await store.batch(TENANT, [failed])
        async with ServiceBusQueue(namespace) as queue:
            replay = Replay(Ledger(store, utc_now), queue, sender)
            (shown,) = (await replay.failed.listed()).events
            assert (shown.attempts, shown.reason) == (1, "Test")
            assert await replay.everything() == Replayed(events=1, letters=1)
            assert await replay.failed.listed() == Failures()
            await sender.send([message_for(TENANT, "gone")])
            again, gone = await entity.receive(10)
            await entity.dead_letter(gone, "Test")
            (letter,) = (await replay.discard([gone.id])).letters
            assert (letter.message_id, letter.event) == (gone.id, "gone")
            assert await queue.list_dead_letters() == []
        assert again.id.startswith(f"{event['eventId']}:replay:")
        await sender.close()
