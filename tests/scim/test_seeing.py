"""What requests show of how Entra ID is set up, and what the checklist makes of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from administration.clients import Clients
from administration.reading.checklist import Item, read_checklist
from administration.tenants import read_tenant
from administration.tokens import Tokens, list_tokens
from directory.tenants import Tenant
from scim.exchange import Answer
from scim.refusing import Asked
from scim.seeing import steps_of
from tests.environment import TENANT, Environment, running
from tests.scim.test_counting import Store, counting_at
from trust.caller import Caller

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
GUID = "8f6f1e9e-5b1a-4b43-a5f5-0b7f4a1c1b11"
GROUP = [{"value": "x", "type": "Group"}]


def patch(op: str, value: Any, path: str | None = None) -> dict[str, Any]:
    one = {"op": op, "value": value} | ({"path": path} if path else {})
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [one]}


@pytest.mark.parametrize(
    ("operation", "filter", "body", "steps"),
    [
        ("GET /Users", "", None, ["usersSought"]),
        ("GET /Users", f'externalId eq "{GUID}"', None, ["usersSought", "userByExternalId"]),
        ("GET /Users", 'USERNAME eq "a"', None, ["usersSought", "userByUserName"]),
        ("GET /Users", 'emails[type eq "work"].value eq "a"', None, ["usersSought", "userByEmail"]),
        ("GET /Users", 'id eq "x" and manager eq "y"', None, ["usersSought"]),
        ("GET /Groups", 'displayName eq "a"', None, ["groupsSought", "groupByDisplayName"]),
        ("GET /Groups", 'externalId eq "a"', None, ["groupsSought", "groupByExternalId"]),
        ("POST /Users", "", {"userName": "a"}, ["userCreated"]),
        ("POST /Users", "", {"active": "True"}, ["userCreated", "activeTrue"]),
        ("POST /Users", "", {"Active": False}, ["userCreated", "activeFalse"]),
        ("PATCH /Users/{id}", "", patch("Replace", "False", "active"), ["activeFalse"]),
        ("PATCH /Users/{id}", "", patch("replace", {"active": True}), ["activeTrue"]),
        ("PATCH /Users/{id}", "", patch("replace", "x", "userName"), []),
        ("PATCH /Users/{id}", "", {"Operations": "x"}, []),
        ("POST /Groups", "", {"displayName": "a"}, ["groupCreated"]),
        ("PATCH /Groups/{id}", "", patch("Add", [{"value": "x"}], "members"), ["memberAdded"]),
        ("PATCH /Groups/{id}", "", patch("Remove", [{"value": "x"}], "members"), []),
        ("PATCH /Groups/{id}", "", patch("add", GROUP, "members"), ["memberAdded", "groupInGroup"]),
        ("PATCH /Groups/{id}", "", patch("add", {"members": [{"value": "x"}]}), ["memberAdded"]),
    ],
)
def test_a_request_shows_steps(operation: str, filter: str, body: Any, steps: list[str]) -> None:
    request = asked(operation, body, filter)
    assert [*steps_of(request, Answer(200))] == steps
    assert [*steps_of(request, Answer(400))] == []


def asked(operation: str, body: Any = None, filter: str = "") -> Asked:
    caller = Caller(Tenant(tenant_id=TENANT, name="Acme"), "entra")
    return Asked(caller, "r", operation, None, body, filter)


async def test_a_step_is_written_once_in_ten_minutes_and_the_later_moment_stays(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "muster.sqlite")
    tenant = Tenant(tenant_id=TENANT, name="Acme")
    for minutes in (0, 5, 20, 10):  # the last one from a process whose clock is behind
        now = NINE + timedelta(minutes=minutes)
        counter = counting_at(store, now)
        counter.saw(asked("GET /Users"), Answer(200))
        counter.saw(asked("GET /Users"), Answer(200))
        await counter.close()
    found = {item.key: item for item in await read_checklist(store, tenant, [], now)}
    assert found["usersSought"].at == NINE + timedelta(minutes=20)
    assert found["groupsSought"].state == "waiting"
    await store.close()


@pytest.fixture
async def muster(tmp_path: Path) -> Any:
    async with running(tmp_path) as environment:
        yield environment


async def checklist(muster: Environment, later: timedelta = timedelta()) -> dict[str, Item]:
    await muster.application.counter.close()
    store = muster.application.store
    now = datetime.now(UTC) + later
    tenant = await read_tenant(store, TENANT)
    tokens = await list_tokens(store, tenant, now)
    return {one.key: one for one in await read_checklist(store, tenant, tokens, now)}


def person(n: int, **changes: Any) -> dict[str, Any]:
    user = {
        "userName": f"u{n}@acme.example",
        "externalId": f"object-{n}",
        "active": True,
        "name": {"givenName": "Ada", "familyName": "Byron"},
        "emails": [{"type": "work", "value": f"u{n}@acme.example"}],
    }
    return {name: value for name, value in (user | changes).items() if value is not None}


async def test_before_the_first_request_all_steps_wait(muster: Environment) -> None:
    states = {key: one.state for key, one in (await checklist(muster)).items()}
    assert states.pop("enabled") == "done"
    assert states.pop("refused") == "done"
    assert {*states.values()} == {"waiting"}


async def test_a_set_up_as_it_should_be_is_green(muster: Environment) -> None:
    scim = muster.client
    for path in ("/Users", "/Groups"):
        await scim.get(path, params={"filter": f'externalId eq "{GUID}"'})
    users = [(await scim.post("/Users", json=person(n))).json()["id"] for n in range(2)]
    await scim.patch(f"/Users/{users[0]}", json=patch("Replace", "False", "active"))
    group = {"displayName": "Sales", "externalId": "g"}
    id = (await scim.post("/Groups", json=group)).json()["id"]
    await scim.patch(f"/Groups/{id}", json=patch("Add", [{"value": users[0]}], "members"))
    found = await checklist(muster)
    assert [one for one in found.values() if one.state != "done"] == []
    assert found["workEmail"].says == "2 of 2 users have it."
    assert "Token " in found["credential"].says


async def test_nobody_who_may_sign_in_is_named(muster: Environment) -> None:
    """What else can be wrong is played by a job (tests/setup/test_checklist.py)."""
    await muster.client.post("/Users", json=person(1, active=False))
    found = (await checklist(muster))["active"]
    assert (found.state, "Only false" in found.says) == ("wrong", True), found


async def test_that_no_credential_is_left_is_named(muster: Environment) -> None:
    """Whatever comes with one that has ended is of no tenant's, so nothing else would show it."""
    tokens = muster.changing(Tokens)
    (old,) = (await read_tenant(muster.application.store, TENANT)).connections[0].tokens
    await muster.client.get("/Users")
    await tokens.for_program("entra")
    await tokens.revoke(old.token_id)
    found = (await checklist(muster))["credential"]
    assert (found.state, found.says[:16]) == ("wrong", "None is live any")
    await muster.changing(Clients).add_secret("entra", timedelta(days=1))
    assert (await checklist(muster))["credential"].state == "done"


async def test_whoever_lacks_an_attribute_counts(muster: Environment) -> None:
    await muster.client.post("/Users", json=person(1))
    await muster.client.post("/Users", json=person(2, externalId=None))
    found = (await checklist(muster))["externalId"]
    assert (found.state, found.says[:20]) == ("wrong", "1 of 2 users have it")
