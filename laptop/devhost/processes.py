"""The processes of the laptop's host. The first one imports everything, listens, and forks the
others, which so share its memory. It hands them the connections in turn, and replaces a process
that ends. It has neither an event loop nor threads, so that it can fork at any time.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from typing import Any

from uvicorn.loops.auto import auto_loop_factory

from directory.sqlite.schema import UnusableFile
from laptop.devhost.runtime import IndexingFailed

PAUSE_SECONDS = 1.0
"""Between the end of a process and the start of the next one in its place."""
_READY, _CONNECTION, _TAKEN = b"r", b"c", b"t"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger("devhost")


class Parent:
    """What a process has of the one that started it; if that one dies, the process ends at once."""

    def __init__(self, channel: socket.socket, lifeline: int) -> None:
        self.stop = asyncio.Event()
        """Set when the process must end in order."""
        self.take: Callable[[socket.socket], None] = socket.socket.close
        """Called with each connection that the process must serve."""
        self._channel = channel
        channel.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(channel, self._read)
        loop.add_reader(lifeline, os._exit, 1)
        loop.add_signal_handler(signal.SIGTERM, self.stop.set)

    def ready(self) -> None:
        """From now on the process does its work."""
        self._channel.send(_READY)

    def _read(self) -> None:
        for each in socket.recv_fds(self._channel, 1, 1)[1]:
            self.take(socket.socket(fileno=each))
            self._channel.send(_TAKEN)


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is for. `run` does it until `Parent.stop` is set; it says when it is ready.
    A role that `serves` gets connections. A role that ends, such as a text to print, is not
    replaced. `does` stands in the log: "answers requests"."""

    does: str
    run: Callable[[Parent], Coroutine[Any, Any, None]]
    serves: bool = False
    ends: bool = False


@dataclass(slots=True, eq=False)
class _Process:
    role: Role
    process: ForkProcess
    channel: socket.socket
    replaces: bool
    """Whether there was another one in its place."""
    handed: deque[socket.socket] = field(default_factory=deque)
    """Copies of the connections that it has not taken yet; where it ends first, another one gets
    them."""
    ready: bool = False


class Processes:
    """Runs a process for each role, and hands the connections of `listener` to those that serve."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._listening = False
        self._unserved: deque[socket.socket] = deque()
        """Connections that no process has."""
        self._selector = selectors.DefaultSelector()
        self._running: list[_Process] = []
        self._first: deque[Role] = deque()
        """What was not started so far: each role waits for the one before."""
        self._replacements: deque[tuple[float, Role]] = deque()
        """With the time (`time.monotonic`) at which it is started."""
        self._stopping = False
        self._failed = False
        # Only this process holds the other end. A pipe, because a socket whose other end closes
        # with something unread is in error, and uvloop then reads it no more.
        self._lifeline, self._lifeline_held = os.pipe()

    def run(self, roles: Iterable[Role]) -> int:
        """Run until SIGINT or SIGTERM; a second one kills. Returns the exit code, which is 1 where
        a process could not start: its log says why."""
        gc.freeze()  # or each process would write to, and so copy, what it shares
        self._heed_signals()
        self._first.extend(roles)
        self._start_next()
        while self._running or self._replacements:
            for key, _ in self._selector.select(self._rest()):
                key.data()
            while self._rest() == 0:
                self._start(self._replacements.popleft()[1], replaces=True)
        return int(self._failed)

    def _rest(self) -> float | None:
        """Seconds until the next replacement, at least 0; None where none is due."""
        if not self._replacements:
            return None
        return max(0.0, self._replacements[0][0] - time.monotonic())

    def _heed_signals(self) -> None:
        woken, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno())  # writes a byte for each signal
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        self._selector.register(
            woken, selectors.EVENT_READ, lambda: self._stop_on(woken.recv(4096))
        )

    def _stop_on(self, signals: bytes) -> None:
        if self._stopping or len(signals) > 1:
            for each in self._running:
                each.process.kill()
            os._exit(128 + signals[-1])
        log.info("Stopping")
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._first.clear()
        self._replacements.clear()
        self._listen()
        for each in self._running:
            each.process.terminate()

    def _start_next(self) -> None:
        if self._first:
            self._start(self._first.popleft(), replaces=False)

    def _start(self, role: Role, *, replaces: bool) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=self._become, args=(role, theirs))
        started = _Process(role, process, ours, replaces)
        self._running.append(started)
        # A process must not miss a signal before it has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        theirs.close()
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(started))

    def _hear(self, process: _Process) -> None:
        """The process says that it is ready; or the channel is closed, because it ended."""
        try:
            said = process.channel.recv(1)
        except ConnectionResetError:  # it ended before it took all; what it said comes next
            return
        if said == _TAKEN:
            process.handed.popleft().close()
        elif said == _READY:
            process.ready = True
            self._start_next()
        else:
            self._ended(process)
        self._listen()

    def _ended(self, ended: _Process) -> None:
        self._selector.unregister(ended.channel)
        ended.channel.close()
        self._running.remove(ended)
        self._unserved.extend(ended.handed)
        ended.process.join()
        code = ended.process.exitcode
        if self._stopping:
            return
        if ended.role.ends and code == 0:
            self._start_next()
        elif ended.ready or ended.replaces:
            log.error("The process that %s ended (%s); it is started again", ended.role.does, code)
            self._replacements.append((time.monotonic() + PAUSE_SECONDS, ended.role))
        else:
            self._failed = True
            self._stop()

    def _listen(self) -> None:
        """Accept connections while a process can serve them; others wait."""
        can = not self._stopping and self._next_to_serve() is not None
        while can and self._unserved:
            self._hand(self._unserved.popleft())
        if can and not self._listening:
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        elif self._listening and not can:
            self._selector.unregister(self._listener)
        self._listening = can

    def _next_to_serve(self) -> _Process | None:
        return next((each for each in self._running if each.role.serves and each.ready), None)

    def _accept(self) -> None:
        with suppress(OSError):  # the client is gone
            connection, _ = self._listener.accept()
            self._hand(connection)

    def _hand(self, connection: socket.socket) -> None:
        process = self._next_to_serve()
        if process is None:
            self._unserved.append(connection)
            return
        self._running.remove(process)
        self._running.append(process)
        process.handed.append(connection)
        try:
            socket.send_fds(process.channel, [_CONNECTION], [connection.fileno()])
        except BlockingIOError:  # it has not taken hundreds of them
            process.handed.pop().close()
        except OSError:  # it ended, and `_ended` will know
            pass

    def _become(self, role: Role, channel: socket.socket) -> None:
        """The life of another process, from the fork to its end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all; the first process acts
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        os.close(self._lifeline_held)
        self._selector.close()
        self._listener.close()
        for each in self._running:
            each.channel.close()  # or it would stay open when the first process dies
            for connection in each.handed:
                connection.close()
        for connection in self._unserved:
            connection.close()

        async def live() -> None:
            await role.run(Parent(channel, self._lifeline))

        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            try:
                runner.run(live())
            except UnusableFile as unusable:
                log.error("%s", unusable)
                sys.exit(1)
            except IndexingFailed as failure:
                log.error("The functions could not be loaded.\n%s", failure)
                sys.exit(1)
