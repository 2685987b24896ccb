"""What failed is listed with its reason, stands in nobody's way, and is right after a replay."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from administration.replay import Failures, Replay, Replayed
from administration.tenants import AdministrationError
from directory.documents import EntitlementKey, event_id, mapping_id
from directory.reading import every
from directory.store import Assign, Query, Update
from directory.tenants import Policy
from queues.port import DIRECTORY_EVENTS, Message
from queues.relay import message_for, parse
from queues.servicebus import ServiceBusNamespace, ServiceBusSender
from queues.servicebus_queue import ServiceBusQueue
from queues.sqlite import ReceivedMessage
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
    return Replay(application.store, environment.queue, environment.queue, tenant, now=utc_now)


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
    event = parse(message.body)
    last = message.delivery_count >= DELIVERIES
    handle = environment.application.reconciler.handle
    try:
        await handle(event.tenant_id, event.event_id, event.cursor, last_attempt=last)
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
    assert await deliver_all(environment) == DELIVERIES
    assert (await enabled(environment, good), await enabled(environment, bad)) == (True, False)
    replay = replay_of(environment)
    (failed,) = (await replay.failures()).events
    assert (failed.reason, failed.attempts) == ("ValidationError", DELIVERIES)
    assert (failed.operation, failed.resource_id, failed.tenant_id) == ("patch", cursed, TENANT)

    assert await replay.one(failed.event_id) == Replayed(events=1, letters=1)
    assert await replay.failures() == Failures()
    assert await deliver_all(environment) == DELIVERIES  # nothing was mended
    assert [one.event_id for one in (await replay.failures()).events] == [failed.event_id]
    await broken(environment, cursed, [{"kind": "role", "key": "owner"}])
    assert await replay.everything() == Replayed(events=1, letters=1)
    assert await replay.everything() == Replayed()
    assert await deliver_all(environment) == 0
    assert await enabled(environment, bad)
    assert await replay.failures() == Failures()
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
    (first, second) = (await replay_of(environment).failures()).events
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
        failed = Update(event_id(event.event_id), (Assign(("state",), "failed"),))
        await application.store.batch(event.tenant_id, [failed])
        await queue.dead_letter(message, "Test")
    await queue.send([Message("none of ours", b"{}"), message_for(TENANT, "gone")])
    for message in await queue.receive(16):
        await queue.dead_letter(message, "Test")

    mine, all_of_them = replay_of(environment), replay_of(environment, None)
    (failure,) = (await mine.failures()).events
    assert (failure.resource_id, failure.attempts) == (user, 1)
    assert [letter.event for letter in (await mine.failures()).letters] == ["gone"]
    whole = await all_of_them.failures()
    assert [event.tenant_id for event in whole.events] == ["other", "acme"]
    assert sorted(letter.event for letter in whole.letters) == ["gone", "unreadable"]
    assert (await all_of_them.failures(limit=1)).more
    with pytest.raises(AdministrationError):
        await replay_of(environment, "other").one(failure.event_id)
    assert await mine.everything() == Replayed(events=1, letters=2)
    assert [event.tenant_id for event in (await all_of_them.failures()).events] == ["other"]
    assert await all_of_them.everything() == Replayed(events=1, letters=1)
    assert await deliver_all(environment) == 0
    assert [letter.event for letter in (await all_of_them.failures()).letters] == ["unreadable"]


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
            replay = Replay(store, queue, sender, now=utc_now)
            (shown,) = (await replay.failures()).events
            assert (shown.attempts, shown.reason) == (1, "Test")
            assert await replay.everything() == Replayed(events=1, letters=1)
            assert await replay.failures() == Failures()
        (again,) = await entity.receive(10)
        assert again.id.startswith(f"{event['eventId']}:replay:")
        await sender.close()
