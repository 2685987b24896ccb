"""When a credential was last used: told to operators, and in nobody's way."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import Context
from datetime import datetime

from directory.store import Store, Upsert
from directory.tenants import LastUse

EVERY_SECONDS = 300.0
"""One credential's use is written at most once in so many seconds, by each process."""
KEPT_SECONDS = 400 * 86_400
REMEMBERED = 10_000

log = logging.getLogger("muster.trust")


class Usage:
    """Records uses off the path of the request: a request neither waits for it nor fails with it.

    Each is a document of its own, so that it fights with nobody for the tenant's ETag.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now = now
        self._clock = clock
        self._due: dict[tuple[str, str], float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def saw(self, tenant_id: str, credential: str) -> None:
        """A proven request used this credential of the tenant."""
        clock, key = self._clock(), (tenant_id, credential)
        if self._due.get(key, 0.0) > clock:
            return
        if len(self._due) >= REMEMBERED:
            self._due.clear()
        self._due[key] = clock + EVERY_SECONDS
        # Of no request: it outlives the one that happens to cause it.
        writing = asyncio.create_task(self._write(tenant_id, credential), context=Context())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing)

    async def _write(self, tenant_id: str, credential: str) -> None:
        use = LastUse(tenant_id=tenant_id, credential=credential, at=self._now(), ttl=KEPT_SECONDS)
        try:
            await self._store.batch(tenant_id, [Upsert(use.to_document())])
        except Exception as error:  # noqa: BLE001 - whatever it is, the next use is written
            log.info("the last use of a credential was not recorded: %s", type(error).__name__)
