"""Who is signed in: a signed cookie. The server keeps only which sessions were ended.

A session lasts an hour; signing in again costs no password while the provider still knows the
person, and asks for the roles anew, so that somebody who lost a role keeps it for that long at
most. Cookies are JSON Web Tokens (RFC 7519) under HMAC with SHA-256; `aud` keeps one purpose's
cookie from another's.
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
"""The app roles that open the console; either opens all of it."""
LIFE = timedelta(hours=1)
SIGN_IN_LIFE = timedelta(minutes=15)
"""How long somebody may take at the provider."""
PATH = "/console"
FLEET = f"{PATH}/fleet"
"""Where operators see every tenant."""
SECURE_PREFIX = "__Host-"
"""Of cookies that no other host, and nobody without TLS, can set
(https://www.rfc-editor.org/rfc/rfc6265bis, section 4.1.3)."""
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
    session_id: str
    epoch: int
    """The tenant's, when the session began."""
    expires: datetime
    invitation_id: str = ""
    """The set-up link that began it; such a session has no roles."""
    operator: bool = False
    """Whether it is of one of the vendor's operators, who sees every tenant and changes none. The
    tenant is the one that is looked at, or PARTITION."""

    @property
    def partition(self) -> str:
        """Where it is noted that it has ended: an operator's is one session, whatever tenant is
        looked at."""
        return PARTITION if self.operator else self.tenant_id

    @property
    def may_administer(self) -> bool:
        """Whether one of the roles opens all of the console."""
        return bool(set(self.roles).intersection(ROLES))

    def sent(self, csrf: str) -> bool:
        """Whether a form's token is this session's."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


class EndedSession(StoredModel):
    """A session that somebody signed out of; kept for longer than its cookie counts."""

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
    """End a session, whoever has a copy of its cookie. Raises StoreError."""
    ended = EndedSession(tenant_id=session.partition, session_id=session.session_id)
    await store.batch(session.partition, [Upsert(ended.to_document())])


async def has_ended(store: Store, session: Session) -> bool:
    """Whether somebody signed out of it. Raises StoreError."""
    ended = ended_session_id(session.session_id)
    return ended in await store.read_many(session.partition, [ended])


async def tenant_of(store: Store, session: Session, now: datetime) -> Tenant | None:
    """The tenant of a session, as it is now; None where the session was ended, by itself or with
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
    """Of PKCE (RFC 7636)."""
    path: str
    """Where to go afterwards."""


class Cookies:
    """Writes and reads the console's cookies. `keys` answers what signs them; `now` an aware UTC
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
        """Begin a session of a tenant; answers its id."""
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
        """Begin an operator's session; answers its id."""
        claims = {"tenant": PARTITION, "roles": [], "epoch": 0, "operator": True, **_fresh(name)}
        await self._set(request, response, _SESSION, claims, self._now() + LIFE)
        return str(claims["jti"])

    async def look_at(
        self, request: Request, response: Response, session: Session, tenant: Tenant
    ) -> None:
        """Let an operator's session go on with another tenant; it lives no longer for it."""
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
        """Take the session's cookie from this browser."""
        _delete(request, response, _SESSION)

    async def session(self, request: Request) -> Session | None:
        """The session that a request proves, if any; whether it was ended is another question."""
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
        """Keep what the callback will ask for."""
        claims = {
            "state": begun.state,
            "nonce": begun.nonce,
            "verifier": begun.verifier,
            "path": begun.path,
        }
        await self._set(request, response, _SIGN_IN, claims, self._now() + SIGN_IN_LIFE)

    def forget(self, request: Request, response: Response) -> None:
        """Let the callback be the last one."""
        _delete(request, response, _SIGN_IN)

    async def begun(self, request: Request) -> SignIn | None:
        """The sign-in that this browser began, if it did so lately."""
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
            **_place(request, name),
        )

    async def _read(self, request: Request, name: str) -> dict[str, Any] | None:
        if not (text := request.cookies.get(_place(request, name)["key"])):
            return None
        for key in await self._keys():
            if (claims := _verified(text, key, name)) is not None:
                return claims if claims["exp"] > self._now().timestamp() else None
        return None


class _Place(TypedDict):
    """Under what name a cookie is kept, and when it is sent."""

    key: str
    path: str
    secure: bool


def _fresh(name: str) -> dict[str, Any]:
    """What is a new session's own."""
    return {
        "name": name,
        "csrf": secrets.token_urlsafe(24),
        "jti": secrets.token_hex(16),
    }


def _place(request: Request, name: str) -> _Place:
    """Cookies are Secure and this host's alone, except where the console is addressed without TLS
    on loopback."""
    url = request.url
    if url.scheme == "http" and is_loopback(url.hostname):
        return {"key": name, "path": PATH, "secure": False}
    return {"key": SECURE_PREFIX + name, "path": "/", "secure": True}


def _delete(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(**_place(request, name), httponly=True, samesite="lax")


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
