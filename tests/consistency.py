"""What must hold of a tenant once nothing is left to do, whatever happened on the way.

Everything is worked out here by definition, from the documents alone, so that a fault of the
product's code cannot excuse itself; only the last rule asks the product whether it agrees.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from directory.reading import every
from directory.store import Document, Query, Store
from directory.tenants import TENANT_ID
from reconciler.questions.drift import audit

ENTERPRISE_USER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
TYPES = (
    "Tenant",
    "User",
    "Group",
    "Key",
    "Membership",
    "Mapping",
    "RememberedMapping",
    "Entitlement",
    "Access",
    "ManualGrants",
    "Protection",
    "Notice",
    "AccessChange",
    "Event",
)
REASONS = (
    "inactive",
    "userNameMissing",
    "givenNameMissing",
    "familyNameMissing",
    "workEmailMissing",
    "noGroup",
)


async def assert_consistent(store: Store, tenant_id: str) -> None:
    """Assert that a tenant is settled and that its documents agree with each other: every unique
    value is reserved and nothing else is, no edge leads nowhere, every write has its event and
    every event its write, and everybody's access is what directory and mappings say."""
    directory = await Directory.read(store, tenant_id)
    problems = [
        *_reservations(directory),
        *_memberships(directory),
        *_events(directory),
        *_writes(directory),
        *_access(directory),
        *_keeping(directory),
        *_losses(directory),
        *[problem async for problem in _drift(store, tenant_id)],
    ]
    assert not problems, "\n".join(problems)


@dataclass(frozen=True)
class Directory:
    """All documents of a tenant: type → id → document."""

    tenant_id: str
    documents: Mapping[str, Mapping[str, Document]]

    @classmethod
    async def read(cls, store: Store, tenant_id: str) -> "Directory":
        """As the store has it now."""
        documents: dict[str, dict[str, Document]] = {}
        for type in TYPES:
            found = every(store, tenant_id, Query(type, limit=1000))
            documents[type] = {item.document["id"]: item.document async for item in found}
        return cls(tenant_id, documents)

    def of(self, type: str) -> Mapping[str, Document]:
        """Document id → document."""
        return self.documents[type]

    def resources(self) -> Iterator[tuple[str, str, Document]]:
        """Type, SCIM id and document of every user and group."""
        for type in ("User", "Group"):
            for document in self.of(type).values():
                yield type, document["resource"]["id"], document

    def exists(self, type: str, resource_id: str) -> bool:
        """Whether there is such a user or group."""
        return f"{type.lower()}:{resource_id}" in self.of(type)

    def direct_groups(self) -> dict[str, set[str]]:
        """SCIM id of a member → the existing groups that name it."""
        groups: dict[str, set[str]] = {}
        for edge in self.of("Membership").values():
            if self.exists("Group", edge["groupId"]):
                groups.setdefault(edge["memberId"], set()).add(edge["groupId"])
        return groups


def _reservations(directory: Directory) -> Iterator[str]:
    wanted = {
        _key(type, attribute, value): (type, attribute, id)
        for type, id, document in directory.resources()
        for attribute, value in _unique_values(type, document["resource"])
    }
    found = {
        id: (key["resourceType"], key["attribute"], key["resourceId"])
        for id, key in directory.of("Key").items()
    }
    for id in wanted.keys() | found.keys():
        if wanted.get(id) != found.get(id):
            yield f"{id}: reserved for {found.get(id)}, held by {wanted.get(id)}"
    holders = [
        (type, attribute, value)
        for type, _, document in directory.resources()
        for attribute, value in _unique_values(type, document["resource"])
    ]
    if len(holders) != len(set(holders)):
        yield "two resources hold one unique value"


def _unique_values(type: str, resource: Document) -> Iterator[tuple[str, str]]:
    if "externalId" in resource:
        yield "externalId", resource["externalId"]
    if type == "User" and "userName" in resource:
        yield "userName", resource["userName"].casefold()
    if type == "Group" and "externalId" not in resource:
        yield "displayName", resource["displayName"].casefold()


def _key(type: str, attribute: str, value: str) -> str:
    return f"key:{type}:{attribute}:{hashlib.sha256(value.encode()).hexdigest()}"


def _memberships(directory: Directory) -> Iterator[str]:
    for id, edge in directory.of("Membership").items():
        if id != f"member:{edge['groupId']}:{edge['memberId']}":
            yield f"{id} says {edge['groupId']} and {edge['memberId']}"
        if not directory.exists("Group", edge["groupId"]):
            yield f"{id}: the group is gone"
        if not directory.exists(edge["memberType"], edge["memberId"]):
            yield f"{id}: there is no {edge['memberType']} of that id"


def _events(directory: Directory) -> Iterator[str]:
    """Everything that was accepted is carried out."""
    for id, event in directory.of("Event").items():
        if event["state"] != "done" or "doneAt" not in event or "ttl" not in event:
            yield f"{id} ({event['operation']} {event['resourceType']}) is {event['state']}"
        change = event.get("membership")
        if change and directory.exists("Group", event["resourceId"]):
            size = len(change["added"]) + len(change["removed"])
            if change["applied"] != size:
                yield f"{id}: {change['applied']} of {size} memberships are written"
    for id, group in directory.of("Group").items():
        if "intent" in group:
            yield f"{id} waits for event {group['intent']}"
    for id, mapping in directory.of("Mapping").items():
        if mapping["appliedVersion"] != mapping["version"]:
            yield f"{id}: version {mapping['appliedVersion']} of {mapping['version']} is applied"


def _writes(directory: Directory) -> Iterator[str]:
    """No write without its event, no event without its write."""
    events = directory.of("Event")
    happened: dict[tuple[str, str, str], int] = {}
    for event in events.values():
        what = event["resourceType"], event["resourceId"], event["operation"]
        happened[what] = happened.get(what, 0) + 1
    for type, id, document in directory.resources():
        if document["source"] == "scim" and happened.get((type, id, "create"), 0) != 1:
            yield f"{document['id']}: created by {happened.get((type, id, 'create'), 0)} events"
    for type, id, operation in happened:
        gone = operation == "delete" or (type, id, "delete") in happened
        if type in ("User", "Group") and directory.exists(type, id) == gone:
            yield f"{type} {id}: {operation}, but it {'is still there' if gone else 'is not there'}"
    for id, edge in directory.of("Membership").items():
        cause = events.get(f"event:{edge['eventId']}", {})
        member = f"{edge['memberType'].lower()}:{edge['memberId']}"
        if member not in cause.get("membership", {}).get("added", ()):
            yield f"{id}: event {edge['eventId']} did not bring the member"
    for id, mapping in directory.of("Mapping").items():
        if events.get(f"event:{mapping['eventId']}", {}).get("resourceId") != mapping["groupId"]:
            yield f"{id}: event {mapping['eventId']} is not its own"


def _access(directory: Directory) -> Iterator[str]:
    records = {record["userId"]: record for record in directory.of("Access").values()}
    users = {document["resource"]["id"]: document for document in directory.of("User").values()}
    for id in records.keys() - users.keys():
        yield f"access:{id} of nobody"
    above = directory.direct_groups()
    for id, user in users.items():
        expected = _expected(directory, above, user)
        record = records.get(id)
        found = record and (record["enabled"], tuple(record["reasons"]), _held(record))
        if found != expected:
            yield f"access:{id} is {found}, must be {expected}"
        for path in _paths(record or {}):
            if not all(upper in above.get(lower, ()) for lower, upper in pairwise([id, *path])):
                yield f"access:{id}: no memberships lead along {path}"


type Held = frozenset[tuple[str, str, str, int]]
"""Kind, key, and what gives it: group and mapping version, or the cost center."""


def _expected(
    directory: Directory, above: Mapping[str, set[str]], user: Document
) -> tuple[bool, tuple[str, ...], Held]:
    """Access by definition (product, section 5)."""
    if user["source"] == "manual":
        return True, (), frozenset()
    tenant = directory.of("Tenant")[TENANT_ID]
    resource = user["resource"]
    groups = above.get(resource["id"], set())
    name = resource.get("name", {})
    work = [e for e in resource.get("emails", ()) if e.get("type", "").casefold() == "work"]
    true_of_user = {
        "inactive": resource.get("active") is False,
        "userNameMissing": not resource.get("userName"),
        "givenNameMissing": not name.get("givenName"),
        "familyNameMissing": not name.get("familyName"),
        "workEmailMissing": not any(email.get("value") for email in work),
        "noGroup": not groups,
    }
    counting = tenant["policy"]["disableWhen"]
    kept = {(one["kind"], one["key"], "kept", 0) for one in _kept(directory, resource["id"])}
    counting = [reason for reason in counting if not (kept and reason == "noGroup")]
    reasons = tuple(r for r in REASONS if true_of_user[r] and r in counting)
    if reasons:
        return False, reasons, frozenset()
    while more := {upper for group in groups for upper in above.get(group, ())} - groups:
        groups = groups | more
    held = {
        (entitlement["kind"], entitlement["key"], group, mapping["version"])
        for group in groups
        if (mapping := directory.of("Mapping").get(f"mapping:{group}"))
        for entitlement in mapping["entitlements"]
    }
    cost_center = resource.get(ENTERPRISE_USER, {}).get("costCenter")
    known = {(e["kind"], e["key"]) for e in directory.of("Entitlement").values()}
    if (
        tenant["policy"]["costCenterFromAttribute"]
        and ("costCenterMembership", cost_center) in known
    ):
        held.add(("costCenterMembership", cost_center, "costCenter", 0))
    if tenant["policy"]["appRoles"]:
        held |= {("role", key, "appRole", 0) for key in _app_roles(directory, resource)}
    return True, (), frozenset(held | kept)


def _app_roles(directory: Directory, resource: dict[str, Any]) -> set[str]:
    roles = [e for e in directory.of("Entitlement").values() if e["kind"] == "role"]
    keys: set[str] = set()
    for role in resource.get("roles", ()):
        for name in (role.get("value"), role.get("display")):
            called = [e["key"] for e in roles if e["displayName"] == name]
            if name in {e["key"] for e in roles}:
                keys.add(name)
            elif len(called) == 1:
                keys.add(called[0])
    return keys


def _kept(directory: Directory, user: str) -> list[dict[str, str]]:
    beside = directory.of("ManualGrants").get(f"manual:{user}", {})
    return list(beside.get("kept", []))


def _keeping(directory: Directory) -> Iterator[str]:
    """What is protected is kept for one user at most, and only while nobody holds it otherwise."""
    records = directory.of("Access").values()
    for protection in directory.of("Protection").values():
        key = protection["kind"], protection["key"]
        holders = [r["userId"] for r in records if any(held[:2] == key for held in _held(r))]
        otherwise = any(h[:2] == key and h[2] != "kept" for r in records for h in _held(r))
        if protection["holders"] != len(holders):
            yield f"{protection['id']} counts {protection['holders']}, there are {len(holders)}"
        if otherwise and protection.get("kept"):
            yield f"{protection['id']} is kept, though somebody holds it"
        keepers = [
            user
            for user in (beside["userId"] for beside in directory.of("ManualGrants").values())
            if any((one["kind"], one["key"]) == key for one in _kept(directory, user))
        ]
        if keepers != [*filter(None, [protection.get("kept")])]:
            yield f"{protection['id']} is kept for {protection.get('kept')}, stored for {keepers}"


def _losses(directory: Directory) -> Iterator[str]:
    """Whatever is marked as a mass loss was told of, once and as it is marked."""
    notices = [one for one in directory.of("Notice").values() if one["kind"] == "access.massLoss"]
    told = {one["noticeId"]: one["details"] for one in notices}
    for event in directory.of("Event").values():
        said = told.get(event["eventId"], {})
        if event.get("massLoss") != ({"lost": said["lost"], "of": said["of"]} if said else None):
            yield f"{event['eventId']}: {event.get('massLoss')} is marked, {said} is told"
        if event["lost"] >= 10 and event["lost"] != len(_losers(directory, event["eventId"])):
            yield f"{event['eventId']} counts {event['lost']}"


def _losers(directory: Directory, event: str) -> set[str]:
    changes = [one for one in directory.of("AccessChange").values() if one["eventId"] == event]
    return {
        one["userId"]
        for one in changes
        if any("before" in each and "after" not in each for each in one["differences"]["grants"])
    }


def _held(record: Document) -> Held:
    return frozenset(
        (grant["kind"], grant["key"], source.get("groupId", source["type"]), _version(source))
        for grant in record["grants"]
        for source in grant["sources"]
    )


def _version(source: Mapping[str, Any]) -> int:
    version: int = source.get("mappingVersion", 0)
    return version


def _paths(record: Document) -> Iterator[list[str]]:
    for grant in record.get("grants", ()):
        for source in grant["sources"]:
            if source["type"] == "group":
                yield source["path"]


async def _drift(store: Store, tenant_id: str) -> AsyncIterator[str]:
    """Recomputing everybody must change nothing."""
    async for page in audit(store, tenant_id):
        for difference in page.differences:
            yield f"access:{difference.user_id}: {difference.text}"
