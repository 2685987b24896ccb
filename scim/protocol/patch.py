"""PATCH: operations on a resource (RFC 7644 section 3.5.2).

The resource that comes in is never changed: what an operation touches is built anew, so an error
in the seventh operation leaves nothing behind. Where the RFC leaves a choice, or Entra ID needs
one:

- `emails[type eq "work"].value` where nothing matches creates `{"type": "work", "value": …}`, for
  `add` and `replace` alike, as long as the filter is a conjunction of `eq` that the new element
  then satisfies; otherwise there is no target. A value that replaces a whole element keeps what
  the filter's `eq` say, unless it says otherwise itself.
- `add` of an element whose `value` and `type` are there already completes that element.
- `remove` of what is not there succeeds, because Entra ID repeats requests. With a `value`, it
  removes from a multi-valued attribute only the elements that the value names.
- null and "" unassign. An element left with nothing but `type`, `primary`, `display` or `$ref`
  describes no value any more and goes too.
- A short name that the core schema lacks means the attribute of the one extension that has it
  (`manager`, as Microsoft's own example writes it).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from directory.condition import EVERYTHING
from scim.protocol.binding import element_matches
from scim.protocol.elements import appended, completed, is_primary, named, settled, telling, without
from scim.protocol.entra import Operation, Verb, check_number
from scim.protocol.errors import InvalidValue, MutabilityViolation, NoTarget, ScimError
from scim.protocol.schema import Attribute, ResourceType, Schema
from scim.protocol.target import Target, Unknown, locate
from scim.protocol.validation import (
    Changed,
    Ignored,
    check_required,
    check_size,
    ignore,
    normalise_element,
    normalise_value,
    schemas_of,
)
from scim.protocol.work import Work


def apply(
    resource_type: ResourceType,
    resource: dict[str, Any],
    operations: Sequence[Operation],
    work: Work | None = None,
) -> Changed:
    """The canonical resource after all operations, in order; `work` is what they may cost.

    Raises InvalidPath, InvalidFilter, InvalidValue, NoTarget or MutabilityViolation, whose detail
    begins with the operation at fault, and PayloadTooLarge where they would cost too much.
    """
    work = work or Work()
    after = resource
    writes = 0
    touched: dict[str, tuple[str, ...]] = {}
    ignored: Ignored = []
    for operation in operations:
        try:
            for target, value in _writes(resource_type, operation, ignored, work):
                writes += 1
                check_number(writes)
                touched[target.name] = target.keys
                after = _write(operation.op, target, after, value, ignored, work)
        except ScimError as error:
            raise operation.blamed(error) from error
    changed = tuple(
        name for name, keys in touched.items() if _at(after, keys) != _at(resource, keys)
    )
    if changed:
        _check_complete(resource_type, resource, after)
        after = {**after, "schemas": schemas_of(resource_type, after)}
    return Changed(after if changed else resource, changed, tuple(dict.fromkeys(ignored)))


def _writes(
    resource_type: ResourceType, operation: Operation, ignored: Ignored, work: Work
) -> Iterator[tuple[Target, Any]]:
    """What an operation is about, and the value for each: for a schema's URN, its attributes."""
    work.spend_on_path(operation.path)
    found = locate(resource_type, operation.path)
    if isinstance(found, Target):
        yield found, operation.value
    elif isinstance(found, Unknown):
        ignore(ignored, found.name)
    else:
        for name, value in _values_below(found, operation).items():
            single = replace(operation, path=f"{found.id}:{name}", value=value)
            yield from _writes(resource_type, single, ignored, work)


def _values_below(schema: Schema, operation: Operation) -> Mapping[str, Any]:
    if operation.op == "remove" or operation.value is None:
        writable = (a for a in schema.attributes.values() if a.mutability != "readOnly")
        return {attribute.name: None for attribute in writable}
    if isinstance(operation.value, dict):
        check_number(len(operation.value))
        return operation.value
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
    for written in (attribute, target.sub):
        if written is not None and written.mutability == "readOnly":
            raise MutabilityViolation(
                f"{target.path} is read-only. Remove it from the attribute mapping."
            )
    before = _at(resource, target.keys)
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
    """The value of an attribute after the verb, None where it has none."""
    if attribute.multi_valued:
        return _array(verb, attribute, before or [], value, path, ignored, work)
    if verb == "remove":
        return None
    normal = normalise_value(attribute, value, path, ignored)
    given = _unwrapped(value)
    if attribute.type == "complex" and isinstance(given, dict):
        return completed(attribute, before or {}, named(attribute, given), normal or {})
    return normal


def _unwrapped(value: Any) -> Any:
    """A single value out of the array in which Entra ID's older dialect sends it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


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
    given = value if isinstance(value, list) else [value]
    if verb == "remove":
        elements = (normalise_element(attribute, one, path, []) for one in given)
        removed = [element for element in elements if element is not None]
        work.spend_on(attribute, before, times=len(set(map(telling, removed))))
        return without(attribute, before, removed) or None
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
    write = _element_writer(verb, target, value, ignored, work)
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
    verb: Verb, target: Target, value: Any, ignored: Ignored, work: Work
) -> Callable[[Any], Any]:
    """What becomes of one selected element; None: it goes."""
    attribute, sub = target.attribute, target.sub
    if sub is not None:
        return lambda element: _with_sub(verb, target, sub, element, value, ignored, work)
    if verb == "remove":
        return lambda _: None
    given = _unwrapped(value)
    normal = normalise_element(attribute, given, target.path, ignored)
    if attribute.type != "complex":
        return lambda _: normal
    if verb == "replace":
        return lambda _: {**(target.implied or {}), **normal} if normal else None
    names = named(attribute, given) if isinstance(given, dict) else set(normal or ())
    return lambda element: completed(attribute, element, names, normal or {})


def _with_created(verb: Verb, target: Target, elements: Sequence[Any], written: Any) -> list[Any]:
    """The elements with one more, that the target's filter selects."""
    if written is None:
        return list(elements)
    attribute, condition = target.attribute, target.condition
    if condition is None:
        return [*elements, written]
    if target.implied is not None:
        element = {**target.implied, **written}
        if element_matches(attribute, condition, element):
            if verb == "replace" and target.sub is None:  # nothing that is there is completed
                place = len(elements)
                return settled([*elements, element], [place] if is_primary(element) else ())
            return _joined(verb, attribute, elements, [element], target.name)
    raise NoTarget(
        f"No element of {target.name} matches the filter in the path, and none can be created"
        " from it. Add the element first."
    )


def _check_change(verb: Verb, attribute: Attribute, before: Any, after: Any, path: str) -> None:
    """Raises where an attribute that had another value may not have this one."""
    if before is None or before == after:
        return
    if attribute.mutability == "immutable":
        raise MutabilityViolation(f"{path} is set already and cannot be changed afterwards.")
    if after is None and attribute.required:
        error = MutabilityViolation if verb == "remove" else InvalidValue
        raise error(f"{path} is required and cannot be removed or cleared. Map a value to it.")
    _check_subs(verb, attribute, before, after, path)


def _check_subs(verb: Verb, attribute: Attribute, before: Any, after: Any, path: str) -> None:
    """The same for the sub-attributes of a complex value that stays."""
    if before is after or not isinstance(before, dict) or not isinstance(after, dict):
        return
    for sub in _guarded(attribute):
        name = sub.name
        _check_change(verb, sub, before.get(name), after.get(name), f"{path}.{name}")


@cache
def _guarded(attribute: Attribute) -> tuple[Attribute, ...]:
    """The sub-attributes that not every change may be made to."""
    subs = attribute.sub_attributes.values()
    return tuple(sub for sub in subs if sub.mutability == "immutable" or sub.required)


def _check_complete(
    resource_type: ResourceType, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Raises InvalidValue where a required attribute is missing. A resource that lacked one
    before (a schema may have got stricter since) can still be changed, deactivated above all."""
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
