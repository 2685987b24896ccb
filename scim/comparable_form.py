"""Bringing what is stored up to the present comparable form (`scim.protocol.scalars.fold`).

A store that an earlier version wrote holds `search` and reservations in the former form. They are
found in it (`stored_forms`), and written anew in passes over the tenant's users and groups, which
read everything and write only what differs. When a pass has seen all, the tenant's document says
so (`Tenant.comparable_form`), and nobody looks again.

- A document is written under its ETag, in one batch with its reservations. That moves the ETag,
  which clients see as `meta.version`; `meta.lastModified` stays, and there is no event, since the
  resource does not change.
- A pass that dies is begun again; what it wrote stays right.
- Before the tenant is done, a value can only be reserved after a whole pass: else two who are one
  user in the present form could both be reserved, each in a form of its own.
- Where two resources were unique in the former form and are not in the present one, the second
  stays as it is: found by its own spelling, and changed and deleted like any other.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from directory.condition import Compare, Negated
from directory.ledger import retrying
from directory.reading import every_tenant
from directory.store import (
    Assign,
    Conflict,
    Delete,
    Document,
    NotFound,
    PreconditionFailed,
    Query,
    Replace,
    Store,
    Stored,
    TooLarge,
    Update,
)
from directory.tenants import COMPARABLE_FORM, TENANT_ID
from scim.protocol.comparison import searchable
from scim.protocol.errors import ScimError
from scim.protocol.schema import ResourceType
from scim.reservations import reserve
from web.trouble import Trouble

PAGE = 200
PAGES_IN_A_REQUEST = 10
"""How much a request that reserves a value reads, where the tenant is not done."""
PAGES_IN_A_RUN = 50
"""How much a run of the timer reads."""
RETRY_SECONDS = 10.0
RUN_SECONDS = 20.0
"""A run of the timer begins with no further tenant after so long."""


@dataclass(slots=True)
class _Place:
    """Where the pass over a tenant is."""

    types: list[ResourceType]
    """Those that are not seen whole; the first one is under way."""
    continuation: str | None = None
    whole: bool = True
    """Nothing was left because others kept writing it."""


class ComparableForm:
    """Brings tenants up to the present comparable form."""

    def __init__(self, store: Store, resource_types: Mapping[str, ResourceType]) -> None:
        self._store = store
        self._types = resource_types
        self._done: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._all_done = False
        self._at_work: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def require(self, tenant_id: str) -> None:
        """Returns once all reservations of the tenant are in the present form. Raises
        Trouble (503) where that takes longer than a request may."""
        if tenant_id in self._done or await self._is_marked(tenant_id):
            return
        if not await self._go_on(tenant_id, PAGES_IN_A_REQUEST):
            raise Trouble(
                503,
                "Muster was updated and is going through this organisation's users and groups, so "
                "that the same name is never given twice. Nothing was written. Repeat the request.",
                retry_after=RETRY_SECONDS,
            )

    async def run(self) -> int:
        """Go on with every tenant that is not done; how many are left. For the timer."""
        if self._all_done:
            return 0
        former = Negated(Compare(("comparableForm",), "eq", COMPARABLE_FORM))
        tenants = every_tenant(self._store, Query("Tenant", former, fields=("tenantId",)))
        left = [stored.document["tenantId"] async for stored in tenants]
        end = time.monotonic() + RUN_SECONDS
        for tenant_id in tuple(left):
            if time.monotonic() > end:
                break
            if await self._go_on(tenant_id, PAGES_IN_A_RUN):
                left.remove(tenant_id)
        self._all_done = not left
        return len(left)

    async def _is_marked(self, tenant_id: str) -> bool:
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
        except NotFound:  # nothing is stored of it
            return True
        if stored.document.get("comparableForm", 1) < COMPARABLE_FORM:
            return False
        self._done.add(tenant_id)
        return True

    async def _go_on(self, tenant_id: str, pages: int) -> bool:
        """Whether the pass over the tenant is through after so many pages."""
        async with self._at_work[tenant_id]:
            return tenant_id in self._done or await self._pass(tenant_id, pages)

    async def _pass(self, tenant_id: str, pages: int) -> bool:
        place = self._places.setdefault(tenant_id, _Place([*self._types.values()]))
        for _ in range(pages):
            if not place.types:
                break
            query = Query(place.types[0].name, limit=PAGE, continuation=place.continuation)
            page = await self._store.query(tenant_id, query)
            for stored in page.items:
                if not await self._renew(tenant_id, place.types[0], stored):
                    place.whole = False
            place.continuation = page.continuation
            if page.continuation is None:
                del place.types[0]
        if place.types:
            return False
        del self._places[tenant_id]
        if place.whole:
            done = Update(TENANT_ID, (Assign(("comparableForm",), COMPARABLE_FORM),))
            await self._store.batch(tenant_id, [done])
            self._done.add(tenant_id)
        return place.whole

    async def _renew(self, tenant_id: str, type: ResourceType, stored: Stored) -> bool:
        """Write a document in the present form; False where others kept writing it. One that
        cannot be read or written stays as it is, and keeps nobody from the rest."""
        missing: set[str] = set()

        async def attempt() -> None:
            nonlocal stored
            try:
                await self._write(tenant_id, type, stored, missing)
            except (PreconditionFailed, NotFound) as error:
                missing.add(error.document_id)
                id = stored.document["id"]
                found = await self._store.read_many(tenant_id, [id])
                if id in found:
                    stored = found[id]
                    raise

        try:
            await retrying(attempt)
        except (PreconditionFailed, NotFound):
            return False
        return True

    async def _write(
        self, tenant_id: str, type: ResourceType, stored: Stored, missing: Collection[str]
    ) -> None:
        """Write a document in the present form where it is not, without giving up reservations
        that are `missing`. Raises PreconditionFailed, NotFound."""
        try:
            document = _renewed(type, stored.document)
            if document == stored.document:
                return
            keys = await reserve(self._store, type, stored.document, document)
        except (KeyError, TypeError, AttributeError, ValueError, ScimError):
            return
        kept = [key for key in keys if not (isinstance(key, Delete) and key.id in missing)]
        with suppress(Conflict, TooLarge):  # another resource has the value in the present form
            await self._store.batch(tenant_id, [Replace(document, stored.etag), *kept])


def _renewed(type: ResourceType, document: Document) -> Document:
    """A stored user or group with `search` in the present form."""
    resource, created, modified = (document[key] for key in ("resource", "created", "modified"))
    return {**document, "search": searchable(type, resource, created, modified)}
