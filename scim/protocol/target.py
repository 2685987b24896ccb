"""Where the path of a PATCH operation leads, by the schemas of a resource type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from directory.condition import NOTHING, Condition
from scim.protocol.binding import bind_element
from scim.protocol.errors import InvalidPath
from scim.protocol.filter import And, Comparison, Filter, parse_path
from scim.protocol.schema import (
    CACHED_CHARACTERS,
    Attribute,
    Location,
    ResourceType,
    Schema,
    attribute_path,
)
from scim.protocol.validation import normalise_value


@dataclass(frozen=True, slots=True)
class Target:
    """An attribute, or sub-attributes or elements of it.

    `keys` lead to the attribute's whole value in the canonical resource. `sub` is the targeted
    sub-attribute, and `condition` (for `element_matches`) selects the targeted elements. Where the
    filter is a conjunction of `eq`, `implied` has its values in canonical form; otherwise it is
    None.
    """

    keys: tuple[str, ...]
    attribute: Attribute
    sub: Attribute | None = None
    condition: Condition | None = None
    implied: Mapping[str, Any] | None = None
    name: str = field(init=False)
    """The attribute as the provisioning log names it: `emails`, `urn:…:User:department`."""
    path: str = field(init=False)
    """The same with the sub-attribute, as errors name it."""

    def __post_init__(self) -> None:
        name = attribute_path(self.keys)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "path", f"{name}.{self.sub.name}" if self.sub else name)

    @property
    def selects(self) -> bool:
        """Whether elements of a multi-valued attribute are targeted, rather than all of it."""
        return self.attribute.multi_valued and not (self.condition is None and self.sub is None)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A path that the schemas do not know; `name` is printable and holds no filter."""

    name: str


def locate(resource_type: ResourceType, text: str) -> Target | Schema | Unknown:
    """Where a path leads; a schema for the URN of a schema alone.

    Names are those of `ResourceType.locate`. Raises InvalidPath, and InvalidFilter for the filter
    in brackets.
    """
    if len(text) > CACHED_CHARACTERS:
        return _located(resource_type, text)
    return _cached(resource_type, text)


def _located(resource_type: ResourceType, text: str) -> Target | Schema | Unknown:
    location = resource_type.locate(text)
    if isinstance(location, Schema):
        return location
    path = parse_path(text)
    location = resource_type.locate(str(path.attribute))
    if location is None:
        return Unknown(_printable(str(path.attribute)))
    if isinstance(location, Schema):
        raise InvalidPath(f"{location.id} is a schema, whose path takes no filter in brackets.")
    if path.filter is None:
        return _plain(location)
    return _filtered(location, path.filter, path.sub)


def _printable(name: str) -> str:
    return (name if name.isprintable() else ascii(name)[1:-1])[:CACHED_CHARACTERS]


_cached = lru_cache(maxsize=1024)(_located)


def _plain(location: Location) -> Target:
    if location.parent is None:
        return Target(location.keys, location.attribute)
    return Target(location.keys[:-1], location.parent, sub=location.attribute)


def _filtered(location: Location, filter: Filter, sub_name: str | None) -> Target | Unknown:
    attribute = location.attribute
    name = attribute_path(location.keys)
    if location.parent is not None or not attribute.multi_valued:
        raise InvalidPath(
            f"The path of {name} takes no filter in brackets: only a multi-valued attribute has"
            " elements to select."
        )
    sub = None
    if sub_name is not None:
        sub = attribute.sub_attributes.get(sub_name.lower())
        if sub is None:
            return Unknown(f"{name}.{sub_name}")
    if attribute.mutability == "writeOnly":  # it is never stored, so there is nothing to select
        return Target(location.keys, attribute, sub, NOTHING)
    condition = bind_element(attribute, filter)
    return Target(location.keys, attribute, sub, condition, _implied(attribute, filter))


def _implied(attribute: Attribute, filter: Filter) -> Mapping[str, Any] | None:
    """The values that a conjunction of `eq` gives an element; None for any other filter."""
    comparisons = filter.filters if isinstance(filter, And) else (filter,)
    implied: dict[str, Any] = {}
    for comparison in comparisons:
        if not isinstance(comparison, Comparison) or comparison.operator != "eq":
            return None
        sub = attribute.sub_attributes.get(comparison.path.name.lower())
        if sub is None or comparison.path.sub is not None:
            return None
        value = normalise_value(sub, comparison.value, f"{attribute.name}.{sub.name}", [])
        if value is not None:
            implied[sub.name] = value
    return implied
