"""Pages read what they show: what a page reads does not grow with the tenant."""

from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from console.application import Console
from console.session import Cookies
from console.sign_in import SignInPages
from console.visit import Deployment
from directory.condition import EVERYTHING, Condition
from directory.documents import Membership, group_id, new_resource_id, user_id
from directory.store import Create, Document, Operation, Page, Query, Store, Stored
from tests.console.conftest import BASE
from tests.environment import TENANT, Environment
from trust.authenticator import Home
from trust.signing import SigningKeys
from wiring import dead_letters, utc_now


class Counting:
    """A store that counts what it is asked and what it hands out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = self.documents = 0

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        self.calls, self.documents = self.calls + 1, self.documents + 1
        return await self._store.read(tenant_id, document_id)

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        found = await self._store.read_many(tenant_id, ids)
        self.calls, self.documents = self.calls + 1, self.documents + len(found)
        return found

    async def query(self, tenant_id: str, query: Query) -> Page:
        page = await self._store.query(tenant_id, query)
        self.calls, self.documents = self.calls + 1, self.documents + len(page.items)
        return page

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        self.calls += 1
        return await self._store.count(tenant_id, type, where)

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        raise AssertionError(f"looking at {tenant_id} wrote {operations}")

    async def query_every_tenant(self, query: Query) -> Page:
        raise AssertionError(f"a page looked into other tenants: {query}")

    async def close(self) -> None:
        """The store goes on."""


async def fill(store: Store, users: int, groups: int) -> str:
    """Users who are all in one group, and more groups; the group's id."""
    wanted: list[Document] = []
    whole = new_resource_id()
    for n, id in enumerate([whole, *(new_resource_id() for _ in range(groups - 1))]):
        wanted.append(_resource("Group", group_id(id), {"id": id, "displayName": f"Group {n}"}))
    for n in range(users):
        id = new_resource_id()
        name = {"id": id, "userName": f"user{n}@acme.example", "displayName": f"User {n}"}
        wanted.append(_resource("User", user_id(id), name))
        edge = Membership(
            tenant_id=TENANT,
            group_id=whole,
            member_id=id,
            member_type="User",
            since=utc_now(),
            event_id=new_resource_id(),
        )
        wanted.append(edge.to_document())
    for start in range(0, len(wanted), 100):
        await store.batch(TENANT, [Create(one) for one in wanted[start : start + 100]])
    return whole


def _resource(type: str, id: str, resource: dict[str, str]) -> Document:
    return {
        "id": id,
        "tenantId": TENANT,
        "type": type,
        "source": "scim",
        "resource": resource,
        "search": {name: value.casefold() for name, value in resource.items()},
    }


@pytest.mark.parametrize("path", ["", "/groups", "/users", "/users?q=user", "/log", "{group}"])
async def test_what_a_page_reads_does_not_grow_with_the_tenant(
    environment: Environment, owner: httpx.AsyncClient, path: str
) -> None:
    application = environment.application
    cookies = Cookies(await SigningKeys(application.store).key("console"), utc_now)
    group = await fill(application.store, 60, 30)
    read: list[tuple[int, int]] = []
    for more in (0, 540):
        await fill(application.store, more, 1 + more // 6)
        counting = Counting(application.store)
        service = replace(application.service, store=counting)
        deployment = Deployment(
            service, application.sender, lambda: dead_letters(application), ("role",)
        )
        console = Console(deployment, cookies, SignInPages(service, cookies, None, Home()))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=console), base_url=BASE, cookies=owner.cookies
        ) as browser:
            page = await browser.get("/console" + path.format(group=f"/groups/{group}"))
        assert page.status_code == 200, page.text[-500:]
        read.append((counting.calls, counting.documents))
    assert read[0] == read[1]
    assert read[0][1] <= 220
