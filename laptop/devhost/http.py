"""The HTTP side of the Functions host, as an ASGI app.

The form of a request to a function, and the treatment of the function's response, follow the host's
source (https://github.com/Azure/azure-functions-host: ToRpcHttp, AppServiceHeaderFixupMiddleware,
RawScriptResult), including its oddities: the app meets them in production.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from laptop.devhost.protobuf import RpcHttp, RpcHttpCookie, SameSite, TypedData
from laptop.devhost.runtime import Function, FunctionApp, IndexingFailed, InvocationFailed

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
"""The setting for the largest body in bytes."""
BODY_BYTES = 5 * 1024 * 1024
"""The default of that setting here; Azure's host takes 100 MB. It is somewhat more than Muster
takes, so that a body which is a little too large reaches Muster, and gets its error."""
BODY_SECONDS = 30.0
"""How long a body may take to arrive."""

log = logging.getLogger(__name__)


class HttpTriggers:
    """Serves the HTTP functions of an app. Routes are tried in the alphabetical order of the
    functions' names; a request that matches none, also because of its method, gets a 404."""

    def __init__(self, app: FunctionApp, route_prefix: str, body_bytes: int = BODY_BYTES) -> None:
        self._app = app
        self._body_bytes = body_bytes
        functions = sorted(app.triggered_by("httpTrigger"), key=lambda each: each.name.lower())
        self._routes = tuple(_Route.of(function, route_prefix) for function in functions)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one HTTP request of an ASGI server without lifespan and WebSockets."""
        for route in self._routes:
            params = route.match(scope["method"], scope["path"])
            if params is not None:
                break
        else:
            return await _send(send, 404)
        try:
            request, length = _request(scope, params)
        except ValueError:
            return await _send(send, 400)
        if length > self._body_bytes:
            return await _send(send, 413, _CLOSE)
        if length:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(receive)
            except TimeoutError:
                return await _send(send, 408, _CLOSE)
            if body is None:
                return None  # the client is gone
            request.body = TypedData(bytes=body)
        return await self._answer(route.function, request, send)

    async def _answer(self, function: Function, request: RpcHttp, send: Send) -> None:
        try:
            response = await self._app.invoke_http(function, request)
        except InvocationFailed as failure:
            log.error("%s\n%s", failure, failure.stack_trace)
            return await _send(send, 500)
        headers = [*response.headers.items()]
        headers += [("set-cookie", _set_cookie(cookie)) for cookie in response.cookies or ()]
        fields = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers]
        return await _send(send, int(response.status_code), fields, response.body.bytes)


@dataclass(frozen=True, slots=True)
class _Route:
    function: Function
    pattern: re.Pattern[str]
    methods: frozenset[str] | None

    @classmethod
    def of(cls, function: Function, route_prefix: str) -> "_Route":
        template = function.trigger.get("route") or function.name
        methods = function.trigger.get("methods")
        return cls(
            function,
            _pattern(f"{route_prefix}/{template}", function.name),
            frozenset(method.upper() for method in methods) if methods else None,
        )

    def match(self, method: str, path: str) -> dict[str, str] | None:
        found = self.pattern.fullmatch(path)
        if found is None or (self.methods is not None and method not in self.methods):
            return None
        return {name: value for name, value in found.groupdict().items() if value}


_PARAMETER = re.compile(r"\{(?P<catch_all>\*?)(?P<name>\w+)(?P<optional>\??)\}")


def _pattern(template: str, function: str) -> re.Pattern[str]:
    """The pattern of an ASP.NET route template of literals, `{name}`, `{name?}` and `{*name}`.
    Raises IndexingFailed for a template with constraints or defaults."""
    pattern = ""
    for segment in template.strip("/").split("/"):
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            if "{" in segment:
                raise IndexingFailed(f"{function}: devhost cannot match the route {template}.")
            pattern += "/" + re.escape(segment)
        elif parameter["catch_all"]:
            pattern += f"(?:/(?P<{parameter['name']}>.*))?"
        else:
            pattern += f"(?:/(?P<{parameter['name']}>[^/]+)){parameter['optional']}"
    return re.compile(pattern + "/?", re.IGNORECASE | re.DOTALL)


_PUBLIC_HOST = ("disguised-host", "x-forwarded-host", "host")


def _request(scope: Message, params: dict[str, str]) -> tuple[RpcHttp, int]:
    """The request in the form for the function, still without its body, and the body's length. The
    length is 0 without a Content-Length, because then the host does not read the body. Raises
    ValueError for a request that Kestrel refuses."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("ascii"), raw_value.decode()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    # A proxy in front, Azure's front end or a tunnel, passes on the host that the client addressed.
    host = next((headers[name] for name in _PUBLIC_HOST if headers.get(name)), "")
    if not host:
        raise ValueError("no host")
    headers["host"] = host
    scheme = "https" if headers.get("x-forwarded-proto", scope["scheme"]) == "https" else "http"
    query = scope["query_string"].decode("ascii")
    url = f"{scheme}://{host}{scope['raw_path'].decode('ascii')}"
    request = RpcHttp(
        method=scope["method"],
        url=f"{url}?{query}" if query else url,
        headers=headers,
        params=params,
        query=_parameters(query) if query else {},
    )
    return request, int(headers.get("content-length", "0"))


def _parameters(query: str) -> dict[str, str]:
    """The query's parameters; values of repeated names are joined with commas, empty ones
    dropped."""
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None where the client disconnected."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


_WITHOUT_BODY = (204, 304)
_CLOSE = ((b"connection", b"close"),)


async def _send(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b""
) -> None:
    fields = list(headers)
    if status not in _WITHOUT_BODY and all(name != b"content-length" for name, _ in fields):
        fields.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


_SAME_SITE = {SameSite.Lax: "lax", SameSite.Strict: "strict", SameSite.ExplicitNone: "none"}


def _set_cookie(cookie: RpcHttpCookie) -> str:
    """The header in the form of ASP.NET Core, with the value percent-encoded."""
    parts = [f"{cookie.name}={quote(cookie.value, safe='')}"]
    if cookie.expires:
        moment = datetime.fromtimestamp(cookie.expires.value.seconds, UTC)
        parts.append(f"expires={format_datetime(moment, usegmt=True)}")
    if cookie.max_age:
        parts.append(f"max-age={cookie.max_age.value:.0f}")
    if cookie.domain and cookie.domain.value:
        parts.append(f"domain={cookie.domain.value}")
    if cookie.path and cookie.path.value:
        parts.append(f"path={cookie.path.value}")
    if cookie.secure and cookie.secure.value:
        parts.append("secure")
    if cookie.same_site in _SAME_SITE:
        parts.append(f"samesite={_SAME_SITE[cookie.same_site]}")
    if cookie.http_only and cookie.http_only.value:
        parts.append("httponly")
    return "; ".join(parts)
