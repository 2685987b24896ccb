"""Tenants as authentication reads them: remembered for seconds, so that a request costs no read.

A request is never refused because of a remembered tenant: before that, the tenant is read anew. So
what an administrator enables, creates or permits counts at once, in every process.
"""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from directory.store import NotFound, Store
from directory.tenants import (
    CLAIM_ID,
    TENANT_ID,
    DirectoryClaim,
    Tenant,
    directory_partition,
)
from trust.rate import RateLimit

REMEMBERED = 10_000
"""The most tenants that are remembered; ids that do not exist must not fill the memory."""
ANEW_PER_SECOND = 5.0
"""How often a second a tenant is read anew before its time; a burst may be twice that. So a flood
of refused requests is no flood of reads."""

_since: ContextVar[float | None] = ContextVar("since", default=None)
"""What was read before this moment is read again."""


class Tenants:
    """Reads tenants by id and remembers them for `remember` seconds, so a revoked token works that
    much longer at most. `clock` is monotonic, so setting the system time prolongs nothing."""

    def __init__(
        self, store: Store, remember: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._tenants = Memory(self._read, clock, remember)
        self._claims = Memory(self._read_claim, clock, remember)

    async def get(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None where there is none."""
        return await self._tenants.get(tenant_id)

    async def of_directory(self, directory_id: str) -> Tenant | None:
        """The tenant that an Entra ID directory (a GUID in lower case) is registered for, or None.
        The claim and the tenant must name each other."""
        tenant_id = await self._claims.get(directory_id)
        tenant = await self.get(tenant_id) if tenant_id else None
        return tenant if tenant and tenant.directory_id == directory_id else None

    def moment(self) -> float:
        """The present moment of the clock, for `anew`."""
        return self._clock()

    @contextmanager
    def anew(self, since: float) -> Iterator[None]:
        """A context in which tenants that were read before `since` are read again, within
        ANEW_PER_SECOND."""
        token = _since.set(since)
        try:
            yield
        finally:
            _since.reset(token)

    async def _read(self, tenant_id: str) -> Tenant | None:
        try:
            stored = await self._store.read(tenant_id, TENANT_ID)
        except NotFound:
            return None
        return Tenant.from_document(stored.document)

    async def _read_claim(self, directory_id: str) -> str | None:
        try:
            stored = await self._store.read(directory_partition(directory_id), CLAIM_ID)
        except NotFound:
            return None
        return DirectoryClaim.from_document(stored.document).claimed_by


class Memory[T]:
    """Remembers results by key for `remember` seconds. A result that is read again and has not
    changed stays the same object."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[T | None]],
        clock: Callable[[], float],
        remember: float,
    ) -> None:
        self._read = read
        self._clock = clock
        self._remember = remember
        self._known: dict[str, tuple[float, T | None]] = {}
        """Key → (when its reading began, what was read)."""
        self._anew = RateLimit(ANEW_PER_SECOND, clock)

    async def get(self, key: str) -> T | None:
        at = self._clock()
        known = self._known.get(key)
        if known and at < known[0] + self._remember and not self._too_old(key, known[0]):
            return known[1]
        value = await self._read(key)
        if known and known[1] == value:
            value = known[1]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = at, value
        return value

    def _too_old(self, key: str, at: float) -> bool:
        since = _since.get()
        return since is not None and at < since and not self._anew.take(key)
