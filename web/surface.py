"""What every HTTP surface puts around its ASGI application: request ids, security headers, a time
limit, an answer to every exception, and one log record and one span per request."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from directory.ulids import new_ulid
from telemetry import traces
from telemetry.network import network_of
from telemetry.observation import Observation, current
from web.trouble import Trouble, malformed, too_slow

REQUEST_SECONDS = 90.0
"""How long a request may take; .NET's HTTP clients give up after 100 seconds."""
HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
}
"""On every answer, unless the answer sets them itself."""

PARENT = "muster.traceparent"
"""Key in the scope: the span of the trigger. A client's own traceparent is ignored; it would make
the request part of a foreign trace."""
UNREADABLE = "muster.unreadable"
"""Key in the scope: set where the URL is malformed."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_REQUEST_ID_HEADERS = (b"x-request-id", b"client-request-id")
"""The first header that is present counts."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

type Refuse = Callable[[Exception], ASGIApp]
"""Makes this surface's answer to an exception (see `web.trouble`)."""
type Endpoint = Callable[[Request], Awaitable[Response]]


class Surface:
    """An ASGI application with all of that around it. `name` is its logger's; `routes` are the
    methods that it knows, by path; `refuse` makes the answer to whatever the application raises."""

    def __init__(
        self,
        name: str,
        application: ASGIApp,
        routes: Mapping[str, Collection[str]],
        refuse: Refuse,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.name = name
        self.routes = routes
        self._log = logging.getLogger(f"muster.{name}")
        self._application = application
        self._refuse = refuse
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request_id = _request_id(scope)
        with (
            Observation(
                self._log,
                f"{_method(scope)} {self.name}",
                request_id,
                network=_network(scope),
            ) as seen,
            traces.span(self.name, "server", parent=scope.get(PARENT)) as span,
        ):
            await self._answer(scope, receive, _completed(send, seen), seen)
            if span is not None:
                span.update_name(seen.operation)
                span.set_attributes({f"muster.{k}": v for k, v in seen.fields().items()})

    async def _answer(self, scope: Scope, receive: Receive, send: Send, seen: Observation) -> None:
        """Serve it and answer every exception, so that no answer is an empty 500."""
        try:
            if scope.get(UNREADABLE):
                raise malformed(_UNREADABLE_URL)
            await self._limited(scope, receive, send)
        except Exception as error:
            if seen.outcome:  # the answer has begun and cannot be replaced
                raise
            await self._refuse(error)(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it. Raises Trouble where it takes too long. What was committed by then stays, with
        its event; the rest is not written. That is safe, because no write relies on a later one."""
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                await self._application(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise too_slow(self._seconds) from None


def at(path: str, endpoint: Endpoint, methods: Iterable[str]) -> Route:
    """A Starlette route; log and trace name it by its path."""
    return Route(path, _Noted(path, endpoint), methods=[*methods])


class _Noted:
    """An endpoint as an ASGI application. It bypasses Starlette's wrapper for functions, which
    handles exceptions: the surface does that for all its endpoints."""

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route(scope, self._path)
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def routed(routes: Iterable[Route], known: str) -> ASGIApp:
    """Starlette's router, raising errors instead of answering them. `known` is the text of a 404
    and says what exists. A trailing slash in a path is ignored."""
    router = Router([*routes], redirect_slashes=False)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") or "/"
        try:
            # the router raises errors only where the scope has an `app`
            await router({**scope, "path": path, "app": router}, receive, send)
        except HTTPException as error:
            if error.status_code == 404:
                raise Trouble(404, known) from None
            if error.status_code == 405:
                raise _wrong_method(scope, error) from None
            raise

    return application


def _wrong_method(scope: Scope, error: HTTPException) -> Trouble:
    """Sorts the allowed methods, which the router lists in an order that differs between
    processes."""
    allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    detail = f"{_method(scope)} is not offered here; {allowed} is."
    return Trouble(405, detail, {"Allow": allowed})


def request_id() -> str:
    """The id of the current request."""
    return current().request_id


def route(scope: Scope, path: str) -> None:
    """Note which route a request took, for log and trace."""
    current().operation = f"{_method(scope)} {path}"


def _completed(send: Send, seen: Observation) -> Callable[[Message], Awaitable[None]]:
    """`send`, with the headers that every answer has."""

    async def complete(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.outcome = str(message["status"])
            headers = message["headers"]
            present = {name for name, _ in headers}
            headers += [each for each in _ENCODED if each[0] not in present]
            headers.append((b"x-request-id", seen.request_id.encode()))
        await send(message)

    return complete


def _method(scope: Scope) -> str:
    """The method for the log; an unknown one may hold any text, and is not logged as it is."""
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


def _request_id(scope: Scope) -> str:
    """The client's request id where it sent a harmless one, else a new one."""
    sent: dict[bytes, bytes] = dict(reversed(scope["headers"]))
    for name in _REQUEST_ID_HEADERS:
        text = sent.get(name, b"").decode("latin-1")
        if _REQUEST_ID.fullmatch(text):
            return text
    return new_ulid()


def _network(scope: Scope) -> str:
    client = scope.get("client")
    return network_of(client[0]) if client else ""


_UNREADABLE_URL = (
    "The request's URL cannot be read: its path must be percent-encoded UTF-8, and its host and "
    "port must be valid."
)
