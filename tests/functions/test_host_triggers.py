"""The queue and timer triggers, and the settings of host.json that they follow."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from laptop.devhost.hostfile import HostFile
from laptop.devhost.pump import QueuePump
from laptop.devhost.runtime import Function, FunctionApp, IndexingFailed, InvocationFailed
from laptop.devhost.timer import Timer, period
from queues.port import Message
from queues.sqlite.queue import SqliteQueue
from tests.contract.counting import Counts, counted

pytestmark = pytest.mark.asyncio(loop_scope="session")

MISTYPED = """
import azure.functions as func
app = func.FunctionApp()
@app.route("x")
def bad(req: int) -> str: return ""
"""
HOST = HostFile(max_concurrent_calls=3)


@pytest_asyncio.fixture(loop_scope="session")
async def queue(tmp_path: Path) -> AsyncIterator[SqliteQueue]:
    queue = SqliteQueue(tmp_path / "queue.sqlite", "echoes", lock_duration=1.0)
    yield queue
    await queue.close()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nobody announces."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def pumped(
    echo: FunctionApp, queue: SqliteQueue, until: Counts, host: HostFile = HOST
) -> None:
    """Run the pump until the queue looks like this, and then to its orderly end."""
    stop = asyncio.Event()
    pump = QueuePump(echo, echo.triggered_by("serviceBusTrigger")[0], queue, host)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(pump.run(stop))
        while await counted(queue) != until:  # noqa: ASYNC110 (polled from outside)
            await asyncio.sleep(0.01)
        stop.set()


async def test_a_message_whose_function_returns_is_completed(
    echo: FunctionApp, queue: SqliteQueue, echo_module: ModuleType
) -> None:
    bodies = [f"body {n}" for n in range(7)]
    await queue.send([Message(body, body.encode()) for body in bodies])
    await pumped(echo, queue, Counts(0, 0, 0))
    assert sorted(echo_module.delivered) == [(body, 1) for body in bodies]


async def test_a_message_whose_function_raises_comes_again_and_is_dead_lettered_at_last(
    echo: FunctionApp,
    queue: SqliteQueue,
    echo_module: ModuleType,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await queue.send([Message("poison", b"fail"), Message("other", b"other")])
    await pumped(echo, queue, Counts(0, 0, 1))
    failed = [count for body, count in echo_module.delivered if body == "fail"]
    assert failed == list(range(1, 11))
    assert ("other", 1) in echo_module.delivered
    assert [letter.id for letter in await queue.list_dead_letters()] == ["poison"]
    assert "RuntimeError: on demand" in caplog.text


async def test_no_more_messages_are_taken_than_may_run_at_once(
    echo: FunctionApp, queue: SqliteQueue, echo_module: ModuleType
) -> None:
    await queue.send([Message(f"m{n}", b"wait") for n in range(5)])
    running = asyncio.create_task(pumped(echo, queue, Counts(0, 0, 0)))
    await eventually(lambda: len(echo_module.delivered) >= 3)
    others = await queue.receive(10)
    assert len(others) == 2
    for message in others:
        await queue.abandon(message)
    echo_module.release.set()
    await running
    assert len(echo_module.delivered) == 5


async def test_the_lock_is_kept_while_the_function_runs(
    echo: FunctionApp, queue: SqliteQueue, echo_module: ModuleType
) -> None:
    await queue.send([Message("long", b"wait")])
    running = asyncio.create_task(pumped(echo, queue, Counts(0, 0, 0)))
    await eventually(lambda: len(echo_module.delivered) > 0)
    assert await queue.receive(1, wait_seconds=2.5) == []  # longer than two locks
    echo_module.release.set()
    await running
    assert echo_module.delivered == [("wait", 1)]


async def test_the_lock_is_not_kept_for_ever(
    echo: FunctionApp, queue: SqliteQueue, echo_module: ModuleType
) -> None:
    await queue.send([Message("endless", b"wait")])
    brief = replace(HOST, max_auto_lock_renewal=0.1)
    running = asyncio.create_task(pumped(echo, queue, Counts(0, 0, 0), brief))
    await eventually(lambda: len(echo_module.delivered) >= 2)
    echo_module.release.set()
    await running
    assert echo_module.delivered[:2] == [("wait", 1), ("wait", 2)]


async def test_what_is_in_hand_is_finished_when_the_pump_stops(
    echo: FunctionApp, queue: SqliteQueue, echo_module: ModuleType
) -> None:
    await queue.send([Message("m", b"wait")])
    stop = asyncio.Event()
    pump = QueuePump(echo, echo.triggered_by("serviceBusTrigger")[0], queue, HOST)
    running = asyncio.create_task(pump.run(stop))
    await eventually(lambda: len(echo_module.delivered) > 0)
    stop.set()
    await asyncio.wait({running}, timeout=1.5)
    assert not running.done()
    echo_module.release.set()
    await running
    assert await counted(queue) == Counts(0, 0, 0)


async def test_a_failed_invocation_carries_the_functions_own_stack(echo: FunctionApp) -> None:
    deliver = echo.triggered_by("serviceBusTrigger")[0]
    with pytest.raises(InvocationFailed, match="on demand") as failure:
        await echo.invoke_queue(deliver, b"fail", message_id="m", delivery_count=4)
    assert "echo_app.py" in failure.value.stack_trace


async def test_a_timer_runs_at_once_and_stops_when_told(
    echo: FunctionApp, echo_module: ModuleType
) -> None:
    stop = asyncio.Event()
    timer = Timer(echo, echo.triggered_by("timerTrigger")[0])
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(timer.run(stop))
        await eventually(lambda: len(echo_module.ticks) > 0)
        stop.set()
    assert echo_module.ticks == [False]


async def test_a_timer_keeps_to_its_schedule(echo: FunctionApp, echo_module: ModuleType) -> None:
    stop = asyncio.Event()
    tick = echo.triggered_by("timerTrigger")[0]
    every_second = Function(tick.id, tick.name, {**tick.trigger, "schedule": "*/1 * * * * *"})
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(Timer(echo, every_second).run(stop))
        await eventually(lambda: len(echo_module.ticks) >= 3)
        stop.set()


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("*/30 * * * * *", 30),
        ("*/1 * * * * *", 1),
        ("0 */5 * * * *", 300),
        ("0 */60 * * * *", 3600),
    ],
)
async def test_periods(schedule: str, seconds: float) -> None:
    assert period(Function("id", "tick", {"schedule": schedule})) == seconds


@pytest.mark.parametrize(
    "schedule",
    [
        "*/30 * * * *",
        "*/7 * * * * *",
        "*/0 * * * * *",
        "0 */7 * * * *",
        "0 0 * * * *",
        "0 */5 9-17 * * *",
        "%SCHEDULE%",
        "00:00:30",
    ],
)
async def test_other_schedules_are_refused_by_name(schedule: str) -> None:
    with pytest.raises(IndexingFailed, match="tick"):
        period(Function("id", "tick", {"schedule": schedule}))


async def test_host_json(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    file.write_text("{}")
    assert HostFile.read(file) == HostFile("api", 16, 300.0)
    file.write_text(
        """{"extensions": {"http": {"routePrefix": ""}, "serviceBus":
        {"maxConcurrentCalls": 2, "maxAutoLockRenewalDuration": "01:02:03"}}}"""
    )
    assert HostFile.read(file) == HostFile("", 2, 3723.0)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "no_such_module"),
        ("app = None", "Could not find top level function app"),
        (MISTYPED, "bad"),
    ],
)
async def test_an_app_that_cannot_be_indexed_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    script = tmp_path / f"broken_{len(source)}.py"
    script.write_text(source)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHON_SCRIPT_FILE_NAME", script.name)
    with pytest.raises(IndexingFailed, match=says):
        await FunctionApp.load(tmp_path)


async def test_a_folder_without_an_app_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(IndexingFailed, match=r"function_app\.py"):
        await FunctionApp.load(tmp_path)
