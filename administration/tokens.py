"""The secret tokens of a tenant: created, listed, rotated, revoked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from administration.connections import change_connection
from administration.errors import Absent, AdministrationError
from administration.tenants import Changed, TenantChange, read_tenant
from directory.reading import read_all, readable
from directory.store import Store
from directory.tenants import ENTRA_CONNECTION, LastUse, Tenant, Token, last_use_id
from trust.tokens import TokenKind, bearer_tokens, end_of_next, is_live, issue

LIVE = 2
"""The most tokens of one kind that are valid at once, per connection: the old one and the new one
of a rotation."""
KINDS: tuple[TokenKind, ...] = ("scim", "access", "console")
PROGRAM_LIFE = timedelta(hours=1)
PROGRAM_NOTE = "Set-up program"


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token as operators see it: never its text, which Muster does not store."""

    kind: TokenKind
    connection_id: str
    token: Token
    live: bool
    last_used: datetime | None
    of_program: bool = False
    """Whether it is the set-up program's token."""


class Tokens(TenantChange):
    """The tokens of a tenant. Every method raises AdministrationError; the answer of `create` and
    `rotate` is the only copy of a token's text."""

    async def create(
        self,
        kind: TokenKind,
        note: str = "",
        *,
        connection_id: str = ENTRA_CONNECTION,
        expires: datetime | None = None,
    ) -> str:
        """Make a token: for a connection (`scim`), for the application (`access`), or for the
        console's JSON API (`console`). Refused where two are valid already, and where `expires`
        has passed."""
        now = self.service.now()
        refuse_past(expires, now)
        text, token = issue(kind, self.tenant_id, now, note, expires)

        def change(tenant: Tenant) -> Changed:
            changed = _change_tokens(
                tenant, kind, connection_id, lambda old: _added(old, token, self.tenant_id, now)
            )
            return changed, _named(kind, token.token_id)

        await self.apply("tokenCreate", change)
        return text

    async def for_program(self, connection_id: str) -> str:
        """Make a token for the set-up program. It expires in an hour and replaces the one before.
        It does not count among the two that can be valid at once."""
        now = self.service.now()
        text, token = issue("scim", self.tenant_id, now, PROGRAM_NOTE, now + PROGRAM_LIFE)

        def change(tenant: Tenant) -> Changed:
            changed = _with_program_token(tenant, connection_id, token)
            return changed, _named("scim", token.token_id)

        await self.apply("tokenCreate", change)
        return text

    async def rotate(self, token_id: str, overlap: timedelta) -> str:
        """Make a token that replaces an old one, which stays valid for `overlap` at most. The new
        one gets the old one's lifetime."""
        now = self.service.now()
        tenant = await read_tenant(self.service.store, self.tenant_id)
        kind, connection_id, old = find_token(tenant, token_id)
        if token_id in _of_program(tenant):
            raise AdministrationError(
                "The token of the set-up program is not rotated: download the program again."
            )
        text, token = issue(kind, self.tenant_id, now, old.note, end_of_next(old, now))
        ends = min(now + overlap, old.expires or datetime.max.replace(tzinfo=UTC))

        def rotated(tokens: Sequence[Token]) -> tuple[Token, ...]:
            kept = tuple(
                each.model_copy(update={"expires": ends}) if each.token_id == token_id else each
                for each in _added(tokens, token, self.tenant_id, now)
            )
            return tuple(each for each in kept if is_live(each, now))

        def change(tenant: Tenant) -> Changed:
            changed = _change_tokens(tenant, kind, connection_id, rotated)
            return changed, _named(kind, token_id, token.token_id)

        await self.apply("tokenRotate", change)
        return text

    async def revoke(self, token_id: str) -> None:
        """End a token; servers notice within seconds."""

        def without(tokens: Sequence[Token]) -> tuple[Token, ...]:
            return tuple(each for each in tokens if each.token_id != token_id)

        def change(tenant: Tenant) -> Changed:
            kind, connection_id, _ = find_token(tenant, token_id)
            changed = (
                _with_program_token(tenant, connection_id, None)
                if token_id in _of_program(tenant)
                else _change_tokens(tenant, kind, connection_id, without)
            )
            return changed, _named(kind, token_id)

        await self.apply("tokenRevoke", change)


def refuse_past(expires: datetime | None, now: datetime) -> None:
    """Refuse a secret that would never be valid. Raises AdministrationError."""
    if expires is not None and expires <= now:
        raise AdministrationError("`expires` is in the past: such a secret would open nothing.")


async def list_tokens(store: Store, tenant: Tenant, now: datetime) -> list[ListedToken]:
    """All tokens of a tenant, with their last uses."""
    tokens = _all(tenant)
    uses = await last_uses(store, tenant.tenant_id, [token.token_id for _, _, token in tokens])
    return [
        ListedToken(
            kind,
            connection,
            token,
            is_live(token, now),
            uses.get(token.token_id),
            token.token_id in _of_program(tenant),
        )
        for kind, connection, token in tokens
    ]


async def last_uses(
    store: Store, tenant_id: str, credentials: Sequence[str]
) -> dict[str, datetime]:
    """When each credential was last used; those never used are left out."""
    ids = [last_use_id(each) for each in credentials]
    found = readable(await read_all(store, tenant_id, ids))
    uses = [LastUse.from_document(stored.document) for stored in found.values()]
    return {use.credential: use.at for use in uses}


def _named(kind: TokenKind, *tokens: str) -> tuple[str, ...]:
    """The names of tokens in the log, by their ids."""
    return tuple(f"{kind} {token_id}" for token_id in tokens)


def _all(tenant: Tenant) -> list[tuple[TokenKind, str, Token]]:
    return [(kind, owner, token) for kind in KINDS for owner, token in bearer_tokens(tenant, kind)]


def _of_program(tenant: Tenant) -> set[str]:
    """The ids of the set-up program's tokens."""
    return {each.program_token.token_id for each in tenant.connections if each.program_token}


def _with_program_token(tenant: Tenant, connection_id: str, token: Token | None) -> Tenant:
    """Raises AdministrationError where there is no such connection."""
    return change_connection(
        tenant, connection_id, lambda found: found.model_copy(update={"program_token": token})
    )


def _added(
    tokens: Sequence[Token], token: Token, tenant_id: str, now: datetime
) -> tuple[Token, ...]:
    """The valid tokens, and one more. Raises AdministrationError where two are valid already."""
    live = tuple(each for each in tokens if is_live(each, now))
    if len(live) >= LIVE:
        raise AdministrationError(
            f"Two such tokens live already ({', '.join(each.token_id for each in live)}), the most "
            "there can be: one in use, and one to replace it. The list of tokens says when "
            "each was last used: revoke the one that is not in use.",
            f"token revoke {tenant_id} TOKEN",
        )
    return (*live, token)


def find_token(tenant: Tenant, token_id: str) -> tuple[TokenKind, str, Token]:
    """A token with its kind and connection. Raises AdministrationError where there is none."""
    for kind, connection_id, token in _all(tenant):
        if token.token_id == token_id:
            return kind, connection_id, token
    raise Absent(
        f"{tenant.tenant_id} has no token {token_id[:40]}; it may have been revoked meanwhile.",
        f"token list {tenant.tenant_id}",
    )


def _change_tokens(
    tenant: Tenant,
    kind: TokenKind,
    connection_id: str,
    change: Callable[[Sequence[Token]], tuple[Token, ...]],
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
