"""PATCH on a resource: RFC 7644 section 3.5.2 verb by verb, and every shape that Entra ID sends."""

import copy
import dataclasses
import json
from typing import Any

import pytest

from scim.protocol import entra, patch
from scim.protocol.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidValue,
    MutabilityViolation,
    NoTarget,
    ScimError,
)
from scim.protocol.schema import load_schema
from scim.protocol.validation import MOST_ELEMENTS, Changed
from tests.unit.payloads import EXTENSION, GROUP, STAFF, USER

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORK = 'emails[type eq "work"]'
BARBARA: dict[str, Any] = {
    "schemas": [CORE],
    "id": "u1",
    "userName": "bjensen@example.com",
    "active": True,
    "name": {"formatted": "Barbara Jensen", "givenName": "Barbara", "familyName": "Jensen"},
    "emails": [{"type": "work", "primary": True, "value": "b@example.com"}],
}
HOME = {"type": "home", "value": "home@example.com"}


def user(**attributes: Any) -> dict[str, Any]:
    """Barbara with these attributes, None for without."""
    resource = copy.deepcopy(BARBARA) | attributes
    extensions = [urn for urn in (ENTERPRISE, STAFF) if attributes.get(urn)]
    resource["schemas"] = [CORE, *extensions]
    return {name: value for name, value in resource.items() if value is not None}


def apply(before: dict[str, Any], *operations: dict[str, Any]) -> Changed:
    """The change; fails where it touches `before` itself."""
    copied = copy.deepcopy(before)
    try:
        return patch.apply(USER, before, entra.operations({"Operations": list(operations)}))
    finally:
        assert before == copied


def op(verb: str, path: str | None, *value: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {"op": verb}
    if path is not None:
        operation["path"] = path
    if value:
        (operation["value"],) = value
    return operation


def emails(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"emails": list(elements)}


(MAIL,) = BARBARA["emails"]
PLAIN = {"type": "work", "value": "b@example.com"}

ADD: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # before, operation, after
    ({}, op("add", "title", "Guide"), {"title": "Guide"}),
    ({"title": "Guide"}, op("add", "title", "Chief"), {"title": "Chief"}),
    ({"title": "Guide"}, op("add", "title", ""), {"title": None}),
    ({}, op("add", "name.middleName", "J"), {"name": BARBARA["name"] | {"middleName": "J"}}),
    ({}, op("add", "name", {"middleName": "J"}), {"name": BARBARA["name"] | {"middleName": "J"}}),
    ({"name": None}, op("add", "name.givenName", "B"), {"name": {"givenName": "B"}}),
    ({}, op("add", "emails", [HOME]), emails(MAIL, HOME)),
    ({}, op("add", "emails", HOME), emails(MAIL, HOME)),
    ({}, op("add", "emails", [HOME, HOME]), emails(MAIL, HOME)),
    ({}, op("add", "emails", []), {}),
    ({}, op("add", "emails", None), {}),
    ({"emails": None}, op("add", "emails", [HOME]), emails(HOME)),
    # what is there already, also in another case, is completed and not doubled
    ({}, op("add", "emails", [MAIL]), {}),
    ({}, op("add", "emails", [PLAIN]), {}),
    (
        emails(PLAIN, PLAIN | {"display": "B"}),
        op("add", "emails", [PLAIN | {"display": "B"}]),
        emails(PLAIN, PLAIN | {"display": "B"}),
    ),
    (
        {},
        op("add", "emails", [{"type": "WORK", "value": "B@example.com", "display": "B"}]),
        emails({"type": "WORK", "value": "B@example.com", "primary": True, "display": "B"}),
    ),
    ({}, op("add", "emails", [{"value": "b@example.com"}]), emails(MAIL, {"value": MAIL["value"]})),
    (
        {"addresses": [{"type": "work", "locality": "Oslo"}]},
        op("add", "addresses", [{"locality": "oslo", "type": "work"}]),
        {"addresses": [{"locality": "oslo", "type": "work"}]},
    ),
    # a new primary takes over
    (
        {},
        op("add", "emails", [HOME | {"primary": True}]),
        emails(MAIL | {"primary": False}, HOME | {"primary": True}),
    ),
    (
        emails(MAIL, HOME),
        op("add", "emails", [HOME | {"primary": "True"}]),
        emails(MAIL | {"primary": False}, HOME | {"primary": True}),
    ),
    (
        emails(MAIL),
        op("add", "emails", [PLAIN | {"display": "B"}, HOME | {"primary": True}]),
        emails(MAIL | {"primary": False, "display": "B"}, HOME | {"primary": True}),
    ),
    # elements that a filter selects
    ({}, op("add", f"{WORK}.display", "B"), emails(MAIL | {"display": "B"})),
    ({}, op("add", WORK, {"display": "B"}), emails(MAIL | {"display": "B"})),
    ({}, op("add", WORK, "new@example.com"), emails(MAIL | {"value": "new@example.com"})),
    ({}, op("add", WORK, None), {}),
    (emails(MAIL | {"display": "B"}), op("add", WORK, {"DISPLAY": ""}), emails(MAIL)),
    ({}, op("add", 'emails[type eq "home"]', HOME["value"]), emails(MAIL, HOME)),
    ({}, op("add", 'emails[type eq "home"]', [{"value": HOME["value"]}]), emails(MAIL, HOME)),
    ({}, op("add", 'emails[type eq "home"].value', HOME["value"]), emails(MAIL, HOME)),
    (
        {},
        op("add", 'emails[type eq "home" and primary eq true].value', "h@example.com"),
        emails(
            MAIL | {"primary": False},
            {"type": "home", "primary": True, "value": "h@example.com"},
        ),
    ),
    (
        {"emails": None},
        op("add", 'emails[type eq "home" and display eq null].value', "h@example.com"),
        emails({"type": "home", "value": "h@example.com"}),
    ),
    ({"emails": None}, op("add", "emails.value", "a@b"), emails({"value": "a@b"})),
    # simple multi-valued attributes, and multi-valued sub-attributes
    ({}, op("add", f"{STAFF}:skills", ["a", "b", "a"]), {STAFF: {"skills": ["a", "b"]}}),
    (
        {STAFF: {"skills": ["a"]}},
        op("add", f"{STAFF}:skills", ["A", "b"]),
        {STAFF: {"skills": ["a", "b"]}},
    ),
    (
        {STAFF: {"desks": [{"value": "1", "keys": ["x"]}]}},
        op("add", f'{STAFF}:desks[value eq "1"].keys', ["y", "x"]),
        {STAFF: {"desks": [{"value": "1", "keys": ["x", "y"]}]}},
    ),
    # without a path
    (
        {},
        op("add", None, {"title": "Guide", "name.middleName": "J", "emails": [HOME]}),
        {"title": "Guide", "name": BARBARA["name"] | {"middleName": "J"}, **emails(MAIL, HOME)},
    ),
    # a schema's URN
    ({}, op("add", ENTERPRISE, {"department": "D"}), {ENTERPRISE: {"department": "D"}}),
    (
        {ENTERPRISE: {"costCenter": "1"}},
        op("add", ENTERPRISE.upper(), {"DEPARTMENT": "D", "manager.value": "m"}),
        {ENTERPRISE: {"costCenter": "1", "department": "D", "manager": {"value": "m"}}},
    ),
    ({}, op("add", CORE, {"title": "Guide"}), {"title": "Guide"}),
    ({}, op("add", f"{CORE}:title", "Guide"), {"title": "Guide"}),
    (
        {},
        op("add", None, {CORE: {"name.middleName": "J"}}),
        {"name": BARBARA["name"] | {"middleName": "J"}},
    ),
    ({}, op("add", ENTERPRISE, {}), {}),
    # secrets are not kept
    ({}, op("add", "password", "t1meMa$heen"), {}),
]

REPLACE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, op("replace", "userName", "new"), {"userName": "new"}),
    ({}, op("replace", "USERNAME", "new"), {"userName": "new"}),
    ({}, op("replace", "title", "Guide"), {"title": "Guide"}),
    ({"title": "Guide"}, op("replace", "title", None), {"title": None}),
    ({"title": "Guide"}, op("replace", "title", []), {"title": None}),
    # of a complex attribute, the given sub-attributes
    (
        {},
        op("replace", "name", {"familyName": "Smith", "GIVENNAME": None}),
        {"name": {"formatted": "Barbara Jensen", "familyName": "Smith"}},
    ),
    (
        {},
        op("replace", "name", [{"familyName": "Smith"}]),
        {"name": BARBARA["name"] | {"familyName": "Smith"}},
    ),
    ({}, op("replace", "name", None), {"name": None}),
    ({}, op("replace", "name", {}), {}),
    (
        {"name": {"givenName": "B"}},
        op("replace", "name", {"givenName": "", "familyName": "J"}),
        {"name": {"familyName": "J"}},
    ),
    ({"name": {"givenName": "B"}}, op("replace", "name.givenName", ""), {"name": None}),
    # the array of a multi-valued one
    ({}, op("replace", "emails", [HOME]), emails(HOME)),
    ({}, op("replace", "emails", []), {"emails": None}),
    ({}, op("replace", "emails", None), {"emails": None}),
    # elements that a filter selects
    (
        {},
        op("replace", f"{WORK}.value", "new@example.com"),
        emails(MAIL | {"value": "new@example.com"}),
    ),
    (
        emails(MAIL, HOME),
        op("replace", f"{WORK}.value", "n@b"),
        emails(MAIL | {"value": "n@b"}, HOME),
    ),
    ({}, op("replace", WORK, {"value": "n@b"}), emails({"type": "work", "value": "n@b"})),
    ({}, op("replace", WORK, HOME), emails(HOME)),
    (
        {},
        op("replace", 'emails[value eq "b@example.com"]', {"value": "n@b"}),
        emails({"type": "work", "value": "n@b"}),
    ),
    (
        {},
        op("replace", 'emails[value eq "b@example.com"]', [{"value": "n@b", "type": None}]),
        emails({"value": "n@b"}),
    ),
    ({}, op("replace", 'emails[value eq "b@example.com"]', HOME), emails(HOME)),
    (emails(MAIL, HOME), op("replace", WORK, HOME), emails(HOME)),
    (emails(MAIL, HOME), op("replace", WORK, None), emails(HOME)),
    ({}, op("replace", 'emails[type eq "home"].value', HOME["value"]), emails(MAIL, HOME)),
    ({}, op("replace", 'emails[type eq "home"]', HOME), emails(MAIL, HOME)),
    (
        {},
        op("replace", 'emails[type eq "home"]', HOME | {"primary": True}),
        emails(MAIL | {"primary": False}, HOME | {"primary": True}),
    ),
    (
        {},
        op("replace", 'emails[type eq "work" and display eq "B"]', MAIL["value"]),
        emails(MAIL, PLAIN | {"display": "B"}),
    ),
    (
        {},
        op("replace", 'emails[type eq "work" and display eq "B"].value', MAIL["value"]),
        emails(MAIL | {"display": "B"}),
    ),
    ({}, op("replace", 'emails[type eq "home"].value', ""), {}),
    ({}, op("replace", 'emails[type eq "home"]', None), {}),
    (
        {},
        op("replace", 'emails[value co "@example.com"].display', "B"),
        emails(MAIL | {"display": "B"}),
    ),
    (
        emails(MAIL, HOME),
        op("replace", 'emails[type eq "home"].primary', True),
        emails(MAIL | {"primary": False}, HOME | {"primary": True}),
    ),
    (
        emails(MAIL, HOME),
        op("replace", "emails.display", "B"),
        emails(MAIL | {"display": "B"}, HOME | {"display": "B"}),
    ),
    (emails(PLAIN, HOME), op("replace", "emails", HOME), emails(HOME)),
    # an element without a value goes, whatever described it
    ({}, op("replace", f"{WORK}.value", ""), {"emails": None}),
    (emails(MAIL, HOME), op("replace", f"{WORK}.value", None), emails(HOME)),
    (
        {STAFF: {"skills": ["a", "b"]}},
        op("replace", f'{STAFF}:skills[value eq "b"]', "c"),
        {STAFF: {"skills": ["a", "c"]}},
    ),
    (
        {ENTERPRISE: {"costCenter": "1", "department": "D"}},
        op("replace", ENTERPRISE, {"department": "E"}),
        {ENTERPRISE: {"costCenter": "1", "department": "E"}},
    ),
    ({ENTERPRISE: {"department": "D"}}, op("replace", ENTERPRISE, None), {ENTERPRISE: None}),
    (
        {ENTERPRISE: {"department": "D"}},
        op("replace", f"{ENTERPRISE}:department", ""),
        {ENTERPRISE: None},
    ),
    # immutable: the present value is no change
    ({STAFF: {"badge": "7"}}, op("replace", f"{STAFF}:badge", "7"), {}),
    (
        {STAFF: {"floor": 1}},
        op("replace", f"{STAFF}:badge", "7"),
        {STAFF: {"floor": 1, "badge": "7"}},
    ),
]

REMOVE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"title": "Guide"}, op("remove", "title"), {"title": None}),
    ({"title": "Guide"}, op("remove", "title", "whatever"), {"title": "Guide"}),
    ({"title": "Guide"}, op("remove", "title", "GUIDE"), {"title": None}),
    ({"title": "Guide"}, op("remove", "title", [{"value": "Guide"}]), {"title": None}),
    *(
        ({"title": "Guide"}, op("remove", "title", none), {"title": None})
        for none in (None, "", [], " ", {}, [None], {"value": ""})
    ),
    (
        {ENTERPRISE: {"costCenter": "1", "department": "D"}},
        op("remove", ENTERPRISE, {"department": "D", "costCenter": "2"}),
        {ENTERPRISE: {"costCenter": "1"}},
    ),
    *(
        ({}, op("remove", path, other), {})
        for path, other in [
            (f"{WORK}.value", "other@example.com"),
            (f"{WORK}.value", [{"value": "other@example.com"}]),
            (WORK, {"value": "other@example.com"}),
            ("name.givenName", "Ada"),
            ("userName", "other"),
        ]
    ),
    *(
        (emails(MAIL, HOME), op("remove", path, value), emails(HOME))
        for path, value in [
            (f"{WORK}.value", "B@example.com"),
            (f"{WORK}.value", [{"value": "b@example.com"}]),
            (WORK, "b@example.com"),
            (WORK, [{"value": "b@example.com"}]),
            (WORK, []),
        ]
    ),
    ({}, op("remove", "title"), {}),
    ({}, op("remove", "name"), {"name": None}),
    (
        {},
        op("remove", "name.formatted"),
        {"name": {"givenName": "Barbara", "familyName": "Jensen"}},
    ),
    ({"name": {"givenName": "B"}}, op("remove", "name.givenName"), {"name": None}),
    ({}, op("remove", "emails"), {"emails": None}),
    ({}, op("remove", "emails", None), {"emails": None}),
    ({}, op("remove", WORK), {"emails": None}),
    (emails(MAIL, HOME), op("remove", WORK), emails(HOME)),
    (emails(MAIL, HOME), op("remove", f"{WORK}.primary"), emails(PLAIN, HOME)),
    (emails(MAIL, HOME), op("remove", f"{WORK}.value"), emails(HOME)),
    (
        emails(MAIL, HOME),
        op("remove", "emails.type"),
        emails({"primary": True, "value": "b@example.com"}, {"value": HOME["value"]}),
    ),
    ({}, op("remove", 'emails[type eq "home"]'), {}),
    ({}, op("remove", 'emails[type eq "home"].value'), {}),
    ({}, op("remove", 'emails[not (type eq "home")]'), {"emails": None}),
    ({"emails": None}, op("remove", WORK), {}),
    # only the elements that the value names
    (emails(MAIL, HOME), op("remove", "emails", []), {**emails(MAIL, HOME)}),
    (emails(MAIL, HOME), op("remove", "emails", [{"value": "B@EXAMPLE.com"}]), emails(HOME)),
    (
        emails(MAIL, HOME),
        op("remove", "emails", [{"$ref": None, "value": "b@example.com"}]),
        emails(HOME),
    ),
    (emails(MAIL, HOME), op("remove", "emails", "b@example.com"), emails(HOME)),
    (
        emails(MAIL, HOME),
        op("remove", "emails", [{"value": "nobody@example.com"}]),
        emails(MAIL, HOME),
    ),
    (emails(MAIL, HOME), op("remove", "emails", [{"type": "home"}]), emails(MAIL)),
    (emails(MAIL, HOME), op("remove", "emails", [{}]), emails(MAIL, HOME)),
    (
        emails(PLAIN, PLAIN | {"type": "other"}),
        op("remove", "emails", [PLAIN]),
        emails(PLAIN | {"type": "other"}),
    ),
    (
        {STAFF: {"skills": ["a", "b"]}},
        op("remove", f"{STAFF}:skills", ["B"]),
        {STAFF: {"skills": ["a"]}},
    ),
    (
        {STAFF: {"skills": ["a", "b"]}},
        op("remove", f'{STAFF}:skills[value eq "a"]'),
        {STAFF: {"skills": ["b"]}},
    ),
    ({STAFF: {"skills": ["a"]}}, op("remove", f'{STAFF}:skills[value eq "a"]'), {STAFF: None}),
    (
        {ENTERPRISE: {"department": "D", "manager": {"value": "m"}}},
        op("remove", ENTERPRISE),
        {ENTERPRISE: None},
    ),
    ({}, op("remove", ENTERPRISE), {}),
    ({STAFF: {"floor": 1}}, op("remove", STAFF), {STAFF: None}),
]


def changes(
    rows: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]],
) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("before", "operation", "after"),
        rows,
        ids=[
            f"{n} {row[1].get('path')} {str(row[1].get('value'))[:40]}"
            for n, row in enumerate(rows)
        ],
    )


@changes(ADD)
def test_add(before: dict[str, Any], operation: dict[str, Any], after: dict[str, Any]) -> None:
    assert apply(user(**before), operation).resource == user(**(before | after))


@changes(REPLACE)
def test_replace(before: dict[str, Any], operation: dict[str, Any], after: dict[str, Any]) -> None:
    assert apply(user(**before), operation).resource == user(**(before | after))


@changes(REMOVE)
def test_remove(before: dict[str, Any], operation: dict[str, Any], after: dict[str, Any]) -> None:
    assert apply(user(**before), operation).resource == user(**(before | after))


ADMIN = '{"id":"06b07648-ecfe-589f-9d2f-6325724a46ee","value":"Admin","displayName":"Admin"}'
REPORTS = '{"id":"18d14569-c3bd-439b-9a66-3a2aee01d14f","value":"Reports","displayName":"Rep"}'
ADDRESS = {
    "formatted": "1 Main St",
    "streetAddress": "1 Main St",
    "locality": "Oslo",
    "region": "Oslo",
    "postalCode": "0150",
    "country": "NO",
}
MANAGER = f"{ENTERPRISE}:manager"
MANAGED = {ENTERPRISE: {"manager": {"value": "m1", "$ref": "https://x/Users/m1"}}}

ENTRA: list[tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = [
    # active
    ("False as text", {}, [op("Replace", "active", "False")], {"active": False}),
    ("false", {}, [op("replace", "active", False)], {"active": False}),
    ("false as text", {}, [op("Replace", "active", "false")], {"active": False}),
    ("without a path", {}, [op("replace", None, {"active": False})], {"active": False}),
    ("text without a path", {}, [op("replace", None, {"active": "False"})], {"active": False}),
    ("added", {"active": False}, [op("add", "active", True)], {"active": True}),
    # single values
    (
        "one Replace for each",
        {},
        [
            op("Replace", "displayName", "Bjfe"),
            op("Replace", f"{WORK}.value", "n@example.com"),
            op("Replace", "name.givenName", "Kkom"),
            op("Replace", "name.familyName", "Unua"),
            op("Replace", "externalId", "e1"),
            op("Replace", f"{ENTERPRISE}:employeeNumber", "Aklq"),
        ],
        {
            "displayName": "Bjfe",
            "name": {"formatted": "Barbara Jensen", "givenName": "Kkom", "familyName": "Unua"},
            "externalId": "e1",
            **emails(MAIL | {"value": "n@example.com"}),
            ENTERPRISE: {"employeeNumber": "Aklq"},
        },
    ),
    (
        "dotted and URN keys without a path",
        {},
        [
            op("replace", f"{WORK}.value", "n@example.com"),
            op(
                "replace",
                None,
                {
                    "displayName": "Bjfe",
                    "name.givenName": "Kkom",
                    "name.familyName": "Unua",
                    f"{ENTERPRISE}:employeeNumber": "Aklq",
                },
            ),
        ],
        {
            "displayName": "Bjfe",
            "name": {"formatted": "Barbara Jensen", "givenName": "Kkom", "familyName": "Unua"},
            **emails(MAIL | {"value": "n@example.com"}),
            ENTERPRISE: {"employeeNumber": "Aklq"},
        },
    ),
    ("Add sets", {"nickName": "B"}, [op("Add", "nickName", "Babs")], {"nickName": "Babs"}),
    (
        "a renamed person",
        {},
        [
            op("Replace", "userName", "smith@example.com"),
            op("Replace", f"{WORK}.value", "smith@example.com"),
            op("Replace", "name.familyName", "Smith"),
        ],
        {
            "userName": "smith@example.com",
            "name": BARBARA["name"] | {"familyName": "Smith"},
            **emails(MAIL | {"value": "smith@example.com"}),
        },
    ),
    (
        "a sub-attribute in another case",
        {},
        [op("Add", 'emails[type eq "other"].Value', "o@example.com")],
        emails(MAIL, {"type": "other", "value": "o@example.com"}),
    ),
    (
        "Replace name with an object",
        {},
        [op("Replace", "name", {"familyName": "Smith"})],
        {"name": BARBARA["name"] | {"familyName": "Smith"}},
    ),
    (
        "the dialect before December 2018",
        {},
        [op("Add", "name.givenName", [{"$ref": None, "value": "Bee"}])],
        {"name": BARBARA["name"] | {"givenName": "Bee"}},
    ),
    (
        "an extra id",
        {},
        [op("replace", None, {"id": "another", "title": "Guide"})],
        {"title": "Guide"},
    ),
    # multi-valued attributes
    (
        "a mail of a type that is not there",
        {"emails": None},
        [op("Add", f"{WORK}.value", "a@b")],
        emails({"type": "work", "value": "a@b"}),
    ),
    (
        "the same for a second type",
        {"emails": None},
        [
            op("Add", f"{WORK}.value", "a@b"),
            op("Add", 'emails[type eq "home"].value', HOME["value"]),
        ],
        emails({"type": "work", "value": "a@b"}, HOME),
    ),
    (
        "six Adds are one address",
        {},
        [op("Add", f'addresses[type eq "work"].{name}', ADDRESS[name]) for name in ADDRESS],
        {"addresses": [{"type": "work"} | ADDRESS]},
    ),
    (
        "phones",
        {"phoneNumbers": [{"type": "work", "value": "1"}]},
        [
            op("Add", 'phoneNumbers[type eq "mobile"].value', "2"),
            op("Replace", 'phoneNumbers[type eq "work"].value', "3"),
            op("Replace", 'phoneNumbers[type eq "fax"].value', "4"),
        ],
        {
            "phoneNumbers": [
                {"type": "work", "value": "3"},
                {"type": "mobile", "value": "2"},
                {"type": "fax", "value": "4"},
            ]
        },
    ),
    (
        "primary before value",
        {"emails": None},
        [
            op("Add", f"{WORK}.primary", "True"),
            op("Add", f"{WORK}.display", "B"),
            op("Add", f"{WORK}.value", "a@b"),
        ],
        emails({"type": "work", "primary": True, "display": "B", "value": "a@b"}),
    ),
    ("Remove one mail", emails(MAIL, HOME), [op("Remove", WORK)], emails(HOME)),
    # roles
    (
        "no primary role yet",
        {},
        [
            op("Add", 'roles[primary eq "True"].value', "Admin"),
            op("Add", 'roles[primary eq "True"].display', "Administrator"),
            op("Add", 'roles[primary eq "True"].type', "WindowsAzureActiveDirectoryRole"),
        ],
        {
            "roles": [
                {
                    "primary": True,
                    "value": "Admin",
                    "display": "Administrator",
                    "type": "WindowsAzureActiveDirectoryRole",
                }
            ]
        },
    ),
    (
        "another primary role",
        {"roles": [{"primary": True, "value": "User"}]},
        [op("Replace", 'roles[primary eq "True"].value', "Admin")],
        {"roles": [{"primary": True, "value": "Admin"}]},
    ),
    (
        "assignments as JSON text",
        {"roles": [{"value": "Admin", "display": "Admin"}]},
        [op("Add", "roles", [{"value": ADMIN}, {"value": REPORTS}])],
        {"roles": [{"value": "Admin", "display": "Admin"}, {"value": "Reports", "display": "Rep"}]},
    ),
    (
        "an assignment that ends",
        {"roles": [{"value": "Admin", "display": "Admin"}, {"value": "Reports"}]},
        [op("Remove", "roles", [{"value": ADMIN}])],
        {"roles": [{"value": "Reports"}]},
    ),
    (
        "exactly these roles",
        {"roles": [{"value": "Admin", "primary": True}]},
        [
            op(
                "replace",
                "roles",
                [{"primary": "False", "type": "T", "displayName": "User", "value": "User"}],
            )
        ],
        {"roles": [{"primary": False, "type": "T", "display": "User", "value": "User"}]},
    ),
    # extensions and manager
    (
        "an extension attribute in another case",
        {},
        [op("Add", f"{ENTERPRISE}:department".upper(), "D")],
        {ENTERPRISE: {"department": "D"}},
    ),
    ("a bare manager", {}, [op("Add", MANAGER, "m1")], {ENTERPRISE: {"manager": {"value": "m1"}}}),
    (
        "another manager",
        MANAGED,
        [op("replace", MANAGER, "m2")],
        {ENTERPRISE: {"manager": {"value": "m2"}}},
    ),
    (
        "another manager as an object",
        MANAGED,
        [op("replace", MANAGER, {"value": "m2"})],
        {ENTERPRISE: {"manager": {"value": "m2"}}},
    ),
    (
        "another manager with its reference",
        MANAGED,
        [op("replace", MANAGER, {"$ref": "https://x/Users/m2", "value": "m2"})],
        {ENTERPRISE: {"manager": {"value": "m2", "$ref": "https://x/Users/m2"}}},
    ),
    (
        "a manager's name, which only the server says",
        {ENTERPRISE: {"manager": {"value": "m1", "displayName": "Boss"}}},
        [op("replace", MANAGER, {"value": "m1", "displayName": None})],
        {ENTERPRISE: {"manager": {"value": "m1", "displayName": "Boss"}}},
    ),
    ("no manager", MANAGED, [op("replace", MANAGER, "")], {ENTERPRISE: None}),
    ("no manager in an object", MANAGED, [op("add", MANAGER, {"value": ""})], {ENTERPRISE: None}),
    ("Remove manager", MANAGED, [op("Remove", MANAGER)], {ENTERPRISE: None}),
    ("Remove with a value", MANAGED, [op("Remove", MANAGER, {"value": "m1"})], {ENTERPRISE: None}),
    (
        "manager without its URN, in an array",
        {},
        [op("Add", "manager", [{"$ref": "https://x/Users/m1", "value": "m1"}])],
        MANAGED,
    ),
    (
        "a short name of an extension, with a sub-attribute",
        {},
        [op("Add", "manager.value", "m1"), op("Add", None, {"department": "D"})],
        {ENTERPRISE: {"manager": {"value": "m1"}, "department": "D"}},
    ),
    # clearing
    (
        "nothing, then null",
        {"title": "Guide", "nickName": "B"},
        [op("Replace", "title", ""), op("replace", None, {"nickName": None})],
        {"title": None, "nickName": None},
    ),
    ("null for a mail", {}, [op("Replace", f"{WORK}.value", None)], {"emails": None}),
]


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [row[1:] for row in ENTRA],
    ids=[row[0] for row in ENTRA],
)
def test_entra_id(
    before: dict[str, Any], operations: list[dict[str, Any]], after: dict[str, Any]
) -> None:
    assert apply(user(**before), *operations).resource == user(**(before | after))


CONTRACT = {STAFF: {"contract": {"number": "1", "kind": "a"}}}


@pytest.mark.parametrize(
    ("before", "operation", "error", "detail"),
    [
        # required
        ({}, op("Remove", "userName"), MutabilityViolation, "userName is required"),
        ({}, op("Replace", "userName", ""), InvalidValue, "userName is required"),
        ({}, op("replace", None, {"userName": None}), InvalidValue, "userName is required"),
        ({}, op("remove", CORE), MutabilityViolation, "userName is required"),
        # readOnly
        ({}, op("replace", "id", "2"), MutabilityViolation, "id is read-only"),
        ({}, op("replace", "meta.created", "x"), MutabilityViolation, "meta.created is read-only"),
        ({}, op("add", "groups", [{"value": "g"}]), MutabilityViolation, "groups is read-only"),
        ({}, op("remove", "groups"), MutabilityViolation, "groups is read-only"),
        ({}, op("add", 'groups[value eq "g"].display', "x"), MutabilityViolation, "read-only"),
        (
            {},
            op("add", "manager.displayName", "x"),
            MutabilityViolation,
            "displayName is read-only",
        ),
        ({}, op("add", f"{STAFF}:rank", "x"), MutabilityViolation, f"{STAFF}:rank is read-only"),
        # immutable
        (
            {STAFF: {"badge": "7"}},
            op("replace", f"{STAFF}:badge", "8"),
            MutabilityViolation,
            "badge",
        ),
        ({STAFF: {"badge": "7"}}, op("remove", f"{STAFF}:badge"), MutabilityViolation, "badge"),
        (CONTRACT, op("add", f"{STAFF}:contract.number", "2"), MutabilityViolation, "number"),
        (CONTRACT, op("add", f"{STAFF}:contract", {"number": "2"}), MutabilityViolation, "number"),
        (CONTRACT, op("replace", f"{STAFF}:contract.number", ""), MutabilityViolation, "number"),
        # paths
        ({}, op("add", "emails[", "x"), InvalidPath, "path is not valid"),
        (
            {},
            op("add", 'name[givenName eq "B"].familyName', "x"),
            InvalidPath,
            "no filter in brackets",
        ),
        ({}, op("add", 'title[value eq "x"]', "x"), InvalidPath, "no filter in brackets"),
        (
            {},
            op("add", f'{STAFF}:desks.keys[value eq "x"]', "x"),
            InvalidPath,
            "no filter in brackets",
        ),
        ({}, op("add", 'name.givenName[value eq "x"]', "x"), InvalidPath, "no filter in brackets"),
        ({}, op("add", 'emails[nope eq "x"].value', "x"), InvalidFilter, "nope"),
        ({}, op("add", "emails[primary gt true].value", "x"), InvalidFilter, "primary"),
        # no target
        ({}, op("replace", 'emails[type ne "work"].value', "x"), NoTarget, "emails"),
        ({}, op("replace", 'emails[type sw "home"].value', "x"), NoTarget, "emails"),
        ({}, op("add", 'emails[type eq "a" or type eq "b"].value', "x"), NoTarget, "emails"),
        ({}, op("add", 'emails[not (type eq "work")].value', "x"), NoTarget, "emails"),
        ({}, op("add", 'emails[type eq "home" and value pr].value', "x"), NoTarget, "emails"),
        ({}, op("add", 'emails[type eq "home"].type', "other"), NoTarget, "emails"),
        ({}, op("replace", 'emails[type eq "home"]', {"type": "other"}), NoTarget, "emails"),
        ({}, op("replace", f'{STAFF}:skills[value eq "a"]', "b"), NoTarget, "skills"),
        # values
        ({}, op("replace", "active", "perhaps"), InvalidValue, "active"),
        ({}, op("replace", "title", 7), InvalidValue, "title"),
        ({}, op("replace", "title", ["a", "b"]), InvalidValue, "title"),
        ({}, op("replace", "name", "Barbara"), InvalidValue, "name"),
        ({}, op("replace", f"{WORK}.value", {"a": 1}), InvalidValue, "emails.value"),
        ({}, op("replace", WORK, 7), InvalidValue, "emails"),
        ({}, op("add", WORK, [{"value": "a"}, {"value": "b"}]), InvalidValue, "emails"),
        ({}, op("add", ENTERPRISE, "x"), InvalidValue, "object of its attributes"),
        ({}, op("add", f"{STAFF}:floor", "third"), InvalidValue, "floor"),
        ({}, op("remove", "emails", [7]), InvalidValue, "emails"),
        (
            {},
            op("replace", "emails", [HOME | {"primary": True}, MAIL]),
            InvalidValue,
            "more than one primary",
        ),
        (emails(MAIL, HOME), op("replace", "emails.primary", True), InvalidValue, "primary"),
    ],
)
def test_errors(
    before: dict[str, Any], operation: dict[str, Any], error: type[ScimError], detail: str
) -> None:
    with pytest.raises(error) as raised:
        apply(user(**before), op("add", "nickName", "x"), operation)
    assert detail in raised.value.detail


def test_an_error_names_the_operation() -> None:
    with pytest.raises(InvalidValue, match=r"Operations\[2\] \(replace\): 'active' must be"):
        apply(
            user(),
            op("Add", None, {"title": "x", "nickName": "y"}),
            op("Remove", "title"),
            op("Replace", "active", "perhaps"),
        )


def test_what_changed_is_named_by_attribute_and_only_what_differs_in_the_end() -> None:
    changed = apply(
        user(title="Guide"),
        op("Replace", "name.givenName", "Bee"),
        op("Replace", "name.familyName", "Smith"),
        op("Replace", f"{WORK}.value", "n@example.com"),
        op("Replace", "active", "True"),
        op("Remove", "title"),
        op("Add", "title", "Guide"),
        op("Add", "department", "D"),
    ).changed
    assert changed == ("name", "emails", f"{ENTERPRISE}:department")


def test_what_changes_nothing_gives_the_same_resource() -> None:
    before = user()
    change = apply(before, op("Replace", "active", "True"), op("Add", "emails", [PLAIN]))
    assert change.resource is before
    assert change.changed == ()


def test_a_comparison_that_knows_zero_from_false_and_nothing() -> None:
    change = apply(user(active=None, **{STAFF: {"floor": 1}}), op("Replace", "active", "False"))
    assert change.resource["active"] is False
    assert apply(change.resource, op("add", f"{STAFF}:floor", 0)).resource[STAFF] == {"floor": 0}


def test_what_nobody_knows_is_left_out_and_named() -> None:
    change = apply(
        user(),
        op("Add", "shoeSize", "42"),
        op("Add", "name.nick", "B"),
        op("Add", 'emails[type eq "secret@example.com"].shape', "x"),
        op("Add", 'shapes[type eq "secret@example.com"].value', "x"),
        op("Add", "urn:example:no:2.0:User:a", "x"),
        op("Add", "shoeSize", "43"),
        op("Add", "name", {"nick": "B", "honorificPrefix": "Ms."}),
        op("add", None, {ENTERPRISE: {"desk": "1"}, "a.b": 1, "bell\u0007:x": 1}),
        op("add", "password", "secret"),
    )
    assert change.ignored == (
        "shoeSize",
        "name.nick",
        "emails.shape",
        "shapes",
        "urn:example:no:2.0:User:a",
        f"{ENTERPRISE}:desk",
        "a.b",
        "bell\\x07:x",
    )
    assert change.changed == ("name",)


def test_no_more_names_are_kept_than_an_event_holds() -> None:
    change = apply(user(), op("add", None, {f"a{n}": n for n in range(1000)}))
    assert len(change.ignored) == 100


def test_the_schemas_are_those_of_the_values() -> None:
    added = apply(user(), op("add", f"{ENTERPRISE}:department", "D")).resource
    assert added["schemas"] == [CORE, ENTERPRISE]
    assert apply(added, op("remove", "department")).resource["schemas"] == [CORE]
    listed = user() | {"schemas": [CORE, ENTERPRISE]}  # by the client, without a value
    assert apply(listed, op("add", "title", "x")).resource["schemas"] == [CORE, ENTERPRISE]


def test_a_short_name_of_two_extensions_is_nobodys() -> None:
    twin = load_schema(EXTENSION | {"id": STAFF.replace("staff", "twin")}, "twin.json")
    both = dataclasses.replace(USER, extensions={**USER.extensions, twin.id.lower(): twin})
    operations = [op("add", "floor", 1), op("add", "department", "D")]
    change = patch.apply(both, user(), entra.operations({"Operations": operations}))
    assert change.ignored == ("floor",)
    assert change.changed == (f"{ENTERPRISE}:department",)


def test_read_only_attributes_in_an_object_are_left_out_and_named() -> None:
    """As a client sends back what it read."""
    for value in (
        {"id": "u1", "meta": {"version": "x"}, "groups": [{"value": "g"}], "title": "x"},
        {CORE: {"id": "u1", "meta": {"version": "x"}, "groups": [], "title": "x"}},
        {"ID": "u1", "meta.version": "x", "groups": None, "title": "x"},
    ):
        change = apply(user(), op("replace", None, value))
        assert change.changed == ("title",)
        assert [name.partition(".")[0] for name in change.ignored] == ["id", "meta", "groups"]
    assert apply(user(), op("replace", None, {"schemas": ["x"]})).ignored == ()


def test_null_for_what_nobody_knows_is_nothing() -> None:
    change = apply(user(), op("replace", "shoeSize", None), op("add", None, {"a": None, "b": ""}))
    assert change.ignored == ("b",)


def test_what_is_only_written_is_taken_and_not_kept() -> None:
    keys = load_schema(
        {
            "id": "urn:example:keys:2.0:User",
            "attributes": [
                {
                    "name": "secrets",
                    "type": "complex",
                    "multiValued": True,
                    "mutability": "writeOnly",
                    "subAttributes": [{"name": "value"}, {"name": "type"}],
                },
                {
                    "name": "locker",
                    "type": "complex",
                    "subAttributes": [
                        {"name": "number"},
                        {"name": "code", "mutability": "writeOnly"},
                    ],
                },
            ],
        },
        "keys.json",
    )
    resource_type = dataclasses.replace(USER, extensions={keys.id.lower(): keys})
    before = user(**{keys.id: {"locker": {"number": "7"}}})
    operations = [
        op("add", "password", "t1meMa$heen"),
        op("add", "secrets", [{"value": "x"}]),
        op("replace", 'secrets[type eq "work"].value', "x"),
        op("add", "secrets.value", "x"),
        op("remove", "secrets"),
        op("add", "locker.code", "1234"),
        op("replace", "locker", {"code": "1234"}),
        op("add", keys.id, {"secrets": [{"value": "x"}], "locker": {"code": "1234"}}),
    ]
    change = patch.apply(resource_type, before, entra.operations({"Operations": operations}))
    assert change == Changed(before, (), ())


def test_what_an_extension_or_an_element_requires_or_keeps() -> None:
    parking = load_schema(
        {
            "id": "urn:example:parking:2.0:User",
            "attributes": [
                {"name": "place", "required": True},
                {
                    "name": "cars",
                    "type": "complex",
                    "multiValued": True,
                    "subAttributes": [
                        {"name": "plate", "required": True},
                        {"name": "colour"},
                        {"name": "value"},
                        {"name": "maker", "mutability": "immutable"},
                    ],
                },
            ],
        },
        "parking.json",
    )
    resource_type = dataclasses.replace(USER, extensions={parking.id.lower(): parking})

    def park(before: dict[str, Any], operation: dict[str, Any]) -> Any:
        operations = entra.operations({"Operations": [operation]})
        after = patch.apply(
            resource_type, user(**{parking.id: before or None}), operations
        ).resource
        return after.get(parking.id)

    parked = {"place": "1", "cars": [{"plate": "A1", "colour": "red"}]}
    assert park(parked, op("remove", "cars")) == {"place": "1"}
    assert park(parked, op("remove", 'cars[plate eq "A1"]')) == {"place": "1"}
    assert park({}, op("add", parking.id, {"place": "1"})) == {"place": "1"}
    for operation, error in (
        (op("remove", "place"), MutabilityViolation),
        (op("replace", "place", ""), InvalidValue),
        (op("remove", 'cars[colour eq "red"].plate'), MutabilityViolation),
        (op("replace", "cars.plate", None), InvalidValue),
        (op("replace", 'cars[colour eq "red"]', {"colour": "blue"}), InvalidValue),
        (op("add", 'cars[colour eq "blue"].colour', "blue"), InvalidValue),
        (op("add", "cars", [{"colour": "blue"}]), InvalidValue),
    ):
        with pytest.raises(error, match="required"):
            park(parked, operation)
    car = {"plate": "A1", "value": "1", "maker": "Saab"}
    for operation in (
        op("add", "cars", [car | {"maker": "Volvo"}]),
        op("add", "cars.maker", "Volvo"),
        op("replace", 'cars[plate eq "A1"]', car | {"maker": "Volvo"}),
    ):
        with pytest.raises(MutabilityViolation, match="maker is set already"):
            park({"place": "1", "cars": [car]}, operation)
    with pytest.raises(InvalidValue, match="place' is required"):
        park({}, op("add", "cars", [{"plate": "A1"}]))


def test_a_user_who_lacks_something_required_already_can_still_be_deactivated() -> None:
    lacking = user(userName=None, emails=[{"type": "work"}])
    assert apply(lacking, op("Replace", "active", "False")).resource["active"] is False


@pytest.mark.parametrize("stored", [True, False, None])
@pytest.mark.parametrize(
    "operations",
    [
        [op("remove", "active")],
        [op("Remove", "active", "False")],
        [op("Remove", "active", True)],
        [op("replace", "active", None)],
        [op("replace", "active", "")],
        [op("add", "active", [])],
        [op("replace", None, {"active": None, "title": ""})],
        [op("replace", CORE, {"active": None, "title": "x"})],
        [op("remove", "active"), op("replace", "active", "")],
    ],
)
def test_nobody_is_enabled_but_by_true(
    stored: bool | None, operations: list[dict[str, Any]]
) -> None:
    """What clears `active` leaves it as it is; a user stored without it is active."""
    before = user(active=stored)
    assert apply(before, *operations).resource.get("active", True) is (stored is not False)
    off = apply(before, op("Replace", "active", "False"), *operations).resource
    assert off["active"] is False
    on = apply(off, *operations, op("Replace", "active", "True")).resource
    assert on["active"] is True


MANAGER = f"{ENTERPRISE}:manager"


def forms(manager: str) -> list[Any]:
    """A manager as clients write one."""
    element = {"$ref": None, "value": manager}
    text = json.dumps({"value": manager})
    return [manager, element, [element], [manager], text, [text], {"value": text}, f"[{text}]"]


@pytest.mark.parametrize("added", forms("M2"))
@pytest.mark.parametrize("removed", forms("M1"))
def test_a_manager_is_removed_only_where_it_is_that_one(added: Any, removed: Any) -> None:
    """As Microsoft's library changes one: the new one comes, then the old one goes."""
    change = [op("Add", MANAGER, added), op("Remove", MANAGER, removed)]
    after = apply(user(**{ENTERPRISE: {"manager": {"value": "M1"}}}), *change).resource
    assert after[ENTERPRISE] == {"manager": {"value": "M2"}}
    assert ENTERPRISE not in apply(after, op("Remove", MANAGER, added)).resource


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, op("add", "name", '{"middleName": "J"}'), {"middleName": "J"}),
        ({}, op("replace", "name", ['{"familyName": "J"}']), {"familyName": "J"}),
        ({}, op("add", None, '{"name": {"middleName": "J"}}'), {"middleName": "J"}),
        ({}, op("add", CORE, '{"name.middleName": "J"}'), {"middleName": "J"}),
    ],
)
def test_json_text_where_an_object_is_expected(
    before: dict[str, Any], operation: dict[str, Any], after: dict[str, Any]
) -> None:
    assert apply(user(**before), operation).resource["name"] == BARBARA["name"] | after


def test_json_text_where_a_text_or_a_list_is_expected() -> None:
    change = apply(
        user(),
        op("add", "title", '{"a": 1}'),
        op("add", "displayName", "[x]"),
        op("add", "emails", json.dumps([HOME])),
        op("add", f"{STAFF}:skills", '["a", "b"]'),
        op("add", "nickName", "{"),
    ).resource
    assert (change["title"], change["displayName"]) == ('{"a": 1}', "[x]")
    assert change["emails"] == [MAIL, HOME]
    assert change[STAFF] == {"skills": ["a", "b"]}
    with pytest.raises(InvalidValue, match="JSON object"):
        apply(user(), op("add", "name", "{"))


def test_a_group_keeps_its_display_name() -> None:
    group = {"schemas": [GROUP.schema.id], "id": "g", "displayName": "Sales"}
    rename = entra.operations({"Operations": [op("Replace", None, {"displayName": "Tours"})]})
    assert patch.apply(GROUP, group, rename).resource == group | {"displayName": "Tours"}
    for operation in (op("Remove", "displayName"), op("Replace", "displayName", "")):
        with pytest.raises(ScimError, match="displayName is required"):
            patch.apply(GROUP, group, entra.operations({"Operations": [operation]}))


def test_an_attribute_has_a_bounded_number_of_values() -> None:
    full = [{"value": f"{number}@example.com"} for number in range(MOST_ELEMENTS)]
    more = {"op": "add", "path": "emails", "value": [{"value": "one.more@example.com"}]}
    with pytest.raises(InvalidValue, match="1001 values"):
        apply(user(emails=full), more)
