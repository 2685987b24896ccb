"""The HTTP server under the laptop's host: uvicorn, with uvloop and httptools where installed."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from devhost.http import HttpTriggers

GRACE_SECONDS = 10
"""How long requests in hand may take when the server stops."""


class Server(uvicorn.Server):
    """Serves until `should_exit` is set. Signals are left to the process, which has more to stop
    than this."""

    def __init__(self, triggers: HttpTriggers) -> None:
        super().__init__(
            uvicorn.Config(
                triggers,
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

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def url_of(listener: socket.socket) -> str:
    """Scheme, host and port."""
    address, port = listener.getsockname()[:2]
    host = f"[{address}]" if listener.family == socket.AF_INET6 else address
    return f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve; port 0 takes a free one. Raises OSError and OverflowError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # Connections inherit it; asyncio sees no TCP in a socket made like this, and would leave
    # answers of two writes to Nagle's algorithm: 40 ms each.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
