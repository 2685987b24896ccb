"""Strategies: what clients send, from well-formed bodies to anything that is JSON."""

import dataclasses
from typing import Any

from hypothesis import strategies as st

from scim.protocol.schema import Attribute, ResourceType, load_resource_types, load_schema

EXTENSION = {
    "id": "urn:example:params:scim:schemas:extension:staff:2.0:User",
    "name": "Staff",
    "description": "An attribute of every kind",
    "attributes": [
        {"name": "startDate", "type": "dateTime"},
        {"name": "floor", "type": "integer"},
        {"name": "share", "type": "decimal"},
        {"name": "badge", "type": "string", "mutability": "immutable", "caseExact": True},
        {"name": "rank", "type": "string", "mutability": "readOnly"},
        {"name": "pin", "type": "string", "mutability": "writeOnly", "returned": "never"},
        {"name": "skills", "type": "string", "multiValued": True},
        {"name": "notes", "type": "string", "returned": "request"},
        {
            "name": "desks",
            "type": "complex",
            "multiValued": True,
            "subAttributes": [
                {"name": "value", "returned": "always"},
                {"name": "since", "type": "dateTime"},
                {"name": "keys", "multiValued": True},
                {"name": "code", "returned": "never"},
                {"name": "remark", "returned": "request"},
            ],
        },
        {
            "name": "contract",
            "type": "complex",
            "subAttributes": [
                {"name": "number", "mutability": "immutable"},
                {"name": "kind", "type": "string"},
            ],
        },
    ],
}
STAFF = str(EXTENSION["id"])


def with_staff() -> ResourceType:
    """Users with the enterprise extension and EXTENSION."""
    user = load_resource_types()["User"]
    staff = load_schema(EXTENSION, "staff.json")
    return dataclasses.replace(user, extensions={**user.extensions, STAFF.lower(): staff})


USER = with_staff()
GROUP = load_resource_types()["Group"]

hostile = st.sampled_from(
    ["", "\0", "a\0b", "\ud800", "x\udfff", "True", "ſ", "İ", "9" * 500, 10**400, -(2**53), 1e308]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), hostile
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)

_digits = st.integers(-(2**53) + 1, 2**53 - 1)
_fractions = st.sampled_from(["", ".5", ".123456789"])
_zones = st.sampled_from(["", "Z", "+00:00", "-11:30", "+14:00"])
date_times = st.builds(
    lambda moment, fraction, zone: moment.isoformat(timespec="seconds") + fraction + zone,
    st.datetimes().filter(lambda moment: 1 < moment.year < 9999),
    _fractions,
    _zones,
)
_simple: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "reference": st.sampled_from(["https://Example.com/a", "../Users/1"]),
    "boolean": st.one_of(st.booleans(), st.sampled_from(["True", "false", "TRUE"])),
    "integer": st.one_of(_digits, _digits.map(str)),
    "decimal": st.one_of(_digits, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9).map(str)),
    "dateTime": date_times,
    "binary": st.sampled_from(["AQID", "AQI=", "AQ", "_-8"]),
}
_cases = st.sampled_from([str, str.lower, str.upper, str.title])


def values_of(attribute: Attribute) -> st.SearchStrategy[Any]:
    """What Entra ID or another client sends for an attribute: right, or in a known dialect."""
    if attribute.type == "complex":
        single = members_of(attribute.sub_attributes.values())
        if "value" in attribute.sub_attributes:
            single |= _simple[attribute.sub_attributes["value"].type]
    else:
        single = _simple[attribute.type]
    unassigned: st.SearchStrategy[Any] = st.sampled_from([None, "", [], {}])
    if not attribute.multi_valued:
        return st.one_of(single, single.map(lambda value: [value]), unassigned)
    several = st.lists(single, max_size=3).map(_one_primary)
    return st.one_of(several, single, unassigned)


def members_of(attributes: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these attributes, their names in any case."""
    pairs = [st.tuples(_cases, values_of(attribute)) for attribute in attributes]
    names = [attribute.name for attribute in attributes]
    chosen = st.lists(st.sampled_from(range(len(names))), unique=True, max_size=6)
    return chosen.flatmap(
        lambda indexes: st.tuples(*(pairs[index] for index in indexes)).map(
            lambda values: {
                case(names[index]): value
                for index, (case, value) in zip(indexes, values, strict=True)
            }
        )
    )


def _one_primary(elements: list[Any]) -> list[Any]:
    primary = False
    result = []
    for element in elements:
        if isinstance(element, dict):
            key = next((key for key in element if key.lower() == "primary"), None)
            if key and primary:
                element = {name: value for name, value in element.items() if name != key}
            primary = primary or bool(key)
        result.append(element)
    return result


def bodies(resource_type: ResourceType) -> st.SearchStrategy[dict[str, Any]]:
    """A body of a POST that a client may send, with its required attribute."""
    attributes = [
        attribute
        for attribute in resource_type.attributes.values()
        if attribute.name not in ("schemas", "userName", "displayName")
    ]
    name = st.text("aBcÅß", min_size=1)
    required = "userName" if resource_type.name == "User" else "displayName"
    return st.builds(
        lambda body, value: {"schemas": [resource_type.schema.id], required: value, **body},
        members_of(attributes),
        name,
    )
