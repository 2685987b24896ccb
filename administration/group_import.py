"""Groups with their mappings from an earlier integration, named by externalId.

A group that is imported waits for Entra ID: it has no members and no connection until the first
write of Entra ID, which finds it by externalId (product, section 4). Importing a file again
changes nothing; a group that Entra ID provisions keeps everything but its mapping.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Annotated, Any, Literal

from pydantic import Field

from administration.catalog import refuse_more, refuse_unknown
from administration.errors import AdministrationError
from administration.events import Administration
from administration.files import (
    MOST_LINES,
    NOT_BLANK,
    is_json,
    read_csv,
    read_json,
    refuse_long,
    validated,
)
from administration.mappings import refuse_too_many
from directory.documents import (
    EntitlementKey,
    Event,
    Key,
    Mapping,
    Model,
    group_id,
    key_id,
    mapping_id,
    new_resource_id,
)
from directory.lanes import apart
from directory.resources import StoredGroup
from directory.store import (
    BATCH_OPERATIONS,
    Create,
    Operation,
    Replace,
    Stored,
    TooLarge,
    Unreadable,
    member,
)
from scim.protocol.errors import ScimError
from scim.protocol.validation import normalise
from scim.reservations import unique_values
from scim.writing import Writing

STEPS_PER_GROUP = 20
"""The work of looking at one group, in the steps of `directory.lanes`."""
MOST_GROUPS = 2_000
"""The most groups in a file."""
TOGETHER = BATCH_OPERATIONS // 4
"""Groups per batch: each is a document, its reservation, its mapping and its event."""

type Text = Annotated[str, Field(min_length=1, max_length=1000), NOT_BLANK]
type Outcome = Literal["new", "updated", "unchanged", "unreadable"]
"""The outcome of a group; `unreadable`: the stored group cannot be read, so it was not imported."""
OUTCOMES: tuple[Outcome, ...] = Outcome.__value__.__args__


class ImportEntry(Model):
    """One group of an import. Without `entitlements` the group's mapping is left alone."""

    external_id: Text
    display_name: Text
    entitlements: tuple[EntitlementKey, ...] | None = None


class ImportFile(Model):
    """`{"groups": [{"externalId", "displayName", "entitlements": [{"kind", "key"}, …]}, …]}`."""

    groups: tuple[ImportEntry, ...]


class ImportedGroup(Model):
    """What an import did, or would do, to one group."""

    external_id: str
    display_name: str
    group_id: str | None = None
    """None: it would be new."""
    outcome: Outcome
    changed: tuple[str, ...] = ()


def parse_import(content: bytes) -> ImportFile:
    """Read an import file: JSON, or CSV with the columns externalId, displayName, kind, key and one
    line for every entitlement of a group. Raises AdministrationError that says where the fault is.
    """
    what = "The import"
    file = read_json(ImportFile, content, what) if is_json(content) else _from_csv(content, what)
    refuse_long(what, len(file.groups), MOST_GROUPS, "groups")
    given = sum(len(entry.entitlements or ()) for entry in file.groups)
    refuse_long(what, given, MOST_LINES, "entitlements of groups")
    seen: set[str] = set()
    for entry in file.groups:
        if entry.external_id in seen:
            raise AdministrationError(f"The import names externalId {entry.external_id} twice.")
        seen.add(entry.external_id)
        refuse_more(len(entry.entitlements or ()), f"The group {entry.external_id}")
    return file


def _from_csv(content: bytes, what: str) -> ImportFile:
    groups: dict[str, dict[str, Any]] = {}
    lines: list[int] = []
    for row in read_csv(content, ("externalId", "displayName", "kind", "key"), what):
        group = groups.setdefault(row["externalId"], {"displayName": row["displayName"]})
        if len(groups) > len(lines):
            lines.append(row.line)
        if group["displayName"] != row["displayName"]:
            raise AdministrationError(
                f"{what} cannot be read: line {row.line}: the group has another displayName above."
            )
        if bool(row["kind"]) != bool(row["key"]):
            raise AdministrationError(
                f"{what} cannot be read: line {row.line}: kind and key go together."
            )
        if row["kind"]:
            one = {"kind": row["kind"], "key": row["key"]}
            group.setdefault("entitlements", []).append(one)
    entries = [{"externalId": id, **group} for id, group in groups.items()]
    return validated(ImportFile, {"groups": entries}, what, lines)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The operations and the event that make one group as the file says."""

    report: ImportedGroup
    operations: tuple[Operation, ...] = ()
    event: Event | None = None


class GroupImport(Administration):
    """Imports groups into one tenant."""

    async def load(
        self,
        file: ImportFile,
        *,
        dry_run: bool = False,
        coming: Collection[EntitlementKey] = (),
        together: int = TOGETHER,
    ) -> list[ImportedGroup]:
        """Import a file in batches of `together` groups, or say what that would do. The file is
        refused before anything is written if one group in it is invalid: with an entitlement that
        the catalog lacks (unless it is `coming` into it), or a value that no group can have. A
        stored group that cannot be read is left as it is, and all others are imported. Raises
        AdministrationError, StoreError."""
        wanted = [one for entry in file.groups for one in entry.entitlements or ()]
        await refuse_unknown(self.service.store, self.tenant_id, wanted, coming)
        entries = await apart(
            self.tenant_id,
            len(file.groups) * STEPS_PER_GROUP,
            lambda: [(entry, self._resource(entry)) for entry in file.groups],
        )
        done: list[ImportedGroup] = []
        for some in batched(entries, together, strict=False):
            if dry_run:
                done += [_as_told_before(plan.report) for plan in await self._plan(some)]
            else:
                done += await self._import(some)
        return done

    def _resource(self, entry: ImportEntry) -> dict[str, Any]:
        """The group as SCIM has it, without an id."""
        body = {"externalId": entry.external_id, "displayName": entry.display_name}
        try:
            return normalise(self._writing.type, body).resource
        except ScimError as error:
            raise AdministrationError(f"Group {entry.external_id}: {error.detail}") from None

    @property
    def _writing(self) -> Writing:
        return Writing(self.service, self.service.resource_types["Group"])

    async def _import(
        self, entries: Sequence[tuple[ImportEntry, dict[str, Any]]]
    ) -> list[ImportedGroup]:
        async def attempt() -> list[ImportedGroup]:
            plans = await self._plan(entries)
            operations = [operation for plan in plans for operation in plan.operations]
            events = [plan.event for plan in plans if plan.event is not None]
            if events:
                await self.ledger.commit(operations, *events)
            return [plan.report for plan in plans]

        try:
            return await self.retrying(attempt, "these groups")
        except TooLarge:
            if len(entries) == 1:
                raise
        middle = len(entries) // 2
        return [*await self._import(entries[:middle]), *await self._import(entries[middle:])]

    async def _plan(self, entries: Sequence[tuple[ImportEntry, dict[str, Any]]]) -> list[_Plan]:
        """What to write for each group, from what is stored now; two round trips."""
        store = self.service.store
        keys = [self._key(resource) for _, resource in entries]
        reserved = await store.read_many(self.tenant_id, keys)
        owners = [member(reserved[key], "resourceId") if key in reserved else None for key in keys]
        ids = [f(owner) for owner in owners if owner for f in (group_id, mapping_id)]
        found = await store.read_many(self.tenant_id, ids) if ids else {}
        plans = []
        for (entry, resource), key, owner in zip(entries, keys, owners, strict=True):
            try:
                if key in reserved:
                    Key.from_document(reserved[key].document)
                plans.append(await self._planned(entry, resource, owner, found))
            except Unreadable:  # the store has logged which document it is
                plans.append(_Plan(_unreadable(entry, owner)))
        return plans

    async def _planned(
        self,
        entry: ImportEntry,
        resource: dict[str, Any],
        owner: str | None,
        found: dict[str, Stored],
    ) -> _Plan:
        group = found.get(group_id(owner)) if owner else None
        if owner is None or group is None:
            return await self._new(entry, resource)
        plan = self._existing(entry, resource, StoredGroup.of(group), found.get(mapping_id(owner)))
        if "entitlements" in plan.report.changed:
            wanted = entry.entitlements or ()
            await refuse_too_many(self.service.store, self.tenant_id, owner, wanted)
        return plan

    def _key(self, resource: dict[str, Any]) -> str:
        """Document id of the reservation of the group's externalId."""
        values = unique_values(self._writing.type, resource)
        unique = next(value for value in values if value.attribute == "externalId")
        return key_id("Group", *unique)

    async def _new(self, entry: ImportEntry, resource: dict[str, Any]) -> _Plan:
        id = new_resource_id()
        changed = ("externalId", "displayName", *(("entitlements",) if entry.entitlements else ()))
        scope: Literal["group", "none"] = "group" if entry.entitlements else "none"
        event = self.event("import", "Group", id, changed, scope)
        writing = self._writing
        base = {"tenantId": self.tenant_id, "source": "manual"}
        document = writing.document(base, {**resource, "id": id}, writing.stamp())
        operations: list[Operation] = [
            Create(document),
            *await writing.reservations({}, document),
        ]
        if entry.entitlements:
            operations.append(Create(self._mapping(id, entry, event).to_document()))
        report = ImportedGroup(
            external_id=entry.external_id,
            display_name=entry.display_name,
            outcome="new",
            changed=changed,
            group_id=id,
        )
        return _Plan(report, tuple(operations), event)

    def _existing(
        self,
        entry: ImportEntry,
        resource: dict[str, Any],
        group: StoredGroup,
        stored: Stored | None,
    ) -> _Plan:
        id = group.id
        mapping = Mapping.from_document(stored.document) if stored else None
        renamed = group.manual and group.display_name != resource["displayName"]
        given = mapping.entitlements if mapping else ()
        mapped = entry.entitlements is not None and set(entry.entitlements) != set(given)
        names = {"displayName": renamed, "entitlements": mapped}
        changed = tuple(name for name, differs in names.items() if differs)
        report = ImportedGroup(
            external_id=entry.external_id,
            display_name=group.display_name,
            group_id=id,
            outcome="updated" if changed else "unchanged",
            changed=changed,
        )
        if not changed:
            return _Plan(report)
        event = self.event("import", "Group", id, changed, "group" if mapped else "none")
        operations: list[Operation] = []
        if renamed:
            named = {**group.resource, "displayName": resource["displayName"]}
            document = self._writing.document(group.document, named, self._writing.stamp())
            operations.append(Replace(document, group.etag))
        if mapped:
            saved = self._mapping(id, entry, event, mapping).to_document()
            operations.append(Replace(saved, stored.etag) if stored else Create(saved))
        return _Plan(report, tuple(operations), event)

    def _mapping(
        self, group: str, entry: ImportEntry, event: Event, old: Mapping | None = None
    ) -> Mapping:
        return Mapping(
            tenant_id=self.tenant_id,
            group_id=group,
            version=old.version + 1 if old else 1,
            applied_version=old.applied_version if old else 0,
            entitlements=tuple(dict.fromkeys(entry.entitlements or ())),
            changed_at=event.at,
            event_id=event.event_id,
        )


def _unreadable(entry: ImportEntry, owner: str | None) -> ImportedGroup:
    return ImportedGroup(
        external_id=entry.external_id,
        display_name=entry.display_name,
        group_id=owner,
        outcome="unreadable",
    )


def _as_told_before(report: ImportedGroup) -> ImportedGroup:
    """The report of a dry run: a new group has no id yet."""
    return report.model_copy(update={"group_id": None}) if report.outcome == "new" else report
