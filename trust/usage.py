"""When a credential was last used: for operators to see, recorded without delaying requests."""

import logging
import time
from collections.abc import Callable
from datetime import datetime

from directory.notes import Notes
from directory.store import Store
from directory.tenants import LastUse

EVERY_SECONDS = 300.0
"""Each process writes a credential's use at most once in this many seconds."""
KEPT_SECONDS = 400 * 86_400
REMEMBERED = 10_000

log = logging.getLogger("muster.trust")


class Usage:
    """Records uses in the background. Each is a separate document, so that it does not contend for
    the tenant's ETag."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notes = Notes(store, log, "the last use of a credential was not recorded")
        self._now = now
        self._clock = clock
        self._due: dict[tuple[str, str], float] = {}

    def saw(self, tenant_id: str, credential: str) -> None:
        """Record that a verified request used this credential of the tenant."""
        clock, key = self._clock(), (tenant_id, credential)
        if self._due.get(key, 0.0) > clock:
            return
        if len(self._due) >= REMEMBERED:
            self._due.clear()
        self._due[key] = clock + EVERY_SECONDS
        use = LastUse(tenant_id=tenant_id, credential=credential, at=self._now(), ttl=KEPT_SECONDS)
        self._notes.begin(self._notes.write(use))

    async def close(self) -> None:
        """Wait for pending writes."""
        await self._notes.settle()
