"""The relay over the real queue and the real store; senders that misbehave stand in front."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.documents import Actor, Event
from directory.sqlite.store import SqliteStore
from directory.store import Create, Page, Query, Unavailable
from queues.port import Message, QueueError
from queues.relay import MESSAGE_EVENTS, EventMessage, Relay, message_for, message_for_all, parse
from queues.sqlite.queue import SqliteQueue
from telemetry.observation import Observation
from tests.contract.counting import Counts, counted

NOW = datetime(2026, 11, 22, 13, 1, 0, tzinfo=UTC)
ULID = "01jd9x3v5kq2m8r7t6w4z0abcd"


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = NOW.timestamp()

    def __call__(self) -> float:
        return self.seconds


class Sender:
    """In front of the real queue: sees what is sent, and fails or waits when it is told to."""

    def __init__(self, queue: SqliteQueue) -> None:
        self.queue = queue
        self.batches: list[list[str]] = []
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.sending = False

    async def send(self, messages: Sequence[Message]) -> None:
        assert not self.sending, "concurrent sends"
        self.sending = True
        try:
            self.batches.append([message.id for message in messages])
            await self.gate.wait()
            if self.faults:
                raise self.faults.pop(0)
            await self.queue.send(messages)
        finally:
            self.sending = False

    async def close(self) -> None:
        await self.queue.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteQueue]:
    queue = SqliteQueue(tmp_path / "muster.sqlite", now=clock)
    yield queue
    await queue.close()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "muster.sqlite", now=clock)
    yield store
    await store.close()


@pytest.fixture
def sender(queue: SqliteQueue) -> Sender:
    return Sender(queue)


@pytest.fixture
async def relay(
    request: pytest.FixtureRequest, sender: Sender, store: SqliteStore, clock: Clock
) -> AsyncIterator[Relay]:
    """As a test's `relay_with` says."""
    bounds: dict[str, Any] = getattr(request, "param", {})
    relay = Relay(sender, store, clock, attempts=3, backoff=0.001, **bounds)
    yield relay
    sender.gate.set()
    await relay.close()


def relay_with(**bounds: float) -> pytest.MarkDecorator:
    """A relay with other bounds."""
    return pytest.mark.parametrize("relay", [bounds], indirect=True, ids=[""])


async def received(queue: SqliteQueue) -> list[EventMessage]:
    """Everything that is in the queue, in order; it is gone afterwards."""
    contents = []
    while messages := await queue.receive(100):
        for message in messages:
            contents.append(parse(message.body))
            await queue.complete(message)
    return contents


def event(number: int, at: datetime, tenant_id: str = "t1", **other: Any) -> Event:
    return Event(
        tenant_id=tenant_id,
        event_id=f"e{number:04}",
        at=at,
        actor=Actor(type="connection", id="c1"),
        request_id="r1",
        operation="create",
        resource_type="User",
        resource_id="u1",
        scope="user",
        **other,
    )


async def store_events(store: SqliteStore, *events: Event) -> None:
    for one in events:
        await store.batch(one.tenant_id, [Create(one.to_document())])


class TestMessages:
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
    cursors = st.dictionaries(st.text(), values, max_size=4)

    @given(st.text(min_size=1), st.text(min_size=1), st.none() | cursors)
    def test_parse_reads_what_message_for_wrote(
        self, tenant_id: str, event_id: str, cursor: dict[str, Any] | None
    ) -> None:
        message = message_for(tenant_id, event_id, cursor)
        assert parse(message.body) == EventMessage(tenant_id, event_id, cursor)

    @given(cursors, cursors)
    def test_the_id_depends_on_what_the_cursor_says(
        self, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
        ids = [message_for("t", ULID, cursor).id for cursor in (one, other)]
        assert (ids[0] == ids[1]) is same
        assert message_for("t", ULID, dict(reversed(one.items()))).id == ids[0]
        assert message_for("t2", ULID, one).id == ids[0]

    @given(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
    def test_parse_reads_several_events(self, tenant_id: str, events: list[str]) -> None:
        message = message_for_all(tenant_id, events)
        assert parse(message.body).event_ids == tuple(events)
        assert (message.id == message_for(tenant_id, events[0]).id) is (len(events) == 1)
        assert message.id != message_for_all(tenant_id, [*events, "more"]).id

    def test_the_first_message_has_the_id_of_the_event(self) -> None:
        assert message_for("t1", ULID) == Message(
            ULID, f'{{"tenantId":"t1","eventId":"{ULID}"}}'.encode()
        )

    def test_the_id_of_a_further_message_names_event_and_cursor(self) -> None:
        message = message_for("t1", ULID, {"b": 2, "a": [1, "é"]})
        # printf '{"a":[1,"é"],"b":2}' | sha256sum | cut -c-32
        assert message.id == f"{ULID}:df9a461ade0c8810b77c66e46319e536"

    def test_members_of_a_newer_version_are_ignored(self) -> None:
        body = b'{"tenantId":"t","eventId":"e","cursor":null,"priority":1}'
        assert parse(body) == EventMessage("t", "e", None)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff",
            b"null",
            b"[]",
            b'"e"',
            b"{}",
            b'{"tenantId":"t"}',
            b'{"eventId":"e"}',
            b'{"tenantId":"","eventId":"e"}',
            b'{"tenantId":"t","eventId":""}',
            b'{"tenantId":1,"eventId":"e"}',
            b'{"tenantId":"t","eventId":["e"]}',
            b'{"tenantId":"t","eventId":"e","cursor":"x"}',
            b'{"tenantId":"t","eventId":"e","cursor":[]}',
            b'{"tenantId":"t","eventId":"e","cursor":0}',
            b'{"tenantId":"t","eventId":"e","others":"f"}',
            b'{"tenantId":"t","eventId":"e","others":["f",""]}',
            b'{"tenantId":"t","eventId":"e","others":[7]}',
            b'{"tenantId":"t","eventId":"e"',
            b'{"a":' * 5000,
        ],
    )
    def test_a_malformed_body_is_a_value_error(self, body: bytes) -> None:
        with pytest.raises(ValueError):
            parse(body)


class TestSubmit:
    async def test_sends_to_the_queue(self, relay: Relay, queue: SqliteQueue) -> None:
        relay.submit("t1", "e1")
        await relay.send("t2", "e2", {"after": "m1"})
        assert await received(queue) == [
            EventMessage("t1", "e1"),
            EventMessage("t2", "e2", {"after": "m1"}),
        ]

    @relay_with(gather_seconds=0.03)
    async def test_events_of_a_tenant_gather_after_its_message(
        self, relay: Relay, sender: Sender, queue: SqliteQueue
    ) -> None:
        relay.submit("t1", "a")
        relay.submit("t2", "b")
        relay.submit("t1", "c")
        relay.submit("t1", "d")
        await asyncio.sleep(0.2)
        relay.submit("t1", "e")
        await asyncio.sleep(0.01)
        assert [len(batch) for batch in sender.batches] == [2, 1, 1]
        assert await received(queue) == [
            EventMessage("t1", "a"),
            EventMessage("t2", "b"),
            EventMessage("t1", "c", others=("d",)),
            EventMessage("t1", "e"),
        ]

    @relay_with(gather_seconds=0.02, most_gather_seconds=0.08)
    async def test_they_gather_for_longer_while_many_come(
        self, relay: Relay, sender: Sender, queue: SqliteQueue
    ) -> None:
        """Within 0.4 s there is time for one message at once, and then after 0.02, 0.06, 0.14,
        0.22, 0.30 and 0.38 s; without the growth for twenty."""
        end = asyncio.get_running_loop().time() + 0.4
        count = 0
        while asyncio.get_running_loop().time() < end:
            for _ in range(2):
                relay.submit("t1", f"e{count}")
                count += 1
            await asyncio.sleep(0.002)
        assert len(sender.batches) <= 7
        await relay.drain()
        messages = await received(queue)
        assert [name for each in messages for name in each.event_ids] == [
            f"e{number}" for number in range(count)
        ]

    @relay_with(gather_seconds=0.1, most_gather_seconds=100)
    async def test_full_messages_show_that_many_come(self, relay: Relay, sender: Sender) -> None:
        """Seven of them, and the next events gather for 12.8 s."""
        for number in range(1 + 7 * MESSAGE_EVENTS + 1):
            relay.submit("t1", f"e{number}")
        await asyncio.sleep(0.15)
        assert sum(map(len, sender.batches)) == 1 + 7

    async def test_sends_in_order_in_messages_that_have_an_end(
        self, relay: Relay, queue: SqliteQueue
    ) -> None:
        names = [f"e{number}" for number in range(250)]
        for name in names:
            relay.submit("t1", name)
        await relay.drain()
        messages = await received(queue)
        full = MESSAGE_EVENTS
        assert [len(message.event_ids) for message in messages] == [1, full, full, 249 - 2 * full]
        assert [name for message in messages for name in message.event_ids] == names

    async def test_sends_in_batches(self, relay: Relay, sender: Sender) -> None:
        for number in range(250):
            relay.submit(f"t{number}", f"e{number}")
        await relay.drain()
        assert [len(batch) for batch in sender.batches] == [100, 100, 50]

    async def test_what_comes_during_a_send_goes_with_the_next(
        self, relay: Relay, sender: Sender
    ) -> None:
        sender.gate.clear()
        relay.submit("t1", "a")
        await asyncio.sleep(0)
        relay.submit("t2", "b")
        relay.submit("t3", "c")
        draining = asyncio.create_task(relay.drain())
        await asyncio.sleep(0.01)
        assert (sender.batches, draining.done()) == ([["a"]], False)
        sender.gate.set()
        await draining
        assert sender.batches == [["a"], ["b", "c"]]

    async def test_many_callers_never_send_concurrently(
        self, relay: Relay, queue: SqliteQueue, store: SqliteStore
    ) -> None:
        await store_events(store, event(1, datetime(2026, 11, 1, tzinfo=UTC)))

        async def caller(number: int) -> None:
            for step in range(10):
                relay.submit(f"t{number}", f"{number}-{step}")
                await asyncio.sleep(0.001 * (number % 3))
            await (relay.resend_pending(60) if number % 2 else relay.drain())

        await asyncio.gather(*(caller(number) for number in range(20)))
        events = [id for message in await received(queue) for id in message.event_ids]
        assert len(events) == len({*events}) == 201

    async def test_without_a_running_loop_it_fails_nobody(
        self, relay: Relay, queue: SqliteQueue, caplog: pytest.LogCaptureFixture
    ) -> None:
        await asyncio.to_thread(relay.submit, "t1", "e1")
        assert "event e1 is left to the timer" in caplog.text
        relay.submit("t1", "e2")
        await relay.drain()
        assert await received(queue) == [EventMessage("t1", "e2")]

    @relay_with(most_waiting=2)
    async def test_beyond_the_limit_it_leaves_events_to_the_timer(
        self, relay: Relay, sender: Sender, caplog: pytest.LogCaptureFixture
    ) -> None:
        sender.gate.clear()
        relay.submit("t1", "a")
        await asyncio.sleep(0)
        for name in "bcd":
            relay.submit(name, name)
        assert "event d is left to the timer" in caplog.text
        sender.gate.set()
        await relay.drain()
        assert sender.batches == [["a"], ["b", "c"]]

    async def test_the_task_belongs_to_no_request(
        self, relay: Relay, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request: ContextVar[str] = ContextVar("request", default="none")
        seen = []
        send = sender.send

        async def watch(messages: Sequence[Message]) -> None:
            seen.append(request.get())
            await send(messages)

        monkeypatch.setattr(sender, "send", watch)
        request.set("r1")
        relay.submit("t1", "a")
        await relay.drain()
        assert seen == ["none"]

    def test_it_starts_on_whichever_loop_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "muster.sqlite"
        queue = SqliteQueue(path)
        store = SqliteStore(path)
        relay = Relay(queue, store)

        async def request(name: str) -> None:
            relay.submit("t1", name)
            await relay.drain()

        async def finish() -> list[EventMessage]:
            messages = await received(queue)
            await queue.close()
            await store.close()
            return messages

        asyncio.run(request("a"))
        asyncio.run(request("b"))
        assert [message.event_id for message in asyncio.run(finish())] == ["a", "b"]


class TestFailures:
    async def test_tries_again(
        self, relay: Relay, sender: Sender, queue: SqliteQueue, caplog: pytest.LogCaptureFixture
    ) -> None:
        sender.faults = [QueueError("busy"), QueueError("busy")]
        relay.submit("t1", "a")
        relay.submit("t2", "b")
        await relay.drain()
        assert sender.batches == [["a", "b"]] * 3
        assert [message.event_id for message in await received(queue)] == ["a", "b"]
        assert caplog.text == ""

    @pytest.mark.parametrize(
        ("faults", "level"),
        [([QueueError("the queue is down")] * 3, "WARNING"), ([OSError("a defect")], "ERROR")],
    )
    async def test_gives_up_and_goes_on(
        self,
        relay: Relay,
        sender: Sender,
        queue: SqliteQueue,
        caplog: pytest.LogCaptureFixture,
        faults: list[Exception],
        level: str,
    ) -> None:
        sender.faults = list(faults)
        relay.submit("t1", "a")
        relay.submit("t2", "b")
        await relay.drain()
        (record,) = caplog.records
        assert record.levelname == level
        told = "the queue is down" if level == "WARNING" else "OSError in send"
        assert told in caplog.text
        assert "a defect" not in caplog.text, "an exception's text may hold anything"
        assert f"left to the timer: {sender.batches[0][0]}, b" in record.getMessage()
        assert await received(queue) == []
        relay.submit("t1", "c")
        await relay.drain()
        assert await received(queue) == [EventMessage("t1", "c")]


class TestClose:
    async def test_sends_what_is_left(self, relay: Relay, queue: SqliteQueue) -> None:
        for number in range(150):
            relay.submit(f"t{number % 2}", f"e{number}")
        await relay.close()
        assert len([id for message in await received(queue) for id in message.event_ids]) == 150

    async def test_is_bounded_and_leaves_nobody_waiting(
        self, relay: Relay, sender: Sender, caplog: pytest.LogCaptureFixture
    ) -> None:
        sender.gate.clear()
        relay.submit("t1", "a")
        in_flight = asyncio.create_task(relay.drain())
        await asyncio.sleep(0.01)
        relay.submit("t1", "b")
        waiting = asyncio.create_task(relay.drain())
        await relay.close(wait_seconds=0.01)
        await asyncio.gather(in_flight, waiting)
        assert "left to the timer" in caplog.text
        assert sender.batches == [["a"]]

    async def test_before_the_first_step_of_the_task(self, relay: Relay) -> None:
        relay.submit("t1", "a")
        draining = asyncio.ensure_future(relay.drain())
        await relay.close(wait_seconds=0)
        await draining

    async def test_without_anything_submitted(self, relay: Relay) -> None:
        await relay.close()

    async def test_afterwards_events_are_left_to_the_timer(
        self, relay: Relay, sender: Sender, store: SqliteStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        await store_events(store, event(1, datetime(2026, 11, 1, tzinfo=UTC)))
        await relay.close()
        relay.submit("t1", "a")
        await relay.drain()
        assert await relay.resend_pending(60) == 0
        assert "event a is left to the timer" in caplog.text
        assert sender.batches == []


class TestResendPending:
    async def test_sends_what_is_pending_and_old(
        self, relay: Relay, queue: SqliteQueue, store: SqliteStore
    ) -> None:
        old, young = datetime(2026, 11, 22, 12, tzinfo=UTC), NOW
        await store_events(
            store,
            event(1, old),
            event(2, old, state="done"),
            event(3, old, state="failed"),
            event(4, young),
            event(5, old, tenant_id="t2"),
        )
        assert await relay.resend_pending(60) == 2
        assert await received(queue) == [
            EventMessage("t1", "e0001"),
            EventMessage("t2", "e0005"),
        ]

    @pytest.mark.parametrize("microsecond", [0, 1, 999_999], ids=str)
    async def test_age_is_compared_as_time_whatever_the_width(
        self,
        relay: Relay,
        queue: SqliteQueue,
        store: SqliteStore,
        clock: Clock,
        microsecond: int,
    ) -> None:
        clock.seconds = NOW.replace(microsecond=microsecond).timestamp()
        second_before = datetime(2026, 11, 22, 12, 59, 59, tzinfo=UTC)
        same_second = datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)
        old = [second_before.replace(microsecond=m) for m in (0, 1, 100_000, 999_999)]
        young = [same_second.replace(microsecond=m) for m in (0, 1, 100_000, 999_999)]
        events = [event(number, at) for number, at in enumerate(old + young)]
        assert len({len(e.to_document()["at"]) for e in events}) > 1
        await store_events(store, *events)
        assert await relay.resend_pending(60) == len(old)
        sent = {message.event_id for message in await received(queue)}
        assert sent == {e.event_id for e in events[: len(old)]}

    @relay_with(resend_events=150)
    async def test_a_run_is_bounded_and_the_next_one_goes_on(
        self, relay: Relay, sender: Sender, queue: SqliteQueue, store: SqliteStore
    ) -> None:
        at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        events = [event(n, at, tenant_id=f"t{n % 3}") for n in range(400)]
        await store_events(store, *events)
        assert [await relay.resend_pending(60) for _ in range(3)] == [150, 150, 100]
        assert [len(batch) for batch in sender.batches] == [100, 50, 100, 50, 100]
        sent = [(message.tenant_id, message.event_id) for message in await received(queue)]
        assert sent == [(e.tenant_id, e.event_id) for e in events], "oldest first"

    @relay_with(resend_events=1)
    async def test_a_place_that_the_store_refuses_is_not_asked_for_again(
        self,
        relay: Relay,
        queue: SqliteQueue,
        store: SqliteStore,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        await store_events(store, event(1, at), event(2, at))
        assert await relay.resend_pending(60) == 1
        with monkeypatch.context() as patched:

            async def refuse(_: Query) -> Page:
                raise Unavailable("the continuation is of another index")

            patched.setattr(store, "query_every_tenant", refuse)
            with pytest.raises(Unavailable):
                await relay.resend_pending(60)
        clock.seconds += 1000
        assert await relay.resend_pending(60) == 1
        assert [message.event_id for message in await received(queue)] == ["e0001"] * 2

    async def test_what_was_sent_a_moment_ago_is_not_sent_again(
        self, relay: Relay, sender: Sender, store: SqliteStore, clock: Clock
    ) -> None:
        at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        await store_events(store, event(1, at))
        assert await relay.resend_pending(60) == 1
        clock.seconds += 100
        await store_events(store, event(2, at))
        assert await relay.resend_pending(60) == 1
        clock.seconds += 20
        assert await relay.resend_pending(60) == 1
        assert sender.batches == [["e0001"], ["e0002"], ["e0001"]]

    async def test_a_clock_that_is_set_back_does_not_keep_them_waiting(
        self, relay: Relay, store: SqliteStore, clock: Clock
    ) -> None:
        await store_events(store, event(1, NOW - timedelta(hours=6)))
        assert await relay.resend_pending(60) == 1
        clock.seconds -= 3600
        assert await relay.resend_pending(60) == 1
        assert await relay.resend_pending(60) == 0

    @relay_with(resend_events=1)
    async def test_the_oldest_is_told_wherever_the_run_is(
        self, relay: Relay, store: SqliteStore
    ) -> None:
        await store_events(
            store, *(event(n, NOW - timedelta(seconds=900 - 300 * n)) for n in range(2))
        )
        for _ in range(2):
            with Observation(logging.getLogger("test"), "relay") as seen:
                assert await relay.resend_pending(60) == 1
            assert seen.measures["oldest_pending_seconds"] == 900

    async def test_the_queue_drops_what_it_was_sent_before(
        self, relay: Relay, queue: SqliteQueue, store: SqliteStore, clock: Clock
    ) -> None:
        await store_events(store, event(1, datetime(2026, 11, 22, 12, tzinfo=UTC)))
        relay.submit("t1", "e0001")
        await relay.resend_pending(60)
        assert await received(queue) == [EventMessage("t1", "e0001")]
        await relay.resend_pending(60)
        assert await received(queue) == []
        clock.seconds += 600
        await relay.resend_pending(60)
        assert await received(queue) == [EventMessage("t1", "e0001")]

    async def test_stops_where_the_queue_takes_nothing(
        self, relay: Relay, sender: Sender, queue: SqliteQueue, store: SqliteStore
    ) -> None:
        at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        await store_events(store, *(event(n, at) for n in range(250)))
        sender.faults = [QueueError("down")] * 3
        assert await relay.resend_pending(60) == 0
        assert len(sender.batches) == 3
        assert await counted(queue) == Counts(0, 0, 0)
        assert await relay.resend_pending(60) == 250
        assert await counted(queue) == Counts(250, 0, 0)

    async def test_nothing_pending_is_nothing_sent(self, relay: Relay, sender: Sender) -> None:
        assert await relay.resend_pending(60) == 0
        assert sender.batches == []
