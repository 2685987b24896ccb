"""The members of a group in requests.

Memberships are separate documents (`directory.documents.Membership`), never part of the group's
resource. So everything about `members` is taken out of a request here, as steps that do not depend
on who else is a member.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from directory.condition import All, Compare, Condition, Either, OneOf
from scim.protocol.body import in_json_text
from scim.protocol.entra import Operation
from scim.protocol.errors import InvalidValue, MutabilityViolation, ScimError
from scim.protocol.schema import ResourceType
from scim.protocol.target import Target, locate
from scim.protocol.work import Work

_MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class AddMembers:
    """Make these members; existing members stay. Ids as the client wrote them."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMembers:
    """Remove these from the members; who is not a member is ignored."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMembersWhere:
    """Remove members that satisfy the condition, whose paths are those of an element of `members`
    in comparable form: `("value",)` and `("type",)`."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class ReplaceMembers:
    """Make these the only members."""

    ids: tuple[str, ...]


type MemberStep = AddMembers | RemoveMembers | RemoveMembersWhere | ReplaceMembers


def members_of(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """The body of a POST or PUT without `members`, and their ids; None where `members` is missing.

    Raises InvalidValue.
    """
    rest = {key: value for key, value in body.items() if key.lower() != _MEMBERS}
    ids: tuple[str, ...] | None = None
    for key, value in body.items():
        if key.lower() == _MEMBERS and value is not None:
            ids = (ids or ()) + _ids(value, key)
    return rest, ids


def split(
    group: ResourceType, operations: Sequence[Operation], work: Work | None = None
) -> tuple[list[Operation], list[MemberStep]]:
    """The PATCH operations that are not about members, and those on members as steps.

    Raises InvalidPath and InvalidFilter for a path, InvalidValue for a value, MutabilityViolation
    where a member itself would change (RFC 7643 section 4.2: it can only be added and removed),
    PayloadTooLarge where the paths alone are too much `work`.
    """
    work = work or Work()
    others: list[Operation] = []
    steps: list[MemberStep] = []
    for operation in operations:
        try:
            work.spend_on_path(operation.path)
            found = locate(group, operation.path)
            if isinstance(found, Target) and found.keys == (_MEMBERS,):
                steps.extend(_steps(operation, found))
            else:
                others.append(operation)
        except ScimError as error:
            raise operation.blamed(error) from error
    return others, steps


def _steps(operation: Operation, target: Target) -> Iterator[MemberStep]:
    value = operation.value
    if target.sub is not None or (target.condition is not None and operation.op != "remove"):
        raise MutabilityViolation(
            "A member cannot be changed, only added and removed: use the path `members`, or"
            ' remove members[value eq "…"].'
        )
    if target.condition is not None:
        yield _removal(target.condition, _ids(value, _MEMBERS) if value else None)
    elif operation.op == "remove" and (operation.is_null or value == ""):
        return  # as with []: it names no member to remove
    elif operation.op == "replace" or value is None:
        if operation.op != "add":
            yield ReplaceMembers(_ids(value, _MEMBERS) if value is not None else ())
    elif ids := _ids(value, _MEMBERS):
        yield AddMembers(ids) if operation.op == "add" else RemoveMembers(ids)


def _removal(condition: Condition, named: tuple[str, ...] | None) -> MemberStep:
    """The removal of members that satisfy the path's condition; where the value names members,
    only of those among them."""
    ids = _equal_values(condition)
    if named is None:
        return RemoveMembersWhere(condition) if ids is None else RemoveMembers(ids)
    if ids is None:
        return RemoveMembersWhere(All((OneOf(("value",), frozenset(named)), condition)))
    both = frozenset(ids)
    return RemoveMembers(tuple(id for id in named if id in both))


def _ids(value: Any, name: str) -> tuple[str, ...]:
    """The ids in `[{"value": id, …}, …]`, each once. Also accepts a bare id for such an object, a
    single object for an array, and JSON text for either."""
    value = in_json_text(value)
    items = value if isinstance(value, list) else [value]
    ids: dict[str, None] = {}
    for index, item in enumerate(items):
        found = _id(item)
        if isinstance(found, str):
            found = _id(found)  # JSON text in a member's `value`
        if not isinstance(found, str) or not found:
            raise InvalidValue(
                f'{name}[{index}] must be an object such as {{"value": "<id>"}}, with the id of a'
                " user or group that was provisioned here."
            )
        ids[found] = None
    return tuple(ids)


def _id(item: Any) -> Any:
    item = in_json_text(item)
    if isinstance(item, dict):
        return next((one for key, one in item.items() if key.lower() == "value"), None)
    return item


def _equal_values(condition: Condition) -> tuple[str, ...] | None:
    """The ids, where the condition only says that `value` is one of them; otherwise None."""
    match condition:
        case Compare(("value",), "eq", str(value)):
            return (value,)
        case OneOf(("value",), values):
            return tuple(values)
        case Either(conditions):
            found = [_equal_values(inner) for inner in conditions]
            if all(ids is not None for ids in found):
                return tuple(dict.fromkeys(value for ids in found if ids for value in ids))
    return None
