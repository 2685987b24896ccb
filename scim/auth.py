"""Who calls: a bearer token becomes a tenant and a connection.

Tokens issued by Muster read `muster_<kind>_<tenant id>_<token id>_<secret>`, with 256 random bits
of secret; the tenant keeps their SHA-256 digests only. A fast digest is enough, because a secret
of that size cannot be guessed. The tenant named in a token counts for nothing until the secret is
proven (product invariant: a tenant comes from the verified token and from nowhere else).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from directory.store import NotFound, Store
from directory.tenants import TENANT_ID, Tenant, Token
from scim.errors import Unauthorized

type TokenKind = Literal["scim", "access"]

TENANT_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TOKEN = re.compile(
    rf"muster_(?P<kind>scim|access)_(?P<tenant>{TENANT_ID_PATTERN.pattern})"
    r"_(?P<token>[0-9a-f]{8})_[0-9a-f]{64}"
)
_NO_DIGEST = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven caller. `connection_id` is empty for the application that reads the access API."""

    tenant: Tenant
    connection_id: str


def issue_token(
    kind: TokenKind, tenant_id: str, now: datetime, note: str = ""
) -> tuple[str, Token]:
    """A new token: the secret text, to be shown once, and what the tenant keeps of it."""
    token_id = secrets.token_hex(4)
    text = f"muster_{kind}_{tenant_id}_{token_id}_{secrets.token_hex(32)}"
    return text, Token(token_id=token_id, digest=_digest(text), created=now, note=note)


class Authenticator:
    """Verifies bearer tokens. Tenants are remembered for `remember` seconds, so a revoked token
    works that much longer at most."""

    def __init__(self, store: Store, now: Callable[[], datetime], remember: float = 5.0) -> None:
        self._store = store
        self._now = now
        self._remember = remember
        self._tenants: dict[str, tuple[float, Tenant | None]] = {}

    async def caller(self, authorization: str | None, kind: TokenKind) -> Caller:
        """The caller that an Authorization header proves. Raises Unauthorized (401, with
        WWW-Authenticate as RFC 6750 section 3 has it)."""
        if not authorization:
            raise _refused(
                "The request carries no Authorization header. In the Enterprise Application, under "
                "Provisioning, fill in Secret Token.",
                error=None,
            )
        scheme, _, text = authorization.partition(" ")
        found = _TOKEN.fullmatch(text.strip())
        if scheme.lower() != "bearer" or not found or found["kind"] != kind:
            raise _refused()
        tenant = await self._tenant(found["tenant"])
        connection_id = _prove(tenant, kind, found["token"], text.strip(), self._now())
        if tenant is None or connection_id is None:
            raise _refused()
        return Caller(tenant, connection_id)

    async def _tenant(self, tenant_id: str) -> Tenant | None:
        now = self._now().timestamp()
        remembered = self._tenants.get(tenant_id)
        if remembered and remembered[0] > now:
            return remembered[1]
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
            tenant = Tenant.from_document(stored.document)
        except NotFound:
            tenant = None
        if len(self._tenants) >= 10_000:
            self._tenants.clear()  # tenants that do not exist must not fill the memory
        self._tenants[tenant_id] = (now + self._remember, tenant)
        return tenant


def _prove(
    tenant: Tenant | None, kind: TokenKind, token_id: str, text: str, now: datetime
) -> str | None:
    """The connection whose live token this is ("" for the access API), or None."""
    owners: list[tuple[str, tuple[Token, ...]]] = []
    if tenant and kind == "scim":
        owners = [(c.connection_id, c.tokens) for c in tenant.connections]
    elif tenant:
        owners = [("", tenant.access_tokens)]
    live = [
        (owner, token.digest)
        for owner, tokens in owners
        for token in tokens
        if token.token_id == token_id and (token.expires is None or token.expires > now)
    ]
    owner, digest = live[0] if live else (None, _NO_DIGEST)
    # Compared in any case, so that the time taken does not tell whether the token id exists.
    return owner if hmac.compare_digest(digest, _digest(text)) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refused(
    detail: str = "The bearer token is not valid here: it may be mistyped, revoked, expired or "
    "meant for another system. Create a new one in Muster and paste it into the Enterprise "
    "Application under Provisioning, Secret Token.",
    error: str | None = "invalid_token",
) -> Unauthorized:
    challenge = 'Bearer realm="muster"' + (f', error="{error}"' if error else "")
    return Unauthorized(detail, headers={"WWW-Authenticate": challenge})
