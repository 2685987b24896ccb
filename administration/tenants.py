"""Tenants, as an operator manages them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from pydantic.alias_generators import to_camel

from administration.catalog import CatalogFile, refuse_unknown, to_entitlement
from administration.errors import Absent, AdministrationError, OwnerlessUnconfirmed
from administration.events import Administration
from directory.condition import Compare
from directory.documents import AdministrativeOperation, EntitlementKey, Event, Model
from directory.fleet import TenantSummary
from directory.notices import Notice
from directory.reading import every_tenant
from directory.reasons import Reason
from directory.store import (
    Assign,
    Conflict,
    Create,
    NotFound,
    Operation,
    Query,
    Replace,
    Store,
    Stored,
    StoreError,
    Update,
    Upsert,
)
from directory.tenants import (
    ENTRA_CONNECTION,
    MOST_PROTECTED,
    TENANT_ID,
    Connection,
    MassLossLimits,
    Policy,
    Tenant,
)
from reconciler.questions.preview import Preview
from reconciler.questions.proposal import PolicyProposal
from scim.protocol.scalars import fold
from trust.signing import PARTITION
from trust.tokens import TENANT_ID_PATTERN

SUMMARISED = ("name", "region", "provisioning", "directory_id")
"""Fields of a tenant that its summary repeats."""

type Changed = tuple[Tenant, Sequence[str]]
"""A tenant as it is to be, and what the log names of the change: never a secret."""


async def create_tenant(
    store: Store,
    tenant_id: str,
    name: str,
    region: Literal["eu", "us"],
    directory_id: str | None = None,
    catalog: CatalogFile | None = None,
) -> Tenant:
    """A new tenant with one connection, provisioning not enabled, and in the same batch its
    `catalog`, which must fit into it. Raises AdministrationError."""
    if not TENANT_ID_PATTERN.fullmatch(tenant_id):
        raise AdministrationError(
            f"{tenant_id!r} cannot be a tenant id: lower-case letters, digits and hyphens, at most "
            "63, beginning with a letter or digit."
        )
    tenant = new_tenant(tenant_id, name, region, directory_id)
    try:
        entries = (
            [to_entitlement(tenant_id, one) for one in catalog.entitlements] if catalog else []
        )
        documents = [tenant.to_document(), *(entry.to_document() for entry in entries)]
        await store.batch(tenant_id, [Create(document) for document in documents])
    except Conflict:
        raise AdministrationError(
            f"A tenant {tenant_id} exists already.", f"tenant show {tenant_id}"
        ) from None
    with suppress(StoreError):  # the timer makes it, too
        await store.batch(PARTITION, [Upsert(new_summary(tenant).to_document())])
    return tenant


def new_tenant(
    tenant_id: str, name: str, region: Literal["eu", "us"], directory_id: str | None = None
) -> Tenant:
    """A tenant with one connection and without any credential."""
    return Tenant(
        tenant_id=tenant_id,
        name=name,
        region=region,
        directory_id=directory_id,
        connections=(Connection(connection_id=ENTRA_CONNECTION, name="Microsoft Entra ID"),),
    )


def new_summary(tenant: Tenant) -> TenantSummary:
    """The summary of a tenant that no run has looked at yet."""
    return TenantSummary(
        tenant_id=PARTITION,
        tenant=tenant.tenant_id,
        name=tenant.name,
        region=tenant.region,
        directory_id=tenant.directory_id,
        provisioning=tenant.provisioning,
        search=fold(f"{tenant.name} {tenant.tenant_id}"),
    )


async def read_tenant(store: Store, tenant_id: str) -> Tenant:
    """Raises AdministrationError where there is none."""
    return Tenant.from_document((await _stored(store, tenant_id)).document)


async def _stored(store: Store, tenant_id: str) -> Stored:
    try:
        return await store.read(tenant_id, TENANT_ID)
    except (NotFound, ValueError):
        raise Absent(f"There is no tenant {tenant_id}.", "tenant list") from None


async def list_tenants(store: Store) -> list[Tenant]:
    """All tenants of the deployment, by id."""
    found = [
        Tenant.from_document(item.document) async for item in every_tenant(store, Query("Tenant"))
    ]
    return sorted(found, key=lambda tenant: tenant.tenant_id)


class TenantChange(Administration):
    """The base class of changes of the tenant's document, with its connections and credentials."""

    async def apply(
        self,
        operation: AdministrativeOperation,
        change: Callable[[Tenant], Changed],
        scope: Literal["none", "tenant"] = "none",
    ) -> Tenant:
        """Change the tenant in one batch with its event; try again where somebody else changed it
        meanwhile. Where nothing changes, nothing is written. Raises AdministrationError, and what
        `change` raises."""

        async def attempt() -> Tenant:
            stored = await _stored(self.service.store, self.tenant_id)
            before = Tenant.from_document(stored.document)
            tenant, named = change(before)
            if tenant == before:
                return tenant
            event = self.event(operation, "Tenant", self.tenant_id, named, scope)
            if tenant.policy.protected != before.policy.protected:
                tenant = tenant.model_copy(update={"protected_since": event.event_id})
            changed = Replace(tenant.to_document(), stored.etag)
            await self.ledger.commit([changed, *_told(before, tenant, event)], event)
            if any(getattr(tenant, name) != getattr(before, name) for name in SUMMARISED):
                await _show(self.service.store, tenant)
            return tenant

        return await self.retrying(attempt, f"tenant {self.tenant_id}")


async def _show(store: Store, tenant: Tenant) -> None:
    """Write what operators have just changed into the tenant's summary. The timer does so, too, so
    a failure here does no harm."""
    named = Compare(("id",), "ew", f":{tenant.tenant_id}")
    fresh = new_summary(tenant).to_document()
    values = {name: fresh.get(name) for name in (*map(to_camel, SUMMARISED), "search")}
    changes = tuple(Assign((name,), value) for name, value in values.items())
    with suppress(StoreError):
        page = await store.query(PARTITION, Query("TenantSummary", named, fields=()))
        updates = [Update(stored.document["id"], changes) for stored in page.items]
        await store.batch(PARTITION, updates)


def _told(before: Tenant, after: Tenant, event: Event) -> list[Operation]:
    """The notices of a change, which webhooks send to the application."""
    if before.provisioning == after.provisioning:
        return []
    notice = Notice(
        tenant_id=after.tenant_id,
        notice_id=event.event_id,
        kind="tenant.enabled" if after.provisioning == "enabled" else "tenant.disabled",
        at=event.at,
        details={"tenantId": after.tenant_id, "name": after.name, "eventId": event.event_id},
    )
    return [Create(notice.to_document())]


class Tenancy(TenantChange):
    """Whether a tenant's connections may write, where it is at home, and its policy. Every method
    raises AdministrationError."""

    async def set_provisioning(self, state: Literal["enabled", "disabled"]) -> Tenant:
        """Allow or refuse writes by the tenant's connections."""
        return await self.apply(
            "enable" if state == "enabled" else "disable",
            lambda found: (found.model_copy(update={"provisioning": state}), ("provisioning",)),
        )

    async def set_region(self, region: Literal["eu", "us"]) -> Tenant:
        """Set the tenant's home region, and end its sessions at the console. Nothing that is stored
        is moved."""

        def change(found: Tenant) -> Changed:
            if found.region == region:
                return found, ()
            return without_sessions(found).model_copy(update={"region": region}), ("region",)

        return await self.apply("region", change)

    async def note_look(self) -> None:
        """Log in the tenant that an operator looks at its pages."""
        event = self.event("look", "Tenant", self.tenant_id, (), "none")
        await self.ledger.commit([], event)

    async def end_sessions(self) -> Tenant:
        """End every session at the tenant's console, and its set-up links, at once."""
        return await self.apply(
            "sessionsEnd", lambda found: (without_sessions(found), ("sessions",))
        )

    async def replace_policy(
        self, tenant: Tenant, wanted: Policy, *, confirmed: bool = False
    ) -> Tenant:
        """Save an administrator's edit of the policy, where any rule differs. Raises
        OwnerlessUnconfirmed."""
        changes = {rule: getattr(wanted, rule) for rule in differing(tenant.policy, wanted)}
        if not changes:
            return tenant
        asking = Preview(self.service.store, self.tenant_id, PolicyProposal(wanted))
        if not confirmed and await asking.nobody_would_hold():
            raise OwnerlessUnconfirmed
        return await self.change_policy(changes)

    async def change_policy(
        self,
        changes: Mapping[
            str, bool | tuple[Reason, ...] | tuple[EntitlementKey, ...] | MassLossLimits
        ],
    ) -> Tenant:
        """Set rules of the policy; `changes` are fields of Policy. The catalog must have what is
        protected from now on. The reconciler then applies the policy to every user of the tenant.
        """
        wanted = Policy().model_copy(update=changes).protected
        await self._refuse_to_protect(wanted)

        def change(found: Tenant) -> Changed:
            policy = found.policy.model_copy(update=changes)
            return found.model_copy(update={"policy": policy}), differing(found.policy, policy)

        return await self.apply("policy", change, "tenant")

    async def _refuse_to_protect(self, wanted: Sequence[EntitlementKey]) -> None:
        if len(wanted) > MOST_PROTECTED:
            raise AdministrationError(
                f"{len(wanted)} entitlements to protect; at most {MOST_PROTECTED} can be: protect "
                "those that are needed to restore the others."
            )
        before = (await read_tenant(self.service.store, self.tenant_id)).policy.protected
        new = [one for one in wanted if one not in before]
        await refuse_unknown(self.service.store, self.tenant_id, new)


def without_sessions(tenant: Tenant) -> Tenant:
    """The tenant with every console session ended, and without its set-up links, which could begin
    new ones."""
    ended = {"session_epoch": tenant.session_epoch + 1, "invitations": ()}
    return tenant.model_copy(update=ended)


def differing[M: Model](before: M, after: M) -> tuple[str, ...]:
    """The fields in which two models of one type differ."""
    fields = type(before).model_fields
    return tuple(name for name in fields if getattr(before, name) != getattr(after, name))
