"""`python -m laptop.devhost.worker`: the worker process, which handles messages and runs timers,
beside the process that answers requests. On Azure, too, they run on separate instances.

The other process starts the worker, and writes to its standard input: LOOK after it has sent a
message, STOP to end in order. If the input ends without STOP, the other process has died, and the
worker ends at once.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from uvicorn.loops.auto import auto_loop_factory

import wiring
from laptop.devhost.hostfile import HostFile
from laptop.devhost.pump import QueuePump
from laptop.devhost.runtime import Function, FunctionApp
from laptop.devhost.timer import Timer
from queues.port import DIRECTORY_EVENTS, WEBHOOK_DELIVERIES
from queues.sqlite.queue import SqliteQueue
from telemetry import logs

APP_FOLDER = Path(__file__).parents[2]
LOOK, STOP = b".", b"!"
READY = b"ready\n"
PAUSE_SECONDS = 1.0

log = logging.getLogger("devhost")


async def work(app: FunctionApp, application: wiring.Application, stop: asyncio.Event) -> None:
    """Run every function that is triggered by a queue or a timer until `stop` is set. Raises
    IndexingFailed."""
    host = HostFile.read(APP_FOLDER / "host.json")
    timers = [Timer(app, function) for function in app.triggered_by("timerTrigger")]
    pumps = [
        QueuePump(app, function, queue, host)
        for function in app.triggered_by("serviceBusTrigger")
        if (queue := embedded_queue(application, function))  # a Service Bus queue needs no pump
    ]
    async with asyncio.TaskGroup() as tasks:
        for pump in pumps:
            tasks.create_task(pump.run(stop))
        for timer in timers:
            tasks.create_task(timer.run(stop))


def embedded_queue(application: wiring.Application, function: Function) -> SqliteQueue | None:
    """The embedded queue of a function's messages; None where they come from Service Bus."""
    name = function.trigger.get("queueName", "")
    queue = {
        DIRECTORY_EVENTS: application.sender,
        WEBHOOK_DELIVERIES: application.webhook_queue,
        "": application.webhook_subscription,
    }[name]
    return queue if isinstance(queue, SqliteQueue) else None


async def work_apart(
    application: wiring.Application, ready: asyncio.Event, stop: asyncio.Event
) -> None:
    """Run a worker process until `stop` is set; `ready` is set when it works. A process that ends
    is replaced by a new one."""
    while not stop.is_set():
        async with _worker(application) as process:
            ready.set()
            ended, stopped = (asyncio.create_task(each.wait()) for each in (process, stop))
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
        if not stop.is_set():
            code = process.returncode
            log.error("The process that works on messages ended (%s); it is started again", code)
            await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def _worker(application: wiring.Application) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process that is ready, or has ended; it is stopped in order at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "laptop.devhost.worker",
        cwd=APP_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin = cast("asyncio.StreamWriter", process.stdin)
    stdout = cast("asyncio.StreamReader", process.stdout)

    def look() -> None:
        if not stdin.is_closing() and not stdin.transport.get_write_buffer_size():
            stdin.write(LOOK)

    try:
        await stdout.readline()
        if isinstance(application.sender, SqliteQueue):
            application.sender.tell(look)
        yield process
    finally:
        if not stdin.is_closing():
            stdin.write(STOP)
            stdin.close()
        await process.wait()


def log_to_terminal() -> None:
    """Log to standard error in the format of `telemetry.logs`."""
    logging.basicConfig(level=logging.INFO)
    logs.configure()


async def _run() -> None:
    stop = asyncio.Event()
    app = await FunctionApp.load(APP_FOLDER)
    application = wiring.application()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _listen, application, stop)
    try:
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await work(app, application, stop)
    finally:
        await application.close()


def _listen(application: wiring.Application, stop: asyncio.Event) -> None:
    signals = os.read(sys.stdin.fileno(), 4096)
    if STOP in signals:
        stop.set()
    if not signals:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if not stop.is_set():
            os._exit(1)
    if isinstance(application.sender, SqliteQueue):
        application.sender.wake()


def main() -> None:
    """The command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process handles Ctrl+C
    log_to_terminal()
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(_run())


if __name__ == "__main__":
    main()
