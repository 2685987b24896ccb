"""The SCIM surface over HTTP: routes, bodies, errors (RFC 7644 sections 3.1 and 3.12).

Every answer has the media type `application/scim+json`, errors included, and nothing redirects.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from directory.lanes import apart
from scim.bulk.operations import Bulk
from scim.counting import RequestCounter
from scim.exchange import BASES, BODY_BYTES, Answer, Request, served
from scim.failure import failed
from scim.groups import Groups
from scim.protocol.body import BODY_DEPTH, BODY_VALUES, BULK_VALUES, too_deep, values_in
from scim.protocol.errors import (
    InvalidSyntax,
    NotImplementedHere,
    UnsupportedEncoding,
)
from scim.refusing import Asked
from scim.search import Root
from scim.selection import check_lengths, search_parameters
from scim.service_provider import ServiceProvider
from scim.users import Users
from scim.writing import Service
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.caller import Caller
from trust.rate import RateLimit
from web.reading import read_body
from web.surface import REQUEST_SECONDS, Endpoint, Surface, at, request_id, routed
from web.trouble import too_many_requests, too_many_values

MEDIA_TYPE = "application/scim+json"
_IN_SEVERAL = "Split the request; members can be added to a group in several PATCH requests."
_BASE = "muster.base"
"""The key in a scope for the base that the client used."""
_ANYBODY = ""
"""Stands for the tenant of requests without a token."""

type Parameters = Mapping[str, str]
"""A path's parameters by name."""
type UseCase = Callable[[Request, Parameters], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Public:
    """An endpoint that needs no token: `answer` gets the base URL and the parameters, and no
    tenant."""

    answer: Callable[[str, Mapping[str, str]], Answer]


type Routes = Mapping[str, Mapping[str, UseCase | Public]]
"""Path → method → what answers it."""


def scim_application(
    service: Service,
    authenticator: Authenticator,
    rate: RateLimit,
    counter: RequestCounter,
    public_url: str = "",
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/scim` and `/scim/v2`, which are the same API.

    `public_url` (scheme and host) begins the locations of resources; empty: the host that the
    client addressed. `seconds` is how long a request may take.
    """
    served = _Served(authenticator, rate, counter, public_url.rstrip("/"))
    routes = _routes(service)
    return Surface("scim", _below_the_bases(routes, served), routes, refuse, seconds)


def _below_the_bases(routes: Routes, served: "_Served") -> ASGIApp:
    router = routed(
        (at(path, served.by(methods), methods) for path, methods in routes.items()),
        "There is no such SCIM endpoint. The Tenant URL in the Enterprise Application must end in "
        "/scim, with nothing behind it but a flag such as ?aadOptscim062020.",
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        """Accepts double slashes: clients append `/Users` to a Tenant URL that ends in a slash."""
        path = scope["path"]
        base = next((b for b in BASES if path == b or path.startswith(b + "/")), "")
        rest = "/" + path[len(base) :].strip("/")
        await router({**scope, "path": rest, _BASE: base}, receive, send)

    return application


@dataclass(frozen=True, slots=True)
class _Served:
    """Lets use cases answer HTTP requests."""

    authenticator: Authenticator
    rate: RateLimit
    counter: RequestCounter
    public_url: str

    def by(self, methods: Mapping[str, UseCase | Public]) -> Endpoint:
        """The endpoint of one path."""

        async def endpoint(http: HttpRequest) -> Response:
            use_case = methods["GET" if http.method == "HEAD" else http.method]
            if isinstance(use_case, Public):
                return self._public(http, use_case)
            header = http.headers.get("authorization")
            caller = await self.authenticator.caller(header, "scim")
            current().tenant_id = caller.tenant.tenant_id
            return _response(await self._answer(http, caller, header, use_case))

        return endpoint

    async def _answer(
        self, http: HttpRequest, caller: Caller, header: str | None, use_case: UseCase
    ) -> Answer:
        """Run a use case; whatever it raises becomes a SCIM error, which counts as an answer."""
        body, parameters = None, dict[str, str]()
        try:
            if seconds := self.rate.take(caller.tenant.tenant_id):
                raise too_many_requests(seconds)
            size = 0
            if http.method in ("POST", "PUT", "PATCH"):
                content = await _content(http)
                most = BULK_VALUES if current().operation.endswith("/Bulk") else BODY_VALUES
                body, size = await _body(caller.tenant.tenant_id, content, most), len(content)
            parameters = _parameters(http)
            request = Request(
                caller=caller,
                request_id=request_id(),
                base_url=self._base_url(http),
                parameters=parameters,
                if_match=http.headers.get("if-match"),
                if_none_match=http.headers.get("if-none-match"),
                body=body,
                size=size,
                renew=lambda: self.authenticator.renewed(caller, header, "scim"),
            )
            answer = await served(request, lambda one: use_case(one, http.path_params))
        except Exception as error:  # noqa: BLE001 - errors are counted, too
            answer = failed(error)
        asked = Asked(
            caller,
            request_id(),
            current().operation,
            http.path_params.get("id"),
            body,
            parameters.get("filter", ""),
        )
        self.counter.saw(asked, answer)
        return answer

    def _public(self, http: HttpRequest, endpoint: Public) -> Response:
        """Callers without a token share one rate limit. Raises Trouble, ScimError."""
        if seconds := self.rate.take(_ANYBODY):
            raise too_many_requests(seconds)
        return _response(endpoint.answer(self._base_url(http), _parameters(http)))

    def _base_url(self, http: HttpRequest) -> str:
        host = self.public_url
        if not host:
            host = f"{http.scope['scheme']}://{http.headers.get('host', '')}"
        return host + str(http.scope[_BASE])


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
    """The request with the query in its body (RFC 7644 section 3.4.3) moved to the parameters."""
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
    """The body without a byte order mark (RFC 8259 section 8.1). Raises Trouble,
    UnsupportedEncoding, and InvalidSyntax where there is no body."""
    encoding = http.headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedEncoding(
            f"The body's Content-Encoding is {encoding[:40]!r}. Send the JSON as it is, without "
            "compression and without that header."
        )
    hint = f"That is the maxPayloadSize of /Bulk, too. {_IN_SEVERAL}"
    text = (await read_body(http, BODY_BYTES, hint)).removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise InvalidSyntax(
            "The request has no body. Send a JSON object with a Content-Length header; a body in "
            "chunks without a length does not arrive."
        )
    return text


async def _body(tenant_id: str, content: bytes, most: int) -> Any:
    """The body as JSON, with at most `most` values. Raises InvalidSyntax, Trouble."""
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


def refuse(error: Exception) -> Response:
    """The response with the SCIM error for an exception."""
    return _response(failed(error))


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return Response(None, answer.status, answer.headers)
    return Response(orjson.dumps(answer.body), answer.status, answer.headers, MEDIA_TYPE)
