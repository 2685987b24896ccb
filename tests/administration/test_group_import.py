"""Groups with their mappings from an earlier integration."""

import json
from typing import Any

import pytest

from administration.errors import AdministrationError
from administration.group_import import GroupImport, ImportedGroup, parse_import
from administration.reading.groups import GroupOverview, list_groups
from directory.reading import every
from directory.store import Assign, Query, Update
from scim.writing import Service
from tests.environment import TENANT, Environment
from tests.reconciler.world import Hooked
from tests.scim.messages import add, create, create_users, group, operation, patch

CSV = """\ufeffExternalId;displayName;kind;key
e-1;Sales;role;owner
e-2;Räume;;
e-1;Sales;role;addInUser
"""
JSON = {
    "groups": [
        {
            "externalId": "e-1",
            "displayName": "Sales",
            "entitlements": [
                {"kind": "role", "key": "owner"},
                {"kind": "role", "key": "addInUser"},
            ],
        },
        {"externalId": "e-2", "displayName": "Räume"},
    ]
}


async def load(environment: Environment, content: Any, dry_run: bool = False) -> list[Any]:
    """Outcome and changes of each group."""
    file = parse_import(content if isinstance(content, bytes) else json.dumps(content).encode())
    importing = GroupImport(environment.application.service, TENANT)
    return told(await importing.load(file, dry_run=dry_run))


def told(groups: list[ImportedGroup]) -> list[Any]:
    return [(group.external_id, group.outcome, *group.changed) for group in groups]


async def seen(environment: Environment) -> dict[str, GroupOverview]:
    """Groups by externalId."""
    page = await list_groups(environment.application.store, TENANT)
    return {group.external_id or "": group for group in page.rows}


async def documents(environment: Environment) -> dict[str, str]:
    """Everything that is stored, by id and ETag."""
    found = {}
    for type in ("Group", "Key", "Mapping", "Event"):
        async for item in every(environment.application.store, TENANT, Query(type)):
            found[item.document["id"]] = item.etag
    return found


async def test_from_the_import_to_the_members(environment: Environment) -> None:
    scim = environment.client
    new = ("externalId", "displayName")
    expected = [("e-1", "new", *new, "entitlements"), ("e-2", "new", *new)]
    before = await documents(environment)
    assert await load(environment, JSON, dry_run=True) == expected
    assert await documents(environment) == before
    assert await load(environment, CSV.encode()) == expected
    await environment.settle()
    again = [("e-1", "unchanged"), ("e-2", "unchanged")]
    before = await documents(environment)
    assert await load(environment, JSON) == again
    assert await documents(environment) == before

    groups = await seen(environment)
    sales = groups["e-1"]
    assert {group.status for group in groups.values()} == {"Waiting for sync"}
    assert [one.display_name for one in sales.entitlements] == ["Owner", "Add-in User"]
    assert (sales.version, sales.applied_version, sales.connection_id) == (1, 1, None)
    (event,) = [
        item.document
        async for item in every(environment.application.store, TENANT, Query("Event"))
        if item.document["resourceId"] == sales.group_id
    ]
    assert (event["operation"], event["state"]) == ("import", "done")

    conflict = await scim.post("/Groups", json=group("Sales", externalId="e-1"))
    assert conflict.status_code == 409
    filter = {"filter": 'externalId eq "e-1"', "excludedAttributes": "members"}
    (found,) = (await scim.get("/Groups", params=filter)).json()["Resources"]
    assert (await seen(environment))["e-1"].status == "Waiting for sync"
    (ada,) = await create_users(scim, 1)
    assert (await scim.patch(f"/Groups/{found['id']}", json=add([ada]))).status_code == 204
    assert (await seen(environment))["e-1"].status == "Applying changes"
    await environment.settle()
    access = (await environment.access.get(f"/users/{ada}")).json()
    assert {grant["key"] for grant in access["grants"]} == {"owner", "addInUser"}

    changed = {"externalId": "e-1", "displayName": "Other", "entitlements": []}
    renamed = {"externalId": "e-2", "displayName": "Rooms"}
    assert await load(environment, {"groups": [changed, renamed]}) == [
        ("e-1", "updated", "entitlements"),  # its name is Entra ID's
        ("e-2", "updated", "displayName"),
    ]
    await environment.settle()
    groups = await seen(environment)
    assert (groups["e-1"].display_name, groups["e-1"].status) == ("Sales", "Active")
    assert (groups["e-2"].display_name, groups["e-2"].status) == ("Rooms", "Waiting for sync")
    (kept,) = (await environment.access.get(f"/users/{ada}")).json()["grants"]
    assert (kept["key"], kept["sources"][0]["type"]) == ("owner", "kept"), "she was the last one"
    assert await load(environment, {"groups": [changed, renamed]}) == again


async def test_a_group_that_entra_id_made_gets_its_mapping(environment: Environment) -> None:
    made = await create(environment.client, "/Groups", group("Sales", externalId="e-1"))
    assert (await load(environment, JSON))[0] == ("e-1", "updated", "entitlements")
    await environment.settle()
    sales = (await seen(environment))["e-1"]
    assert (sales.group_id, sales.status) == (made["id"], "Active")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the first line must name the columns externalId"),
        (b"externalId,displayName\ne-1,Sales", "it lacks kind, key"),
        (b"externalId,displayName,kind,key\ne-1,,,\n", "line 2.displayName"),
        (b"externalId,displayName,kind,key\n\ne-1,A,role,owner\n,B,,\n", "line 4.externalId"),
        (b"externalId,displayName,kind,key\ne-1,A,,\ne-1,B,,\n", "line 3: the group has another"),
        (b"externalId,displayName,kind,key\ne-1,A,role,\n", "line 2: kind and key go together"),
        (b'externalId,displayName,kind,key\ne-1,"A\n', "line 2"),
        (b"externalId,displayName,kind,key\ne-1,\xff,,\n", "not UTF-8"),
        (b'{"groups": [', "line 1 is not JSON"),
        ({"groups": [{"externalId": "e-1"}]}, "groups.0.displayName"),
        ({"groups": [{"externalId": "e", "displayName": " "}]}, "groups.0.displayName"),
        ({"groups": [{"externalId": " ", "displayName": "x"}]}, "groups.0.externalId"),
        ("externalId,displayName,kind,key\n\u200b,A,,\n".encode(), "line 2.externalId"),
        ({"groups": [{"externalId": "e", "displayName": "x"}] * 2}, "externalId e twice"),
        (
            {
                "groups": [
                    {"externalId": "e-1", "displayName": "x"},
                    {
                        "externalId": "e-2",
                        "displayName": "y",
                        "entitlements": [{"kind": "role", "key": "boss"}],
                    },
                ]
            },
            "does not have: role boss",
        ),
    ],
)
async def test_a_mistake_names_the_place_and_changes_nothing(
    environment: Environment, content: Any, says: str
) -> None:
    before = await documents(environment)
    with pytest.raises(AdministrationError) as refused:
        await load(environment, content)
    assert says in str(refused.value)
    assert await documents(environment) == before


async def test_entra_id_creates_a_group_during_its_import(environment: Environment) -> None:
    """In batches of one group, so that the first is written when the second is met."""
    service = environment.application.service
    batches = 0

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        nonlocal batches
        batches += method == "batch"
        if method == "batch" and batches == 2:
            await create(environment.client, "/Groups", group("Räume", externalId="e-2"))

    raced = Service(
        Hooked(service.store, before=meanwhile), service.submit, service.now, service.resource_types
    )
    file = parse_import(json.dumps(JSON).encode())
    loaded = await GroupImport(raced, TENANT).load(file, together=1)
    outcomes = [one.outcome for one in loaded]
    assert outcomes == ["new", "unchanged"]
    groups = await seen(environment)
    assert [groups[id].source for id in ("e-1", "e-2")] == ["manual", "scim"]


async def test_many_groups_take_bounded_batches(environment: Environment) -> None:
    one = [{"kind": "role", "key": "owner"}]
    groups = [
        {"externalId": f"e-{n}", "displayName": f"Group {n}", "entitlements": one}
        for n in range(60)
    ]
    assert [outcome for _, outcome, *_ in await load(environment, {"groups": groups})] == [
        "new"
    ] * 60
    await environment.settle()
    first = next(iter((await seen(environment)).values()))
    await environment.client.patch(
        f"/Groups/{first.group_id}", json=patch(operation("Replace", "displayName", "Group 0"))
    )
    assert (await seen(environment))["e-0"].status == "Active"


@pytest.mark.parametrize("damaged", ["group", "mapping", "key"])
async def test_a_group_that_cannot_be_read_is_named_and_the_others_are_imported(
    environment: Environment, damaged: str
) -> None:
    one = [{"kind": "role", "key": "owner"}]
    groups = [{"externalId": f"e-{n}", "displayName": f"{n}", "entitlements": one} for n in "ab"]
    await load(environment, {"groups": groups})
    store = environment.application.store
    attribute = {"group": "resource", "mapping": "version", "key": "digest"}[damaged]
    for id in await documents(environment):
        stored = (await store.read(TENANT, id)).document
        about = stored.get("groupId") or stored.get("resourceId") or id.removeprefix("group:")
        if id.startswith(f"{damaged}:") and about == (await seen(environment))["e-a"].group_id:
            await store.batch(TENANT, [Update(id, (Assign((attribute,), {}),))])
            break
    more = [{**group, "entitlements": []} for group in groups]
    more.append({"externalId": "e-c", "displayName": "c", "entitlements": one})
    assert await load(environment, {"groups": more}) == [
        ("e-a", "unreadable"),
        ("e-b", "updated", "entitlements"),
        ("e-c", "new", "externalId", "displayName", "entitlements"),
    ]
