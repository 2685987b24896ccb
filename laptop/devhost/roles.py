"""What the processes of the laptop's host do: answer requests, or work on messages and timers. On
Azure, too, separate instances do so."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

import wiring
from laptop.devhost.hostfile import HostFile
from laptop.devhost.http import BODY_BYTES, LIMIT_SETTING, HttpTriggers
from laptop.devhost.processes import Parent
from laptop.devhost.pump import QueuePump
from laptop.devhost.runtime import Function, FunctionApp
from laptop.devhost.server import Server
from laptop.devhost.timer import Timer
from laptop.devhost.welcome import welcome
from queues.port import DIRECTORY_EVENTS, WEBHOOK_DELIVERIES
from queues.sqlite.queue import SqliteQueue
from telemetry import logs

APP_FOLDER = Path(__file__).parents[2]
NICENESS = 5
"""Of the process that works on messages: where processors are short, answers come first. With bulk
requests on two busy processors, 11 % more users a second, and access half a second later."""


class Wakeup:
    """Lets processes wake another one; made before they are."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def send(self) -> None:
        """Wake the reader."""
        with suppress(BlockingIOError):  # full: enough to wake it
            os.write(self._writer, b".")

    def received(self) -> None:
        """The reader is awake."""
        with suppress(BlockingIOError):
            os.read(self.reader, 4096)


async def answer(parent: Parent, sent: Wakeup) -> None:
    """Answer the requests of the connections that come from the parent; `sent` is for the process
    that works on messages. Raises IndexingFailed."""
    app = await FunctionApp.load(APP_FOLDER)
    application = wiring.application()
    if isinstance(application.sender, SqliteQueue):
        application.sender.tell(sent.send)
    server = Server(http_triggers(app))
    parent.take = server.take
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([]))
            parent.ready()
            await parent.stop.wait()
            application.feed.stop()
            server.should_exit = True
    finally:
        await application.close()


def http_triggers(app: FunctionApp) -> HttpTriggers:
    """What the HTTP server serves."""
    host = HostFile.read(APP_FOLDER / "host.json")
    body_bytes = int(os.environ.get(LIMIT_SETTING) or BODY_BYTES)
    return HttpTriggers(app, host.route_prefix, body_bytes)


async def work_on_messages(parent: Parent, sent: Wakeup) -> None:
    """Work on messages and run timers. `sent` says that there is a message. Raises
    IndexingFailed."""
    os.nice(NICENESS)
    app = await FunctionApp.load(APP_FOLDER)
    application = wiring.application()

    def look() -> None:
        sent.received()
        if isinstance(application.sender, SqliteQueue):
            application.sender.wake()

    asyncio.get_running_loop().add_reader(sent.reader, look)
    try:
        parent.ready()
        await work(app, application, parent.stop)
    finally:
        await application.close()


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


async def greet(_: Parent, url: str) -> None:
    """Print what to do with the server at this URL (scheme, host and port)."""
    application = wiring.application()
    try:
        await welcome(application, url)
    finally:
        await application.close()


def log_to_terminal() -> None:
    """Log to standard error in the format of `telemetry.logs`."""
    logging.basicConfig(level=logging.INFO)
    logs.configure()
