"""A message that is none of Muster's is in the dead-letter queue soon, and holds up nobody: its
deliveries do no work and none of them waits."""

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import wiring
from queues.port import DIRECTORY_EVENTS, Message
from queues.sqlite.queue import SqliteQueue
from tests.contract.servicebus_queue import ReceivingQueue
from tests.emulators.servicebus import ServiceBusStandIn
from tests.triggers import functions

UNDECODABLE = [
    b"",
    b"\xff",
    b"ada@example.com",
    b"[]",
    b'{"tenantId":"acme"}',
    b'{"tenantId":"acme","eventId":""}',
    json.dumps({"tenantId": "acme", "eventId": "e", "cursor": "ada@example.com"}).encode(),
]


class Delivered:
    """What the trigger is given of a message."""

    def __init__(self, body: bytes, delivery_count: int) -> None:
        self._body = body
        self.delivery_count = delivery_count

    def get_body(self) -> bytes:
        """As the SDK has it."""
        return self._body


@pytest_asyncio.fixture(params=["sqlite", "wire"])
async def queue(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[SqliteQueue | ReceivingQueue]:
    """The queue of the laptop, and Service Bus."""
    if request.param == "sqlite":
        embedded = SqliteQueue(tmp_path / "queue.sqlite", DIRECTORY_EVENTS)
        yield embedded
        await embedded.close()
        return
    with tempfile.TemporaryDirectory() as folder:
        async with ServiceBusStandIn(Path(folder), time.time) as stand_in:
            receiving = ReceivingQueue(stand_in.connection_string)
            yield receiving
            await receiving.close()


@pytest.mark.parametrize("body", UNDECODABLE)
async def test_it_is_a_dead_letter_after_deliveries_that_take_no_time(
    queue: SqliteQueue | ReceivingQueue,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("it neither waits nor asks for a store")

    reconcile = functions()["reconcile"].get_user_function()
    await queue.send([Message("strange", body)])
    deliveries = 0
    while not await queue.list_dead_letters():
        (received,) = await queue.receive(1, 5)
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(wiring, "application", never)
            patch.setattr(asyncio, "sleep", never)
            with pytest.raises(RuntimeError, match=r"^reconcile failed: (ValueError|JSONDecode)"):
                await reconcile(Delivered(received.body, received.delivery_count))
        await queue.abandon(received)
        deliveries += 1
    (letter,) = await queue.list_dead_letters()
    assert (letter.id, letter.body) == ("strange", body)
    assert (letter.reason, deliveries) == ("MaxDeliveryCountExceeded", 10)
    assert caplog.text.count("reconcile failed: ") == deliveries
    assert "ada@example.com" not in caplog.text
