"""Walking nested groups downwards: the users that an event touches, page by page with a cursor, so
that a group of any size is walked in pieces. Loops end because no group is visited twice.
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
"""Groups, and events of a shared walk, in one message: an id takes 29 bytes, and a message holds
255 KB."""

UNREADABLE = 10
"""How many unreadable documents an event names at most."""


class Reach(Protocol):
    """Whose access may change, in the fields of `directory.documents.Event`."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def scope(self) -> Literal["none", "user", "members", "group", "tenant"]: ...
    @property
    def resource_id(self) -> str: ...
    @property
    def membership(self) -> MembershipChange | None: ...


class Cursor(Model):
    """How far the work on an event is; the next message carries it as a JSON object of ids."""

    position: int = 0
    """How many of the members that the event names are done."""
    groups: tuple[str, ...] = ()
    """Groups to walk, in the order in which they were found, without duplicates."""
    walked: int = 0
    """How many of them are walked; the next one is being walked."""
    after: str | None = None
    """Continuation inside that group, or among the users of the tenant."""
    exhausted: bool = False
    """All users are recomputed."""
    swept: int = 0
    """How many dangling edges were removed since then."""
    done: int = 0
    """Users recomputed so far (a user who is reached twice counts twice)."""
    total: int = 0
    """Users to recompute, as far as is known."""
    unreadable: tuple[str, ...] = ()
    """Ids of the first UNREADABLE documents that could not be read; the records of the users who
    depend on them were left unchanged."""
    turn: str | None = None
    """Set for an event that leaves its groups to a shared walk (`reconciler.shared_walk`): the
    moment at which it asked for its turn, or was given it. With `groups`, the event does the walk.
    The queue drops what looks like a repetition, and no two turns look alike."""
    along: tuple[str, ...] = ()
    """The other events (ULIDs) whose groups this walk includes."""

    @property
    def leads(self) -> bool:
        """Whether this is a shared walk in progress."""
        return self.turn is not None and bool(self.groups)

    @property
    def too_large(self) -> bool:
        """Whether it is too large for a message: it names thousands of nested groups."""
        return len(self.groups) + len(self.along) > GROUPS_PER_MESSAGE

    def without(self, errors: Iterable[Unreadable]) -> "Cursor":
        """The cursor with the documents of these errors added to `unreadable`."""
        ids = dict.fromkeys((*self.unreadable, *(error.document_id for error in errors)))
        return self.model_copy(update={"unreadable": tuple(ids)[:UNREADABLE]})

    def to_json(self) -> dict[str, Any]:
        """The form in a message; `Cursor.model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


END: Mapping[str, Any] = {"exhausted": True}


def first_cursor(event: Reach) -> Cursor:
    """The cursor at which the work on an event begins."""
    if event.scope == "group":
        return Cursor(groups=(event.resource_id,))
    if event.scope == "members":
        return Cursor(groups=changed_groups(event))
    return Cursor()


def changed(event: Reach) -> MembershipChange:
    """The members that an event added and removed."""
    return event.membership or MembershipChange()


def changed_groups(event: Reach) -> tuple[str, ...]:
    """SCIM ids of the groups among the members that an event added and removed."""
    return tuple(dict.fromkeys(of_type("Group", changed(event).members())))


def of_type(type: MemberType, members: Iterable[MemberReference]) -> list[str]:
    """SCIM ids of the members that are users, or groups."""
    return [member.id for member in members if member.type == type]


async def touched(
    store: Store, event: Reach, cursor: Cursor, limit: int
) -> tuple[list[str], Cursor]:
    """The next users (at most `limit`; a page may have none) whose access the event may change, and
    the cursor after them. Takes at most one query."""
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
