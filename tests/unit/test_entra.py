"""What Entra ID sends, in the terms of RFC 7644: the shape alone."""

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim.protocol import entra
from scim.protocol.entra import MAXIMUM_OPERATIONS, PATCH_OP, Operation
from scim.protocol.errors import InvalidSyntax, InvalidValue, NoTarget, PayloadTooLarge, ScimError
from scim.protocol.schema import load_resource_types
from tests.unit.payloads import json_values

USER = load_resource_types()["User"]
CORE = USER.schema.id
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
BAD_REQUEST = (InvalidSyntax, InvalidValue, NoTarget)
ADMIN = json.dumps({"id": "06b07648", "value": "Admin", "displayName": "Administrator"})


def read(*operations: object, **envelope: object) -> list[tuple[str, str, Any]]:
    body = {"schemas": [PATCH_OP], "Operations": list(operations), **envelope}
    return [(one.op, one.path, one.value) for one in entra.operations(body)]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            {"op": "Replace", "path": "active", "value": "False"},
            [("replace", "active", "False")],
        ),
        (
            {"OP": "ADD", "Path": " nickName ", "VALUE": "Babs", "name": "addMember"},
            [("add", "nickName", "Babs")],
        ),
        ({"op": "remove", "path": "title"}, [("remove", "title", None)]),
        ({"op": "Remove", "path": "members", "value": []}, [("remove", "members", [])]),
        ({"op": "replace", "path": "title", "value": None}, [("replace", "title", None)]),
        (
            {
                "op": "replace",
                "value": {
                    "displayName": "Bjfe",
                    "name.givenName": "Kkom",
                    f"{ENTERPRISE}:employeeNumber": "Aklq",
                    ENTERPRISE: {"department": "Tours"},
                    'emails[type eq "work"].value': "a@b",
                },
            },
            [
                ("replace", "displayName", "Bjfe"),
                ("replace", "name.givenName", "Kkom"),
                ("replace", f"{ENTERPRISE}:employeeNumber", "Aklq"),
                ("replace", ENTERPRISE, {"department": "Tours"}),
                ("replace", 'emails[type eq "work"].value', "a@b"),
            ],
        ),
        ({"op": "add", "path": None, "value": {"title": "x"}}, [("add", "title", "x")]),
        ({"op": "add", "path": "  ", "value": {"title": "x"}}, [("add", "title", "x")]),
        (
            {
                "op": "replace",
                "value": {"id": "7", "Meta": {}, "meta.version": "1", "schemas": [], "title": "x"},
            },
            [
                ("replace", "id", "7"),
                ("replace", "Meta", {}),
                ("replace", "meta.version", "1"),
                ("replace", "title", "x"),
            ],
        ),
        ({"op": "replace", "value": {}}, []),
        ({"op": "add", "value": '{"title": "x"}'}, [("add", "title", "x")]),
        # the attribute's name once more in the value
        (
            {"op": "add", "path": "members", "value": {"Members": [{"value": "u"}]}},
            [("add", "members", [{"value": "u"}])],
        ),
        (
            {"op": "remove", "path": "members", "value": {"members": None}},
            [("remove", "members", {"members": None})],
        ),
        (
            {"op": "add", "path": "name", "value": {"givenName": "x"}},
            [("add", "name", {"givenName": "x"})],
        ),
    ],
)
def test_an_operation_becomes_operations_with_paths(
    operation: dict[str, Any], expected: list[tuple[str, str, Any]]
) -> None:
    assert read(operation) == expected


def test_operations_keep_their_order_and_know_their_position() -> None:
    body = {
        "Operations": [
            {"op": "Replace", "path": "title", "value": "x"},
            {"op": "add", "value": {"nickName": "a", "locale": "b"}},
            {"op": "remove", "path": "title"},
        ]
    }
    assert entra.operations(body) == [
        Operation("replace", "title", "x", 0),
        Operation("add", "nickName", "a", 1, in_object=True),
        Operation("add", "locale", "b", 1, in_object=True),
        Operation("remove", "title", None, 2),
    ]


@pytest.mark.parametrize(
    "envelope",
    [
        {"schemas": [PATCH_OP.upper()]},
        {"schemas": None},
        {"schemas": ["urn:other", PATCH_OP]},
        {"id": "an extra id"},
    ],
)
def test_envelopes_that_are_understood(envelope: dict[str, Any]) -> None:
    assert read({"op": "remove", "path": "title"}, **envelope) == [("remove", "title", None)]


def test_the_members_of_the_envelope_are_found_in_any_case() -> None:
    body = {"SCHEMAS": [PATCH_OP], "operations": [{"op": "Remove", "path": "title"}]}
    assert entra.operations(body) == [Operation("remove", "title")]


@pytest.mark.parametrize(
    ("body", "error", "detail"),
    [
        (None, InvalidSyntax, "JSON object"),
        ([], InvalidSyntax, "JSON object"),
        ("x", InvalidSyntax, "JSON object"),
        ({}, InvalidSyntax, "Operations"),
        ({"Operations": {}}, InvalidSyntax, "Operations"),
        ({"Operations": []}, InvalidSyntax, "at least one"),
        ({"schemas": [], "Operations": [{}]}, InvalidSyntax, PATCH_OP),
        ({"schemas": PATCH_OP, "Operations": [{}]}, InvalidSyntax, PATCH_OP),
        ({"schemas": [7], "Operations": [{}]}, InvalidSyntax, PATCH_OP),
        ({"Operations": ["add"]}, InvalidSyntax, r"Operations\[0\] must be an object"),
        ({"Operations": [{"path": "a"}]}, InvalidSyntax, r"Operations\[0\]\.op is missing"),
        ({"Operations": [{"op": 1}]}, InvalidSyntax, r"Operations\[0\]\.op is no string"),
        ({"Operations": [{"op": "mOve"}]}, InvalidSyntax, r'\.op is "mOve"'),
        (
            {"Operations": [{"op": "remove", "path": "a"}, {"op": "add", "path": 7, "value": 1}]},
            InvalidSyntax,
            r"Operations\[1\]\.path must be a string",
        ),
        ({"Operations": [{"op": "remove"}]}, NoTarget, r"Operations\[0\] removes without a `path`"),
        ({"Operations": [{"op": "remove", "path": ""}]}, NoTarget, "without a `path`"),
        ({"Operations": [{"op": "add", "path": "a"}]}, InvalidValue, "has no `value`"),
        ({"Operations": [{"op": "replace"}]}, InvalidValue, "has no `value`"),
        ({"Operations": [{"op": "replace", "value": "x"}]}, InvalidValue, "must be an object"),
        ({"Operations": [{"op": "add", "value": [{}]}]}, InvalidValue, "must be an object"),
        (
            {"Operations": [{"op": "remove", "path": "a"}] * (MAXIMUM_OPERATIONS + 1)},
            PayloadTooLarge,
            "at most 1000",
        ),
    ],
)
def test_bodies_that_are_refused(body: object, error: type[ScimError], detail: str) -> None:
    with pytest.raises(error, match=detail):
        entra.operations(body)


def test_as_many_operations_as_allowed_are_taken() -> None:
    remove = {"op": "remove", "path": 'members[value eq "1"]'}
    assert len(read(*[remove] * MAXIMUM_OPERATIONS)) == MAXIMUM_OPERATIONS


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ({"value": ADMIN}, {"value": "Admin", "display": "Administrator"}),
        (
            {"value": ADMIN, "primary": "True", "type": "T"},
            {"value": "Admin", "display": "Administrator", "primary": "True", "type": "T"},
        ),
        (
            {"value": ADMIN, "display": "Chosen"},
            {"value": "Admin", "display": "Chosen"},
        ),
        (
            {"value": '{"id":"18d14569","value":null,"displayName":"User"}'},
            {"value": "User", "display": "User"},
        ),
        (
            {"value": "Admin", "displayName": "Administrator"},
            {"value": "Admin", "display": "Administrator"},
        ),
        (
            {"value": "Admin", "DisplayName": "no", "display": "yes"},
            {"value": "Admin", "display": "yes"},
        ),
        ({"Value": ADMIN}, {"Value": "Admin", "display": "Administrator"}),
        ({"value": "{not json"}, {"value": "{not json"}),
        ({"value": "{}"}, {"value": "{}"}),
        ({"value": "[1]"}, {"value": "[1]"}),
        ({"value": "\ud800{"}, {"value": "\ud800{"}),
        ({"value": '{"a":' * 5000}, {"value": '{"a":' * 5000}),
        ("Admin", "Admin"),
        (None, None),
    ],
)
@pytest.mark.parametrize("path", ["roles", "ROLES", f"{CORE}:roles", f"{CORE}.Roles"])
def test_roles_are_what_rfc_7643_says(path: str, role: Any, expected: Any) -> None:
    for op in ("Add", "Replace", "Remove"):
        ((_, _, value),) = read({"op": op, "path": path, "value": [role, role]})
        assert value == [expected, expected]
        ((_, _, value),) = read({"op": op, "path": path, "value": role})
        assert value == expected


def test_roles_are_rewritten_below_every_form_of_their_path() -> None:
    assert read(
        {"op": "add", "path": 'roles[primary eq "True"]', "value": {"value": ADMIN}},
        {"op": "add", "path": 'roles[value eq "a.b]"].displayName', "value": "x"},
        {"op": "add", "path": "roles.DisplayName", "value": "x"},
        {"op": "add", "path": "roles.value", "value": "x"},
        {"op": "add", "value": {"roles": [{"value": ADMIN}]}},
    ) == [
        ("add", 'roles[primary eq "True"]', {"value": "Admin", "display": "Administrator"}),
        ("add", 'roles[value eq "a.b]"].display', "x"),
        ("add", "roles.display", "x"),
        ("add", "roles.value", "x"),
        ("add", "roles", [{"value": "Admin", "display": "Administrator"}]),
    ]


def test_only_roles_are_rewritten() -> None:
    (unchanged,) = read({"op": "add", "path": "entitlements", "value": [{"value": ADMIN}]})
    assert unchanged == ("add", "entitlements", [{"value": ADMIN}])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"userName": "a", "name.givenName": "G", "name": {"familyName": "F"}},
            {"userName": "a", "name": {"familyName": "F", "givenName": "G"}},
        ),
        ({"name.givenName": "A", "name": {"GIVENNAME": "G"}}, {"name": {"GIVENNAME": "G"}}),
        ({"name.givenName": "G", "Name": None}, {"Name": {"givenName": "G"}}),
        (
            {f"{ENTERPRISE}:department": "D", f"{ENTERPRISE}:manager.value": "M"},
            {ENTERPRISE: {"department": "D", "manager": {"value": "M"}}},
        ),
        (
            {ENTERPRISE.lower(): {"costCenter": "1"}, f"{ENTERPRISE}:department": "D"},
            {ENTERPRISE.lower(): {"costCenter": "1", "department": "D"}},
        ),
        ({ENTERPRISE: {"department": "D"}}, {ENTERPRISE: {"department": "D"}}),
        (
            {"urn:ietf:params:scim:schemas:core:2.0:User:name.givenName": "G"},
            {"name": {"givenName": "G"}},
        ),
        ({"urn:ietf:params:scim:schemas:extension:enterprise:2.0User": None},) * 2,
        ({"urn:x:User:a": 1, ".a": 2, "a.": 3, "": 4},) * 2,
        ({"a.b.c": 1, "name.nothing": 2, f"{ENTERPRISE}:nothing": 3},) * 2,
        (
            {"Roles": [{"value": ADMIN}]},
            {"Roles": [{"value": "Admin", "display": "Administrator"}]},
        ),
        (
            {"manager": "M", "Department": None, "title": "T"},
            {ENTERPRISE: {"manager": "M", "department": None}, "title": "T"},
        ),
        (
            {"manager.value": "M", f"{ENTERPRISE}.costCenter": "1"},
            {ENTERPRISE: {"manager": {"value": "M"}, "costCenter": "1"}},
        ),
        (
            {"urn:ietf:params:scim:schemas:core:2.0:User.Emails": [], f"{CORE}:roles": [ADMIN]},
            {
                "emails": [],
                "roles": [{"id": "06b07648", "value": "Admin", "display": "Administrator"}],
            },
        ),
        (  # what the object itself says counts
            {"department": None, "costCenter": "2", ENTERPRISE: {"costCenter": "1"}},
            {ENTERPRISE: {"costCenter": "1", "department": None}},
        ),
    ],
)
def test_the_body_of_a_post_is_nested(body: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    assert entra.resource(USER, body) == expected
    assert body == before


def test_a_dotted_key_into_a_single_value_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"`name` must be an object, because `name\.givenName`"):
        entra.resource(USER, {"name": "Jensen", "name.givenName": "Barbara"})


@pytest.mark.parametrize("body", [None, [], "x", 7, True])
def test_a_resource_is_an_object(body: object) -> None:
    with pytest.raises(InvalidSyntax):
        entra.resource(USER, body)


operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["Add", "replace", "REMOVE", "", 7])},
    optional={
        "path": st.sampled_from(["roles", "roles[", "a", "", None]) | json_values,
        "value": json_values
        | st.dictionaries(st.sampled_from(["roles", "a.b", ENTERPRISE]), json_values),
    },
)


@given(json_values | st.fixed_dictionaries({"Operations": st.lists(operations)}))
def test_whatever_is_sent_gives_operations_or_a_scim_error(body: Any) -> None:
    before = copy.deepcopy(body)
    with contextlib.suppress(*BAD_REQUEST):
        assert all(one.op in ("add", "replace", "remove") for one in entra.operations(body))
    assert body == before


@given(
    json_values
    | st.dictionaries(
        st.sampled_from(["roles", "name", "Name.formatted", "manager", f"{ENTERPRISE}.manager"]),
        json_values,
    )
)
def test_whatever_is_posted_gives_an_object_or_a_scim_error(body: Any) -> None:
    before = copy.deepcopy(body)
    with contextlib.suppress(*BAD_REQUEST):
        assert isinstance(entra.resource(USER, body), dict)
    assert body == before
