"""Filters bound to a resource type: names and literals become conditions on stored documents.

A path leads into the document's `search`, and a literal takes the comparable form of its
attribute there (`scim.protocol.comparison`), so that a binary comparison has the result that RFC
7644 section 3.4.2.2 asks for. Where that section leaves a choice:

- `ne` also holds where there is no value; on a multi-valued attribute it holds where some element
  differs. `eq null` is `not (… pr)`.
- A complex attribute without a sub-attribute stands for its `value` (`emails co "@example.com"`,
  `manager eq "…"`); one that has no `value` is refused.
- Attributes that are computed for each answer (`members.display`, `meta.version`) are refused, not
  treated as absent.
- `eq` also finds values in the former comparable form, until they are written anew.
- URNs in `schemas` compare without case (`eq` and `ne`).
- Booleans take `"True"` and `"False"` in quotes, as Entra ID writes them.
- Memberships are separate documents. A condition on a group's `members` or a user's direct `groups`
  becomes a `Related`: look up the memberships, then `resolve`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from directory.condition import (
    EVERYTHING,
    NOTHING,
    All,
    AnyElement,
    Compare,
    Condition,
    Either,
    Negated,
    Operator,
    Path,
    Present,
    Scalar,
    matches,
)
from directory.documents import group_id, user_id
from scim.protocol.comparison import LEADING, comparable, stored_forms
from scim.protocol.errors import InvalidFilter, InvalidPath, InvalidValue
from scim.protocol.filter import (
    And,
    AttributePath,
    Comparison,
    Filter,
    Not,
    Or,
    Presence,
    ValuePath,
    parse_path,
)
from scim.protocol.scalars import SCALARS
from scim.protocol.schema import Attribute, AttributeType, ResourceType, attribute_path
from scim.protocol.scope import (
    ElementScope,
    Field,
    ResourceScope,
    Scope,
    Unknown,
    single_value,
    unknown_attribute,
)


@dataclass(frozen=True, slots=True)
class Related:
    """The resource has a membership that satisfies `condition`, whose paths are the fields of
    `directory.documents.Membership`."""

    attribute: Literal["members", "groups"]
    condition: Condition


@dataclass(frozen=True, slots=True)
class Combined:
    """A condition to `build` from the operands' conditions once all `Related` are looked up."""

    build: Callable[[tuple[Condition, ...]], Condition]
    operands: tuple["BoundFilter", ...]


type BoundFilter = Condition | Related | Combined

_SHOWN_CHARACTERS = 60


def bind(
    resource_type: ResourceType, filter: Filter, *, unknown: Unknown = "refuse"
) -> BoundFilter:
    """The filter as a condition on stored users or groups.

    Raises InvalidFilter where an attribute is unknown (see `unknown`), is never shown, or does
    not support the comparison.
    """
    scope = ResourceScope(resource_type, unknown)
    return _outside_search(resource_type, _condition(filter, scope, ("search",)))


def bind_element(attribute: Attribute, filter: Filter) -> Condition:
    """The filter of a PATCH value path (`emails[filter]`) as a condition on one element in its
    comparable form, for `element_matches`. Raises InvalidFilter."""
    return _condition(filter, ElementScope(attribute, "refuse"), ())


def element_matches(attribute: Attribute, condition: Condition, element: Any) -> bool:
    """Whether an element of the canonical resource satisfies a condition of `bind_element`."""
    return matches(condition, comparable_element(attribute, element))


def related(bound: BoundFilter) -> list[Related]:
    """The `Related` to look up before `resolve`, each once."""
    return list(dict.fromkeys(_related(bound)))


def resolve(bound: BoundFilter, found: Mapping[Related, Condition]) -> Condition:
    """The condition, with the found condition in place of every `Related`."""
    match bound:
        case Related():
            return found[bound]
        case Combined(build, operands):
            return build(tuple(resolve(operand, found) for operand in operands))
        case _:
            return bound


def sort_path(resource_type: ResourceType, sort_by: str) -> Path:
    """Where the value of `sortBy` is stored, in its comparable form.

    A complex attribute is sorted by its `value`, a multi-valued one by its primary or else its
    first value (RFC 7644 section 3.4.2.3). Raises InvalidValue.
    """
    scope = ResourceScope(resource_type, "refuse")
    try:
        path = parse_path(sort_by)
        field = scope.find(path.attribute)
        if field is None:
            raise unknown_attribute(scope, path.attribute)
        field = single_value(field)
        stored: Path = ("search", *(key for key, _ in field.steps))
    except (InvalidFilter, InvalidPath) as error:
        raise InvalidValue(f"sortBy: {error.detail}") from None
    if path.filter is not None:
        raise InvalidValue("sortBy: name an attribute, without a filter in brackets.")
    if any(array for _, array in field.steps):
        return _leading_path(field, sort_by)
    return stored


def _leading_path(field: Field, sort_by: str) -> Path:
    keys = [key for key, _ in field.steps]
    of_elements = not field.steps[-1][1]
    if of_elements and keys.pop() != "value":
        raise InvalidValue(
            f"sortBy: {sort_by[:100]} has several values, which are sorted by `value` only."
        )
    if keys[0] in ("schemas", "groups", "members"):
        raise InvalidValue(f"sortBy: {keys[0]} cannot be sorted by.")
    return ("search", LEADING, attribute_path(keys))


def _condition(filter: Filter, scope: Scope, prefix: Path) -> Condition:
    match filter:
        case And(filters):
            return All(tuple(_condition(inner, scope, prefix) for inner in filters))
        case Or(filters):
            return Either(tuple(_condition(inner, scope, prefix) for inner in filters))
        case Not(inner):
            return Negated(_condition(inner, scope, prefix))
        case _:
            return _leaf(filter, scope, prefix)


def _leaf(filter: Comparison | Presence | ValuePath, scope: Scope, prefix: Path) -> Condition:
    field = scope.find(filter.path)
    if field is None:
        if scope.unknown == "refuse":
            raise unknown_attribute(scope, filter.path)
        return _without_value(filter)
    match filter:
        case Presence():
            return _present(field, prefix)
        case ValuePath(_, inner):
            return _value_path(field, inner, scope, prefix)
        case Comparison(path, operator, value):
            if value is not None:
                field = single_value(field)
                condition = _comparison(field, path, operator, value, prefix)
                if filter.raw is None or field.attribute.type not in ("string", "reference"):
                    return condition
                return Either((condition, _comparison(field, path, operator, filter.raw, prefix)))
            _check_null(operator)
            present = _present(field, prefix)
            return Negated(present) if operator == "eq" else present


def _without_value(filter: Comparison | Presence | ValuePath) -> Condition:
    """The result of the filter for resources without the attribute."""
    match filter:
        case Comparison(_, operator, None):
            _check_null(operator)
            return EVERYTHING if operator == "eq" else NOTHING
        case Comparison(_, "ne", _):
            return EVERYTHING
        case _:
            return NOTHING


def _check_null(operator: Operator) -> None:
    if operator not in ("eq", "ne"):
        raise InvalidFilter(f"null can be compared with eq and ne only, not with {operator}.")


def _reach(
    prefix: Path, steps: tuple[tuple[str, bool], ...], leaf: Callable[[Path], Condition]
) -> Condition:
    """`leaf` at the end of the path, for some element of every array on it."""
    path = prefix
    for index, (key, array) in enumerate(steps):
        path = (*path, key)
        if array:
            return AnyElement(path, _reach((), steps[index + 1 :], leaf))
    return leaf(path)


def _present(field: Field, prefix: Path) -> Condition:
    # Empty values are not stored: an array that is present has an element.
    way = field.steps[:-1]
    keys = tuple(key for key, _ in field.steps[-1:])
    return _reach(prefix, way, lambda path: Present((*path, *keys)))


def _value_path(field: Field, inner: Filter, scope: Scope, prefix: Path) -> Condition:
    attribute = field.attribute
    if attribute.type != "complex" and not attribute.multi_valued:
        raise InvalidFilter(f"{attribute.name} is a single value and knows no brackets.")
    elements = ElementScope(attribute, scope.unknown)

    def leaf(path: Path) -> Condition:
        condition = _condition(inner, elements, path)
        return condition if attribute.multi_valued else All((Present(path), condition))

    return _reach(prefix, field.steps, leaf)


def _comparison(
    field: Field, path: AttributePath, operator: Operator, value: Scalar, prefix: Path
) -> Condition:
    literals = _literals(path, field.attribute, operator, value)
    if operator != "eq":
        del literals[1:]
    compared = [
        _reach(prefix, field.steps, partial(_compare, operator=operator, literal=literal))
        for literal in literals
    ]
    condition = compared[0] if len(compared) == 1 else Either(tuple(compared))
    if isinstance(condition, AnyElement) and operator == "ne":
        return Either((Negated(Present(condition.path)), condition))
    return condition


_OPERATORS: tuple[Operator, ...] = ("eq", "ne", "gt", "ge", "lt", "le", "co", "sw", "ew")
_COMPARED: Mapping[AttributeType, tuple[tuple[Operator, ...], str]] = {
    "string": (_OPERATORS, "a text in double quotes"),
    "reference": (_OPERATORS, "a URI in double quotes"),
    "binary": (_OPERATORS[:2], "base64 in double quotes"),
    "boolean": (_OPERATORS[:2], "true or false"),
    "integer": (_OPERATORS[:6], "a whole number"),
    "decimal": (_OPERATORS[:6], "a number"),
    "dateTime": (_OPERATORS[:6], 'a date and time such as "2026-01-31T08:00:00Z"'),
}
"""Type of an attribute → the operators that it supports, and what it is compared with."""


def _compare(path: Path, operator: Operator, literal: Scalar) -> Condition:
    return Compare(path, operator, literal)


def _literals(
    path: AttributePath, attribute: Attribute, operator: Operator, value: Scalar
) -> list[Scalar]:
    """The literal in the comparable forms of the attribute, the present one first."""
    operators, expected = _COMPARED[attribute.type]
    if operator not in operators:
        raise InvalidFilter(
            f"{path} is of type {attribute.type} and cannot be compared with {operator};"
            f" it knows {', '.join(operators)} and pr."
        )
    try:
        return [*stored_forms(attribute, SCALARS[attribute.type](value, str(path)))]
    except InvalidValue:
        written = json.dumps(value, ensure_ascii=False)
        if len(written) > _SHOWN_CHARACTERS:
            written = written[:_SHOWN_CHARACTERS] + "…"
        raise InvalidFilter(
            f"{path} is of type {attribute.type}: compare it with {expected}, not with {written}."
        ) from None


def comparable_element(attribute: Attribute, value: Any) -> Any:
    """An element of the canonical resource in the form that conditions of `bind_element` are
    compared with."""
    if isinstance(value, list):
        return [comparable_element(attribute, element) for element in value]
    if isinstance(value, dict):
        subs = attribute.sub_attributes
        return {name: comparable_element(subs[name.lower()], item) for name, item in value.items()}
    return comparable(attribute, value)


_MEMBERSHIPS: Mapping[str, Literal["members", "groups"]] = {"Group": "members", "User": "groups"}
_OTHER_END = {"members": "memberId", "groups": "groupId"}
_MEMBER_TYPES = ("User", "Group")
_DOCUMENT_IDS = {"User": user_id, "Group": group_id}


def _outside_search(resource_type: ResourceType, condition: Condition) -> BoundFilter:
    """The condition, with the parts that `search` cannot answer bound elsewhere: ids to the
    document's id, memberships to their documents."""
    membership = _MEMBERSHIPS[resource_type.name]
    match condition:
        case Compare(("search", "id"), "eq", str(value)):
            return Compare(("id",), "eq", _DOCUMENT_IDS[resource_type.name](value))
        case AnyElement(("search", "schemas"), Compare((), operator, str(value))):
            urns = {schema.id.lower(): schema.id for schema in resource_type.schemas}
            urn = urns.get(value.lower(), value)
            return AnyElement(("search", "schemas"), Compare((), operator, urn))
        case AnyElement(("search", name), inner) if name == membership:
            return Related(membership, _of_membership(membership, inner))
        case Present(("search", name)) if name == membership:
            return Related(membership, EVERYTHING)
        case Present(("search", name)) if name in resource_type.defaults:
            return EVERYTHING
        case Compare(("search", name) as path, operator, bool(value)) if (
            value is resource_type.defaults.get(name)
        ):
            # Documents from before the default was stored lack it, which satisfies `ne` alone.
            return Compare(path, "ne" if operator == "eq" else "eq", not value)
        case All(conditions):
            return _combine(All, [_outside_search(resource_type, c) for c in conditions])
        case Either(conditions):
            return _combine(Either, [_outside_search(resource_type, c) for c in conditions])
        case Negated(inner):
            return _combine(_negated, [_outside_search(resource_type, inner)])
    return condition


def _of_membership(attribute: Literal["members", "groups"], condition: Condition) -> Condition:
    """A condition on an element of `members` or `groups` as a condition on the membership's
    document, where the type is not in lower case."""
    match condition:
        case All(conditions):
            return All(tuple(_of_membership(attribute, c) for c in conditions))
        case Either(conditions):
            return Either(tuple(_of_membership(attribute, c) for c in conditions))
        case Negated(inner):
            return Negated(_of_membership(attribute, inner))
        case Compare(("value",), operator, value):
            return Compare((_OTHER_END[attribute],), operator, value)
        case Compare(("type",)) if attribute == "members":
            compared = Compare((), condition.operator, condition.value)
            types = [type for type in _MEMBER_TYPES if matches(compared, type.casefold())]
            return Either(tuple(Compare(("memberType",), "eq", type) for type in types))
        case Present(("value",)):
            return EVERYTHING
        case Present(("type",)) if attribute == "members":
            return EVERYTHING
    raise AssertionError(f"{attribute} is asked for what is derived: {condition}")


def _combine(
    build: Callable[[tuple[Condition, ...]], Condition], operands: Sequence[BoundFilter]
) -> BoundFilter:
    conditions = tuple(o for o in operands if not isinstance(o, Related | Combined))
    return build(conditions) if len(conditions) == len(operands) else Combined(build, (*operands,))


def _negated(conditions: tuple[Condition, ...]) -> Condition:
    (condition,) = conditions
    return Negated(condition)


def _related(bound: BoundFilter) -> Iterator[Related]:
    if isinstance(bound, Related):
        yield bound
    elif isinstance(bound, Combined):
        for operand in bound.operands:
            yield from _related(operand)
