"""A mapping outlives its group: what a deleted group gave is kept for 30 days, and given again
when the same group comes back, as unassign and assign in Entra ID does.

The same group is the one with the same externalId that the same connection provisions. Both ways
are part of the batch that deletes or creates the group. So a group that comes back at once gives
what it gave, whatever the reconciler has done by then, and gives it once.
"""

from collections.abc import Sequence
from datetime import datetime

from directory.documents import (
    Event,
    Mapping,
    RememberedMapping,
    entitlement_id,
    key_id,
    mapping_id,
    remembered_mapping_id,
)
from directory.reading import read_all, readable
from directory.resources import StoredGroup
from directory.store import Conflict, Create, Delete, Operation, Store, Upsert


async def remember(
    store: Store, group: StoredGroup, connection_id: str, now: datetime
) -> Sequence[Operation]:
    """What to write beside the deletion of a stored group: its mapping goes, and what it gave is
    kept where the group can be known again. Costs one read."""
    id = mapping_id(group.id)
    found = await store.read_many(group.tenant_id, [id])
    if id not in found:
        return ()
    removed = Delete(id, found[id].etag)
    if group.external_id is None or id not in readable(found):
        return (removed,)
    mapping = Mapping.from_document(found[id].document)
    if not mapping.entitlements:
        return (removed,)
    remembered = RememberedMapping(
        tenant_id=group.tenant_id,
        connection_id=connection_id,
        external_id=group.external_id,
        display_name=group.display_name,
        group_id=group.id,
        version=mapping.version,
        entitlements=mapping.entitlements,
        deleted_at=now,
    )
    return removed, Upsert(remembered.to_document())


async def give_again(store: Store, group: StoredGroup, event: Event) -> Sequence[Operation]:
    """What to write beside the creation of a group: the mapping that its like gave; nothing where
    none is remembered. What the catalog does not hold any more is not given.

    Raises Conflict while the externalId is reserved: were its owner deleted between this read and
    the creation, what it gave would be missed. Costs one read for a group with an externalId, and
    one more where it is remembered.
    """
    tenant_id, external_id = group.tenant_id, group.external_id
    if external_id is None or group.connection_id is None:
        return ()
    id = remembered_mapping_id(group.connection_id, external_id)
    reserved = key_id("Group", "externalId", external_id)
    found = await store.read_many(tenant_id, [reserved, id])
    if reserved in found:
        raise Conflict(reserved)
    if id not in found:
        return ()
    taken_over = Delete(id, found[id].etag)
    if id not in readable(found):
        return (taken_over,)
    remembered = RememberedMapping.from_document(found[id].document)
    entries = {one: entitlement_id(*one) for one in remembered.entitlements}
    known = await read_all(store, tenant_id, list(entries.values()))
    mapping = Mapping(
        tenant_id=tenant_id,
        group_id=group.id,
        version=remembered.version + 1,
        # Nobody has been in the group before this event, which reaches everybody who is now.
        applied_version=remembered.version + 1,
        entitlements=tuple(one for one, entry in entries.items() if entry in known),
        changed_at=event.at,
        event_id=event.event_id,
        deleted_at=remembered.deleted_at,
    )
    return Create(mapping.to_document()), taken_over
