"""What every queue must do: Azure Service Bus semantics, as one suite.

A test class for a queue derives from `QueueContract` and provides three fixtures:
`queue` (empty; lock 60 s, at most 10 deliveries, duplicates detected for 600 s), `clock` (the
time that the queue goes by), and `opening` (Python statements that bind `queue` to the same queue
in another process).
"""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from queues.port import BODY_BYTES, DeadLetter, Message
from queues.sqlite.queue import LockLost, ReceivedMessage, SqliteQueue
from tests.contract.counting import Counts, counted

LOCK_DURATION = 60.0
MAX_DELIVERY_COUNT = 10
DUPLICATE_DETECTION_WINDOW = 600.0
ROOT = Path(__file__).parents[2]


class Clock:
    """Time that passes when a test says so. It starts now, for other processes know no other."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


def message(id: str, delay: float = 0.0) -> Message:
    return Message(id, f'{{"eventId":"{id}"}}'.encode(), delay)


def ids(messages: Sequence[ReceivedMessage | DeadLetter]) -> list[str]:
    return [message.id for message in messages]


async def send(queue: SqliteQueue, *names: str) -> None:
    await queue.send([message(name) for name in names])


async def receive_one(queue: SqliteQueue) -> ReceivedMessage:
    (received,) = await queue.receive()
    return received


async def run_python(program: str) -> tuple[int, str]:
    """Exit code and output of a Python program in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class QueueContract:
    async def test_delivers_what_was_sent(self, queue: SqliteQueue, clock: Clock) -> None:
        body = b'{"text":"\xc3\xa9\\u0000"}'
        await queue.send([Message("a", body)])
        received = await receive_one(queue)
        assert (received.id, received.body, received.delivery_count) == ("a", body, 1)
        assert received.enqueued_at.timestamp() == pytest.approx(clock())
        assert received.locked_until.timestamp() == pytest.approx(clock() + LOCK_DURATION)

    async def test_delivers_in_the_order_of_sending(self, queue: SqliteQueue) -> None:
        await send(queue, "c", "a")
        await send(queue, "b")
        await send(queue, "e", "d")
        assert ids(await queue.receive(2)) == ["c", "a"]
        assert ids(await queue.receive(10)) == ["b", "e", "d"]

    async def test_sending_nothing_is_nothing(self, queue: SqliteQueue) -> None:
        await queue.send([])
        assert await queue.receive() == []

    async def test_asking_for_no_messages_is_an_error(self, queue: SqliteQueue) -> None:
        with pytest.raises(ValueError, match="max_messages"):
            await queue.receive(0)

    @pytest.mark.parametrize(
        "refused",
        [
            Message("", b""),
            Message("x" * 129, b""),
            Message("x", b"x" * (BODY_BYTES + 1)),
            Message("x", b"", delay=-1),
        ],
        ids=["no id", "long id", "long body", "negative delay"],
    )
    async def test_refuses_what_is_over_the_limits_and_all_with_it(
        self, queue: SqliteQueue, refused: Message
    ) -> None:
        with pytest.raises(ValueError):
            await queue.send([message("a"), refused])
        assert await counted(queue) == Counts(0, 0, 0)
        await queue.send([Message("x" * 128, b"x" * (BODY_BYTES)), message("a")])
        assert await counted(queue) == Counts(2, 0, 0)

    async def test_a_locked_message_is_nobody_elses(self, queue: SqliteQueue, clock: Clock) -> None:
        await send(queue, "a", "b")
        assert ids(await queue.receive()) == ["a"]
        assert ids(await queue.receive(10)) == ["b"]
        clock.advance(LOCK_DURATION - 1)
        assert await queue.receive(10) == []

    async def test_complete_removes_for_good(self, queue: SqliteQueue, clock: Clock) -> None:
        await send(queue, "a")
        await queue.complete(await receive_one(queue))
        clock.advance(LOCK_DURATION * 2)
        assert await queue.receive() == []
        assert await counted(queue) == Counts(0, 0, 0)

    async def test_an_expired_lock_brings_the_message_back_in_its_place(
        self, queue: SqliteQueue, clock: Clock
    ) -> None:
        await send(queue, "a", "b")
        first = await receive_one(queue)
        clock.advance(LOCK_DURATION)
        again, other = await queue.receive(2)
        assert ids([again, other]) == ["a", "b"]
        assert (again.delivery_count, other.delivery_count) == (2, 1)
        assert again.lock_token != first.lock_token

    async def test_abandon_brings_the_message_back_at_once_in_its_place(
        self, queue: SqliteQueue
    ) -> None:
        await send(queue, "a", "b")
        await queue.abandon(await receive_one(queue))
        again, other = await queue.receive(2)
        assert ids([again, other]) == ["a", "b"]
        assert (again.delivery_count, other.delivery_count) == (2, 1)

    async def test_renew_holds_the_lock(self, queue: SqliteQueue, clock: Clock) -> None:
        await send(queue, "a")
        received = await receive_one(queue)
        for _ in range(3):
            clock.advance(LOCK_DURATION - 1)
            until = await queue.renew(received)
            assert until.timestamp() == pytest.approx(clock() + LOCK_DURATION)
            assert await queue.receive() == []
        await queue.complete(received)
        assert await counted(queue) == Counts(0, 0, 0)

    @pytest.mark.parametrize("action", ["complete", "abandon", "renew", "dead_letter"])
    @pytest.mark.parametrize("taken", [False, True], ids=["expired", "taken by another"])
    async def test_a_stale_lock_is_refused(
        self, queue: SqliteQueue, clock: Clock, action: str, taken: bool
    ) -> None:
        await send(queue, "a")
        stale = await receive_one(queue)
        clock.advance(LOCK_DURATION)
        current = await receive_one(queue) if taken else None
        with pytest.raises(LockLost, match="a"):
            await act(queue, action, stale)
        assert await counted(queue) == Counts(1, 0, 0)
        if current is None:
            current = await receive_one(queue)
        assert await queue.receive() == []  # the refused action did not release it
        await queue.complete(current)

    @pytest.mark.parametrize("first", ["complete", "abandon", "dead_letter"])
    @pytest.mark.parametrize("second", ["complete", "abandon", "renew", "dead_letter"])
    async def test_a_message_is_settled_once(
        self, queue: SqliteQueue, first: str, second: str
    ) -> None:
        await send(queue, "a")
        received = await receive_one(queue)
        await act(queue, first, received)
        before = await counted(queue)
        with pytest.raises(LockLost):
            await act(queue, second, received)
        assert await counted(queue) == before

    @pytest.mark.parametrize("ended_by", ["abandon", "expiry"])
    async def test_the_last_delivery_ends_in_the_dead_letter_queue(
        self, queue: SqliteQueue, clock: Clock, ended_by: str
    ) -> None:
        await send(queue, "poison", "good")
        for delivery in range(1, MAX_DELIVERY_COUNT + 1):
            received = await receive_one(queue)
            assert (received.id, received.delivery_count) == ("poison", delivery)
            assert await queue.list_dead_letters() == []
            if ended_by == "abandon":
                await queue.abandon(received)
            else:
                clock.advance(LOCK_DURATION)
        assert await counted(queue) == Counts(1, 0, 1)
        (dead,) = await queue.list_dead_letters()
        assert (dead.id, dead.body) == ("poison", message("poison").body)
        assert (dead.reason, dead.delivery_count) == ("MaxDeliveryCountExceeded", 10)
        assert "10" in dead.description
        assert ids(await queue.receive(10)) == ["good"]

    async def test_a_dead_letter_says_what_and_why(self, queue: SqliteQueue, clock: Clock) -> None:
        await send(queue, "a")
        sent_at = clock()
        await queue.abandon(await receive_one(queue))
        clock.advance(5)
        await queue.dead_letter(await receive_one(queue), "Malformed", "No event of that id.")
        clock.advance(LOCK_DURATION)
        assert await queue.receive() == []
        (dead,) = await queue.list_dead_letters()
        assert (dead.id, dead.body) == ("a", message("a").body)
        assert (dead.reason, dead.description) == ("Malformed", "No event of that id.")
        assert dead.delivery_count == 2
        assert dead.enqueued_at.timestamp() == pytest.approx(sent_at)

    async def test_dead_letters_are_listed_in_pages(self, queue: SqliteQueue) -> None:
        await send(queue, "a", "b", "c")
        for received in reversed(await queue.receive(3)):
            await queue.dead_letter(received, "Test")
        page = await queue.list_dead_letters(limit=2)
        assert ids(page) == ["c", "b"]
        assert ids(await queue.list_dead_letters(after=page[-1].sequence_number)) == ["a"]
        assert await counted(queue) == Counts(0, 0, 3)

    async def test_resubmit_sends_the_chosen_dead_letters_anew(self, queue: SqliteQueue) -> None:
        await send(queue, "a", "b", "c")
        for received in await queue.receive(3):
            await queue.dead_letter(received, "Test")
        await send(queue, "d")
        assert await queue.resubmit(["unknown"]) == 0
        assert await queue.resubmit(["b", "b"]) == 1
        assert ids(await queue.list_dead_letters()) == ["a", "c"]
        again = await queue.receive(10)
        assert [m.body for m in again] == [message("d").body, message("b").body]
        assert [m.delivery_count for m in again] == [1, 1]
        assert await queue.resubmit() == 2
        assert await queue.list_dead_letters() == []
        bodies = [m.body for m in await queue.receive(10)]
        assert bodies == [message("a").body, message("c").body]

    async def test_discard_removes_the_chosen_dead_letters_for_good(
        self, queue: SqliteQueue, clock: Clock
    ) -> None:
        """Each by its place: a message of the same id may have been buried meanwhile."""
        await send(queue, "a", "b", "c")
        for received in await queue.receive(3):
            await queue.dead_letter(received, "Test")
        first, second, third = await queue.list_dead_letters()
        clock.advance(DUPLICATE_DETECTION_WINDOW)
        await send(queue, "b", "d")
        await queue.dead_letter(await receive_one(queue), "Test")
        places = [second.sequence_number, third.sequence_number]
        assert await queue.discard([]) == []
        assert sorted(await queue.discard([*places, *places])) == sorted(places)
        left = await queue.list_dead_letters()
        assert ids(left) == ["a", "b"]
        assert left[0].sequence_number == first.sequence_number
        assert left[1].sequence_number not in places
        assert ids(await queue.receive(10)) == ["d"]
        assert await counted(queue) == Counts(1, 0, 2)

    async def test_what_is_not_there_is_not_discarded(self, queue: SqliteQueue) -> None:
        await send(queue, "a", "b")
        await queue.dead_letter(await receive_one(queue), "Test")
        (dead,) = await queue.list_dead_letters()
        place = dead.sequence_number
        assert await queue.discard([place + 1_000]) == []
        assert await queue.discard([place]) == [place]
        assert await queue.discard([place]) == []
        assert await counted(queue) == Counts(1, 0, 0)

    async def test_drops_a_repeated_id_inside_the_window(
        self, queue: SqliteQueue, clock: Clock
    ) -> None:
        await send(queue, "a", "a", "b")
        await send(queue, "b", "c")
        received = await queue.receive(10)
        assert ids(received) == ["a", "b", "c"]
        await queue.complete(received[0])
        await queue.dead_letter(received[1], "Test")
        clock.advance(DUPLICATE_DETECTION_WINDOW - 1)
        await send(queue, "a", "b")
        await queue.complete((await queue.receive())[0])
        assert await counted(queue) == Counts(0, 0, 1)
        clock.advance(1)  # the drop did not prolong the window
        await send(queue, "a", "b")
        assert ids(await queue.receive(10)) == ["a", "b"]

    async def test_a_scheduled_message_waits_and_then_queues_behind(
        self, queue: SqliteQueue, clock: Clock
    ) -> None:
        await queue.send([message("later", delay=30), message("soon", delay=10), message("a")])
        assert await counted(queue) == Counts(1, 2, 0)
        assert ids(await queue.receive(10)) == ["a"]
        clock.advance(9)
        assert await queue.receive(10) == []
        await send(queue, "soon", "b")  # a duplicate of a scheduled message is one, too
        clock.advance(21)
        await send(queue, "c")
        assert ids(await queue.receive(1)) == ["b"]
        assert ids(await queue.receive(10)) == ["soon", "later", "c"]
        assert await counted(queue) == Counts(5, 0, 0)

    async def test_receive_waits_for_a_message(self, queue: SqliteQueue) -> None:
        waiting = asyncio.create_task(queue.receive(10, wait_seconds=60))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await send(queue, "a", "b")
        assert ids(await waiting) == ["a", "b"]

    async def test_receive_gives_up_waiting(self, queue: SqliteQueue) -> None:
        assert await queue.receive(wait_seconds=0.01) == []

    async def test_concurrent_receivers_share_the_messages(self, queue: SqliteQueue) -> None:
        names = [f"m{number:02}" for number in range(40)]
        receivers = [
            asyncio.create_task(queue.receive(7, wait_seconds=wait)) for wait in (60, 60, 0, 0)
        ]
        await send(queue, *names)
        await asyncio.wait(receivers)
        late = await asyncio.gather(*(queue.receive(7) for _ in range(6)))
        received = [r.result() for r in receivers] + late
        assert all(len(part) <= 7 for part in received)
        assert sorted(id for part in received for id in ids(part)) == names

    async def test_receivers_in_several_processes_share_the_messages(
        self, queue: SqliteQueue, opening: str
    ) -> None:
        names = [f"m{number:03}" for number in range(300)]
        await send(queue, *names)
        program = f"""
import asyncio
async def main():
    {opening}
    while received := await queue.receive(7):
        for message in received:
            print(message.id)
            await queue.complete(message)
    await queue.close()
asyncio.run(main())
"""
        outcomes = await asyncio.gather(*(run_python(program) for _ in range(3)))
        assert [code for code, _ in outcomes] == [0, 0, 0]
        assert sorted("".join(output for _, output in outcomes).split()) == names
        assert await counted(queue) == Counts(0, 0, 0)

    async def test_what_was_sent_survives_the_death_of_the_sender(
        self, queue: SqliteQueue, clock: Clock, opening: str
    ) -> None:
        program = f"""
import asyncio, os, signal
from queues.port import Message
async def main():
    {opening}
    for id in ("a", "b"):
        await queue.send([Message(id, b"1"), Message(id + id, b"2", delay=3600)])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
        code, _ = await run_python(program)
        assert code == -signal.SIGKILL
        clock.advance(60)  # past whenever it was sent
        assert await counted(queue) == Counts(2, 2, 0)
        await send(queue, "a", "bb")
        assert ids(await queue.receive(10)) == ["a", "b"]

    async def test_what_a_dead_receiver_held_comes_back(
        self, queue: SqliteQueue, clock: Clock, opening: str
    ) -> None:
        await send(queue, "a", "b")
        clock.advance(60)
        program = f"""
import asyncio, os, signal
async def main():
    {opening}
    first, second = await queue.receive(2)
    await queue.complete(first)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
        code, _ = await run_python(program)
        assert code == -signal.SIGKILL
        clock.advance(LOCK_DURATION * 2)
        (again,) = await queue.receive(10)
        assert (again.id, again.delivery_count) == ("b", 2)


async def act(queue: SqliteQueue, action: str, received: ReceivedMessage) -> None:
    """Settle or renew."""
    match action:
        case "complete":
            await queue.complete(received)
        case "abandon":
            await queue.abandon(received)
        case "renew":
            await queue.renew(received)
        case "dead_letter":
            await queue.dead_letter(received, "Test")
