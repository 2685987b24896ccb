"""Groups as an administrator sees them: their status, what they grant, how many are in them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from administration.reading.naming import Granted, entitlement_names, granted
from administration.reading.paging import MOST_PER_PAGE, PAGE, PageOf
from directory.condition import EVERYTHING, All, Compare, OneOf
from directory.documents import (
    EntitlementKey,
    Mapping,
    Model,
    group_id,
    is_resource_id,
    mapping_id,
)
from directory.reading import every, read_all, readable
from directory.resources import StoredGroup
from directory.store import NEWEST_FIRST, Document, Order, Query, Store, Stored
from reconciler.status import EVENT_FIELDS, Status, group_status
from scim.protocol.scalars import fold

SAMPLE = 50
"""How many of the newest groups are searched for those without a mapping."""


class GroupOverview(Model):
    """One group. `done` and `total` count users while changes are applied; `total` is 0 while it
    is not known."""

    group_id: str
    display_name: str
    external_id: str | None = None
    connection_id: str | None = None
    """The connection that it belongs to; None for an imported group until Entra ID writes it."""
    source: Literal["scim", "manual"]
    status: Status
    done: int = 0
    total: int = 0
    failed: tuple[str, ...] = ()
    """Events about the group that failed; the group keeps `Applying changes` until they are
    replayed."""
    members: int
    """Direct members, groups among them."""
    version: int | None = None
    """The mapping's version; None: there is no mapping."""
    applied_version: int | None = None
    mapping_event_id: str | None = None
    """The event that saved the mapping."""
    given_again_from: datetime | None = None
    """Where the mapping was remembered from a deleted group: when that group was deleted."""
    entitlements: tuple[Granted, ...] = ()

    @property
    def gives(self) -> tuple[EntitlementKey, ...]:
        """The entitlements without their names."""
        return tuple(one.entitlement for one in self.entitlements)


async def list_groups(
    store: Store, tenant_id: str, text: str = "", after: str | None = None, limit: int = PAGE
) -> PageOf[GroupOverview]:
    """A tenant's groups whose display name contains `text`, by name. Costs four round trips and one
    count per group, whatever the tenant's size. Raises BadContinuation for an `after` that is not
    of this list."""
    where = Compare(("search", "displayName"), "co", fold(text)) if text else EVERYTHING
    query = Query(
        "Group",
        where,
        order=(Order(("search", "displayName")),),
        limit=min(limit, MOST_PER_PAGE),
        continuation=after,
    )
    page = await store.query(tenant_id, query)
    groups = [StoredGroup.of(item) for item in page.items]
    mappings = await _mappings(store, tenant_id, groups)
    known = readable(mappings)
    shown = [one for one in groups if (id := mapping_id(one.id)) in known or id not in mappings]
    return PageOf(await _overviews(store, tenant_id, shown, known), page.continuation)


async def unmapped_groups(store: Store, tenant_id: str) -> list[StoredGroup]:
    """The groups without a mapping among the newest SAMPLE groups of connections, by name. Costs
    two round trips, whatever the tenant's size."""
    provisioned = Compare(("source",), "eq", "scim")
    page = await store.query(tenant_id, Query("Group", provisioned, NEWEST_FIRST, limit=SAMPLE))
    groups = [StoredGroup.of(item) for item in page.items]
    mapped = await _mappings(store, tenant_id, groups)
    return sorted(
        (one for one in groups if mapping_id(one.id) not in mapped),
        key=lambda one: one.display_name,
    )


async def read_group(store: Store, tenant_id: str, group: str) -> GroupOverview | None:
    """One group (SCIM id), or None where there is none."""
    if not is_resource_id(group):
        return None
    found = await store.read_many(tenant_id, [group_id(group)])
    groups = [StoredGroup.of(one) for one in found.values()]
    mappings = await _mappings(store, tenant_id, groups)
    overviews = await _overviews(store, tenant_id, groups, mappings)
    return overviews[0] if overviews else None


async def _mappings(
    store: Store, tenant_id: str, groups: Sequence[StoredGroup]
) -> dict[str, Stored]:
    return await read_all(store, tenant_id, [mapping_id(group.id) for group in groups])


async def _overviews(
    store: Store, tenant_id: str, groups: Sequence[StoredGroup], found: dict[str, Stored]
) -> tuple[GroupOverview, ...]:
    """The groups with the mappings that were `found`. Raises Unreadable."""
    ids = [group.id for group in groups]
    if not ids:
        return ()
    mappings = {id: Mapping.from_document(stored.document) for id, stored in found.items()}
    given = [one for mapping in mappings.values() for one in mapping.entitlements]
    names = await entitlement_names(store, tenant_id, given)
    events = await _open_events(store, tenant_id, ids)
    members = await asyncio.gather(
        *(store.count(tenant_id, "Membership", Compare(("groupId",), "eq", id)) for id in ids)
    )
    return tuple(
        _overview(group, mappings.get(mapping_id(id)), events[id], count, names)
        for group, id, count in zip(groups, ids, members, strict=True)
    )


async def _open_events(
    store: Store, tenant_id: str, groups: Sequence[str]
) -> dict[str, list[Document]]:
    """Group id → the events about it that are not done."""
    about = OneOf(("resourceId",), tuple(groups))
    not_done = OneOf(("state",), ("pending", "failed"))
    events: dict[str, list[Document]] = {group: [] for group in groups}
    query = Query("Event", All((about, not_done)), fields=EVENT_FIELDS)
    async for item in every(store, tenant_id, query):
        events[item.document["resourceId"]].append(item.document)
    return events


def _overview(
    group: StoredGroup,
    mapping: Mapping | None,
    events: Sequence[Document],
    members: int,
    names: dict[EntitlementKey, str],
) -> GroupOverview:
    status = group_status(group, mapping, events, members)
    entitlements = mapping.entitlements if mapping else ()
    return GroupOverview(
        group_id=group.id,
        display_name=group.display_name,
        external_id=group.external_id,
        connection_id=group.connection_id,
        source=group.source,
        status=status.status,
        done=status.done,
        total=status.total,
        failed=tuple(event["eventId"] for event in events if event["state"] == "failed"),
        members=members,
        version=mapping.version if mapping else None,
        applied_version=mapping.applied_version if mapping else None,
        mapping_event_id=mapping.event_id if mapping else None,
        given_again_from=mapping.deleted_at if mapping else None,
        entitlements=granted(entitlements, names),
    )
