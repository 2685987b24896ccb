"""Mappings: which entitlements the members of a group get.

Saving a mapping changes no access at once: it stores the mapping and an event in one batch, and the
reconciler applies it to the members.
"""

from collections.abc import Collection, Iterable
from typing import Any

from administration.catalog import refuse_more, refuse_unknown
from administration.errors import AdministrationError, Overtaken, OwnerlessUnconfirmed
from administration.events import Administration
from administration.files import read_json
from directory.condition import OneOf
from directory.documents import (
    EntitlementKey,
    Key,
    Mapping,
    Model,
    RememberedMapping,
    group_id,
    is_resource_id,
    key_id,
    mapping_id,
)
from directory.nesting import count_below
from directory.reading import every, read_all, readable
from directory.resources import StoredGroup
from directory.store import Create, Query, Replace, Store
from reconciler.questions.preview import Preview
from reconciler.questions.proposal import MappingProposal
from scim.protocol.scalars import folds

GRANTS_LIMIT = 1_000_000
"""The most entitlements of a mapping × users who get them: ten for each of 100,000 users, or a
thousand for each of 1,000. Each is in a user's access record and in its history."""


class MappingEntry(Model):
    """One group of a mapping file, named by one of `groupId`, `externalId`, `displayName`."""

    group_id: str | None = None
    external_id: str | None = None
    display_name: str | None = None
    entitlements: tuple[EntitlementKey, ...]


class MappingFile(Model):
    """A mapping file: `{"mappings": [{"displayName": "…", "entitlements": [{"kind", "key"}]}]}`."""

    mappings: tuple[MappingEntry, ...]


def parse_mappings(content: bytes) -> MappingFile:
    """Read a mapping file. Raises AdministrationError that says where the fault is."""
    return read_json(MappingFile, content, "The mapping file")


class Mappings(Administration):
    """The mappings of one tenant."""

    async def load(self, file: MappingFile) -> list[Mapping]:
        """Save all mappings of a file. Groups and entitlements are looked up first, so that a
        mistake in one entry changes nothing. Raises AdministrationError."""
        found = await self.resolve(file)
        return [await self.save(group, entitlements) for group, entitlements in found.items()]

    async def resolve(self, file: MappingFile) -> dict[str, tuple[EntitlementKey, ...]]:
        """Group (SCIM id) → what a file gives its members; the last entry of a group counts. Raises
        AdministrationError."""
        groups = [await self._group(entry) for entry in file.mappings]
        wanted = [one for entry in file.mappings for one in entry.entitlements]
        await refuse_unknown(self.service.store, self.tenant_id, wanted)
        entries = zip(groups, file.mappings, strict=True)
        found = {group: entry.entitlements for group, entry in entries}
        for group, entitlements in found.items():
            await refuse_too_many(self.service.store, self.tenant_id, group, entitlements)
        return found

    async def edit(
        self,
        group: str,
        had: Iterable[EntitlementKey],
        wanted: tuple[EntitlementKey, ...],
        version: int,
        *,
        confirmed: bool = False,
    ) -> Mapping:
        """Save an administrator's edit of a mapping. The administrator read `had` in this version
        (0: there was no mapping). The catalog must have what is new. Raises Overtaken where the
        mapping has another version by now, OwnerlessUnconfirmed, AdministrationError."""
        new = sorted({*wanted} - {*had})
        await refuse_unknown(self.service.store, self.tenant_id, new)
        proposal = MappingProposal({group: wanted})
        asking = Preview(self.service.store, self.tenant_id, proposal)
        if not confirmed and takes_any(had, wanted) and await asking.nobody_would_hold():
            raise OwnerlessUnconfirmed
        return await self.save(group, wanted, version)

    async def save(
        self, group: str, entitlements: tuple[EntitlementKey, ...], version: int | None = None
    ) -> Mapping:
        """Give the members of a group (SCIM id) exactly these entitlements, as a new version. With
        `version`, raises Overtaken where the mapping has another one. Raises AdministrationError
        where these are too many for so many members."""
        await refuse_too_many(self.service.store, self.tenant_id, group, entitlements)
        return await self.retrying(lambda: self._save(group, entitlements, version), "this mapping")

    async def _save(
        self, group: str, entitlements: tuple[EntitlementKey, ...], version: int | None
    ) -> Mapping:
        found = await self.service.store.read_many(self.tenant_id, [mapping_id(group)])
        stored = found.get(mapping_id(group))
        old = Mapping.from_document(stored.document) if stored else None
        current = old.version if old else 0
        if version is not None and version != current:
            raise Overtaken(
                f"Somebody else saved this mapping meanwhile: it has version {current} now, not "
                f"{version}. Read what the group gives now, and make your change there."
            )
        event = self.event("mapping", "Group", group, ("entitlements",), "group")
        mapping = Mapping(
            tenant_id=self.tenant_id,
            group_id=group,
            entitlements=entitlements,
            version=current + 1,
            applied_version=old.applied_version if old else 0,
            changed_at=event.at,
            event_id=event.event_id,
        )
        document = mapping.to_document()
        write = Replace(document, stored.etag) if stored else Create(document)
        await self.ledger.commit([write], event)
        return mapping

    async def _group(self, entry: MappingEntry) -> str:
        """The SCIM id of the group that an entry names. Raises AdministrationError."""
        if entry.group_id is not None:
            found = await self._by_id(entry.group_id)
        elif entry.external_id is not None:
            found = await self._by_external_id(entry.external_id)
        elif entry.display_name is not None:
            found = await self._by_display_name(entry.display_name)
        else:
            raise AdministrationError(
                "Every mapping names its group by groupId, externalId or displayName."
            )
        named = entry.group_id or entry.external_id or entry.display_name
        if not found:
            raise AdministrationError(
                f"{self.tenant_id} has no group {named!r}. Entra ID creates groups when it "
                "provisions them: assign the group to the Enterprise Application first."
            )
        if len(found) > 1:
            raise AdministrationError(
                f"{self.tenant_id} has {len(found)} groups named {named!r}; name one by groupId: "
                + ", ".join(found)
            )
        return found[0]

    async def _by_id(self, group: str) -> list[str]:
        if not is_resource_id(group):
            return []
        found = await self.service.store.read_many(self.tenant_id, [group_id(group)])
        return [group] if found else []

    async def _by_external_id(self, value: str) -> list[str]:
        key = key_id("Group", "externalId", value)
        found = await self.service.store.read_many(self.tenant_id, [key])
        return [Key.from_document(stored.document).resource_id for stored in found.values()]

    async def _by_display_name(self, value: str) -> list[str]:
        named = OneOf(("search", "displayName"), folds(value))
        page = await self.service.store.query(self.tenant_id, Query("Group", named))
        return [StoredGroup.of(stored).id for stored in page.items]


async def refuse_too_many(
    store: Store, tenant_id: str, group: str, entitlements: Collection[EntitlementKey]
) -> None:
    """Raises AdministrationError where a group (SCIM id) would give so many entitlements to so many
    users that applying them would delay everybody else's changes."""
    each = len({*entitlements})
    refuse_more(each, "The group")
    if each == 0:
        return
    users = await count_below(store, tenant_id, group, GRANTS_LIMIT // each)
    if users * each > GRANTS_LIMIT:
        raise AdministrationError(
            f"{each:,} entitlements for {users:,} users or more are over the {GRANTS_LIMIT:,} "
            f"grants that one mapping may give. With so many members, a group can give at most "
            f"{GRANTS_LIMIT // users:,} entitlements: give less, or divide the group."
        )


def takes_any(had: Iterable[EntitlementKey], wanted: Iterable[EntitlementKey]) -> bool:
    """Whether a member may lose anything when a group that gave `had` gives `wanted`."""
    return not {*had} <= {*wanted}


async def list_mappings(store: Store, tenant_id: str) -> list[dict[str, Any]]:
    """All mappings of a tenant, with their groups' names, as rows of a table; at the end the
    remembered ones of deleted groups."""
    found = [
        Mapping.from_document(item.document)
        async for item in every(store, tenant_id, Query("Mapping", limit=1000))
    ]
    groups = readable(await read_all(store, tenant_id, [group_id(m.group_id) for m in found]))
    rows = []
    for mapping in found:
        group = groups.get(group_id(mapping.group_id))
        rows.append(
            {
                "group": StoredGroup.of(group).display_name if group else "(deleted)",
                "groupId": mapping.group_id,
                "version": mapping.version,
                "appliedVersion": mapping.applied_version,
                "entitlements": _shown(mapping.entitlements),
            }
        )
    remembered = [
        _remembered_row(RememberedMapping.from_document(item.document))
        async for item in every(store, tenant_id, Query("RememberedMapping", limit=1000))
    ]
    return [*_by_name(rows), *_by_name(remembered)]


def _by_name(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["group"]).casefold())


def _remembered_row(mapping: RememberedMapping) -> dict[str, Any]:
    return {
        "group": f"{mapping.display_name} (deleted {mapping.deleted_at:%Y-%m-%d})",
        "groupId": mapping.group_id,
        "version": mapping.version,
        "appliedVersion": None,
        "entitlements": _shown(mapping.entitlements),
    }


def _shown(entitlements: Iterable[EntitlementKey]) -> str:
    return ", ".join(f"{one.kind} {one.key}" for one in entitlements)
