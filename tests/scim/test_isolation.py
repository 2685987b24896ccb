"""Whose a resource is: tenants see nothing of each other, and a group has one connection that
writes it (product section 2, invariant 5)."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from administration.connections import create_connection
from administration.tokens import create_token
from tests.scim.messages import (
    NOBODY,
    SEARCH_REQUEST,
    add,
    create_group,
    create_user,
    create_users,
    group,
    members,
    operation,
    patch,
    remove,
    user,
)
from tests.transports import Muster, Tenant


@pytest.fixture
async def other(muster: Muster) -> Tenant:
    """Another organisation."""
    return await muster.tenant()


async def test_anothers_id_is_an_id_that_never_was(tenant: Tenant, other: Tenant) -> None:
    """Invariant 5: the same 404, to the letter, but for the id itself."""
    ada = await create_user(tenant.scim, "ada")
    sales = await create_group(tenant.scim, "Sales", [ada])
    before = await tenant.contents()
    rename = patch(operation("replace", "displayName", "x"))
    for kind, id, body in (("Users", ada, user("ada")), ("Groups", sales, group("Sales"))):
        for method, sent in (("GET", None), ("PUT", body), ("PATCH", rename), ("DELETE", None)):
            foreign = await other.scim.request(method, f"/{kind}/{id}", json=sent)
            unknown = await other.scim.request(method, f"/{kind}/{NOBODY}", json=sent)
            assert foreign.status_code == unknown.status_code == 404
            assert foreign.text.replace(id, NOBODY) == unknown.text
            assert foreign.headers.keys() == unknown.headers.keys()
    assert await tenant.contents() == before
    assert await other.contents() == {}


async def test_anothers_resources_are_found_by_no_search(tenant: Tenant, other: Tenant) -> None:
    """Invariant 5."""
    ada = await create_user(tenant.scim, "ada", externalId="A-1")
    sales = await create_group(tenant.scim, "Sales", [ada])
    for path, filter in (
        ("/Users", None),
        ("/Groups", None),
        ("/Users", f'id eq "{ada}"'),
        ("/Users", 'userName eq "ada@example.com"'),
        ("/Users", 'externalId eq "A-1"'),
        ("/Users", 'emails[type eq "work"].value eq "ada@example.com"'),
        ("/Users", "active eq true or active ne true"),
        ("/Users", f'groups.value eq "{sales}"'),
        ("/Groups", f'members.value eq "{ada}"'),
        ("/Groups", 'displayName sw ""'),
    ):
        query = {"filter": filter} if filter else {}
        assert (await other.scim.get(path, params=query)).json()["totalResults"] == 0
        search = {"schemas": [SEARCH_REQUEST], **query}
        assert (await other.scim.post(f"{path}/.search", json=search)).json()["totalResults"] == 0


async def test_anothers_user_is_no_member(tenant: Tenant, other: Tenant) -> None:
    """Invariant 5: neither added, nor removed, nor told apart from an id that never was."""
    ada = await create_user(tenant.scim, "ada")
    theirs = await create_group(tenant.scim, "Theirs", [ada])
    ours = await create_group(other.scim, "Ours")
    before = await tenant.contents()
    answers = [await other.scim.patch(f"/Groups/{ours}", json=add([id])) for id in (ada, NOBODY)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]
    assert (await other.scim.patch(f"/Groups/{ours}", json=add([theirs]))).status_code == 204
    assert await members(other.scim, ours) == []
    await other.scim.patch(f"/Groups/{ours}", json=remove([ada]))
    assert await members(tenant.scim, theirs) == [ada]
    assert await tenant.contents() == before


async def test_two_tenants_may_use_the_same_values(tenant: Tenant, other: Tenant) -> None:
    """Uniqueness ends at the organisation."""
    for each in (tenant, other):
        await create_user(each.scim, "ada", externalId="A-1")
        await create_group(each.scim, "Sales")
    for each in (tenant, other):
        assert (await each.scim.get("/Users")).json()["totalResults"] == 1
        assert (await each.scim.post("/Users", json=user("ada"))).status_code == 409


async def test_anothers_access_is_not_readable(tenant: Tenant, other: Tenant) -> None:
    """Invariant 5, through the access API."""
    ada = await create_user(tenant.scim, "ada", externalId="A-1")
    await tenant.settle()
    assert (await tenant.access.get(f"/users/{ada}")).status_code == 200
    unknown = await other.access.get(f"/users/{NOBODY}")
    foreign = await other.access.get(f"/users/{ada}")
    assert (foreign.status_code, foreign.text) == (404, unknown.text)
    for query in ({"userName": "ada@example.com"}, {"externalId": "A-1"}):
        assert (await other.access.get("/users", params=query)).status_code == 404


async def second_connection(tenant: Tenant) -> httpx.AsyncClient:
    """A client of another Enterprise Application of the same organisation. Call it before the
    tenant's first request: a server remembers tenants for seconds."""
    store, id = tenant.muster.store, tenant.tenant_id
    await create_connection(store, id, "second", "Second application")
    now = datetime.now(UTC)
    token = await create_token(store, id, "scim", now, connection_id="second")
    return await tenant.muster.scim(token)


GROUP_WRITES: list[tuple[str, dict[str, Any] | None]] = [
    ("PUT", group("Renamed")),
    ("PATCH", patch(operation("replace", "displayName", "Renamed"))),
    ("PATCH", patch(operation("remove", "members"))),
    ("PATCH", patch(operation("replace", "displayName", "Sales"))),
    ("DELETE", None),
]


async def test_a_group_is_written_by_the_connection_that_brought_it(tenant: Tenant) -> None:
    """Product section 2: 403 that names the owner; everybody may read it."""
    second = await second_connection(tenant)
    ada = await create_user(tenant.scim, "ada")
    sales = await create_group(tenant.scim, "Sales", [ada])
    before = await tenant.contents()
    for method, body in GROUP_WRITES:
        answer = await second.request(method, f"/Groups/{sales}", json=body)
        assert answer.status_code == 403, (method, body)
        assert '"Microsoft Entra ID"' in answer.json()["detail"]
    answer = await second.patch(f"/Groups/{sales}", json=add([ada]), headers={"If-Match": '"x"'})
    assert answer.status_code == 403
    assert await tenant.contents() == before
    assert (await second.get(f"/Groups/{sales}")).json()["displayName"] == "Sales"
    for method, body in GROUP_WRITES:
        assert (await tenant.scim.request(method, f"/Groups/{sales}", json=body)).is_success


async def test_connections_share_users_and_the_names_of_groups(tenant: Tenant) -> None:
    """A person is one user, whoever provisions; the event names the connection."""
    second = await second_connection(tenant)
    ada = await create_user(tenant.scim, "ada")
    body = patch(operation("replace", "title", "Countess"))
    assert (await second.patch(f"/Users/{ada}", json=body)).status_code == 200
    assert (await second.post("/Users", json=user("ada"))).status_code == 409
    own = await create_group(second, "Own", [ada])
    assert (await tenant.scim.post("/Groups", json=group("OWN"))).status_code == 409
    assert (await tenant.scim.patch(f"/Groups/{own}", json=remove([ada]))).status_code == 403
    assert (await second.patch(f"/Groups/{own}", json=remove([ada]))).status_code == 204
    actors = [event.actor.id for event in await tenant.events()]
    assert actors == ["entra", "second", "second", "second"]


async def test_large_changes_by_another_connection_are_refused_before_anything_is_written(
    tenant: Tenant,
) -> None:
    """Product section 9: never a partial write."""
    second = await second_connection(tenant)
    people = await create_users(tenant.scim, 110)
    sales = await create_group(tenant.scim, "Sales", people[:1])
    before = await tenant.contents()
    assert (await second.patch(f"/Groups/{sales}", json=add(people))).status_code == 403
    assert (await second.put(f"/Groups/{sales}", json=group("Sales", people))).status_code == 403
    assert await tenant.contents() == before
