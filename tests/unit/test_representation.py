"""The comparable form, projection, versions and lists."""

import copy
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_models import Context, EnterpriseUser, ResponseParameters, User

from scim.protocol.comparison import LEADING, comparable, searchable
from scim.protocol.errors import InvalidValue
from scim.protocol.etags import names_answer, names_version, weak
from scim.protocol.projection import Projection
from scim.protocol.representation import list_response, render
from scim.protocol.scalars import fold, folds
from scim.protocol.schema import Attribute, Location
from scim.protocol.validation import normalise
from tests.unit.payloads import GROUP, STAFF, USER, bodies, date_times

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
CREATED, MODIFIED = "2026-01-31T08:00:00Z", "2026-01-31T08:00:00.5Z"

USER_OF_RFC_7643_8_3: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
    "id": "2819c223-7f76-453a-919d-413861904646",
    "externalId": "701984",
    "userName": "bjensen@example.com",
    "name": {"formatted": "Ms. Barbara J Jensen, III", "givenName": "Barbara"},
    "emails": [
        {"value": "bjensen@example.com", "type": "work", "primary": True},
        {"value": "babs@jensen.org", "type": "home"},
    ],
    "addresses": [{"type": "work", "locality": "Hollywood"}],
    "title": "Tour Guide",
    "active": True,
    "groups": [{"value": "e9e30dba", "display": "Tour Guides"}],
    ENTERPRISE: {
        "employeeNumber": "701984",
        "manager": {"value": "26118915", "displayName": "John Smith"},
    },
    "meta": {"resourceType": "User", "version": 'W/"a330bc54f0671c9"'},
}
DEFAULT = {name: value for name, value in USER_OF_RFC_7643_8_3.items() if name != "groups"}


def attribute(path: str) -> Attribute:
    location = USER.locate(path)
    assert isinstance(location, Location)
    return location.attribute


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("userName", "Straße@Example.COM", "strasse@example.com"),
        ("emails.type", "Work", "work"),
        ("externalId", "AbC", "AbC"),
        ("id", "AbC", "AbC"),
        ("profileUrl", "HTTPS://X", "https://x"),
        ("x509Certificates.value", "AQID", "AQID"),
        ("badge", "AbC", "AbC"),
        ("active", True, True),
        ("floor", 3, 3),
        ("userName", 3, 3),
        ("startDate", "2026-01-31T08:00:00Z", "2026-01-31T08:00:00.000000Z"),
        ("startDate", "2026-01-31T08:00:00", "2026-01-31T08:00:00.000000Z"),
        ("startDate", "2026-01-31T08:00:00.1234567+01:30", "2026-01-31T06:30:00.123456Z"),
        ("startDate", "0999-01-01T00:00:00.5-00:30", "0999-01-01T00:30:00.500000Z"),
        ("meta.lastModified", "2026-01-31T08:00:00.5Z", "2026-01-31T08:00:00.500000Z"),
    ],
)
def test_comparable(path: str, value: Any, expected: Any) -> None:
    assert comparable(attribute(path), value) == expected


@pytest.mark.parametrize("value", ["now", "2026-01-31", "9999-12-31T23:59:59-01:00", "\ud800"])
def test_what_is_no_date_cannot_be_compared_with_one(value: str) -> None:
    with pytest.raises(InvalidValue, match="'startDate' is a date and time") as error:
        comparable(attribute("startDate"), value)
    error.value.detail.encode()


@given(date_times, date_times)
def test_the_order_of_date_times_is_the_order_of_time(one: str, other: str) -> None:
    def moment(text: str) -> datetime:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)

    start = attribute("startDate")
    forms = str(comparable(start, one)), str(comparable(start, other))
    assert len(forms[0]) == len(forms[1]) == 27
    assert (forms[0] < forms[1]) == (moment(one) < moment(other))
    assert (forms[0] == forms[1]) == (moment(one) == moment(other))


def test_several_values_are_sorted_by_the_primary_or_else_the_first() -> None:
    first, second = {"value": "A@x"}, {"value": "B@x", "primary": True}
    resource = {"schemas": [], "id": "1", "emails": [first, second], "photos": [{"type": "x"}]}
    assert searchable(USER, resource, CREATED, MODIFIED)[LEADING] == {"emails": "b@x"}
    resource["emails"] = [first, {"value": "B@x"}]
    assert searchable(USER, resource, CREATED, MODIFIED)[LEADING] == {"emails": "a@x"}


@given(date_times, st.integers(-14 * 60, 14 * 60))
def test_a_date_time_equals_itself_in_another_zone(text: str, minutes: int) -> None:
    start = attribute("startDate")
    form = str(comparable(start, text))
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    local = datetime.fromisoformat(form[:-1]) + timedelta(minutes=minutes)
    assert comparable(start, local.isoformat(timespec="microseconds") + zone) == form


def test_searchable() -> None:
    resource = {
        "schemas": [USER.schema.id, STAFF],
        "id": "01ABC",
        "externalId": "ExT",
        "userName": "Ann@X",
        "active": True,
        "emails": [{"type": "Work", "value": "Ann@X", "primary": True}],
        "name": {"givenName": "ANN"},
        STAFF: {
            "badge": "B",
            "floor": 3,
            "skills": ["C++", "c"],
            "startDate": "2026-01-31T09:00:00+01:00",
            "desks": [{"value": "D", "keys": ["K"], "since": "2026-01-31T08:00:00"}],
        },
    }
    before = copy.deepcopy(resource)
    assert searchable(USER, resource, CREATED, MODIFIED) == {
        LEADING: {"emails": "ann@x", f"{STAFF}:desks": "d", f"{STAFF}:skills": "c++"},
        "schemas": [USER.schema.id, STAFF],
        "id": "01ABC",
        "externalId": "ExT",
        "userName": "ann@x",
        "active": True,
        "emails": [{"type": "work", "value": "ann@x", "primary": True}],
        "name": {"givenName": "ann"},
        STAFF: {
            "badge": "B",
            "floor": 3,
            "skills": ["c++", "c"],
            "startDate": "2026-01-31T08:00:00.000000Z",
            "desks": [{"value": "d", "keys": ["k"], "since": "2026-01-31T08:00:00.000000Z"}],
        },
        "meta": {
            "resourceType": "User",
            "created": "2026-01-31T08:00:00.000000Z",
            "lastModified": "2026-01-31T08:00:00.500000Z",
        },
    }
    assert resource == before


@given(bodies(USER))
def test_searchable_is_total_and_agrees_with_comparable(body: dict[str, Any]) -> None:
    resource = normalise(USER, body).resource
    form = searchable(USER, resource, CREATED, MODIFIED)
    assert form.keys() - {LEADING} == resource.keys() | {"meta"}
    assert form["userName"] == comparable(attribute("userName"), resource["userName"])
    for given_mail, mail in zip(resource.get("emails", ()), form.get("emails", ()), strict=True):
        for key, value in given_mail.items():
            assert mail[key] == comparable(attribute(f"emails.{key}"), value)


# Projection


def shown(resource: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return Projection.parse(USER, **parameters).apply(resource)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("userName", ["userName"]),
        (" USERNAME , active", ["userName", "active"]),
        ("urn:ietf:params:scim:schemas:core:2.0:user:username", ["userName"]),
        (["userName", "title"], ["userName", "title"]),
        ("unknown,name.unknown,userName.value,urn:x:y", []),
        (ENTERPRISE.upper(), [ENTERPRISE]),
        ("emails,emails.value", ["emails"]),
        ("emails.value,emails", ["emails"]),
    ],
)
def test_attributes(attributes: Any, expected: list[str]) -> None:
    resource = USER_OF_RFC_7643_8_3
    assert shown(resource, attributes=attributes) == {
        key: resource[key] for key in ("schemas", "id", *expected)
    }


def test_sub_attributes() -> None:
    resource = USER_OF_RFC_7643_8_3
    part = shown(resource, attributes=f"emails.VALUE,name.givenname,{ENTERPRISE}:manager.value")
    assert part == {
        "schemas": resource["schemas"],
        "id": resource["id"],
        "emails": [{"value": "bjensen@example.com"}, {"value": "babs@jensen.org"}],
        "name": {"givenName": "Barbara"},
        ENTERPRISE: {"manager": {"value": "26118915"}},
    }
    assert shown(resource, attributes=f"{ENTERPRISE}:department,emails.display").keys() == {
        "schemas",
        "id",
    }


def test_excluded_attributes() -> None:
    resource = USER_OF_RFC_7643_8_3
    excluded = f"ID,schemas,Groups,emails.primary,emails.type,{ENTERPRISE}:manager,meta"
    part = shown(resource, excluded=excluded)
    assert "groups" not in part
    assert "meta" not in part
    assert part["id"] == resource["id"]
    assert part["schemas"] == resource["schemas"]
    assert part["emails"] == [{"value": "bjensen@example.com"}, {"value": "babs@jensen.org"}]
    assert part[ENTERPRISE] == {"employeeNumber": "701984"}
    assert ENTERPRISE not in shown(resource, excluded=ENTERPRISE)


def test_the_default_set() -> None:
    hidden = USER_OF_RFC_7643_8_3 | {"password": "x"}
    assert shown(hidden) == DEFAULT


@pytest.mark.parametrize("nothing", [None, "", " , ", []])
def test_empty_parameters_are_none(nothing: Any) -> None:
    resource = USER_OF_RFC_7643_8_3
    assert shown(resource, attributes=nothing, excluded=nothing) == DEFAULT
    assert "title" in shown(resource, attributes=nothing, excluded="active")


STAFF_VALUES: dict[str, Any] = {
    "floor": 1,
    "notes": "n",
    "pin": "1234",
    "desks": [{"value": "1", "code": "c", "remark": "r", "keys": ["k"]}],
}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"floor": 1, "desks": [{"value": "1", "keys": ["k"]}]}),
        (
            {"attributes": f"{STAFF}:notes"},
            {"notes": "n", "desks": [{"value": "1"}]},
        ),
        (
            {"attributes": f"{STAFF}:pin,{STAFF}:desks.code,{STAFF}:desks.remark"},
            {"desks": [{"value": "1", "remark": "r"}]},
        ),
        ({"attributes": "userName"}, {"desks": [{"value": "1"}]}),
        ({"attributes": STAFF}, {"floor": 1, "desks": [{"value": "1", "keys": ["k"]}]}),
        ({"excluded": STAFF}, {"desks": [{"value": "1"}]}),
        ({"excluded": f"{STAFF}:desks"}, {"floor": 1, "desks": [{"value": "1"}]}),
        (
            {"excluded": f"{STAFF}:desks.value,{STAFF}:floor"},
            {"desks": [{"value": "1", "keys": ["k"]}]},
        ),
    ],
)
def test_returned_at_every_level(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    resource = {"schemas": [], "id": "1", "userName": "a", STAFF: STAFF_VALUES}
    assert shown(resource, **parameters)[STAFF] == expected


def test_both_parameters_are_taken_one_after_the_other() -> None:
    resource = {**DEFAULT, STAFF: STAFF_VALUES}
    both = shown(
        resource, attributes=f"userName,title,name,{STAFF}", excluded="TITLE,name.givenName"
    )
    first = shown(resource, attributes=f"userName,title,name,{STAFF}")
    assert both == {
        **{name: value for name, value in first.items() if name != "title"},
        "name": {key: value for key, value in first["name"].items() if key != "givenName"},
    }
    assert shown(DEFAULT, attributes="name", excluded="name").keys() == {"schemas", "id"}
    assert shown(DEFAULT, attributes="groups", excluded="unknown").keys() == {"schemas", "id"}
    assert shown(USER_OF_RFC_7643_8_3, attributes="groups,title", excluded="title").keys() == {
        "schemas",
        "id",
        "groups",
    }


@pytest.mark.parametrize(
    "written",
    [
        STAFF.replace(":", "%3a"),
        f"userName,{STAFF.replace(':', '%3A')}%3Afloor",
        f"{STAFF}.floor",
        "floor",
        "FLOOR%2cuserName",
    ],
)
def test_urns_encoded_twice_a_dot_after_a_urn_and_short_names(written: str) -> None:
    resource = {"schemas": [], "id": "1", "userName": "a", STAFF: STAFF_VALUES}
    assert shown(resource, attributes=written)[STAFF]["floor"] == 1
    assert "floor" not in shown(resource, excluded=written).get(STAFF, {})


@pytest.mark.parametrize("parameter", [[1], [None], {"a": 1}, 1])
def test_parameters_that_are_no_names(parameter: Any) -> None:
    with pytest.raises(InvalidValue, match="'attributes' must be names"):
        Projection.parse(USER, attributes=parameter)


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({}, True),
        ({"excluded": "members"}, False),
        ({"excluded": "MEMBERS,displayName"}, False),
        ({"excluded": "members.display"}, True),
        ({"attributes": "displayName"}, False),
        ({"attributes": "members.value"}, True),
        ({"attributes": "urn:ietf:params:scim:schemas:core:2.0:Group:Members"}, True),
        ({"attributes": "unknown"}, False),
    ],
)
def test_whether_members_are_wanted(parameters: dict[str, Any], wanted: bool) -> None:
    assert Projection.parse(GROUP, **parameters).wants("members") is wanted


_paths = [
    path
    for each in USER.attributes.values()
    for separator in [":" if ":" in each.name else "."]
    for path in [
        each.name,
        *(f"{each.name}{separator}{sub.name}" for sub in each.sub_attributes.values()),
    ]
] + [f"{STAFF}:desks.{name}" for name in ("value", "since", "keys", "code", "remark")]
_parameters = st.dictionaries(
    st.sampled_from(["attributes", "excluded"]),
    st.lists(st.sampled_from(_paths), max_size=4),
    max_size=1,
)


def _values(value: Any, keys: tuple[str, ...]) -> list[Any]:
    """Every value at `keys`, through arrays."""
    if not keys:
        return [value]
    holders = value if isinstance(value, list) else [value]
    inside = [each[keys[0]] for each in holders if keys[0] in each]
    return [leaf for each in inside for leaf in _values(each, keys[1:])]


FULL = {
    **USER_OF_RFC_7643_8_3,
    "password": "x",
    STAFF: STAFF_VALUES,
}


@given(_parameters)
def test_never_is_never_shown_and_always_always(parameters: dict[str, Any]) -> None:
    part = shown(FULL, **parameters)
    for never in (("password",), (STAFF, "pin"), (STAFF, "desks", "code")):
        assert _values(FULL, never)
        assert not _values(part, never)
    for always in (("schemas",), ("id",), (STAFF, "desks", "value")):
        assert _values(part, always) == _values(FULL, always)


@given(_parameters)
def test_projecting_again_changes_nothing(parameters: dict[str, Any]) -> None:
    before = copy.deepcopy(FULL)
    projection = Projection.parse(USER, **parameters)
    part = projection.apply(FULL)
    assert projection.apply(part) == part
    assert before == FULL
    assert all(projection.wants(name) for name in part)


_common_paths = [
    path
    for path in _paths
    if not path.startswith(STAFF) and path not in ("password", "schemas", "id")
]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(_common_paths), min_size=1, max_size=4))
def test_an_independent_implementation_shows_the_same(names: list[str]) -> None:
    model = User[EnterpriseUser].model_validate(USER_OF_RFC_7643_8_3)
    parameters = ResponseParameters[User[EnterpriseUser]].model_validate({"attributes": names})
    theirs = model.model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=parameters
    )
    # Its `schemas` name what is shown of the resource, ours what the resource has.
    ours = shown(USER_OF_RFC_7643_8_3, attributes=names)
    assert theirs | {"schemas": ours["schemas"]} == ours


# Answers


def test_render() -> None:
    resource = {"userName": "a", "schemas": [USER.schema.id], "id": "01", "active": False}
    document = {"resource": resource, "created": CREATED, "modified": MODIFIED, "source": "scim"}
    body = render(USER, document, '"7"', "https://muster/scim/Users/01")
    assert body == {
        **resource,
        "meta": {
            "resourceType": "User",
            "created": CREATED,
            "lastModified": MODIFIED,
            "location": "https://muster/scim/Users/01",
            "version": 'W/"7"',
        },
    }
    assert list(body)[:2] == ["schemas", "id"]
    assert "meta" not in resource


def test_a_user_from_before_active_had_a_default_is_shown_as_active() -> None:
    document = {"resource": {"id": "1", "schemas": []}, "created": CREATED, "modified": MODIFIED}
    assert render(USER, document, "7", "https://muster/scim/Users/1")["active"] is True


def test_list_response() -> None:
    assert list_response([{"id": "1"}], 3, 2) == {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 3,
        "startIndex": 2,
        "itemsPerPage": 1,
        "Resources": [{"id": "1"}],
    }
    assert list_response([], 0)["Resources"] == []


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ("*", True),
        ('W/"7"', True),
        ('"7"', True),
        ("7", True),
        ('W/"6", "7"', True),
        (' W/"7" ,W/"8"', True),
        ('W/"6"', False),
        ('W/"77"', False),
        ("", False),
        ('"*"', False),
    ],
)
@pytest.mark.parametrize("etag", ["7", '"7"'])
def test_etags(header: str, matches: bool, etag: str) -> None:
    assert names_version(header, etag) is matches
    assert names_answer(header, weak(etag)) is matches
    assert weak(etag) == 'W/"7"'
    assert names_version(weak(etag), etag)


def test_an_etag_covers_what_was_looked_up() -> None:
    """As in `If-None-Match`; a change of the resource needs nothing but the resource's own."""
    ada, countess = weak("7", [{"display": "Ada"}]), weak("7", [{"display": "Countess"}])
    assert len({weak("7"), ada, countess}) == 3
    assert ada == weak('"7"', [{"display": "Ada"}])
    assert names_answer(ada, ada)
    assert not names_answer(weak("7"), ada)
    assert not names_answer(countess, ada)
    assert not names_answer(ada, weak("7"))
    assert names_version(ada, "7")
    assert names_version(f'W/"6", {countess}', "7")
    assert not names_version(weak("6", [{"display": "Ada"}]), "7")


# Comparing without case (RFC 8265)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ANNA", "anna"),
        ("Ren\u00e9", "rene\u0301"),
        ("\uff21\uff2e\uff2e\uff21\u3000\uff11", "anna 1"),
        ("\uff76\uff9e", "\u30ac"),  # half-width ka and its voiced mark
        ("\u1f39\u0394\u039f\u03a3", "\u1f31\u03b4\u03bf\u03c2"),  # sigma at the end
        ("\u0390", "\u03b9\u0308\u0301"),
        ("\u212b", "\u00e5"),  # Angstrom
    ],
)
def test_texts_that_are_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("a b", "ab"), ("\u00e9", "e"), ("\u2460", "1")])
def test_texts_that_are_two(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_is_one_for_every_form_of_a_text(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, text)) == folded
    assert fold(text.casefold()) == folded
    assert folds(text)[0] == folded
    assert text.casefold() in folds(text)
