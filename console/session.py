"""Sessions: a signed cookie says who is signed in. The server stores only which sessions have
ended.

A session lasts an hour. Signing in again reads the roles anew, so a lost role works for an hour at
most; it needs no password while the provider's own session lasts. Cookies are JSON Web Tokens (RFC
7519) signed with HMAC-SHA-256; `aud` keeps a cookie of one purpose from being used for another.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import jwt
from starlette.requests import Request
from starlette.responses import Response

from administration.invitations import is_invited
from console.one_time import is_loopback
from directory.documents import StoredModel
from directory.store import Store, Upsert
from directory.tenants import TENANT_ID, Tenant
from trust.signing import PARTITION, Keys

ROLES = ("Owner", "IntegrationAdministrator")
"""The app roles that open the console; each opens all of it."""
LIFE = timedelta(hours=1)
SIGN_IN_LIFE = timedelta(minutes=15)
"""The longest time for signing in at the provider."""
PATH = "/console"
FLEET = f"{PATH}/fleet"
"""Where operators see every tenant."""
SECURE_PREFIX = "__Host-"
"""The name prefix of cookies that only this host can set, and only over TLS
(https://www.rfc-editor.org/rfc/rfc6265bis, section 4.1.3)."""
_SESSION = "muster_console"
_SIGN_IN = "muster_sign_in"


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a signed-in administrator of one tenant. Pages and the log show `name`; `csrf`
    proves that a form came from one of this session's own pages."""

    tenant_id: str
    name: str
    roles: tuple[str, ...]
    csrf: str
    session_id: str
    epoch: int
    """The tenant's epoch when the session began."""
    expires: datetime
    invitation_id: str = ""
    """The set-up link that began it; such a session has no roles."""
    operator: bool = False
    """Whether it belongs to an operator of the vendor, who sees every tenant and changes none.
    `tenant_id` is then the tenant whose pages are open, or PARTITION."""

    @property
    def partition(self) -> str:
        """The partition in which its end is stored: the same for all tenants that an operator's
        session looks at."""
        return PARTITION if self.operator else self.tenant_id

    @property
    def may_administer(self) -> bool:
        """Whether one of its roles opens the console."""
        return bool(set(self.roles).intersection(ROLES))

    def sent(self, csrf: str) -> bool:
        """Whether a form's CSRF token is this session's."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


class EndedSession(StoredModel):
    """A session that was signed out of; stored for longer than its cookie is valid."""

    document_type = "EndedSession"

    session_id: str
    ttl: int = 2 * int(LIFE.total_seconds())

    @property
    def document_id(self) -> str:
        return ended_session_id(self.session_id)


def ended_session_id(session_id: str) -> str:
    """Document id of a session that was ended."""
    return f"ended-session:{session_id}"


async def end(store: Store, session: Session) -> None:
    """End a session, also for copies of its cookie. Raises StoreError."""
    ended = EndedSession(tenant_id=session.partition, session_id=session.session_id)
    await store.batch(session.partition, [Upsert(ended.to_document())])


async def has_ended(store: Store, session: Session) -> bool:
    """Whether the session was signed out of. Raises StoreError."""
    ended = ended_session_id(session.session_id)
    return ended in await store.read_many(session.partition, [ended])


async def tenant_of(store: Store, session: Session, now: datetime) -> Tenant | None:
    """The tenant of a session, as it is now; None where the session has ended, by sign-out or with
    the set-up link that began it. Raises StoreError."""
    if session.operator and await has_ended(store, session):
        return None
    ended = ended_session_id(session.session_id)
    found = await store.read_many(session.tenant_id, [TENANT_ID, ended])
    if ended in found or TENANT_ID not in found:
        return None
    tenant = Tenant.from_document(found[TENANT_ID].document)
    if tenant.session_epoch != session.epoch:
        return None
    if session.invitation_id and not is_invited(tenant, session.invitation_id, now):
        return None
    return tenant


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the callback must know of the request that began a sign-in."""

    state: str
    nonce: str
    verifier: str
    """The PKCE code verifier (RFC 7636)."""
    path: str
    """Where to go afterwards."""


class Cookies:
    """Writes and reads the console's cookies. `keys` answers the signing keys, `now` an aware UTC
    time."""

    def __init__(self, keys: Callable[[], Awaitable[Keys]], now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._now = now

    async def sign_in(
        self,
        request: Request,
        response: Response,
        tenant: Tenant,
        name: str,
        roles: Sequence[str],
        invitation_id: str = "",
    ) -> str:
        """Begin a session of a tenant; returns its id."""
        claims = {
            "tenant": tenant.tenant_id,
            "roles": [*roles],
            "epoch": tenant.session_epoch,
            "invitation": invitation_id,
            **_fresh(name),
        }
        await self._set(request, response, _SESSION, claims, self._now() + LIFE)
        return str(claims["jti"])

    async def sign_in_operator(self, request: Request, response: Response, name: str) -> str:
        """Begin an operator's session; returns its id."""
        claims = {"tenant": PARTITION, "roles": [], "epoch": 0, "operator": True, **_fresh(name)}
        await self._set(request, response, _SESSION, claims, self._now() + LIFE)
        return str(claims["jti"])

    async def look_at(
        self, request: Request, response: Response, session: Session, tenant: Tenant
    ) -> None:
        """Switch an operator's session to another tenant; its end stays the same."""
        claims = {
            "tenant": tenant.tenant_id,
            "roles": [],
            "epoch": tenant.session_epoch,
            "operator": True,
            "name": session.name,
            "csrf": session.csrf,
            "jti": session.session_id,
        }
        await self._set(request, response, _SESSION, claims, session.expires)

    def sign_out(self, request: Request, response: Response) -> None:
        """Delete the session's cookie in this browser."""
        _delete(request, response, _SESSION)

    async def session(self, request: Request) -> Session | None:
        """The session that the request's cookie proves, if any; `tenant_of` says whether it has
        ended."""
        claims = await self._read(request, _SESSION)
        if claims is None or "epoch" not in claims:
            return None
        return Session(
            claims["tenant"],
            claims["name"],
            tuple(claims["roles"]),
            claims["csrf"],
            claims["jti"],
            claims["epoch"],
            datetime.fromtimestamp(claims["exp"], UTC),
            claims.get("invitation", ""),
            claims.get("operator", False),
        )

    async def remember(self, request: Request, response: Response, begun: SignIn) -> None:
        """Store in a cookie what the callback needs."""
        claims = {
            "state": begun.state,
            "nonce": begun.nonce,
            "verifier": begun.verifier,
            "path": begun.path,
        }
        await self._set(request, response, _SIGN_IN, claims, self._now() + SIGN_IN_LIFE)

    def forget(self, request: Request, response: Response) -> None:
        """Delete the sign-in's cookie, so that no further callback works."""
        _delete(request, response, _SIGN_IN)

    async def begun(self, request: Request) -> SignIn | None:
        """The sign-in that this browser began in the last minutes, if any."""
        claims = await self._read(request, _SIGN_IN)
        if claims is None:
            return None
        return SignIn(claims["state"], claims["nonce"], claims["verifier"], claims["path"])

    async def _set(
        self,
        request: Request,
        response: Response,
        name: str,
        claims: dict[str, Any],
        expires: datetime,
    ) -> None:
        signing, *_ = await self._keys()
        response.set_cookie(
            value=jwt.encode({**claims, "aud": name, "exp": expires}, signing, "HS256"),
            max_age=int((expires - self._now()).total_seconds()),
            httponly=True,
            samesite="lax",  # the provider's redirect back must carry it
            **_scope(request, name),
        )

    async def _read(self, request: Request, name: str) -> dict[str, Any] | None:
        if not (text := request.cookies.get(_scope(request, name)["key"])):
            return None
        for key in await self._keys():
            if (claims := _verified(text, key, name)) is not None:
                return claims if claims["exp"] > self._now().timestamp() else None
        return None


class _Scope(TypedDict):
    """The name and the scope of a cookie."""

    key: str
    path: str
    secure: bool


def _fresh(name: str) -> dict[str, Any]:
    """The claims that every new session gets."""
    return {
        "name": name,
        "csrf": secrets.token_urlsafe(24),
        "jti": secrets.token_hex(16),
    }


def _scope(request: Request, name: str) -> _Scope:
    """Cookies are Secure and bound to this host, except where the console is addressed without TLS
    on loopback."""
    url = request.url
    if url.scheme == "http" and is_loopback(url.hostname):
        return {"key": name, "path": PATH, "secure": False}
    return {"key": SECURE_PREFIX + name, "path": "/", "secure": True}


def _delete(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(**_scope(request, name), httponly=True, samesite="lax")


def _verified(text: str, key: bytes, name: str) -> dict[str, Any] | None:
    """The claims of a cookie of this name that this key signed."""
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            algorithms=["HS256"],
            audience=name,
            options={"require": ["exp", "aud"], "verify_exp": False},
        )
    except jwt.InvalidTokenError:
        return None
    return claims
