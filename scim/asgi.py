"""HTTP over ASGI, as much of it as the SCIM surface needs (https://asgi.readthedocs.io).

Starlette does more, and does it for every request: its middleware, router, request and response
cost several times what reading a user costs.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send


class HttpRequest:
    """A request on its way in; header names are in lower case, as every server sends them."""

    def __init__(
        self, scope: Scope, receive: Receive, path_params: Mapping[str, str] | None = None
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path_params: Mapping[str, str] = path_params or {}
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self._receive = receive

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it arrives; ends early where the client goes away."""
        more = True
        while more:
            message = await self._receive()
            yield message.get("body", b"")
            more = message.get("more_body", False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, which is an ASGI application that sends itself; `body` is None where there is
    none, not even an empty one."""

    body: bytes | None
    status: int
    headers: Mapping[str, str]
    media_type: str = ""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers.items()
        ]
        if self.body is not None:
            headers.append((b"content-length", str(len(self.body)).encode()))
            headers.append((b"content-type", self.media_type.encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body or b""})


@dataclass(frozen=True, slots=True)
class Match[Endpoint]:
    """Where a path leads: the pattern that it follows, and what answers which method there."""

    pattern: str
    methods: Mapping[str, Endpoint]
    path_params: Mapping[str, str] = field(default_factory=dict)


class Router[Endpoint]:
    """Paths such as `/Users` and `/Users/{id}`: at most one parameter, at the end."""

    def __init__(self, routes: Mapping[str, Mapping[str, Endpoint]]) -> None:
        self._whole: dict[str, Match[Endpoint]] = {}
        self._parents: dict[str, tuple[str, Match[Endpoint]]] = {}
        for pattern, methods in routes.items():
            parent, _, last = pattern.rpartition("/")
            if last.startswith("{"):
                self._parents[parent] = (last[1:-1], Match(pattern, methods))
            else:
                self._whole[pattern] = Match(pattern, methods)

    def match(self, path: str) -> Match[Endpoint] | None:
        """None where no pattern fits."""
        found = self._whole.get(path)
        if found is not None:
            return found
        parent, _, last = path.rpartition("/")
        if not last or parent not in self._parents:
            return None
        name, one = self._parents[parent]
        return Match(one.pattern, one.methods, {name: last})
