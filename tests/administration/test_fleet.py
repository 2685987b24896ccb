"""Every tenant at a glance: what is wrong with each, the order, and what a run and a page cost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from administration import fleet
from administration.fleet import Fleet, list_fleet
from administration.tenants import Tenancy, create_tenant, new_summary, new_tenant
from administration.tokens import Tokens
from directory.condition import Compare
from directory.documents import event_id
from directory.fleet import WEIGHTS, TenantSummary, Trouble
from directory.store import Assign, Create, Delete, Query, Store, Update
from directory.tenants import TENANT_ID
from tests.scim.messages import create_group, create_user, user
from tests.transports import Muster, Tenant
from trust.signing import PARTITION
from wiring import utc_now

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENABLED = {"provisioning": "enabled", "last_write": NOW - timedelta(days=9)}
TROUBLES: list[tuple[dict[str, Any], tuple[Trouble, ...]]] = [
    ({}, ()),
    ({"failed": 1}, ("failedEvents",)),
    ({"oldest_pending": NOW - timedelta(minutes=9)}, ()),
    ({"oldest_pending": NOW - timedelta(minutes=11)}, ("pendingLate",)),
    ({"requests": 39, "errors": 20}, ("refusing",)),
    ({"requests": 41, "errors": 20}, ()),
    ({"requests": 19, "errors": 19}, ()),
    ({"secret_ends": NOW}, ("secretEnded",)),
    ({"secret_ends": NOW + timedelta(days=1)}, ("secretEnding",)),
    ({**ENABLED, "last_request": NOW - timedelta(hours=4)}, ("silent",)),
    ({**ENABLED, "last_request": NOW - timedelta(hours=2)}, ()),
    (ENABLED, ("silent",)),
    ({**ENABLED, "provisioning": "disabled"}, ()),
    ({"provisioning": "enabled"}, ()),
    ({"failed": 1, "refusals": 2}, ("failedEvents", "refusals")),
]


def summary(tenant: str = "acme", **given: Any) -> TenantSummary:
    return new_summary(new_tenant(tenant, tenant, "eu")).model_copy(update=given)


@pytest.mark.parametrize(("given", "troubles"), TROUBLES)
def test_what_is_wrong(given: dict[str, Any], troubles: tuple[Trouble, ...]) -> None:
    assert summary(**given).with_troubles(NOW).troubles == troubles


def test_the_order_is_that_of_the_worst() -> None:
    """Each trouble outweighs all behind it, and all of them together fit into an id."""
    names = list(WEIGHTS)
    for n, name in enumerate(names):
        worse = summary(troubles=(name,)).document_id
        assert worse < summary(troubles=tuple(names[n + 1 :])).document_id
    assert summary(troubles=tuple(names)).document_id.split(":")[1].isdigit()


def test_when_the_first_secret_ends() -> None:
    """Of a connection, the last one that lives counts: a rotation is no trouble."""
    tenant = new_tenant("acme", "Acme", "eu")
    assert fleet.first_end(tenant, NOW) is None
    token: dict[str, Any] = {"digest": "", "created": NOW}
    (entra,) = tenant.connections
    for ends, expected in (((3, None), None), ((3, 90), None), ((3, 5), 5), ((-9, -2), -2)):
        tokens = [
            {**token, "token_id": str(n), "expires": n and NOW + timedelta(days=n)} for n in ends
        ]
        changed = entra.model_validate({**entra.model_dump(), "tokens": tokens})
        first = fleet.first_end(tenant.model_copy(update={"connections": (changed,)}), NOW)
        assert first == (expected and NOW + timedelta(days=expected))


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._store, name)


async def listed(muster: Muster) -> list[TenantSummary]:
    return list((await list_fleet(muster.store, limit=1000)).rows)


async def row_of(muster: Muster, tenant: Tenant) -> TenantSummary:
    (row,) = [one for one in await listed(muster) if one.tenant == tenant.tenant_id]
    return row


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_what_happens_to_a_tenant_shows(muster: Muster) -> None:
    tenant, keeper = await muster.tenant(), muster.application.fleet
    assert (await row_of(muster, tenant)).as_of is None
    assert await keeper.refresh() >= 1
    assert await keeper.refresh() == 0, "nothing has happened"
    ada = await create_user(tenant.scim, "ada")
    await create_group(tenant.scim, "Sales", [ada])
    assert (await tenant.scim.post("/Users", json=user("bo", emails=[]))).status_code == 400
    await muster.application.counter.close()
    assert await keeper.refresh() == 1
    row = await row_of(muster, tenant)
    assert (row.users, row.groups, row.requests, row.errors, row.refusals) == (1, 1, 3, 1, 1)
    assert row.last_request
    assert row.last_write
    assert row.pending == 2
    assert row.oldest_pending
    await tenant.settle()
    assert await keeper.refresh() == 1, "it waited when somebody last looked"
    row = await row_of(muster, tenant)
    assert (row.pending, row.oldest_pending) == (0, None)
    assert await keeper.refresh() == 0
    await tenant.changing(Tenancy).set_provisioning("disabled")
    row = await row_of(muster, tenant)
    assert (row.provisioning, row.users) == ("disabled", 1), "at once"
    assert await keeper.refresh() == 1, "the rest of it is looked at again"
    failed = (await tenant.events())[0].event_id
    update = Update(event_id(failed), (Assign(("state",), "failed"),))
    await muster.store.batch(tenant.tenant_id, [update])
    await tenant.changing(Tokens).create("console", expires=utc_now() + timedelta(days=1))
    assert await keeper.refresh() == 1
    row = await row_of(muster, tenant)
    assert row.failed == 1
    assert row.troubles[0] == "failedEvents"
    assert (await listed(muster))[0].tenant == tenant.tenant_id


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_a_run_and_a_page_are_bounded(muster: Muster) -> None:
    for n in range(7):
        await create_tenant(muster.store, f"t{n}", f"Tenant {n}", "eu")
    counting: Any = Counting(muster.store)
    runs = [await Fleet(counting, utc_now, most=3).refresh() for _ in range(4)]
    assert runs == [3, 3, 1, 0]
    counting.calls.clear()
    first = await list_fleet(counting, limit=4)
    second = await list_fleet(counting, after=first.next, limit=4)
    assert counting.calls == ["query", "query"]
    found = [one.tenant for one in (*first.rows, *second.rows)]
    assert found == [f"t{n}" for n in range(7)]
    later = Fleet(muster.store, lambda: utc_now() + timedelta(hours=2), most=3)
    assert await later.refresh() == 3, "nobody looked for an hour"


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_what_went_wrong_is_made_good(muster: Muster) -> None:
    """A death between the tenant and its summary; two summaries of one tenant; a tenant that
    cannot be read."""
    store, keeper = muster.store, muster.application.fleet
    for name in ("lost", "twice", "damaged"):
        await create_tenant(store, name, name.title(), "eu")
    await store.batch(PARTITION, [Delete(summary("lost").document_id)])
    twice = summary("twice", troubles=("failedEvents",))
    await store.batch(PARTITION, [Create(twice.to_document())])
    await store.batch("damaged", [Update(TENANT_ID, (Assign(("name",), 7),))])
    assert await keeper.refresh() == 2
    rows = {one.tenant: one for one in await listed(muster)}
    assert sorted(rows) == ["damaged", "lost", "twice"]
    assert rows["twice"].troubles == ()
    assert (rows["lost"].as_of is None, rows["damaged"].as_of is None) == (False, True)
    asked = Query("TenantSummary", Compare(("tenant",), "eq", "twice"))
    assert len((await store.query(PARTITION, asked)).items) == 1
