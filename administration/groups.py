"""Groups as an administrator sees them: their status, what they grant, how many are in them."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from administration.catalog import entitlement_names
from administration.tenants import AdministrationError
from directory.condition import EVERYTHING, All, Compare, OneOf
from directory.documents import (
    EntitlementKey,
    Mapping,
    Model,
    group_id,
    is_resource_id,
    mapping_id,
)
from directory.reading import every, read_all
from directory.store import Document, Order, Query, Store
from reconciler.status import EVENT_FIELDS, Status, group_status

PAGE = 50
MOST_PER_PAGE = 200


class Granted(EntitlementKey):
    """An entitlement that a group gives, named as the catalog names it."""

    display_name: str


class GroupOverview(Model):
    """One group. `done` and `total` count users while changes are applied; `total` is 0 while it
    is not known."""

    group_id: str
    display_name: str
    external_id: str | None = None
    connection_id: str | None = None
    """The connection that it belongs to; None until Entra ID touches an imported group."""
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
    """Of the mapping; None: it has none."""
    applied_version: int | None = None
    entitlements: tuple[Granted, ...] = ()


class GroupPage(Model):
    """Groups by name; `continuation` leads to the next page."""

    groups: tuple[GroupOverview, ...]
    continuation: str | None = None


async def list_groups(
    store: Store,
    tenant_id: str,
    *,
    named: str = "",
    limit: int = PAGE,
    continuation: str | None = None,
) -> GroupPage:
    """A page of a tenant's groups, those with `named` in their display name. Costs four round
    trips and one count per group, whatever the tenant's size. Raises AdministrationError for a
    continuation that is none."""
    where = Compare(("search", "displayName"), "co", named.casefold()) if named else EVERYTHING
    query = Query(
        "Group",
        where,
        order=(Order(("search", "displayName")),),
        limit=min(limit, MOST_PER_PAGE),
        continuation=continuation,
    )
    try:
        page = await store.query(tenant_id, query)
    except ValueError as error:
        raise AdministrationError(str(error)) from None
    overviews = await _overviews(store, tenant_id, [item.document for item in page.items])
    return GroupPage(groups=overviews, continuation=page.continuation)


async def read_group(store: Store, tenant_id: str, group: str) -> GroupOverview:
    """One group (SCIM id). Raises AdministrationError where there is none."""
    ids = [group_id(group)] if is_resource_id(group) else []
    found = await store.read_many(tenant_id, ids) if ids else {}
    if not found:
        raise AdministrationError(
            f"{tenant_id} has no group {group[:100]!r}: 'manage.py group list {tenant_id}' shows "
            "all."
        )
    (overview,) = await _overviews(store, tenant_id, [found[ids[0]].document])
    return overview


async def _overviews(
    store: Store, tenant_id: str, groups: Sequence[Document]
) -> tuple[GroupOverview, ...]:
    ids = [group["resource"]["id"] for group in groups]
    if not ids:
        return ()
    found = await read_all(store, tenant_id, [mapping_id(id) for id in ids])
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
    group: Document,
    mapping: Mapping | None,
    events: Sequence[Document],
    members: int,
    names: dict[tuple[str, str], str],
) -> GroupOverview:
    status = group_status(group, mapping, events, members)
    entitlements = mapping.entitlements if mapping else ()
    return GroupOverview(
        group_id=group["resource"]["id"],
        display_name=group["resource"]["displayName"],
        external_id=group["resource"].get("externalId"),
        connection_id=group.get("connectionId"),
        source=group["source"],
        status=status.status,
        done=status.done,
        total=status.total,
        failed=tuple(event["eventId"] for event in events if event["state"] == "failed"),
        members=members,
        version=mapping.version if mapping else None,
        applied_version=mapping.applied_version if mapping else None,
        entitlements=tuple(
            Granted(
                kind=one.kind, key=one.key, display_name=names.get((one.kind, one.key), one.key)
            )
            for one in entitlements
        ),
    )
