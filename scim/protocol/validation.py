"""From a client's values to canonical values, or to an error that says what to correct.

The canonical resource is a plain dict: attribute names as in the schema, extension attributes below
their URN, `schemas` computed, unassigned values left out: null, [] and {} (RFC 7643 section 2.5),
and texts that are empty or blank (`directory.completeness.is_blank`). Attributes that only the
server sets (readOnly) are dropped; unknown attributes are dropped and reported by name. Muster
stores no secrets: writeOnly attributes (`password`) are accepted, as /Schemas says, and dropped.

Entra ID's dialect of values is understood: booleans and numbers as strings, a bare string for a
complex attribute that has a `value` (`manager`), one-element arrays for singular attributes,
`{"value": x}` for x, and JSON text where an object or an array is expected. canonicalValues are
suggestions (RFC 7643 section 7) and refuse nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from directory.completeness import is_blank
from scim.protocol.body import in_json_text
from scim.protocol.errors import InvalidSyntax, InvalidValue, MutabilityViolation
from scim.protocol.scalars import SCALARS, json_type, refuse
from scim.protocol.schema import Attribute, ResourceType, attribute_path

Ignored = list[str]
"""Names of ignored attributes, each once: at most 100 names, each shortened to 200 characters."""

MOST_ELEMENTS = 1000
"""The most elements of one multi-valued attribute. A group's members do not count as such."""
_MOST_IGNORED = 100
_LONGEST_NAME = 200


class Normalised(NamedTuple):
    """A canonical resource, and the names of ignored attributes."""

    resource: dict[str, Any]
    ignored: tuple[str, ...]


class Changed(NamedTuple):
    """A resource after a change: `changed` names the attributes that differ from before
    (`emails`, `urn:…:User:department`), `ignored` the unknown ones in the request."""

    resource: dict[str, Any]
    changed: tuple[str, ...]
    ignored: tuple[str, ...]


def normalise(resource_type: ResourceType, payload: object) -> Normalised:
    """The canonical resource in the body of a POST or PUT (RFC 7644 sections 3.3 and 3.5.1).

    The caller sets `id` and the other readOnly attributes. Raises InvalidSyntax where the body is
    no resource of this type, InvalidValue where a value does not fit its attribute or a required
    one is missing.
    """
    if not isinstance(payload, dict):
        raise InvalidSyntax(
            f"The body must be a JSON object that holds a {resource_type.name}; it is "
            f"{json_type(payload)}."
        )
    ignored: Ignored = []
    listed: list[str] = []
    for key, value in payload.items():
        if key.lower() == "schemas":
            listed += _listed_schemas(resource_type, value)
    values = _object(resource_type.attributes, payload, "", ignored)
    resource = {"schemas": schemas_of(resource_type, values, listed), **values}
    check_required(resource_type, resource)
    return Normalised(resource, tuple(ignored))


def defaulted(
    resource_type: ResourceType, resource: dict[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The resource with values for all of `ResourceType.defaults`: the value before, or else the
    default. So clearing `active`, or leaving it out of a PUT, does not enable a user."""
    missing = {
        name: (before or {}).get(name, default)
        for name, default in resource_type.defaults.items()
        if name not in resource
    }
    return {**resource, **missing} if missing else resource


def schemas_of(
    resource_type: ResourceType, resource: Mapping[str, Any], listed: Collection[str] = ()
) -> list[str]:
    """The canonical `schemas`: the core schema, and the extensions that have values or that the
    client listed (in any case)."""
    folded = {urn.lower() for urn in listed}
    extensions = (schema.id for schema in resource_type.extensions.values())
    used = (urn for urn in extensions if urn in resource or urn.lower() in folded)
    return [resource_type.schema.id, *used]


def schemas_without_values(resource: Mapping[str, Any]) -> list[str]:
    """The schemas that a stored resource has only because a client listed them."""
    return [urn for urn in resource.get("schemas", ()) if urn not in resource]


def _listed_schemas(resource_type: ResourceType, value: Any) -> list[str]:
    """The URNs in a client's `schemas`. Raises InvalidSyntax."""
    if _unassigned(value):
        return []
    if not isinstance(value, list) or not all(isinstance(urn, str) for urn in value):
        raise InvalidSyntax(f"'schemas' must be an array of strings; it is {json_type(value)}.")
    core = resource_type.schema.id
    if core.lower() not in (urn.lower() for urn in value):
        raise InvalidSyntax(
            f"'schemas' does not name the schema of a {resource_type.name}: put \"{core}\" there."
        )
    return value


def unfolded(attribute: Attribute, value: Any) -> Any:
    """A client's value of an attribute, with JSON text parsed where an object or an array is
    expected: as the whole value (`"{\\"value\\": …}"` for a manager), or as the `value` of an
    object (`{"value": "{\\"value\\": …}"}`), whose other members stay."""
    if not (attribute.multi_valued or attribute.type == "complex"):
        return value
    value = in_json_text(value)
    if not isinstance(value, dict) or "value" not in attribute.sub_attributes:
        return value
    rest = {key: one for key, one in value.items() if key.lower() != "value"}
    inside = next((in_json_text(value[key]) for key in value if key not in rest), None)
    if isinstance(inside, dict) and any(key.lower() == "value" for key in inside):
        return rest | inside
    return value


def normalise_value(attribute: Attribute, value: Any, path: str, ignored: Ignored) -> Any:
    """The canonical value of an attribute, an array where it is multi-valued; None: unassigned.

    `path` names the attribute in errors and in `ignored`. Equal elements are kept once. Raises
    InvalidValue.
    """
    if not attribute.multi_valued:
        return normalise_element(attribute, value, path, ignored)
    value = unfolded(attribute, value)
    if not isinstance(value, list) or len(value) == 1:
        only = value[0] if isinstance(value, list) else value
        element = normalise_element(attribute, only, path, ignored)
        return None if element is None else [element]
    check_size(value, path)
    elements: list[Any] = []
    seen: set[Any] = set()
    for given in value:
        element = normalise_element(attribute, given, path, ignored)
        if element is None:
            continue
        identity = _identity(element)
        if identity not in seen:
            seen.add(identity)
            elements.append(element)
    if attribute.type == "complex":
        _check_primary(elements, path)
    return elements or None


def check_size(elements: Any, path: str) -> None:
    """Raises InvalidValue for an array of more than MOST_ELEMENTS elements."""
    if isinstance(elements, list) and len(elements) > MOST_ELEMENTS:
        raise InvalidValue(
            f"'{path}' would have {len(elements)} values; at most {MOST_ELEMENTS} are kept."
        )


def normalise_element(attribute: Attribute, value: Any, path: str, ignored: Ignored) -> Any:
    """The canonical form of one element of a multi-valued attribute, or of a singular value;
    None: unassigned. Raises InvalidValue."""
    complex = attribute.type == "complex"
    if isinstance(value, str) and not (complex or attribute.multi_valued):  # as most values are
        if is_blank(value) or attribute.mutability == "writeOnly":
            return None
        return SCALARS[attribute.type](value, path)
    value = unfolded(attribute, value)
    if isinstance(value, list) and not attribute.multi_valued:
        value = unfolded(attribute, _only_element(value, path))
    if _unassigned(value) or attribute.mutability == "writeOnly":
        return None
    if complex:
        return _complex(attribute, value, path, ignored)
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
        if _unassigned(value):
            return None
    return SCALARS[attribute.type](value, path)


def _complex(
    attribute: Attribute, value: Any, path: str, ignored: Ignored
) -> dict[str, Any] | None:
    if isinstance(value, str) and "value" in attribute.sub_attributes:
        value = {"value": value}
    if not isinstance(value, dict):
        refuse(path, "a JSON object", value)
    separator = ":" if ":" in attribute.name else "."  # an extension is named by its URN
    return _object(attribute.sub_attributes, value, path + separator, ignored) or None


def _object(
    attributes: Mapping[str, Attribute], values: dict[str, Any], prefix: str, ignored: Ignored
) -> dict[str, Any]:
    canonical: dict[str, Any] = {}
    for key, given in values.items():
        attribute = attributes.get(key.lower())
        if attribute is None:
            if given is not None:
                ignore(ignored, prefix + key)
            continue
        if attribute.mutability == "readOnly":
            continue
        name = attribute.name
        normalised = normalise_value if attribute.multi_valued else normalise_element
        value = normalised(attribute, given, prefix + name, ignored)
        if value is None:
            continue
        if name in canonical:
            raise InvalidSyntax(
                f"'{prefix}{name}' is given twice, in different case; send it once."
            )
        canonical[name] = value
    return canonical


def _unassigned(value: Any) -> bool:
    """Whether it counts as no value: null, an empty object or array, a blank text."""
    if isinstance(value, str):
        return is_blank(value)
    return not value and not isinstance(value, int | float)


def _only_element(values: list[Any], path: str) -> Any:
    if len(values) > 1:
        raise InvalidValue(f"'{path}' has one value; the request holds an array of {len(values)}.")
    return values[0] if values else None


def _identity(element: Any) -> Any:
    """A hashable form, which is equal for equal elements of one attribute."""
    if not isinstance(element, dict):
        return element
    return frozenset(
        (name, tuple(map(_identity, value)) if isinstance(value, list) else value)
        for name, value in element.items()
    )


def _check_primary(elements: list[dict[str, Any]], path: str) -> None:
    if sum(element.get("primary") is True for element in elements) > 1:
        raise InvalidValue(
            f"'{path}' has more than one primary value; mark at most one with \"primary\": true."
        )


def ignore(ignored: Ignored, name: str) -> None:
    """Add the name of an ignored attribute, within the bounds of `Ignored`."""
    if len(ignored) >= _MOST_IGNORED:
        return
    if not name.isprintable():
        name = ascii(name)[1:-1]
    name = name[:_LONGEST_NAME]
    if name not in ignored:
        ignored.append(name)


# Required and mutability (RFC 7643 section 2.2, RFC 7644 section 3.5.1)


def check_required(resource_type: ResourceType, resource: Mapping[str, Any]) -> None:
    """Raises InvalidValue where a canonical resource lacks a required attribute.

    Requirements inside an extension or a complex attribute apply only where it has a value.
    """
    for keys in _required(resource_type):
        if any(keys[-1] not in holder for holder in _holders(resource, keys[:-1])):
            name = attribute_path(keys)
            raise InvalidValue(
                f"'{name}' is required and has no value. In Entra ID, map an attribute to it that "
                "every assigned object has a value of."
            )


def check_still_complete(
    resource_type: ResourceType, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Like `check_required`, for a changed resource. A resource that lacked something before (the
    schema may have become stricter) can still be changed: it must be possible to deactivate it."""
    try:
        check_required(resource_type, after)
    except InvalidValue:
        if _is_complete(resource_type, before):
            raise


def _is_complete(resource_type: ResourceType, resource: Mapping[str, Any]) -> bool:
    try:
        check_required(resource_type, resource)
    except InvalidValue:
        return False
    return True


@cache
def _required(resource_type: ResourceType) -> tuple[tuple[str, ...], ...]:
    def below(
        attributes: Mapping[str, Attribute], keys: tuple[str, ...]
    ) -> Iterator[tuple[str, ...]]:
        for attribute in attributes.values():
            if attribute.mutability in ("readOnly", "writeOnly"):
                continue
            here = (*keys, attribute.name)
            if attribute.required:
                yield here
            yield from below(attribute.sub_attributes, here)

    return tuple(below(resource_type.attributes, ()))


def _holders(resource: Mapping[str, Any], keys: tuple[str, ...]) -> list[Mapping[str, Any]]:
    holders = [resource]
    for key in keys:
        values = [holder[key] for holder in holders if key in holder]
        holders = []
        for value in values:
            holders.extend(value if isinstance(value, list) else [value])
    return holders


def replacement(resource_type: ResourceType, old: dict[str, Any], new: Normalised) -> Changed:
    """The result of a PUT of `new` on the canonical resource `old` (RFC 7644 section 3.5.1).

    Attributes that `new` leaves out are cleared, except readOnly ones, `id`, immutable ones, and
    those with a default. Raises MutabilityViolation where `new` sets an immutable attribute to
    another value, InvalidValue where the result lacks a required attribute: an extension that `new`
    leaves out remains if it holds an immutable value.
    """
    old = defaulted(resource_type, old)
    resource = defaulted(
        resource_type, _kept(resource_type.attributes, old, new.resource, ""), before=old
    )
    check_still_complete(resource_type, old, resource)
    listed = schemas_without_values(new.resource)
    resource["schemas"] = schemas_of(resource_type, resource, listed)
    return Changed(resource, differences(resource_type, old, resource), new.ignored)


def _kept(
    attributes: Mapping[str, Attribute], old: dict[str, Any], new: dict[str, Any], prefix: str
) -> dict[str, Any]:
    """`new`, with the values that a replacement may not change taken from `old`."""
    result = dict(new)
    for name, was in old.items():
        attribute = attributes.get(name.lower())
        if attribute is None:  # in an extension that is no longer configured
            continue
        if attribute.mutability == "readOnly":
            result[name] = was
        elif attribute.mutability == "immutable":
            if result.setdefault(name, was) != was:
                raise MutabilityViolation(
                    f"'{prefix}{name}' was set before and cannot be changed. Send its present "
                    "value, or leave it out."
                )
        elif isinstance(was, dict):
            inside = prefix + name + (":" if ":" in name else ".")
            kept = _kept(attribute.sub_attributes, was, result.get(name, {}), inside)
            if kept:
                result[name] = kept
    return result


def differences(
    resource_type: ResourceType, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[str, ...]:
    """Names of the attributes in which two canonical resources differ, for `Changed`."""
    extensions = {schema.id for schema in resource_type.extensions.values()}
    names: list[str] = []
    for name in _unequal(old, new):
        if name in extensions:
            names.extend(f"{name}:{key}" for key in _unequal(old.get(name, {}), new.get(name, {})))
        elif name != "schemas":
            names.append(name)
    return tuple(names)


def _unequal(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
