"""The secrets that Muster issues: bearer tokens, the secrets of OAuth clients and of set-up links,
and credentials of the deployment.

Their form is `muster_<kind>_<owner>_<token id>_<secret>`, with 256 random bits of secret; secret
scanners recognise it. The owner is a tenant, or the id of a credential of the deployment. The owner
keeps SHA-256 digests only: a fast digest is enough, because a secret of that size cannot be
guessed. The owner that a token names is not trusted until the secret is verified.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from directory.tenants import Tenant, Token

type TokenKind = Literal["scim", "access", "console"]
"""What a bearer token opens: the SCIM endpoint, the access API, the console's JSON API."""
type SecretKind = Literal["scim", "access", "console", "secret", "invitation"]
"""A `secret` belongs to an OAuth client, which obtains tokens with it; an `invitation` belongs to a
link to the console's set-up pages. Neither is a bearer token."""
type DeploymentKind = Literal["application", "operator"]
"""What a credential of the deployment is for: `application` reads and follows the access of every
tenant, `operator` manages tenants."""

DEPLOYMENT_KINDS: tuple[DeploymentKind, ...] = ("application", "operator")
TENANT_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET = re.compile(
    rf"muster_(?P<kind>scim|access|console|secret|invitation|application|operator)"
    rf"_(?P<owner>{TENANT_ID_PATTERN.pattern})"
    r"_(?P<token>[0-9a-f]{8})_[0-9a-f]{64}"
)
_NO_DIGEST = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Presented:
    """A secret as it was presented, still unverified."""

    kind: str
    owner: str
    token_id: str
    text: str


def issue(
    kind: SecretKind | DeploymentKind,
    owner: str,
    now: datetime,
    note: str = "",
    expires: datetime | None = None,
) -> tuple[str, Token]:
    """A new secret: its text, to be shown once, and the part that its owner stores."""
    token_id = secrets.token_hex(4)
    text = f"muster_{kind}_{owner}_{token_id}_{secrets.token_hex(32)}"
    kept = Token(token_id=token_id, digest=_digest(text), created=now, note=note, expires=expires)
    return text, kept


def end_of_next(old: Token, now: datetime) -> datetime | None:
    """When a secret that replaces another one now ends: it gets the same lifetime, within the
    years that there are (to 9999)."""
    if old.expires is None:
        return None
    try:
        return now + (old.expires - old.created)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def new_client_id(tenant_id: str) -> str:
    """A new id of an OAuth client. It names the tenant, so that a client is found with one read;
    that proves nothing."""
    return f"muster_client_{tenant_id}_{secrets.token_hex(4)}"


def new_signing_key() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def presented(text: str) -> Presented | None:
    """The parts of a secret's text; None where it does not have the form of Muster's secrets."""
    found = _SECRET.fullmatch(text)
    return Presented(found["kind"], found["owner"], found["token"], text) if found else None


def is_live(token: Token, now: datetime) -> bool:
    """Whether it has not expired."""
    return token.expires is None or token.expires > now


def bearer_tokens(tenant: Tenant | None, kind: str) -> list[tuple[str, Token]]:
    """The tenant's tokens of a kind with the ids of their connections, which are empty except for
    SCIM."""
    match tenant, kind:
        case None, _:
            return []
        case Tenant(), "scim":
            return [
                (connection.connection_id, token)
                for connection in tenant.connections
                for token in (*connection.tokens, connection.program_token)
                if token is not None
            ]
        case Tenant(), "access":
            return [("", token) for token in tenant.access_tokens]
        case Tenant(), "console":
            return [("", token) for token in tenant.console_tokens]
    return []


def prove(shown: Presented, candidates: Iterable[tuple[str, Token]], now: datetime) -> str | None:
    """The owner of this secret among the candidates (owner, stored part), or None; expired ones do
    not count."""
    live = [
        (owner, token.digest)
        for owner, token in candidates
        if token.token_id == shown.token_id and is_live(token, now)
    ]
    owner, digest = live[0] if live else (None, _NO_DIGEST)
    # always compared, so that the time taken does not disclose whether the token id exists
    return owner if hmac.compare_digest(digest, _digest(shown.text)) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
