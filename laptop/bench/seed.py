"""Writes users, groups and memberships directly to the store, as requests would have left them, but
without events or with done ones: so there is nothing to reconcile."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Literal

import wiring
from administration.catalog import default_catalog
from administration.tenants import create_tenant
from directory.documents import (
    RETENTION,
    Actor,
    Event,
    Membership,
    MembershipChange,
    group_id,
    new_resource_id,
    user_id,
)
from directory.store import (
    BATCH_OPERATIONS,
    Assign,
    Create,
    Document,
    Operation,
    Store,
    Update,
)
from directory.tenants import ENTRA_CONNECTION, TENANT_ID
from directory.ulids import TIME, first_ulid
from laptop.bench import payloads
from scim.protocol import entra
from scim.protocol.comparison import searchable
from scim.protocol.schema import ResourceType, load_resource_types
from scim.protocol.validation import normalise
from scim.reservations import reservations

TOGETHER = 64
"""Batches that are written at the same time."""


async def add_tenant(store: Store, tenant_id: str) -> None:
    """Add a tenant with provisioning enabled and the default catalog."""
    await create_tenant(store, tenant_id, tenant_id, "eu", catalog=default_catalog())
    enabled = Update(TENANT_ID, (Assign(("provisioning",), "enabled"),))
    await store.batch(tenant_id, [enabled])


async def add_users(store: Store, tenant_id: str, users: int) -> tuple[str, ...]:
    """Add employees 0, 1, …; returns their SCIM ids."""
    user_type = load_resource_types()["User"]
    ids = tuple(new_resource_id() for _ in range(users))

    def operations() -> Iterator[Operation]:
        for number, id in enumerate(ids):
            normal = normalise(user_type, entra.resource(user_type, payloads.user(number)))
            document = _resource(user_type, tenant_id, {**normal.resource, "id": id})
            yield Create({**document, "id": user_id(id)})
            yield from _reserved(user_type, document)

    await write(store, tenant_id, operations())
    return ids


async def add_group(store: Store, tenant_id: str, name: str, members: Iterable[str]) -> str:
    """Add a group with these users (SCIM ids); returns its SCIM id."""
    group_type = load_resource_types()["Group"]
    id = new_resource_id()
    schemas = [f"{payloads.CORE}:Group"]
    document = _resource(group_type, tenant_id, {"schemas": schemas, "id": id, "displayName": name})

    def operations() -> Iterator[Operation]:
        yield Create({**document, "id": group_id(id)})
        yield from _reserved(group_type, document)
        for member in members:
            edge = Membership(
                tenant_id=tenant_id,
                group_id=id,
                member_id=member,
                member_type="User",
                since=wiring.utc_now(),
                event_id="none",
            )
            yield Create(edge.to_document())

    await write(store, tenant_id, operations())
    return id


async def add_log(store: Store, tenant_id: str, users: Iterable[str], group: str) -> None:
    """Add a log: these users (SCIM ids) were created over the last day, and then joined the group
    in one request."""
    ids = tuple(users)
    now = wiring.utc_now()
    joined = MembershipChange(added=tuple(map(user_id, ids)), applied=len(ids))

    def events() -> Iterator[Event]:
        for number, id in enumerate(ids):
            at = now - timedelta(days=1) * (1 - number / len(ids))
            yield _event(at, tenant_id, "create", "User", id)
        yield _event(now, tenant_id, "patch", "Group", group, joined)

    await write(store, tenant_id, (Create(event.to_document()) for event in events()))


def _reserved(resource_type: ResourceType, document: dict[str, Any]) -> Iterator[Operation]:
    for key in reservations(resource_type, document):
        yield Create(key.to_document())


def _event(
    at: datetime,
    tenant_id: str,
    operation: Literal["create", "patch"],
    resource_type: Literal["User", "Group"],
    id: str,
    membership: MembershipChange | None = None,
) -> Event:
    """A done event."""
    return Event(
        tenant_id=tenant_id,
        event_id=first_ulid(at)[:TIME] + new_resource_id()[TIME:],
        state="done",
        at=at,
        actor=Actor(type="connection", id=ENTRA_CONNECTION),
        request_id=new_resource_id(),
        operation=operation,
        resource_type=resource_type,
        resource_id=id,
        attributes=("members",) if membership else ("userName", "active", "name", "emails"),
        scope="members" if membership else "user",
        membership=membership,
        done_at=at,
        ttl=RETENTION,
    )


async def write(store: Store, tenant_id: str, operations: Iterable[Operation]) -> None:
    """Write operations in as many batches as needed."""
    batches = batched(operations, BATCH_OPERATIONS, strict=False)
    for some in batched(batches, TOGETHER, strict=False):
        await asyncio.gather(*(store.batch(tenant_id, batch) for batch in some))


def _resource(type: ResourceType, tenant_id: str, resource: Document) -> Document:
    now = wiring.utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "tenantId": tenant_id,
        "type": type.name,
        "source": "scim",
        "connectionId": ENTRA_CONNECTION,
        "resource": resource,
        "search": searchable(type, resource, now, now),
        "created": now,
        "modified": now,
    }
