"""From the steps of a request about members to the memberships to add and remove."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from directory.condition import Compare, matches
from directory.documents import (
    MemberReference,
    MemberType,
    group_id,
    is_resource_id,
    membership_id,
    user_id,
)
from directory.reading import memberships, read_all
from directory.resources import StoredMembership
from directory.store import Query, Store
from scim.computing import compute
from scim.protocol.errors import InvalidValue, PayloadTooLarge, TooMany
from scim.protocol.members import (
    AddMembers,
    MemberStep,
    RemoveMembers,
    RemoveMembersWhere,
    ReplaceMembers,
)
from scim.protocol.work import Work, comparisons

PAGE = 1000
NAMED_LIMIT = 5_000
"""The most members that one request may name: each is looked up, some 0.1 ms."""
CHANGED_LIMIT = 10_000
"""The most memberships that it may change: each is written, some 0.1 ms."""
SUPPOSED_LIMIT = 20
"""The most members whose memberships are changed without looking them up first: a batch that fails
on a wrong supposition is wasted."""
SHOWN_LIMIT = 20_000
"""The most memberships in one answer, over all of its resources."""
FILTERED_LIMIT = 100_000
"""The most memberships that are read for the conditions of one filter on users: enough for all of a
large group."""
MEMBERS_FILTERED_LIMIT = 20_000
"""The same for a filter on groups, where every member is looked up."""


def too_many_shown(attribute: Literal["members", "groups"]) -> TooMany:
    """The error for an answer with more than SHOWN_LIMIT memberships."""
    return TooMany(
        f"The answer would hold more than {SHOWN_LIMIT:,} memberships. Leave them out with"
        f" excludedAttributes={attribute}, or ask for fewer resources at once with a smaller count."
    )


def too_many_filtered(most: int) -> TooMany:
    """The error for a filter that takes more than `most` memberships to answer."""
    return TooMany(
        f"The filter's conditions on memberships are true of more than {most:,} of them."
        " Compare members.value or groups.value with eq, one in each request."
    )


@dataclass(frozen=True, slots=True)
class Delta:
    """Memberships to add and remove, and named ids that no resource of the tenant has."""

    added: tuple[MemberReference, ...] = ()
    removed: tuple[MemberReference, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many memberships change."""
        return len(self.added) + len(self.removed)

    @property
    def changed(self) -> tuple[MemberReference, ...]:
        """The members whose memberships change."""
        return self.added + self.removed


def supposed(steps: Sequence[MemberStep]) -> Delta | None:
    """What the steps change if, as nearly always, all named members are users, those to add are not
    members yet, and those to remove are. None where the steps name no members, or so many that this
    is unlikely, or where they concern all members."""
    added: list[str] = []
    removed: list[str] = []
    for step in steps:
        match step:
            case AddMembers(ids):
                added += ids
            case RemoveMembers(ids):
                removed += ids
            case _:
                return None
    named = added + removed
    if not 0 < len(named) <= SUPPOSED_LIMIT or len({*named}) < len(named):
        return None
    if not all(map(is_resource_id, named)):
        return None
    return Delta(
        added=tuple(MemberReference("User", id) for id in added),
        removed=tuple(MemberReference("User", id) for id in removed),
    )


async def delta(
    store: Store, tenant_id: str, group: str, steps: Sequence[MemberStep], work: Work
) -> Delta:
    """What the steps, in order, change in a group; `work` counts what they may cost.

    Reads the memberships and members that the steps name, in one round trip; all memberships of the
    group only where a step concerns all of them. Raises PayloadTooLarge where the steps name too
    many members (before anything is read) or need too many comparisons (before any is made), and
    InvalidValue for a replacement by unknown members only.
    """
    named = list(dict.fromkeys(_named(steps)))
    _check_size(len(named), NAMED_LIMIT, "names", "members")
    if not named and not any(isinstance(s, ReplaceMembers | RemoveMembersWhere) for s in steps):
        return Delta()
    types, current = await _look_up(store, tenant_id, group, named)
    if any(isinstance(step, ReplaceMembers | RemoveMembersWhere) for step in steps):
        current = await _all_members(store, tenant_id, group)
    return await compute(
        tenant_id,
        work,
        len(current) + len(named),
        lambda work: _changes(steps, current, types, work),
    )


def _changes(
    steps: Sequence[MemberStep],
    current: Mapping[str, MemberType],
    types: Mapping[str, MemberType],
    work: Work,
) -> Delta:
    types = {**types, **current}
    _check_replacements(steps, types)
    wanted = _play(steps, dict.fromkeys(current), types, work)
    changes = Delta(
        added=tuple(
            MemberReference(types[m], m) for m in wanted if m not in current and m in types
        ),
        removed=tuple(MemberReference(current[m], m) for m in current if m not in wanted),
        unknown=tuple(m for m in wanted if m not in types),
    )
    _check_size(changes.size, CHANGED_LIMIT, "changes", "memberships")
    return changes


def _check_replacements(steps: Sequence[MemberStep], types: Mapping[str, MemberType]) -> None:
    """Raises InvalidValue for a replacement in which no new member is known: it would remove all
    members, and probably has the wrong kind of ids."""
    for step in steps:
        if isinstance(step, ReplaceMembers) and step.ids and types.keys().isdisjoint(step.ids):
            raise InvalidValue(
                f"members: no user or group has any of the {len(step.ids)} ids, such as "
                f"{step.ids[0][:100]}, so nothing was replaced. Name members by the `id` that they "
                "have here; to take everybody out, send an empty array."
            )


def _check_size(size: int, most: int, does: str, what: str) -> None:
    if size > most:
        raise PayloadTooLarge(
            f"The request {does} {size:,} {what}; at most {most:,} fit one request. Send them in "
            "several, with PATCH where it is a PUT."
        )


def _named(steps: Sequence[MemberStep]) -> Iterable[str]:
    for step in steps:
        if isinstance(step, AddMembers | RemoveMembers | ReplaceMembers):
            yield from step.ids


async def _look_up(
    store: Store, tenant_id: str, group: str, named: Sequence[str]
) -> tuple[dict[str, MemberType], dict[str, MemberType]]:
    """The types of the named ids that exist, and the types of those that are members now."""
    ids = [m for m in named if is_resource_id(m)]
    wanted = [f(m) for m in ids for f in (user_id, group_id)]
    found = await read_all(store, tenant_id, wanted + [membership_id(group, m) for m in ids])
    types: dict[str, MemberType] = {}
    current: dict[str, MemberType] = {}
    for member in ids:
        if user_id(member) in found:
            types[member] = "User"
        elif group_id(member) in found:
            types[member] = "Group"
        edge = found.get(membership_id(group, member))
        if edge:
            current[member] = StoredMembership.of(edge).member.type
    return types, current


async def _all_members(store: Store, tenant_id: str, group: str) -> dict[str, MemberType]:
    query = Query("Membership", Compare(("groupId",), "eq", group), limit=PAGE)
    members = (edge.member for edge in await memberships(store, tenant_id, query))
    return {member.id: member.type for member in members}


def _play(
    steps: Sequence[MemberStep],
    wanted: dict[str, None],
    types: Mapping[str, MemberType],
    work: Work,
) -> dict[str, None]:
    """The members after the steps, in the order in which they were added, as keys."""
    for step in steps:
        match step:
            case AddMembers(ids):
                wanted |= dict.fromkeys(ids)
            case RemoveMembers(ids):
                for member in ids:
                    wanted.pop(member, None)
            case ReplaceMembers(ids):
                wanted = dict.fromkeys(ids)
            case RemoveMembersWhere(condition):
                work.spend(len(wanted) * (1 + comparisons(condition)))
                wanted = {
                    member: None
                    for member in wanted
                    if not matches(condition, _comparable(member, types))
                }
    return wanted


def _comparable(member: str, types: Mapping[str, MemberType]) -> dict[str, str]:
    """A member in comparable form, for conditions on `members`."""
    return {"value": member, "type": types[member].casefold() if member in types else ""}
