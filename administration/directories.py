"""Which tenant an Entra ID directory belongs to, and which of its tokens count."""

from collections.abc import Mapping
from typing import Any

from administration.errors import AdministrationError
from administration.tenants import Changed, TenantChange, differing, read_tenant, without_sessions
from directory.store import Conflict, Create, Delete, NotFound, PreconditionFailed, Replace, Store
from directory.tenants import CLAIM_ID, DirectoryClaim, Tenant, directory_partition
from trust.cloud import is_guid


async def claim_directory(store: Store, tenant_id: str, directory_id: str) -> str:
    """Reserve a directory for a tenant whose document names it already, or will next; returns the
    directory's id in the form that tokens have. A claim counts only while its tenant names the
    directory; any other is taken over. Raises AdministrationError where the directory is another
    tenant's."""
    directory_id = directory_id.strip().lower()
    if not is_guid(directory_id):
        raise AdministrationError(
            f"{directory_id!r} is no directory id. It is a GUID: in the Entra admin center, under "
            "Overview, Tenant ID."
        )
    claim = DirectoryClaim.of(directory_id, tenant_id)
    try:
        await store.batch(claim.tenant_id, [Create(claim.to_document())])
    except Conflict:
        await _take_over(store, claim, directory_id)
    return directory_id


async def refuse_taken(store: Store, tenant_id: str, directory_id: str) -> None:
    """Raises AdministrationError where the directory is another tenant's."""
    holder = await holder_of(store, directory_id)
    if holder is None or holder == tenant_id:
        return
    if not await _names(store, holder, directory_id):
        return
    raise AdministrationError(
        f"The directory {directory_id} is registered for the tenant {holder}. A directory "
        "belongs to one tenant only: release it there first.",
        f"tenant entra {holder} --no-directory",
    )


async def _take_over(store: Store, claim: DirectoryClaim, directory_id: str) -> None:
    stored = await store.read(claim.tenant_id, CLAIM_ID)
    if DirectoryClaim.from_document(stored.document).claimed_by == claim.claimed_by:
        return
    await refuse_taken(store, claim.claimed_by, directory_id)
    try:
        await store.batch(claim.tenant_id, [Replace(claim.to_document(), stored.etag)])
    except PreconditionFailed:
        raise AdministrationError("Somebody else registers this directory. Try again.") from None


async def _names(store: Store, tenant_id: str, directory_id: str) -> bool:
    try:
        return (await read_tenant(store, tenant_id)).directory_id == directory_id
    except AdministrationError:
        return False


class Directories(TenantChange):
    """The Entra ID directory of a tenant. Every method raises AdministrationError."""

    async def register(self, directory_id: str | None) -> Tenant:
        """Make a directory the tenant's, instead of the one before; None: the tenant has no
        directory."""
        store, tenant_id = self.service.store, self.tenant_id
        before = await read_tenant(store, tenant_id)
        claimed = await claim_directory(store, tenant_id, directory_id) if directory_id else None
        says = f"directory {claimed}" if claimed else "no directory"

        def change(found: Tenant) -> Changed:
            if found.directory_id == claimed:
                return found, ()
            # the directory before vouched for those who are signed in
            return without_sessions(found).model_copy(update={"directory_id": claimed}), (says,)

        tenant = await self.apply("directory", change)
        if before.directory_id and before.directory_id != claimed:
            await _release(store, before.directory_id, tenant_id)
        return tenant

    async def change_trust(self, changes: Mapping[str, Any]) -> Tenant:
        """Set which of Entra ID's tokens count; `changes` are fields of EntraTrust."""

        def change(found: Tenant) -> Changed:
            entra = found.entra.model_copy(update=changes)
            return found.model_copy(update={"entra": entra}), differing(found.entra, entra)

        return await self.apply("entraTokens", change)


async def _release(store: Store, directory_id: str, tenant_id: str) -> None:
    """Remove a claim of the tenant. One that is left behind by a failure has no effect."""
    partition = directory_partition(directory_id)
    try:
        stored = await store.read(partition, CLAIM_ID)
        if DirectoryClaim.from_document(stored.document).claimed_by == tenant_id:
            await store.batch(partition, [Delete(CLAIM_ID, stored.etag)])
    except (NotFound, PreconditionFailed):
        pass


async def holder_of(store: Store, directory_id: str) -> str | None:
    """The tenant that has claimed a directory."""
    try:
        stored = await store.read(directory_partition(directory_id), CLAIM_ID)
    except NotFound:
        return None
    return DirectoryClaim.from_document(stored.document).claimed_by
