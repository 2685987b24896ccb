"""The members of a group in requests.

Memberships are documents of their own (`directory.documents.Membership`), never part of the
group's resource. So whatever a request says about `members` is taken out of it here, as steps
that need not know who else is a member.
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
    """These become members; who is one already stays one. Ids as the client wrote them."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMembers:
    """These are members no longer, nor need they be."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMembersWhere:
    """Whoever satisfies the condition is a member no longer; its paths are those of an element of
    `members` in comparable form, such as `("value",)` and `("type",)`."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class ReplaceMembers:
    """These are the members, and nobody else."""

    ids: tuple[str, ...]


type MemberStep = AddMembers | RemoveMembers | RemoveMembersWhere | ReplaceMembers


def members_of(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """The body of a POST or PUT without `members`, and the ids in them; None where it has none.

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
    """PATCH operations on everything but the members, and those on the members as steps.

    Raises InvalidPath and InvalidFilter for a path, InvalidValue for a value, MutabilityViolation
    where a member itself is to change (RFC 7643 section 4.2: it can only be added and removed),
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
        return  # as with []: whoever is to go is not said
    elif operation.op == "replace" or value is None:
        if operation.op != "add":
            yield ReplaceMembers(_ids(value, _MEMBERS) if value is not None else ())
    elif ids := _ids(value, _MEMBERS):
        yield AddMembers(ids) if operation.op == "add" else RemoveMembers(ids)


def _removal(condition: Condition, named: tuple[str, ...] | None) -> MemberStep:
    """Whoever satisfies the condition of the path goes, and where the value names some as well,
    only those of them."""
    ids = _equal_values(condition)
    if named is None:
        return RemoveMembersWhere(condition) if ids is None else RemoveMembers(ids)
    if ids is None:
        return RemoveMembersWhere(All((OneOf(("value",), frozenset(named)), condition)))
    both = frozenset(ids)
    return RemoveMembers(tuple(id for id in named if id in both))


def _ids(value: Any, name: str) -> tuple[str, ...]:
    """The ids in `[{"value": id, …}, …]`, each once; a bare id stands for such an object, a single
    one for an array of it, and JSON text for what it holds."""
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
    """The ids, where the condition says no more than that `value` is one of some."""
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
