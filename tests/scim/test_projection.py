"""Which attributes an answer carries: RFC 7644 section 3.9, RFC 7643 section 7 `returned`."""

from typing import Any

import httpx
import pytest

from tests.scim.messages import (
    ENTERPRISE,
    GROUP,
    SEARCH_REQUEST,
    USER,
    add,
    create,
    create_group,
    create_user,
    operation,
    patch,
    user,
)

FULL: dict[str, Any] = user(
    "ada",
    schemas=[USER, ENTERPRISE],
    externalId="A-1",
    title="Countess",
    password="correct horse",
    **{ENTERPRISE: {"department": "Engines", "employeeNumber": "1"}},
)
ALWAYS = {"schemas", "id"}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (
            {},
            {"externalId", "userName", "name", "emails", "active", "title", ENTERPRISE, "meta"},
        ),
        ({"attributes": "userName"}, {"userName"}),
        ({"attributes": "USERNAME, Title"}, {"userName", "title"}),
        ({"attributes": f"{USER}:userName"}, {"userName"}),
        ({"attributes": "id"}, set()),
        ({"attributes": "nope"}, set()),
        ({"attributes": "password"}, set()),
        ({"attributes": ENTERPRISE}, {ENTERPRISE}),
        ({"attributes": ENTERPRISE.replace(":", "%3a")}, {ENTERPRISE}),
        ({"attributes": f"{USER}.title,{ENTERPRISE}.department"}, {"title", ENTERPRISE}),
        ({"attributes": "department"}, {ENTERPRISE}),
        ({"attributes": "meta.version"}, {"meta"}),
        (
            {"attributes": ""},
            {"externalId", "userName", "name", "emails", "active", "title", ENTERPRISE, "meta"},
        ),
        (
            {"excludedAttributes": f"name,EMAILS,{ENTERPRISE},meta"},
            {"externalId", "userName", "active", "title"},
        ),
        (
            {"excludedAttributes": "id,schemas,nope,externalId,title,active,meta"},
            {"userName", "name", "emails", ENTERPRISE},
        ),
    ],
)
async def test_a_user_shows_what_was_asked_for(
    scim: httpx.AsyncClient, query: dict[str, str], shown: set[str]
) -> None:
    """RFC 7644 section 3.9, of every way to get at a user."""
    created = await scim.post("/Users", json=FULL, params=query)
    assert created.status_code == 201
    id = created.json()["id"]
    search = {"schemas": [SEARCH_REQUEST]} | {
        name: value.split(",") for name, value in query.items() if value
    }
    change = patch(operation("replace", "title", "Lady"))
    answers = [
        created.json(),
        (await scim.get(f"/Users/{id}", params=query)).json(),
        (await scim.get("/Users", params=query)).json()["Resources"][0],
        (await scim.post("/Users/.search", json=search)).json()["Resources"][0],
        (await scim.patch(f"/Users/{id}", json=change, params=query)).json(),
        (await scim.put(f"/Users/{id}", json=FULL, params=query)).json(),
    ]
    for answer in answers:
        assert answer.keys() == ALWAYS | shown
        assert "correct horse" not in str(answer)


@pytest.mark.parametrize(
    ("query", "path", "part"),
    [
        ({"attributes": "name.familyName"}, ["name"], {"familyName": "Example"}),
        ({"attributes": "emails.value"}, ["emails"], [{"value": "ada@example.com"}]),
        ({"attributes": f"{ENTERPRISE}:department"}, [ENTERPRISE], {"department": "Engines"}),
        ({"excludedAttributes": "name.familyName"}, ["name"], {"givenName": "Ada"}),
        (
            {"excludedAttributes": f"{ENTERPRISE}:department"},
            [ENTERPRISE],
            {"employeeNumber": "1"},
        ),
    ],
)
async def test_parts_of_attributes(
    scim: httpx.AsyncClient, query: dict[str, str], path: list[str], part: Any
) -> None:
    """RFC 7644 section 3.10."""
    id = (await create(scim, "/Users", FULL))["id"]
    shown = (await scim.get(f"/Users/{id}", params=query)).json()
    for name in path:
        shown = shown[name]
    assert shown == part


async def test_both_parameters_at_once(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.9 says nothing of it, Microsoft's library sends it: first `attributes`,
    then `excludedAttributes`."""
    ada = await create_user(scim, "ada", title="Countess")
    query = {"attributes": "title,meta", "excludedAttributes": "meta"}
    body = {"schemas": [SEARCH_REQUEST]} | {name: value.split(",") for name, value in query.items()}
    change = patch(operation("replace", "title", "Lady"))
    for answer in (
        (await scim.get("/Users", params=query)).json()["Resources"][0],
        (await scim.get(f"/Users/{ada}", params=query)).json(),
        (await scim.post("/Users/.search", json=body)).json()["Resources"][0],
        (await scim.get("/", params=query)).json()["Resources"][0],
        (await scim.post("/Users", json=user("grace", title="Admiral"), params=query)).json(),
        (await scim.patch(f"/Users/{ada}", json=change, params=query)).json(),
    ):
        assert answer.keys() == ALWAYS | {"title"}


async def test_a_users_groups_are_shown_when_asked_for(scim: httpx.AsyncClient) -> None:
    """RFC 7643 section 4.1.2; not by default, so that a match costs no more reads than it must."""
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    sales = await create_group(scim, "Sales", [ada])
    staff = await create_group(scim, "Staff", [sales, grace])
    base = str(scim.base_url).rstrip("/")

    def group_of(id: str, display: str, type: str) -> dict[str, str]:
        return {"value": id, "$ref": f"{base}/Groups/{id}", "display": display, "type": type}

    async def groups(user: str) -> list[dict[str, str]]:
        shown = (await scim.get(f"/Users/{user}?attributes=groups")).json()
        return sorted(shown.get("groups", ()), key=lambda group: str(group["type"]))

    for path in (f"/Users/{ada}", "/Users"):
        assert "groups" not in (await scim.get(path)).text
    indirect = group_of(staff, "Staff", "indirect")
    assert await groups(ada) == [group_of(sales, "Sales", "direct"), indirect]
    listed = (await scim.get("/Users?attributes=groups.value,userName")).json()["Resources"]
    values = {each["id"]: {group["value"] for group in each["groups"]} for each in listed}
    assert values == {ada: {sales, staff}, grace: {staff}}
    assert all(group.keys() == {"value"} for each in listed for group in each["groups"])

    await scim.patch(f"/Groups/{sales}", json=patch(operation("replace", "displayName", "Sold")))
    assert await groups(ada) == [group_of(sales, "Sold", "direct"), indirect]
    await scim.delete(f"/Groups/{sales}")
    assert await groups(ada) == []
    assert await groups(grace) == [group_of(staff, "Staff", "direct")]


async def test_members_are_shown_unless_they_are_left_out(scim: httpx.AsyncClient) -> None:
    """RFC 7643 section 4.2; Entra ID leaves them out."""
    ada = await create_user(scim, "ada")
    sales = await create_group(scim, "Sales", [ada])
    base = str(scim.base_url).rstrip("/")
    member = {"value": ada, "$ref": f"{base}/Users/{ada}", "type": "User"}
    assert (await scim.get(f"/Groups/{sales}")).json()["members"] == [member]
    assert (await scim.get("/Groups")).json()["Resources"][0]["members"] == [member]
    for query in (
        {"excludedAttributes": "members"},
        {"excludedAttributes": f"{GROUP}:MEMBERS"},
        {"attributes": "displayName"},
    ):
        for path in (f"/Groups/{sales}", "/Groups"):
            assert "members" not in (await scim.get(path, params=query)).text
    shown = (await scim.get(f"/Groups/{sales}?attributes=members.value")).json()
    assert shown["members"] == [{"value": ada}]
    shown = (await scim.get(f"/Groups/{sales}?attributes=members.display")).json()
    assert shown["members"] == [{"display": "ada@example.com"}]


@pytest.mark.parametrize(
    ("query", "status", "shown"),
    [
        ({}, 204, None),
        ({"excludedAttributes": "members"}, 204, None),
        ({"attributes": "displayName"}, 200, ALWAYS | {"displayName"}),
        ({"attributes": "members,meta"}, 200, ALWAYS | {"members", "meta"}),
    ],
)
async def test_a_group_patch_answers_the_group_where_attributes_are_asked_for(
    scim: httpx.AsyncClient, query: dict[str, str], status: int, shown: set[str] | None
) -> None:
    """RFC 7644 section 3.5.2: 204, but 200 where `attributes` is given."""
    ada, sales = await create_user(scim, "ada"), await create_group(scim, "Sales")
    answer = await scim.patch(f"/Groups/{sales}", json=add([ada]), params=query)
    assert answer.status_code == status
    current = await scim.get(f"/Groups/{sales}")
    assert answer.headers["ETag"] == current.headers["ETag"]
    if shown:
        assert answer.json() == {name: current.json()[name] for name in shown}
