"""A limit on concurrent requests to one endpoint, so that a slow endpoint does not block others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 8
"""Requests to one endpoint, of the 32 messages that an instance handles at a time (host.json)."""
WAIT_SECONDS = 1.0
"""How long a message waits for a slot."""
SLOW_SECONDS = 5.0
"""Messages do not wait for a slot of an endpoint whose last request took longer."""


class Slots:
    """The slots of every endpoint in this process."""

    def __init__(self, at_once: int = AT_ONCE, wait: float = WAIT_SECONDS) -> None:
        self._at_once = at_once
        self._wait = wait
        self._by_endpoint: dict[str, asyncio.Semaphore] = {}
        self._slow: set[str] = set()

    @asynccontextmanager
    async def taken(self, endpoint_id: str) -> AsyncIterator[bool]:
        """Whether a slot was free, or became free soon; it is released at the end."""
        slots = self._by_endpoint.setdefault(endpoint_id, asyncio.Semaphore(self._at_once))
        if not await self._take(slots, endpoint_id):
            yield False
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            yield True
        finally:
            slots.release()
            took_long = clock() - began > SLOW_SECONDS
            (self._slow.add if took_long else self._slow.discard)(endpoint_id)

    async def _take(self, slots: asyncio.Semaphore, endpoint_id: str) -> bool:
        if slots.locked() and endpoint_id in self._slow:
            return False
        try:
            async with asyncio.timeout(self._wait):
                await slots.acquire()
        except TimeoutError:
            return False
        return True
