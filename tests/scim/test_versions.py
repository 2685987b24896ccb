"""Versions of resources: RFC 7644 section 3.14, RFC 9110 sections 8.8 and 13.1."""

import httpx
import pytest

from tests.scim.messages import (
    add,
    create_group,
    create_user,
    create_users,
    group,
    operation,
    patch,
    remove,
    user,
)
from tests.transports import Tenant

both = pytest.mark.parametrize("path", ["/Users", "/Groups"])
REPLACE_NAME = patch(operation("replace", "displayName", "Renamed"))


async def create(scim: httpx.AsyncClient, path: str) -> str:
    """The path of a new resource."""
    make = create_user if path == "/Users" else create_group
    return f"{path}/{await make(scim, 'first')}"


async def version(scim: httpx.AsyncClient, path: str) -> str:
    """The ETag of a resource."""
    return str((await scim.get(path)).headers["ETag"])


@both
async def test_the_header_and_meta_say_the_same_version(scim: httpx.AsyncClient, path: str) -> None:
    """RFC 7643 section 3.1: `meta.version` is the entity tag."""
    created = await scim.post(path, json=user("ada") if path == "/Users" else group("Sales"))
    read = await scim.get(f"{path}/{created.json()['id']}")
    (listed,) = (await scim.get(path)).json()["Resources"]
    tag = created.headers["ETag"]
    assert tag.startswith('W/"')
    assert tag == created.json()["meta"]["version"]
    assert tag == read.headers["ETag"] == read.json()["meta"]["version"]
    assert tag == listed["meta"]["version"]


@both
async def test_every_change_has_a_version_of_its_own(scim: httpx.AsyncClient, path: str) -> None:
    """RFC 7644 section 3.14; `lastModified` moves with it and `created` does not."""
    at = await create(scim, path)
    before = (await scim.get(at)).json()["meta"]
    replaced = user("first", title="x") if path == "/Users" else group("Second")
    tags = [before["version"]]
    for method, body in (("PATCH", REPLACE_NAME), ("PUT", replaced)):
        answer = await scim.request(method, at, json=body)
        assert answer.is_success
        after = (await scim.get(at)).json()["meta"]
        assert answer.headers["ETag"] == after["version"]
        assert after["created"] == before["created"]
        assert after["lastModified"] >= before["lastModified"]
        tags.append(after["version"])
    assert len(set(tags)) == len(tags)


@both
@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("{tag}", 304),
        ("*", 304),
        ('W/"x", {tag}', 304),
        ('W/"x",{tag}', 304),
        ("{strong}", 304),
        ('W/"x"', 200),
        ("x", 200),
    ],
)
async def test_if_none_match(scim: httpx.AsyncClient, path: str, header: str, status: int) -> None:
    """RFC 9110 section 13.1.2: weak comparison."""
    at = await create(scim, path)
    tag = await version(scim, at)
    filled = header.format(tag=tag, strong=tag.removeprefix("W/"))
    answer = await scim.get(at, headers={"If-None-Match": filled})
    assert answer.status_code == status
    assert answer.headers["ETag"] == tag
    if status == 304:
        assert answer.content == b""
        await scim.patch(at, json=REPLACE_NAME)
        if header != "*":
            changed = await scim.get(at, headers={"If-None-Match": filled})
            assert changed.status_code == 200


@both
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("header", "matches"),
    [("{tag}", True), ("*", True), ('W/"x", {tag}', True), ("{old}", False), ('"x"', False)],
)
async def test_if_match(tenant: Tenant, path: str, method: str, header: str, matches: bool) -> None:
    """RFC 7644 section 3.14: 412, and nothing written, where the version is another."""
    scim = tenant.scim
    at = await create(scim, path)
    old = await version(scim, at)
    title = "title" if path == "/Users" else "externalId"
    await scim.patch(at, json=patch(operation("add", title, "x")))
    tag = await version(scim, at)
    before = await tenant.contents()
    bodies = {
        "PUT": user("second") if path == "/Users" else group("Second"),
        "PATCH": REPLACE_NAME,
        "DELETE": None,
    }
    headers = {"If-Match": header.format(tag=tag, old=old)}
    answer = await scim.request(method, at, json=bodies[method], headers=headers)
    if matches:
        assert answer.is_success
        return
    assert answer.status_code == 412
    assert tag in answer.json()["detail"]
    assert await tenant.contents() == before


async def test_a_group_has_another_version_with_every_change_of_its_members(
    tenant: Tenant,
) -> None:
    """RFC 7644 section 3.14: `members` is part of the resource, wherever it is kept."""
    scim = tenant.scim
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    sales = f"/Groups/{await create_group(scim, 'Sales')}"
    tags = [await version(scim, sales)]
    for change in (add([ada]), add([grace]), remove([ada]), patch(operation("remove", "members"))):
        answer = await scim.patch(sales, json=change)
        assert answer.status_code == 204
        tags.append(await version(scim, sales))
        assert answer.headers["ETag"] == tags[-1]
    assert len(set(tags)) == len(tags)

    before = await tenant.contents()
    stale = {"If-Match": tags[1]}
    for change in (add([ada]), remove([grace])):
        answer = await scim.patch(sales, json=change, headers=stale)
        assert answer.status_code == 412
    assert await tenant.contents() == before
    answer = await scim.patch(sales, json=add([ada]), headers={"If-Match": tags[-1]})
    assert answer.status_code == 204


async def test_a_large_change_of_members_is_conditional_too(scim: httpx.AsyncClient) -> None:
    """It is written in several batches, of which the first decides."""
    people = await create_users(scim, 100)
    sales = f"/Groups/{await create_group(scim, 'Sales')}"
    old = await version(scim, sales)
    answer = await scim.patch(sales, json=add(people[:1]), headers={"If-Match": old})
    assert answer.status_code == 204
    answer = await scim.patch(sales, json=add(people), headers={"If-Match": old})
    assert answer.status_code == 412
    current = {"If-Match": await version(scim, sales)}
    answer = await scim.patch(sales, json=add(people), headers=current)
    assert answer.status_code == 204
    assert answer.headers["ETag"] == await version(scim, sales)
    assert len((await scim.get(sales)).json()["members"]) == 100


@pytest.mark.parametrize(
    "change",
    [
        operation("replace", "title", "Countess"),
        operation("Replace", "active", "True"),
        operation("add", "emails", [{"type": "work", "value": "ada@example.com"}]),
        operation("replace", 'emails[type eq "work"].value', "ada@example.com"),
        operation("add", None, {"name.givenName": "Ada", "title": "Countess"}),
        operation("remove", "nickName"),
        operation("add", "favouriteColour", "blue"),
    ],
)
async def test_a_patch_that_changes_nothing_leaves_the_user_as_it_is(
    tenant: Tenant, change: dict[str, object]
) -> None:
    """RFC 7644 section 3.5.2.1: the server SHALL NOT change `modified`."""
    scim = tenant.scim
    ada = f"/Users/{await create_user(scim, 'ada', title='Countess')}"
    before, events = (await scim.get(ada)).json(), await tenant.events()
    answer = await scim.patch(ada, json=patch(change))
    assert answer.status_code == 200
    assert answer.json() == before
    assert answer.headers["ETag"] == before["meta"]["version"]
    assert (await scim.get(ada)).json() == before
    assert len(await tenant.events()) == len(events) + 1


async def test_a_put_of_what_is_there_leaves_it_as_it_is(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.5.1."""
    ada = await create_user(scim, "ada")
    for path in (f"/Users/{ada}", f"/Groups/{await create_group(scim, 'Sales', [ada])}"):
        before = (await scim.get(path)).json()
        answer = await scim.put(path, json=before)
        assert answer.status_code == 200
        assert answer.json() == before
        assert (await scim.get(path)).json() == before


async def test_members_that_are_there_already_leave_the_group_as_it_is(
    scim: httpx.AsyncClient,
) -> None:
    """RFC 7644 section 3.5.2.1; Entra ID repeats what it is not sure of."""
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    sales = f"/Groups/{await create_group(scim, 'Sales', [ada])}"
    before = (await scim.get(sales)).json()
    for change in (
        add([ada]),
        remove([grace]),
        patch(operation("remove", f'members[value eq "{grace}"]')),
        patch(operation("replace", "members", [{"value": ada}])),
        patch(operation("replace", "displayName", "Sales")),
    ):
        answer = await scim.patch(sales, json=change)
        assert answer.status_code == 204
        assert answer.headers["ETag"] == before["meta"]["version"]
    assert (await scim.get(sales)).json() == before
