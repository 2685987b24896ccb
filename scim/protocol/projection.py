"""Which attributes an answer carries (RFC 7643 section 7 "returned", RFC 7644 section 3.9)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from scim.protocol.errors import InvalidValue
from scim.protocol.schema import CACHED_CHARACTERS, Attribute, ResourceType, Schema

type _Names = dict[str, _Names | None]
"""Canonical names of attributes that a client named → the parts that it named; None: all."""

type _Plan = dict[str, _Plan | None]
"""Canonical names of attributes that are shown → the parts that are shown; None: all."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Which attributes an answer carries."""

    _plan: _Plan

    @classmethod
    def parse(
        cls,
        resource_type: ResourceType,
        attributes: str | Sequence[str] | None = None,
        excluded: str | Sequence[str] | None = None,
    ) -> "Projection":
        """From the parameters `attributes` and `excludedAttributes`: names separated by commas,
        or an array of them; in any case, with URN or without, with sub-attribute or without.

        Unknown names are ignored; an empty parameter counts as missing. RFC 7644 section 3.9 does
        not define both parameters together, but Microsoft's library sends them: then the attributes
        in `attributes` are shown without those in `excludedAttributes`. Raises InvalidValue.
        """
        shown = _named(resource_type, attributes, "attributes")
        hidden = _named(resource_type, excluded, "excludedAttributes")
        return _projection(resource_type, shown, hidden)

    def wants(self, name: str) -> bool:
        """Whether any part of this top-level attribute is shown."""
        return name in self._plan

    def apply(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """The shown part of a resource; values are shared with it, not copied."""
        return _shown(self._plan, resource)


type _Paths = frozenset[tuple[str, ...]]


def _named(
    resource_type: ResourceType, parameter: str | Sequence[str] | None, name: str
) -> _Paths | None:
    """The attributes that a parameter names; None where it names none, not even unknown ones."""
    if isinstance(parameter, str):
        read = _named_in_text if len(parameter) > CACHED_CHARACTERS else _cached_names
        return read(resource_type, parameter)
    parts = parameter or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise InvalidValue(f"'{name}' must be names of attributes.")
    return _named_by(resource_type, parts)


def _named_in_text(resource_type: ResourceType, parameter: str) -> _Paths | None:
    # Microsoft's library encodes URNs twice; attribute names contain no percent sign.
    return _named_by(resource_type, unquote(parameter).split(","))


_cached_names = lru_cache(maxsize=256)(_named_in_text)


def _named_by(resource_type: ResourceType, parts: Sequence[str]) -> _Paths | None:
    names = [stripped for part in parts if (stripped := part.strip())]
    if not names:
        return None
    return frozenset(keys for name in names if (keys := _keys(resource_type, name)))


@lru_cache(maxsize=256)
def _projection(
    resource_type: ResourceType, shown: _Paths | None, hidden: _Paths | None
) -> Projection:
    named = None if shown is None else _tree(shown)
    return Projection(_plan(resource_type.attributes, named, _tree(hidden or ())))


def _tree(paths: Iterable[tuple[str, ...]]) -> _Names:
    tree: _Names = {}
    for keys in sorted(paths, key=len):  # the whole before its parts
        level: _Names | None = tree
        for key in keys[:-1]:
            level = level.setdefault(key, {}) if level is not None else None
        if level is not None:
            level[keys[-1]] = None
    return tree


def _keys(resource_type: ResourceType, name: str) -> tuple[str, ...]:
    """Canonical keys of the named attribute, see `ResourceType.locate`; empty for an unknown
    one."""
    location = resource_type.locate(name)
    if isinstance(location, Schema):
        return (location.id,)
    return location.keys if location else ()


def _plan(attributes: Mapping[str, Attribute], named: _Names | None, hidden: _Names) -> _Plan:
    """The plan for these attributes when the client named some (None: the default set) and hid
    some."""
    plan: _Plan = {}
    for attribute in attributes.values():
        name = attribute.name
        if attribute.returned == "never":
            continue
        wanted = attribute.returned == "default" if named is None else name in named
        hidden_whole = name in hidden and hidden[name] is None
        shown = attribute.returned == "always" or (wanted and not hidden_whole)
        if attribute.type != "complex":
            if shown:
                plan[name] = None
            continue
        # Sub-attributes that are returned "always" are shown even if their attribute is not.
        parts_named = (named or {}).get(name) if shown else {}
        parts = _plan(attribute.sub_attributes, parts_named, hidden.get(name) or {})
        if parts:
            whole = len(parts) == len(attribute.sub_attributes) and not any(parts.values())
            plan[name] = None if whole else parts
    return plan


def _shown(plan: _Plan, value: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, item in value.items():
        if name not in plan:
            continue
        parts = plan[name]
        if parts is not None:
            if isinstance(item, list):
                item = [part for element in item if (part := _shown(parts, element))]
            else:
                item = _shown(parts, item)
            if not item:
                continue
        shown[name] = item
    return shown
