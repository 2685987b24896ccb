"""The members of a group, a page at a time."""

from dataclasses import dataclass

from administration.reading.naming import person_name
from administration.reading.paging import PageOf
from administration.reading.records import shown_access
from directory.access import access_id
from directory.condition import Compare
from directory.reading import read_all, readable
from directory.resources import StoredGroup, StoredMembership, StoredUser
from directory.store import Query, Store
from directory.tenants import Policy
from reconciler.access import EffectiveAccess

MEMBERS = 50


@dataclass(frozen=True, slots=True)
class Member:
    """A direct member of a group. `access` is that of a user; None of a group."""

    id: str
    type: str
    name: str
    detail: str
    access: EffectiveAccess | None
    unreadable: bool = False
    """Whether the record of the access cannot be read."""


async def list_members(
    store: Store, tenant_id: str, group: str, policy: Policy, after: str | None = None
) -> PageOf[Member]:
    """The direct members of a group, in no order that means anything. Raises BadContinuation for an
    `after` that is not of this list."""
    inside = Compare(("groupId",), "eq", group)
    fields = ("memberId", "memberType")
    page = await store.query(
        tenant_id, Query("Membership", inside, fields=fields, limit=MEMBERS, continuation=after)
    )
    members = [StoredMembership.of(edge).member for edge in page.items]
    wanted = [member.document_id for member in members]
    records = [access_id(member.id) for member in members if member.type == "User"]
    stored = await read_all(store, tenant_id, [*wanted, *records])
    found = readable(stored)
    rows: list[Member] = []
    for (type, id), document_id in zip(members, wanted, strict=True):
        if document_id not in found:
            continue  # the member is gone (the membership has no effect) or unreadable
        if type == "Group":
            name = StoredGroup.of(found[document_id]).display_name
            rows.append(Member(id, type, name, "Group", None))
            continue
        user = StoredUser.of(found[document_id])
        shown = shown_access(stored.get(access_id(id)), user, policy)
        names = person_name(user), user.user_name or ""
        rows.append(Member(id, type, *names, shown.access, shown.unreadable))
    return PageOf(tuple(rows), page.continuation)
