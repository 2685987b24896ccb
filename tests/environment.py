"""A whole Muster in this process, for tests: real store, real queue, real applications."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from administration.catalog import default_catalog
from administration.events import Administration
from administration.mappings import Mappings
from administration.tenants import create_tenant, read_tenant
from directory.portions import PORTIONS, Portions
from directory.store import Store, Upsert
from directory.tenants import Policy, Tenant
from queues.port import Message
from queues.relay import parse
from queues.sqlite.queue import ReceivedMessage, SqliteQueue
from settings import Settings
from trust.tokens import issue
from wiring import Application, utc_now

TENANT = "acme"


@dataclass
class Environment:
    """One tenant with provisioning enabled, and its clients."""

    application: Application
    tenant_id: str
    token: str
    client: httpx.AsyncClient
    """Speaks SCIM; its base URL is `http://muster.test/scim`."""
    access: httpx.AsyncClient
    """Speaks the access API; its base URL is `http://muster.test/access/v1`."""
    queue: SqliteQueue

    @property
    def mappings(self) -> Mappings:
        """The tenant's mappings."""
        return self.changing(Mappings)

    def changing[A: Administration](self, subject: type[A]) -> A:
        """What an operator changes of the tenant."""
        return subject(self.application.service, self.tenant_id)

    async def settle(self) -> None:
        """Reconcile until nothing is left in the queue."""
        await settle(self.application)

    async def bury(self, *messages: Message) -> None:
        """Dead letters, of messages that could not be delivered; what waits in the queue becomes
        one, too."""
        await self.queue.send(messages)
        for received in await self.queue.receive(len(messages) + 16):
            await self.queue.dead_letter(received, "Test")


@asynccontextmanager
async def running(
    folder: Path,
    policy: dict[str, Any] | None = None,
    *,
    tenant_id: str = TENANT,
    now: Callable[[], datetime] = utc_now,
    portions: Portions = PORTIONS,
    **settings: Any,
) -> AsyncIterator[Environment]:
    """A Muster with all its state in `folder`."""
    application = Application(Settings(data=folder, **settings), now, portions=portions)
    try:
        token, access_token = await add_tenant(
            application.store, tenant_id, Policy.model_validate(policy or {})
        )
        async with (
            client_of(application.scim, "/scim", token) as client,
            client_of(application.access, "/access/v1", access_token) as access,
        ):
            yield Environment(application, tenant_id, token, client, access, queue_of(application))
    finally:
        await application.close()


async def add_tenant(
    store: Store, tenant_id: str, policy: Policy, *, enabled: bool = True
) -> tuple[str, str]:
    """A tenant with the default catalog and an empty log, and its tokens: for SCIM and for the
    access API."""
    scim, scim_token = issue("scim", tenant_id, _now())
    access, access_token = issue("access", tenant_id, _now())

    def prepared(tenant: Tenant) -> Tenant:
        (entra,) = tenant.connections
        return tenant.model_copy(
            update={
                "provisioning": "enabled" if enabled else "disabled",
                "policy": policy,
                "connections": (entra.model_copy(update={"tokens": (scim_token,)}),),
                "access_tokens": (access_token,),
            }
        )

    await create_tenant(store, tenant_id, tenant_id.title(), "eu", catalog=default_catalog())
    await change_tenant(store, tenant_id, prepared)
    return scim, access


async def add_console_token(store: Store, tenant_id: str) -> str:
    """A token for the console's API, which leaves no entry in the log."""
    text, token = issue("console", tenant_id, _now())
    await change_tenant(
        store, tenant_id, lambda tenant: tenant.model_copy(update={"console_tokens": (token,)})
    )
    return text


async def change_tenant(store: Store, tenant_id: str, change: Callable[[Tenant], Tenant]) -> None:
    """What no use case does, or what is to leave no entry in the log."""
    changed = change(await read_tenant(store, tenant_id))
    await store.batch(tenant_id, [Upsert(changed.to_document())])


async def settle(application: Application) -> None:
    """Reconcile in this process until nothing is left in the queue."""
    queue = queue_of(application)
    while True:
        await application.relay.drain()
        received = await queue.receive(16, 0)
        if not received:
            return
        await asyncio.gather(*(_reconcile(application, queue, message) for message in received))


async def _reconcile(
    application: Application, queue: SqliteQueue, message: ReceivedMessage
) -> None:
    await application.reconciler.handle_all(
        parse(message.body), delivery=message.delivery_count, last=False
    )
    await queue.complete(message)


def queue_of(application: Application) -> SqliteQueue:
    """The application's queue."""
    assert isinstance(application.sender, SqliteQueue)
    return application.sender


def client_of(app: Any, base: str, token: str) -> httpx.AsyncClient:
    """A client of an ASGI application that sends a bearer token."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url=f"http://muster.test{base}",
        headers={"Authorization": f"Bearer {token}"},
    )


def _now() -> datetime:
    return datetime.now(UTC)
