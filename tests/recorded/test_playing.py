"""What a request changed beside the resource it names is noticed."""

import httpx
import pytest

from tests.recorded.playing import Directory, side_effects

BABS = {"id": "b", "userName": "babs", "members": []}
SALES = {"id": "s", "displayName": "Sales", "members": ["b", "t"], "meta": {"version": "1"}}
BEFORE: Directory = {"Users/b": BABS, "Groups/s": SALES}


def answer(method: str, path: str, status: int, body: object = None) -> httpx.Response:
    request = httpx.Request(method, f"http://muster.test/scim{path}")
    return httpx.Response(status, json=body, request=request)


def test_a_change_of_the_named_resource() -> None:
    after = BEFORE | {"Users/b": BABS | {"userName": "bee"}}
    assert side_effects(BEFORE, after, [answer("PATCH", "/Users/b", 200)], set()) == []
    assert side_effects(BEFORE, after, [answer("PATCH", "/Users/b/", 200)], set()) == []


def test_a_new_resource() -> None:
    after = BEFORE | {"Users/n": {"id": "n"}}
    assert side_effects(BEFORE, after, [answer("POST", "/Users", 201, {"id": "n"})], set()) == []


def test_a_deleted_user_leaves_its_groups() -> None:
    left = SALES | {"members": ["t"], "meta": {"version": "2"}}
    assert (
        side_effects(BEFORE, {"Groups/s": left}, [answer("DELETE", "/Users/b", 204)], set()) == []
    )


@pytest.mark.parametrize(
    ("after", "request_and_status"),
    [
        (BEFORE | {"Users/b": BABS | {"userName": "bee"}}, ("PATCH", "/Users/b", 400)),
        (BEFORE | {"Users/b": BABS | {"userName": "bee"}}, ("PATCH", "/Groups/s", 204)),
        (BEFORE | {"Groups/s": SALES | {"members": ["t"]}}, ("PATCH", "/Users/b", 200)),
        (BEFORE | {"Users/n": {"id": "n"}}, ("PATCH", "/Users/b", 200)),
        ({"Groups/s": SALES}, ("DELETE", "/Users/b", 404)),
        ({"Groups/s": SALES}, ("DELETE", "/Users/b", 204)),
        ({"Groups/s": SALES | {"members": []}}, ("DELETE", "/Users/b", 204)),
        ({"Users/b": BABS}, ("PATCH", "/Users/b", 200)),
    ],
)
def test_a_change_of_anything_else(
    after: Directory, request_and_status: tuple[str, str, int]
) -> None:
    assert side_effects(BEFORE, after, [answer(*request_and_status)], set()) != []
