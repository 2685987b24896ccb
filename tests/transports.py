"""The ways to a Muster: through ASGI in this process, on SQLite or on Cosmos DB's wire, and through
HTTP and the Functions runtime, as `python -m laptop.devhost` runs it. A test that takes the fixture
`muster` runs through all of them, unless its folder leaves some out.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from access.metadata import WELL_KNOWN
from administration.credentials import Credentials
from administration.events import Administration
from administration.mappings import Mappings
from directory.condition import Compare
from directory.documents import Event, new_resource_id
from directory.reading import every
from directory.store import Query, Store
from directory.tenants import Policy
from settings import Settings
from tests.environment import add_console_token, add_tenant, client_of, settle
from tests.hosting import Host
from tests.recorded.protocol import violations
from wiring import Application, utc_now

ADMINISTERED = ("Mapping", "ManualGrants", "Entitlement", "Tenant")
"""Types of documents that administrators write."""


def leave_out(
    config: pytest.Config,
    items: list[pytest.Item],
    folder: str,
    unwanted: Callable[[pytest.Item, str], bool],
) -> None:
    """Deselect the tests of a folder that are not wanted through a transport."""
    left_out = {
        item
        for item in items
        if item.path.parent.name == folder
        and (callspec := getattr(item, "callspec", None))  # none where nothing is parametrized
        and unwanted(item, callspec.params.get("muster", ""))
    }
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


class Muster(ABC):
    """A server, and an application on its state: to make tenants, and to read what is stored."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._clients = AsyncExitStack()

    @abstractmethod
    def connect(self, surface: str, token: str | None) -> httpx.AsyncClient:
        """A client of `/scim`, `/access/v1`, `/console/api`, `/operator/v1`, `/oauth`, `/health`
        or WELL_KNOWN that sends this token, if any."""

    @abstractmethod
    async def settle(self, tenant_id: str) -> None:
        """Wait until everything that was committed is reconciled."""

    @property
    def store(self) -> Store:
        """What the server stores."""
        return self.application.store

    async def tenant(
        self, policy: dict[str, Any] | None = None, *, enabled: bool = True
    ) -> "Tenant":
        """A tenant that no other test has, with this policy and the default catalog."""
        tenant_id = f"t-{new_resource_id()}"
        token, access_token = await add_tenant(
            self.store, tenant_id, Policy.model_validate(policy or {}), enabled=enabled
        )
        api_token = await add_console_token(self.store, tenant_id)
        return Tenant(
            self,
            tenant_id,
            token,
            access_token,
            api_token,
            await self.scim(token),
            await self._clients.enter_async_context(self.connect("/access/v1", access_token)),
            await self._clients.enter_async_context(self.connect("/console/api", api_token)),
        )

    async def vendor(self) -> httpx.AsyncClient:
        """A client of the access API with a credential of the deployment."""
        _, secret = await Credentials(self.store, utc_now).create("application")
        return await self._clients.enter_async_context(self.connect("/access/v1", secret))

    async def operator(self) -> httpx.AsyncClient:
        """A client of the operators' interface."""
        _, secret = await Credentials(self.store, utc_now).create("operator")
        return await self._clients.enter_async_context(self.connect("/operator/v1", secret))

    async def scim(self, token: str | None) -> httpx.AsyncClient:
        """A SCIM client whose every answer is held against what all of them owe."""
        client = self.connect("/scim", token)
        client.event_hooks = {"response": [_is_scim]}
        return await self._clients.enter_async_context(client)

    async def close(self) -> None:
        """Close the clients and the application; the server goes on."""
        await self._clients.aclose()
        await self.application.close()


async def _is_scim(answer: httpx.Response) -> None:
    await answer.aread()
    found = violations(answer)
    assert not found, f"{answer.request.method} {answer.request.url}: {found}: {answer.text[:1000]}"


@dataclass(frozen=True)
class Tenant:
    """One tenant, with a client of each of its surfaces."""

    muster: Muster
    tenant_id: str
    token: str
    access_token: str
    api_token: str
    scim: httpx.AsyncClient
    access: httpx.AsyncClient
    api: httpx.AsyncClient
    """The console's."""

    @property
    def mappings(self) -> Mappings:
        """The tenant's mappings, as an operator changes them."""
        return self.changing(Mappings)

    def changing[A: Administration](self, subject: type[A]) -> A:
        """What an operator changes of the tenant."""
        return subject(self.muster.application.service, self.tenant_id)

    async def settle(self) -> None:
        """Wait until everything that was committed is reconciled."""
        await self.muster.settle(self.tenant_id)

    async def events(self) -> list[Event]:
        """All events that are stored, in the order in which they were made."""
        return [Event.from_document(document) for document in await self.documents("Event")]

    async def contents(self, *more: str) -> dict[str, str]:
        """What clients write, as it is stored: the ETag of every resource, reservation and
        membership by document id, and the id of every event; and of `more` types of documents."""
        found: dict[str, str] = {}
        for type in ("User", "Group", "Key", "Membership", "Event", *more):
            query = Query(type, fields=("id",), limit=1000)
            async for stored in every(self.muster.store, self.tenant_id, query):
                found[stored.document["id"]] = "" if type == "Event" else stored.etag
        return found

    async def documents(self, type: str) -> list[dict[str, Any]]:
        """All documents of a type that are stored, by id."""
        query = Query(type, limit=1000)
        return [found.document async for found in every(self.muster.store, self.tenant_id, query)]


class InProcess(Muster):
    """The ASGI applications themselves. Nothing is reconciled before `settle`."""

    def connect(self, surface: str, token: str | None) -> httpx.AsyncClient:
        """See Muster."""
        application = self.application
        apps = {
            "/scim": application.scim,
            "/access/v1": application.access,
            "/console/api": application.console,
            "/operator/v1": application.operator,
            "/oauth": application.oauth,
            "/health": application.health,
            WELL_KNOWN: application.access,
        }
        client = client_of(apps[surface], surface, token or "")
        if token is None:
            del client.headers["Authorization"]
        return client

    async def settle(self, tenant_id: str) -> None:
        """See Muster; of whatever tenant."""
        assert tenant_id
        await settle(self.application)


class ThroughFunctions(Muster):
    """A host in a process of its own, which reconciles all the time."""

    def __init__(self, application: Application, host: Host) -> None:
        super().__init__(application)
        self._host = host

    def connect(self, surface: str, token: str | None) -> httpx.AsyncClient:
        """See Muster."""
        return httpx.AsyncClient(
            base_url=f"{self._host.url}{surface}",
            headers={"Authorization": f"Bearer {token}"} if token is not None else {},
            verify=False,  # noqa: S501 (saves reading certificates for plain HTTP)
            timeout=30,
        )

    async def settle(self, tenant_id: str) -> None:
        """See Muster."""
        await self.application.relay.drain()
        pending = Compare(("state",), "eq", "pending")
        async with asyncio.timeout(60):
            while await self.store.count(tenant_id, "Event", pending):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@asynccontextmanager
async def in_process(folder: Path, **settings: Any) -> AsyncIterator[Muster]:
    """A Muster in this process with its state in `folder`, but for what the settings say."""
    async with _closing(InProcess(Application(Settings(data=folder, **settings)))) as muster:
        yield muster


@asynccontextmanager
async def beside(muster: Muster) -> AsyncIterator[Muster]:
    """A second Muster, in this process, on the same state."""
    async with _closing(InProcess(Application(muster.application.settings))) as another:
        yield another


@asynccontextmanager
async def through_functions(host: Host) -> AsyncIterator[Muster]:
    """The Muster that the host runs."""
    application = Application(Settings(data=host.folder))
    async with _closing(ThroughFunctions(application, host)) as muster:
        yield muster


@asynccontextmanager
async def _closing[M: Muster](muster: M) -> AsyncIterator[M]:
    try:
        yield muster
    finally:
        await muster.close()
