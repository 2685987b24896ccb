"""Documents that are useful but not essential, written in the background of requests."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from directory.documents import StoredModel
from directory.store import Store, Upsert


class Notes:
    """Writes notes in the background: no request waits for a note or fails with it. Where one
    cannot be written, the log says so (`missed`), and the next note makes up for it."""

    def __init__(self, store: Store, log: logging.Logger, missed: str) -> None:
        self._store = store
        self._log = log
        self._missed = missed
        self._writing: set[asyncio.Task[object]] = set()

    def begin(self, writing: Coroutine[Any, Any, object]) -> None:
        """Start a write in the background."""
        # An empty context: the task outlives the request that happens to cause it.
        task = asyncio.create_task(writing, context=Context())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def write(self, *notes: StoredModel) -> bool:
        """Store notes of one tenant, each over its former version; whether that succeeded."""
        try:
            await self._store.batch(
                notes[0].tenant_id, [Upsert(note.to_document()) for note in notes]
            )
        except Exception as error:  # noqa: BLE001 - a note that is lost does no harm
            self._log.info("%s: %s", self._missed, type(error).__name__)
            return False
        return True

    async def settle(self) -> None:
        """Wait for writes in the background."""
        await asyncio.gather(*self._writing)
