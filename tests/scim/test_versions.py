"""Versions of resources: RFC 7644 section 3.14, RFC 9110 sections 8.8 and 13.1."""

from collections.abc import Awaitable, Callable

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
type Change = Callable[[httpx.AsyncClient, str, str, str], Awaitable[None]]
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


async def joined(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.patch(f"/Groups/{staff}", json=add([ada]))


async def joined_indirectly(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.patch(f"/Groups/{staff}", json=add([sales]))


async def group_renamed(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.patch(f"/Groups/{sales}", json=REPLACE_NAME)


async def group_deleted(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.delete(f"/Groups/{sales}")


async def member_renamed(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.patch(f"/Users/{ada}", json=REPLACE_NAME)


async def member_deleted(scim: httpx.AsyncClient, ada: str, sales: str, staff: str) -> None:
    await scim.delete(f"/Users/{ada}")


@pytest.mark.parametrize(
    ("path", "query", "change"),
    [
        ("/Users/{ada}", "?attributes=groups", joined),
        ("/Users/{ada}", "?attributes=groups.value,meta", joined_indirectly),
        ("/Users/{ada}", "?attributes=groups.display,meta.version", group_renamed),
        ("/Users/{ada}", "?attributes=groups,meta", group_deleted),
        ("/Groups/{sales}", "?attributes=members.display,meta", member_renamed),
        ("/Groups/{sales}", "?attributes=members.value,meta", member_deleted),
        ("/Groups/{sales}", "", member_deleted),
    ],
)
async def test_an_etag_covers_what_an_answer_shows_of_other_resources(
    scim: httpx.AsyncClient, path: str, query: str, change: Change
) -> None:
    """RFC 9110 section 8.8: whoever has the tag has the body. Nothing is reconciled in between."""
    ada = await create_user(scim, "ada")
    sales, staff = await create_group(scim, "Sales", [ada]), await create_group(scim, "Staff")
    at = path.format(ada=ada, sales=sales) + query
    before = await scim.get(at)
    if "meta" in before.json():
        listed = (await scim.get(path.split("/")[1] + query)).json()["Resources"]
        (one,) = [each for each in listed if each["id"] == before.json()["id"]]
        assert one["meta"]["version"] == before.headers["ETag"]
        assert before.json()["meta"]["version"] == before.headers["ETag"]
    known = {"If-None-Match": before.headers["ETag"]}
    assert (await scim.get(at, headers=known)).status_code == 304
    await change(scim, ada, sales, staff)
    after = await scim.get(at, headers=known)
    assert after.status_code == 200
    assert after.json() != before.json()
    assert after.headers["ETag"] != before.headers["ETag"]


async def test_if_match_of_a_whole_group_is_about_the_group(scim: httpx.AsyncClient) -> None:
    """A member's new name, which `members` shows, is no reason to refuse a change of the group; a
    change of its members is."""
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    sales = f"/Groups/{await create_group(scim, 'Sales', [ada])}"
    known = {"If-Match": await version(scim, f"{sales}?attributes=members.display")}
    await scim.patch(f"/Users/{ada}", json=REPLACE_NAME)
    assert (await scim.patch(sales, json=add([grace]), headers=known)).status_code == 204
    assert (await scim.patch(sales, json=remove([grace]), headers=known)).status_code == 412


@both
async def test_a_deletion_moves_the_groups_that_lose_a_member(tenant: Tenant, path: str) -> None:
    """Once it is reconciled; by then no version of the group from before counts any more."""
    scim = tenant.scim
    member = await create(scim, path)
    sales = f"/Groups/{await create_group(scim, 'Sales', [member.split('/')[-1]])}"
    staff = f"/Groups/{await create_group(scim, 'Staff')}"
    alone = "?excludedAttributes=members"
    before = {at: (await scim.get(at + alone)).json()["meta"] for at in (sales, staff)}
    await scim.delete(member)
    await tenant.settle()

    after = {at: (await scim.get(at + alone)).json()["meta"] for at in (sales, staff)}
    assert after[staff] == before[staff]
    assert after[sales]["version"] != before[sales]["version"]
    since = before[sales]["lastModified"]
    assert after[sales]["lastModified"] > since
    filter = f'displayName eq "Sales" and meta.lastModified gt "{since}"'
    found = await scim.get("/Groups", params={"filter": filter})
    assert found.json()["totalResults"] == 1
    known = before[sales]["version"]
    read = await scim.get(sales + alone, headers={"If-None-Match": known})
    assert read.status_code == 200
    changed = await scim.patch(sales, json=REPLACE_NAME, headers={"If-Match": known})
    assert changed.status_code == 412
