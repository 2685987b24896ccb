"""Documents that are good to have, written beside the requests that cause them."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from directory.documents import StoredModel
from directory.store import Store, Upsert


class Notes:
    """Writes off the path of the requests: none waits for a note or fails with it. One that cannot
    be written is `missed`, as the log then says, and the next one makes up for it."""

    def __init__(self, store: Store, log: logging.Logger, missed: str) -> None:
        self._store = store
        self._log = log
        self._missed = missed
        self._writing: set[asyncio.Task[None]] = set()

    def begin(self, writing: Coroutine[Any, Any, None]) -> None:
        """Let it be written."""
        # Of no request: it outlives the one that happens to cause it.
        task = asyncio.create_task(writing, context=Context())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def write(self, note: StoredModel) -> None:
        """Store a note in place of the one before."""
        try:
            await self._store.batch(note.tenant_id, [Upsert(note.to_document())])
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is written
            self._log.info("%s: %s", self._missed, type(error).__name__)

    async def settle(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing)
