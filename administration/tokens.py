"""The secret tokens of a tenant: created, listed, rotated, revoked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from administration.connections import change_connection
from administration.events import OPERATOR, administrative_event
from administration.tenants import AdministrationError, change_tenant, read_tenant
from directory.documents import RETENTION, Actor, Event
from directory.reading import read_all
from directory.store import Store
from directory.tenants import ENTRA_CONNECTION, LastUse, Tenant, Token, last_use_id
from trust.tokens import TokenKind, bearer_tokens, is_live, issue

LIVE = 2
"""So many of a kind live at once, per connection: the old one and the new one of a rotation."""
KINDS: tuple[TokenKind, ...] = ("scim", "access", "console")

type Tokens = tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token as operators see it: never its text, which nobody has."""

    kind: TokenKind
    connection_id: str
    token: Token
    live: bool
    last_used: datetime | None


async def create_token(
    store: Store,
    tenant_id: str,
    kind: TokenKind,
    now: datetime,
    note: str = "",
    *,
    connection_id: str = ENTRA_CONNECTION,
    expires: datetime | None = None,
    actor: Actor = OPERATOR,
    retention: int = RETENTION,
) -> str:
    """A new token: of a connection (`scim`), of the application (`access`), or for the console's
    JSON API. The answer is the only copy of its text. Raises AdministrationError where two live
    already."""
    text, token = issue(kind, tenant_id, now, note, expires)
    await change_tenant(
        store,
        tenant_id,
        lambda tenant: _change_tokens(
            tenant, kind, connection_id, lambda old: _added(old, token, tenant_id, now)
        ),
        _event("tokenCreate", tenant_id, kind, (token.token_id,), now, actor, retention),
    )
    return text


async def rotate_token(
    store: Store,
    tenant_id: str,
    token_id: str,
    now: datetime,
    overlap: timedelta,
    actor: Actor = OPERATOR,
    retention: int = RETENTION,
) -> str:
    """A new token in place of an old one, which goes on living for `overlap` at most. The new one
    lives as long as the old one was meant to. Raises AdministrationError."""
    kind, connection_id, old = find_token(await read_tenant(store, tenant_id), token_id)
    expires = now + (old.expires - old.created) if old.expires else None
    text, token = issue(kind, tenant_id, now, old.note, expires)
    ends = min(now + overlap, old.expires or datetime.max.replace(tzinfo=UTC))

    def rotate(tokens: Tokens) -> Tokens:
        kept = tuple(
            each.model_copy(update={"expires": ends}) if each.token_id == token_id else each
            for each in _added(tokens, token, tenant_id, now)
        )
        return tuple(each for each in kept if is_live(each, now))

    await change_tenant(
        store,
        tenant_id,
        lambda tenant: _change_tokens(tenant, kind, connection_id, rotate),
        _event("tokenRotate", tenant_id, kind, (token_id, token.token_id), now, actor, retention),
    )
    return text


async def revoke_token(
    store: Store,
    tenant_id: str,
    token_id: str,
    now: datetime,
    actor: Actor = OPERATOR,
    retention: int = RETENTION,
) -> None:
    """End a token; servers notice within seconds. Raises AdministrationError."""

    def change(tenant: Tenant) -> Tenant:
        kind, connection_id, _ = find_token(tenant, token_id)
        return _change_tokens(tenant, kind, connection_id, without)

    def without(tokens: Tokens) -> Tokens:
        return tuple(each for each in tokens if each.token_id != token_id)

    kind, _, _ = find_token(await read_tenant(store, tenant_id), token_id)
    event = _event("tokenRevoke", tenant_id, kind, (token_id,), now, actor, retention)
    await change_tenant(store, tenant_id, change, event)


async def list_tokens(store: Store, tenant: Tenant, now: datetime) -> list[ListedToken]:
    """All tokens of a tenant, with their last uses."""
    tokens = _all(tenant)
    uses = await last_uses(store, tenant.tenant_id, [token.token_id for _, _, token in tokens])
    return [
        ListedToken(kind, connection, token, is_live(token, now), uses.get(token.token_id))
        for kind, connection, token in tokens
    ]


async def last_uses(
    store: Store, tenant_id: str, credentials: Sequence[str]
) -> dict[str, datetime]:
    """When each was last used; those that never were are left out."""
    found = await read_all(store, tenant_id, [last_use_id(each) for each in credentials])
    uses = [LastUse.from_document(stored.document) for stored in found.values()]
    return {use.credential: use.at for use in uses}


def _event(
    operation: Literal["tokenCreate", "tokenRotate", "tokenRevoke"],
    tenant_id: str,
    kind: TokenKind,
    tokens: Sequence[str],
    now: datetime,
    actor: Actor,
    retention: int,
) -> Event:
    """The log entry of a change of tokens, which names them by their ids."""
    named = tuple(f"{kind} {token_id}" for token_id in tokens)
    return administrative_event(
        tenant_id, operation, "Tenant", tenant_id, named, "none", now, actor, retention
    )


def _all(tenant: Tenant) -> list[tuple[TokenKind, str, Token]]:
    return [(kind, owner, token) for kind in KINDS for owner, token in bearer_tokens(tenant, kind)]


def _added(tokens: Tokens, token: Token, tenant_id: str, now: datetime) -> Tokens:
    """The tokens that live, and one more. Raises AdministrationError where two live already."""
    live = tuple(each for each in tokens if is_live(each, now))
    if len(live) >= LIVE:
        raise AdministrationError(
            f"Two such tokens live already ({', '.join(each.token_id for each in live)}), the most "
            "there can be: one in use, and one to take its place. The list of tokens says when "
            "each was last used: revoke the one that is not in use.",
            f"token revoke {tenant_id} TOKEN",
        )
    return (*live, token)


def find_token(tenant: Tenant, token_id: str) -> tuple[TokenKind, str, Token]:
    """A token with its kind and connection. Raises AdministrationError where there is none."""
    for kind, connection_id, token in _all(tenant):
        if token.token_id == token_id:
            return kind, connection_id, token
    raise AdministrationError(
        f"{tenant.tenant_id} has no token {token_id[:40]}; it may have been revoked meanwhile.",
        f"token list {tenant.tenant_id}",
    )


def _change_tokens(
    tenant: Tenant, kind: TokenKind, connection_id: str, change: Callable[[Tokens], Tokens]
) -> Tenant:
    if kind == "scim":
        return change_connection(
            tenant,
            connection_id,
            lambda found: found.model_copy(update={"tokens": change(found.tokens)}),
        )
    field: Literal["access_tokens", "console_tokens"] = (
        "access_tokens" if kind == "access" else "console_tokens"
    )
    return tenant.model_copy(update={field: change(getattr(tenant, field))})
