"""Many members: RFC 7643 section 4.2, RFC 7644 sections 3.5.1 and 3.5.2. What one PATCH of a few
members does is among the recorded requests."""

import httpx
import pytest

from directory.portions import PORTIONS
from directory.store import BATCH_OPERATIONS
from tests.scim.messages import (
    NOBODY,
    add,
    create_group,
    create_user,
    create_users,
    group,
    members,
    operation,
    patch,
    remove,
    values,
)
from tests.transports import Tenant

LARGEST = PORTIONS.edges_beside_group
"""More are not written in one batch."""


@pytest.fixture
async def crowd(crowd_size: int, scim: httpx.AsyncClient) -> list[str]:
    """Users, as many as the test says."""
    return await create_users(scim, crowd_size)


def crowd_of(size: int) -> pytest.MarkDecorator:
    """So many users in `crowd`."""
    return pytest.mark.parametrize("crowd_size", [size])


async def shown(tenant: Tenant, id: str) -> list[str]:
    """The members, as the group shows them and as they are stored, which must be the same."""
    found = await members(tenant.scim, id)
    stored = await tenant.documents("Membership")
    assert sorted(found) == sorted(edge["memberId"] for edge in stored if edge["groupId"] == id)
    assert len(set(found)) == len(found)
    (document,) = [each for each in await tenant.documents("Group") if each["resource"]["id"] == id]
    assert "intent" not in document
    return found


@crowd_of(250)
async def test_a_patch_with_more_members_than_fit_a_batch(tenant: Tenant, crowd: list[str]) -> None:
    """RFC 7644 section 3.5.2.1; Microsoft's gallery asks for many members in one PATCH."""
    assert len(crowd) > 2 * BATCH_OPERATIONS
    sales = await create_group(tenant.scim, "Sales")
    events = len(await tenant.events())
    answer = await tenant.scim.patch(f"/Groups/{sales}", json=add(crowd))
    assert answer.status_code == 204
    assert set(await shown(tenant, sales)) == set(crowd)
    current = await tenant.scim.get(f"/Groups/{sales}?excludedAttributes=members")
    assert answer.headers["ETag"] == current.headers["ETag"]

    again = await tenant.scim.patch(f"/Groups/{sales}", json=add(reversed(crowd)))
    assert again.headers["ETag"] == answer.headers["ETag"]

    leaving = crowd[::2]
    assert (await tenant.scim.patch(f"/Groups/{sales}", json=remove(leaving))).status_code == 204
    assert set(await shown(tenant, sales)) == set(crowd[1::2])

    everybody = patch(operation("remove", "members"))
    assert (await tenant.scim.patch(f"/Groups/{sales}", json=everybody)).status_code == 204
    assert await shown(tenant, sales) == []
    assert len(await tenant.events()) == events + 4


@crowd_of(420)
async def test_a_put_of_300_members_replaced_by_120_others(
    tenant: Tenant, crowd: list[str]
) -> None:
    """RFC 7644 section 3.5.1."""
    first, second = crowd[:300], crowd[300:]
    created = await tenant.scim.post("/Groups", json=group("Sales", first))
    assert created.status_code == 201
    assert {member["value"] for member in created.json()["members"]} == set(first)
    sales = created.json()["id"]
    assert set(await shown(tenant, sales)) == set(first)
    answer = await tenant.scim.put(f"/Groups/{sales}", json=group("Sales", second))
    assert answer.status_code == 200
    assert {member["value"] for member in answer.json()["members"]} == set(second)
    assert set(await shown(tenant, sales)) == set(second)
    assert (await tenant.scim.get(f"/Groups/{sales}")).json() == answer.json()


@crowd_of(LARGEST + 1)
@pytest.mark.parametrize("size", [LARGEST - 1, LARGEST, LARGEST + 1])
async def test_around_the_size_of_a_batch(tenant: Tenant, crowd: list[str], size: int) -> None:
    """With everything else that can stand in the same request."""
    body = group("Sales", crowd[:size], externalId="S-1")
    created = await tenant.scim.post("/Groups", json=body)
    assert created.status_code == 201
    sales = created.json()["id"]
    assert set(await shown(tenant, sales)) == set(crowd[:size])
    rename = [operation("replace", "displayName", "B"), operation("replace", "externalId", "S-2")]
    change = patch(*rename, operation("remove", "members", values(crowd[:size])))
    assert (await tenant.scim.patch(f"/Groups/{sales}", json=change)).status_code == 204
    assert await shown(tenant, sales) == []
    current = (await tenant.scim.get(f"/Groups/{sales}")).json()
    assert (current["displayName"], current["externalId"]) == ("B", "S-2")


@crowd_of(4)
@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ([operation("remove", "members")], []),
        ([operation("Remove", "MEMBERS")], []),
        ([operation("remove", "members", [{"value": "{0}"}])], [1, 2]),
        ([operation("remove", "members", [{"value": "{0}"}, {"value": "{2}"}])], [1]),
        ([operation("remove", "members", {"value": "{0}"})], [1, 2]),
        ([operation("remove", "members", "{0}")], [1, 2]),
        ([operation("remove", "members", [])], [0, 1, 2]),
        ([operation("remove", "members", [{"value": "{3}"}])], [0, 1, 2]),
        ([operation("remove", "members", [{"value": NOBODY}])], [0, 1, 2]),
        ([operation("remove", 'members[value eq "{1}"]')], [0, 2]),
        ([operation("remove", 'members[value eq "{1}" or value eq "{2}"]')], [0]),
        ([operation("remove", 'members[value ne "{1}"]')], [1]),
        ([operation("remove", 'members[type eq "Group"]')], [0, 1, 2]),
        ([operation("remove", 'members[type eq "User"]')], []),
        ([operation("replace", "members", [{"value": "{3}"}])], [3]),
        ([operation("replace", "members", [])], []),
        ([operation("replace", None, {"members": [{"value": "{0}"}]})], [0]),
        ([operation("add", None, {"members": [{"value": "{3}"}]})], [0, 1, 2, 3]),
        (
            [
                operation("add", "members", [{"value": "{3}"}]),
                operation("add", "members", [{"value": "{0}"}]),
            ],
            [0, 1, 2, 3],
        ),
        (
            [
                operation("add", "members", [{"value": "{3}"}]),
                operation("remove", 'members[value eq "{0}"]'),
                operation("remove", 'members[value eq "{3}"]'),
                operation("add", "members", [{"value": "{0}"}]),
            ],
            [0, 1, 2],
        ),
        (
            [
                operation("remove", "members"),
                operation("add", "members", [{"value": "{3}"}, {"value": "{3}"}]),
            ],
            [3],
        ),
    ],
)
async def test_members_after_operations_in_order(
    tenant: Tenant, crowd: list[str], operations: list[dict[str, object]], left: list[int]
) -> None:
    """RFC 7644 sections 3.5.2.1 to 3.5.2.3, and Entra ID's `Remove` with a value."""

    def filled(part: object) -> object:
        if isinstance(part, str):
            for number, id in enumerate(crowd):
                part = part.replace(f"{{{number}}}", id)
            return part
        if isinstance(part, dict):
            return {name: filled(value) for name, value in part.items()}
        return [filled(each) for each in part] if isinstance(part, list) else part

    sales = await create_group(tenant.scim, "Sales", crowd[:3])
    other = await create_group(tenant.scim, "Other", crowd)
    answer = await tenant.scim.patch(f"/Groups/{sales}", json=filled(patch(*operations)))
    assert answer.status_code == 204
    assert set(await shown(tenant, sales)) == {crowd[number] for number in left}
    assert set(await shown(tenant, other)) == set(crowd)


@crowd_of(2)
async def test_unknown_members_are_ignored_unless_the_tenant_is_strict(
    tenant: Tenant, crowd: list[str]
) -> None:
    """Product section 1; reference failures must not stop the rest."""
    sales = await create_group(tenant.scim, "Sales", crowd[:1])
    sent = [NOBODY, crowd[1], "not an id", sales.upper()]
    assert (await tenant.scim.patch(f"/Groups/{sales}", json=add(sent))).status_code == 204
    assert set(await shown(tenant, sales)) == set(crowd)
    event = (await tenant.events())[-1]
    assert event.attributes == ("members",)
    assert set(event.ignored) == {f'members[value eq "{id}"]' for id in sent if id != crowd[1]}

    strict = await tenant.muster.tenant({"strict": True})
    known = await create_user(strict.scim, "ada")
    own = await create_group(strict.scim, "Sales")
    before = await strict.contents()
    answer = await strict.scim.patch(f"/Groups/{own}", json=add([known, NOBODY, "x"]))
    assert answer.status_code == 400
    assert answer.json()["scimType"] == "invalidValue"
    assert NOBODY in answer.json()["detail"]
    assert "1 more" in answer.json()["detail"]
    assert await strict.contents() == before


@crowd_of(1)
async def test_groups_in_groups_in_circles(tenant: Tenant, crowd: list[str]) -> None:
    """RFC 7643 section 4.2: members may be groups; a circle is harmless."""
    inner = await create_group(tenant.scim, "Inner", crowd)
    outer = await create_group(tenant.scim, "Outer", [inner])
    answer = await tenant.scim.patch(f"/Groups/{inner}", json=add([outer, inner]))
    assert answer.status_code == 204
    named = "members.value,members.type,members.display"
    body = (await tenant.scim.get(f"/Groups/{inner}?attributes={named}")).json()
    shown = {(member["value"], member["type"]) for member in body["members"]}
    assert shown == {(inner, "Group"), (outer, "Group"), (crowd[0], "User")}
    names = {member["display"] for member in body["members"] if member["type"] == "Group"}
    assert names == {"Inner", "Outer"}
    await tenant.settle()
    assert all(event.state == "done" for event in await tenant.events())


@crowd_of(3)
async def test_who_is_deleted_is_no_member_any_more(tenant: Tenant, crowd: list[str]) -> None:
    """RFC 7644 section 3.6; at once, and the membership goes with the next reconciliation."""
    sales = await create_group(tenant.scim, "Sales", crowd)
    assert (await tenant.scim.delete(f"/Users/{crowd[0]}")).status_code == 204
    assert set(await members(tenant.scim, sales)) == set(crowd[1:])
    found = await tenant.scim.get("/Groups", params={"filter": f'members eq "{crowd[0]}"'})
    assert found.json()["totalResults"] == 0
    await tenant.settle()
    assert set(await shown(tenant, sales)) == set(crowd[1:])


@crowd_of(120)
async def test_filters_on_members_and_groups_in_a_large_group(
    tenant: Tenant, crowd: list[str]
) -> None:
    """RFC 7644 section 3.4.2.2 on what is kept elsewhere."""
    sales = await create_group(tenant.scim, "Sales", crowd)
    staff = await create_group(tenant.scim, "Staff", crowd[:1])

    async def count(path: str, filter: str) -> int:
        query = {"filter": filter, "count": "0"}
        return int((await tenant.scim.get(path, params=query)).json()["totalResults"])

    assert await count("/Users", f'groups.value eq "{sales}"') == 120
    assert await count("/Users", f'groups eq "{sales}" and groups eq "{staff}"') == 1
    assert await count("/Users", f'groups eq "{sales}" and not (groups eq "{staff}")') == 119
    assert await count("/Users", "groups pr") == 120
    assert await count("/Groups", f'members.value eq "{crowd[0]}"') == 2
    assert await count("/Groups", f'members[value eq "{crowd[1]}" and type eq "User"]') == 1
    assert await count("/Groups", f'members eq "{NOBODY}"') == 0
