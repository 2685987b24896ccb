"""Pages read what they show: what a page reads does not grow with the tenant."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import orjson

from console.application import Console
from console.session import Cookies
from console.sign_in import SignInPages
from directory.access import AccessChange, AccessState
from directory.condition import EVERYTHING, Condition
from directory.documents import (
    Actor,
    Event,
    Mapping,
    Membership,
    MembershipChange,
    group_id,
    new_resource_id,
    user_id,
)
from directory.store import Changes, Create, Document, Operation, Page, Query, Store, Stored
from tests.console.conftest import BASE
from tests.console.organisation import ADD_IN
from tests.environment import TENANT, Environment
from trust.authenticator import Home
from trust.rate import RateLimit
from trust.signing import SigningKeys
from wiring import utc_now


class Counting:
    """A store that counts what it is asked and what it hands out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = self.documents = self.characters = 0

    def _read(self, found: Iterable[Stored]) -> None:
        self.calls += 1
        for stored in found:
            self.documents += 1
            self.characters += len(orjson.dumps(stored.document))

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        stored = await self._store.read(tenant_id, document_id)
        self._read([stored])
        return stored

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        found = await self._store.read_many(tenant_id, ids)
        self._read(found.values())
        return found

    async def query(self, tenant_id: str, query: Query) -> Page:
        page = await self._store.query(tenant_id, query)
        self._read(page.items)
        return page

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        self.calls += 1
        return await self._store.count(tenant_id, type, where)

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        raise AssertionError(f"looking at {tenant_id} wrote {operations}")

    async def query_every_tenant(self, query: Query) -> Page:
        raise AssertionError(f"a page looked into other tenants: {query}")

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store."""
        return await self._store.changes(tenant_id, after, limit)

    async def close(self) -> None:
        """The store goes on."""


async def write(store: Store, wanted: Sequence[Document]) -> None:
    """In as many batches as it takes."""
    for start in range(0, len(wanted), 100):
        await store.batch(TENANT, [Create(one) for one in wanted[start : start + 100]])


async def begin(store: Store) -> tuple[str, str]:
    """A group with a mapping, and the event that saved it; their ids."""
    group, saved = new_resource_id(), _event("mapping", "Group", "")
    saved = saved.model_copy(update={"resource_id": group})
    mapping = Mapping(
        tenant_id=TENANT,
        group_id=group,
        entitlements=(ADD_IN,),
        changed_at=utc_now(),
        event_id=saved.event_id,
    )
    group_document = _resource("Group", group_id(group), {"id": group, "displayName": "Whole"})
    await write(store, [group_document, mapping.to_document(), saved.to_document()])
    return group, saved.event_id


async def grow(store: Store, group: str, saved: str, more: int) -> str:
    """More of everything: users, who are all in the group; other groups; changes of access that
    the mapping led to; log entries of the group, of one of the users and of nobody, the newest
    with as many members as there are; and what failed. The id of that user."""
    users = [new_resource_id() for _ in range(more)]
    wanted: list[Document] = []
    for n, id in enumerate(users):
        name = {"id": id, "userName": f"user{n:06}@acme.example", "displayName": f"User {n:06}"}
        wanted.append(_resource("User", user_id(id), name))
        wanted += [one.to_document() for one in _of_member(group, saved, id)]
        other = new_resource_id()
        name = {"id": other, "displayName": f"Group {n:06}"}
        wanted.append(_resource("Group", group_id(other), name))
        failed = {"state": "failed", "reason": "the queue gave up"}
        wanted.append(_event("create", "User", id, **failed).to_document())
    everybody = MembershipChange(added=tuple(user_id(id) for id in users))
    for _ in range(60):  # by turns, so that each page of the log has both
        for about in (("User", users[0]), ("Group", group)):
            wanted.append(_event("patch", *about, membership=everybody).to_document())
    await write(store, wanted)
    return users[0]


def _of_member(group: str, saved: str, user: str) -> Iterator[Membership | AccessChange]:
    now, change = utc_now(), new_resource_id()
    yield Membership(
        tenant_id=TENANT,
        group_id=group,
        member_id=user,
        member_type="User",
        since=now,
        event_id=saved,
    )
    yield AccessChange(
        tenant_id=TENANT,
        change_id=change,
        user_id=user,
        version=1,
        at=now,
        event_id=saved,
        after=AccessState(enabled=True, reasons=(), grants=()),
        ttl=1000,
    )


def _event(operation: Any, resource_type: Any, id: str, **more: Any) -> Event:
    return Event(
        tenant_id=TENANT,
        event_id=new_resource_id(),
        at=utc_now(),
        actor=Actor(type="connection", id="entra"),
        request_id=new_resource_id(),
        operation=operation,
        resource_type=resource_type,
        resource_id=id,
        scope="none",
        **({"state": "done"} | more),
    )


def _resource(type: str, id: str, resource: dict[str, str]) -> Document:
    return {
        "id": id,
        "tenantId": TENANT,
        "type": type,
        "source": "scim",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "resource": resource | {"schemas": []},
        "search": {name: value.casefold() for name, value in resource.items()} | {"meta": {}},
    }


PAGES = (
    "",
    "/set-up",
    "/groups",
    "/groups?q=group",
    "/groups/{group}",
    "/users",
    "/users?q=user",
    "/users/{user}",
    "/users/{user}/why?entitlement=role:addInUser",
    "/users/{user}/why?entitlement=role:owner",
    "/users/{user}/past?at=2030-01-01T00:00",
    "/users/{user}/grants",
    "/log",
    "/log?resource={group}",
    "/log?resource={user}",
    "/log/{saved}",
    "/failed",
    "/catalog",
    "/policy",
)


async def test_what_a_page_reads_does_not_grow_with_the_tenant(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    application = environment.application
    keys = SigningKeys(application.store, utc_now)
    cookies = Cookies(lambda: keys.keys("console"), utc_now)
    group, saved = await begin(application.store)
    user = ""
    read: list[dict[str, tuple[int, int, int]]] = []
    for more in (120, 600):
        grown = await grow(application.store, group, saved, more)
        user = user or grown
        read.append({})
        for path in PAGES:
            counting = Counting(application.store)
            service = replace(application.service, store=counting)
            deployment = replace(application.deployment, service=service)
            sign_in = SignInPages(service, cookies, None, Home())
            console = Console(deployment, cookies, sign_in, RateLimit(0))
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=console), base_url=BASE, cookies=owner.cookies
            ) as browser:
                named = path.format(group=group, user=user, saved=saved)
                page = await browser.get(f"/console{named}")
            assert page.status_code == 200, page.text[-500:]
            read[-1][path] = counting.calls, counting.documents, counting.characters
    for path, (calls, documents, characters) in read[0].items():
        assert read[1][path][:2] == (calls, documents), path
        assert read[1][path][2] <= characters * 1.05, path
        assert documents <= 220, path
