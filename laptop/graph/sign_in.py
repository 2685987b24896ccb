"""The part of Microsoft's sign-in service for the device code flow (RFC 8628)."""

import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from laptop.graph.clock import Clock

CLIENT = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_SECONDS = 5


@dataclass
class Device:
    """A sign-in in progress."""

    scopes: frozenset[str]
    next_poll: float
    polls: int = 0


class SignIn:
    """The sign-in service. A client that polls too fast is refused."""

    def __init__(self, clock: Clock) -> None:
        self.accepts = True
        """Whether the person signs in, which takes two polls."""
        self._clock = clock
        self._devices: dict[str, Device] = {}
        self._tokens: dict[str, frozenset[str]] = {}
        self.routes = [
            Route("/{directory}/oauth2/v2.0/devicecode", self._begin, methods=["POST"]),
            Route("/{directory}/oauth2/v2.0/token", self._poll, methods=["POST"]),
        ]

    def scopes_of(self, token: str) -> frozenset[str] | None:
        """The scopes of a token; None for an unknown token."""
        return self._tokens.get(token)

    def issue(self, scopes: str) -> str:
        """Issue a token for these scopes without a sign-in."""
        token = f"graph-{secrets.token_urlsafe(24)}"
        self._tokens[token] = frozenset(scope.rpartition("/")[2] for scope in scopes.split())
        return token

    async def _begin(self, request: Request) -> Response:
        form = await request.form()
        if set(form) != {"client_id", "scope"} or form["client_id"] != CLIENT:
            return _refused("unauthorized_client")
        code = secrets.token_urlsafe(24)
        scopes = frozenset(str(form["scope"]).split())
        self._devices[code] = Device(scopes, self._clock.now() + INTERVAL_SECONDS)
        return JSONResponse(
            {
                "device_code": code,
                "user_code": "ABCD-EFGH",
                "verification_uri": "https://microsoft.com/devicelogin",
                "expires_in": 900,
                "interval": INTERVAL_SECONDS,
                "message": "To sign in, use a web browser.",
            }
        )

    async def _poll(self, request: Request) -> Response:
        form = await request.form()
        device = self._devices.get(str(form.get("device_code")))
        if form.get("grant_type") != GRANT or form.get("client_id") != CLIENT or device is None:
            return _refused("invalid_grant")
        now = self._clock.now()
        if now < device.next_poll - 0.5:
            return _refused("expired_token")
        device.polls += 1
        if device.polls == 1:
            device.next_poll = now + INTERVAL_SECONDS
            return _refused("authorization_pending")
        if device.polls == 2:
            # The person is slow, and the service asks the client to poll more slowly.
            device.next_poll = now + INTERVAL_SECONDS + 5
            return _refused("slow_down")
        if not self.accepts:
            return _refused("authorization_declined")
        token = self.issue(" ".join(device.scopes))
        return JSONResponse(
            {"token_type": "Bearer", "expires_in": 3599, "access_token": token, "scope": ""}
        )


def _refused(error: str) -> Response:
    return JSONResponse({"error": error, "error_description": f"AADSTS: {error}."}, 400)
