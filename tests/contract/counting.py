"""How many messages a queue has, for tests that say what must be left in it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from azure.servicebus import (
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from queues.port import DIRECTORY_EVENTS
from queues.sqlite.queue import SqliteQueue

PAGE_MESSAGES = 250
"""How many messages are browsed at a time."""

_COUNTS = """
SELECT
    (SELECT count(*) FROM queue_message WHERE queue = :queue AND enqueued_at <= :now),
    (SELECT count(*) FROM queue_message WHERE queue = :queue AND enqueued_at > :now),
    (SELECT count(*) FROM queue_dead_letter WHERE queue = :queue)
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages there are. Locked and deferred ones are active, as Azure counts them."""

    active: int
    scheduled: int
    dead_lettered: int


class Countable(Protocol):
    """A queue that is not in a file of this machine."""

    async def counts(self) -> Counts:
        """How many messages there are now."""
        ...


async def counted(queue: SqliteQueue | Countable) -> Counts:
    """How many messages there are now in a queue of any kind."""
    if not isinstance(queue, SqliteQueue):
        return await queue.counts()
    # Makes the tables that are not there yet, and dead letters of messages whose last delivery
    # ended because the lock expired: the queue does both when it is first asked for something.
    await queue.list_dead_letters(1)
    with closing(sqlite3.connect(f"{queue._file._path.as_uri()}?mode=ro", uri=True)) as db:
        return Counts(*db.execute(_COUNTS, {"queue": queue._name, "now": queue._now()}).fetchone())


class ServiceBusCounter:
    """Counts the messages of a queue on Service Bus by browsing all of them. Its links are opened
    by the first count, which takes a second, and closed with the client."""

    def __init__(self, client: ServiceBusClient, queue: str = DIRECTORY_EVENTS) -> None:
        self._messages = client.get_queue_receiver(queue)
        self._dead_letters = client.get_queue_receiver(
            queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER
        )

    async def counts(self) -> Counts:
        """See Countable."""
        active = scheduled = dead_lettered = 0
        async for message in _browse(self._messages):
            if message.state == ServiceBusMessageState.SCHEDULED:
                scheduled += 1
            else:
                active += 1
        async for _ in _browse(self._dead_letters):
            dead_lettered += 1
        return Counts(active, scheduled, dead_lettered)


async def _browse(receiver: ServiceBusReceiver) -> AsyncIterator[ServiceBusReceivedMessage]:
    after = 0
    while page := await receiver.peek_messages(PAGE_MESSAGES, sequence_number=after + 1):
        for message in page:
            yield message
        after = page[-1].sequence_number or 0
