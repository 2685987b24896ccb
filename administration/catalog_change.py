"""Changing a tenant's catalog.

A catalog entry can change somebody's access only where the tenant's policy lets an attribute of
users grant it: a cost center, or an app role. All other entries are only names.
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

SHOWN_USES = 5


class CatalogPlan(Model):
    """What an import changes."""

    added: tuple[CatalogEntry, ...] = ()
    changed: tuple[CatalogEntry, ...] = ()
    """The entries that get another display name."""
    removed: tuple[CatalogEntry, ...] = ()
    unchanged: int = 0


@dataclass(slots=True)
class Fence:
    """The version of the tenant's document that a replacement of the catalog starts from. Each of
    its batches changes that version, so one of two simultaneous replacements is refused."""

    etag: str


class Catalog(Administration):
    """The catalog of one tenant. Every method raises AdministrationError."""

    async def load(
        self, file: CatalogFile, *, remove_missing: bool = False, dry_run: bool = False
    ) -> CatalogPlan:
        """Import a file, or say what that would do. Entries that the file lacks stay, unless
        `remove_missing`; then the whole import is refused if one of them is in use."""
        known = await list_catalog(self.service.store, self.tenant_id)
        plan = self.planned(known, file, remove_missing=remove_missing)
        await self._refuse_in_use([one.entitlement for one in plan.removed])
        if not dry_run:
            await self.apply(plan)
        return plan

    def planned(
        self, known: Sequence[Entitlement], file: CatalogFile, *, remove_missing: bool
    ) -> CatalogPlan:
        """The changes that turn the `known` catalog into the file."""
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
        """Remove an entry that no mapping gives and no user holds by hand."""
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
        """Raises AdministrationError where an entry is in use, and says by whom."""
        if not entries:
            return
        for entry, uses in (await self._used_in(frozenset(entries))).items():
            shown = ", ".join(uses[:SHOWN_USES])
            more = len(uses) - SHOWN_USES
            raise AdministrationError(
                f"{entry.kind} {entry.key} cannot be removed: it is given by {shown}"
                + (f" and {more} more" if more > 0 else "")
                + ". Take it out there first."
            )

    async def _used_in(
        self, entries: frozenset[EntitlementKey]
    ) -> Mapping[EntitlementKey, list[str]]:
        """Entitlement → where it is used: the groups whose mapping gives it, the users who were
        given it by hand, and the user for whom it is kept."""
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
        shown = [id for ids in owners.values() for id in ids[:SHOWN_USES]]
        found = readable(await read_all(store, self.tenant_id, shown))
        return {one: [_named(id, found) for id in ids] for one, ids in owners.items()}

    async def apply(self, plan: CatalogPlan, fence: Fence | None = None) -> None:
        """Write a plan in bounded batches. Those that may change access come last. The event of
        each of them replaces the event of the one before: whenever the process dies, one event is
        left to reconcile. Raises Overtaken where somebody else changed what the fence guards."""
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
        """Commit one batch, which holds entries of those `kinds` that attributes can name. The
        policy that is read with it decides whose access it may change. Returns the event that is
        left to reconcile, if any."""

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
                    "Somebody else changed the tenant or its catalog meanwhile: the catalog is "
                    "replaced only in part. Read it again and send it once more."
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
        """Marks an event done: another event in the same batch does its work."""
        now = self.service.now().isoformat().replace("+00:00", "Z")
        changes = (
            Assign(("state",), "done"),
            Assign(("doneAt",), now),
            Assign(("ttl",), self.ledger.retention),
        )
        return Update(event.document_id, changes)


def _named_kind(entry: CatalogEntry) -> str:
    """The entry's kind where users' attributes can name it; empty for any other."""
    return entry.kind if entry.kind in (COST_CENTER, ROLE) else ""


def _named(id: str, found: Mapping[str, Stored]) -> str:
    """What an administrator calls a group or user that gives or has an entitlement."""
    if id not in found:
        return f"{id} (deleted)"
    if MemberReference.of(id).type == "User":
        return f"hand to {person_name(StoredUser.of(found[id]))}"
    return f"the group {StoredGroup.of(found[id]).display_name}"
