"""Queries on the server's root: RFC 7644 sections 3.4.2.1 and 3.4.3."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from scim import search
from scim.selection import PAGE_LIMIT
from tests.scim.messages import (
    ENTERPRISE,
    GROUP,
    SEARCH_REQUEST,
    USER,
    Body,
    create,
    create_group,
    create_user,
    create_users,
    group,
    user,
)
from tests.transports import Tenant, in_process

type Found = list[str]
"""userName (without its domain) of users and displayName of groups, in order of the list."""


@pytest.fixture
async def people(scim: httpx.AsyncClient) -> httpx.AsyncClient:
    """Three users and three groups; one of each kind is called Blue."""
    ada = await create_user(scim, "ada", displayName="Blue", externalId="5")
    bob = await create_user(scim, "bob", displayName="yellow", title="Boss")
    await create_user(scim, "carol", **{ENTERPRISE: {"department": "Sales"}})
    await create_group(scim, "Green", [ada])
    await create_group(scim, "blue", [ada, bob])
    await create(scim, "/Groups", group("Red", externalId="3"))
    return scim


async def query(scim: httpx.AsyncClient, **parameters: Any) -> Body:
    """What a query answers; it is the same in the URL and in a body."""
    in_url = await scim.get("", params=parameters)
    assert in_url.status_code == 200, in_url.text
    in_body = await scim.post("/.search", json={"schemas": [SEARCH_REQUEST], **parameters})
    assert in_body.status_code == 200, in_body.text
    assert in_url.json() == in_body.json()
    return dict(in_url.json())


def names(body: Body) -> Found:
    """What a list holds."""
    return [
        resource.get("userName", "").removesuffix("@example.com") or resource["displayName"]
        for resource in body["Resources"]
    ]


async def test_all_of_both_kinds(people: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.4.2.1: all resources, users before groups, each in order of their ids."""
    body = await query(people)
    separate = [(await people.get(path)).json() for path in ("/Users", "/Groups")]
    assert body["Resources"] == separate[0]["Resources"] + separate[1]["Resources"]
    assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (6, 1, 6)


USERS, GROUPS = {"ada", "bob", "carol"}, {"Green", "blue", "Red"}


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('meta.resourceType eq "User"', USERS),
        ('meta.resourceType eq "Group"', GROUPS),
        ('(meta.resourceType eq "User") or (meta.resourceType eq "Group")', USERS | GROUPS),
        ('meta.resourceType ne "User"', GROUPS),
        ('displayName eq "BLUE"', {"ada", "blue"}),
        ('userName eq "bob@example.com"', {"bob"}),
        ("userName pr", USERS),
        ("not (userName pr)", GROUPS),
        ('userName ne "bob@example.com"', {"ada", "carol"} | GROUPS),
        ("title pr or members pr", {"bob", "Green", "blue"}),
        ('emails[type eq "work" and value sw "ada"]', {"ada"}),
        ('emails.value co "example" and displayName pr', {"ada", "bob"}),
        (f'{ENTERPRISE}:department eq "sales"', {"carol"}),
        (f'{USER}:displayName eq "blue"', {"ada"}),
        (f'{GROUP}:displayName eq "blue"', {"blue"}),
        (f'schemas eq "{ENTERPRISE}"', {"carol"}),
        (f'schemas eq "{GROUP}"', GROUPS),
        ('externalId eq "3"', {"Red"}),
        ("externalId pr", {"ada", "Red"}),
        ('members.type eq "User"', {"Green", "blue"}),
        ("groups pr", {"ada", "bob"}),
        ('meta.created gt "2001-01-01T00:00:00Z"', USERS | GROUPS),
        ('shoeSize eq "7"', set()),
        ("not (shoeSize pr)", USERS | GROUPS),
    ],
)
async def test_a_filter(people: httpx.AsyncClient, filter: str, found: set[str]) -> None:
    """RFC 7644 section 3.4.2.1: what a resource type lacks has no value there."""
    body = await query(people, filter=filter)
    assert set(names(body)) == found
    assert body["totalResults"] == len(found)


async def test_a_filter_by_id_finds_either_kind(people: httpx.AsyncClient) -> None:
    for path in ("/Users", "/Groups"):
        resource = (await people.get(path)).json()["Resources"][1]
        body = await query(people, filter=f'id eq "{resource["id"]}"')
        assert body["Resources"] == [resource]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("sorting", [{}, {"sortBy": "displayName"}, {"sortBy": "userName"}])
async def test_pages_are_the_whole_in_pieces(
    people: httpx.AsyncClient, count: int, sorting: Body
) -> None:
    """RFC 7644 section 3.4.2.4: over the union, with its true total."""
    whole = names(await query(people, **sorting))
    pieces: Found = []
    for start in range(1, 8, count):
        body = await query(people, startIndex=start, count=count, **sorting)
        assert body["totalResults"] == 6
        assert (body["startIndex"], body["itemsPerPage"]) == (start, len(body["Resources"]))
        assert len(body["Resources"]) <= count
        pieces += names(body)
    assert pieces == whole


@pytest.mark.parametrize(
    ("start", "count", "found"),
    [(0, 2, 2), (-5, 1, 1), (1, 0, 0), (1, -1, 0), (7, 10, 0), (6, 9, 1)],
)
async def test_the_edges_of_pages(
    people: httpx.AsyncClient, start: int, count: int, found: int
) -> None:
    """RFC 7644 section 3.4.2.4, table 6."""
    body = await query(people, startIndex=start, count=count)
    assert (len(body["Resources"]), body["totalResults"]) == (found, 6)


async def test_a_page_has_its_limit(scim: httpx.AsyncClient) -> None:
    """RFC 7643 section 5 `maxResults`: of both kinds together."""
    users = await create_users(scim, PAGE_LIMIT - 1)
    for i in range(2):
        await create_group(scim, f"G{i}")
    body = await query(scim, count=PAGE_LIMIT + 1)
    assert (len(names(body)), names(body)[-1]) == (PAGE_LIMIT, "G0")
    assert body["totalResults"] == len(users) + 2


# Sorting


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("displayName", ["ada", "blue", "Green", "Red", "bob", "carol"]),
        ("userName", ["ada", "bob", "carol", "Green", "blue", "Red"]),
        ("title", ["bob", "ada", "carol", "Green", "blue", "Red"]),
        ("externalId", ["Red", "ada", "bob", "carol", "Green", "blue"]),
        ("meta.created", ["ada", "bob", "carol", "Green", "blue", "Red"]),
        ("meta.resourceType", ["Green", "blue", "Red", "ada", "bob", "carol"]),
        (f"{ENTERPRISE}:department", ["carol", "ada", "bob", "Green", "blue", "Red"]),
    ],
)
async def test_sorting(people: httpx.AsyncClient, by: str, found: Found) -> None:
    """RFC 7644 section 3.4.2.3: what has no value comes last; equal ones keep their order."""
    assert names(await query(people, sortBy=by)) == found
    ascending = await query(people, sortBy=by, sortOrder="ascending")
    assert names(ascending) == found


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("displayName", ["carol", "bob", "Red", "Green", "ada", "blue"]),
        ("userName", ["Green", "blue", "Red", "carol", "bob", "ada"]),
        ("title", ["Green", "blue", "Red", "ada", "carol", "bob"]),
        ("meta.resourceType", ["ada", "bob", "carol", "Green", "blue", "Red"]),
    ],
)
async def test_sorting_downwards(people: httpx.AsyncClient, by: str, found: Found) -> None:
    """RFC 7644 section 3.4.2.3: what has no value comes first."""
    assert names(await query(people, sortBy=by, sortOrder="descending")) == found


async def test_sorting_what_a_filter_leaves(people: httpx.AsyncClient) -> None:
    body = await query(people, filter="displayName pr", sortBy="displayName", startIndex=2, count=3)
    assert names(body) == ["blue", "Green", "Red"]
    assert body["totalResults"] == 5


async def test_sorted_results_far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7644 section 3.12 `tooMany`; of one kind alone any result can be reached."""
    monkeypatch.setattr(search, "REACH", 3)
    async with in_process(tmp_path) as muster:
        scim = (await muster.tenant()).scim
        for i in range(3):
            await create_group(scim, f"G{i}")
            await create_user(scim, f"u{i}", displayName=f"U{i}")
        sorted_so = {"sortBy": "displayName", "count": "2"}
        assert names((await scim.get("", params=sorted_so | {"startIndex": "2"})).json()) == [
            "G1",
            "G2",
        ]
        answer = await scim.get("", params=sorted_so | {"startIndex": "3"})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "tooMany")
        assert "/Users" in answer.json()["detail"]
        users = {"filter": 'meta.resourceType eq "User"', "startIndex": "3"}
        answer = await scim.get("", params=sorted_so | users)
        assert names(answer.json()) == ["u2"]


# Projection


@pytest.mark.parametrize(
    ("parameters", "of_users", "of_groups"),
    [
        ({"attributes": ["displayName"]}, {"displayName"}, {"displayName"}),
        ({"attributes": ["userName", "MEMBERS"]}, {"userName"}, {"displayName", "members"}),
        ({"attributes": ["meta.resourceType"]}, {"meta"}, {"displayName", "meta"}),
        (
            {"excludedAttributes": ["members", "name", "emails", "meta", "groups"]},
            {"userName", "displayName", "active", "externalId"},
            {"displayName"},
        ),
    ],
)
async def test_each_kind_is_projected_by_its_own_schema(
    scim: httpx.AsyncClient,
    parameters: dict[str, Sequence[str]],
    of_users: set[str],
    of_groups: set[str],
) -> None:
    """RFC 7644 sections 3.4.2.5 and 3.9."""
    ada = await create_user(scim, "ada", displayName="Ada", externalId="1")
    await create_group(scim, "Sales", [ada])
    in_url = {name: ",".join(value) for name, value in parameters.items()}
    for answer in (
        await scim.get("", params=in_url),
        await scim.post("/.search", json={"schemas": [SEARCH_REQUEST], **parameters}),
    ):
        shown, team = answer.json()["Resources"]
        assert shown.keys() - {"schemas", "id"} == of_users
        assert team.keys() - {"schemas", "id"} - {"displayName"} == of_groups - {"displayName"}


# What is refused


@pytest.mark.parametrize(
    ("parameters", "scim_type", "named"),
    [
        ({"filter": "userName eq"}, "invalidFilter", "filter"),
        ({"filter": ""}, "invalidFilter", "filter"),
        ({"filter": 'active gt "x"'}, "invalidFilter", "active"),
        ({"sortBy": "shoeSize"}, "invalidValue", "shoeSize"),
        ({"sortBy": "userName", "sortOrder": "upwards"}, "invalidValue", "sortOrder"),
        ({"sortBy": "displayName", "sortOrder": "upwards"}, "invalidValue", "sortOrder"),
        ({"startIndex": "x"}, "invalidValue", "startIndex"),
        ({"count": "1.5"}, "invalidValue", "count"),
        ({"cursor": ""}, "invalidValue", "startIndex"),
    ],
)
async def test_a_query_that_is_wrong(
    scim: httpx.AsyncClient, parameters: dict[str, str], scim_type: str, named: str
) -> None:
    """RFC 7644 section 3.12."""
    answer = await scim.get("", params=parameters)
    assert (answer.status_code, answer.json()["scimType"]) == (400, scim_type)
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("body", [[], "x", {"schemas": [USER]}, {"count": "1"}, {"filter": 7}])
async def test_a_body_that_is_no_search_request(scim: httpx.AsyncClient, body: Any) -> None:
    """RFC 7644 section 3.4.3."""
    answer = await scim.post("/.search", json=body)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax")


async def test_a_search_writes_nothing_and_needs_no_provisioning(tenant: Tenant) -> None:
    await tenant.scim.post("/Users", json=user("ada"))
    before = await tenant.contents()
    await query(tenant.scim)
    assert await tenant.contents() == before
    disabled = await tenant.muster.tenant(enabled=False)
    assert (await query(disabled.scim))["totalResults"] == 0
