"""Set-up links: each opens the set-up pages of one organisation, without an account.

A link carries a random secret, and the tenant keeps its digest, as for every secret that Muster
issues. A signed link would save nothing: a link that can be listed and revoked needs a record in
any case. The record is in the tenant's document, which every page reads; so when a link ends, its
sessions end at their next request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from administration.errors import Absent, AdministrationError
from administration.tenants import Changed, TenantChange, read_tenant
from administration.tokens import last_uses
from directory.store import Store, Upsert
from directory.tenants import LastUse, Tenant, Token
from trust.tokens import is_live, issue, presented, prove

LIFE = timedelta(days=7)
LIVE = 10
"""The most links of a tenant that are valid at once."""
PATH = "/console/set-up/link"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A new link; it cannot be shown again."""

    id: str
    link: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class ListedInvitation:
    """A link as it is listed: never with its secret, which Muster does not store."""

    id: str
    created: datetime
    expires: datetime
    live: bool
    last_opened: datetime | None


class Invitations(TenantChange):
    """The set-up links of a tenant. Every method raises AdministrationError."""

    async def create(self, origin: str) -> Invitation:
        """Make a link to the console at `origin` (such as `https://scim.example.com`). Refused
        where LIVE links are valid already."""
        now = self.service.now()
        expires = now + LIFE
        key, kept = issue("invitation", self.tenant_id, now, expires=expires)

        def add(tenant: Tenant) -> Changed:
            live = tuple(each for each in tenant.invitations if is_live(each, now))
            if len(live) >= LIVE:
                raise AdministrationError(
                    f"{LIVE} set-up links live already, the most there can be. Revoke one that is "
                    "not in use; the list says when each was last opened.",
                    f"console invitations {self.tenant_id} --revoke ID",
                )
            return _with(tenant, (*live, kept)), _named(kept.token_id)

        await self.apply("invitationCreate", add)
        link = f"{origin.rstrip('/')}{PATH}?{urlencode({'key': key})}"
        return Invitation(kept.token_id, link, expires)

    async def revoke(self, id: str) -> None:
        """End a link and the sessions that it began, at once."""

        def without(tenant: Tenant) -> Changed:
            left = tuple(each for each in tenant.invitations if each.token_id != id)
            if len(left) == len(tenant.invitations):
                raise Absent(
                    f"{self.tenant_id} has no set-up link {id[:40]}; it may have been revoked "
                    "meanwhile.",
                    f"console invitations {self.tenant_id}",
                )
            return _with(tenant, left), _named(id)

        await self.apply("invitationRevoke", without)


async def list_invitations(store: Store, tenant: Tenant, now: datetime) -> list[ListedInvitation]:
    """The set-up links of a tenant, recently expired ones included, oldest first. Raises
    StoreError."""
    ids = [each.token_id for each in tenant.invitations]
    opened = await last_uses(store, tenant.tenant_id, ids)
    return [
        ListedInvitation(
            each.token_id,
            each.created,
            each.expires or each.created,
            is_live(each, now),
            opened.get(each.token_id),
        )
        for each in tenant.invitations
    ]


async def invited(store: Store, key: str, now: datetime) -> tuple[Tenant, str] | None:
    """The tenant that a link's key opens, and the link's id; None where it opens nothing. Raises
    StoreError."""
    shown = presented(key)
    if shown is None or shown.kind != "invitation":
        return None
    try:
        tenant = await read_tenant(store, shown.owner)
    except AdministrationError:
        return None
    id = prove(shown, [(each.token_id, each) for each in tenant.invitations], now)
    return (tenant, id) if id else None


async def note_opening(store: Store, tenant_id: str, id: str, now: datetime) -> None:
    """Store when a link was last opened, until the link expires. Raises StoreError."""
    ttl = int(LIFE.total_seconds())
    use = LastUse(tenant_id=tenant_id, credential=id, at=now, ttl=ttl)
    await store.batch(tenant_id, [Upsert(use.to_document())])


def is_invited(tenant: Tenant, id: str, now: datetime) -> bool:
    """Whether a link is still valid."""
    return any(each.token_id == id and is_live(each, now) for each in tenant.invitations)


def _with(tenant: Tenant, invitations: Sequence[Token]) -> Tenant:
    return tenant.model_copy(update={"invitations": tuple(invitations)})


def _named(id: str) -> tuple[str, ...]:
    return (f"set-up link {id}",)
