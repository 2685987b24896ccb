"""Complex values, and the elements of a multi-valued attribute: comparing, completing and removing
them. Values are canonical; arguments are never changed.

Two elements are the same where they have the same `value` and the same `type` (RFC 7643
section 2.4: that combination should not occur twice), or, without a `value`, where all their
sub-attributes are the same. Texts compare without case unless their attribute is caseExact. All of
it is linear in the number of elements.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from scim.protocol.scalars import fold
from scim.protocol.schema import Attribute

_DESCRIBING = frozenset({"type", "primary", "display", "$ref"})
"""Sub-attributes that only describe the value (RFC 7643 section 2.4)."""

type _Names = tuple[str, ...]
type _Key = tuple[str, ...]


def named(attribute: Attribute, value: Mapping[str, Any]) -> set[str]:
    """Canonical names of the sub-attributes in a client's value that it may write and that are
    stored."""
    subs = (attribute.sub_attributes.get(key.lower()) for key in value)
    dropped = ("readOnly", "writeOnly")
    return {sub.name for sub in subs if sub is not None and sub.mutability not in dropped}


def completed(
    attribute: Attribute, element: Mapping[str, Any], named: set[str], normal: Mapping[str, Any]
) -> dict[str, Any] | None:
    """A complex value in which the named sub-attributes are as in `normal`, or removed where
    `normal` lacks them; None where no value is left."""
    cleared = named - normal.keys()
    result = {key: value for key, value in element.items() if key not in cleared}
    result.update(normal)
    if "$ref" not in named and result.get("value") != element.get("value"):
        result.pop("$ref", None)  # it belongs to the former value
    has_value = attribute.multi_valued or "value" in attribute.sub_attributes
    if has_value and cleared - _DESCRIBING and not result.keys() - _DESCRIBING:
        return None
    return result or None


def appended(
    attribute: Attribute, elements: Sequence[Any], added: Iterable[Any]
) -> tuple[list[Any], list[int]]:
    """`elements`, followed by the new ones of `added`; an added element that is the same as an
    existing one, but not equal to any, completes it. Also returns the positions of elements that
    `added` marks primary."""
    result = list(elements)
    equal = set(map(_whole, result))
    places: dict[tuple[_Names, _Key], int] = {}
    for place, element in enumerate(result):
        places.setdefault(_identity(attribute, element), place)
    marked: list[int] = []
    for element in added:
        if _whole(element) in equal:
            continue
        place = places.setdefault(_identity(attribute, element), len(result))
        if place == len(result):
            result.append(element)
        elif isinstance(element, dict):
            result[place] = result[place] | element
        if is_primary(element):
            marked.append(place)
    return result, marked


def meant(attribute: Attribute, named: Iterable[Any]) -> Callable[[Any], bool]:
    """A function that says whether `named` means an element. An element of `named` with a `value`
    means all elements with this value (and this type, where it has one)."""
    wanted: dict[_Names, set[_Key]] = {}
    for element in named:
        names = telling(element)
        wanted.setdefault(names, set()).add(_key(attribute, element, names))

    def is_meant(element: Any) -> bool:
        return any(_key(attribute, element, names) in keys for names, keys in wanted.items())

    return is_meant


def settled(elements: Iterable[Any], marked: Collection[int] = ()) -> list[Any]:
    """The elements without duplicates, and with no other primary one beside that at a `marked`
    position (RFC 7644 section 3.5.2: setting `primary` makes it false elsewhere)."""
    result: dict[Any, Any] = {}
    for place, element in enumerate(elements):
        if marked and place not in marked and is_primary(element):
            element = {**element, "primary": False}
        result.setdefault(_whole(element), element)
    return list(result.values())


def is_primary(element: Any) -> bool:
    """Whether it is the preferred element of its attribute."""
    return isinstance(element, dict) and element.get("primary") is True


def _whole(element: Any) -> Any:
    if not isinstance(element, dict):
        return element
    return frozenset((name, repr(value)) for name, value in element.items())


def _identity(attribute: Attribute, element: Any) -> tuple[_Names, _Key]:
    names = telling(element)
    return names, _key(attribute, element, names)


def telling(element: Any) -> _Names:
    """Names of the sub-attributes that distinguish an element from others of its attribute."""
    if not isinstance(element, dict):
        return ()
    if "value" in element:
        return ("value", "type") if "type" in element else ("value",)
    return tuple(sorted(element))


def _key(attribute: Attribute, element: Any, names: _Names) -> _Key:
    if not isinstance(element, dict):
        return (_comparable(attribute, element),)
    subs = attribute.sub_attributes
    return tuple(_comparable(subs.get(name.lower()), element.get(name)) for name in names)


def _comparable(attribute: Attribute | None, value: Any) -> str:
    if not isinstance(value, str):
        return repr(value)
    exact = attribute is None or attribute.case_exact
    return "=" + (value if exact else fold(value))
