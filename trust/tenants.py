"""Tenants as authentication reads them: remembered for seconds, so that a request costs no read."""

from collections.abc import Callable
from datetime import datetime

from directory.store import NotFound, Store
from directory.tenants import TENANT_ID, Tenant

REMEMBERED = 10_000
"""Tenants; those that do not exist must not fill the memory."""


class Tenants:
    """Reads tenants by id. What was read counts for `remember` seconds, so a revoked token works
    that much longer at most."""

    def __init__(self, store: Store, now: Callable[[], datetime], remember: float = 5.0) -> None:
        self._store = store
        self._now = now
        self._remember = remember
        self._known: dict[str, tuple[float, Tenant | None]] = {}

    async def get(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None where there is none."""
        now = self._now().timestamp()
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
