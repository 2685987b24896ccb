"""`POST /oauth/token`: OAuth 2.0 client credentials for SCIM clients, by a secret or by a
workload's own identity (RFC 6749 sections 2.3, 4.4 and 5; RFC 7523 section 3 for assertions).

The token that it answers opens the SCIM endpoint for an hour.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from directory.store import Throttled, Unavailable
from oauth.errors import (
    Busy,
    InvalidClient,
    InvalidRequest,
    OAuthError,
    TooManyRequests,
    UnauthorizedClient,
)
from oauth.request import Credentials, check_grant, credentials, parse_form
from scim.protocol.errors import ScimError
from scim.rate import RateLimit
from scim.surface import REQUEST_SECONDS, Surface, request_id, route
from telemetry.logs import place
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.refusal import HomedElsewhere, KeysUnavailable

if TYPE_CHECKING:
    from trust.clients import ProvenClient

BODY_BYTES = 64 * 1024
SCOPE = "scim"
"""The only thing that a token is for, whatever scope was asked for."""

log = logging.getLogger("muster.oauth")


def oauth_application(
    authenticator: Authenticator,
    rate: RateLimit,
    now: Callable[[], datetime],
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/oauth`; `seconds` is how long a request may take."""

    async def token(request: Request) -> Response:
        route(request.scope, "/oauth/token")
        try:
            form = parse_form(request.headers.get("content-type", ""), await _body(request))
            check_grant(form)
            shown = credentials(request.headers.get("authorization"), form)
            proven = await _prove(authenticator, shown, now())
            current().tenant_id = proven.tenant.tenant_id
            if wait := rate.take(proven.tenant.tenant_id):
                raise TooManyRequests("The tenant asks for too many tokens. Ask later.", wait)
        except OAuthError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - nothing may leave as an empty 500
            return _failure(error)
        return _granted(proven, form.get("scope"), now())

    application = Starlette(
        routes=[Route("/oauth/token", token, methods=["POST"])],
        exception_handlers={HTTPException: _no_route},
    )
    application.router.redirect_slashes = False
    return Surface("oauth", application, {"/oauth/token": ("POST",)}, _ended, seconds)


async def _prove(authenticator: Authenticator, shown: Credentials, now: datetime) -> "ProvenClient":
    """The client behind the credentials. Raises OAuthError, and what the store raises."""
    from trust.clients import InvalidClient as NotProven

    clients = authenticator.signed().clients
    tenant = await clients.tenant_of(shown.client_id)
    try:
        if tenant is not None:
            authenticator.check_home(tenant)
        if shown.assertion:
            return await clients.by_assertion(shown.client_id, shown.assertion)
        return await clients.by_secret(shown.client_id, shown.secret, now)
    except HomedElsewhere as error:
        raise UnauthorizedClient(error.detail) from None
    except KeysUnavailable as error:
        raise Busy(error.detail, error.retry_after) from None
    except NotProven as error:
        log.info("refused: %s: %s", shown.client_id if tenant else "no client", error)
        hint = "; 'manage.py client show' lists what it may use"
        raise InvalidClient(f"{error}{hint}") from None


def _granted(proven: "ProvenClient", scope: str | None, now: datetime) -> Response:
    from trust.clients import LIFETIME

    answer: dict[str, Any] = {
        "access_token": proven.access_token(now),
        "token_type": "Bearer",
        "expires_in": int(LIFETIME.total_seconds()),
    }
    if scope not in (None, SCOPE):  # RFC 6749 section 5.1: said where it is not what was asked for
        answer["scope"] = SCOPE
    return _json(200, answer)


async def _body(request: Request) -> bytes:
    """Raises InvalidRequest."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise InvalidRequest(f"The body has more than {BODY_BYTES} bytes.")
    return bytes(body)


def _failure(error: Exception) -> Response:
    match error:
        case Throttled(retry_after=seconds):
            return _refusal(TooManyRequests("The directory is busy. Ask later.", seconds))
        case Unavailable():
            return _refusal(Busy("The directory did not answer in time. Ask again.", 5))
    log.error("request %s failed: %s", request_id(), place(error))
    body = {
        "error": "server_error",
        "error_description": "Muster could not answer because of a fault of its own. If it happens "
        f"again, tell the operator the request id {request_id()}.",
    }
    return _json(500, body)


def _ended(error: ScimError) -> Response:
    return _refusal(Busy(error.detail, float(error.headers.get("Retry-After", 5))))


def _refusal(error: OAuthError) -> Response:
    body = {"error": error.error, "error_description": error.description}
    return _json(error.status, body, error.headers)


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    body = {"error": "invalid_request", "error_description": "Muster knows POST /oauth/token."}
    return _json(status, body, dict(headers))


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """RFC 6749 section 5.1: nothing of it may be stored."""
    fixed = {"cache-control": "no-store", "pragma": "no-cache"}
    return Response(orjson.dumps(body), status, fixed | (headers or {}), "application/json")
