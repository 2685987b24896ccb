"""The access API: what the vendor's application asks about a user, read-only.

`GET /access/v1/users/{id}`, and `GET /access/v1/users?userName=…` or `?externalId=…`. Tokens are
of their own kind; a SCIM token is refused here.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from access.reading import AccessReader
from directory.store import Throttled, Unavailable
from scim.protocol.errors import ScimError
from scim.surface import REQUEST_SECONDS, Surface, request_id, route
from telemetry.logs import place
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.caller import Caller
from trust.rate import RateLimit
from trust.refusal import Refused, Unproven

log = logging.getLogger("muster.access")

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
            return _problem(
                400,
                "Say who: /access/v1/users/{id}, or one of the parameters userName and externalId.",
            )
        ((attribute, value),) = asked.items()
        return _answer(await reader.by_unique(caller.tenant, attribute, value))

    def proven(path: str, read: Read) -> Route:
        async def endpoint(request: Request) -> Response:
            route(request.scope, path)
            try:
                header = request.headers.get("authorization")
                caller = await authenticator.caller(header, "access")
                current().tenant_id = caller.tenant.tenant_id
                if wait := rate.take(caller.tenant.tenant_id):
                    return _busy(429, wait)
                return await read(request, caller)
            except Unproven as error:
                return _unauthorized(error)
            except Refused as error:
                return _problem(403, error.detail)
            except Throttled as error:
                return _busy(429, error.retry_after)
            except Unavailable:
                return _busy(503, 5)
            except Exception as error:  # noqa: BLE001 - its text may hold a person's data
                log.error("request %s failed: %s", request_id(), place(error))
                return _problem(
                    500,
                    "Muster could not answer because of a fault of its own. If it happens again, "
                    f"tell the operator the request id {request_id()}.",
                )

        return Route(path, endpoint, methods=["GET"])

    reads = {"/access/v1/users": by_name, "/access/v1/users/{id}": by_id}
    application = Starlette(
        routes=[proven(path, read) for path, read in reads.items()],
        exception_handlers={HTTPException: _no_route},
    )
    application.router.redirect_slashes = False
    return Surface("access", application, dict.fromkeys(reads, ("GET",)), _refused, seconds)


def _answer(access: dict[str, Any] | None) -> Response:
    if access is None:
        return _problem(404, "There is no such user in this organisation.")
    return _json(200, access)


def _unauthorized(error: Unproven) -> Response:
    response = _problem(
        401,
        "The bearer token is missing or not valid for the access API. Create one with "
        "'manage.py token create <tenant> --kind access'.",
    )
    response.headers["WWW-Authenticate"] = error.challenge
    return response


def _refused(error: ScimError) -> Response:
    response = _problem(error.status, error.detail)
    response.headers.update(error.headers)
    return response


def _busy(status: int, seconds: float) -> Response:
    response = _problem(status, "Muster is busy. Ask again after Retry-After seconds.")
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    response = _problem(status, "The access API knows GET /access/v1/users/{id}.")
    response.headers.update(headers)
    return response


def _problem(status: int, detail: str) -> Response:
    """An error as RFC 9457 has it."""
    return _json(status, {"status": status, "detail": detail}, "application/problem+json")


def _json(status: int, body: dict[str, Any], media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(body), status, media_type=media_type)
