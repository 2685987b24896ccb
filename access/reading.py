"""Reading the effective access of a user as it is at this moment."""

from typing import Any

from directory.documents import Entitlement, Key, entitlement_id, is_resource_id, key_id
from directory.reading import read_all, readable
from directory.store import NotFound, Store
from directory.tenants import Tenant
from reconciler.facts import Current, read_current
from scim.protocol.comparison import stored_forms
from scim.protocol.schema import ResourceType


class AccessReader:
    """Answers "what may this user do?" for the application."""

    def __init__(self, store: Store, user_type: ResourceType) -> None:
        self._store = store
        self._user_type = user_type

    async def of_user(self, tenant: Tenant, user: str) -> dict[str, Any] | None:
        """The access of a user by SCIM id, as the access API shows it; None where there is no
        such user. The user's own document is read with the record, so that a deactivation shows
        from the moment it was answered (product, section 5)."""
        if not is_resource_id(user):
            return None
        found = await read_current(self._store, tenant.tenant_id, user, tenant.policy)
        return await self._shown(tenant.tenant_id, found) if found else None

    async def by_unique(self, tenant: Tenant, attribute: str, value: str) -> dict[str, Any] | None:
        """The access of the user who holds a `userName` (in any case) or an `externalId`."""
        definition = self._user_type.attributes[attribute.lower()]
        for form in stored_forms(definition, value):
            key = key_id("User", attribute, str(form))
            try:
                stored = await self._store.read(tenant.tenant_id, key)
            except NotFound:
                continue
            return await self.of_user(tenant, Key.from_document(stored.document).resource_id)
        return None

    async def _shown(self, tenant_id: str, found: Current) -> dict[str, Any]:
        user, stored, access = found.user, found.record, found.access
        ids = [entitlement_id(*grant.entitlement) for grant in access.grants]
        catalog = readable(await read_all(self._store, tenant_id, ids))
        names = {
            document_id: Entitlement.from_document(entry.document).display_name
            for document_id, entry in catalog.items()
        }
        return {
            "id": user.id,
            "userName": user.user_name,
            "externalId": user.external_id,
            "enabled": access.enabled,
            "reasons": list(access.reasons),
            "pending": access.pending,
            "grants": [
                {
                    "kind": grant.kind,
                    "key": grant.key,
                    "displayName": names.get(entitlement_id(*grant.entitlement), grant.key),
                    "sources": [
                        source.model_dump(mode="json", by_alias=True, exclude_none=True)
                        for source in grant.sources
                    ],
                }
                for grant in access.grants
            ],
            "version": stored.version if stored else 0,
            "changedAt": stored.model_dump(mode="json")["changed_at"] if stored else None,
        }
