"""What an operator does with the dead letters of a Service Bus queue."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from directory.ulids import made_at
from queues.port import DIRECTORY_EVENTS, Message, QueueError
from queues.servicebus.queue import PAGE_MESSAGES, ServiceBusQueue
from queues.servicebus.sender import ServiceBusSender
from tests.contract.counting import Counts, ServiceBusCounter
from tests.contract.queue_contract import Clock, message
from tests.contract.servicebus_queue import RECEIVE_SECONDS, namespace_of
from tests.emulators.servicebus import SendFault, ServiceBusStandIn
from tests.emulators.servicebus_entity import Entity
from tests.emulators.servicebus_message import DATA, sections


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(tmp_path: Path, clock: Clock) -> AsyncIterator[ServiceBusStandIn]:
    async with ServiceBusStandIn(tmp_path, clock) as service:
        yield service


@pytest.fixture
def entity(service: ServiceBusStandIn) -> Entity:
    return service.entities[DIRECTORY_EVENTS]


@pytest.fixture
async def queue(service: ServiceBusStandIn, clock: Clock) -> AsyncIterator[ServiceBusQueue]:
    namespace = namespace_of(service.connection_string)
    async with ServiceBusQueue(namespace, now=clock, receive_seconds=RECEIVE_SECONDS) as queue:
        yield queue


@pytest.fixture
async def counter(service: ServiceBusStandIn) -> AsyncIterator[ServiceBusCounter]:
    async with ServiceBusClient.from_connection_string(service.connection_string) as client:
        yield ServiceBusCounter(client)


async def bury(service: ServiceBusStandIn, clock: Clock, names: list[str]) -> None:
    """Have messages with these ids sent, received and dead-lettered."""
    sender = ServiceBusSender(namespace_of(service.connection_string), now=clock)
    await sender.send([message(name) for name in names])
    await sender.close()
    entity = service.entities[DIRECTORY_EVENTS]
    for received in await entity.receive(len(names)):
        await entity.dead_letter(received, "Test")


async def sent_again(entity: Entity) -> dict[str, bytes]:
    """Id and body of each message in the queue."""
    return {
        received.id: value
        for received in await entity.receive(1000)
        for kind, value, _ in sections(received.body)
        if kind == DATA
    }


async def test_a_replay_has_an_id_of_its_own(
    service: ServiceBusStandIn,
    clock: Clock,
    queue: ServiceBusQueue,
    entity: Entity,
    counter: ServiceBusCounter,
) -> None:
    await bury(service, clock, ["a"])
    assert await queue.resubmit(["a"]) == 1
    ((id, body),) = (await sent_again(entity)).items()
    name, _, ulid = id.partition(":replay:")
    assert (name, body) == ("a", message("a").body)
    assert made_at(ulid)
    assert await counter.counts() == Counts(1, 0, 0)


async def test_a_replay_of_a_replay_has_no_longer_id(
    service: ServiceBusStandIn, clock: Clock, queue: ServiceBusQueue, entity: Entity
) -> None:
    longest = "x" * 128
    await bury(service, clock, ["a", longest])
    seen = set[str]()
    for _ in range(3):
        assert await queue.resubmit() == 2
        received = await entity.receive(10)
        seen |= {one.id for one in received}
        assert [one.id.count(":replay:") for one in received] == [1, 1]
        assert [len(one.id) for one in received] == [35, 128]
        for one in received:
            await entity.dead_letter(one, "Test")
    assert len(seen) == 6


async def test_resubmits_more_than_a_page_and_leaves_the_others(
    service: ServiceBusStandIn,
    clock: Clock,
    queue: ServiceBusQueue,
    entity: Entity,
    counter: ServiceBusCounter,
) -> None:
    names = [f"m{number:03}" for number in range(PAGE_MESSAGES + 35)]
    await bury(service, clock, names)
    assert await counter.counts() == Counts(0, 0, len(names))
    chosen = names[1::2]
    assert await queue.resubmit(chosen) == len(chosen)
    assert [dead.id for dead in await queue.list_dead_letters(len(names))] == names[::2]
    bodies = list((await sent_again(entity)).values())
    assert bodies == [message(name).body for name in chosen]
    assert await queue.resubmit() == len(names) - len(chosen)  # none was left locked


async def test_what_cannot_be_sent_stays_a_dead_letter(
    service: ServiceBusStandIn,
    clock: Clock,
    queue: ServiceBusQueue,
    entity: Entity,
    counter: ServiceBusCounter,
) -> None:
    await bury(service, clock, ["a", "b", "c"])
    service.faults.extend([SendFault.BUSY] * 50)
    with pytest.raises(QueueError, match="directory-events"):
        await queue.resubmit(["b", "c"])
    service.faults.clear()
    assert await counter.counts() == Counts(0, 0, 3)
    assert await queue.resubmit() == 3
    assert await counter.counts() == Counts(3, 0, 0)


async def test_what_somebody_else_has_locked_is_left_to_the_next_call(
    service: ServiceBusStandIn,
    clock: Clock,
    queue: ServiceBusQueue,
) -> None:
    await bury(service, clock, ["a", "b"])
    async with (
        ServiceBusClient.from_connection_string(service.connection_string) as client,
        client.get_queue_receiver(
            DIRECTORY_EVENTS, sub_queue=ServiceBusSubQueue.DEAD_LETTER
        ) as other,
    ):
        (locked,) = await other.receive_messages(1, max_wait_time=5)
        assert locked.message_id == "a"
        assert await queue.resubmit() == 1
        await other.abandon_message(locked)
    assert [dead.id for dead in await queue.list_dead_letters()] == ["a"]
    assert await queue.resubmit() == 1


async def test_looking_at_a_queue_that_is_not_there_is_a_queue_error(
    service: ServiceBusStandIn,
) -> None:
    namespace = namespace_of(service.connection_string)
    async with ServiceBusQueue(namespace, "missing") as queue:
        with pytest.raises(QueueError, match="missing"):
            await queue.list_dead_letters()


async def test_counts_every_message_where_it_is(
    service: ServiceBusStandIn, clock: Clock, entity: Entity, counter: ServiceBusCounter
) -> None:
    await bury(service, clock, ["a", "b", "c"])
    await entity.send([Message(name, b"", delay) for name, delay in (("d", 0), ("e", 9))])
    await entity.receive(1)
    assert await counter.counts() == Counts(active=1, scheduled=1, dead_lettered=3)
