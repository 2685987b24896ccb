"""What must be unique in an organisation: RFC 7643 sections 3.1, 4.1.1 and 7 `uniqueness`, RFC 7644
section 3.3."""

from typing import Any

import pytest

from tests.scim.messages import create, group, operation, patch, user
from tests.transports import Tenant


@pytest.mark.parametrize(
    ("path", "first", "second", "status"),
    [
        ("/Users", user("ada"), user("ada"), 409),
        ("/Users", user("ada"), user("ada", userName="ADA@EXAMPLE.COM"), 409),
        ("/Users", user("straße"), user("STRASSE"), 409),
        ("/Users", user("ada"), user("ada", userName=" ada@example.com"), 201),
        ("/Users", user("ada", externalId="a"), user("grace", externalId="a"), 409),
        ("/Users", user("ada", externalId="a"), user("grace", externalId="A"), 201),
        ("/Users", user("ada"), user("grace", emails=user("ada")["emails"]), 201),
        ("/Groups", group("Sales"), group("SALES"), 409),
        ("/Groups", group("Sales", externalId="a"), group("Sales", externalId="b"), 201),
        ("/Groups", group("Sales", externalId="a"), group("Other", externalId="a"), 409),
        ("/Groups", group("Sales", externalId="a"), group("Sales"), 201),
        ("/Groups", group("Sales"), group("Sales", externalId="a"), 201),
    ],
)
async def test_a_second_one(
    tenant: Tenant, path: str, first: dict[str, Any], second: dict[str, Any], status: int
) -> None:
    """userName compares without case, externalId with it; a group needs one of its own of
    externalId and displayName."""
    taken = (await create(tenant.scim, path, first))["id"]
    before = await tenant.contents()
    answer = await tenant.scim.post(path, json=second)
    assert answer.status_code == status
    if status == 409:
        assert answer.json()["scimType"] == "uniqueness"
        assert taken in answer.json()["detail"]
        assert await tenant.contents() == before


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        ("/Users", user("ada"), operation("replace", "userName", "other@example.com")),
        ("/Users", user("ada", externalId="a"), operation("replace", "externalId", "b")),
        ("/Users", user("ada", externalId="a"), operation("remove", "externalId")),
        ("/Groups", group("Sales"), operation("replace", "displayName", "Other")),
        ("/Groups", group("Sales"), operation("add", "externalId", "a")),
    ],
)
async def test_what_is_given_up_is_free(
    tenant: Tenant, path: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    """After a change, and after a deletion, another one may have the value."""
    first = (await create(tenant.scim, path, body))["id"]
    assert (await tenant.scim.patch(f"{path}/{first}", json=patch(change))).is_success
    again = (
        body
        if "userName" not in body or change["path"] == "userName"
        else {**body, "userName": "x"}
    )
    second = (await create(tenant.scim, path, again))["id"]
    assert (await tenant.scim.delete(f"{path}/{second}")).status_code == 204
    assert (await tenant.scim.delete(f"{path}/{first}")).status_code == 204
    assert await tenant.documents("Key") == []
    await create(tenant.scim, path, body)


async def test_a_change_of_case_is_a_change_of_ones_own(tenant: Tenant) -> None:
    """The value in its new form is stored, and nobody else has to give way."""
    ada = (await create(tenant.scim, "/Users", user("ada")))["id"]
    change = patch(operation("replace", "userName", "ADA@example.com"))
    answer = await tenant.scim.patch(f"/Users/{ada}", json=change)
    assert answer.status_code == 200
    assert answer.json()["userName"] == "ADA@example.com"
    assert len(await tenant.documents("Key")) == 1
