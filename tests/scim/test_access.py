"""From a SCIM request to what the application is told (product sections 5 and 8)."""

import urllib.parse
from typing import Any

import pytest

from directory.documents import EntitlementKey
from tests.scim.messages import (
    NOBODY,
    USER,
    add,
    create_group,
    create_user,
    operation,
    patch,
    remove,
    user,
)
from tests.transports import Muster, Tenant

OWNER = EntitlementKey(kind="role", key="owner")
VISITORS = EntitlementKey(kind="role", key="visitorsAdministrator")


async def access(tenant: Tenant, id: str) -> dict[str, Any]:
    """What the application is told at this moment."""
    answer = await tenant.access.get(f"/users/{id}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


async def state(tenant: Tenant, id: str) -> tuple[bool, list[str], list[str]]:
    """Enabled, reasons, and the keys of the grants."""
    found = await access(tenant, id)
    return found["enabled"], found["reasons"], [grant["key"] for grant in found["grants"]]


async def owners(tenant: Tenant) -> tuple[str, str]:
    """A user in a group that is mapped to `owner`, settled: the ids of both."""
    ada = await create_user(tenant.scim, "ada", externalId="A-1")
    admins = await create_group(tenant.scim, "Admins", [ada])
    await tenant.mappings.save(admins, (OWNER,))
    await tenant.settle()
    return ada, admins


async def test_a_grant_and_where_it_comes_from(tenant: Tenant) -> None:
    """Product section 8, by id, by userName in any case and by externalId."""
    ada, admins = await owners(tenant)
    found = await access(tenant, ada)
    assert found["enabled"] is True
    assert found["reasons"] == []
    assert found["pending"] is False
    assert (found["id"], found["userName"], found["externalId"]) == (ada, "ada@example.com", "A-1")
    assert found["grants"] == [
        {
            "kind": "role",
            "key": "owner",
            "displayName": "Owner",
            "sources": [
                {"type": "group", "groupId": admins, "mappingVersion": 1, "path": [admins]}
            ],
        }
    ]
    for query in ({"userName": "ADA@Example.com"}, {"externalId": "A-1"}):
        assert (await tenant.access.get("/users", params=query)).json() == found


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/users/{NOBODY}", 404),
        ("/users/x%2Fy", 404),
        ("/users/%00", 404),
        ("/users/" + "x" * 3000, 404),
        ("/users?userName=grace@example.com", 404),
        ("/users?userName=%00", 404),
        ("/users?externalId=a-1", 404),
        ("/users?userName=ada@example.com&externalId=A-1", 400),
        ("/users?email=ada@example.com", 400),
        ("/groups", 404),
        ("", 404),
    ],
)
async def test_what_the_access_api_does_not_know(tenant: Tenant, path: str, status: int) -> None:
    """RFC 9457 problems; an externalId compares with case."""
    await create_user(tenant.scim, "ada", externalId="A-1")
    answer = await tenant.access.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_access_api_is_read_only(tenant: Tenant, method: str) -> None:
    """Product section 8."""
    ada = await create_user(tenant.scim, "ada")
    answer = await tenant.access.request(method, f"/users/{ada}")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("name", ["o'hara+x", "a%b", "zoë&co", "x_y.com#EXT#@t", 'a"b', "a b"])
async def test_a_user_name_is_data_and_not_syntax(tenant: Tenant, name: str) -> None:
    """Percent-encoding in, the name itself out."""
    id = await create_user(tenant.scim, "ada", userName=name)
    answer = await tenant.access.get(f"/users?userName={urllib.parse.quote(name.upper())}")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["userName"]) == (id, name)


async def test_a_user_whose_access_was_not_computed_yet_has_none(tenant: Tenant) -> None:
    """Product section 5: enabling waits for the record."""
    ada = await create_user(tenant.scim, "ada")
    found = await access(tenant, ada)
    assert found["enabled"] is False
    await tenant.settle()
    assert await state(tenant, ada) == (False, ["noGroup"], [])
    assert (await access(tenant, ada))["pending"] is False


async def test_a_deactivation_is_visible_before_anything_is_reconciled(tenant: Tenant) -> None:
    """Invariant 4; and who comes back gets exactly what the groups say now."""
    ada, admins = await owners(tenant)
    for sent in ("False", False):
        off = patch(operation("Replace", "active", sent))
        assert (await tenant.scim.patch(f"/Users/{ada}", json=off)).status_code == 200
        assert await state(tenant, ada) == (False, ["inactive"], [])
        await tenant.settle()
        assert await state(tenant, ada) == (False, ["inactive"], [])
        on = patch(operation("Replace", "active", "True"))
        assert (await tenant.scim.patch(f"/Users/{ada}", json=on)).status_code == 200
        await tenant.settle()
        assert await state(tenant, ada) == (True, [], ["owner"])

    await tenant.scim.patch(f"/Users/{ada}", json=off)
    visitors = await create_group(tenant.scim, "Visitors", [ada])
    await tenant.mappings.save(visitors, (VISITORS,))
    await tenant.scim.patch(f"/Groups/{admins}", json=remove([ada]))
    await tenant.settle()
    assert await state(tenant, ada) == (False, ["inactive"], [])
    await tenant.scim.patch(f"/Users/{ada}", json=on)
    await tenant.settle()
    assert await state(tenant, ada) == (True, [], ["visitorsAdministrator"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (patch(operation("remove", "name.givenName")), "givenNameMissing"),
        (patch(operation("replace", "name.familyName", "")), "familyNameMissing"),
        (patch(operation("remove", 'emails[type eq "work"]')), "workEmailMissing"),
        (patch(operation("replace", 'emails[type eq "work"].type', "home")), "workEmailMissing"),
    ],
)
async def test_losing_a_required_attribute_disables_at_once_and_gaining_it_enables(
    tenant: Tenant, change: dict[str, Any], reason: str
) -> None:
    """Product section 5: each has its own reason."""
    ada, _ = await owners(tenant)
    assert (await tenant.scim.patch(f"/Users/{ada}", json=change)).status_code == 200
    assert await state(tenant, ada) == (False, [reason], [])
    await tenant.settle()
    assert await state(tenant, ada) == (False, [reason], [])
    complete = user("ada", externalId="A-1")
    assert (await tenant.scim.put(f"/Users/{ada}", json=complete)).status_code == 200
    await tenant.settle()
    assert await state(tenant, ada) == (True, [], ["owner"])


async def test_a_deleted_user_has_no_access_at_once(tenant: Tenant) -> None:
    """Product section 5."""
    ada, _ = await owners(tenant)
    assert (await tenant.scim.delete(f"/Users/{ada}")).status_code == 204
    for _ in range(2):
        assert (await tenant.access.get(f"/users/{ada}")).status_code == 404
        query = {"userName": "ada@example.com"}
        assert (await tenant.access.get("/users", params=query)).status_code == 404
        await tenant.settle()
    assert await tenant.documents("Access") == []


async def test_access_follows_groups_and_groups_in_groups(tenant: Tenant) -> None:
    """Product section 5: nested groups count, and the path is shown."""
    ada, admins = await owners(tenant)
    outer = await create_group(tenant.scim, "Outer", [admins])
    await tenant.mappings.save(outer, (VISITORS,))
    await tenant.settle()
    assert await state(tenant, ada) == (True, [], ["owner", "visitorsAdministrator"])
    sources = (await access(tenant, ada))["grants"][1]["sources"]
    assert [source["path"] for source in sources] == [[admins, outer]]

    grace = await create_user(tenant.scim, "grace")
    await tenant.scim.patch(f"/Groups/{admins}", json=add([grace]))
    await tenant.settle()
    assert await state(tenant, grace) == (True, [], ["owner", "visitorsAdministrator"])

    await tenant.scim.patch(f"/Groups/{outer}", json=remove([admins]))
    await tenant.settle()
    assert await state(tenant, grace) == (True, [], ["owner"])
    await tenant.scim.delete(f"/Groups/{admins}")
    await tenant.settle()
    assert await state(tenant, grace) == (False, ["noGroup"], [])
    assert await state(tenant, ada) == (True, [], ["owner"])  # the last ones: the first keeps it
    (source,) = (await access(tenant, ada))["grants"][0]["sources"]
    deletion = (await tenant.events())[-1]
    assert (source["type"], source["eventId"]) == ("kept", deletion.event_id)


async def test_incomplete_users_exist_disabled_where_the_tenant_accepts_them(
    muster: Muster,
) -> None:
    """Product section 5."""
    tenant = await muster.tenant({"acceptIncompleteUsers": True})
    answer = await tenant.scim.post("/Users", json={"schemas": [USER], "userName": "ada"})
    assert answer.status_code == 201
    ada = answer.json()["id"]
    await create_group(tenant.scim, "Sales", [ada])
    await tenant.settle()
    missing = ["givenNameMissing", "familyNameMissing", "workEmailMissing"]
    assert await state(tenant, ada) == (False, missing, [])


async def test_the_policy_says_which_rules_disable(muster: Muster) -> None:
    """Product section 5."""
    tenant = await muster.tenant({"disableWhen": ["inactive"], "acceptIncompleteUsers": True})
    answer = await tenant.scim.post("/Users", json={"schemas": [USER], "userName": "ada"})
    ada = answer.json()["id"]
    await tenant.settle()
    assert await state(tenant, ada) == (True, [], [])
    await tenant.scim.patch(f"/Users/{ada}", json=patch(operation("replace", "active", False)))
    assert await state(tenant, ada) == (False, ["inactive"], [])
