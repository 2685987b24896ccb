"""The embedded queue: the contract, and what only an SQLite file can get wrong."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from directory.sqlite.store import SqliteStore
from queues.port import QueueError
from queues.sqlite.queue import LockLost, ReceivedMessage, SqliteQueue
from tests.contract.counting import Counts, counted
from tests.contract.queue_contract import (
    DUPLICATE_DETECTION_WINDOW,
    LOCK_DURATION,
    Clock,
    QueueContract,
    ids,
    message,
    send,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "muster.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["alone", "beside a store"])
async def queue(
    request: pytest.FixtureRequest, path: Path, clock: Clock
) -> AsyncIterator[SqliteQueue]:
    store = SqliteStore(path, clock) if request.param == "beside a store" else None
    queue = SqliteQueue(path, now=clock, beside=store.beside if store else None)
    yield queue
    await queue.close()
    if store:
        await store.close()


@pytest.fixture
def opening(path: Path) -> str:
    return (
        "from pathlib import Path; from queues.sqlite.queue import SqliteQueue; "
        f"queue = SqliteQueue(Path({str(path)!r}))"
    )


class TestSqliteQueue(QueueContract):
    async def test_sending_wakes_a_receiver_that_does_not_poll(self, path: Path) -> None:
        queue = SqliteQueue(path, poll_interval=3600)
        waiting = [asyncio.create_task(queue.receive(wait_seconds=3600)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await send(queue, "a", "b")
        received = [m for part in await asyncio.gather(*waiting) for m in part]
        assert sorted(ids(received)) == ["a", "b"]
        waiting = [asyncio.create_task(queue.receive(wait_seconds=3600))]
        await asyncio.sleep(0.05)
        await queue.abandon(received[0])
        assert ids(await waiting[0]) == [received[0].id]
        await queue.dead_letter(received[1], "Test")
        waiting = [asyncio.create_task(queue.receive(wait_seconds=3600))]
        await asyncio.sleep(0.05)
        await queue.resubmit()
        assert ids(await waiting[0]) == [received[1].id]
        await queue.close()

    async def test_polling_finds_what_another_connection_sent(
        self, path: Path, queue: SqliteQueue, clock: Clock
    ) -> None:
        other = SqliteQueue(path, now=clock, poll_interval=0.01)
        waiting = asyncio.create_task(other.receive(wait_seconds=60))
        await asyncio.sleep(0.05)
        await send(queue, "a")
        assert ids(await waiting) == ["a"]
        await other.close()

    async def test_queues_in_one_file_are_separate(
        self, path: Path, queue: SqliteQueue, clock: Clock
    ) -> None:
        other = SqliteQueue(path, "access-changes", now=clock)
        await send(queue, "a")
        assert await other.receive() == []
        await send(other, "a")
        (received,) = await other.receive(10)
        await other.dead_letter(received, "Test")
        assert await counted(queue) == Counts(1, 0, 0)
        assert await queue.list_dead_letters() == []
        assert await queue.resubmit() == 0
        assert await queue.resubmit(["a"]) == 0
        assert await counted(other) == Counts(0, 0, 1)
        await other.close()

    async def test_state_survives_closing(self, path: Path, clock: Clock) -> None:
        first = SqliteQueue(path, now=clock)
        await send(first, "a", "b", "c")
        received = await first.receive(2)
        await first.dead_letter(received[1], "Test", "why")
        await first.close()
        second = SqliteQueue(path, now=clock)
        assert await counted(second) == Counts(2, 0, 1)
        await second.complete(received[0])
        await send(second, "a", "b", "c")
        assert ids(await second.receive(10)) == ["c"]
        await second.close()

    async def test_shares_the_file_with_other_tables(self, path: Path, queue: SqliteQueue) -> None:
        await send(queue, "a")
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE document (id TEXT)")
            other.execute("INSERT INTO document VALUES ('x')")
            await asyncio.sleep(0)
            other.commit()
            assert ids(await queue.receive()) == ["a"]
        other.close()

    async def test_an_idle_receiver_needs_no_write_lock(
        self, path: Path, queue: SqliteQueue
    ) -> None:
        assert await queue.receive() == []
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert await queue.receive() == []
        writer.execute("ROLLBACK")
        writer.close()

    async def test_the_loop_does_not_wait_for_another_writer(
        self, path: Path, queue: SqliteQueue
    ) -> None:
        assert await queue.receive() == []
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        sending = asyncio.create_task(send(queue, "a"))
        await asyncio.sleep(0.05)
        assert not sending.done()
        writer.execute("ROLLBACK")
        writer.close()
        await sending
        assert ids(await queue.receive()) == ["a"]

    async def test_a_fault_of_sqlite_is_a_queue_error(self, tmp_path: Path) -> None:
        queue = SqliteQueue(tmp_path / "missing" / "muster.sqlite")
        with pytest.raises(QueueError, match="directory-events"):
            await send(queue, "a")
        (tmp_path / "missing").mkdir()
        await send(queue, "a")
        assert ids(await queue.receive()) == ["a"]
        await queue.close()

    async def test_a_failed_send_leaves_nothing(self, path: Path, queue: SqliteQueue) -> None:
        assert await queue.receive() == []
        with sqlite3.connect(path) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON queue_message WHEN new.id = 'b'"
                " BEGIN SELECT raise(ABORT, 'disk full'); END"
            )
        with pytest.raises(QueueError, match="disk full"):
            await send(queue, "a", "b")
        assert await counted(queue) == Counts(0, 0, 0)
        other.execute("DROP TRIGGER full")
        other.close()
        await send(queue, "a", "b")
        assert ids(await queue.receive(10)) == ["a", "b"]

    async def test_connections_may_create_the_file_together(self, tmp_path: Path) -> None:
        for attempt in range(25):
            path = tmp_path / f"{attempt}.sqlite"
            queues = [SqliteQueue(path) for _ in range(6)]
            await asyncio.gather(*(send(queue, f"m{n}") for n, queue in enumerate(queues)))
            assert await counted(queues[0]) == Counts(6, 0, 0)
            await asyncio.gather(*(queue.close() for queue in queues))


class Model:
    """A message as the textbook has it."""

    def __init__(self, id: str, place: tuple[float, int]) -> None:
        self.id = id
        self.place = place
        self.deliveries = 0
        self.locked_until = 0.0
        self.dead = False


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of operations, against a model that is a list of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.clock.seconds = 1_000_000.0
        path = Path(self.folder.name) / "muster.sqlite"
        self.queue = SqliteQueue(path, now=self.clock, max_delivery_count=2)
        self.messages: list[Model] = []
        self.recent: dict[str, float] = {}
        self.held: list[tuple[ReceivedMessage, Model]] = []
        self.sent = 0

    def teardown(self) -> None:
        self.runner.run(self.queue.close())
        self.runner.close()
        self.folder.cleanup()

    def expire(self) -> None:
        for model in self.messages:
            if model.deliveries == 2 and model.locked_until <= self.clock():
                model.dead = True

    def is_live(self, received: ReceivedMessage, model: Model) -> bool:
        current = model.deliveries == received.delivery_count and not model.dead
        return current and model in self.messages and model.locked_until > self.clock()

    @rule(
        names=st.lists(st.sampled_from("abcdefghij"), max_size=3), delay=st.sampled_from([0, 0, 90])
    )
    def send(self, names: list[str], delay: int) -> None:
        self.runner.run(self.queue.send([message(name, delay) for name in names]))
        for name in names:
            if self.recent.get(name, 0.0) <= self.clock():
                self.recent[name] = self.clock() + DUPLICATE_DETECTION_WINDOW
                self.sent += 1
                self.messages.append(Model(name, (self.clock() + delay, self.sent)))

    @rule(most=st.integers(1, 3))
    def receive(self, most: int) -> None:
        self.expire()
        available = [
            m
            for m in self.messages
            if not m.dead and m.place[0] <= self.clock() and m.locked_until <= self.clock()
        ]
        expected = sorted(available, key=lambda m: m.place)[:most]
        received = self.runner.run(self.queue.receive(most))
        assert ids(received) == [m.id for m in expected]
        for model, one in zip(expected, received, strict=True):
            model.deliveries += 1
            model.locked_until = self.clock() + LOCK_DURATION
            assert one.delivery_count == model.deliveries
            self.held.append((one, model))

    @rule(
        action=st.sampled_from(["complete", "abandon", "renew", "dead_letter"]),
        which=st.integers(0, 100),
    )
    def act(self, action: str, which: int) -> None:
        if not self.held:
            return
        received, model = self.held[which % len(self.held)]
        live = self.is_live(received, model)
        try:
            self.runner.run(self.perform(action, received))
        except LockLost:
            assert not live
            return
        assert live
        match action:
            case "complete":
                self.messages.remove(model)
            case "abandon":
                model.locked_until = 0.0
                self.held.remove((received, model))
            case "renew":
                model.locked_until = self.clock() + LOCK_DURATION
            case "dead_letter":
                model.dead = True

    async def perform(self, action: str, received: ReceivedMessage) -> None:
        if action == "dead_letter":
            await self.queue.dead_letter(received, "Test")
        else:
            await getattr(self.queue, action)(received)

    @rule(name=st.sampled_from("abcdefghij"))
    def resubmit(self, name: str) -> None:
        self.expire()
        dead = [m for m in self.messages if m.dead and m.id == name]
        assert self.runner.run(self.queue.resubmit([name])) == len(dead)
        for model in dead:
            self.messages.remove(model)
            self.sent += 1
            self.messages.append(Model(name, (self.clock(), self.sent)))

    @rule(seconds=st.sampled_from([1, 59, 60, 90, 540]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def every_message_is_in_one_place(self) -> None:
        self.expire()
        alive = [m for m in self.messages if not m.dead]
        scheduled = sum(m.place[0] > self.clock() for m in alive)
        dead = len(self.messages) - len(alive)
        expected = Counts(len(alive) - scheduled, scheduled, dead)
        assert self.runner.run(counted(self.queue)) == expected
        listed = self.runner.run(self.queue.list_dead_letters())
        assert sorted(ids(listed)) == sorted(m.id for m in self.messages if m.dead)


TestAnySequenceOfOperations = QueueMachine.TestCase
TestAnySequenceOfOperations.settings = settings(max_examples=60, stateful_step_count=40)
