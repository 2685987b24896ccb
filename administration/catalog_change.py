"""Changing a tenant's catalog.

A catalog entry changes somebody's access where users name it in an attribute and the tenant's
policy lets that grant: a cost center, or an app role. Everything else is names.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from administration.catalog import (
    MOST_ENTRIES,
    CatalogEntry,
    CatalogFile,
    list_catalog,
    to_entitlement,
)
from administration.errors import AdministrationError, Overtaken
from administration.events import Administration
from administration.reading.naming import person_name
from directory.access import ManualGrants
from directory.documents import (
    Entitlement,
    EntitlementKey,
    Event,
    MemberReference,
    Model,
    entitlement_id,
    group_id,
    user_id,
)
from directory.documents import Mapping as GroupMapping
from directory.reading import every, read_all, readable
from directory.resources import StoredGroup, StoredUser
from directory.store import (
    BATCH_OPERATIONS,
    Assign,
    Delete,
    NotFound,
    Operation,
    PreconditionFailed,
    Query,
    Stored,
    Update,
    Upsert,
)
from directory.tenants import TENANT_ID, Tenant
from reconciler.access import COST_CENTER, ROLE, granted_by_attributes

SHOWN_PLACES = 5


class CatalogPlan(Model):
    """What an import changes."""

    added: tuple[CatalogEntry, ...] = ()
    changed: tuple[CatalogEntry, ...] = ()
    """Those that get another display name."""
    removed: tuple[CatalogEntry, ...] = ()
    unchanged: int = 0


@dataclass(slots=True)
class Fence:
    """The version of the tenant's document that a replacement of the catalog goes on from; each of
    its batches moves it, so that of two at the same time one is refused."""

    etag: str


class Catalog(Administration):
    """The catalog of one tenant. Every method raises AdministrationError."""

    async def load(
        self, file: CatalogFile, *, remove_missing: bool = False, dry_run: bool = False
    ) -> CatalogPlan:
        """Import a file, or say what that would do. Entries that the file lacks stay, unless
        `remove_missing`; then an entry that is in use refuses the whole import."""
        known = await list_catalog(self.service.store, self.tenant_id)
        plan = self.planned(known, file, remove_missing=remove_missing)
        await self._refuse_in_use([one.entitlement for one in plan.removed])
        if not dry_run:
            await self.apply(plan)
        return plan

    def planned(
        self, known: Sequence[Entitlement], file: CatalogFile, *, remove_missing: bool
    ) -> CatalogPlan:
        """What makes the file of the catalog that is `known`."""
        before = {one.entitlement: one.display_name for one in known}
        wanted = {entry.entitlement: entry for entry in file.entitlements}
        gone = [one for one in before if one not in wanted] if remove_missing else []
        plan = CatalogPlan(
            added=tuple(entry for one, entry in wanted.items() if one not in before),
            changed=tuple(
                entry
                for one, entry in wanted.items()
                if one in before and before[one] != entry.display_name
            ),
            removed=tuple(
                CatalogEntry(kind=one.kind, key=one.key, display_name=before[one]) for one in gone
            ),
            unchanged=sum(before.get(one) == entry.display_name for one, entry in wanted.items()),
        )
        kept = len(before) + len(plan.added) - len(gone)
        if plan.added and kept > MOST_ENTRIES:
            raise AdministrationError(
                f"The catalog would have {kept:,} entries; it can have at most {MOST_ENTRIES:,}. "
                "Remove those that nobody needs first."
            )
        return plan

    async def remove(self, kind: str, key: str) -> None:
        """Remove an entry that no mapping and nobody has."""
        found = {
            one.entitlement: one for one in await list_catalog(self.service.store, self.tenant_id)
        }
        removed = EntitlementKey(kind, key)
        entry = found.get(removed)
        if entry is None:
            raise AdministrationError(
                f"The catalog does not have {kind[:200]} {key[:200]}.",
                f"catalog list {self.tenant_id}",
            )
        await self._refuse_in_use([removed])
        named = CatalogEntry(kind=kind, key=key, display_name=entry.display_name)
        await self.apply(CatalogPlan(removed=(named,)))

    async def _refuse_in_use(self, entries: Collection[EntitlementKey]) -> None:
        """Raises AdministrationError that says where the entries are used, if they are."""
        if not entries:
            return
        for entry, places in (await self._places(frozenset(entries))).items():
            shown = ", ".join(places[:SHOWN_PLACES])
            more = len(places) - SHOWN_PLACES
            raise AdministrationError(
                f"{entry.kind} {entry.key} cannot be removed: it is given by {shown}"
                + (f" and {more} more" if more > 0 else "")
                + ". Take it out there first."
            )

    async def _places(
        self, entries: frozenset[EntitlementKey]
    ) -> Mapping[EntitlementKey, list[str]]:
        """Entitlement → who gives it: groups by their mapping, hands to users; and for whom it
        is kept."""
        store = self.service.store
        owners: dict[EntitlementKey, list[str]] = {}
        async for item in every(store, self.tenant_id, Query("Mapping", limit=1000)):
            mapping = GroupMapping.from_document(item.document)
            for one in entries.intersection(mapping.entitlements):
                owners.setdefault(one, []).append(group_id(mapping.group_id))
        async for item in every(store, self.tenant_id, Query("ManualGrants", limit=1000)):
            given = ManualGrants.from_document(item.document)
            kept = (one.entitlement for one in given.kept)
            for one in entries.intersection((*given.entitlements, *kept)):
                owners.setdefault(one, []).append(user_id(given.user_id))
        shown = [id for ids in owners.values() for id in ids[:SHOWN_PLACES]]
        found = readable(await read_all(store, self.tenant_id, shown))
        return {one: [_named(id, found) for id in ids] for one, ids in owners.items()}

    async def apply(self, plan: CatalogPlan, fence: Fence | None = None) -> None:
        """Write a plan in bounded batches, those that may change access last and each of those
        with an event that stands for the ones before: in the end one event is left to reconcile,
        whenever the process dies. Raises Overtaken where somebody got past the fence."""
        writes: list[tuple[str, Operation]] = [
            (_named_kind(entry), Upsert(to_entitlement(self.tenant_id, entry).to_document()))
            for entry in plan.added
        ]
        writes += [
            (
                _named_kind(entry) if entry.kind == ROLE else "",  # roles are named by name, too
                Upsert(to_entitlement(self.tenant_id, entry).to_document()),
            )
            for entry in plan.changed
        ]
        writes += [
            (_named_kind(entry), Delete(entitlement_id(*entry.entitlement)))
            for entry in plan.removed
        ]
        writes.sort(key=lambda write: write[0])
        last: Event | None = None
        try:
            for some in batched(writes, BATCH_OPERATIONS - 3, strict=False):
                kinds = {kind for kind, _ in some if kind}
                operations = [operation for _, operation in some]
                last = await self._write(operations, kinds, last, fence)
        finally:
            if last is not None:
                self.ledger.submit(self.tenant_id, last.event_id)

    async def _write(
        self,
        operations: Sequence[Operation],
        kinds: set[str],
        before: Event | None,
        fence: Fence | None,
    ) -> Event | None:
        """Commit one batch, with entries of `kinds` that attributes can name, under the policy that
        decides whose access it may change; the event that is left to reconcile then, if any."""

        async def attempt() -> Event | None:
            stored = await self.service.store.read(self.tenant_id, TENANT_ID)
            tenant = Tenant.from_document(stored.document)
            counts = bool(kinds & granted_by_attributes(tenant.policy))
            event = self.event(
                "catalog",
                "Tenant",
                self.tenant_id,
                ("entitlements",),
                "tenant" if counts else "none",
            )
            batch = [*operations]
            if kinds or fence:  # and the policy is still the one that was read
                etag = fence.etag if fence else stored.etag
                batch.append(Update(TENANT_ID, (Assign(("name",), tenant.name),), etag))
            if counts and before is not None:
                batch.append(self._stood_for(before))
            try:
                etags = await self.ledger.commit(batch, event, submit=False)
            except PreconditionFailed as lost:
                if fence is None:
                    raise
                raise Overtaken(
                    "Somebody else changed the tenant or its catalog meanwhile, and this one is "
                    "replaced in part. Read it again and send it once more."
                ) from lost
            except NotFound as missing:
                raise Overtaken(
                    "Somebody else changed the catalog meanwhile. Try again."
                ) from missing
            if fence:
                fence.etag = etags[len(operations)] or ""
            return event if counts else before

        return await self.retrying(attempt, f"tenant {self.tenant_id}")

    def _stood_for(self, event: Event) -> Operation:
        """Marks an event done, since the one in the same batch does its work."""
        now = self.service.now().isoformat().replace("+00:00", "Z")
        changes = (
            Assign(("state",), "done"),
            Assign(("doneAt",), now),
            Assign(("ttl",), self.ledger.retention),
        )
        return Update(event.document_id, changes)


def _named_kind(entry: CatalogEntry) -> str:
    """Its kind, where users' attributes can name it."""
    return entry.kind if entry.kind in (COST_CENTER, ROLE) else ""


def _named(id: str, found: Mapping[str, Stored]) -> str:
    """What an administrator calls a group or user that gives or has an entitlement."""
    if id not in found:
        return f"{id} (deleted)"
    if MemberReference.of(id).type == "User":
        return f"hand to {person_name(StoredUser.of(found[id]))}"
    return f"the group {StoredGroup.of(found[id]).display_name}"
