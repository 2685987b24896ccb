"""A change of a tenant and its event: one batch, once, whoever else is at work."""

from typing import Any

from administration.tenants import Tenancy
from administration.tokens import Tokens
from directory.documents import Event
from directory.store import Query
from scim.writing import Service
from tests.environment import TENANT, Environment, change_tenant
from tests.reconciler.world import Hooked


async def events(environment: Environment) -> list[Event]:
    page = await environment.application.store.query(TENANT, Query("Event"))
    return [Event.from_document(stored.document) for stored in page.items]


def with_store(environment: Environment, store: Hooked) -> Service:
    service = environment.application.service
    return Service(store, service.submit, service.now, service.resource_types)


async def test_a_change_and_its_event_are_one_batch(environment: Environment) -> None:
    written: list[list[tuple[str, str]]] = []

    async def seen(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and asked[0] == TENANT:
            documents = [operation.document for operation in asked[1]]
            written.append([(each["type"], each.get("operation", "")) for each in documents])

    service = with_store(environment, Hooked(environment.application.store, before=seen))
    await Tenancy(service, TENANT).set_region("us")
    await Tokens(service, TENANT).create("console")
    assert written == [
        [("Tenant", ""), ("Event", "region")],
        [("Tenant", ""), ("Event", "tokenCreate")],
    ]


async def test_a_change_that_lost_a_race_is_made_and_logged_once(environment: Environment) -> None:
    store = environment.application.store
    renaming = [lambda tenant: tenant.model_copy(update={"name": "New"})]

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        if method == "batch" and renaming:
            await change_tenant(store, TENANT, renaming.pop())

    service = with_store(environment, Hooked(store, before=meanwhile))
    tenant = await Tenancy(service, TENANT).set_region("us")
    assert (tenant.name, tenant.region) == ("New", "us")
    assert [(event.operation, event.state) for event in await events(environment)] == [
        ("region", "done")
    ]
