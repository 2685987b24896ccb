"""Extension schemas from JSON files: served, validated, filtered, patched (RFC 7643 section 7)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scim.protocol.schema import SchemaError, load_resource_types
from settings import Settings
from tests.environment import Environment, client_of, running
from wiring import Application

EXAMPLES = Path(__file__).parents[2] / "examples" / "schemas"
EMPLOYMENT = "urn:ietf:params:scim:schemas:extension:muster:employment:2.0:User"
STARTED = {"startDate": "2026-01-31T08:00:00+02:00", "contract": "Permanent", "sites": ["Oslo"]}


@pytest.fixture
async def scim(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A SCIM client of a deployment that has the example's schema."""
    policy = {"acceptIncompleteUsers": True}
    async with running(tmp_path, policy, schemas=EXAMPLES) as environment:
        yield environment.client


async def test_it_is_served_with_its_resource_type(scim: httpx.AsyncClient) -> None:
    schema = (await scim.get(f"/Schemas/{EMPLOYMENT}")).json()
    assert [each["name"] for each in schema["attributes"]] == ["startDate", "contract", "sites"]
    user = (await scim.get("/ResourceTypes/User")).json()
    assert {"schema": EMPLOYMENT, "required": False} in user["schemaExtensions"]


async def test_values_come_back_as_they_were_sent(scim: httpx.AsyncClient) -> None:
    body = {"userName": "ada", EMPLOYMENT: STARTED}
    created = (await scim.post("/Users", json=body)).json()
    assert EMPLOYMENT in created["schemas"]
    read = (await scim.get(f"/Users/{created['id']}")).json()
    assert read[EMPLOYMENT] == STARTED
    path = f"{EMPLOYMENT}:sites"
    add = {"Operations": [{"op": "Add", "path": path, "value": ["Bergen"]}]}
    changed = (await scim.patch(f"/Users/{created['id']}", json=add)).json()
    assert changed[EMPLOYMENT]["sites"] == ["Oslo", "Bergen"]


@pytest.mark.parametrize(
    ("filter", "matches"),
    [
        (f'{EMPLOYMENT}:startDate gt "2026-01-31T05:59:59Z"', True),
        (f'{EMPLOYMENT}:startDate gt "2026-01-31T06:00:00Z"', False),
        (f'{EMPLOYMENT}:startDate eq "2026-01-31T01:00:00-05:00"', True),
        ('startDate lt "2027-01-01T00:00:00Z"', True),
        (f'{EMPLOYMENT}:contract eq "PERMANENT"', True),
        (f'{EMPLOYMENT}:sites eq "oslo" and not (sites eq "paris")', True),
        (f'schemas eq "{EMPLOYMENT}"', True),
        (f"not ({EMPLOYMENT}:startDate pr)", False),
    ],
)
async def test_it_can_be_filtered_by(scim: httpx.AsyncClient, filter: str, matches: bool) -> None:
    await scim.post("/Users", json={"userName": "ada", EMPLOYMENT: STARTED})
    found = (await scim.get("/Users", params={"filter": filter})).json()
    assert found["totalResults"] == int(matches)


async def test_a_value_that_does_not_fit_is_refused_by_name(scim: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"userName": "ada", EMPLOYMENT: {"startDate": "tomorrow"}}
    refused = await scim.post("/Users", json=body)
    assert refused.status_code == 400
    assert refused.json()["scimType"] == "invalidValue"
    assert f"{EMPLOYMENT}:startDate" in refused.json()["detail"]


ASSETS = "urn:example:params:scim:schemas:extension:assets:2.0:User"
OF_GROUPS = "urn:example:params:scim:schemas:extension:assets:2.0:Group"
UNIQUE = [
    {"name": "badge", "uniqueness": "server", "caseExact": False},
    {"name": "serial", "uniqueness": "global", "caseExact": True},
    {"name": "plates", "multiValued": True, "uniqueness": "server"},
    {
        "name": "phones",
        "type": "complex",
        "multiValued": True,
        "subAttributes": [{"name": "value", "uniqueness": "server"}, {"name": "type"}],
    },
    {"name": "pin", "mutability": "writeOnly", "returned": "never"},
]


def write_schemas(folder: Path, *, unique: bool = True) -> Path:
    """ASSETS as files for users and groups; `unique`: with what they say of uniqueness."""
    folder.mkdir(exist_ok=True)
    plain = json.loads(json.dumps(UNIQUE).replace('"server"', '"none"').replace("global", "none"))
    for urn in (ASSETS, OF_GROUPS):
        name = urn.rpartition(":")[2]
        schema = {"id": urn, "resourceType": name, "attributes": UNIQUE if unique else plain}
        (folder / f"{name}.json").write_text(json.dumps(schema))
    return folder


@pytest.fixture
async def assets(tmp_path: Path) -> AsyncIterator[Environment]:
    """A strict deployment with ASSETS."""
    policy = {"acceptIncompleteUsers": True, "strict": True}
    async with running(tmp_path, policy, schemas=write_schemas(tmp_path / "schemas")) as one:
        yield one


def owning(name: str, **values: Any) -> dict[str, Any]:
    """A user with these values of ASSETS."""
    return {"userName": name, ASSETS: values}


async def test_what_is_only_written_is_taken_in_a_strict_tenant_too(assets: Environment) -> None:
    scim = assets.client
    created = await scim.post("/Users", json=owning("ada", pin="1") | {"password": "x"})
    assert created.status_code == 201, created.text
    assert ASSETS not in created.json()
    path = f"/Users/{created.json()['id']}"
    add = {"op": "add", "path": f"{ASSETS}:pin", "value": "2"}
    assert (await scim.patch(path, json={"Operations": [add]})).status_code == 200
    add["path"] = "password"
    assert (await scim.patch(path, json={"Operations": [add]})).status_code == 200
    assert "password" not in str((await scim.get(path)).json())


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"badge": "x7"}, {"badge": "X7"}, "badge"),
        ({"serial": "a"}, {"serial": "a"}, "serial"),
        ({"serial": "a"}, {"serial": "A"}, None),
        ({"plates": ["A", "B"]}, {"plates": ["C", "b"]}, "plates"),
        ({"phones": [{"value": "1", "type": "x"}]}, {"phones": [{"value": "1"}]}, "phones.value"),
        ({"badge": "x7"}, {"serial": "x7"}, None),
    ],
)
async def test_what_is_declared_unique_is(
    assets: Environment, first: dict[str, Any], second: dict[str, Any], named: str | None
) -> None:
    """RFC 7643 section 7: by POST, PUT, PATCH and Bulk."""
    scim = assets.client
    ada = (await scim.post("/Users", json=owning("ada", **first))).json()["id"]
    grace = (await scim.post("/Users", json=owning("grace"))).json()["id"]
    answers = [
        await scim.post("/Users", json=owning("third", **second)),
        await scim.put(f"/Users/{grace}", json=owning("grace", **second)),
        await scim.patch(
            f"/Users/{grace}",
            json={"Operations": [{"op": "add", "value": {ASSETS: second}}]},
        ),
    ]
    if named is None:
        # One who has a value already is the second one's own.
        assert [answer.status_code for answer in answers] == [201, 409, 409]
        return
    for answer in answers:
        assert answer.status_code == 409, answer.text
        assert answer.json()["scimType"] == "uniqueness"
        assert f"{ASSETS}:{named} is already used" in answer.json()["detail"]
        assert ada in answer.json()["detail"]
    # What is given up is free.
    assert (await scim.put(f"/Users/{ada}", json=owning("ada"))).status_code == 200
    assert (await scim.put(f"/Users/{grace}", json=owning("grace", **second))).status_code == 200
    assert (await scim.delete(f"/Users/{grace}")).status_code == 204
    assert (await scim.post("/Users", json=owning("third", **second))).status_code == 201


async def test_unique_values_are_bounded_and_change_together(assets: Environment) -> None:
    """All that a resource has reserved fits one batch with all that it has then; a group's beside
    its members."""
    scim = assets.client
    most, more = [f"a{n}" for n in range(40)], [f"b{n}" for n in range(40)]
    ada = (await scim.post("/Users", json=owning("ada", plates=most[:39]))).json()["id"]
    put = await scim.put(f"/Users/{ada}", json=owning("ada", plates=more[:39]))
    assert put.status_code == 200, put.text
    refused = await scim.put(f"/Users/{ada}", json=owning("ada", plates=[*more, *most]))
    assert refused.status_code == 400
    assert "at most 40" in refused.json()["detail"]
    users = [await scim.post("/Users", json=owning(f"u{n}")) for n in range(60)]
    members = [{"value": user.json()["id"]} for user in users]
    group = {"displayName": "G", OF_GROUPS: {"plates": most[:39]}, "members": members}
    created = await scim.post("/Groups", json=group)
    assert created.status_code == 201, created.text
    path = f"/Groups/{created.json()['id']}"
    group |= {OF_GROUPS: {"plates": more[:39]}, "members": []}
    replaced = await scim.put(path, json=group)
    assert replaced.status_code == 200, replaced.text
    assert "members" not in replaced.json()
    await assets.settle()
    assert (await scim.delete(path)).status_code == 204


async def test_values_from_before_they_had_to_be_unique(tmp_path: Path) -> None:
    """They stay, do not stand in the way of a change, and give nobody else's value away."""
    folder, policy = tmp_path / "schemas", {"acceptIncompleteUsers": True}
    async with running(
        tmp_path / "state", policy, schemas=write_schemas(folder, unique=False)
    ) as before:
        users = [
            (await before.client.post("/Users", json=owning(name, badge="7"))).json()["id"]
            for name in ("ada", "grace")
        ]
        headers = before.client.headers
    write_schemas(folder)
    application = Application(Settings(data=tmp_path / "state", schemas=folder))
    try:
        async with client_of(application.scim, "/scim", "") as scim:
            scim.headers = headers
            third = await scim.post("/Users", json=owning("third", badge="7"))
            assert third.status_code == 201
            off = {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
            for user in users:
                assert (await scim.patch(f"/Users/{user}", json=off)).status_code == 200
            assert (await scim.delete(f"/Users/{users[0]}")).status_code == 204
            moved = await scim.put(f"/Users/{users[1]}", json=owning("grace", badge="8"))
            assert moved.status_code == 200
            again = await scim.post("/Users", json=owning("fourth", badge="7"))
            assert again.status_code == 409
            assert third.json()["id"] in again.json()["detail"]
    finally:
        await application.close()


def test_a_faulty_file_is_named_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "faulty.json"
    text = (EXAMPLES / "employment.json").read_text().replace('"dateTime"', '"date"')
    file.write_text(text)
    with pytest.raises(SchemaError, match=r"faulty\.json: attributes\[0\]\.type: "):
        load_resource_types([file])
