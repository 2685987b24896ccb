"""Rolling forward a membership change that is larger than one batch.

Its event is its intent: the event lists the members and how many of them are written, and the
group names the event in `intent` until all are written. Whoever finds an intent finishes it (the
request that made it, a later writer to the group, the reconciler), so a crash between two batches
loses nothing.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from directory.documents import (
    Event,
    MemberReference,
    Membership,
    event_id,
    group_id,
    membership_id,
    timestamp,
)
from directory.portions import PORTIONS
from directory.store import (
    Assign,
    Delete,
    NotFound,
    Operation,
    PreconditionFailed,
    Store,
    Stored,
    Unset,
    Update,
    Upsert,
)


def moved(at: str) -> tuple[Assign, ...]:
    """The changes of a group's document that every change of its memberships makes; `at` is in the
    format of `documents.timestamp`. `search` has it in microseconds."""
    return (
        Assign(("modified",), at),
        Assign(("search", "meta", "lastModified"), f"{at.removesuffix('Z')}000Z"),
    )


async def finish(
    store: Store,
    tenant_id: str,
    event: str,
    now: Callable[[], datetime],
    *,
    edges_per_batch: int = PORTIONS.edges_per_batch,
) -> None:
    """Write the rest of an event's membership change; `event` is its ULID.

    Each batch advances the event under its ETag, so if two processes finish it, only one writes a
    chunk and the other continues from there. Each batch also updates the group, which proves that
    the group still exists: a change to a deleted group is dropped, and a deletion never misses
    edges that were written after it. Safe to call again, when nothing is left, and for an event
    that is gone. Raises StoreError.
    """
    while True:
        try:
            stored = await store.read(tenant_id, event_id(event))
            await _write(store, stored, now, edges_per_batch)
        except NotFound as missing:
            if not missing.document_id.startswith("member:"):
                return  # the event expired, or the group was deleted
        except PreconditionFailed as lost:
            if lost.document_id != event_id(event):
                raise  # the group does not name the event: not a race
        else:
            return


async def _write(
    store: Store, stored: Stored, now: Callable[[], datetime], edges_per_batch: int
) -> None:
    event = Event.from_document(stored.document)
    change = event.membership
    if change is None:
        return
    etag: str | None = stored.etag
    for start in range(change.applied, change.size, edges_per_batch):
        end = min(start + edges_per_batch, change.size)
        members = change.members(start, end)
        edges = await _edges(store, event, members, len(change.added) - start)
        intent = Unset(("intent",)) if end == change.size else Assign(("intent",), event.event_id)
        etag, *_ = await store.batch(
            event.tenant_id,
            [
                Update(event.document_id, (Assign(("membership", "applied"), end),), etag),
                Update(group_id(event.resource_id), (intent, *moved(timestamp(now())))),
                *edges,
            ],
        )


async def _edges(
    store: Store, event: Event, members: Sequence[MemberReference], added: int
) -> list[Operation]:
    """The operations on the edges of one chunk; its first `added` members are added, the others
    removed."""
    coming = [member.document_id for member in members[: max(added, 0)]]
    edge_ids = [membership_id(event.resource_id, member.id) for member in members]
    found = await store.read_many(event.tenant_id, [*edge_ids, *coming])
    present = {edge for edge in edge_ids if edge in found}
    operations: list[Operation] = []
    for index, (member, edge) in enumerate(zip(members, edge_ids, strict=True)):
        if index >= len(coming):
            if edge in present:
                operations.append(Delete(edge))
                present.remove(edge)
        elif coming[index] in found and edge not in present:
            operations.append(Upsert(Membership.brought_by(event, member).to_document()))
            present.add(edge)
    return operations
