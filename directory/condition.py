"""Conditions on stored JSON documents: the query language of the store port.

A condition is data. It can be evaluated on a document in memory (`matches`) and it can be
compiled to SQL (`directory.sqlite.query`); both must agree on every condition and every document.
Comparisons are binary (no case folding, no date arithmetic): values to compare are stored in their
comparable form, which is the purpose of the `search` field of users and groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

type Path = tuple[str, ...]
"""Keys from the document's root (inside `AnyElement`: from the element) through objects."""

type Scalar = str | bool | int | float
type Operator = Literal["eq", "ne", "gt", "ge", "lt", "le", "co", "sw", "ew"]


@dataclass(frozen=True, slots=True)
class Compare:
    """The scalar at `path` compared with `value`.

    A missing value, null, or a value of another JSON type (a number is never a string, a boolean
    never a number) satisfies only `ne`. `co`, `sw`, `ew` are for strings; booleans support only
    `eq` and `ne`.
    """

    path: Path
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class Present:
    """There is a value at `path`: not missing, not null."""

    path: Path


@dataclass(frozen=True, slots=True)
class AnyElement:
    """`path` leads to an array, and some element of it satisfies `condition`.

    Paths inside are relative to the element; the empty path is the element itself. Anything that
    is not an array has no elements.
    """

    path: Path
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The string at `path` is one of `values`."""

    path: Path
    values: tuple[str, ...] | frozenset[str]


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds; with none it is true."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """At least one condition holds; with none it is false."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Negated:
    """The condition does not hold."""

    condition: "Condition"


type Condition = Compare | Present | AnyElement | OneOf | All | Either | Negated

EVERYTHING = All()
NOTHING = Either()


def matches(condition: Condition, value: Any) -> bool:
    """Whether a JSON value satisfies a condition."""
    match condition:
        case Compare(path, operator, expected):
            return _compare(_at(value, path), operator, expected)
        case Present(path):
            return _at(value, path) is not None
        case AnyElement(path, inner):
            elements = _at(value, path)
            return isinstance(elements, list) and any(matches(inner, e) for e in elements)
        case OneOf(path, values):
            return _at(value, path) in values
        case All(conditions):
            return all(matches(c, value) for c in conditions)
        case Either(conditions):
            return any(matches(c, value) for c in conditions)
        case Negated(inner):
            return not matches(inner, value)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else "other"


def _compare(actual: Any, operator: Operator, expected: Scalar) -> bool:
    if _kind(actual) != _kind(expected):
        return operator == "ne"
    match operator:
        case "eq":
            return bool(actual == expected)
        case "ne":
            return bool(actual != expected)
        case "co":
            return expected in actual
        case "sw":
            return bool(actual.startswith(expected))
        case "ew":
            return bool(actual.endswith(expected))
        case "gt":
            return bool(actual > expected)
        case "ge":
            return bool(actual >= expected)
        case "lt":
            return bool(actual < expected)
        case "le":
            return bool(actual <= expected)
