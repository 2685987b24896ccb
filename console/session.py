"""Who is signed in: a signed cookie, and nothing on the server.

A session lasts an hour; signing in again costs no password while the provider still knows the
person, so that somebody who lost a role keeps it for that long at most. Cookies are JSON Web
Tokens (RFC 7519) under HMAC with SHA-256; `aud` keeps one purpose's cookie from another's.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from starlette.responses import Response

ROLES = ("Owner", "IntegrationAdministrator")
"""The app roles that open the console; either opens all of it."""
LIFE = timedelta(hours=1)
SIGN_IN_LIFE = timedelta(minutes=15)
"""How long somebody may take at the provider."""
PATH = "/console"
_SESSION = "muster_console"
_SIGN_IN = "muster_sign_in"


@dataclass(frozen=True, slots=True)
class Session:
    """A proven administrator of one tenant. `name` is what pages and the log show; `csrf` proves
    that a form came from one of this session's own pages."""

    tenant_id: str
    name: str
    roles: tuple[str, ...]
    csrf: str

    @property
    def may_administer(self) -> bool:
        """Whether one of the roles opens the console."""
        return bool(set(self.roles).intersection(ROLES))

    def sent(self, csrf: str) -> bool:
        """Whether a form's token is this session's."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the callback must know of the request that began a sign-in."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE (RFC 7636)."""
    path: str
    """Where to go afterwards."""


class Cookies:
    """Writes and reads the console's cookies. `key` signs them; `now` answers an aware UTC time."""

    def __init__(self, key: bytes, now: Callable[[], datetime]) -> None:
        self._key = key
        self._now = now

    def sign_in(
        self, response: Response, tenant_id: str, name: str, roles: Sequence[str], *, secure: bool
    ) -> None:
        """Begin a session."""
        claims = {
            "tenant": tenant_id,
            "name": name,
            "roles": [*roles],
            "csrf": secrets.token_urlsafe(24),
        }
        self._set(response, _SESSION, claims, LIFE, secure=secure)

    def sign_out(self, response: Response) -> None:
        """End the session in this browser."""
        response.delete_cookie(_SESSION, path=PATH)

    def session(self, cookies: Mapping[str, str]) -> Session | None:
        """The session that a request proves, if any."""
        claims = self._read(cookies, _SESSION)
        if claims is None:
            return None
        roles = tuple(claims["roles"])
        return Session(claims["tenant"], claims["name"], roles, claims["csrf"])

    def remember(self, response: Response, begun: SignIn, *, secure: bool) -> None:
        """Keep what the callback will ask for."""
        claims = {
            "state": begun.state,
            "nonce": begun.nonce,
            "verifier": begun.verifier,
            "path": begun.path,
        }
        self._set(response, _SIGN_IN, claims, SIGN_IN_LIFE, secure=secure)

    def forget(self, response: Response) -> None:
        """Let the callback be the last one."""
        response.delete_cookie(_SIGN_IN, path=PATH)

    def begun(self, cookies: Mapping[str, str]) -> SignIn | None:
        """The sign-in that this browser began, if it did so lately."""
        claims = self._read(cookies, _SIGN_IN)
        if claims is None:
            return None
        return SignIn(claims["state"], claims["nonce"], claims["verifier"], claims["path"])

    def _set(
        self,
        response: Response,
        name: str,
        claims: dict[str, Any],
        life: timedelta,
        *,
        secure: bool,
    ) -> None:
        claims |= {"aud": name, "exp": self._now() + life}
        response.set_cookie(
            name,
            jwt.encode(claims, self._key, "HS256"),
            max_age=int(life.total_seconds()),
            path=PATH,
            secure=secure,
            httponly=True,
            samesite="lax",  # the provider's redirect back must carry it
        )

    def _read(self, cookies: Mapping[str, str], name: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                cookies.get(name, ""),
                self._key,
                algorithms=["HS256"],
                audience=name,
                options={"require": ["exp", "aud"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            return None
        return claims if claims["exp"] > self._now().timestamp() else None
