"""The stand-in for Service Bus, seen by the unmodified SDK: what the contract of the queue does
not need, but other users of the stand-in may."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.servicebus import (
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusReceiver,
    ServiceBusSender,
    ServiceBusSubQueue,
)
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
)

from queues.port import DIRECTORY_EVENTS
from tests.contract.counting import Counts, counted
from tests.contract.queue_contract import Clock
from tests.emulators.servicebus import ServiceBusStandIn


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(tmp_path: Path, clock: Clock) -> AsyncIterator[ServiceBusStandIn]:
    async with ServiceBusStandIn(tmp_path, clock) as service:
        yield service


Work = Callable[[ServiceBusSender, ServiceBusReceiver], None]
Run = Callable[[Work], Awaitable[None]]


@pytest.fixture
async def with_sdk(service: ServiceBusStandIn) -> Run:
    """Runs a function with a sender and a receiver of the synchronous SDK, in a thread."""

    def run(work: Work) -> None:
        with (
            ServiceBusClient.from_connection_string(
                service.connection_string, retry_total=0
            ) as client,
            client.get_queue_sender(DIRECTORY_EVENTS) as sender,
            client.get_queue_receiver(DIRECTORY_EVENTS) as receiver,
        ):
            work(sender, receiver)

    return lambda work: asyncio.to_thread(run, work)


async def test_messages_keep_what_the_application_wrote(with_sdk: Run) -> None:
    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        sender.send_messages(
            ServiceBusMessage(
                b"\x00" * 70_000,  # more than a frame
                message_id="a",
                subject="S",
                correlation_id="C",
                application_properties={"n": 1, "s": "é"},
            )
        )
        (received,) = receiver.receive_messages(1, max_wait_time=5)
        assert b"".join(received.body) == b"\x00" * 70_000
        assert (received.message_id, received.subject) == ("a", "S")
        assert received.correlation_id == "C"
        assert received.application_properties == {b"n": 1, b"s": "é".encode()}

    await with_sdk(work)


async def test_defers_and_finds_again(
    service: ServiceBusStandIn, with_sdk: Run, clock: Clock
) -> None:
    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        sender.send_messages([ServiceBusMessage(b"", message_id=name) for name in "ab"])
        first, second = receiver.receive_messages(2, max_wait_time=5)
        receiver.defer_message(first)
        receiver.complete_message(second)
        clock.advance(3600)
        assert receiver.receive_messages(1, max_wait_time=1) == []
        (deferred,) = receiver.receive_deferred_messages(first.sequence_number or 0)
        assert (deferred.message_id, deferred.delivery_count) == ("a", 1)
        receiver.complete_message(deferred)
        with pytest.raises(MessageNotFoundError):
            receiver.receive_deferred_messages(first.sequence_number or 0)

    await with_sdk(work)
    assert await counted(service.entities[DIRECTORY_EVENTS]) == Counts(0, 0, 0)


async def test_schedules_and_cancels(
    service: ServiceBusStandIn, with_sdk: Run, clock: Clock
) -> None:
    later = datetime.fromtimestamp(clock(), UTC) + timedelta(seconds=30)

    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        messages = [ServiceBusMessage(b"", message_id=name) for name in "ab"]
        numbers = sender.schedule_messages(messages, later)
        sender.cancel_scheduled_messages(numbers[0])
        with pytest.raises(MessageNotFoundError):
            sender.cancel_scheduled_messages(numbers[0])
        assert receiver.receive_messages(1, max_wait_time=0.5) == []
        clock.advance(31)
        (received,) = receiver.receive_messages(1, max_wait_time=5)
        assert (received.message_id, received.sequence_number) == ("b", numbers[1])
        receiver.complete_message(received)

    await with_sdk(work)
    assert await counted(service.entities[DIRECTORY_EVENTS]) == Counts(0, 0, 0)


async def test_receives_and_deletes(service: ServiceBusStandIn) -> None:
    def work() -> None:
        with (
            ServiceBusClient.from_connection_string(service.connection_string) as client,
            client.get_queue_sender(DIRECTORY_EVENTS) as sender,
            client.get_queue_receiver(
                DIRECTORY_EVENTS, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE
            ) as receiver,
        ):
            sender.send_messages([ServiceBusMessage(b"", message_id=name) for name in "abc"])
            assert len(receiver.receive_messages(2, max_wait_time=5)) == 2

    await asyncio.to_thread(work)
    assert await counted(service.entities[DIRECTORY_EVENTS]) == Counts(1, 0, 0)


async def test_a_closed_receiver_gives_back_what_it_did_not_hand_out(
    service: ServiceBusStandIn,
) -> None:
    def work() -> None:
        with (
            ServiceBusClient.from_connection_string(service.connection_string) as client,
            client.get_queue_sender(DIRECTORY_EVENTS) as sender,
            client.get_queue_receiver(DIRECTORY_EVENTS, prefetch_count=10) as receiver,
        ):
            sender.send_messages([ServiceBusMessage(b"", message_id=name) for name in "abc"])
            assert len(receiver.receive_messages(1, max_wait_time=5)) == 1

    await asyncio.to_thread(work)
    again = await service.entities[DIRECTORY_EVENTS].receive(10)
    assert [(message.id, message.delivery_count) for message in again] == [("b", 1), ("c", 1)]


async def test_what_was_deferred_is_settled_through_management(
    service: ServiceBusStandIn, with_sdk: Run
) -> None:
    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        names = ["complete", "abandon", "dead letter"]
        sender.send_messages([ServiceBusMessage(b"", message_id=name) for name in names])
        messages = receiver.receive_messages(3, max_wait_time=5)
        for message in messages:
            receiver.defer_message(message)
        numbers = [message.sequence_number or 0 for message in messages]
        messages = receiver.receive_deferred_messages(numbers)
        receiver.complete_message(messages[0])
        receiver.abandon_message(messages[1])
        receiver.dead_letter_message(messages[2], reason="R", error_description="D")

    await with_sdk(work)
    assert await counted(service.entities[DIRECTORY_EVENTS]) == Counts(1, 0, 1)
    (dead,) = await service.entities[DIRECTORY_EVENTS].list_dead_letters()
    assert (dead.id, dead.reason, dead.description) == ("dead letter", "R", "D")


async def test_a_lock_that_expired_on_the_services_clock_is_lost(
    with_sdk: Run, clock: Clock
) -> None:
    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        sender.send_messages(ServiceBusMessage(b"", message_id="a"))
        (received,) = receiver.receive_messages(1, max_wait_time=5)
        clock.advance(60)
        with pytest.raises(MessageLockLostError):
            receiver.renew_message_lock(received)
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(received)

    await with_sdk(work)


async def test_a_message_over_the_limit_is_rejected(with_sdk: Run) -> None:
    def work(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        with pytest.raises(MessageSizeExceededError):
            sender.send_messages(ServiceBusMessage(b"x" * 1024 * 1024))

    await with_sdk(work)


async def test_the_dead_letter_queue_keeps_what_is_abandoned(service: ServiceBusStandIn) -> None:
    entity = service.entities[DIRECTORY_EVENTS]

    def work() -> None:
        with (
            ServiceBusClient.from_connection_string(service.connection_string) as client,
            client.get_queue_sender(DIRECTORY_EVENTS) as sender,
            client.get_queue_receiver(DIRECTORY_EVENTS) as receiver,
            client.get_queue_receiver(
                DIRECTORY_EVENTS, sub_queue=ServiceBusSubQueue.DEAD_LETTER
            ) as dead_letters,
        ):
            sender.send_messages(ServiceBusMessage(b"", message_id="a"))
            (received,) = receiver.receive_messages(1, max_wait_time=5)
            receiver.dead_letter_message(received, reason="R", error_description="D")
            for _ in range(12):
                (dead,) = dead_letters.receive_messages(1, max_wait_time=5)
                dead_letters.abandon_message(dead)
            assert (dead.dead_letter_reason, dead.dead_letter_error_description) == ("R", "D")
            assert dead.dead_letter_source == DIRECTORY_EVENTS
            dead_letters.complete_message(dead_letters.receive_messages(1, max_wait_time=5)[0])

    await asyncio.to_thread(work)
    assert await counted(entity) == Counts(0, 0, 0)
