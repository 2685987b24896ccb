"""The HTTP server under the laptop's host: uvicorn, with uvloop and httptools where installed."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from laptop.devhost.http import Message, Receive, Send

type Application = Callable[[Message, Receive, Send], Awaitable[None]]

HEAD_SECONDS = 30.0
"""How long the head of a request may take to arrive, from its first byte or from the beginning of
the connection."""
GRACE_SECONDS = 10
"""How long current requests may take when the server stops."""


class Server(uvicorn.Server):
    """Serves until `should_exit` is set. The process handles signals, because it has more to stop
    than this server."""

    def __init__(self, application: Application) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=_Protocol,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

        self._taking: set[asyncio.Task[None]] = set()

    def take(self, connection: socket.socket) -> None:
        """Serve a connection that another process has accepted."""
        taking = asyncio.get_running_loop().create_task(self._take(connection))
        self._taking.add(taking)
        taking.add_done_callback(self._taking.discard)

    async def _take(self, connection: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return _Protocol(config=self.config, server_state=self.server_state, app_state={})

        with contextlib.suppress(OSError):  # the client is gone
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


class _Gathering:
    """A transport that gathers all writes in one turn of the event loop and sends them together.
    uvicorn writes head and body of an answer separately; each packet would wake the client, which
    costs a point read a fifth of its time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            asyncio.get_running_loop().call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written and not self._transport.is_closing():
            self._transport.write(b"".join(self._written))
        self._written.clear()


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's protocol with a time limit for the head of a request. `cycle` is the current
    request, or else the one before."""

    _late: asyncio.TimerHandle | None = None
    """Closes the connection if the head does not arrive in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(_Gathering(transport))
        self._await_head()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._head_came()
        elif self._late is None and (before is None or before.response_complete):
            self._await_head()

    def connection_lost(self, error: Exception | None) -> None:
        self._head_came()
        super().connection_lost(error)

    def _await_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


@contextlib.asynccontextmanager
async def served(application: Application) -> AsyncIterator[str]:
    """Serve an application in this process, on a free port of this machine; yields its URL."""
    server = Server(application)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            await serving


def url_of(listener: socket.socket) -> str:
    """Scheme, host and port."""
    address, port = listener.getsockname()[:2]
    host = f"[{address}]" if listener.family == socket.AF_INET6 else address
    return f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve; port 0 takes a free one. Raises OSError and OverflowError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # Connections inherit the option. asyncio does not set it for a socket made like this, and
    # Nagle's algorithm would delay answers of two writes by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
