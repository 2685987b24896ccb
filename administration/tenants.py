"""Tenants, as an operator manages them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from administration.events import OPERATOR, administrative_event
from directory.documents import RETENTION, Actor, Event, Reason
from directory.reading import every_tenant
from directory.store import (
    Conflict,
    Create,
    NotFound,
    PreconditionFailed,
    Query,
    Replace,
    Store,
    Stored,
)
from directory.tenants import ENTRA_CONNECTION, TENANT_ID, Connection, Policy, Tenant
from reconciler.preview import Preview
from reconciler.proposal import PolicyProposal
from scim.writing import Service
from trust.tokens import TENANT_ID_PATTERN

ATTEMPTS = 5


class AdministrationError(Exception):
    """What was asked cannot be done; the text says why and what to do instead, to whoever reads
    it. `command` is for those who have a command line: what to type there."""

    def __init__(self, text: str, command: str = "") -> None:
        super().__init__(text)
        self.command = command


class Overtaken(AdministrationError):
    """Somebody else changed it since it was looked at."""


class OwnerlessUnconfirmed(AdministrationError):
    """Nobody would hold the role Owner afterwards, and nobody said that this is meant."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody would hold the role Owner after this change. Preview it again and confirm it."
        )


async def create_tenant(
    store: Store,
    tenant_id: str,
    name: str,
    region: Literal["eu", "us"],
    directory_id: str | None = None,
) -> Tenant:
    """A new tenant with one connection, provisioning not enabled. Raises AdministrationError."""
    if not TENANT_ID_PATTERN.fullmatch(tenant_id):
        raise AdministrationError(
            f"{tenant_id!r} cannot be a tenant id: lower-case letters, digits and hyphens, at most "
            "63, beginning with a letter or digit."
        )
    tenant = Tenant(
        tenant_id=tenant_id,
        name=name,
        region=region,
        directory_id=directory_id,
        connections=(Connection(connection_id=ENTRA_CONNECTION, name="Microsoft Entra ID"),),
    )
    try:
        await store.batch(tenant_id, [Create(tenant.to_document())])
    except Conflict:
        raise AdministrationError(
            f"A tenant {tenant_id} exists already.", f"tenant show {tenant_id}"
        ) from None
    return tenant


async def read_tenant(store: Store, tenant_id: str) -> Tenant:
    """Raises AdministrationError where there is none."""
    return Tenant.from_document((await _stored(store, tenant_id)).document)


async def _stored(store: Store, tenant_id: str) -> Stored:
    try:
        return await store.read(tenant_id, TENANT_ID)
    except (NotFound, ValueError):
        raise AdministrationError(f"There is no tenant {tenant_id}.", "tenant list") from None


async def list_tenants(store: Store) -> list[Tenant]:
    """All tenants of the deployment, by id."""
    found = [
        Tenant.from_document(item.document) async for item in every_tenant(store, Query("Tenant"))
    ]
    return sorted(found, key=lambda tenant: tenant.tenant_id)


async def change_tenant(
    store: Store,
    tenant_id: str,
    change: Callable[[Tenant], Tenant],
    event: Event | None = None,
) -> Tenant:
    """Apply a change to a tenant, again where somebody else changed it meanwhile; in the same
    batch as its event, where it has one."""
    for _ in range(ATTEMPTS):
        stored = await _stored(store, tenant_id)
        tenant = change(Tenant.from_document(stored.document))
        events = [Create(event.to_document())] if event else []
        try:
            await store.batch(tenant_id, [Replace(tenant.to_document(), stored.etag), *events])
        except PreconditionFailed:
            continue
        return tenant
    raise AdministrationError(f"Somebody else keeps changing tenant {tenant_id}. Try again.")


async def set_provisioning(
    store: Store,
    tenant_id: str,
    state: Literal["enabled", "disabled"],
    now: datetime,
    actor: Actor = OPERATOR,
    retention: int = RETENTION,
) -> Tenant:
    """Let the tenant's connections write, or refuse it. Where it is so already nothing is
    written."""
    tenant = await read_tenant(store, tenant_id)
    if tenant.provisioning == state:
        return tenant
    operation: Literal["enable", "disable"] = "enable" if state == "enabled" else "disable"
    event = administrative_event(
        tenant_id, operation, "Tenant", tenant_id, ("provisioning",), "none", now, actor, retention
    )
    return await change_tenant(
        store, tenant_id, lambda found: found.model_copy(update={"provisioning": state}), event
    )


async def replace_policy(
    service: Service, tenant: Tenant, wanted: Policy, actor: Actor, *, confirmed: bool = False
) -> Tenant:
    """Save the policy that an administrator made of the tenant's, where any rule differs. Raises
    OwnerlessUnconfirmed, AdministrationError."""
    changes = {
        rule: getattr(wanted, rule)
        for rule in Policy.model_fields
        if getattr(wanted, rule) != getattr(tenant.policy, rule)
    }
    if not changes:
        return tenant
    asking = Preview(service.store, tenant.tenant_id, PolicyProposal(wanted))
    if not confirmed and await asking.nobody_would_hold():
        raise OwnerlessUnconfirmed
    return await change_policy(
        service.store, tenant.tenant_id, changes, service.submit, service.now(), actor
    )


async def change_policy(
    store: Store,
    tenant_id: str,
    changes: Mapping[str, bool | tuple[Reason, ...]],
    submit: Callable[[str, str], None],
    now: datetime,
    actor: Actor = OPERATOR,
) -> Tenant:
    """Set rules of a tenant's policy, by the names that Policy has for them. The reconciler then
    applies it to every user of the tenant."""
    event = administrative_event(
        tenant_id, "policy", "Tenant", tenant_id, tuple(changes), "tenant", now, actor
    )

    def apply(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"policy": tenant.policy.model_copy(update=changes)})

    tenant = await change_tenant(store, tenant_id, apply, event)
    submit(tenant_id, event.event_id)
    return tenant
