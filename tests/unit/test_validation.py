"""What a client sends, and what is kept of it."""

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_models import EnterpriseUser, User

from scim.protocol.errors import InvalidSyntax, InvalidValue, MutabilityViolation
from scim.protocol.schema import Location, ResourceType, attribute_path, load_schema
from scim.protocol.validation import (
    MOST_ELEMENTS,
    Ignored,
    Normalised,
    check_required,
    defaulted,
    normalise,
    normalise_element,
    normalise_value,
    replacement,
    schemas_of,
)
from tests.unit.payloads import GROUP, STAFF, USER, bodies, json_values

CORE = USER.schema.id
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ENTRA_POST = {
    "schemas": [CORE, ENTERPRISE],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_ab6490ee",
    "active": True,
    "emails": [{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@testuser.com"}],
    "meta": {"resourceType": "User"},
    "name": {
        "formatted": "givenName familyName",
        "familyName": "familyName",
        "givenName": "givenName",
    },
    "roles": [],
}


def user(**attributes: Any) -> Normalised:
    return normalise(USER, {"userName": "a", **attributes})


def value(path: str, given: Any) -> Any:
    """The canonical value of one attribute (`floor` is one of STAFF's)."""
    location = USER.locate(path)
    assert isinstance(location, Location)
    return normalise_value(location.attribute, given, attribute_path(location.keys), [])


def refused(path: str, given: Any) -> str:
    with pytest.raises(InvalidValue) as error:
        value(path, given)
    assert path in error.value.detail
    return error.value.detail


def test_the_create_of_entra_id() -> None:
    resource, ignored = normalise(USER, ENTRA_POST)
    expected = {k: v for k, v in ENTRA_POST.items() if k not in ("meta", "roles")}
    assert resource == expected | {"schemas": [CORE, ENTERPRISE]}
    assert ignored == ()


def test_the_second_example_of_microsofts_documentation() -> None:
    resource, ignored = normalise(
        USER,
        {
            "schemas": [CORE, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],
            "externalId": "jyoung",
            "userName": "jyoung@testuser.com",
            "active": True,
            "addresses": None,
            "displayName": "Joy Young",
            "emails": [{"type": "work", "value": "jyoung@Contoso.com", "primary": True}],
            "meta": {"resourceType": "User"},
            "name": {"familyName": "Young", "givenName": "Joy"},
            "phoneNumbers": None,
            "preferredLanguage": None,
            "title": None,
            "department": None,
            "manager": None,
        },
    )
    assert resource["schemas"] == [CORE]
    assert "title" not in resource
    assert ignored == ()  # null is nothing, also of what nobody knows


def test_the_group_of_entra_id() -> None:
    microsoft = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
    body = {"schemas": [GROUP.schema.id, microsoft], "externalId": "8aa", "displayName": "G"}
    assert normalise(GROUP, body).resource == {**body, "schemas": [GROUP.schema.id]}


def test_attribute_names_in_any_case() -> None:
    resource = user(
        DISPLAYNAME="x",
        Name={"GIVENNAME": "g"},
        **{ENTERPRISE.upper(): {"Manager": {"VALUE": "m"}}},
    ).resource
    assert resource["displayName"] == "x"
    assert resource["name"] == {"givenName": "g"}
    assert resource[ENTERPRISE] == {"manager": {"value": "m"}}


def test_schemas_are_computed() -> None:
    assert user(**{STAFF: {"floor": 1}}).resource["schemas"] == [CORE, STAFF]
    assert user(**{STAFF: {"floor": None}, ENTERPRISE: {}}).resource["schemas"] == [CORE]
    assert schemas_of(USER, {ENTERPRISE: {}, STAFF: {}}) == [CORE, ENTERPRISE, STAFF]


def test_schemas_keep_what_the_client_listed() -> None:
    listed = user(schemas=[CORE, ENTERPRISE.upper(), "urn:any"]).resource
    assert listed["schemas"] == [CORE, ENTERPRISE]
    replaced = replacement(USER, listed | {STAFF: {"rank": "9"}}, Normalised(listed, ()))
    assert replaced.resource["schemas"] == [CORE, ENTERPRISE, STAFF]
    assert replacement(USER, listed, user()).resource["schemas"] == [CORE]


@pytest.mark.parametrize("schemas", [None, [], [CORE], [CORE.upper(), "urn:any"]])
def test_schemas_that_will_do(schemas: Any) -> None:
    assert user(schemas=schemas).resource["schemas"] == [CORE]


@pytest.mark.parametrize(
    ("schemas", "fragment"),
    [
        (CORE, "array of strings"),
        ([CORE, 1], "array of strings"),
        ({CORE: True}, "array of strings"),
        (0, "array of strings"),
        ([ENTERPRISE], f'put "{CORE}" there'),
    ],
)
def test_schemas_that_will_not(schemas: Any, fragment: str) -> None:
    with pytest.raises(InvalidSyntax, match="schemas") as error:
        user(schemas=schemas)
    assert fragment in error.value.detail


@pytest.mark.parametrize("body", [None, [], "x", 1, True, [{"userName": "a"}]])
def test_a_body_that_is_no_object(body: Any) -> None:
    with pytest.raises(InvalidSyntax, match="JSON object"):
        normalise(USER, body)


def test_what_only_the_server_decides_is_dropped_without_a_word() -> None:
    resource, ignored = user(
        id="1",
        meta={"version": "x"},
        groups=[{"value": "g"}],
        **{ENTERPRISE: {"manager": {"value": "m", "displayName": "M"}}, STAFF: {"rank": "9"}},
    )
    assert resource == {
        "schemas": [CORE, ENTERPRISE],
        "userName": "a",
        ENTERPRISE: {"manager": {"value": "m"}},
    }
    assert ignored == ()


def test_what_nobody_knows_is_named() -> None:
    _, ignored = user(
        foo=1,
        name={"foo": 1, "givenName": "x"},
        roles=[{"value": "a", "displayName": "A"}, {"value": "b", "displayName": "B"}],
        **{ENTERPRISE: {"foo": [[]], "manager": {"foo": 1}}, "urn:x:Unknown": {"a": 1}},
    )
    assert ignored == (
        "foo",
        "name.foo",
        "roles.displayName",
        f"{ENTERPRISE}:foo",
        f"{ENTERPRISE}:manager.foo",
        "urn:x:Unknown",
    )


def test_secrets_are_not_kept() -> None:
    resource, ignored = user(password="t1meMa$heen", **{STAFF: {"pin": "1234"}})
    assert resource == {"schemas": [CORE], "userName": "a"}
    assert ignored == ()


def test_names_that_are_not_taken_can_be_stored_and_are_bounded() -> None:
    _, ignored = user(**{"\ud800\n\0": 1, "x" * 10_000: 1}, **{f"a{i}": i for i in range(500)})
    assert ignored[0] == r"\ud800\n\x00"
    assert ignored[1] == "x" * 200
    assert len(ignored) == 100
    orjson.dumps(ignored)


@pytest.mark.parametrize("empty", [None, "", [], {}, " ", "\t\r\n", "\u00a0\u3000", "\u200b\ufeff"])
@pytest.mark.parametrize(
    "path", ["displayName", "active", "name", "emails", "startDate", "floor", "skills"]
)
def test_unassigned(path: str, empty: Any) -> None:
    assert value(path, empty) is None
    assert value(path, [empty]) is None


def test_parts_without_a_value_are_unassigned() -> None:
    assert value("name", {"givenName": "", "familyName": None}) is None
    assert value("emails", [{"value": None}, {}, None, {"value": "x"}]) == [{"value": "x"}]
    assert value("desks", [{"value": "1", "keys": []}]) == [{"value": "1"}]
    assert user(**{STAFF: ""}).resource["schemas"] == [CORE]
    assert value("name", {"givenName": " ", "familyName": "L"}) == {"familyName": "L"}
    assert value("emails", [{"type": "work", "value": " "}]) == [{"type": "work"}]


@pytest.mark.parametrize(("resource_type", "name"), [(USER, "userName"), (GROUP, "displayName")])
@pytest.mark.parametrize("blank", [" ", "\u2003", "\u2060\u3164"])
def test_blank_is_no_value_of_what_is_required(
    resource_type: ResourceType, name: str, blank: str
) -> None:
    with pytest.raises(InvalidValue, match=f"'{name}' is required"):
        normalise(resource_type, {name: blank})


@pytest.mark.parametrize("text", [" a", "\u200b\u00e9", "x y", "\u200f\u05d0"])
def test_white_space_beside_something_is_kept(text: str) -> None:
    assert value("displayName", text) == text


def test_false_and_zero_are_values() -> None:
    assert value("active", False) is False
    assert value("floor", 0) == 0
    assert value("share", 0.0) == 0


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("active", "False", False),
        ("active", "TRUE", True),
        ("active", [{"$ref": None, "value": "true"}], True),
        ("floor", "12", 12),
        ("floor", "-3", -3),
        ("floor", 4.0, 4),
        ("floor", 2**53 - 1, 2**53 - 1),
        ("share", "0.5", 0.5),
        ("share", "1e3", 1000.0),
        ("share", 7, 7),
        ("share", 10**20, 1e20),
        ("manager", "42", {"value": "42"}),
        ("manager", [{"$ref": "http://x/Users/M", "value": "M"}], None),
        ("displayName", [{"$ref": None, "value": "x"}], "x"),
        ("displayName", ["x"], "x"),
        ("name", [{"givenName": "x"}], {"givenName": "x"}),
        ("emails", {"value": "x"}, [{"value": "x"}]),
        ("emails", ["x", {"value": "y"}], [{"value": "x"}, {"value": "y"}]),
        ("skills", "x", ["x"]),
        ("skills", [{"value": "x"}, "y", {"value": ""}], ["x", "y"]),
        ("desks", {"value": "1", "keys": "k"}, [{"value": "1", "keys": ["k"]}]),
        ("emails", [{"type": "Werk", "value": "x"}], [{"type": "Werk", "value": "x"}]),
    ],
)
def test_dialects_of_values(path: str, given: Any, expected: Any) -> None:
    if path == "manager":
        given_user = user(**{ENTERPRISE: {"manager": given}}).resource
        expected = expected or {"$ref": "http://x/Users/M", "value": "M"}
        assert given_user[ENTERPRISE]["manager"] == expected
    else:
        result = value(path, given)
        assert result == expected
        assert type(result) is type(expected)


def test_an_empty_manager_is_none() -> None:
    for empty in ("", {"value": ""}, None, [{"value": None}]):
        assert ENTERPRISE not in user(**{ENTERPRISE: {"manager": empty}}).resource


@pytest.mark.parametrize(
    ("path", "given", "fragment"),
    [
        ("displayName", 5, "must be a string; the request holds a number"),
        ("displayName", True, "holds a boolean"),
        ("displayName", {"a": 1}, "holds an object"),
        ("displayName", ["a", "b"], "has one value; the request holds an array of 2"),
        ("displayName", [["a"]], "holds an array"),
        ("displayName", "a\0", "U+0000"),
        ("displayName", "\ud800", "surrogate"),
        ("profileUrl", "\udfff", "surrogate"),
        ("active", "yes", "must be true or false; the request holds a string"),
        ("active", 1, "must be true or false"),
        ("floor", 1.5, "whole number"),
        ("floor", "1.5", "whole number"),
        ("floor", "١", "whole number"),
        ("floor", "9" * 5000, "whole number"),
        ("floor", True, "holds a boolean"),
        ("floor", float("inf"), "whole number"),
        ("floor", 2**53, "between"),
        ("floor", 10**400, "between"),
        ("floor", 1e300, "between"),
        ("share", "x", "a number"),
        ("share", "1" * 390 + "e9999", "64 bits"),
        ("share", 10**400, "64 bits"),
        ("share", float("nan"), "64 bits"),
        ("share", False, "holds a boolean"),
        ("startDate", "1/15/2026 12:00:00 AM", "yyyy-MM-ddTHH:mm:ssZ"),
        ("startDate", "2026-01-15", "date and time"),
        ("startDate", "2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z'"),
        ("startDate", "0001-01-01T00:00:00+14:00", "date and time"),
        ("startDate", "2026-01-15T00:00:00Z\n", "date and time"),
        ("startDate", 1736899200, "holds a number"),
        ("name", "x", "must be a JSON object; the request holds a string"),
        ("name", 1, "must be a JSON object"),
        ("emails", 1, "must be a JSON object"),
        ("emails", [["x"]], "must be a JSON object; the request holds an array"),
        ("emails", [{"value": {"value": ["x", "y"]}}], "emails.value"),
        ("x509Certificates", "not base64!", "base64"),
        ("x509Certificates", "AAAAA", "base64"),
        ("x509Certificates", "AAA==", "base64"),
        ("x509Certificates", [{"value": 1}], "holds a number"),
        (
            "emails",
            [{"value": "a", "primary": "True"}, {"value": "b", "primary": True}],
            "more than one primary",
        ),
    ],
)
def test_values_that_do_not_fit(path: str, given: Any, fragment: str) -> None:
    detail = refused(path, given)
    assert fragment in detail
    detail.encode()


@pytest.mark.parametrize(
    "given",
    [
        "2008-01-23T04:56:22Z",
        "2008-01-23T04:56:22",
        "2008-01-23T04:56:22.123456789+05:30",
        "2008-02-29T23:59:59-00:00",
    ],
)
def test_date_times_are_kept_as_sent(given: str) -> None:
    assert value("startDate", given) == given


@pytest.mark.parametrize("given", ["AQID", "AQI=", "AQI", "AQ==", "_-8=", "+/8="])
def test_base64_is_kept_as_sent(given: str) -> None:
    assert value("x509Certificates", given) == [{"value": given}]


def test_equal_elements_are_kept_once() -> None:
    twice = [{"type": "work", "value": "x"}, {"VALUE": "x", "type": "work"}, {"value": "X"}]
    assert value("emails", twice) == [{"type": "work", "value": "x"}, {"value": "X"}]
    assert value("skills", ["a", "b", "a"]) == ["a", "b"]
    desk = {"value": "1", "keys": ["a", "b"]}
    other = {"value": "1", "keys": ["b", "a"]}
    assert value("desks", [desk, desk, other]) == [desk, other]


def test_one_primary_and_any_number_of_others() -> None:
    emails = [{"value": "a", "primary": False}, {"value": "b", "primary": False}]
    assert value("emails", [*emails, {"value": "c", "primary": True}])[2]["primary"] is True


def test_one_element() -> None:
    ignored: Ignored = []
    emails = USER.attributes["emails"]
    assert normalise_element(emails, "x", "emails", ignored) == {"value": "x"}
    assert normalise_element(emails, {"Foo": 1}, "emails", ignored) is None
    assert ignored == ["emails.Foo"]
    with pytest.raises(InvalidValue):
        normalise_element(emails, [{"value": "x"}], "emails", ignored)


def test_the_same_attribute_twice() -> None:
    with pytest.raises(InvalidSyntax, match="'displayName' is given twice"):
        user(displayName="a", DisplayName="b")
    assert user(displayName="a", DisplayName=None).resource["displayName"] == "a"


def test_deep_nesting_in_what_nobody_knows() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert user(foo=deep).ignored == ("foo",)
    with pytest.raises(InvalidValue):
        user(displayName=deep)
    with pytest.raises(InvalidValue):
        user(emails=deep)


DEMANDING = dataclasses.replace(
    USER,
    extensions={
        "urn:x:y": load_schema(
            {
                "id": "urn:x:y",
                "attributes": [
                    {"name": "unit", "required": True},
                    {"name": "stamp", "required": True, "mutability": "readOnly"},
                    {
                        "name": "desks",
                        "type": "complex",
                        "multiValued": True,
                        "subAttributes": [{"name": "value", "required": True}, {"name": "floor"}],
                    },
                ],
            },
            "demanding.json",
        )
    },
)


@pytest.mark.parametrize(
    ("resource_type", "resource", "name"),
    [
        (USER, {}, "userName"),
        (GROUP, {"externalId": "x"}, "displayName"),
        (DEMANDING, {"userName": "a", "urn:x:y": {"desks": [{"value": "1"}]}}, "urn:x:y:unit"),
        (
            DEMANDING,
            {"userName": "a", "urn:x:y": {"unit": "u", "desks": [{"value": "1"}, {"floor": "2"}]}},
            "urn:x:y:desks.value",
        ),
    ],
)
def test_required(resource_type: ResourceType, resource: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidValue, match=f"'{name}' is required"):
        check_required(resource_type, resource)


@pytest.mark.parametrize("name", [None, "", []])
def test_a_required_attribute_without_a_value(name: Any) -> None:
    with pytest.raises(InvalidValue, match="'userName' is required"):
        normalise(USER, {"schemas": [CORE], "userName": name})


def test_required_parts_count_only_where_there_is_a_whole() -> None:
    check_required(DEMANDING, {"userName": "a"})
    check_required(DEMANDING, {"userName": "a", "urn:x:y": {"unit": "u"}})
    desks = [{"value": "1"}]
    check_required(DEMANDING, {"userName": "a", "urn:x:y": {"unit": "u", "desks": desks}})


# PUT


def stored(**attributes: Any) -> dict[str, Any]:
    return {**defaulted(USER, user(**attributes).resource), "id": "01"}


def replaced(old: dict[str, Any], **attributes: Any) -> Any:
    return replacement(USER, old, user(**attributes))


def test_a_replacement_clears_what_it_leaves_out() -> None:
    old = stored(title="t", **{ENTERPRISE: {"department": "d", "division": "v"}})
    changed = replaced(old, displayName="n", foo=1, **{ENTERPRISE: {"division": "w"}})
    assert changed.resource == {
        "schemas": [CORE, ENTERPRISE],
        "id": "01",
        "userName": "a",
        "displayName": "n",
        "active": True,
        ENTERPRISE: {"division": "w"},
    }
    assert set(changed.changed) == {
        "title",
        "displayName",
        f"{ENTERPRISE}:department",
        f"{ENTERPRISE}:division",
    }
    assert changed.ignored == ("foo",)
    assert old == stored(title="t", **{ENTERPRISE: {"department": "d", "division": "v"}})


def test_a_replacement_by_the_same_changes_nothing() -> None:
    old = stored(emails=["x"], **{STAFF: {"badge": "B", "contract": {"number": "1"}}})
    again = replaced(old, emails=["x"], **{STAFF: {"badge": "B", "contract": {"number": "1"}}})
    assert (again.resource, again.changed) == (old, ())


def test_a_replacement_keeps_what_is_read_only() -> None:
    old = stored()
    old |= {"schemas": [CORE, STAFF], STAFF: {"rank": "9"}}
    changed = replaced(old, **{STAFF: {"rank": "1", "floor": 2}})
    assert changed.resource[STAFF] == {"rank": "9", "floor": 2}
    assert changed.changed == (f"{STAFF}:floor",)


def test_immutable_values_stay() -> None:
    old = stored(**{STAFF: {"badge": "B", "contract": {"number": "1", "kind": "k"}}})
    kept = replaced(old, **{STAFF: {"contract": {"kind": "l"}}}).resource
    assert kept[STAFF] == {"badge": "B", "contract": {"number": "1", "kind": "l"}}
    without = replaced(old).resource
    assert without[STAFF] == {"badge": "B", "contract": {"number": "1"}}
    assert without["schemas"] == [CORE, STAFF]
    with pytest.raises(MutabilityViolation, match=f"'{STAFF}:badge'"):
        replaced(old, **{STAFF: {"badge": "b"}})
    with pytest.raises(MutabilityViolation, match=f"'{STAFF}:contract.number'"):
        replaced(old, **{STAFF: {"contract": {"number": "2"}}})
    assert replaced(stored(), **{STAFF: {"badge": "b"}}).resource[STAFF] == {"badge": "b"}


def test_what_a_replacement_keeps_has_what_it_requires() -> None:
    """An extension that the body leaves out is there as long as it holds an immutable value."""
    badges = load_schema(
        {
            "id": STAFF,
            "attributes": [
                {"name": "place", "required": True},
                {"name": "badge", "mutability": "immutable"},
            ],
        },
        "badges.json",
    )
    resource_type = dataclasses.replace(USER, extensions={STAFF.lower(): badges})

    def put(extension: dict[str, Any], body: dict[str, Any] | None) -> Any:
        old = {**stored(), STAFF: extension}
        new = normalise(resource_type, {"userName": "a", STAFF: body})
        return replacement(resource_type, old, new).resource.get(STAFF)

    full = {"place": "1", "badge": "7"}
    assert put(full, {"place": "2"}) == {"place": "2", "badge": "7"}
    with pytest.raises(InvalidValue, match=f"'{STAFF}:place' is required"):
        put(full, None)
    assert put({"place": "1"}, None) is None
    # It lacked that before: it can still be changed.
    assert put({"badge": "7"}, None) == {"badge": "7"}


def test_an_extension_that_is_served_no_more() -> None:
    old = stored() | {"urn:gone": {"a": 1}}
    assert "urn:gone" not in replaced(old).resource


# Laws


@given(st.one_of(json_values, st.dictionaries(st.sampled_from(list(USER.attributes)), json_values)))
def test_anything_is_a_resource_or_a_400(body: Any) -> None:
    try:
        answer: Any = normalise(USER, body).resource
    except (InvalidSyntax, InvalidValue) as error:
        answer = error.body()
    orjson.dumps(answer)


@given(bodies(USER))
def test_what_clients_send_is_taken(body: dict[str, Any]) -> None:
    resource, ignored = normalise(USER, body)
    assert normalise(USER, resource) == (resource, ())
    assert ignored == ()


@given(bodies(GROUP))
def test_normalising_a_group_again_changes_nothing(body: dict[str, Any]) -> None:
    resource, ignored = normalise(GROUP, body)
    assert (normalise(GROUP, resource), ignored) == ((resource, ()), ())


def _leaves(value: Any) -> list[Any]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(leaf for part in parts for leaf in _leaves(part))]


@given(bodies(USER))
def test_nothing_unassigned_is_kept(body: dict[str, Any]) -> None:
    resource = normalise(USER, body).resource
    assert not [leaf for leaf in _leaves(resource) if leaf in (None, "", [], {})]


@given(bodies(USER), st.sampled_from([str.lower, str.upper]))
def test_case_of_names_makes_no_difference(body: dict[str, Any], case: Any) -> None:
    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            # `value` in a simple attribute's object is Entra ID's own spelling
            return {k if k == "value" else case(k): renamed(v) for k, v in value.items()}
        return [renamed(v) for v in value] if isinstance(value, list) else value

    assert normalise(USER, renamed(body)) == normalise(USER, body)


@settings(max_examples=30)
@given(bodies(USER))
def test_an_independent_implementation_reads_what_is_kept(body: dict[str, Any]) -> None:
    resource = normalise(USER, body).resource
    resource.pop(STAFF, None)
    resource["schemas"] = schemas_of(USER, resource)
    # It also checks the syntax of addresses, URIs and locales, which RFC 7643 does not ask for.
    for email in resource.get("emails", ()):
        email["value"] = "a@b.example"
    for name in ("profileUrl", "photos", "x509Certificates", "locale", "preferredLanguage"):
        resource.pop(name, None)
    User[EnterpriseUser].model_validate(resource)


def test_an_attribute_has_a_bounded_number_of_values() -> None:
    emails = [{"value": f"{number}@example.com"} for number in range(MOST_ELEMENTS + 1)]
    assert normalise(USER, {"userName": "x", "emails": emails[:-1]}).ignored == ()
    with pytest.raises(InvalidValue, match=r"'emails' would have 1001 values"):
        normalise(USER, {"userName": "x", "emails": emails})
