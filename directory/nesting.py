"""Nested groups as a whole: the groups above some members, the users below some memberships.

Loops end because no group is visited twice; edges of a group that does not exist are ignored.
"""

import math
from collections.abc import Sequence
from itertools import batched

from directory.condition import All, Compare, Condition, OneOf
from directory.documents import group_id
from directory.reading import memberships, read_all
from directory.store import Query, Store

EDGE_PAGE = 1000
MEMBERS_PER_QUERY = 100
"""Ids in one `OneOf` over edges: each has few groups, so the answer stays within a page or two."""


async def groups_above(
    store: Store, tenant_id: str, members: Sequence[str], most: float = math.inf
) -> dict[str, tuple[str, ...]]:
    """SCIM id → sorted ids of the existing groups that contain it directly, for the members and
    for every group above them. One level of nesting costs two round trips per 100 ids. Raises
    TooManyFound where it takes more than `most` memberships."""
    above: dict[str, tuple[str, ...]] = {}
    existing: dict[str, bool] = {}
    level = list(dict.fromkeys(members))
    while level:
        edges = await groups_named(store, tenant_id, level, most)
        most -= sum(map(len, edges.values()))
        unknown = sorted(set().union(*edges.values()) - existing.keys())
        found = await read_all(store, tenant_id, [group_id(group) for group in unknown])
        existing |= {group: group_id(group) in found for group in unknown}
        for member, groups in edges.items():
            above[member] = tuple(sorted(group for group in groups if existing[group]))
        level = [group for group in unknown if existing[group] and group not in above]
    return above


async def groups_named(
    store: Store, tenant_id: str, members: Sequence[str], most: float = math.inf
) -> dict[str, set[str]]:
    """Member (SCIM id) → the groups that its edges name, including deleted ones. Raises
    TooManyFound where there are more than `most` edges."""
    groups: dict[str, set[str]] = {member: set() for member in members}
    for some in batched(members, MEMBERS_PER_QUERY, strict=False):
        query = Query(
            "Membership",
            OneOf(("memberId",), some),
            fields=("groupId", "memberId"),
            limit=EDGE_PAGE,
        )
        for edge in await memberships(store, tenant_id, query, most):
            groups[edge.member_id].add(edge.group_id)
            most -= 1
    return groups


async def users_below(
    store: Store, tenant_id: str, first: Condition, most: float = math.inf
) -> set[str]:
    """SCIM ids of the users in the groups of the memberships that satisfy `first`, directly or
    through nested groups. Raises TooManyFound where it takes more than `most` memberships."""
    users: set[str] = set()
    walked: set[str] = set()
    where: Condition | None = first
    while where is not None:
        query = Query("Membership", where, limit=EDGE_PAGE)
        edges = await memberships(store, tenant_id, query, most)
        most -= len(edges)
        groups = {group_id(edge.group_id) for edge in edges}
        existing = await read_all(store, tenant_id, sorted(groups))
        live = [edge.member for edge in edges if group_id(edge.group_id) in existing]
        users |= {member.id for member in live if member.type == "User"}
        below = {member.id for member in live if member.type == "Group"} - walked
        walked |= below
        where = OneOf(("groupId",), tuple(sorted(below))) if below else None
    return users


async def count_below(store: Store, tenant_id: str, group: str, enough: int) -> int:
    """How many memberships of users there are in a group (SCIM id) and in the groups inside it,
    each group once; counting stops above `enough`."""
    count = 0
    walked = {group}
    level = [group]
    while level and count <= enough:
        below: set[str] = set()
        for some in batched(level, MEMBERS_PER_QUERY, strict=False):
            inside = OneOf(("groupId",), some)
            users = All((inside, Compare(("memberType",), "eq", "User")))
            count += await store.count(tenant_id, "Membership", users)
            groups = All((inside, Compare(("memberType",), "eq", "Group")))
            query = Query("Membership", groups, fields=("memberId",), limit=EDGE_PAGE)
            below |= {edge.member_id for edge in await memberships(store, tenant_id, query)}
        level = sorted(below - walked)
        walked |= below
    return count
