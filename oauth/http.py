"""`POST /oauth/token`: OAuth 2.0 client credentials for SCIM clients, by a secret or by a workload
identity (RFC 6749 sections 2.3, 4.4 and 5; RFC 7523 section 3 for assertions).

It returns a token that opens the SCIM endpoint for an hour.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from oauth.errors import InvalidClient, OAuthError, described
from oauth.request import Credentials, check_grant, credentials, parse_form
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.rate import RateLimit
from trust.refusal import HomedElsewhere
from web.reading import read_body
from web.surface import REQUEST_SECONDS, Surface, at, routed
from web.trouble import too_many_requests, trouble_of

if TYPE_CHECKING:
    from trust.clients import ProvenClient

BODY_BYTES = 64 * 1024
SCOPE = "scim"
"""The scope of every token, whatever scope was asked for."""


log = logging.getLogger("muster.oauth")


def oauth_application(
    authenticator: Authenticator,
    rate: RateLimit,
    now: Callable[[], datetime],
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/oauth`; `seconds` is how long a request may take."""

    async def token(request: Request) -> Response:
        content = await read_body(request, BODY_BYTES)
        form = parse_form(request.headers.get("content-type", ""), content)
        check_grant(form)
        shown = credentials(request.headers.get("authorization"), form)
        proven = await authenticator.anew_before(
            (HomedElsewhere, InvalidClient), lambda: _prove(authenticator, shown, now())
        )
        current().tenant_id = proven.tenant.tenant_id
        if wait := rate.take(proven.tenant.tenant_id):
            raise too_many_requests(wait)
        return _granted(proven, form.get("scope"), now())

    route = at("/oauth/token", token, ("POST",))
    application = routed([route], "Muster knows POST /oauth/token.")
    return Surface("oauth", application, {"/oauth/token": ("POST",)}, refuse, seconds)


async def _prove(authenticator: Authenticator, shown: Credentials, now: datetime) -> "ProvenClient":
    """The client that the credentials prove. Raises OAuthError, and what the store raises."""
    from trust.clients import InvalidClient as NotProven

    clients = authenticator.signed().clients
    tenant = await clients.tenant_of(shown.client_id)
    try:
        if tenant is not None:
            authenticator.check_home(tenant)
        if shown.assertion:
            return await clients.by_assertion(shown.client_id, shown.assertion)
        return await clients.by_secret(shown.client_id, shown.secret, now)
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
    if scope not in (
        None,
        SCOPE,
    ):  # RFC 6749 section 5.1: required where it differs from the scope asked for
        answer["scope"] = SCOPE
    return _json(200, answer)


def refuse(error: Exception) -> Response:
    """The OAuth error for whatever was raised (RFC 6749 section 5.2)."""
    if isinstance(error, OAuthError):
        body = {"error": error.error, "error_description": error.description}
        return _json(error.status, body, error.headers)
    found = trouble_of(error)
    name = _ERRORS.get(found.status, "invalid_request")
    body = {"error": name, "error_description": described(found.detail)}
    # RFC 6749 section 5.2: `unauthorized_client` is a 400.
    return _json(400 if found.status == 403 else found.status, body, found.headers)


_ERRORS = {
    403: "unauthorized_client",
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
}
"""Error codes of section 4.1.2.1 where section 5.2 has none."""


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that may not be cached (RFC 6749 section 5.1)."""
    fixed = {"cache-control": "no-store", "pragma": "no-cache"}
    return Response(orjson.dumps(body), status, fixed | (headers or {}), "application/json")
