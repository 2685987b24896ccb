"""Requests at the same time: nothing is lost, nothing is there twice (product sections 1 and 6)."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

import httpx
import pytest

from directory.store import Operation
from tests.scim.messages import (
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
from tests.transports import Tenant


def statuses(answers: Iterable[httpx.Response]) -> Counter[int]:
    """How many answers have which status."""
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/Users", user("ada"), user("ADA")),
        ("/Users", user("ada", externalId="1"), user("grace", externalId="1")),
        ("/Groups", group("Sales"), group("SALES")),
        ("/Groups", group("A", externalId="1"), group("B", externalId="1")),
    ],
)
async def test_of_two_that_want_one_value_exactly_one_is_created(
    tenant: Tenant, path: str, first: dict[str, object], second: dict[str, object]
) -> None:
    """RFC 7644 section 3.3: 409 `uniqueness`."""
    bodies = [first, second] * 3
    answers = await asyncio.gather(*(tenant.scim.post(path, json=body) for body in bodies))
    assert statuses(answers) == {201: 1, 409: 5}
    (winner,) = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["scimType"] == "uniqueness"
            assert winner in answer.json()["detail"]
    assert (await tenant.scim.get(path)).json()["totalResults"] == 1
    assert len(await tenant.events()) == 1


async def test_of_two_that_rename_to_one_value_exactly_one_does(tenant: Tenant) -> None:
    """RFC 7644 section 3.5.2."""
    people = await create_users(tenant.scim, 6)
    rename = patch(operation("replace", "userName", "same@example.com"))
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Users/{id}", json=rename) for id in people)
    )
    assert statuses(answers) == {200: 1, 409: 5}
    query = {"filter": 'userName eq "same@example.com"'}
    assert (await tenant.scim.get("/Users", params=query)).json()["totalResults"] == 1
    assert len(await tenant.documents("Key")) == len(people)


async def test_100_members_are_added_by_100_requests_at_once(tenant: Tenant) -> None:
    """Every PATCH adds one; all of them are there, and each left one event."""
    people = await create_users(tenant.scim, 100)
    sales = await create_group(tenant.scim, "Sales")
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Groups/{sales}", json=add([id])) for id in people)
    )
    assert statuses(answers) == {204: 100}
    assert sorted(await members(tenant.scim, sales)) == sorted(people)
    changes = [event for event in await tenant.events() if event.operation == "patch"]
    added = [id for event in changes if event.membership for id in event.membership.added]
    assert sorted(added) == sorted(f"user:{id}" for id in people)


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_additions_at_once_do_not_fight_over_the_group(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Product section 10: one transactional batch each, however many there are."""
    people = await create_users(tenant.scim, 40)
    sales = await create_group(tenant.scim, "Sales")
    batches: list[object] = []
    batch = tenant.muster.store.batch

    async def counted(tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        batches.append(operations)
        return await batch(tenant_id, operations)

    monkeypatch.setattr(tenant.muster.store, "batch", counted)
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Groups/{sales}", json=add([id])) for id in people)
    )
    assert statuses(answers) == {204: len(people)}
    assert len(batches) == len(people)


async def test_members_come_and_go_at_once(tenant: Tenant) -> None:
    """Each request speaks of its own member, and each has its way."""
    people = await create_users(tenant.scim, 60)
    leaving, coming, staying = people[:20], people[20:40], people[40:]
    sales = await create_group(tenant.scim, "Sales", leaving + staying)
    requests = [add([id]) for id in coming]
    requests += [remove([id]) for id in leaving[::2]]
    requests += [patch(operation("remove", f'members[value eq "{id}"]')) for id in leaving[1::2]]
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Groups/{sales}", json=request) for request in requests)
    )
    assert statuses(answers) == {204: 40}
    assert sorted(await members(tenant.scim, sales)) == sorted(coming + staying)


async def test_the_same_member_is_added_many_times_at_once(tenant: Tenant) -> None:
    """One membership, one event that names it."""
    ada, sales = await create_user(tenant.scim, "ada"), await create_group(tenant.scim, "Sales")
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Groups/{sales}", json=add([ada])) for _ in range(10))
    )
    assert statuses(answers) == {204: 10}
    assert await members(tenant.scim, sales) == [ada]
    changed = [event for event in await tenant.events() if event.membership is not None]
    assert len(changed) == 1


async def test_large_changes_and_small_ones_at_once(tenant: Tenant) -> None:
    """Changes that take several batches each, and single members between them."""
    people = await create_users(tenant.scim, 260)
    first, second, single = people[:120], people[120:240], people[240:]
    sales = await create_group(tenant.scim, "Sales")
    rename = patch(operation("replace", "displayName", "Sold"))
    requests = [add(first), add(second), rename, *(add([id]) for id in single)]
    answers = await asyncio.gather(
        *(tenant.scim.patch(f"/Groups/{sales}", json=request) for request in requests)
    )
    assert statuses(answers) == {204: len(requests)}
    shown = (await tenant.scim.get(f"/Groups/{sales}")).json()
    assert sorted(member["value"] for member in shown["members"]) == sorted(people)
    assert shown["displayName"] == "Sold"


async def test_different_attributes_of_one_user_at_once(scim: httpx.AsyncClient) -> None:
    """Entra ID may send them in requests of their own."""
    ada = await create_user(scim, "ada")
    wanted = {name: name for name in ("title", "nickName", "userType", "locale", "displayName")}
    answers = await asyncio.gather(
        *(
            scim.patch(f"/Users/{ada}", json=patch(operation("replace", name, value)))
            for name, value in wanted.items()
        )
    )
    assert statuses(answers) == {200: len(wanted)}
    shown = (await scim.get(f"/Users/{ada}")).json()
    assert {name: shown[name] for name in wanted} == wanted


async def test_of_conditional_changes_to_one_version_exactly_one_is_made(
    scim: httpx.AsyncClient,
) -> None:
    """RFC 7644 section 3.14."""
    ada, sales = await create_user(scim, "ada"), await create_group(scim, "Sales")
    for path, body in (
        (f"/Users/{ada}", patch(operation("replace", "title", "${n}"))),
        (f"/Groups/{sales}", patch(operation("replace", "displayName", "${n}"))),
    ):
        headers = {"If-Match": (await scim.get(path)).headers["ETag"]}
        bodies = [
            httpx.Request("PATCH", "http://x", json=body).content.replace(b"${n}", b"%d" % n)
            for n in range(6)
        ]
        answers = await asyncio.gather(
            *(scim.patch(path, content=content, headers=headers) for content in bodies)
        )
        assert statuses(answers)[412] == 5
        assert sum(answer.is_success for answer in answers) == 1


async def test_a_group_is_deleted_while_members_come(tenant: Tenant) -> None:
    """Whoever is late gets a 404, and no membership is left behind."""
    people = await create_users(tenant.scim, 20)
    sales = await create_group(tenant.scim, "Sales", people[:5])
    path = f"/Groups/{sales}"
    changes = [tenant.scim.patch(path, json=add([id])) for id in people[5:]]
    *added, deleted = await asyncio.gather(*changes, tenant.scim.delete(path))
    assert deleted.status_code == 204
    assert set(statuses(added)) <= {204, 404}
    assert (await tenant.scim.get(path)).status_code == 404
    await tenant.settle()
    assert await tenant.documents("Membership") == []
    assert await tenant.documents("Key") == [
        key for key in await tenant.documents("Key") if key["resourceType"] == "User"
    ]


async def test_a_user_is_deleted_by_many_at_once(tenant: Tenant) -> None:
    """RFC 7644 section 3.6: once, and one event."""
    ada = await create_user(tenant.scim, "ada")
    answers = await asyncio.gather(*(tenant.scim.delete(f"/Users/{ada}") for _ in range(8)))
    assert statuses(answers) == {204: 1, 404: 7}
    assert [event.operation for event in await tenant.events()] == ["create", "delete"]
    assert await tenant.documents("Key") == []
