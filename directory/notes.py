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
        self._writing: set[asyncio.Task[object]] = set()

    def begin(self, writing: Coroutine[Any, Any, object]) -> None:
        """Let it be written."""
        # Of no request: it outlives the one that happens to cause it.
        task = asyncio.create_task(writing, context=Context())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def write(self, *notes: StoredModel) -> bool:
        """Store notes of one tenant in place of those before; whether that was done."""
        try:
            await self._store.batch(
                notes[0].tenant_id, [Upsert(note.to_document()) for note in notes]
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is written
            self._log.info("%s: %s", self._missed, type(error).__name__)
            return False
        return True

    async def settle(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing)
