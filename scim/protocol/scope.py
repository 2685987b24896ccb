"""Where the paths of a filter lead: from a resource type, or from one element of an attribute."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from scim.protocol.errors import InvalidFilter
from scim.protocol.filter import AttributePath
from scim.protocol.schema import Attribute, ResourceType, Schema

type Unknown = Literal["refuse", "nothing"]
"""How to treat an attribute that the resource type lacks: as an error, or as one without a value,
which a search over several resource types needs (RFC 7644 section 3.4.2.1)."""


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute and the path to it: each key, and whether its value is an array."""

    attribute: Attribute
    steps: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """Paths from a resource's root, as in `ResourceType.locate`."""

    resource_type: ResourceType
    unknown: Unknown

    def find(self, path: AttributePath) -> Field | None:
        """The attribute at a path; None where there is none. Raises InvalidFilter for one that
        cannot be filtered by, because it is never shown, or computed for each answer."""
        location = self.resource_type.locate(str(path))
        if isinstance(location, Schema):  # the object with all attributes of an extension
            whole = self.resource_type.attributes.get(location.id.lower())
            return Field(whole, ((whole.name, False),)) if whole else None
        if location is None:
            return None
        arrays = [False] * (len(location.keys) - 1) + [location.attribute.multi_valued]
        if location.parent:
            arrays[-2] = location.parent.multi_valued
        steps = tuple(zip(location.keys, arrays, strict=True))
        return Field(_stored(location.attribute, location.parent), steps)

    def names(self) -> Iterator[tuple[str, str]]:
        """Every path, without its URN and with it."""
        for attribute in self.resource_type.attributes.values():
            if ":" not in attribute.name:
                yield from ((name, name) for name in _paths((attribute,)))
                continue
            for name in _paths(attribute.sub_attributes.values()):
                yield name, f"{attribute.name}:{name}"

    def __str__(self) -> str:
        return self.resource_type.name


@dataclass(frozen=True, slots=True)
class ElementScope:
    """Paths from one value of a complex or multi-valued attribute; `value` leads to an element that
    is not an object."""

    attribute: Attribute
    unknown: Unknown

    def find(self, path: AttributePath) -> Field | None:
        """As in `ResourceScope`."""
        if self.attribute.type != "complex":
            return Field(self.attribute, ()) if str(path).lower() == "value" else None
        attribute = self.attribute.sub_attributes.get(path.name.lower())
        if path.urn or attribute is None:
            return None
        stored = _stored(attribute, self.attribute)
        field = Field(stored, ((attribute.name, attribute.multi_valued),))
        return _below(field, path.sub) if path.sub else field

    def names(self) -> Iterator[tuple[str, str]]:
        """As in `ResourceScope`."""
        if self.attribute.type != "complex":
            yield "value", "value"
        for name in _paths(self.attribute.sub_attributes.values()):
            yield name, name

    def __str__(self) -> str:
        return self.attribute.name


type Scope = ResourceScope | ElementScope


def _paths(attributes: Iterable[Attribute]) -> Iterator[str]:
    for attribute in attributes:
        yield attribute.name
        yield from (f"{attribute.name}.{sub.name}" for sub in attribute.sub_attributes.values())


def _below(field: Field, name: str) -> Field | None:
    sub = field.attribute.sub_attributes.get(name.lower())
    if sub is None:
        return None
    return Field(_stored(sub, field.attribute), (*field.steps, (sub.name, sub.multi_valued)))


def _stored(attribute: Attribute, parent: Attribute | None) -> Attribute:
    """The attribute. Raises InvalidFilter where it cannot be filtered by. To treat it as absent
    would be wrong: a condition on an absent attribute holds for everybody or for nobody."""
    for each in (parent, attribute):
        if each and (each.returned == "never" or each.mutability == "writeOnly"):
            raise InvalidFilter(
                f"{each.name} is never shown, so nothing can be filtered or sorted by it."
            )
    if parent and attribute.derived:
        kept = [sub.name for sub in parent.sub_attributes.values() if not sub.derived]
        example = f', such as {parent.name}[value eq "…"]' if "value" in kept else ""
        raise InvalidFilter(
            f"{parent.name}.{attribute.name} is made for each answer and not stored, so nothing"
            f" can be filtered, selected or sorted by it. Use"
            f" {' or '.join(f'{parent.name}.{name}' for name in kept)}{example}."
        )
    return attribute


def unknown_attribute(scope: Scope, path: AttributePath) -> InvalidFilter:
    """The error for an unknown path, with suggestions."""
    names = [(name.lower(), full) for name, full in scope.names()]
    written = str(AttributePath(None, path.name, path.sub)).lower()
    close = difflib.get_close_matches(written, {name for name, _ in names}, n=2)
    meant = [full for found in close for name, full in names if name == found]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return InvalidFilter(f"{scope} has no attribute '{str(path)[:100]}'.{hint}")


def single_value(field: Field) -> Field:
    """The `value` of a complex attribute, or the attribute itself. Raises InvalidFilter for a
    complex attribute without `value`."""
    attribute = field.attribute
    if attribute.type != "complex":
        return field
    value = _below(field, "value")
    if value is None:
        names = ", ".join(sub.name for sub in attribute.sub_attributes.values())
        raise InvalidFilter(
            f"{attribute.name} has no value of its own; compare one of its attributes: {names}."
        )
    return value
