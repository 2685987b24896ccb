"""How a resource is shown, searched, versioned and listed.

`searchable` and `comparable` define what equality and order mean for every attribute; filters,
sorting and reservations all rest on them. `Projection` says which attributes an answer carries
(RFC 7643 section 7 "returned", RFC 7644 section 3.9).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from scim.protocol.errors import InvalidValue
from scim.protocol.scalars import Scalar, fold, folds, utc
from scim.protocol.schema import Attribute, ResourceType, Schema, attribute_path

LEADING = "$leading"
"""In `search`: the path of a multi-valued attribute → the value that sorting goes by."""
LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

# The comparable form


def comparable(attribute: Attribute, value: Scalar) -> Scalar:
    """A value in the form in which values of this attribute are compared.

    Strings are folded (`scalars.fold`) unless the attribute is caseExact, dateTimes become UTC in
    a fixed width, everything else stays. Raises InvalidValue for a string that is no dateTime
    where the attribute is one.
    """
    convert = _scalar_form(attribute)
    if convert is None or not isinstance(value, str):
        return value
    try:
        return convert(value)
    except ValueError:
        raise InvalidValue(
            f"'{attribute.name}' is a date and time such as 2026-01-31T08:00:00Z and cannot be "
            f"compared with {value[:60]!r}."
        ) from None


def stored_forms(attribute: Attribute, value: Scalar) -> tuple[Scalar, ...]:
    """The comparable forms that documents may hold of a value, the present one first."""
    form = comparable(attribute, value)
    if _scalar_form(attribute) is fold and isinstance(value, str):
        return folds(value)
    return (form,)


def searchable(
    resource_type: ResourceType, resource: dict[str, Any], created: str, modified: str
) -> dict[str, Any]:
    """The comparable form of a canonical resource, with `meta`, for the document's `search`.

    Same structure as the resource; parts that need no change are shared with it, not copied.
    LEADING holds what it is sorted by where an attribute has several values.
    """
    form = _converted(_forms(resource_type), resource)
    leading = {
        attribute_path(keys): value
        for keys in _arrays(resource_type)
        if (value := _leading(form, keys)) is not None
    }
    if leading:
        form[LEADING] = leading
    form["meta"] = {
        "resourceType": resource_type.name,
        "created": utc(created),
        "lastModified": utc(modified),
    }
    return form


@cache
def _arrays(resource_type: ResourceType) -> tuple[tuple[str, ...], ...]:
    """Where multi-valued attributes that can be sorted by are."""
    found: list[tuple[tuple[str, ...], Attribute]] = []
    for attribute in resource_type.attributes.values():
        if ":" in attribute.name:  # an extension
            parts = attribute.sub_attributes.values()
            found += [((attribute.name, part.name), part) for part in parts]
        else:
            found.append(((attribute.name,), attribute))
    return tuple(
        keys for keys, each in found if each.multi_valued and each.mutability != "readOnly"
    )


def _leading(form: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the primary element, or else of the first one (RFC 7644 section 3.4.2.3)."""
    elements: Any = form
    for key in keys:
        elements = elements.get(key)
        if elements is None:
            return None
    if not isinstance(elements[0], dict):
        return elements[0]
    primary = (element for element in elements if element.get("primary") is True)
    return next(primary, elements[0]).get("value")


type _Form = Callable[[Any], Any]


def _scalar_form(attribute: Attribute) -> Callable[[str], str] | None:
    if attribute.type == "dateTime":
        return utc
    if attribute.type in ("string", "reference") and not attribute.case_exact:
        return fold
    return None


def _form(attribute: Attribute) -> _Form | None:
    """What turns a canonical value into its comparable form; None where they are the same."""
    convert: _Form | None = _scalar_form(attribute)
    if attribute.type == "complex":
        forms = _forms_of(attribute.sub_attributes.values())
        convert = (lambda value: _converted(forms, value)) if forms else None
    if convert is None or not attribute.multi_valued:
        return convert
    return lambda values: [convert(value) for value in values]


def _forms_of(attributes: Iterable[Attribute]) -> dict[str, _Form]:
    pairs = ((attribute.name, _form(attribute)) for attribute in attributes)
    return {name: form for name, form in pairs if form}


@cache
def _forms(resource_type: ResourceType) -> dict[str, _Form]:
    return _forms_of(resource_type.attributes.values())


def _converted(forms: Mapping[str, _Form], value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: forms[key](item) if key in forms else item for key, item in value.items()}


# Projection

type _Names = dict[str, _Names | None]
"""Attributes that a client named, by canonical name; None: all of it, else some of its parts."""

type _Plan = dict[str, _Plan | None]
"""What is shown, by canonical name; None: all of it."""


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

        Unknown names are passed over; an empty parameter is none. RFC 7644 section 3.9 gives no
        meaning to both at once; Microsoft's library sends them: what `attributes` names is shown,
        without what `excludedAttributes` names. Raises InvalidValue.
        """
        shown = _named(resource_type, attributes, "attributes")
        hidden = _named(resource_type, excluded, "excludedAttributes")
        return _projection(resource_type, shown, hidden)

    def wants(self, name: str) -> bool:
        """Whether anything of the attribute at the resource's root is shown."""
        return name in self._plan

    def apply(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """What is shown of a resource; the parts are shared with it, not copied."""
        return _shown(self._plan, resource)


type _Paths = frozenset[tuple[str, ...]]


def _named(
    resource_type: ResourceType, parameter: str | Sequence[str] | None, name: str
) -> _Paths | None:
    """The attributes that a parameter names; None where it names nothing, known or unknown."""
    # Microsoft's library encodes URNs twice; no name of an attribute holds a percent sign.
    parts = unquote(parameter).split(",") if isinstance(parameter, str) else parameter or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise InvalidValue(f"'{name}' must be names of attributes.")
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
    """Canonical keys of what a name leads to, see `ResourceType.locate`; empty where there is no
    such attribute."""
    location = resource_type.locate(name)
    if isinstance(location, Schema):
        return (location.id,)
    return location.keys if location else ()


def _plan(attributes: Mapping[str, Attribute], named: _Names | None, hidden: _Names) -> _Plan:
    """What of these is shown where the client named some (None: wants the default set) and hid
    some of them."""
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
        # Of a complex attribute that is not shown, what is returned "always" is shown all the same.
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


# Answers


def render(
    resource_type: ResourceType, document: Mapping[str, Any], etag: str, location: str
) -> dict[str, Any]:
    """A stored user or group as a client sees it, with `meta` (RFC 7643 section 3.1).

    `document` has `resource`, `created` and `modified`; `location` is the resource's URL. The
    parts are shared with the document, not copied.
    """
    resource = document["resource"]
    return {
        "schemas": resource["schemas"],
        "id": resource["id"],
        **resource_type.defaults,  # of one that was stored before they were
        **resource,
        "meta": {
            "resourceType": resource_type.name,
            "created": document["created"],
            "lastModified": document["modified"],
            "location": location,
            "version": weak(etag),
        },
    }


def list_response(
    resources: Sequence[Mapping[str, Any]], total: int, start_index: int | None = 1
) -> dict[str, Any]:
    """A page of a list (RFC 7644 section 3.4.2). `total` counts all pages, `start_index` is that
    of the first resource here, from 1, and None where the client pages by cursor. Entra ID wants
    `Resources` even where it is empty."""
    start = {} if start_index is None else {"startIndex": start_index}
    return {
        "schemas": [LIST_RESPONSE],
        "totalResults": total,
        **start,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }


# Versions (RFC 7644 section 3.14)


def weak(etag: str, beyond: Sequence[Any] = ()) -> str:
    """The store's ETag as the weak entity tag that clients see: `W/"…"`.

    `beyond` is the JSON that the answer depends on besides and that may change without the
    resource, such as the names of a group's members. Where there is any, its digest follows a
    full stop, so that the tag changes with it: `W/"17-0.5d41402abc4b2a76"`.
    """
    if not beyond:
        return f'W/"{_opaque(etag)}"'
    digest = hashlib.blake2b(orjson.dumps(beyond), digest_size=8).hexdigest()
    return f'W/"{_opaque(etag)}{_DIGEST}{digest}"'


def names_answer(header: str, tag: str) -> bool:
    """Whether an If-None-Match header names this tag of an answer.

    `*` names every one. Tags are compared weakly, in lists and in either form, since all of ours
    are weak (RFC 9110 section 8.8.3.2); tags without quotes are understood.
    """
    return _names(header, _opaque(tag), _opaque)


def names_version(header: str, etag: str) -> bool:
    """Whether an If-Match header names this ETag of the store, whatever else the answer showed in
    which the client found it: a member's new name is no reason to refuse a change of the group."""
    return _names(header, _opaque(etag), lambda tag: _opaque(tag).partition(_DIGEST)[0])


def _names(header: str, wanted: str, form: Callable[[str], str]) -> bool:
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or wanted in map(form, tags)


_DIGEST = "."
"""No store's ETag has one."""


def _opaque(tag: str) -> str:
    """Cosmos DB's ETags come with quotes, SQLite's without."""
    return tag.removeprefix("W/").strip('"')
