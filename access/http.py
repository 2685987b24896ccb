"""The access API: what the vendor's application asks about a user, read-only.

`GET /access/v1/users/{id}`, and `GET /access/v1/users?userName=…` or `?externalId=…`. Tokens are
of their own kind; a SCIM token is refused here.
"""

import logging
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from access.reading import AccessReader
from scim.auth import Authenticator
from scim.errors import Unauthorized

log = logging.getLogger("muster.access")


def access_application(reader: AccessReader, authenticator: Authenticator) -> ASGIApp:
    """The ASGI application for `/access`."""

    async def by_id(request: Request) -> Response:
        caller = await authenticator.caller(request.headers.get("authorization"), "access")
        return _answer(await reader.of_user(caller.tenant, request.path_params["id"]))

    async def by_name(request: Request) -> Response:
        caller = await authenticator.caller(request.headers.get("authorization"), "access")
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

    application = Starlette(
        routes=[
            Route("/access/v1/users", by_name, methods=["GET"]),
            Route("/access/v1/users/{id}", by_id, methods=["GET"]),
        ],
        exception_handlers={
            Unauthorized: _unauthorized,
            HTTPException: _no_route,
            Exception: _fault,
        },
    )
    application.router.redirect_slashes = False
    return application


def _answer(access: dict[str, Any] | None) -> Response:
    if access is None:
        return _problem(404, "There is no such user in this organisation.")
    return _json(200, access)


async def _unauthorized(_: Request, error: Exception) -> Response:
    headers = error.headers if isinstance(error, Unauthorized) else {}
    response = _problem(
        401,
        "The bearer token is missing or not valid for the access API. Create one with "
        "'manage.py token create <tenant> --kind access'.",
    )
    response.headers.update(headers)
    return response


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    response = _problem(status, "The access API knows GET /access/v1/users/{id}.")
    response.headers.update(headers)
    return response


async def _fault(_: Request, error: Exception) -> Response:
    log.error("access request failed: %s", type(error).__name__)
    return _problem(500, "Muster could not answer because of a fault of its own. Try again.")


def _problem(status: int, detail: str) -> Response:
    """An error as RFC 9457 has it."""
    return _json(status, {"status": status, "detail": detail}, "application/problem+json")


def _json(status: int, body: dict[str, Any], media_type: str = "application/json") -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(orjson.dumps(body), status, headers, media_type=media_type)
