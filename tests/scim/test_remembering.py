"""A mapping outlives its group for 30 days (product, section 3)."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from administration.catalog_change import Catalog
from administration.connections import Connections
from administration.errors import AdministrationError
from administration.reading.groups import read_group
from administration.remembered import RememberedMappings, list_remembered
from administration.tokens import Tokens
from directory.documents import EntitlementKey
from directory.store import Assign, Store, Update
from tests.consistency import assert_consistent
from tests.scim.messages import add, create_group, create_user, create_users, group
from tests.transports import Tenant

READER = EntitlementKey(kind="role", key="dashboardAdministrator")
OWNER = EntitlementKey(kind="role", key="owner")


async def mapped(tenant: Tenant, members: list[str], external_id: str = "sales-id") -> str:
    """The id of a group that gives something."""
    id = await create_group(tenant.scim, "Sales", members, externalId=external_id)
    await tenant.mappings.save(id, (READER,))
    await tenant.settle()
    return id


async def held(tenant: Tenant, user: str) -> list[str]:
    """What the application sees."""
    await tenant.settle()
    return [grant["key"] for grant in (await tenant.access.get(f"/users/{user}")).json()["grants"]]


async def remembered(tenant: Tenant) -> list[str]:
    """The deleted groups of which something is remembered."""
    page = await list_remembered(tenant.muster.store, tenant.tenant_id)
    return [one.group_id for one in page.rows]


@pytest.mark.parametrize("reconciled", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_a_group_that_comes_back_gives_what_it_gave(
    tenant: Tenant, reconciled: bool, together: bool
) -> None:
    """Whether or not the deletion is reconciled by then, with its members or before them."""
    ada = await create_user(tenant.scim, "ada")
    gone = await mapped(tenant, [ada])
    assert await held(tenant, ada) == [READER.key]
    await tenant.scim.delete(f"/Groups/{gone}")
    if reconciled:
        assert await held(tenant, ada) == []
    assert await remembered(tenant) == [gone]

    back = await create_group(
        tenant.scim, "Sales again", [ada] if together else [], externalId="sales-id"
    )
    if not together:
        await tenant.scim.patch(f"/Groups/{back}", json=add([ada]))
    assert await held(tenant, ada) == [READER.key]
    assert await remembered(tenant) == []
    store, tenant_id = tenant.muster.store, tenant.tenant_id
    overview = await read_group(store, tenant_id, back)
    assert overview is not None
    assert (overview.status, overview.version, overview.applied_version) == ("Active", 2, 2)
    assert overview.given_again_from is not None
    (created,) = [one for one in await tenant.events() if one.resource_id == back][:1]
    assert (created.operation, overview.mapping_event_id) == ("create", created.event_id)
    assert "mapping" in created.attributes
    await assert_consistent(store, tenant_id)

    await tenant.mappings.save(back, (OWNER,))
    assert await held(tenant, ada) == [OWNER.key]
    overview = await read_group(store, tenant_id, back)
    assert overview is not None
    assert overview.given_again_from is None


async def test_again_and_again(tenant: Tenant) -> None:
    """And what was saved last counts."""
    ada = await create_user(tenant.scim, "ada")
    id = await mapped(tenant, [ada])
    for version in (2, 3, 4):
        await tenant.scim.delete(f"/Groups/{id}")
        id = await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
        assert await held(tenant, ada) == [READER.key]
        (mapping,) = await tenant.documents("Mapping")
        assert (mapping["groupId"], mapping["version"]) == (id, version)
    await tenant.mappings.save(id, ())
    await tenant.scim.delete(f"/Groups/{id}")
    await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
    assert await held(tenant, ada) == []
    await assert_consistent(tenant.muster.store, tenant.tenant_id)


async def test_of_a_crowd_everybody_has_it_again(tenant: Tenant) -> None:
    """Members that do not fit one batch."""
    people = await create_users(tenant.scim, 120)
    gone = await mapped(tenant, people)
    await tenant.scim.delete(f"/Groups/{gone}")
    await create_group(tenant.scim, "Sales", people, externalId="sales-id")
    await tenant.settle()
    records = await tenant.documents("Access")
    assert len([one for one in records if one["grants"]]) == len(people)
    await assert_consistent(tenant.muster.store, tenant.tenant_id)


async def test_another_group_does_not_give_it(tenant: Tenant) -> None:
    """Of another externalId, of none, or of another connection."""
    ada = await create_user(tenant.scim, "ada")
    gone = await mapped(tenant, [ada])
    await tenant.scim.delete(f"/Groups/{gone}")
    await create_group(tenant.scim, "Sales", [ada], externalId="Sales-Id")
    await create_group(tenant.scim, "Sales", [ada])
    await tenant.changing(Connections).create("second", "Second application")
    token = await tenant.changing(Tokens).create("scim", connection_id="second")
    second = await tenant.muster.scim(token)
    await create_group(second, "Sales", [ada], externalId="sales-id")
    assert await held(tenant, ada) == []
    assert await remembered(tenant) == [gone]
    await assert_consistent(tenant.muster.store, tenant.tenant_id)


async def test_an_administrator_can_forget_it(tenant: Tenant) -> None:
    ada = await create_user(tenant.scim, "ada")
    gone = await mapped(tenant, [ada])
    await tenant.scim.delete(f"/Groups/{gone}")
    (row,) = (await tenant.api.get("/remembered-mappings")).json()["mappings"]
    assert (row["groupId"], row["externalId"], row["version"]) == (gone, "sales-id", 1)
    assert [one["key"] for one in row["entitlements"]] == [READER.key]
    lasts = datetime.fromisoformat(row["forgottenAt"]) - datetime.fromisoformat(row["deletedAt"])
    assert lasts == timedelta(days=30)
    assert (await tenant.api.delete(f"/remembered-mappings/{gone}")).status_code == 204
    assert (await tenant.api.delete(f"/remembered-mappings/{gone}")).status_code == 404
    assert (await tenant.api.get("/remembered-mappings")).json()["mappings"] == []
    await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
    assert await held(tenant, ada) == []
    (forgotten,) = [one for one in await tenant.events() if one.operation == "mappingForget"]
    assert (forgotten.resource_id, forgotten.state) == (gone, "done")


async def test_what_left_the_catalog_meanwhile_is_not_given(tenant: Tenant) -> None:
    ada = await create_user(tenant.scim, "ada")
    id = await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
    await tenant.mappings.save(id, (OWNER, READER))
    await tenant.scim.delete(f"/Groups/{id}")
    await tenant.settle()
    await tenant.changing(Catalog).remove(READER.kind, READER.key)
    await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
    assert await held(tenant, ada) == [OWNER.key]


async def test_it_is_given_once_whoever_comes_at_the_same_time(tenant: Tenant) -> None:
    """Deletion, creation, saving and forgetting at once end in one mapping or one memory."""
    ada = await create_user(tenant.scim, "ada")
    id = await mapped(tenant, [ada])
    forgetting = tenant.changing(RememberedMappings)
    for _ in range(5):
        body = group("Sales", [ada], externalId="sales-id")
        await asyncio.gather(
            tenant.scim.delete(f"/Groups/{id}"),
            *(tenant.scim.post("/Groups", json=body) for _ in range(3)),
            return_exceptions=True,
        )
        answer = await tenant.scim.post("/Groups", json=body)
        assert answer.status_code in (201, 409)
        assert await held(tenant, ada) == [READER.key]
        assert await remembered(tenant) == []
        (mapping,) = await tenant.documents("Mapping")
        id = mapping["groupId"]
    await tenant.scim.delete(f"/Groups/{id}")
    outcomes = await asyncio.gather(
        tenant.scim.post("/Groups", json=group("Sales", [ada], externalId="sales-id")),
        forgetting.forget(id),
        return_exceptions=True,
    )
    forgotten = not isinstance(outcomes[1], AdministrationError)
    assert await held(tenant, ada) == ([] if forgotten else [READER.key])
    await assert_consistent(tenant.muster.store, tenant.tenant_id)


async def test_after_30_days_nothing_is_remembered(tenant: Tenant) -> None:
    """Both stores expire documents by their `ttl`."""
    gone = await mapped(tenant, [])
    await tenant.scim.delete(f"/Groups/{gone}")
    (document,) = await tenant.documents("RememberedMapping")
    assert document["ttl"] == timedelta(days=30).total_seconds()
    deleted = datetime.fromisoformat(document["deletedAt"])
    assert abs(datetime.now(UTC) - deleted) < timedelta(minutes=10)


async def test_a_group_that_gave_nothing_leaves_nothing(tenant: Tenant) -> None:
    id = await create_group(tenant.scim, "Sales", externalId="sales-id")
    await tenant.scim.delete(f"/Groups/{id}")
    nameless = await create_group(tenant.scim, "Nameless")
    await tenant.mappings.save(nameless, (READER,))
    await tenant.scim.delete(f"/Groups/{nameless}")
    await tenant.settle()
    store: Store = tenant.muster.store
    assert await store.count(tenant.tenant_id, "RememberedMapping") == 0
    assert await store.count(tenant.tenant_id, "Mapping") == 0


@pytest.mark.parametrize("type", ["Mapping", "RememberedMapping"])
@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)  # a host may log no error
async def test_what_cannot_be_read_stops_nothing_but_itself(tenant: Tenant, type: str) -> None:
    ada, store = await create_user(tenant.scim, "ada"), tenant.muster.store
    id = await mapped(tenant, [ada])
    if type == "RememberedMapping":
        await tenant.scim.delete(f"/Groups/{id}")
        await tenant.settle()
    (document,) = await tenant.documents(type)
    change = Update(document["id"], (Assign(("entitlements",), "damaged"),))
    await store.batch(tenant.tenant_id, [change])
    assert (await tenant.api.get("/remembered-mappings")).json()["mappings"] == []
    if type == "Mapping":
        assert (await tenant.scim.delete(f"/Groups/{id}")).status_code == 204
    await create_group(tenant.scim, "Sales", [ada], externalId="sales-id")
    assert await held(tenant, ada) == []
    assert await tenant.documents(type) == []
