"""What was refused is in the log: for whom, why, what to do and how often; bounded in number."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from administration.reading.log import Filter
from administration.reading.refusals import Refused, list_refusals, refusals_about
from directory.store import Unavailable
from directory.tenants import Tenant
from scim.counting import KINDS
from scim.exchange import Answer
from scim.refusing import Asked
from tests.environment import TENANT, Environment, running
from tests.scim.test_counting import Store, counting_at
from trust.caller import Caller

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
NAMELESS = {"userName": "ada@acme.example", "externalId": "object-1"}
BAD_PATCH = {"Operations": [{"op": "replace", "path": "emails[", "value": "x"}]}


@pytest.fixture
async def muster(tmp_path: Path) -> Any:
    async with running(tmp_path) as environment:
        yield environment


async def refusals(muster: Environment, text: str = "", **chosen: Any) -> list[Refused]:
    await muster.application.counter.close()
    resources = () if text else None
    filter = Filter(resources=resources, **chosen)
    return await list_refusals(muster.application.store, TENANT, filter, text)


async def test_a_refused_creation_says_who_why_and_how_often(muster: Environment) -> None:
    for _ in range(3):
        answer = await muster.client.post("/Users", json=NAMELESS)
        assert answer.status_code == 400
    (found,) = await refusals(muster)
    one = found.refusal
    assert (found.name, one.count, one.status) == ("ada@acme.example", 3, 400)
    assert (one.operation, one.external_id) == ("POST /Users", "object-1")
    assert one.detail == answer.json()["detail"]
    assert one.request_id == answer.headers["x-request-id"]
    assert one.first_at <= one.last_at


async def test_what_is_alike_adds_up_over_processes_and_writes(tmp_path: Path) -> None:
    store = Store(tmp_path / "muster.sqlite")
    for n in range(3):
        counter = counting_at(store, NINE + timedelta(days=n))
        counter.saw(asked(body=NAMELESS), refused())
        await counter.close()
    (found,) = await list_refusals(store, TENANT, Filter())
    assert found.refusal.count == 3
    assert (found.refusal.first_at, found.refusal.last_at) == (NINE, NINE + timedelta(days=2))
    await store.close()


async def test_a_change_of_somebody_is_on_that_persons_page(muster: Environment) -> None:
    person = NAMELESS | {
        "name": {"givenName": "Ada", "familyName": "Byron"},
        "emails": [{"type": "work", "value": "ada@acme.example"}],
    }
    id = (await muster.client.post("/Users", json=person)).json()["id"]
    assert (await muster.client.patch(f"/Users/{id}", json=BAD_PATCH)).status_code == 400
    assert (await muster.client.post("/Users", json=person)).status_code == 409
    other = person | {"userName": "bo@acme.example", "externalId": "object-2", "emails": [{}]}
    assert (await muster.client.post("/Users", json=other)).status_code == 400
    await muster.application.counter.close()
    about = await refusals_about(
        muster.application.store, TENANT, id, "object-1", "ADA@acme.example"
    )
    assert [one.refusal.operation for one in about] == ["POST /Users", "PATCH /Users/{id}"]
    assert about[1].name == "Ada Byron"
    assert {one.name for one in await refusals(muster, "OBJECT-2")} == {"bo@acme.example"}
    assert await refusals(muster, "nobody") == []
    assert await refusals(muster, resource_type="Group") == []


async def test_what_was_not_found_is_no_refusal_and_a_write_to_it_is_one(
    muster: Environment,
) -> None:
    assert (await muster.client.get("/Users/unknown")).status_code == 404
    assert await refusals(muster) == []
    assert (await muster.client.patch("/Users/unknown", json=BAD_PATCH)).status_code == 404
    assert (await muster.client.get("/Users?filter=x")).status_code == 400
    found = await refusals(muster)
    assert [one.refusal.operation for one in found] == ["GET /Users", "PATCH /Users/{id}"]


async def test_operations_of_a_bulk_request_are_refused_one_by_one(muster: Environment) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": NAMELESS},
        {"method": "DELETE", "path": "/Groups/unknown"},
        {"method": "POST", "path": "/Groups", "bulkId": "b", "data": {"displayName": "Sales"}},
    ]
    schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
    bulk = {"schemas": schemas, "Operations": operations}
    assert (await muster.client.post("/Bulk", json=bulk)).status_code == 200
    found = {one.refusal.operation: one for one in await refusals(muster)}
    assert {*found} == {"POST /Users", "DELETE /Groups/{id}"}
    assert found["POST /Users"].name == "ada@acme.example"
    assert found["DELETE /Groups/{id}"].refusal.resource_id == "unknown"
    muster.client.headers["x-request-id"] = "r-2"
    bulk |= {"failOnErrors": 1, "Operations": [operations[1], operations[0]]}
    assert (await muster.client.post("/Bulk", json=bulk)).status_code == 200
    assert "r-2" in {one.refusal.request_id for one in await refusals(muster)}


async def test_a_flood_is_one_batch_and_says_that_there_was_more(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Seeing(Store):
        async def batch(self, tenant_id: str, operations: Any) -> list[str | None]:
            sizes.append(len(operations))
            return await super().batch(tenant_id, operations)

    store = Seeing(tmp_path / "muster.sqlite")
    counter = counting_at(store, NINE)
    for n in range(2_000):
        counter.saw(asked(body={"userName": f"u{n}"}), refused())
    await counter.close()
    assert sizes == [KINDS + 2]
    found = await list_refusals(store, TENANT, Filter())
    assert sum(one.refusal.count for one in found) == 2_000
    (more,) = [one for one in found if one.name is None]
    assert more.refusal.count == 2_000 - KINDS
    assert "More requests were refused" in more.refusal.detail
    await store.close()


async def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "muster.sqlite")
    for n in range(5):
        counter = counting_at(store, NINE + timedelta(minutes=n), most=3)
        counter.saw(asked(body={"userName": f"u{n}"}), refused())
        await counter.close()
    assert [one.name for one in await list_refusals(store, TENANT, Filter())] == ["u4", "u3", "u2"]
    await store.close()


@pytest.mark.parametrize("failing", ["read_many", "batch"])
async def test_what_could_not_be_written_is_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = Store(tmp_path / "muster.sqlite")
    counter = counting_at(store, NINE)

    async def fails(*_: Any) -> Any:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(store, failing, fails)
        counter.saw(asked(body=NAMELESS), refused())
        await counter._notes.settle()
    assert await list_refusals(store, TENANT, Filter()) == []
    counter.saw(asked(body=NAMELESS), refused())
    await counter.close()
    (found,) = await list_refusals(store, TENANT, Filter())
    assert found.refusal.count == 2
    await store.close()


def asked(operation: str = "POST /Users", body: Any = None) -> Asked:
    caller = Caller(Tenant(tenant_id=TENANT, name="Acme"), "entra")
    return Asked(caller, "r", operation, None, body)


def refused() -> Answer:
    return Answer(400, {"status": "400", "scimType": "invalidValue", "detail": "Send a name."})
