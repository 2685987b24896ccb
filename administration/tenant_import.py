"""Bringing a tenant's file into this deployment.

Everything is checked before anything is written. A new tenant is created disabled and without
credentials; then come the catalog, the groups with their mappings, and last, in one batch, settings
and credentials. So an interrupted import lets nobody in, and importing the file again completes it.
"""

from collections.abc import Collection
from typing import Literal

from administration.catalog import CatalogFile, check_entries
from administration.catalog_change import Catalog, CatalogPlan
from administration.directories import claim_directory, refuse_taken
from administration.errors import AdministrationError
from administration.group_import import GroupImport, ImportedGroup, ImportEntry, ImportFile
from administration.tenant_file import ExportedClient, TenantFile, extension_schemas
from administration.tenants import (
    Changed,
    TenantChange,
    create_tenant,
    differing,
    new_tenant,
    read_tenant,
)
from directory.documents import ENTITLEMENT_KINDS, Actor, Model
from directory.tenants import ClientSecret, Connection, Federation, OAuthClient, Tenant
from scim.writing import Service
from trust.tokens import new_signing_key


class TenantImported(Model):
    """What an import did, or would do."""

    outcome: Literal["new", "updated", "unchanged"]
    settings: tuple[str, ...] = ()
    """What changed of the tenant itself: `name`, `policy`, `connection entra`, …"""
    catalog: CatalogPlan
    groups: tuple[ImportedGroup, ...] = ()
    left_out: tuple[str, ...] = ()
    """Sentences on what of the file is not imported: why, and what to do about it."""


class TenantImport(TenantChange):
    """Imports a file as the tenant `tenant_id`, which may exist."""

    async def load(
        self,
        file: TenantFile,
        region: Literal["eu", "us"],
        kinds: Collection[str] = ENTITLEMENT_KINDS,
        *,
        dry_run: bool = False,
    ) -> TenantImported:
        """Import a file, or say what that would do. A new tenant gets the home `region`; `kinds`
        are the kinds of entitlements of this deployment. Raises AdministrationError, StoreError."""
        catalog = await self._checked(file, kinds)
        present = await self._present()
        before = present or new_tenant(self.tenant_id, file.tenant.name, region)
        after, left_out = merged(before, file)
        groups, nameless = _groups(file)
        coming = {entry.entitlement for entry in file.catalog}
        catalogs, importing = Catalog(*self._subject), GroupImport(*self._subject)
        plan = await catalogs.load(catalog, dry_run=True)
        imported = await importing.load(groups, dry_run=True, coming=coming)
        if not dry_run:  # nothing stands in the way
            if present is None:
                await create_tenant(self.service.store, self.tenant_id, file.tenant.name, region)
            plan = await catalogs.load(catalog)
            imported = await importing.load(groups)
            if after != before:
                await self._settle(file)
        changed = after != before or plan.added or plan.changed or _differ(imported)
        return TenantImported(
            outcome="new" if present is None else "updated" if changed else "unchanged",
            settings=differing(before, after),
            catalog=plan,
            groups=tuple(imported),
            left_out=(*nameless, *left_out),
        )

    @property
    def _subject(self) -> tuple[Service, str, Actor]:
        return self.service, self.tenant_id, self.actor

    async def _checked(self, file: TenantFile, kinds: Collection[str]) -> CatalogFile:
        """The file's catalog, after all checks that need no write. Raises AdministrationError."""
        served = extension_schemas(self.service.resource_types)
        urns = [str(schema.get("id")) for schema in file.schemas]
        missing = [urn for urn in urns if urn.lower() not in served]
        if missing:
            raise AdministrationError(
                f"This deployment does not serve the extension schemas {', '.join(missing)}. Put "
                "them, as the file holds them, into the folder that MUSTER_SCHEMAS names."
            )
        if file.tenant.directory_id:
            await refuse_taken(self.service.store, self.tenant_id, file.tenant.directory_id)
        catalog = CatalogFile(entitlements=file.catalog)
        check_entries(catalog, kinds, "The catalog in the tenant's file")
        return catalog

    async def _present(self) -> Tenant | None:
        try:
            return await read_tenant(self.service.store, self.tenant_id)
        except AdministrationError:
            return None

    async def _settle(self, file: TenantFile) -> None:
        """Settings and credentials, in one batch with their event."""
        if file.tenant.directory_id:  # counts once the tenant names it, too
            await claim_directory(self.service.store, self.tenant_id, file.tenant.directory_id)

        def change(found: Tenant) -> Changed:
            after, _ = merged(found, file)
            return after, differing(found, after)

        await self.apply("import", change, "tenant")


def merged(before: Tenant, file: TenantFile) -> tuple[Tenant, tuple[str, ...]]:
    """The tenant with the file's settings, and with its credentials where it has none of a kind;
    and what is left out of them."""
    given, left_out = file.tenant, list[str]()
    named = given.id == before.tenant_id
    if not named:
        left_out.append(
            f"Tokens and OAuth clients name the tenant {given.id}, so they cannot be those of "
            f"{before.tenant_id}: make new ones."
        )

    def taken[C](ours: C, theirs: C, what: str) -> C:
        if ours and theirs and named and ours != theirs:
            left_out.append(f"{what} are not imported: the tenant has some already.")
        return ours or (theirs if named else ours)

    connections = {one.connection_id: one for one in before.connections}
    for theirs in given.connections:
        ours = connections.get(theirs.connection_id) or Connection(
            connection_id=theirs.connection_id, name=theirs.name
        )
        connections[theirs.connection_id] = Connection(
            connection_id=theirs.connection_id,
            name=theirs.name,
            tokens=taken(ours.tokens, theirs.tokens, f"The tokens of {theirs.connection_id}"),
            client=ours.client or (_client(theirs.client) if named and theirs.client else None),
        )
    if before.directory_id and given.directory_id not in (None, before.directory_id):
        left_out.append(f"The directory {given.directory_id}: the tenant has another one already.")
    after = before.model_copy(
        update={
            "name": given.name,
            "policy": given.policy,
            "entra": given.entra,
            "directory_id": before.directory_id or given.directory_id,
            "connections": tuple(connections.values()),
            "access_tokens": taken(
                before.access_tokens, given.access_tokens, "The access API's tokens"
            ),
            "console_tokens": taken(
                before.console_tokens, given.console_tokens, "The console API's tokens"
            ),
        }
    )
    return after, tuple(left_out)


def _client(exported: ExportedClient) -> OAuthClient:
    """A client with new signing keys: access tokens issued before are invalid, and its secrets and
    its workload identity obtain new ones."""
    federation = exported.federation
    return OAuthClient(
        client_id=exported.client_id,
        created=exported.created,
        secrets=tuple(
            ClientSecret(**secret.model_dump(), signing_key=new_signing_key())
            for secret in exported.secrets
        ),
        federation=Federation(**federation.model_dump(), signing_key=new_signing_key())
        if federation
        else None,
    )


def _groups(file: TenantFile) -> tuple[ImportFile, tuple[str, ...]]:
    """The groups that can be recognised again, and a sentence for each that cannot."""
    entries = tuple(
        ImportEntry(
            external_id=group.external_id,
            display_name=group.display_name,
            entitlements=group.entitlements,
        )
        for group in file.groups
        if group.external_id
    )
    nameless = tuple(
        f'What the group "{group.display_name}" gives: it has no externalId. Once Entra ID has '
        "brought it, load its mapping (manage.py mapping load)."
        for group in file.groups
        if not group.external_id
    )
    return ImportFile(groups=entries), nameless


def _differ(groups: list[ImportedGroup]) -> bool:
    return any(group.outcome in ("new", "updated") for group in groups)
