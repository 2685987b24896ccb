"""The SCIM surface over HTTP: routes, bodies, errors (RFC 7644 sections 3.1 and 3.12).

Every answer has the media type `application/scim+json`, errors included, and nothing redirects.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from directory.lanes import apart
from scim.asgi import HttpRequest, Response, Router
from scim.bulk.operations import Bulk
from scim.counting import RequestCounter
from scim.exchange import BASES, BODY_BYTES, Answer, Request, served
from scim.failure import failed
from scim.groups import Groups
from scim.protocol.body import BODY_DEPTH, BODY_VALUES, BULK_VALUES, too_deep, values_in
from scim.protocol.errors import (
    InvalidSyntax,
    MethodNotAllowed,
    NotImplementedHere,
    ResourceNotFound,
    ScimError,
    UnsupportedEncoding,
)
from scim.search import Root
from scim.selection import check_lengths, search_parameters
from scim.service_provider import ServiceProvider
from scim.users import Users
from scim.writing import Service
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.rate import RateLimit
from web.surface import REQUEST_SECONDS, Surface, request_id, route
from web.trouble import Trouble, body_too_large, too_many_requests, too_many_values

MEDIA_TYPE = "application/scim+json"
_IN_SEVERAL = "Split the request; members can be added to a group in several PATCH requests."
_ANYBODY = ""
"""In place of a tenant, where none is known."""

type Parameters = Mapping[str, str]
"""A path's parameters by name."""
type UseCase = Callable[[Request, Parameters], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Public:
    """What anybody may ask, without a token: `answer` gets the base URL and the parameters, and
    knows no tenant."""

    answer: Callable[[str, Mapping[str, str]], Answer]


type Routes = Mapping[str, Mapping[str, UseCase | Public]]
"""What answers which method, by path."""


def scim_application(
    service: Service,
    authenticator: Authenticator,
    rate: RateLimit,
    counter: RequestCounter,
    public_url: str = "",
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/scim` and `/scim/v2`, which are the same API.

    `public_url` (scheme and host) is what resources' locations begin with; empty: the host that
    the client addressed. `seconds` is how long a request may take.
    """
    routes = _routes(service)
    application = _Application(routes, authenticator, rate, counter, public_url)
    return Surface("scim", application, routes, refuse, seconds)


class _Application:
    def __init__(
        self,
        routes: Routes,
        authenticator: Authenticator,
        rate: RateLimit,
        counter: RequestCounter,
        public_url: str,
    ) -> None:
        self._authenticator = authenticator
        self._rate = rate
        self._counter = counter
        self._public_url = public_url.rstrip("/")
        self._router = Router(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A slash too many means nothing: clients join a Tenant URL that ends
        in one with `/Users`."""
        path = scope["path"]
        base = next((b for b in BASES if path == b or path.startswith(b + "/")), "")
        rest = "/" + path[len(base) :].strip("/")
        found = self._router.match(rest)
        params = found.path_params if found else None
        http = HttpRequest({**scope, "muster.base": base}, receive, params)
        methods = found.methods if found else {}
        use_case = methods.get("GET" if http.method == "HEAD" else http.method)
        if found is None or use_case is None:
            response = _no_route(http, methods)
        else:
            response = await self._serve(http, found.pattern, use_case)
            if tenant_id := current().tenant_id:
                self._counter.saw(tenant_id, response.status)
        await response(scope, receive, send)

    async def _serve(self, http: HttpRequest, path: str, use_case: UseCase | Public) -> Response:
        """Run a use case; whatever it raises becomes a SCIM error, which counts as an answer."""
        route(http.scope, path)
        try:
            if isinstance(use_case, Public):
                return _response(self._public(http, use_case))
            header = http.headers.get("authorization")
            caller = await self._authenticator.caller(header, "scim")
            current().tenant_id = caller.tenant.tenant_id
            if seconds := self._rate.take(caller.tenant.tenant_id):
                raise too_many_requests(seconds)
            body, size = None, 0
            if http.method in ("POST", "PUT", "PATCH"):
                content = await _content(http)
                most = BULK_VALUES if path.endswith("/Bulk") else BODY_VALUES
                body, size = await _body(caller.tenant.tenant_id, content, most), len(content)
            request = Request(
                caller=caller,
                request_id=request_id(),
                base_url=self._base_url(http),
                parameters=_parameters(http),
                if_match=http.headers.get("if-match"),
                if_none_match=http.headers.get("if-none-match"),
                body=body,
                size=size,
                renew=lambda: self._authenticator.renewed(caller, header, "scim"),
            )
            return _response(await served(request, lambda one: use_case(one, http.path_params)))
        except Exception as error:  # noqa: BLE001 - nothing may leave as an empty 500
            return refuse(error)

    def _public(self, http: HttpRequest, endpoint: Public) -> Answer:
        """Raises Trouble where strangers ask too often: all of them have one share together."""
        if seconds := self._rate.take(_ANYBODY):
            raise too_many_requests(seconds)
        return endpoint.answer(self._base_url(http), _parameters(http))

    def _base_url(self, http: HttpRequest) -> str:
        host = self._public_url
        if not host:
            host = f"{http.scope['scheme']}://{http.headers.get('host', '')}"
        return host + str(http.scope["muster.base"])


def _routes(service: Service) -> dict[str, dict[str, UseCase | Public]]:
    users = Users(service, service.resource_types["User"])
    groups = Groups(service, service.resource_types["Group"])
    root = Root([users, groups])
    bulk = Bulk({"/Users": users, "/Groups": groups})
    provider = ServiceProvider(service.resource_types)
    routes: dict[str, dict[str, UseCase | Public]] = {
        "/ServiceProviderConfig": {"GET": Public(provider.configuration)},
        "/ResourceTypes": {"GET": provider.all_resource_types},
        "/ResourceTypes/{name}": {"GET": provider.one_resource_type},
        "/Schemas": {"GET": provider.all_schemas},
        "/Schemas/{urn}": {"GET": provider.one_schema},
        "/Me": dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), _no_me),
        "/Bulk": {"POST": lambda request, _: bulk.process(request)},
        "/": {"GET": lambda request, _: root.search(request)},
        "/.search": {"POST": lambda request, _: root.search(_in_body(request))},
    }
    return _resource_routes("/Users", users) | _resource_routes("/Groups", groups) | routes


def _resource_routes(
    path: str, resources: Users | Groups
) -> dict[str, dict[str, UseCase | Public]]:
    return {
        path: {
            "GET": lambda request, _: resources.search(request),
            "POST": lambda request, _: resources.create(request),
        },
        f"{path}/.search": {
            "POST": lambda request, _: resources.search(_in_body(request)),
        },
        f"{path}/{{id}}": {
            "GET": lambda request, at: resources.get(request, at["id"]),
            "PUT": lambda request, at: resources.replace(request, at["id"]),
            "PATCH": lambda request, at: resources.patch(request, at["id"]),
            "DELETE": lambda request, at: resources.delete(request, at["id"]),
        },
    }


def _in_body(request: Request) -> Request:
    """A query that came as a body (RFC 7644 section 3.4.3), as if it had come in the URL."""
    return replace(request, parameters=search_parameters(request.body))


def _not_offered(detail: str) -> UseCase:
    async def refuse(_request: Request, _at: Parameters) -> Answer:
        raise NotImplementedHere(detail)

    return refuse


_no_me = _not_offered(
    "/Me is not offered: a token of an Enterprise Application is no user (RFC 7644 section 3.11). "
    "Ask for /Users with a filter."
)


def _parameters(http: HttpRequest) -> dict[str, str]:
    """The query's parameters, the last of equal names. Raises InvalidValue."""
    query = http.scope["query_string"].decode("latin-1")
    return check_lengths(dict(parse_qsl(query, keep_blank_values=True)))


async def _content(http: HttpRequest) -> bytes:
    """The body as it was sent, without the byte order mark that may be before it (RFC 8259
    section 8.1). Raises Trouble, UnsupportedEncoding, InvalidSyntax where there is none."""
    encoding = http.headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedEncoding(
            f"The body's Content-Encoding is {encoding[:40]!r}. Send the JSON as it is, without "
            "compression and without that header."
        )
    length = http.headers.get("content-length", "")
    if length.isdigit() and int(length) > BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in http.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise _too_large()
    text = bytes(body).removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise InvalidSyntax(
            "The request has no body. Send a JSON object with a Content-Length header; a body in "
            "chunks without a length does not arrive."
        )
    return text


async def _body(tenant_id: str, content: bytes, most: int) -> Any:
    """The body as JSON, of so many values at most. Raises InvalidSyntax, Trouble."""
    return await apart(tenant_id, len(content), lambda: _parsed(content, most))


def _parsed(body: bytes, most: int) -> Any:
    if values_in(body) > most:
        raise too_many_values(most, _IN_SEVERAL)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidSyntax(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column "
            f"{error.colno}. Send UTF-8 JSON as RFC 7644 section 3.8 says."
        ) from None
    if too_deep(content):
        raise InvalidSyntax(
            f"The body's objects and arrays are more than {BODY_DEPTH} deep in each other. No "
            "SCIM request needs that; look for a value that was wrapped again and again."
        )
    return content


def _too_large() -> Trouble:
    return body_too_large(
        BODY_BYTES,
        f"That is the maxPayloadSize of /Bulk, too. {_IN_SEVERAL}",
    )


def refuse(error: Exception) -> Response:
    """The SCIM error for whatever was raised."""
    return _response(failed(error))


def _no_route(http: HttpRequest, methods: Collection[str]) -> Response:
    """The answer where nothing is, or nothing for this method."""
    allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
    error: ScimError = ResourceNotFound(
        "There is no such SCIM endpoint. The Tenant URL in the Enterprise Application must "
        "end in /scim, with nothing behind it but a flag such as ?aadOptscim062020."
    )
    if allowed:
        error = MethodNotAllowed(
            f"This endpoint does not know {http.method[:20]}; it knows {allowed}.",
            headers={"Allow": allowed},
        )
    return refuse(error)


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return Response(None, answer.status, answer.headers)
    return Response(orjson.dumps(answer.body), answer.status, answer.headers, media_type=MEDIA_TYPE)
