"""Azure Service Bus: the contract, and the faults of a network with a service behind it.

`wire` is the stand-in of `tests.emulators`. Environment variables name the others, each by its
connection string: MUSTER_TEST_SERVICEBUS_EMULATOR (the official image) and
MUSTER_TEST_SERVICEBUS_CONNECTION (a namespace). Their queue `directory-events` has a lock of 60 s,
at most 10 deliveries and duplicate detection over 600 s, and nobody else uses it.
"""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from _pytest.mark import ParameterSet

from queues.sqlite.queue import SqliteQueue
from tests.contract.queue_contract import Clock, QueueContract, message, receive_one, send
from tests.contract.servicebus_queue import ReceivingQueue
from tests.emulators.servicebus import ServiceBusStandIn

ELSEWHERE = {
    "emulator": "MUSTER_TEST_SERVICEBUS_EMULATOR",
    "live": "MUSTER_TEST_SERVICEBUS_CONNECTION",
}


class ServicesClock(Clock):
    """The time of a service that is not ours to set."""

    def __call__(self) -> float:
        return time.time()

    def advance(self, seconds: float) -> None:  # noqa: ARG002
        pytest.skip("the clock of this service cannot be advanced")


@dataclass
class Place:
    """Where the contract is run."""

    queue: ReceivingQueue
    connection_string: str
    clock: Clock
    stand_in: ServiceBusStandIn | None


def places() -> Iterator[ParameterSet | str]:
    yield "wire"
    for place, variable in ELSEWHERE.items():
        unset = pytest.mark.skip(reason=f"{variable} is not set")
        yield pytest.param(place, marks=() if variable in os.environ else unset)


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=places())
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """One for all tests: opening and closing links takes a second."""
    if request.param == "wire":
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            async with ServiceBusStandIn(Path(folder), clock) as stand_in:
                queue = ReceivingQueue(stand_in.connection_string, clock)
                yield Place(queue, stand_in.connection_string, clock, stand_in)
                await queue.close()
        return
    connection_string = os.environ[ELSEWHERE[request.param]]
    queue = ReceivingQueue(connection_string)
    yield Place(queue, connection_string, ServicesClock(), None)
    await queue.close()


@pytest_asyncio.fixture(loop_scope="module")
async def queue(place: Place) -> ReceivingQueue:
    if place.stand_in is not None:
        await place.stand_in.clear()
        place.clock.seconds = Clock().seconds
        return place.queue
    place.queue.prefix = f"{uuid4().hex[:12]}:"
    await place.queue.clear()
    return place.queue


@pytest.fixture
def clock(place: Place) -> Clock:
    return place.clock


@pytest.fixture
def opening(place: Place) -> str:
    return (
        "from tests.contract.servicebus_queue import ReceivingQueue; "
        f"queue = ReceivingQueue({place.connection_string!r}, prefix={place.queue.prefix!r})"
    )


@pytest.mark.asyncio(loop_scope="module")
class TestServiceBus(QueueContract):
    async def test_a_dead_letter_says_what_and_why_and_when(
        self, queue: SqliteQueue, clock: Clock
    ) -> None:
        """When it was dead-lettered, Service Bus does not say."""
        await send(queue, "a")
        await queue.abandon(await receive_one(queue))
        await queue.dead_letter(await receive_one(queue), "Malformed", "No event of that id.")
        (dead,) = await queue.list_dead_letters()
        assert (dead.id, dead.body) == ("a", message("a").body)
        assert (dead.reason, dead.description) == ("Malformed", "No event of that id.")
        assert dead.delivery_count == 2
        assert dead.enqueued_at.timestamp() == pytest.approx(clock(), abs=30)
