"""How often a SCIM request goes to Cosmos DB, counted at the façade.

The tenant of a token is read once and kept for seconds, and the token's use is written once in
minutes, as is how many requests there were, in seconds; neither is counted. `query` is also what
reads several documents by id at once.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.cosmos.indexing import indexing_policy
from scim.counting import RequestCounter
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container
from tests.environment import running
from tests.scim.messages import (
    NOBODY,
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


@dataclass
class Counted:
    """A SCIM client whose requests are counted at the database."""

    scim: httpx.AsyncClient
    facade: Facade

    async def trips(self, method: str, path: str, body: Any = None) -> dict[str, int]:
        """How many requests of each kind one SCIM request takes."""
        self.facade.requests.clear()
        answer = await self.scim.request(method, path, json=body)
        assert answer.is_success, answer.text
        return dict(Counter(self.facade.requests))


@pytest.fixture
async def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counted]:
    monkeypatch.setattr(RequestCounter, "saw", lambda *_: None)
    async with serving(Facade(Container(indexing_policy()))) as facade:
        store: dict[str, Any] = {"cosmos_endpoint": facade.endpoint, "cosmos_key": "Zm9v"}
        async with running(tmp_path, **store) as environment:
            await environment.client.get("/Users")
            await environment.application.authenticator.close()
            yield Counted(environment.client, facade)


async def test_reading_by_id(counted: Counted) -> None:
    ada = await create_user(counted.scim, "ada")
    sales = await create_group(counted.scim, "Sales", [ada])
    assert await counted.trips("GET", f"/Users/{ada}?excludedAttributes=groups") == {"read": 1}
    assert sum((await counted.trips("GET", f"/Users/{ada}")).values()) <= 2
    assert await counted.trips("GET", f"/Groups/{sales}?excludedAttributes=members") == {"read": 1}


@pytest.mark.parametrize("attribute", ["userName", "externalId"])
@pytest.mark.parametrize(("value", "reads"), [("ada@example.com", 2), ("nobody", 1)])
async def test_matching_takes_point_reads_and_no_query(
    counted: Counted, attribute: str, value: str, reads: int
) -> None:
    await create_user(counted.scim, "ada", externalId="ada@example.com")
    path = f'/Users?filter={attribute} eq "{value}"'
    assert await counted.trips("GET", path) == {"read": reads}


async def test_creating(counted: Counted) -> None:
    trips = await counted.trips("POST", "/Users", user("ada", externalId="1"))
    assert trips.pop("batch") == 1
    assert sum(trips.values()) <= 1


@pytest.mark.parametrize(
    "change",
    [
        operation("replace", "displayName", "Ada"),
        operation("replace", "userName", "lovelace@example.com"),
        operation("replace", "active", False),
    ],
)
async def test_changing_a_user(counted: Counted, change: Any) -> None:
    ada = await create_user(counted.scim, "ada")
    trips = await counted.trips("PATCH", f"/Users/{ada}", patch(change))
    assert trips == {"read": 1, "batch": 1}


async def test_one_member_costs_the_same_in_a_group_of_any_size(counted: Counted) -> None:
    bob = await create_user(counted.scim, "bob")
    small = await create_group(counted.scim, "Small")
    big = await create_group(counted.scim, "Big", await create_users(counted.scim, 90))
    for body in (add([bob]), remove([bob])):
        trips = [await counted.trips("PATCH", f"/Groups/{id}", body) for id in (small, big)]
        assert trips == [{"read": 1, "batch": 1}] * 2


async def test_who_is_no_user_or_a_member_already_is_looked_up(counted: Counted) -> None:
    bob = await create_user(counted.scim, "bob")
    inner = await create_group(counted.scim, "Inner")
    sales = await create_group(counted.scim, "Sales", [bob])
    unusual = (add([bob]), add([inner]), remove([inner]), remove([inner]), add([NOBODY]))
    for body in unusual:
        trips = await counted.trips("PATCH", f"/Groups/{sales}", body)
        assert trips == {"read": 1, "batch": 2, "query": 1}, body
    members = (await counted.scim.get(f"/Groups/{sales}")).json()["members"]
    assert [(one["value"], one["type"]) for one in members] == [(bob, "User")]


async def test_a_group_with_an_external_id_is_looked_for_among_the_deleted_ones(
    counted: Counted,
) -> None:
    """What the same group gave before it was deleted, it gives again: one read more. Deleting it
    reads what it gives."""
    alone = "/Groups?excludedAttributes=members"
    await create_group(counted.scim, "First", externalId="0")  # asks for the partitions, too
    plain = await counted.trips("POST", alone, group("Sales"))
    assert plain == {"batch": 1}
    known = await counted.trips("POST", alone, group("Sales", externalId="1"))
    assert known == {"query": 1, "batch": 1}
    id = await create_group(counted.scim, "Staff")
    assert await counted.trips("DELETE", f"/Groups/{id}") == {"read": 2, "batch": 1}


async def test_what_is_not_there_costs_one_read(counted: Counted) -> None:
    counted.facade.requests.clear()
    assert (await counted.scim.get(f"/Users/{NOBODY}")).status_code == 404
    assert counted.facade.requests == ["read"]
