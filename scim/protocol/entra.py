"""Translates requests of Microsoft Entra ID to RFC 7644.

Only the shape of requests is changed here; values stay as they are. Known shapes:

    "op": "Add" | "REPLACE"                          → "add" | "replace"
    no path, {"name.givenName": …, "urn:…": {…}}     → one operation per key
    POST {"name.givenName": …, "department": …}      → {"name": {…}, "urn:…:User": {…}}
    roles [{"value": "{\\"value\\": \\"Admin\\", …}"}]      → {"value": "Admin", "display": …}
    roles [{"displayName": "Admin", …}]              → {"display": "Admin", …}
    path "members", {"members": [{"value": …}]}      → [{"value": …}]
    "value": "{\\"displayName\\": …}", no path         → the object in the text

Sources: Microsoft's "Develop and plan provisioning for a SCIM endpoint", its SCIM compatibility
article and its list of attribute mapping functions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from scim.protocol.body import check_message, in_json_text
from scim.protocol.errors import InvalidSyntax, InvalidValue, NoTarget, PayloadTooLarge, ScimError
from scim.protocol.schema import Location, ResourceType

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MAXIMUM_OPERATIONS = 1_000
"""Operations in one PATCH; each key of a path-less operation's value counts as one. Entra ID sends
one per attribute, or one per removed member."""

type Verb = Literal["add", "replace", "remove"]

_VERBS: Mapping[str, Verb] = {"add": "add", "replace": "replace", "remove": "remove"}
_ROLES = re.compile(
    r"(?P<attribute>(?:urn:ietf:params:scim:schemas:core:2\.0:User[:.])?roles(?:\[.*\])?)"
    r"(?:\.(?P<sub>\w+))?",
    re.IGNORECASE | re.DOTALL,
)
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Operation:
    """One PATCH operation with a path (RFC 7644 section 3.5.2).

    `value` is None where the client sent null or, for `remove`, no value; `is_null` distinguishes
    the two. `position` is the index in the client's `Operations`, for error details.
    `in_object`: the path is a name in an object of attributes, such as the value of a path-less
    operation.
    """

    op: Verb
    path: str
    value: Any = None
    position: int = 0
    is_null: bool = False
    in_object: bool = False

    def blamed(self, error: ScimError) -> ScimError:
        """The error with a detail that names this operation."""
        return type(error)(f"Operations[{self.position}] ({self.op}): {error.detail}")


def operations(body: object) -> list[Operation]:
    """The operations of a PATCH body, in the order in which they apply.

    A path-less `add` or `replace` becomes one operation per key of its value, except `schemas`,
    which follow from the other values.

    Raises InvalidSyntax when the body is not a PatchOp message, InvalidValue when an operation
    lacks its value, NoTarget for a `remove` without a path, PayloadTooLarge beyond
    MAXIMUM_OPERATIONS.
    """
    if not isinstance(body, dict):
        raise InvalidSyntax("The body of a PATCH must be a JSON object with `Operations`.")
    schemas = _member(body, "schemas")
    check_message(None if schemas is _ABSENT else schemas, PATCH_OP)
    items = _member(body, "Operations")
    if not isinstance(items, list) or not items:
        raise InvalidSyntax("`Operations` must be an array of at least one operation.")
    found: list[Operation] = []
    for position, item in enumerate(items):
        found += _operation(item, position)
        check_number(len(found))
    return found


def check_number(operations: int) -> None:
    """Raises PayloadTooLarge for more operations than one PATCH may have."""
    if operations > MAXIMUM_OPERATIONS:
        raise PayloadTooLarge(
            f"The PATCH comes to {operations} operations, every attribute of a value without a path"
            f" counted as one; at most {MAXIMUM_OPERATIONS} are taken. Send the rest in further"
            " requests."
        )


def resource(resource_type: ResourceType, body: object) -> dict[str, Any]:
    """The resource in the body of a POST or PUT, nested as in RFC 7643.

    A key that is the path of a nested attribute (`"name.givenName"`, `"urn:…:User:manager"`,
    `"department"`: see `ResourceType.locate`) is moved there, unless that already has a value;
    roles are rewritten. The body itself is not changed. Raises InvalidSyntax when the body is not
    an object, InvalidValue when a path leads into a value that is not an object.
    """
    if not isinstance(body, dict):
        raise InvalidSyntax("The body must be a JSON object: the resource.")
    result: dict[str, Any] = {}
    nested: list[tuple[tuple[str, ...], Any]] = []
    for key, value in body.items():
        location = resource_type.locate(key)
        if isinstance(location, Location) and key.lower() != location.keys[0].lower():
            nested.append((location.keys, value))
        else:
            result[key] = value
    if nested:
        nest = _Nest(result)
        for keys, value in nested:
            nest.place(keys, value)
        result = nest.values
    for key in result:
        if key.lower() == "roles":
            result[key] = _roles(result[key])
    return result


def _operation(item: object, position: int) -> Iterator[Operation]:
    where = f"Operations[{position}]"
    if not isinstance(item, dict):
        raise InvalidSyntax(f"{where} must be an object with `op`, `path` and `value`.")
    op = _member(item, "op")
    verb = _VERBS.get(op.lower()) if isinstance(op, str) else None
    if verb is None:
        sent = "missing" if op is _ABSENT else f"{_shown(op)}"
        raise InvalidSyntax(f"{where}.op is {sent}; it must be add, replace or remove.")
    path = _member(item, "path")
    if not (path is _ABSENT or path is None or isinstance(path, str)):
        raise InvalidSyntax(f"{where}.path must be a string.")
    value = _member(item, "value")
    is_null = value is None
    if verb == "remove":
        if not isinstance(path, str) or not path.strip():
            raise NoTarget(f"{where} removes without a `path`; name the attribute to remove.")
        value = None if value is _ABSENT else value
    elif value is _ABSENT:
        raise InvalidValue(f"{where} has no `value`; {verb} needs one (null clears).")
    if isinstance(path, str) and path.strip():
        path = path.strip()
        value = _below_its_name(path, value)
        yield _with_roles(Operation(verb, path, value, position, is_null))
    else:
        yield from _per_key(verb, value, position)


def _per_key(verb: Verb, value: Any, position: int) -> Iterator[Operation]:
    """One operation per key of the value of a path-less `add` or `replace`."""
    value = in_json_text(value)
    if not isinstance(value, dict):
        raise InvalidValue(
            f"Operations[{position}] has no `path`, so its `value` must be an object of attributes."
        )
    check_number(len(value))
    for key, one in value.items():
        if key.lower() != "schemas":
            yield _with_roles(Operation(verb, key, one, position, in_object=True))


def _below_its_name(path: str, value: Any) -> Any:
    """The value of an operation, also where it is nested under the path's attribute once more."""
    inside = in_json_text(value)
    if isinstance(inside, dict) and [key.lower() for key in inside] == [path.lower()]:
        (only,) = inside.values()
        return value if only is None else only  # null must not become a remove without a value
    return value


def _member(item: Mapping[str, Any], name: str) -> Any:
    """The member of that name in any case, or `_ABSENT`."""
    if name in item:
        return item[name]
    folded = name.lower()
    return next((value for key, value in item.items() if key.lower() == folded), _ABSENT)


def _shown(value: object) -> str:
    """A value of the message in a form that an error may quote: short, and only if a string."""
    return f'"{value[:20]}"' if isinstance(value, str) else "no string"


def _with_roles(operation: Operation) -> Operation:
    """The operation with its roles in the form of RFC 7643, if it is about roles."""
    target = _ROLES.fullmatch(operation.path)
    if target is None:
        return operation
    path, value = operation.path, operation.value
    if target["sub"] is None:
        value = _roles(value)
    elif target["sub"].lower() == "displayname":
        path = f"{target['attribute']}.display"
    return replace(operation, path=path, value=value)


def _roles(value: Any) -> Any:
    value = in_json_text(value)
    return [_role(role) for role in value] if isinstance(value, list) else _role(value)


def _role(role: Any) -> Any:
    """A role whose `value` may be an app role assignment as JSON text, and whose display name may
    be called `displayName`."""
    role = in_json_text(role)
    if not isinstance(role, dict):
        return role
    names = {key.lower(): key for key in role}
    result = {key: value for key, value in role.items() if key.lower() != "displayname"}
    display = role.get(names.get("displayname", "displayName"))
    inside = in_json_text(role.get(names.get("value", "value")))
    assignment = inside if isinstance(inside, dict) else {}
    # `User`, the role that every new application has, has a name but no value.
    if value := assignment.get("value") or assignment.get("displayName"):
        result[names["value"]] = value
        display = assignment.get("displayName") or display
    if display is not None and result.get(names.get("display", "display")) is None:
        result[names.get("display", "display")] = display
    return result


class _Nest:
    """A copy of an object whose members are found by name in any case, in constant time; an inner
    object is copied once, when something is placed in it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self._inner: dict[str, _Nest] = {}
        self._names: dict[str, str] = {}
        """Name in lower case → its first spelling."""
        for name in values:
            self._names.setdefault(name.lower(), name)

    def place(self, keys: Sequence[str], value: Any) -> None:
        """Set the value below these keys, unless there is one already. Raises InvalidValue where a
        key leads into a value that is not an object."""
        head, *rest = keys
        name = self._names.setdefault(head.lower(), head)
        if not rest:
            if self.values.get(name) is None:
                self.values[name] = value
            return
        if name not in self._inner:
            there = self.values.get(name)
            if there is not None and not isinstance(there, dict):
                raise InvalidValue(
                    f"`{name}` must be an object, because `{'.'.join(keys)}` is set too."
                )
            self._inner[name] = _Nest(there or {})
            self.values[name] = self._inner[name].values
        self._inner[name].place(rest, value)
