"""The comparison, the filling in, and the judgement of an answer: each fails where it should."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recorded.matching import differences
from tests.recorded.protocol import violations
from tests.recorded.scenario import fill, pick

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_everything_matches_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(st.lists(JSON, max_size=5), st.randoms())
def test_the_order_of_a_list_does_not_matter(values: list[Any], random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert differences(values, shuffled) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ([{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1, "b": 3}]),
        ({"a": {"$absent": True}}, {}),
        ({"a": {"$empty": True}}, {"a": []}),
        ({"a": {"$empty": True}}, {"a": None}),
        ({"a": {"$empty": True}}, {}),
        ({"a": {"$exists": True}}, {"a": False}),
        ({"a": {"$matches": "b$"}}, {"a": "ab"}),
        ([{"$matches": "b"}], ["abc"]),
        ({"$contains": [2]}, [1, 2]),
        ({"$count": 2}, [1, 2]),
        ({"$not": {"a": {"$exists": True}}}, {}),
        ({"$ref": "x"}, {"$ref": "x"}),
    ],
)
def test_what_matches(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, [1]),
        ({"a": True}, {"a": 1}),
        ({"a": 0}, {"a": False}),
        ({"a": None}, {}),
        ({"a": "1"}, {"a": 1}),
        ([1], [1, 1]),
        ([1, 1], [1, 2]),
        ([1], 1),
        ([{"a": 1}, {"a": 1}], [{"a": 1}, {"a": 2}]),
        ({"a": {"$absent": True}}, {"a": None}),
        ({"a": {"$empty": True}}, {"a": 0}),
        ({"a": {"$empty": True}}, {"a": False}),
        ({"a": {"$exists": True}}, {"a": None}),
        ({"a": {"$exists": True}}, {}),
        ({"a": {"$matches": "b$"}}, {"a": "abc"}),
        ({"a": {"$matches": "b$"}}, {"a": 7}),
        ({"$contains": [1, 1]}, [1, 2]),
        ({"$contains": [1]}, {"1": 1}),
        ({"$count": 2}, [1]),
        ({"$not": {"a": {"$exists": True}}}, {"a": 1}),
    ],
)
def test_what_does_not_match(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) != []


def test_names_are_filled_in() -> None:
    values = {"user1": "a", "user2": "b", "n": "2"}
    assert fill({"x": ["${user${n}}", 7, None]}, values) == {"x": ["b", 7, None]}
    assert fill([{"$each": 2, "of": {"value": "${user${n}}"}}], values) == [
        {"value": "a"},
        {"value": "b"},
    ]
    assert fill("${text:3}${text:2:ab}", {}) == "xxxabab"
    assert fill("${guid}", {}) != fill("${guid}", {})


def test_a_name_that_nothing_was_saved_under_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        fill("${nobody}", {})


def test_values_are_picked() -> None:
    assert pick("$.id", {"id": "a"}) == "a"
    assert pick("$.Resources[1].id", {"Resources": [{"id": "a"}, {"id": "b"}]}) == "b"
    with pytest.raises(KeyError):
        pick("$.id", {})


SCIM = {"content-type": "application/scim+json"}
USER = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "id": "1",
    "meta": {"resourceType": "User", "location": "http://muster.test/scim/Users/1"},
}
LIST = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
    "totalResults": 1,
    "Resources": [USER],
}
ERROR = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
    "status": "404",
    "detail": "There is no such user.",
}


ASKED = httpx.Request("POST", "http://muster.test/scim/Users")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(204),
        httpx.Response(200, headers=SCIM, json=USER),
        httpx.Response(200, headers=SCIM, json=LIST),
        httpx.Response(404, headers=SCIM, json=ERROR),
        httpx.Response(
            201, headers={**SCIM, "location": "http://muster.test/scim/Users/1"}, json=USER
        ),
    ],
)
def test_a_proper_answer(answer: httpx.Response) -> None:
    answer.request = ASKED
    assert violations(answer) == []


@pytest.mark.parametrize(
    ("answer", "about"),
    [
        (httpx.Response(302, headers={"location": "/login"}), "redirect"),
        (httpx.Response(200), "without a body"),
        (httpx.Response(204, json=USER), "204 with a body"),
        (httpx.Response(200, json=USER), "Content-Type"),
        (httpx.Response(500, headers=SCIM, json=ERROR | {"status": "500"}), "fault"),
        (httpx.Response(401, headers=SCIM, json=ERROR | {"status": "401"}), "WWW-Authenticate"),
        (httpx.Response(404, headers=SCIM, json=ERROR | {"status": 404}), "not the string"),
        (httpx.Response(404, headers=SCIM, json=ERROR | {"detail": " "}), "without detail"),
        (httpx.Response(404, headers=SCIM, json=ERROR | {"schemas": []}), "schemas"),
        (httpx.Response(404, headers=SCIM, json=ERROR | {"scimType": "notFound"}), "scimType"),
        (httpx.Response(200, headers=SCIM, json=USER | {"id": ""}), "the id"),
        (httpx.Response(200, headers=SCIM, json=USER | {"title": None}), "null"),
        (httpx.Response(200, headers=SCIM, json=USER | {"schemas": []}), "schemas"),
        (httpx.Response(200, headers=SCIM, json=USER | {"id": "2"}), "location"),
        (httpx.Response(200, headers=SCIM, json=USER | {"urn:x": {"a": 1}}), "not in schemas"),
        (httpx.Response(201, headers=SCIM, json=USER), "Location"),
        (httpx.Response(200, headers=SCIM, json=LIST | {"totalResults": 0}), "totalResults"),
        (httpx.Response(200, headers=SCIM, json=LIST | {"itemsPerPage": 0}), "itemsPerPage"),
        (
            httpx.Response(
                200, headers=SCIM, json=LIST | {"totalResults": 2, "Resources": [USER, USER]}
            ),
            "twice",
        ),
        (
            httpx.Response(200, headers=SCIM, json={"schemas": LIST["schemas"], "totalResults": 0}),
            "without Resources",
        ),
    ],
)
def test_an_improper_answer(answer: httpx.Response, about: str) -> None:
    answer.request = ASKED
    assert any(about in line for line in violations(answer)), violations(answer)
