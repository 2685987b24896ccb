"""Everybody's access: pages, filters, several at once, and what a copy of it can rely on."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from directory.access import access_id
from directory.documents import EntitlementKey, user_id
from directory.store import Assign, Update
from tests.access.surface import access_client
from tests.scim.messages import NOBODY, create_group, create_users, operation, patch
from tests.transports import Muster, Tenant

OWNER = EntitlementKey(kind="role", key="owner")
OFF = patch(operation("replace", "active", False))


async def listed(client: httpx.AsyncClient, path: str = "/users", **query: Any) -> list[Any]:
    """Every user of a list, page by page."""
    found: list[Any] = []
    while True:
        answer = await client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert ("feedPosition" in page) is ("cursor" not in query)
        found += page["users"]
        if "nextCursor" not in page:
            return found
        query["cursor"] = page["nextCursor"]


def ids(users: Sequence[Any]) -> list[str]:
    return [user["id"] for user in users]


async def staff(tenant: Tenant) -> tuple[list[str], str]:
    """Seven users, the first three of them owners; settled."""
    people = await create_users(tenant.scim, 7)
    owners = await create_group(tenant.scim, "Owners", people[:3])
    await create_group(tenant.scim, "Staff", people[3:6])
    await tenant.mappings.save(owners, (OWNER,))
    await tenant.settle()
    return people, owners


async def test_everybody_page_by_page_as_one_by_one(
    tenant: Tenant, vendor: httpx.AsyncClient
) -> None:
    """Product section 8; the same with either credential."""
    people, _ = await staff(tenant)
    alone = [(await tenant.access.get(f"/users/{id}")).json() for id in people]
    for limit in (1, 3, 7, 1000):
        assert await listed(tenant.access, limit=limit) == alone
    assert await listed(vendor, f"/tenants/{tenant.tenant_id}/users", limit=4) == alone
    for wrong in ("0", "1001", "x"):
        answer = await tenant.access.get("/users", params={"limit": wrong})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "/limit"


async def test_filters(tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    changed = (await tenant.access.get(f"/users/{people[6]}")).json()["changedAt"]
    for query, expected in (
        ({"enabled": "true"}, people[:6]),
        ({"enabled": "false"}, people[6:]),
        ({"grant": "role:owner"}, people[:3]),
        ({"grant": "role:owner", "enabled": "false"}, []),
        ({"grant": "role:visitorsAdministrator"}, []),
        ({"changedSince": "2099-01-01T00:00:00Z"}, []),
        ({"changedSince": "2020-01-01"}, people),
    ):
        for limit in (2, 100):
            assert ids(await listed(tenant.access, limit=limit, **query)) == expected, query
    assert people[6] in ids(await listed(tenant.access, changedSince=changed))


async def test_a_deactivation_counts_at_once_in_lists_too(tenant: Tenant) -> None:
    """Invariant 4, before anything is reconciled, and for filters, too."""
    people, _ = await staff(tenant)
    ada = people[0]
    assert (await tenant.scim.patch(f"/Users/{ada}", json=OFF)).status_code == 200
    one = (await tenant.access.get(f"/users/{ada}")).json()
    assert (one["enabled"], one["reasons"], one["grants"]) == (False, ["inactive"], [])
    for found in (
        await listed(tenant.access),
        (await tenant.access.post("/users/query", json={"ids": [ada]})).json()["users"],
        (await tenant.access.get("/users", params={"ids": ada})).json()["users"],
    ):
        assert found[0]["enabled"] is False
        assert (found[0]["id"], found[0]["grants"]) == (ada, [])
    assert ada in ids(await listed(tenant.access, enabled="false"))
    assert ids(await listed(tenant.access, grant="role:owner")) == people[1:3]
    assert (await tenant.scim.delete(f"/Users/{ada}")).status_code == 204
    assert ids(await listed(tenant.access)) == people[1:]


async def test_several_at_once_in_the_order_asked_for(tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    asked = [people[4], NOBODY, people[0], "x/y", people[4]]
    for answer in (
        await tenant.access.post("/users/query", json={"ids": asked}),
        await tenant.access.get("/users", params={"ids": ",".join(asked)}),
    ):
        assert answer.status_code == 200
        assert ids(answer.json()["users"]) == [people[4], people[0]]
        assert answer.json()["missing"] == [NOBODY, "x/y"]
    thousand = [NOBODY[:-4] + f"{n:04}" for n in range(1000)]
    answer = await tenant.access.post("/users/query", json={"ids": thousand})
    assert len(answer.json()["missing"]) == 1000
    for body in ({"ids": [*thousand, "x"]}, {"ids": "x"}, {}, {"ids": [1]}, {"ids": [], "x": 1}):
        answer = await tenant.access.post("/users/query", json=body)
        assert answer.status_code == 400, body
        assert answer.json()["errors"]
    answer = await tenant.access.post("/users/query", content=b"{}")
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"userName": "a", "cursor": NOBODY}, "One at a time"),
        ({"ids": "a", "externalId": "b"}, "One at a time"),
        ({"grant": "owner"}, "cannot be read"),
        ({"cursor": "x"}, "cursor"),
        ({"changedSince": "soon"}, "cannot be read"),
        ({"changedSince": "1700000000"}, "cannot be read"),
        ({"sortBy": "userName"}, "cannot be read"),
        ({"ids": ",".join(["x"] * 1001)}, "at most 1,000"),
    ],
)
async def test_what_makes_no_sense_is_said(
    tenant: Tenant, query: dict[str, str], says: str
) -> None:
    answer = await tenant.access.get("/users", params=query)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


async def test_an_empty_cursor_is_the_first_page(tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    page = (await tenant.access.get("/users", params={"cursor": "", "limit": "3"})).json()
    assert ids(page["users"]) == people[:3]
    assert "feedPosition" in page


async def test_an_etag_tells_whether_anything_is_new(tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    for path in ("/users", f"/users/{people[0]}", f"/users?ids={people[0]}"):
        first = await tenant.access.get(path)
        known = {"If-None-Match": f'"x", W/{first.headers["ETag"]}'}
        again = await tenant.access.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    await tenant.scim.patch(f"/Users/{people[0]}", json=OFF)
    assert (await tenant.access.get(path, headers=known)).status_code == 200


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_what_cannot_be_read_stops_only_itself(muster: Muster, tenant: Tenant) -> None:
    """A record that cannot be read enables nobody; a user is left out, and the walk goes on."""
    people, _ = await staff(tenant)
    store, id = muster.store, tenant.tenant_id
    await store.batch(id, [Update(access_id(people[0]), (Assign(("enabled",), "perhaps"),))])
    await store.batch(id, [Update(user_id(people[3]), (Assign(("resource",), 7),))])
    for limit in (1, 100):
        found = await listed(tenant.access, limit=limit)
        assert ids(found) == [id for id in people if id != people[3]]
        assert (found[0]["enabled"], found[0]["pending"]) == (False, True)
    answer = await tenant.access.post("/users/query", json={"ids": [people[3], people[4]]})
    assert (ids(answer.json()["users"]), answer.json()["missing"]) == ([people[4]], [])


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_an_answer_holds_a_bounded_number_of_grants(muster: Muster, tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    access = access_client(muster, tenant, most_grants=1, chunk=2)
    page = (await access.get("/users")).json()
    assert ids(page["users"]) == people[:2]
    assert ids(await listed(access)) == people
    assert (await access.post("/users/query", json={"ids": people})).status_code == 413
    assert (await access.get("/users", params={"ids": people[0]})).status_code == 200


@pytest.mark.parametrize("muster", ["wire"], indirect=True)
async def test_what_a_page_reads_is_bounded(muster: Muster, tenant: Tenant) -> None:
    people, _ = await staff(tenant)
    asked: list[str] = []
    for name in ("read", "read_many", "query", "changes"):
        original = getattr(muster.store, name)

        def told(*given: Any, original: Any = original, name: str = name) -> Any:
            asked.append(name)
            return original(*given)

        setattr(muster.store, name, told)
    for path, expected in (
        ("/users?limit=3", ["changes", "query", "read_many", "read_many"]),
        (f"/users?limit=3&cursor={people[2]}", ["query", "read_many"]),
        (f"/users?ids={','.join(people)}", ["read_many", "read_many"]),
    ):
        asked.clear()
        assert (await tenant.access.get(path)).status_code == 200
        assert asked == expected, path
