"""`ServiceBusSender` against a service that fails as Service Bus does, over the real protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.servicebus.aio import ServiceBusClient

from directory.documents import Actor, Event
from directory.sqlite.store import SqliteStore
from directory.store import Create
from queues.port import (
    BODY_BYTES,
    DIRECTORY_EVENTS,
    ID_CHARACTERS,
    Message,
    MessageRefused,
    QueueError,
)
from queues.relay import Relay
from queues.servicebus.sender import ServiceBusNamespace, ServiceBusSender
from tests.contract.queue_contract import Clock, message
from tests.contract.servicebus_queue import namespace_of
from tests.emulators.servicebus import SendFault, ServiceBusStandIn

STANDARD_TIER = 262_144
FAULTS = [fault for fault in SendFault if fault is not SendFault.SILENCE]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(tmp_path: Path, clock: Clock) -> AsyncIterator[ServiceBusStandIn]:
    async with ServiceBusStandIn(
        tmp_path, clock, max_message_size=STANDARD_TIER, max_batch_size=STANDARD_TIER
    ) as service:
        yield service


@pytest.fixture
async def sender(service: ServiceBusStandIn, clock: Clock) -> AsyncIterator[ServiceBusSender]:
    sender = ServiceBusSender(namespace_of(service.connection_string), now=clock)
    yield sender
    await sender.close()


async def until(happened: Callable[[], object]) -> None:
    while not happened():  # noqa: ASYNC110 - the service does not tell
        await asyncio.sleep(0.01)


async def taken(service: ServiceBusStandIn) -> list[str]:
    """The ids of the messages that the service has, in order."""
    return [m.id for m in await service.entities[DIRECTORY_EVENTS].receive(1000)]


def links(service: ServiceBusStandIn) -> int:
    """How many links to the queue there were so far."""
    return service.attached[DIRECTORY_EVENTS]


async def test_sends_many_messages_as_one_batch_on_one_link(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    names = [f"m{number:03}" for number in range(100)]
    await sender.send([message(name) for name in names[:60]])
    await sender.send([message(name) for name in names[60:]])
    assert service.batches == [60, 40]
    assert links(service) == 1
    assert await taken(service) == names


async def test_an_overfull_batch_continues_in_the_next(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    names = [f"m{number:02}" for number in range(60)]
    await sender.send([Message(name, b"x" * 10_000) for name in names])
    assert len(service.batches) == 3
    assert await taken(service) == names


async def test_the_largest_message_fits_the_standard_tier(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    await sender.send([Message("x" * ID_CHARACTERS, b"x" * BODY_BYTES), message("a")])
    assert await taken(service) == ["x" * ID_CHARACTERS, "a"]


async def test_a_message_over_the_limit_of_the_service_is_refused_and_all_with_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with ServiceBusStandIn(
        tmp_path, clock, max_message_size=10_000, max_batch_size=10_000
    ) as service:
        sender = ServiceBusSender(namespace_of(service.connection_string), now=clock)
        with pytest.raises(MessageRefused, match=r"Message big .* 10000 bytes.*directory-events"):
            await sender.send([message("a"), Message("big", b"x" * 10_000)])
        assert await taken(service) == []
        await sender.send([Message("big", b"x" * 9_000), message("a")])
        assert await taken(service) == ["big", "a"]
        assert links(service) == 1
        await sender.close()


async def test_says_what_the_message_is(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    await sender.send([Message("a", b"{}", properties={"tenant": "contoso", "enabled": False})])
    async with (
        ServiceBusClient.from_connection_string(service.connection_string) as client,
        client.get_queue_receiver(DIRECTORY_EVENTS) as receiver,
    ):
        (received,) = await receiver.receive_messages(1, max_wait_time=5)
    assert (received.message_id, received.content_type) == ("a", "application/json")
    assert received.application_properties == {b"tenant": b"contoso", b"enabled": False}


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_while_sending_loses_and_doubles_nothing(
    service: ServiceBusStandIn, sender: ServiceBusSender, fault: SendFault
) -> None:
    await sender.send([message("a")])
    service.faults.append(fault)
    await sender.send([message("b"), message("c")])
    assert not service.faults
    await sender.send([message("d")])
    assert await taken(service) == ["a", "b", "c", "d"]


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_is_a_queue_error_and_the_next_send_recovers(
    service: ServiceBusStandIn, sender: ServiceBusSender, fault: SendFault
) -> None:
    service.faults.extend([fault] * 50)
    with pytest.raises(QueueError, match=r"directory-events on Service Bus: \w+"):
        await sender.send([message("a"), message("b")])
    assert 40 < len(service.faults) < 50  # tried again, and not for ever
    service.faults.clear()
    await sender.send([message("a"), message("b")])
    assert await taken(service) == ["a", "b"]


@pytest.mark.usefixtures("broken")
async def test_an_answer_that_never_comes_is_a_queue_error(
    service: ServiceBusStandIn, clock: Clock
) -> None:
    namespace = namespace_of(service.connection_string, try_seconds=1.0, retries=0)
    sender = ServiceBusSender(namespace, now=clock)
    await sender.send([message("a")])
    service.faults.append(SendFault.SILENCE)
    with pytest.raises(QueueError):
        await sender.send([message("b")])
    await sender.send([message("b")])
    assert await taken(service) == ["a", "b"]
    await sender.close()


@pytest.mark.usefixtures("broken")
async def test_a_cancelled_send_leaves_no_half_used_link_behind(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    await sender.send([message("a")])
    service.faults.append(SendFault.SILENCE)
    sending = asyncio.create_task(sender.send([message("b")]))
    await until(lambda: not service.faults)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await sender.send([message("c")])
    assert await taken(service) == ["a", "c"]
    assert links(service) == 2


async def test_concurrent_sends_wait_for_one_another(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    names = [f"m{number:02}" for number in range(40)]
    await asyncio.gather(*(sender.send([message(name)]) for name in names))
    assert sorted(await taken(service)) == names
    assert service.batches == [1] * len(names)
    assert links(service) == 1


async def test_an_idle_link_is_replaced_before_the_service_detaches_it(
    service: ServiceBusStandIn, sender: ServiceBusSender, clock: Clock
) -> None:
    for name in "abc":
        await sender.send([message(name)])
        clock.advance(300)  # it is not old age that counts
    assert links(service) == 1
    clock.advance(240)
    await sender.send([message("d")])
    assert links(service) == 2
    assert service.idle_detaches == 0
    await sender.close()
    assert not service.senders  # the old one was closed, too
    assert await taken(service) == ["a", "b", "c", "d"]


@pytest.mark.usefixtures("broken")
async def test_a_link_that_the_service_detached_is_opened_again(
    service: ServiceBusStandIn, clock: Clock
) -> None:
    sender = ServiceBusSender(namespace_of(service.connection_string), now=clock, idle_seconds=3600)
    await sender.send([message("a")])
    link = sender._link
    clock.advance(600)
    await until(lambda: service.idle_detaches)
    await sender.send([message("b")])
    assert sender._link is link, "it was replaced before"
    assert await taken(service) == ["a", "b"]
    await sender.close()


@pytest.mark.usefixtures("broken")
async def test_a_broken_connection_is_opened_again(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    await sender.send([message("a")])
    service.drop_connections()
    await sender.send([message("b")])
    assert await taken(service) == ["a", "b"]


@pytest.mark.usefixtures("broken")
async def test_a_refused_token_is_a_queue_error(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    service.refuse_tokens = True
    with pytest.raises(QueueError, match="InvalidSignature"):
        await sender.send([message("a")])
    service.refuse_tokens = False
    await sender.send([message("a")])
    assert await taken(service) == ["a"]


@pytest.mark.usefixtures("broken")
async def test_a_queue_that_is_not_there_is_a_queue_error(service: ServiceBusStandIn) -> None:
    sender = ServiceBusSender(namespace_of(service.connection_string), "missing")
    with pytest.raises(QueueError, match=r"missing.*could not be found"):
        await sender.send([message("a")])
    await sender.close()


@pytest.mark.usefixtures("broken")
async def test_a_service_that_is_not_there_is_a_queue_error(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    nowhere = service.connection_string.replace(str(service.port), "1")
    sender = ServiceBusSender(namespace_of(nowhere))
    with pytest.raises(QueueError, match="directory-events"):
        await sender.send([message("a")])
    await sender.close()


async def test_too_little_to_connect_with_is_a_queue_error() -> None:
    sender = ServiceBusSender(ServiceBusNamespace(host="muster.servicebus.windows.net"))
    with pytest.raises(QueueError, match="a connection string, or a host and a credential"):
        await sender.send([message("a")])
    await sender.close()


async def test_a_closed_sender_opens_again(
    service: ServiceBusStandIn, sender: ServiceBusSender
) -> None:
    await sender.send([message("a")])
    await sender.close()
    assert not service.senders
    await sender.send([message("b")])
    assert await taken(service) == ["a", "b"]


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("fault", [SendFault.BUSY, SendFault.DROP])
async def test_the_timer_sends_what_the_relay_could_not(
    tmp_path: Path,
    service: ServiceBusStandIn,
    sender: ServiceBusSender,
    clock: Clock,
    fault: SendFault,
) -> None:
    store = SqliteStore(tmp_path / "muster.sqlite", now=clock)
    relay = Relay(sender, store, clock, attempts=2, backoff=0.01)
    names = [f"e{number}" for number in range(5)]
    for name in names:
        event = Event(
            tenant_id="t1",
            event_id=name,
            at=datetime.fromtimestamp(clock(), UTC),
            actor=Actor(type="connection", id="c1"),
            request_id="r1",
            operation="create",
            resource_type="User",
            resource_id="u1",
            scope="user",
        )
        await store.batch("t1", [Create(event.to_document())])
    service.faults.extend([fault] * 50)
    for name in names:
        relay.submit("t1", name)
    await relay.drain()
    assert 40 < len(service.faults) < 50
    service.faults.clear()
    clock.advance(61)
    assert await relay.resend_pending(60) == len(names)
    assert sorted(await taken(service)) == names  # each of them once
    await relay.close()
    await store.close()
