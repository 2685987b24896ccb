"""PATCH: operations on a resource (RFC 7644 section 3.5.2).

The given resource is never changed: an operation copies the parts that it changes, so an error in
the seventh operation leaves no trace. Where the RFC leaves a choice, or Entra ID needs one:

- `emails[type eq "work"].value` where nothing matches creates `{"type": "work", "value": …}`, for
  `add` and `replace` alike, if the filter is a conjunction of `eq` that the new element then
  satisfies; otherwise the operation has no target. A value that replaces a whole element keeps its
  `type` and the values of the filter's `eq`, unless the new value has others.
- `add` of an element with the `value` and `type` of an existing one completes that element.
- `remove` of a missing value succeeds, because Entra ID repeats requests. With a `value`, it
  removes only what the value names, also from single-valued attributes, so `[Add manager M2, Remove
  manager M1]` leaves M2. Without a value (or with null, "", []) it removes what the path names, but
  all elements of an attribute only for null.
- null and "" clear an attribute, except `active`, which stays as it is. An element that has nothing
  left but `type`, `primary`, `display` or `$ref` has no value any more and is removed, too.
- An object of attributes may contain read-only ones, because clients send back what they read: they
  are left out and reported. As the path of an operation they are an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from directory.condition import EVERYTHING
from scim.protocol.binding import element_matches
from scim.protocol.body import in_json_text
from scim.protocol.elements import appended, completed, is_primary, meant, named, settled, telling
from scim.protocol.entra import Operation, Verb, check_number
from scim.protocol.errors import InvalidValue, MutabilityViolation, NoTarget, ScimError
from scim.protocol.schema import Attribute, ResourceType, Schema
from scim.protocol.target import Target, Unknown, locate
from scim.protocol.validation import (
    Changed,
    Ignored,
    check_size,
    check_still_complete,
    defaulted,
    ignore,
    normalise_element,
    normalise_value,
    schemas_of,
    schemas_without_values,
    unfolded,
)
from scim.protocol.work import Work


def apply(
    resource_type: ResourceType,
    resource: dict[str, Any],
    operations: Sequence[Operation],
    work: Work | None = None,
) -> Changed:
    """The canonical resource after all operations, in order; `work` counts what they may cost.

    Raises InvalidPath, InvalidFilter, InvalidValue, NoTarget or MutabilityViolation, whose detail
    begins with the wrong operation, and PayloadTooLarge where they would cost too much.
    """
    work = work or Work()
    before = after = defaulted(resource_type, resource)
    writes = 0
    touched: dict[str, tuple[str, ...]] = {}
    ignored: Ignored = []
    for operation in operations:
        try:
            for target, value in _writes(resource_type, operation, ignored, work):
                writes += 1
                check_number(writes)
                touched[target.name] = target.keys
                written = _write(operation.op, target, after, value, ignored, work)
                after = defaulted(resource_type, written, before=after)
        except ScimError as error:
            raise operation.blamed(error) from error
    changed = tuple(name for name, keys in touched.items() if _at(after, keys) != _at(before, keys))
    if changed:
        check_still_complete(resource_type, resource, after)
        listed = schemas_without_values(resource)
        after = {**after, "schemas": schemas_of(resource_type, after, listed)}
    return Changed(after if changed else resource, changed, tuple(dict.fromkeys(ignored)))


def _writes(
    resource_type: ResourceType, operation: Operation, ignored: Ignored, work: Work
) -> Iterator[tuple[Target, Any]]:
    """The targets of an operation, each with its value: for a schema's URN, its attributes."""
    work.spend_on_path(operation.path)
    found = locate(resource_type, operation.path)
    if isinstance(found, Target):
        if operation.in_object and _is_read_only(found):
            ignore(ignored, found.path)
        else:
            yield found, operation.value
    elif isinstance(found, Unknown):
        if operation.value is not None or operation.op == "remove":
            ignore(ignored, found.name)
    else:
        for name, value in _values_below(found, operation).items():
            path = f"{found.id}:{name}"
            single = replace(operation, path=path, value=value, in_object=True)
            yield from _writes(resource_type, single, ignored, work)


def _is_read_only(target: Target) -> bool:
    written = (target.attribute, target.sub)
    return any(one is not None and one.mutability == "readOnly" for one in written)


def _values_below(schema: Schema, operation: Operation) -> Mapping[str, Any]:
    value = in_json_text(operation.value)
    if isinstance(value, dict) and (value or operation.op != "remove"):
        check_number(len(value))
        return value
    if operation.op == "remove" or value is None:
        writable = (a for a in schema.attributes.values() if a.mutability != "readOnly")
        return {attribute.name: None for attribute in writable}
    raise InvalidValue(f"{schema.id} takes an object of its attributes as its value.")


def _write(
    verb: Verb,
    target: Target,
    resource: dict[str, Any],
    value: Any,
    ignored: Ignored,
    work: Work,
) -> dict[str, Any]:
    """The resource with one target changed."""
    attribute = target.attribute
    if _is_read_only(target):
        raise MutabilityViolation(
            f"{target.path} is read-only. Remove it from the attribute mapping."
        )
    for written in (attribute, target.sub):
        if written is not None and written.mutability == "writeOnly":
            return resource  # accepted, but not stored
    before = _at(resource, target.keys)
    value = unfolded(target.sub or attribute, value)
    after: Any
    if target.selects:
        after = _selected(verb, target, before or [], value, ignored, work)
    elif target.sub is not None:
        after = _with_sub(verb, target, target.sub, before or {}, value, ignored, work)
    else:
        after = _whole(verb, attribute, before, value, target.path, ignored, work)
    if after == before:
        return resource
    check_size(after, target.path)
    _check_change(verb, attribute, before, after, target.name)
    return _with(resource, target.keys, after)


def _whole(
    verb: Verb,
    attribute: Attribute,
    before: Any,
    value: Any,
    path: str,
    ignored: Ignored,
    work: Work,
) -> Any:
    """The value of an attribute after the verb; None: it has no value."""
    if attribute.multi_valued:
        return _array(verb, attribute, before or [], value, path, ignored, work)
    if verb == "remove":
        wanted = _named(attribute, value, path)
        stays = wanted and not _meant_by(attribute, wanted, [before], work)(before)
        return before if before is None or stays else None
    normal = normalise_value(attribute, value, path, ignored)
    given = _unwrapped(attribute, value)
    if attribute.type == "complex" and isinstance(given, dict):
        return completed(attribute, before or {}, named(attribute, given), normal or {})
    return normal


def _named(attribute: Attribute, value: Any, path: str) -> list[Any]:
    """The elements that the value of a `remove` names, in canonical form."""
    given = value if isinstance(value, list) else [value]
    elements = (normalise_element(attribute, one, path, []) for one in given)
    return [element for element in elements if element is not None]


def _meant_by(
    attribute: Attribute, wanted: Sequence[Any], elements: Sequence[Any], work: Work
) -> Callable[[Any], bool]:
    """A function that says whether the value of a `remove` names an element. Raises PayloadTooLarge
    where comparing all `elements` would cost too much."""
    work.spend_on(attribute, elements, times=len(set(map(telling, wanted))))
    return meant(attribute, wanted)


def _unwrapped(attribute: Attribute, value: Any) -> Any:
    """A single value out of the array in which Entra ID's older dialect sends it."""
    only = value[0] if isinstance(value, list) and len(value) == 1 else value
    return unfolded(attribute, only)


def _with_sub(
    verb: Verb,
    target: Target,
    sub: Attribute,
    element: Mapping[str, Any],
    value: Any,
    ignored: Ignored,
    work: Work,
) -> dict[str, Any] | None:
    """A complex value with one sub-attribute written."""
    after = _whole(verb, sub, element.get(sub.name), value, target.path, ignored, work)
    normal = {} if after is None else {sub.name: after}
    return completed(target.attribute, element, {sub.name}, normal)


def _array(
    verb: Verb,
    attribute: Attribute,
    before: Sequence[Any],
    value: Any,
    path: str,
    ignored: Ignored,
    work: Work,
) -> list[Any] | None:
    """The elements of a multi-valued attribute after the verb; a single value stands for an array
    of one."""
    if verb == "remove" and value is None:
        return None
    if verb == "remove":
        wanted = _named(attribute, value, path)
        is_meant = _meant_by(attribute, wanted, before, work)
        return [element for element in before if not is_meant(element)] or None
    given = value if isinstance(value, list) else [value]
    normal = normalise_value(attribute, given, path, ignored) or []
    if verb == "replace":
        return normal or None
    work.spend_on(attribute, before)
    return _joined(verb, attribute, before, normal, path) or None


def _joined(
    verb: Verb, attribute: Attribute, before: Sequence[Any], added: Sequence[Any], path: str
) -> list[Any]:
    result, marked = appended(attribute, before, added)
    for old, new in zip(before, result, strict=False):
        _check_subs(verb, attribute, old, new, path)
    return settled(result, marked)


def _selected(
    verb: Verb,
    target: Target,
    elements: Sequence[Any],
    value: Any,
    ignored: Ignored,
    work: Work,
) -> list[Any] | None:
    """The elements of a multi-valued attribute, with those that the target selects written."""
    write = _element_writer(verb, target, elements, value, ignored, work)
    hits = work.selected(target.attribute, target.condition or EVERYTHING, elements)
    work.spend_on_copies(value, sum(hits))
    if verb != "remove" and not any(hits):
        return _with_created(verb, target, elements, write({})) or None
    result: list[Any] = []
    marked: list[int] = []
    for element, hit in zip(elements, hits, strict=True):
        written = write(element) if hit else element
        if written is None:
            continue
        _check_subs(verb, target.attribute, element, written, target.name)
        if hit and is_primary(written):
            marked.append(len(result))
        result.append(written)
    if len(marked) > 1:
        raise InvalidValue(f"{target.path} selects several elements; only one can be primary.")
    return settled(result, marked) or None


def _element_writer(
    verb: Verb,
    target: Target,
    elements: Sequence[Any],
    value: Any,
    ignored: Ignored,
    work: Work,
) -> Callable[[Any], Any]:
    """A function that returns a selected element as it is after the verb; None: removed."""
    attribute, sub = target.attribute, target.sub
    if sub is not None:
        return lambda element: _with_sub(verb, target, sub, element, value, ignored, work)
    if verb == "remove":
        wanted = _named(attribute, value, target.path)
        is_meant = _meant_by(attribute, wanted, elements, work)
        return lambda one: one if wanted and not is_meant(one) else None
    given = _unwrapped(attribute, value)
    normal = normalise_element(attribute, given, target.path, ignored)
    if attribute.type != "complex":
        return lambda _: normal
    names = named(attribute, given) if isinstance(given, dict) else set(normal or ())
    if verb == "replace":
        kept = {"type"} - names
        implied = dict(target.implied or {})
        return lambda element: (
            {**{name: element[name] for name in kept & element.keys()}, **implied, **normal}
            if normal
            else None
        )
    return lambda element: completed(attribute, element, names, normal or {})


def _with_created(verb: Verb, target: Target, elements: Sequence[Any], written: Any) -> list[Any]:
    """The elements and a new one that the target's filter selects. Raises NoTarget."""
    if written is None:
        return list(elements)
    attribute, condition = target.attribute, target.condition
    if condition is None:
        return [*elements, written]
    if target.implied is not None:
        element = {**target.implied, **written}
        if element_matches(attribute, condition, element):
            if verb == "replace" and target.sub is None:  # existing elements are not completed
                place = len(elements)
                return settled([*elements, element], [place] if is_primary(element) else ())
            return _joined(verb, attribute, elements, [element], target.name)
    raise NoTarget(
        f"No element of {target.name} matches the filter in the path, and none can be created"
        " from it. Add the element first."
    )


def _check_change(verb: Verb, attribute: Attribute, before: Any, after: Any, path: str) -> None:
    """Raises MutabilityViolation or InvalidValue where an existing value may not change so."""
    if before is None or before == after:
        return
    if attribute.mutability == "immutable":
        raise MutabilityViolation(f"{path} is set already and cannot be changed afterwards.")
    if after is None and attribute.required:
        error = MutabilityViolation if verb == "remove" else InvalidValue
        raise error(f"{path} is required and cannot be removed or cleared. Map a value to it.")
    _check_subs(verb, attribute, before, after, path)


def _check_subs(verb: Verb, attribute: Attribute, before: Any, after: Any, path: str) -> None:
    """The same for the sub-attributes of a complex value that remains."""
    if before is after or not isinstance(before, dict) or not isinstance(after, dict):
        return
    for sub in _guarded(attribute):
        name = sub.name
        _check_change(verb, sub, before.get(name), after.get(name), f"{path}.{name}")


@cache
def _guarded(attribute: Attribute) -> tuple[Attribute, ...]:
    """The sub-attributes that are immutable or required."""
    subs = attribute.sub_attributes.values()
    return tuple(sub for sub in subs if sub.mutability == "immutable" or sub.required)


def _at(resource: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = resource
    for key in keys:
        value = value.get(key)
        if value is None:
            return None
    return value


def _with(resource: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy with the value at the keys, or without it where it is None; no object is left
    empty."""
    key, *rest = keys
    if rest:
        value = _with(resource.get(key, {}), rest, value) or None
    if value is not None:
        return {**resource, key: value}
    return {name: kept for name, kept in resource.items() if name != key}
