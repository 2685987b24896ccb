"""A mapping that would give too much to too many is refused where it is made, with the remedy."""

import json

import httpx
import pytest

from administration import mappings
from administration.errors import AdministrationError
from administration.group_import import GroupImport, parse_import
from administration.mappings import parse_mappings
from directory.nesting import count_below
from tests.console.organisation import ADD_IN, OWNER, Organisation, organisation
from tests.environment import TENANT, Environment
from tests.scim.messages import GROUP, values


@pytest.fixture
async def acme(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Organisation:
    """Three users in Sales, and so in Staff; five grants are the most."""
    monkeypatch.setattr(mappings, "GRANTS_LIMIT", 5)
    return await organisation(environment)


async def test_it_is_said_at_every_save(acme: Organisation) -> None:
    both = (OWNER, ADD_IN)
    for group in (acme.sales, acme.staff):
        with pytest.raises(AdministrationError, match="at most 1 entitlements"):
            await acme.environment.mappings.save(group, both)
        await acme.environment.mappings.save(group, (OWNER, OWNER))
    await acme.environment.mappings.save(acme.empty, both)


async def test_a_file_with_one_of_them_changes_nothing(acme: Organisation) -> None:
    keys = [{"kind": one.kind, "key": one.key} for one in (OWNER, ADD_IN)]
    file = {
        "mappings": [
            {"groupId": acme.empty, "entitlements": keys},
            {"groupId": acme.sales, "entitlements": keys},
        ]
    }
    with pytest.raises(AdministrationError, match="grants that one mapping may give"):
        await acme.environment.mappings.load(parse_mappings(json.dumps(file).encode()))
    assert not await mappings.list_mappings(acme.environment.application.store, TENANT)


async def test_the_api_and_the_pages_say_it_before_anything_is_saved(
    api: httpx.AsyncClient, acme: Organisation
) -> None:
    both = [{"kind": one.kind, "key": one.key} for one in (OWNER, ADD_IN)]
    path = f"/groups/{acme.sales}/mapping"
    for answer in (
        await api.post(f"{path}/preview", json={"entitlements": both}),
        await api.put(path, json={"entitlements": both, "version": 0}),
    ):
        assert answer.status_code == 422
        assert "at most 1 entitlements" in answer.json()["detail"]


async def test_members_are_counted_until_it_is_enough(acme: Organisation) -> None:
    store = acme.environment.application.store
    assert await count_below(store, TENANT, acme.staff, 100) == 3
    assert await count_below(store, TENANT, acme.empty, 100) == 0


async def test_an_import_says_it(acme: Organisation) -> None:
    keys = [{"kind": one.kind, "key": one.key} for one in (OWNER, ADD_IN)]
    environment = acme.environment
    body = {"schemas": [GROUP], "displayName": "Outside", "externalId": "x"}
    await environment.client.post(
        "/Groups", json=body | {"members": values([acme.ada, acme.bo, acme.carl])}
    )
    file = {"groups": [{"externalId": "x", "displayName": "Outside", "entitlements": keys}]}
    importing = environment.changing(GroupImport)
    with pytest.raises(AdministrationError, match="at most 1 entitlements"):
        await importing.load(parse_import(json.dumps(file).encode()))
