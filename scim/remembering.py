"""The mapping of a deleted group is kept for 30 days, and applies again when the same group comes
back, for instance because it was unassigned and assigned again in Entra ID.

It is the same group if the same connection provisions it with the same externalId. Keeping and
restoring are part of the batch that deletes or creates the group. So a group that comes back at
once has its mapping, whatever the reconciler has done by then, and only one group gets it.
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
    """Operations for the batch that deletes a stored group: they delete its mapping, and remember
    it where the group could be recognised again. Costs one read."""
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
    """Operations for the batch that creates a group: they restore its remembered mapping, if there
    is one, without entitlements that the catalog no longer holds.

    Raises Conflict while the externalId is reserved: if its owner were deleted between this read
    and the creation, the owner's mapping would be missed. Costs one read for a group with an
    externalId, and one more where its mapping is remembered.
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
        # The group is new, so this event reaches all of its members.
        applied_version=remembered.version + 1,
        entitlements=tuple(one for one, entry in entries.items() if entry in known),
        changed_at=event.at,
        event_id=event.event_id,
        deleted_at=remembered.deleted_at,
    )
    return Create(mapping.to_document()), taken_over
