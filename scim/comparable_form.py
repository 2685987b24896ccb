"""Bringing stored documents up to the present comparable form (`scim.protocol.scalars.fold`).

A store that an earlier version wrote holds `search` and reservations in the former form. Filters
still find them (`stored_forms`). Passes over the tenant's users and groups read everything and
rewrite what differs. When a pass has seen all, the tenant's document says so
(`Tenant.comparable_form`), and no further pass begins.

- A document is written under its ETag, in one batch with its reservations. That moves the ETag,
  which clients see as `meta.version`; `meta.lastModified` stays, and there is no event, since the
  resource does not change.
- A pass that dies is begun again; what it wrote stays valid.
- Until the tenant is done, a value can only be reserved after a complete pass. Otherwise two values
  that are equal in the present form could both be reserved, one in each form.
- Where two resources were unique in the former form and are not in the present one, the second
  stays as it is: it is found by its own spelling, and changed and deleted like any other.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from directory.condition import Compare, Negated
from directory.ledger import retrying
from directory.portions import Portions
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

RETRY_SECONDS = 10.0
RUN_SECONDS = 20.0
"""A run of the timer begins with no further tenant after this time."""


@dataclass(slots=True)
class _Progress:
    """How far the pass over a tenant is."""

    types: list[ResourceType]
    """Resource types that are not finished; the pass is at the first."""
    continuation: str | None = None
    whole: bool = True
    """False: a document was left out because others kept writing it."""


class ComparableForm:
    """Brings tenants up to the present comparable form."""

    def __init__(
        self, store: Store, resource_types: Mapping[str, ResourceType], portions: Portions
    ) -> None:
        self._store = store
        self._types = resource_types
        self._portions = portions
        self._done: set[str] = set()
        self._passes: dict[str, _Progress] = {}
        self._all_done = False
        self._at_work: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def require(self, tenant_id: str) -> None:
        """Returns once all reservations of the tenant are in the present form. Raises
        Trouble (503) where that takes longer than a request may."""
        if tenant_id in self._done or await self._is_marked(tenant_id):
            return
        if not await self._go_on(tenant_id, self._portions.pages_per_request):
            raise Trouble(
                503,
                "Muster was updated and is going through this organisation's users and groups, so "
                "that the same name is never given twice. Nothing was written. Repeat the request.",
                retry_after=RETRY_SECONDS,
            )

    async def run(self) -> int:
        """Continue with every tenant that is not done; returns how many are left. For the
        timer."""
        if self._all_done:
            return 0
        former = Negated(Compare(("comparableForm",), "eq", COMPARABLE_FORM))
        tenants = every_tenant(self._store, Query("Tenant", former, fields=("tenantId",)))
        left = [stored.document["tenantId"] async for stored in tenants]
        end = time.monotonic() + RUN_SECONDS
        for tenant_id in tuple(left):
            if time.monotonic() > end:
                break
            if await self._go_on(tenant_id, self._portions.pages_per_run):
                left.remove(tenant_id)
        self._all_done = not left
        return len(left)

    async def _is_marked(self, tenant_id: str) -> bool:
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
        except NotFound:  # the tenant has no documents
            return True
        if stored.document.get("comparableForm", 1) < COMPARABLE_FORM:
            return False
        self._done.add(tenant_id)
        return True

    async def _go_on(self, tenant_id: str, pages: int) -> bool:
        """Continue the pass over the tenant for `pages` pages; whether the tenant is done."""
        async with self._at_work[tenant_id]:
            return tenant_id in self._done or await self._pass(tenant_id, pages)

    async def _pass(self, tenant_id: str, pages: int) -> bool:
        progress = self._passes.setdefault(tenant_id, _Progress([*self._types.values()]))
        for _ in range(pages):
            if not progress.types:
                break
            query = Query(
                progress.types[0].name,
                limit=self._portions.documents_per_page,
                continuation=progress.continuation,
            )
            page = await self._store.query(tenant_id, query)
            for stored in page.items:
                if not await self._renew(tenant_id, progress.types[0], stored):
                    progress.whole = False
            progress.continuation = page.continuation
            if page.continuation is None:
                del progress.types[0]
        if progress.types:
            return False
        del self._passes[tenant_id]
        if progress.whole:
            done = Update(TENANT_ID, (Assign(("comparableForm",), COMPARABLE_FORM),))
            await self._store.batch(tenant_id, [done])
            self._done.add(tenant_id)
        return progress.whole

    async def _renew(self, tenant_id: str, type: ResourceType, stored: Stored) -> bool:
        """Write a document in the present form; False where others kept writing it. A document that
        cannot be read or written stays as it is, and does not stop the pass."""
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
        """Write a document in the present form if it is in the former one, without the deletes of
        reservations that are `missing`. Raises PreconditionFailed, NotFound."""
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
