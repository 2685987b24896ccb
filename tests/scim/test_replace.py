"""PUT: RFC 7644 section 3.5.1."""

from typing import Any

import httpx
import pytest

from tests.scim.messages import (
    ENTERPRISE,
    GROUP,
    USER,
    create,
    create_group,
    create_user,
    group,
    members,
    user,
    values,
)
from tests.transports import Tenant

FULL = user(
    "ada",
    schemas=[USER, ENTERPRISE],
    externalId="A-1",
    title="Countess",
    phoneNumbers=[{"type": "work", "value": "1"}, {"type": "mobile", "value": "2"}],
    **{ENTERPRISE: {"department": "Engines", "manager": {"value": "m1"}}},
)


async def test_what_the_body_leaves_out_is_cleared(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.5.1."""
    created = await create(scim, "/Users", FULL)
    body = user("ada", phoneNumbers=[{"type": "mobile", "value": "3"}])
    answer = await scim.put(f"/Users/{created['id']}", json=body)
    assert answer.status_code == 200
    replaced = answer.json()
    meta = replaced.pop("meta")
    assert replaced == body | {"id": created["id"]}
    assert meta["created"] == created["meta"]["created"]
    assert (await scim.get(f"/Users/{created['id']}")).json() == replaced | {"meta": meta}


@pytest.mark.parametrize(
    "body",
    [
        FULL | {"id": "other", "meta": {"created": "2001-01-01T00:00:00Z", "version": "x"}},
        FULL | {"id": None, "groups": [{"value": "g1"}]},
        FULL | {"schemas": [ENTERPRISE, USER, "urn:example:unknown"]},
        {key.upper() if key[:4] != "urn:" else key: value for key, value in FULL.items()},
    ],
)
async def test_what_only_the_server_says_is_not_taken(
    scim: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    """RFC 7644 section 3.5.1: readOnly values SHALL be ignored; names in any case."""
    created = await create(scim, "/Users", FULL)
    answer = await scim.put(f"/Users/{created['id']}", json=body)
    assert answer.status_code == 200
    assert answer.json() == created


async def test_reservations_follow_a_put(scim: httpx.AsyncClient) -> None:
    """What a user gives up is free for the next one, and found no more."""
    ada = (await create(scim, "/Users", FULL))["id"]
    assert (await scim.put(f"/Users/{ada}", json=user("countess"))).status_code == 200
    for filter in ('userName eq "ada@example.com"', 'externalId eq "A-1"'):
        assert (await scim.get("/Users", params={"filter": filter})).json()["totalResults"] == 0
    found = await scim.get("/Users", params={"filter": 'userName eq "COUNTESS@example.com"'})
    assert [each["id"] for each in found.json()["Resources"]] == [ada]
    assert (await create(scim, "/Users", FULL))["id"] != ada


@pytest.mark.parametrize(
    ("body", "status", "scim_type"),
    [
        ({"schemas": [USER]}, 400, "invalidValue"),
        (user("ada", userName=""), 400, "invalidValue"),
        (user("ada", userName=None), 400, "invalidValue"),
        (user("ada", active="perhaps"), 400, "invalidValue"),
        (user("ada", emails=[{"value": {"a": 1}}]), 400, "invalidValue"),
        (user("ada", schemas=["urn:example:unknown"]), 400, "invalidSyntax"),
        (user("ada", schemas="x"), 400, "invalidSyntax"),
        (user("taken"), 409, "uniqueness"),
        (user("TAKEN"), 409, "uniqueness"),
        (user("ada", externalId="T-1"), 409, "uniqueness"),
    ],
)
async def test_a_put_that_is_refused_changes_nothing(
    tenant: Tenant, body: dict[str, Any], status: int, scim_type: str
) -> None:
    """RFC 7644 sections 3.5.1 and 3.12."""
    await create_user(tenant.scim, "taken", externalId="T-1")
    ada = await create_user(tenant.scim, "ada")
    before = await tenant.contents()
    answer = await tenant.scim.put(f"/Users/{ada}", json=body)
    assert answer.status_code == status
    assert answer.json()["scimType"] == scim_type
    assert await tenant.contents() == before


async def test_a_put_may_take_away_what_a_user_needs_to_be_granted_anything(
    scim: httpx.AsyncClient,
) -> None:
    """Product section 5: losing a required attribute is accepted, and disables the user."""
    ada = await create_user(scim, "ada")
    body = {"schemas": [USER], "userName": "ada@example.com"}
    answer = await scim.put(f"/Users/{ada}", json=body)
    assert answer.status_code == 200
    assert answer.json().keys() == {"schemas", "id", "userName", "active", "meta"}


async def test_a_put_of_a_group_replaces_its_members(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.5.1: `members` left out are cleared."""
    ada, grace, alan = [await create_user(scim, name) for name in ("ada", "grace", "alan")]
    sales = await create_group(scim, "Sales", [ada, grace])
    answer = await scim.put(f"/Groups/{sales}", json=group("Sold", [grace, alan]))
    assert answer.status_code == 200
    assert answer.json()["displayName"] == "Sold"
    assert {member["value"] for member in answer.json()["members"]} == {grace, alan}
    assert set(await members(scim, sales)) == {grace, alan}

    answer = await scim.put(f"/Groups/{sales}", json=group("Sold"))
    assert answer.status_code == 200
    assert "members" not in answer.json()
    assert await members(scim, sales) == []


async def test_a_put_of_a_group_that_is_refused_changes_no_member(tenant: Tenant) -> None:
    """RFC 7644 section 3.12."""
    scim = tenant.scim
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    await create_group(scim, "Taken")
    sales = await create_group(scim, "Sales", [ada])
    before = await tenant.contents()
    for body, status in (
        ({"schemas": [GROUP], "members": values([grace])}, 400),
        (group("Sales", [grace], schemas=[USER]), 400),
        (group("taken", [grace]), 409),
    ):
        answer = await scim.put(f"/Groups/{sales}", json=body)
        assert answer.status_code == status
    assert await tenant.contents() == before
