"""An ASGI application behind an HTTP-triggered function.

`azure.functions.AsgiMiddleware` does the same, but builds a WSGI environment and several copies of
the headers, which takes as long as Muster's answer to a read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from web.surface import UNREADABLE

type Message = MutableMapping[str, Any]
type Asgi = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class Trigger(Protocol):
    """The part of `azure.functions.HttpRequest` that is used."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def get_body(self) -> bytes: ...


@dataclass(slots=True)
class Answered:
    """An application's whole answer, its headers in order."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def scope_of(request: Trigger) -> Message:
    """The request as an ASGI scope. It is marked UNREADABLE where the URL's path is not
    percent-encoded UTF-8, or its host or port is invalid."""
    url, unreadable = request.url, False
    scheme, host, path, query = _parts(url)
    try:
        url.encode()
        decoded = unquote_to_bytes(path).decode()
        _check_host(host)
    except ValueError:
        scheme, host, path, query = _parts(url.encode("ascii", "replace").decode())
        decoded, unreadable = path, True
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": scheme,
        "path": decoded,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
        "server": None,
        "client": None,
        UNREADABLE: unreadable,
    }


def client_of(request: Trigger, proxies: int = 0) -> tuple[str, int] | None:
    """Address and port (0: not given) of the client; None where they are unknown. Each hop appends
    the address of its sender to X-Forwarded-For, after anything that the client wrote there itself.
    Azure's front end makes the last entry. With own `proxies` in front, such as Front Door, that
    entry names the last of them, and the client is that many entries before it.
    https://learn.microsoft.com/azure/app-service/overview-inbound-outbound-ips"""
    said = request.headers.get("x-forwarded-for") or ""
    hops = [hop.strip() for hop in said.split(",") if hop.strip()]
    if len(hops) <= proxies:
        return None
    try:
        hop = urlsplit(f"//{_bracketed(hops[-1 - proxies])}")
        return hop.hostname or "", hop.port or 0
    except ValueError:
        return None


def _bracketed(hop: str) -> str:
    """Puts an IPv6 address without a port, such as `2001:db8::1`, into brackets."""
    return f"[{hop}]" if hop.count(":") > 1 and not hop.startswith("[") else hop


def _parts(url: str) -> tuple[str, str, str, str]:
    scheme, _, rest = url.partition("://")
    target, _, query = rest.partition("?")
    host, _, path = target.partition("/")
    return scheme, host, f"/{path}", query


@lru_cache(maxsize=256)
def _check_host(host: str) -> None:
    """Raises ValueError."""
    _ = urlsplit(f"//{host}").port


async def answer(application: Asgi, request: Trigger, scope: Message) -> Answered:
    """Run the application on a request to its end."""
    answered = Answered()
    body = [request.get_body()]
    complete = asyncio.Event()

    async def receive() -> Message:
        if body:
            return {"type": "http.request", "body": body.pop(), "more_body": False}
        await complete.wait()  # the client does not leave before it has its answer
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.status = message["status"]
            fields = message["headers"]
            answered.headers = [(name.decode(), value.decode()) for name, value in fields]
        else:
            answered.body += message.get("body", b"")
            if not message.get("more_body"):
                complete.set()

    await application(scope, receive, send)
    return answered
