"""Nested groups downwards: the users that an event touches, page by page with a cursor, so that a
group of any size is walked in pieces. Loops end because no group is visited twice.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

from directory.condition import Compare
from directory.documents import (
    MemberReference,
    MembershipChange,
    MemberType,
    Model,
    resource_id_of,
)
from directory.resources import StoredMembership
from directory.store import Query, Store, Unreadable

GROUPS_PER_MESSAGE = 7_000
"""With the events of a shared walk: an id takes 29 bytes, and a message holds 255 KB."""

UNREADABLE = 10
"""Documents that an event names as unreadable."""


class Reach(Protocol):
    """Whose access may change, as an event says it (`directory.documents.Event`)."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def scope(self) -> Literal["none", "user", "members", "group", "tenant"]: ...
    @property
    def resource_id(self) -> str: ...
    @property
    def membership(self) -> MembershipChange | None: ...


class Cursor(Model):
    """How far the work of an event is; what the next message carries. JSON object of ids."""

    position: int = 0
    """How many of the members that the event names are done."""
    groups: tuple[str, ...] = ()
    """Groups to walk, in the order in which they were found; none is there twice."""
    walked: int = 0
    """How many of them are walked; the next one is being walked."""
    after: str | None = None
    """Continuation inside that group, or among the users of the tenant."""
    exhausted: bool = False
    """Everybody is recomputed."""
    swept: int = 0
    """How many edges that lead nowhere are removed since."""
    done: int = 0
    """Users recomputed so far (one who is reached twice counts twice)."""
    total: int = 0
    """Users to recompute, as far as is known."""
    unreadable: tuple[str, ...] = ()
    """Stored documents (their ids) that could not be read, and whose users were left as they are;
    the first UNREADABLE of them."""
    turn: str | None = None
    """Of an event that leaves its groups to a shared walk (`reconciler.shared_walk`): the event
    whose walk ended before its turn may have come, or itself. With `groups`, it is the one that
    walks."""
    along: tuple[str, ...] = ()
    """The other events (ULIDs) whose groups it walks."""

    @property
    def leads(self) -> bool:
        """Whether this is a shared walk on its way."""
        return self.turn is not None and bool(self.groups)

    @property
    def too_large(self) -> bool:
        """Whether no message holds it: it names thousands of nested groups."""
        return len(self.groups) + len(self.along) > GROUPS_PER_MESSAGE

    def without(self, errors: Iterable[Unreadable]) -> "Cursor":
        """Where some users were left out because of these."""
        ids = dict.fromkeys((*self.unreadable, *(error.document_id for error in errors)))
        return self.model_copy(update={"unreadable": tuple(ids)[:UNREADABLE]})

    def to_json(self) -> dict[str, Any]:
        """What a message carries; `Cursor.model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


END: Mapping[str, Any] = {"exhausted": True}


def first_cursor(event: Reach) -> Cursor:
    """Where the work of an event begins."""
    if event.scope == "group":
        return Cursor(groups=(event.resource_id,))
    if event.scope == "members":
        return Cursor(groups=changed_groups(event))
    return Cursor()


def changed(event: Reach) -> MembershipChange:
    """The members that came and went with an event."""
    return event.membership or MembershipChange()


def changed_groups(event: Reach) -> tuple[str, ...]:
    """SCIM ids of the groups among them."""
    return tuple(dict.fromkeys(of_type("Group", changed(event).members())))


def of_type(type: MemberType, members: Iterable[MemberReference]) -> list[str]:
    """SCIM ids of the members that are users, or groups."""
    return [member.id for member in members if member.type == type]


async def touched(
    store: Store, event: Reach, cursor: Cursor, limit: int
) -> tuple[list[str], Cursor]:
    """The next users (at most `limit`, none on some pages) whose access the event may change, and
    the cursor after them. At most one query."""
    match event.scope:
        case "none":
            users, change = [], END
        case "user":
            users, change = [event.resource_id], END
        case "tenant":
            users, change = await _everybody(store, event.tenant_id, cursor, limit)
        case "members" if cursor.position < (size := changed(event).size):
            end = cursor.position + limit
            users = of_type("User", changed(event).members(cursor.position, end))
            change = {"position": end} if end < size or cursor.groups else END
        case _:
            users, change = await _walk(store, event.tenant_id, cursor, limit)
    return users, cursor.model_copy(update={**change, "done": cursor.done + len(users)})


async def _everybody(
    store: Store, tenant_id: str, cursor: Cursor, limit: int
) -> tuple[list[str], Mapping[str, Any]]:
    query = Query("User", fields=(), limit=limit, continuation=cursor.after)
    page = await store.query(tenant_id, query)
    users = [resource_id_of(item.document["id"]) for item in page.items]
    return users, {"after": page.continuation} if page.continuation else END


async def _walk(
    store: Store, tenant_id: str, cursor: Cursor, limit: int
) -> tuple[list[str], Mapping[str, Any]]:
    if cursor.walked == len(cursor.groups):
        return [], END
    query = Query(
        "Membership",
        Compare(("groupId",), "eq", cursor.groups[cursor.walked]),
        fields=("memberId", "memberType"),
        limit=limit,
        continuation=cursor.after,
    )
    page = await store.query(tenant_id, query)
    members = [StoredMembership.of(edge).member for edge in page.items]
    inside = of_type("Group", members)
    known = frozenset(cursor.groups) if inside else frozenset()
    groups = (*cursor.groups, *(group for group in inside if group not in known))
    walked = cursor.walked if page.continuation else cursor.walked + 1
    return of_type("User", members), {
        "groups": groups,
        "walked": walked,
        "after": page.continuation,
        "exhausted": walked == len(groups),
    }
