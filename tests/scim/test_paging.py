"""Paging and sorting: RFC 7644 sections 3.4.2.3 and 3.4.2.4."""

import base64
import json
import random
from typing import Any

import httpx
import pytest

from directory.documents import user_id
from directory.store import Assign, Update
from scim.selection import PAGE_LIMIT
from tests.scim.messages import (
    SEARCH_REQUEST,
    create_group,
    create_user,
    create_users,
    ids,
    operation,
    patch,
)
from tests.transports import Tenant, beside


@pytest.mark.parametrize(
    ("query", "start", "positions"),
    [
        ({}, 1, [0, 1, 2, 3, 4]),
        ({"startIndex": "2", "count": "2"}, 2, [1, 2]),
        ({"startIndex": "4", "count": "9"}, 4, [3, 4]),
        ({"startIndex": "5"}, 5, [4]),
        ({"startIndex": "6"}, 6, []),
        ({"startIndex": "1000000000000"}, 1_000_000_000_000, []),
        ({"startIndex": "9" * 40}, 2**53, []),
        ({"startIndex": "0", "count": "1"}, 1, [0]),
        ({"startIndex": "-7", "count": "1"}, 1, [0]),
        ({"startIndex": "", "count": ""}, 1, [0, 1, 2, 3, 4]),
        ({"count": "0"}, 1, []),
        ({"count": "-1"}, 1, []),
        ({"count": "-" + "9" * 40}, 1, []),
        ({"count": "9" * 40}, 1, [0, 1, 2, 3, 4]),
    ],
)
async def test_a_page(
    scim: httpx.AsyncClient, query: dict[str, str], start: int, positions: list[int]
) -> None:
    """RFC 7644 section 3.4.2.4, table 6: below 1 is 1, a negative count is 0."""
    known = await create_users(scim, 5)
    answer = await scim.get("/Users", params=query)
    assert ids(answer) == [known[position] for position in positions]
    body = answer.json()
    assert (body["totalResults"], body["startIndex"]) == (5, start)
    assert body["itemsPerPage"] == len(positions)


@pytest.mark.parametrize("name", ["startIndex", "count"])
@pytest.mark.parametrize("value", ["x", "1.5", "1e3", "1_0", "٣", "0x1", "1,2", "null", "9" * 5000])
async def test_what_is_no_whole_number_is_refused(
    scim: httpx.AsyncClient, name: str, value: str
) -> None:
    """RFC 7644 section 3.12 `invalidValue`."""
    answer = await scim.get("/Groups", params={name: value})
    assert answer.status_code == 400
    assert answer.json()["scimType"] == "invalidValue"
    assert name in answer.json()["detail"]


async def test_a_page_is_never_larger_than_announced(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.4.2.4: no more than asked for, and the server may answer fewer."""
    known = await create_users(scim, PAGE_LIMIT + 3)
    first = await scim.get("/Users", params={"count": "1000"})
    assert ids(first) == known[:PAGE_LIMIT]
    assert first.json()["totalResults"] == len(known)
    rest = await scim.get("/Users", params={"count": "1000", "startIndex": str(PAGE_LIMIT + 1)})
    assert ids(rest) == known[PAGE_LIMIT:]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"filter": "active eq true"},
        {"sortBy": "active"},
        {"sortBy": "title"},
        {"sortBy": "nickName", "sortOrder": "descending", "filter": "id pr"},
    ],
)
async def test_every_user_is_on_exactly_one_page(
    scim: httpx.AsyncClient, query: dict[str, str]
) -> None:
    """RFC 7644 section 3.4.2.4, also where many have the same value or none."""
    known = await create_users(scim, 7)
    for position, id in enumerate(known):
        await scim.patch(f"/Users/{id}", json=patch(operation("add", "title", f"T{position % 3}")))
    found: list[str] = []
    for start in (1, 4, 7):
        page = {"startIndex": str(start), "count": "3"}
        found += ids(await scim.get("/Users", params=query | page))
    assert sorted(found) == sorted(known)


async def test_who_comes_while_somebody_pages_moves_nobody(scim: httpx.AsyncClient) -> None:
    """New users come last, so that every old one is on exactly one page."""
    known = await create_users(scim, 4)
    first = ids(await scim.get("/Users", params={"count": "2"}))
    late = await create_users(scim, 1)
    second = ids(await scim.get("/Users", params={"startIndex": "3", "count": "10"}))
    assert sorted(first + second) == sorted(known + late)


@pytest.mark.parametrize("sorting", [{}, {"sortBy": "userName", "sortOrder": "descending"}])
@pytest.mark.parametrize("seed", range(2))
async def test_a_walk_misses_nobody_who_stays(
    scim: httpx.AsyncClient, seed: int, sorting: dict[str, str]
) -> None:
    """Whoever goes between two pages, on whatever page."""
    chance = random.Random(seed)
    known = await create_users(scim, 12)
    seen: list[str] = []
    gone: set[str] = set()
    start, total, size = 1, 12, chance.randint(2, 4)
    while start <= total:
        page = await scim.get("/Users", params={"startIndex": start, "count": size, **sorting})
        assert page.json()["startIndex"] == start
        total = page.json()["totalResults"]
        seen += ids(page)
        start += size
        for leaver in chance.sample(sorted({*known} - gone), 2):
            await scim.delete(f"/Users/{leaver}")
            gone.add(leaver)
    assert len(seen) == len({*seen})
    assert {*known} - gone <= {*seen}


async def test_what_cannot_be_read_does_not_end_a_walk(tenant: Tenant) -> None:
    known = await create_users(tenant.scim, 6)
    await tenant.muster.store.batch(
        tenant.tenant_id, [Update(user_id(known[1]), (Assign(("resource",), 7),))]
    )
    for step in ("asked for", "came"):
        seen: list[str] = []
        start, total = 1, 6
        while start <= total:
            page = await tenant.scim.get("/Users", params={"startIndex": start, "count": 2})
            total = page.json()["totalResults"]
            seen += ids(page)
            start += 2 if step == "asked for" else page.json()["itemsPerPage"]
        assert seen == [known[0], *known[2:]], step


@pytest.mark.parametrize(("start", "count", "items"), [(1, 10, 1), (2, 10, 0), (1, 0, 0)])
async def test_a_match_by_a_unique_value_is_paged_like_any_other(
    scim: httpx.AsyncClient, start: int, count: int, items: int
) -> None:
    """It is looked up without a query, and must not show."""
    await create_user(scim, "ada")
    match = {"filter": 'userName eq "ADA@example.com"'}
    query = match | {"startIndex": str(start), "count": str(count)}
    body = (await scim.get("/Users", params=query)).json()
    assert (body["totalResults"], len(body["Resources"])) == (1, items)
    assert body["startIndex"] == start


NAMES: list[dict[str, Any]] = [
    {"title": "beta", "name": {"givenName": "A", "familyName": "Zulu"}},
    {"title": "Alpha", "name": {"givenName": "A", "familyName": "yankee"}},
    {"name": {"givenName": "A", "familyName": "X-ray"}},
    {"title": "gamma", "name": {"givenName": "A", "familyName": "Émile"}},
]


@pytest.mark.parametrize(
    ("by", "order", "positions"),
    [
        ("title", None, [1, 0, 3, 2]),
        ("title", "ascending", [1, 0, 3, 2]),
        ("title", "Descending", [2, 3, 0, 1]),
        ("TITLE", "descending", [2, 3, 0, 1]),
        ("name.familyName", None, [2, 1, 0, 3]),
        ("urn:ietf:params:scim:schemas:core:2.0:User:name.familyName", None, [2, 1, 0, 3]),
    ],
)
async def test_sorting(
    scim: httpx.AsyncClient, by: str, order: str | None, positions: list[int]
) -> None:
    """RFC 7644 section 3.4.2.3: without case, ascending by default, no value last and, descending,
    first."""
    known = [await create_user(scim, f"user{number}", **more) for number, more in enumerate(NAMES)]
    query = {"sortBy": by} | ({"sortOrder": order} if order else {})
    expected = [known[position] for position in positions]
    assert ids(await scim.get("/Users", params=query)) == expected
    search = {"schemas": [SEARCH_REQUEST], **query}
    assert ids(await scim.post("/Users/.search", json=search)) == expected


@pytest.mark.parametrize("by", ["id", "manager", "meta.created", "active", "nickName"])
async def test_sorting_by_what_many_have_alike(scim: httpx.AsyncClient, by: str) -> None:
    """RFC 7644 section 3.4.2.3: a complex attribute by its value; equal ones by id, so that pages
    do not depend on chance."""
    await create_users(scim, 5)
    users = (await scim.get("/Users")).json()["Resources"]
    created = {
        user["id"]: user["meta"]["created"] if by == "meta.created" else "" for user in users
    }
    expected = sorted(created, key=lambda id: (created[id], id))
    assert ids(await scim.get("/Users", params={"sortBy": by})) == expected


@pytest.mark.parametrize(
    ("kind", "query", "named"),
    [
        ("User", {"sortBy": "nope"}, "nope"),
        ("User", {"sortBy": "emails.type"}, "several values"),
        ("User", {"sortBy": 'emails[type eq "work"].value'}, "brackets"),
        ("User", {"sortBy": "name"}, "name"),
        ("User", {"sortBy": "password"}, "never shown"),
        ("User", {"sortBy": "meta.version"}, "version"),
        ("User", {"sortBy": "groups"}, "groups"),
        ("User", {"sortBy": "title", "sortOrder": "sideways"}, "sortOrder"),
        ("Group", {"sortBy": "members"}, "members"),
        ("Group", {"sortBy": "userName"}, "userName"),
    ],
)
async def test_what_cannot_be_sorted_by(
    scim: httpx.AsyncClient, kind: str, query: dict[str, str], named: str
) -> None:
    """RFC 7644 section 3.12 `invalidValue`."""
    answer = await scim.get(f"/{kind}s", params=query)
    assert answer.status_code == 400
    assert answer.json()["scimType"] == "invalidValue"
    assert named in answer.json()["detail"]


async def test_groups_are_sorted_and_paged_like_users(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.4.2."""
    b, a, c = [await create_group(scim, name) for name in ("beta", "Alpha", "Gamma")]
    query = {"sortBy": "displayName", "startIndex": "2", "count": "2"}
    answer = await scim.get("/Groups", params=query)
    assert ids(answer) == [b, c]
    assert answer.json()["totalResults"] == 3
    assert a not in ids(answer)


async def all_pages(scim: httpx.AsyncClient, path: str, query: dict[str, str]) -> list[list[str]]:
    """The ids of each page, by cursor."""
    pages, cursor = [], ""
    while True:
        answer = await scim.get(path, params=query | {"cursor": cursor})
        pages.append(ids(answer))
        body = answer.json()
        assert "startIndex" not in body
        assert body["itemsPerPage"] == len(pages[-1])
        if "nextCursor" not in body:
            return pages
        cursor = body["nextCursor"]


@pytest.mark.parametrize(
    "query", [{}, {"sortBy": "title", "sortOrder": "descending"}, {"filter": "active eq true"}]
)
async def test_pages_by_cursor(scim: httpx.AsyncClient, query: dict[str, str]) -> None:
    """RFC 9865 section 2: every user once, in the order of index paging."""
    known = await create_users(scim, 7)
    for position, id in enumerate(known):
        await scim.patch(f"/Users/{id}", json=patch(operation("add", "title", f"T{position % 3}")))
    pages = await all_pages(scim, "/Users", query | {"count": "3"})
    assert [len(page) for page in pages] == [3, 3, 1]
    everybody = [id for page in pages for id in page]
    assert everybody == ids(await scim.get("/Users", params=query))
    assert await all_pages(scim, "/Users", query | {"count": "7"}) == [everybody]
    assert await all_pages(scim, "/Groups", {}) == [[]]


async def test_who_leaves_while_somebody_pages_by_cursor_hides_nobody(
    scim: httpx.AsyncClient,
) -> None:
    """RFC 9865 section 1: what index paging cannot do."""
    known = await create_users(scim, 5)
    first = (await scim.get("/Users", params={"cursor": "", "count": "2"})).json()
    for id in known[:2]:
        await scim.delete(f"/Users/{id}")
    rest = {"cursor": first["nextCursor"], "count": "5"}
    assert ids(await scim.get("/Users", params=rest)) == known[2:]


async def test_a_cursor_belongs_to_one_query_of_one_tenant(tenant: Tenant) -> None:
    """RFC 9865 section 2.1 `invalidCursor`."""
    scim = tenant.scim
    await create_users(scim, 3)
    other = await tenant.muster.tenant()
    await create_users(other.scim, 3)
    first = await scim.get("/Users", params={"cursor": "", "count": "1"})
    cursor = first.json()["nextCursor"]
    signature, total, continuation = json.loads(base64.urlsafe_b64decode(cursor + "=="))

    def forged(*content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()

    same = forged(signature, total, continuation)
    assert len(ids(await scim.get("/Users", params={"cursor": same}))) == 2
    for client, path, query in (
        (other.scim, "/Users", {"cursor": cursor}),
        (scim, "/Groups", {"cursor": cursor}),
        (scim, "/Users", {"cursor": cursor, "filter": "active eq true"}),
        (scim, "/Users", {"cursor": cursor, "sortBy": "title"}),
        (scim, "/Users", {"cursor": cursor + "A"}),
        (scim, "/Users", {"cursor": cursor[:-4]}),
        (scim, "/Users", {"cursor": "x"}),
        (scim, "/Users", {"cursor": "ä"}),
        (scim, "/Users", {"cursor": "bnVsbA"}),
        (scim, "/Users", {"cursor": forged(signature, total + 1, continuation)}),
        (scim, "/Users", {"cursor": forged(signature, total, "")}),
        (scim, "/Users", {"cursor": forged(signature, total, "x")}),
        (scim, "/Users", {"cursor": forged(signature, total, continuation[:-2])}),
        (scim, "/Users", {"cursor": forged(signature, total, [continuation])}),
        (scim, "/Users", {"cursor": forged([], total, continuation)}),
        (scim, "/Users", {"cursor": forged("ä", total, continuation)}),
        (scim, "/Users", {"cursor": forged("0" * 32, total, continuation)}),
    ):
        answer = await client.get(path, params=query)
        assert answer.status_code == 400, query
        assert answer.json()["scimType"] == "invalidCursor"


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_a_cursor_is_good_on_every_instance(tenant: Tenant) -> None:
    """All instances sign with one key, which the first one made."""
    known = await create_users(tenant.scim, 3)
    page = (await tenant.scim.get("/Users", params={"cursor": "", "count": "1"})).json()
    async with beside(tenant.muster) as instance:
        another = await instance.scim(tenant.token)
        assert ids(await another.get("/Users", params={"cursor": page["nextCursor"]})) == known[1:]


async def test_a_search_in_a_body_finds_what_a_query_finds(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.4.3."""
    ada = await create_user(scim, "ada", title="Countess")
    await create_user(scim, "grace")
    body = {
        "schemas": [SEARCH_REQUEST],
        "filter": 'title sw "count"',
        "attributes": ["userName", "title"],
        "startIndex": 1,
        "count": 10,
        "sortBy": "userName",
        "sortOrder": "ascending",
    }
    answer = await scim.post("/Users/.search", json=body)
    assert ids(answer) == [ada]
    (found,) = answer.json()["Resources"]
    assert found.keys() == {"schemas", "id", "userName", "title"}
    query = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in body.items()
    }
    assert (await scim.get("/Users", params=query)).json() == answer.json()


async def test_several_values_are_sorted_by_the_primary_one(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.4.2.3: by the primary value, or else by the first one."""
    first = await create_user(scim, "a", emails=[work("c@x.example"), work("b@x.example", True)])
    second = await create_user(scim, "b", emails=[work("a@x.example"), work("z@x.example")])
    for by in ("emails", "emails.value"):
        assert ids(await scim.get("/Users", params={"sortBy": by})) == [second, first]


def work(value: str, primary: bool = False) -> dict[str, Any]:
    return {"type": "work", "value": value, "primary": primary}
