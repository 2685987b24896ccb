"""Tenants as authentication reads them: remembered for seconds, so that a request costs no read."""

import time
from collections.abc import Callable

from directory.store import NotFound, Store
from directory.tenants import (
    CLAIM_ID,
    TENANT_ID,
    DirectoryClaim,
    Tenant,
    directory_partition,
)

REMEMBERED = 10_000
"""Tenants; those that do not exist must not fill the memory."""


class Tenants:
    """Reads tenants by id. What was read counts for `remember` seconds, so a revoked token works
    that much longer at most. `clock` is a steady one: nothing counts for longer because somebody
    set the time."""

    def __init__(
        self, store: Store, remember: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._remember = remember
        self._known: dict[str, tuple[float, Tenant | None]] = {}
        self._claims: dict[str, tuple[float, str | None]] = {}

    async def get(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None where there is none."""
        now = self._clock()
        known = self._known.get(tenant_id)
        if known and known[0] > now:
            return known[1]
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
            tenant = Tenant.from_document(stored.document)
        except NotFound:
            tenant = None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[tenant_id] = (now + self._remember, tenant)
        return tenant

    async def of_directory(self, directory_id: str) -> Tenant | None:
        """The tenant that an Entra ID directory (a GUID in lower case) is registered for, or
        None. Claim and tenant must agree."""
        tenant_id = await self._claimed_by(directory_id)
        tenant = await self.get(tenant_id) if tenant_id else None
        return tenant if tenant and tenant.directory_id == directory_id else None

    async def _claimed_by(self, directory_id: str) -> str | None:
        now = self._clock()
        known = self._claims.get(directory_id)
        if known and known[0] > now:
            return known[1]
        try:
            stored = await self._store.read(directory_partition(directory_id), CLAIM_ID)
            tenant_id = DirectoryClaim.from_document(stored.document).claimed_by
        except NotFound:
            tenant_id = None
        if len(self._claims) >= REMEMBERED:
            self._claims.clear()
        self._claims[directory_id] = (now + self._remember, tenant_id)
        return tenant_id
