"""Users made by hand, what they are given by hand, and how Entra ID adopts them."""

from typing import Any

import pytest

from administration.errors import AdministrationError
from administration.grants import Grants, list_given
from administration.manual_users import ManualUsers
from administration.reading.users import UserRow, find_row, list_users
from directory.documents import Actor, EntitlementKey, Event
from directory.reading import every
from directory.store import Query
from directory.tenants import Policy
from scim.writing import Service
from tests.environment import TENANT, Environment
from tests.reconciler.world import Hooked
from tests.scim.messages import create_group, create_user, operation, patch, user

EMAIL = 'emails[type eq "work"].value'
ADA = {
    "userName": "ada@partner.example",
    "name.givenName": "Ada",
    "name.familyName": "Lovelace",
    EMAIL: "Ada@example.com",
}
OWNER = EntitlementKey(kind="role", key="owner")
VISITORS = EntitlementKey(kind="role", key="visitorsAdministrator")
POLICY = Policy()
BOSS = Actor(type="administrator", id="the-boss")


@pytest.fixture
def users(environment: Environment) -> ManualUsers:
    return ManualUsers(environment.application.service, TENANT, BOSS)


@pytest.fixture
def grants(environment: Environment) -> Grants:
    return Grants(environment.application.service, TENANT, BOSS)


async def holds(environment: Environment, id: str) -> tuple[bool, list[str], list[str]]:
    """Enabled, reasons, and keys of the grants, as the application reads them."""
    await environment.settle()
    access = (await environment.access.get(f"/users/{id}")).json()
    return access["enabled"], access["reasons"], [grant["key"] for grant in access["grants"]]


async def row(environment: Environment, id: str) -> UserRow:
    return await find_row(environment.application.store, TENANT, POLICY, id)


async def events(environment: Environment) -> list[Event]:
    found = every(environment.application.store, TENANT, Query("Event"))
    return [Event.from_document(item.document) async for item in found]


async def test_from_creation_to_deletion(
    environment: Environment, users: ManualUsers, grants: Grants
) -> None:
    store = environment.application.store
    id = await users.create(ADA | {"active": "True"})
    assert await holds(environment, id) == (True, [], [])
    assert await grants.give("ADA@partner.example", (OWNER, VISITORS))
    assert not await grants.give(id, (OWNER,))
    assert await holds(environment, id) == (True, [], ["owner", "visitorsAdministrator"])
    assert await grants.withdraw(id, (VISITORS,))
    assert not await grants.withdraw(id, (VISITORS,))
    assert await holds(environment, id) == (True, [], ["owner"])
    (given,) = await list_given(store, TENANT, id)
    assert (given.display_name, given.given_by) == ("Owner", BOSS)

    assert await users.edit(id, {"name.familyName": "King", "title": "Countess"})
    assert not await users.edit(id, {"name.familyName": "King"})
    shown = (await environment.client.get(f"/Users/{id}")).json()
    assert (shown["name"]["familyName"], shown["title"]) == ("King", "Countess")
    assert await users.delete(id) == id
    await environment.settle()
    assert (await environment.access.get(f"/users/{id}")).status_code == 404
    assert await users.create(ADA) != id  # userName and e-mail are free again
    await environment.settle()
    told = [(event.operation, event.actor, event.state) for event in await events(environment)]
    order = ["create", "grant", "grant", "patch", "delete", "create"]
    assert told == [(operation, BOSS, "done") for operation in order]
    assert not [item async for item in every(store, TENANT, Query("ManualGrants"))]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({EMAIL: ""}, 'A user needs emails[type eq "work"].value'),
        ({"name.givenName": None}, "A user needs name.givenName"),
        ({"name.familyName": " "}, "A user needs name.familyName"),
        ({EMAIL: "\u00a0"}, 'A user needs emails[type eq "work"].value'),
        ({"userName": ""}, "userName"),
        ({"externalId": "x"}, "what Entra ID writes"),
        ({"active": False}, "always active"),
        ({"shoeSize": "44"}, "Muster does not know: shoeSize"),
        ({"emails[type eq": "x"}, "emails"),
        ({"emails": "no list"}, ""),
        ({"active": "perhaps"}, "active"),
        ({"id": "x"}, "id"),
        ({"userName": "bo@example.com"}, "already used by Bo Example (from Entra ID, id 01"),
        ({"userName": "EVE@example.com"}, "already used by Eve Lovelace (made by hand, id 01"),
        ({EMAIL: "BO@example.com"}, "The work e-mail BO@example.com is already used by Bo Example"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(
    environment: Environment, users: ManualUsers, attributes: dict[str, Any], says: str
) -> None:
    await create_user(environment.client, "bo")
    await users.create(ADA | {"userName": "eve@example.com", "name.givenName": "Eve", EMAIL: "e@e"})
    before = await events(environment)
    with pytest.raises(AdministrationError) as refused:
        await users.create(ADA | attributes)
    assert says in str(refused.value)
    assert await events(environment) == before
    id = await users.create(ADA)
    with pytest.raises(AdministrationError) as refused:
        await users.edit(id, attributes)
    assert says in str(refused.value)
    assert not str(refused.value).startswith("Operations")


async def test_what_entra_id_manages_is_changed_there(
    environment: Environment, users: ManualUsers, grants: Grants
) -> None:
    id = await create_user(environment.client, "bo", externalId="e-bo")
    with pytest.raises(AdministrationError, match=r"managed by Entra ID.*change the user there"):
        await users.edit(id, {"title": "x"})
    with pytest.raises(AdministrationError, match=r"managed by Entra ID.*delete the user there"):
        await users.delete("bo@example.com")
    with pytest.raises(AdministrationError, match="has no user 'nobody'"):
        await users.delete("nobody")
    with pytest.raises(AdministrationError, match="does not have: role none"):
        await grants.give(id, (OWNER, EntitlementKey(kind="role", key="none")))
    assert await grants.give(id, (OWNER,))  # withheld while the user is disabled
    assert await holds(environment, id) == (False, ["noGroup"], [])
    await create_group(environment.client, "Sales", [id])
    assert await holds(environment, id) == (True, [], ["owner"])


ADOPTIONS: dict[str, tuple[str, Any]] = {
    "PATCH with a path": ("PATCH", patch(operation("Replace", "externalId", "e-1"))),
    "PATCH without a path": (
        "PATCH",
        patch(operation("replace", None, {"externalId": "e-1", "name.familyName": "King"})),
    ),
    "PUT": ("PUT", user("ada", externalId="e-1")),
    "Bulk": ("BULK", patch(operation("Add", "externalId", "e-1"))),
}


@pytest.mark.parametrize("way", ADOPTIONS)
async def test_entra_id_adopts_whom_it_finds(
    environment: Environment, users: ManualUsers, grants: Grants, way: str
) -> None:
    scim = environment.client
    id = await users.create(ADA)
    await grants.give(id, (VISITORS,))
    group = await create_group(scim, "Sales")
    await environment.mappings.save(group, (OWNER,))
    assert await holds(environment, id) == (True, [], ["visitorsAdministrator"])
    assert (
        await scim.post("/Users", json=user("x", userName="ada@partner.example"))
    ).status_code == 409
    found = await scim.get(
        "/Users", params={"filter": 'emails[type eq "work"].value eq "ada@EXAMPLE.com"'}
    )
    assert [one["id"] for one in found.json()["Resources"]] == [id]
    await scim.patch(f"/Users/{id}", json=patch(operation("Replace", "title", "CTO")))
    assert (await row(environment, id)).source == "manual"

    method, body = ADOPTIONS[way]
    if method == "BULK":
        operations = [{"method": "PATCH", "path": f"/Users/{id}", "data": body}]
        schema = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
        answer = await scim.post("/Bulk", json={"schemas": [schema], "Operations": operations})
    else:
        answer = await scim.request(method, f"/Users/{id}", json=body)
    assert answer.status_code == 200, answer.text
    assert await holds(environment, id) == (False, ["noGroup"], [])
    await scim.patch(f"/Groups/{group}", json=patch(operation("Add", "members", [{"value": id}])))
    assert await holds(environment, id) == (True, [], ["owner", "visitorsAdministrator"])
    await scim.patch(f"/Users/{id}", json=patch(operation("Replace", "active", "False")))
    assert await holds(environment, id) == (False, ["inactive"], [])
    await scim.patch(f"/Users/{id}", json=patch(operation("Remove", "externalId")))
    shown = await row(environment, id)
    assert (shown.source, shown.external_id) == ("scim", None)
    with pytest.raises(AdministrationError, match="managed by Entra ID"):
        await users.delete(id)


async def test_lists_show_who_is_made_by_hand(environment: Environment, users: ManualUsers) -> None:
    store = environment.application.store
    for name in ("cy", "bo"):
        await create_user(environment.client, name)
    id = await users.create(ADA | {"displayName": "The Countess"})
    await environment.settle()
    first = await list_users(store, TENANT, POLICY, limit=1)
    second = await list_users(store, TENANT, POLICY, after=first.next, limit=2)
    assert [(user.id, user.access.enabled) for user in first.rows] == [(id, True)]
    assert [user.user_name for user in second.rows] == ["bo@example.com", "cy@example.com"]
    assert second.next is None
    assert second.rows[0].access.reasons == ("noGroup",)
    assert (await list_users(store, TENANT, POLICY, source="manual")).rows == first.rows
    assert (await list_users(store, TENANT, POLICY, source="scim")).rows == second.rows
    assert (await list_users(store, TENANT, POLICY, "countess")).rows == first.rows
    assert (await list_users(store, TENANT, POLICY, "ADA@", source="manual")).rows == first.rows
    assert (await list_users(store, TENANT, POLICY, "ADA@", source="scim")).rows == ()


async def test_two_administrators_at_once(environment: Environment, users: ManualUsers) -> None:
    """The second finds the document changed under its ETag, and adds to it."""
    application = environment.application
    id = await users.create(ADA)
    await Grants(application.service, TENANT, BOSS).give(id, (OWNER,))
    service = application.service
    others = [Grants(service, TENANT, Actor(type="operator", id="manage.py"))]

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        if method == "batch" and others:
            await others.pop().give(id, (VISITORS,))

    raced = Service(
        Hooked(service.store, before=meanwhile), service.submit, service.now, service.resource_types
    )
    cost = EntitlementKey(kind="role", key="displayAdministrator")
    await Grants(raced, TENANT, BOSS).give(id, (cost,))
    given = await list_given(service.store, TENANT, id)
    assert [one.key for one in given] == ["owner", "visitorsAdministrator", "displayAdministrator"]
    assert len({one.since for one in given}) == 3


async def test_what_is_given_to_someone_who_is_deleted_meanwhile_goes(
    environment: Environment, users: ManualUsers
) -> None:
    service = environment.application.service
    id = await users.create(ADA)
    await environment.settle()
    deleting = [users.delete]

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        if method == "batch" and deleting:
            await deleting.pop()(id)
            await environment.settle()

    raced = Service(
        Hooked(service.store, before=meanwhile), service.submit, service.now, service.resource_types
    )
    await Grants(raced, TENANT, BOSS).give(id, (OWNER,))
    await environment.settle()
    assert not [item async for item in every(service.store, TENANT, Query("ManualGrants"))]
