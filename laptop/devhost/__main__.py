"""`python -m laptop.devhost`: all of Muster on a laptop, on one SQLite file.

    HOST, PORT     where to listen (127.0.0.1, 7071)
    MUSTER_DATA    the folder that holds all state (.muster)

Ctrl+C stops it in order: current requests and messages are finished. A second one stops it at once.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from types import FrameType

from uvicorn.loops.auto import auto_loop_factory

import wiring
from directory.sqlite.schema import UnusableFile
from laptop.devhost.hostfile import HostFile
from laptop.devhost.http import BODY_BYTES, LIMIT_SETTING, HttpTriggers
from laptop.devhost.runtime import FunctionApp, IndexingFailed
from laptop.devhost.server import Server, listen, url_of
from laptop.devhost.welcome import welcome
from laptop.devhost.worker import APP_FOLDER, log_to_terminal, work, work_apart

log = logging.getLogger("devhost")


async def serve(listener: socket.socket, stop: asyncio.Event, *, apart: bool) -> None:
    """Run every function of the app until `stop` is set. With `apart`, functions that no request
    triggers run in a second process. Raises IndexingFailed."""
    host = HostFile.read(APP_FOLDER / "host.json")
    app = await FunctionApp.load(APP_FOLDER)
    body_bytes = int(os.environ.get(LIMIT_SETTING) or BODY_BYTES)
    server = Server(HttpTriggers(app, host.route_prefix, body_bytes))
    application, ready = wiring.application(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([listener]))
            if apart:
                tasks.create_task(work_apart(application, ready, stop))
                await ready.wait()
            else:
                tasks.create_task(work(app, application, stop))
            await welcome(application, url_of(listener))
            await stop.wait()
            log.info("Stopping")
            application.feed.stop()
            server.should_exit = True
    finally:
        await application.close()


async def run_until_signal(listener: socket.socket, *, apart: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    await serve(listener, stop, apart=apart)


def main(*, apart: bool = True) -> int:
    """The command; returns its exit code. `apart`: see `serve`."""
    log_to_terminal()
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "7071")
    try:
        listener = listen(host, int(port))
    except (OSError, ValueError, OverflowError) as error:
        log.error("Cannot listen on %s port %s: %s. Set HOST or PORT.", host, port, error)
        return 1
    with listener, asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        try:
            runner.run(run_until_signal(listener, apart=apart))
        except UnusableFile as unusable:
            log.error("%s", unusable)
            return 1
        except IndexingFailed as failure:
            log.error("The functions could not be loaded.\n%s", failure)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
