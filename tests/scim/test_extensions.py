"""Extension schemas from JSON files: served, validated, filtered, patched (RFC 7643 section 7)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scim.protocol.schema import SchemaError, load_resource_types
from tests.environment import running

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


def test_a_faulty_file_is_named_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "faulty.json"
    text = (EXAMPLES / "employment.json").read_text().replace('"dateTime"', '"date"')
    file.write_text(text)
    with pytest.raises(SchemaError, match=r"faulty\.json: attributes\[0\]\.type: "):
        load_resource_types([file])
