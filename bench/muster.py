"""Muster as it is measured: `python -m devhost`, one process on durable SQLite in a new folder."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import cast

import orjson

import wiring
from administration.catalog import default_catalog, load_catalog
from administration.tenants import change_tenant, create_tenant
from administration.tokens import create_token
from bench import payloads
from bench.client import Call, Client
from bench.operations import Directory
from directory.condition import Compare
from directory.documents import new_resource_id, user_id
from directory.store import BATCH_OPERATIONS, Create, Operation, Store
from directory.tenants import ENTRA_CONNECTION
from scim import entra
from scim.representation import searchable
from scim.reservations import reserve
from scim.schema import ResourceType, load_resource_types
from scim.validation import normalise

ROOT = Path(__file__).parent.parent
MEMBERS_PER_PATCH = 5_000
SETTLE_SECONDS = 300.0
POLL_SECONDS = 0.02


class StartFailed(Exception):
    """The server ended instead of listening; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class Muster:
    """A running server, and its store as another process sees it."""

    pid: int
    tenants: Mapping[str, Directory]
    store: Store

    async def settle(self) -> None:
        """Wait until every event is reconciled. Raises TimeoutError."""
        pending = Compare(("state",), "eq", "pending")
        async with asyncio.timeout(SETTLE_SECONDS):
            for tenant in self.tenants:
                # The server is another process: there is nothing to wait on but the store.
                while await self.store.count(tenant, "Event", pending):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)


async def add_tenant(store: Store, tenant_id: str, users: int) -> tuple[str, tuple[str, ...]]:
    """A tenant that may provision and has this many users; its token and the users' ids.

    The users go straight into the store, as a POST would leave them but without its event: they
    are there before the server is, and there is nothing to reconcile.
    """
    await create_tenant(store, tenant_id, tenant_id, "eu")
    await load_catalog(store, tenant_id, default_catalog())
    await change_tenant(
        store, tenant_id, lambda tenant: tenant.model_copy(update={"provisioning": "enabled"})
    )
    token = await create_token(store, tenant_id, "scim", wiring.utc_now())
    user_type = load_resource_types()["User"]
    ids = tuple(new_resource_id() for _ in range(users))
    writes = [_stored_user(user_type, tenant_id, id, number) for number, id in enumerate(ids)]
    per_batch = BATCH_OPERATIONS // len(writes[0])
    await asyncio.gather(
        *(
            store.batch(tenant_id, [operation for write in some for operation in write])
            for some in batched(writes, per_batch, strict=False)
        )
    )
    return token, ids


def _stored_user(
    user_type: ResourceType, tenant_id: str, resource_id: str, number: int
) -> list[Operation]:
    normal = normalise(user_type, entra.resource(payloads.user(number)))
    resource = {**normal.resource, "id": resource_id}
    now = wiring.utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {
        "id": user_id(resource_id),
        "tenantId": tenant_id,
        "type": "User",
        "source": "scim",
        "connectionId": ENTRA_CONNECTION,
        "resource": resource,
        "search": searchable(user_type, resource, now, now),
        "created": now,
        "modified": now,
    }
    return [Create(document), *reserve(tenant_id, user_type, resource_id, {}, resource)]


async def add_group(tenant: Directory, members: int) -> str:
    """Create a group through the API, whose members are the first users of the tenant; its id."""
    body = {"schemas": [f"{payloads.CORE}:Group"], "displayName": f"{members} members"}
    async with Client(tenant.url, tenant.token) as client:
        created = await client.send(Call("POST", "/Groups", orjson.dumps(body), 201))
        group: str = orjson.loads(created)["id"]
        for some in batched(tenant.users[:members], MEMBERS_PER_PATCH, strict=False):
            value = [{"value": member} for member in some]
            change = payloads.patch({"op": "Add", "path": "members", "value": value})
            await client.send(Call("PATCH", f"/Groups/{group}", orjson.dumps(change), 204))
    return group


@asynccontextmanager
async def running(folder: Path, tenants: Mapping[str, int]) -> AsyncIterator[Muster]:
    """A server whose state is in `folder`, with tenants of so many users each. Raises
    StartFailed."""
    application = wiring.build(wiring.Settings(data=folder))
    try:
        store = application.store
        seeded = {name: await add_tenant(store, name, users) for name, users in tenants.items()}
        async with _serving(folder) as (pid, url):
            directories = {
                name: Directory(url, token, ids) for name, (token, ids) in seeded.items()
            }
            yield Muster(pid, directories, store)
    finally:
        await application.close()


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """The server's process id and Tenant URL."""
    settings = {"MUSTER_DATA": str(folder), "MUSTER_REQUESTS_PER_SECOND": "0"}
    environment = {**os.environ, **settings, "HOST": "127.0.0.1", "PORT": "0"}
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "devhost",
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        async for line in cast("asyncio.StreamReader", process.stdout):
            if found := re.search(rb"http://\S+/scim\b", line):
                break
        else:
            raise StartFailed(log.read_text()[-2000:])
        yield process.pid, found[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
