"""Replaces the catalog by the one of the vendor's product.

What is gone from the product is removed from the catalog. Where mappings or grants by hand still
give it, the replacement is refused, or takes it away there, too: first from the mappings, each with
a new version and an event, and from the grants by hand, then from the catalog. A replacement that
was interrupted is sent again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from administration.catalog import CatalogFile, list_catalog
from administration.catalog_change import Catalog, CatalogPlan, Fence
from administration.errors import AdministrationError, Overtaken
from administration.grants import Grants
from administration.mappings import Mappings
from administration.reading.previews import Previewed, read_preview
from directory.access import ManualGrants
from directory.documents import Entitlement, EntitlementKey
from directory.documents import Mapping as GroupMapping
from directory.reading import every
from directory.store import Query
from directory.tenants import TENANT_ID, Tenant
from reconciler.questions.proposal import MappingProposal

MOST_USES = 500
"""The most mappings, and users with grants by hand, that one replacement changes."""


def catalog_tag(entries: Sequence[Entitlement]) -> str:
    """The version of a catalog: equal for equal entries."""
    shown = sorted((one.kind, one.key, one.display_name) for one in entries)
    return hashlib.sha256(repr(shown).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a replacement changes."""

    plan: CatalogPlan
    mappings: Mapping[str, tuple[EntitlementKey, ...]]
    """Group (SCIM id) → what its mapping gives afterwards, where that is less than now."""
    given: Mapping[str, tuple[EntitlementKey, ...]]
    """User (SCIM id) → what was given by hand and is withdrawn."""
    preview: Previewed | None
    """Who loses what by the mappings; None where no mapping changes."""


class CatalogReplacement(Catalog):
    """Replaces the catalog of one tenant. Raises AdministrationError, Overtaken."""

    async def replace(
        self, file: CatalogFile, if_match: str = "", *, take_away: bool, dry_run: bool
    ) -> Replacement:
        """Make the file the catalog, or say what that would do. With `if_match` only where that is
        the catalog's version (`catalog_tag`). Refused where an entry that is gone is still in use,
        unless `take_away`, and always where the policy protects one."""
        store = self.service.store
        stored = await store.read(self.tenant_id, TENANT_ID)
        fence = Fence(stored.etag)
        known = await list_catalog(store, self.tenant_id)
        if if_match and if_match != catalog_tag(known):
            raise Overtaken(
                "If-Match names another version of the catalog: it has changed since it was read. "
                "Read it again, then send the new catalog."
            )
        plan = self.planned(known, file, remove_missing=True)
        gone = frozenset(one.entitlement for one in plan.removed)
        for one in gone.intersection(Tenant.from_document(stored.document).policy.protected):
            raise AdministrationError(
                f"{one.kind} {one.key} is protected by the tenant's policy, so that its last "
                "holder keeps it. Take it out of the policy first."
            )
        if take_away:
            mappings, given = await self._uses(gone) if gone else ({}, {})
        else:
            mappings, given = {}, {}
            await self._refuse_in_use(gone)
        preview = None
        if mappings:
            preview = await read_preview(store, self.tenant_id, MappingProposal({**mappings}))
        if not dry_run:
            for group, left in mappings.items():
                await Mappings(self.service, self.tenant_id, self.actor).save(group, left)
            for user, withdrawn in given.items():
                await Grants(self.service, self.tenant_id, self.actor).withdraw(user, withdrawn)
            if take_away:  # somebody may have given them again meanwhile
                await self._refuse_in_use(gone)
            await self.apply(plan, fence)
        return Replacement(plan, mappings, given, preview)

    async def _uses(
        self, gone: frozenset[EntitlementKey]
    ) -> tuple[dict[str, tuple[EntitlementKey, ...]], dict[str, tuple[EntitlementKey, ...]]]:
        store, mappings, given = self.service.store, {}, {}
        async for item in every(store, self.tenant_id, Query("Mapping", limit=1000)):
            mapping = GroupMapping.from_document(item.document)
            left = tuple(one for one in mapping.entitlements if one not in gone)
            if len(left) < len(mapping.entitlements):
                mappings[mapping.group_id] = left
        async for item in every(store, self.tenant_id, Query("ManualGrants", limit=1000)):
            by_hand = ManualGrants.from_document(item.document)
            if withdrawn := tuple(one for one in by_hand.entitlements if one in gone):
                given[by_hand.user_id] = withdrawn
        if len(mappings) + len(given) > MOST_USES:
            raise AdministrationError(
                f"{len(mappings)} mappings and {len(given)} users would lose something; "
                f"at most {MOST_USES} can at once. Remove fewer entries in one request."
            )
        return mappings, given
