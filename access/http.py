"""The access API: what the vendor's application asks about a user, read-only.

`GET /access/v1/users/{id}`, and `GET /access/v1/users?userName=…` or `?externalId=…`, with a token
of the tenant; with a credential of the deployment the same below `/access/v1/tenants/{tenant}`.
Both are of their own kind; a SCIM token is refused here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from access.reading import AccessReader
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.caller import Caller
from trust.rate import RateLimit
from web.surface import REQUEST_SECONDS, Endpoint, Surface, at, routed
from web.trouble import Trouble, malformed, too_many_requests, trouble_of

type Read = Callable[[Request, Caller], Awaitable[Response]]


def access_application(
    reader: AccessReader,
    authenticator: Authenticator,
    rate: RateLimit,
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/access`; `seconds` is how long a request may take."""

    async def by_id(request: Request, caller: Caller) -> Response:
        return _answer(await reader.of_user(caller.tenant, request.path_params["id"]))

    async def by_name(request: Request, caller: Caller) -> Response:
        asked = {
            name: value
            for name, value in request.query_params.items()
            if name in ("userName", "externalId")
        }
        if len(asked) != 1:
            raise malformed(
                "Say who: /access/v1/users/{id}, or one of the parameters userName and externalId."
            )
        ((attribute, value),) = asked.items()
        return _answer(await reader.by_unique(caller.tenant, attribute, value))

    def proven(read: Read) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            header, named = request.headers.get("authorization"), request.path_params.get("tenant")
            if named is None:
                caller = await authenticator.caller(header, "access")
            else:
                caller = await authenticator.naming(header, "application", named)
            current().tenant_id = caller.tenant.tenant_id
            if wait := rate.take(caller.tenant.tenant_id):
                raise too_many_requests(wait)
            return await read(request, caller)

        return endpoint

    reads = {
        f"{base}/users{below}": read
        for base in ("/access/v1", "/access/v1/tenants/{tenant}")
        for below, read in {"": by_name, "/{id}": by_id}.items()
    }
    application = routed(
        (at(path, proven(read), ("GET",)) for path, read in reads.items()),
        "The access API knows GET /access/v1/users/{id}.",
    )
    return Surface("access", application, dict.fromkeys(reads, ("GET",)), refuse, seconds)


def refuse(error: Exception) -> Response:
    """Problem details (RFC 9457) for whatever was raised."""
    found = trouble_of(error)
    body = {"status": found.status, "detail": found.detail}
    return Response(
        orjson.dumps(body), found.status, found.headers, media_type="application/problem+json"
    )


def _answer(access: dict[str, Any] | None) -> Response:
    if access is None:
        raise Trouble(404, "There is no such user in this organisation.")
    return Response(orjson.dumps(access), media_type="application/json")
