"""Removing dangling edges: memberships of users and groups that were deleted.

They are ignored from the moment of the deletion. What is left to do is to delete the edges, and to
give every group that lost a member a new version, as any other change of its members does.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from directory.condition import Condition
from directory.documents import group_id, resource_id_of, timestamp
from directory.membership_change import moved
from directory.reading import read_all, readable
from directory.resources import StoredMembership
from directory.store import (
    BATCH_OPERATIONS,
    Delete,
    NotFound,
    Operation,
    Query,
    Store,
    Update,
)


async def remove_edges(
    store: Store, tenant_id: str, where: Condition, at_most: int, now: Callable[[], datetime]
) -> int:
    """Delete edges that satisfy a condition, batch by batch; returns how many. Fewer than `at_most`
    means that none are left.

    Each batch also changes the version of the groups whose edges it deletes. So even if the process
    dies, no group lost a member without a new version.
    """
    removed = 0
    while removed < at_most:
        limit = min(BATCH_OPERATIONS, at_most - removed)
        query = Query("Membership", where, fields=("groupId",), limit=limit)
        edges = [StoredMembership.of(one) for one in (await store.query(tenant_id, query)).items]
        if not edges:
            break
        groups = await _movable(store, tenant_id, {edge.group_id for edge in edges})
        operations = _batch(edges, groups, timestamp(now()))
        try:
            await store.batch(tenant_id, operations)
        except NotFound:
            continue  # somebody else removed one of the edges or groups
        removed += sum(isinstance(operation, Delete) for operation in operations)
    return removed


async def _movable(store: Store, tenant_id: str, groups: Iterable[str]) -> frozenset[str]:
    """Those of the groups (SCIM ids) that still exist and are readable. An unreadable group has no
    version to change, and must not prevent the deletion of edges."""
    found = readable(await read_all(store, tenant_id, [group_id(group) for group in groups]))
    return frozenset(resource_id_of(id) for id in found)


def _batch(edges: Sequence[StoredMembership], groups: frozenset[str], at: str) -> list[Operation]:
    """Deletes of as many edges as fit one batch together with the updates of their groups."""
    operations: list[Operation] = []
    updated: set[str] = set()
    for edge in edges:
        group = edge.group_id
        move = group in groups and group not in updated
        if len(operations) + 1 + move > BATCH_OPERATIONS:
            break
        if move:
            updated.add(group)
            operations.append(Update(group_id(group), moved(at)))
        operations.append(Delete(edge.document["id"]))
    return operations
