"""How many requests to one endpoint go on at once, so that a slow one takes no other's place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 8
"""Of the 32 messages that an instance works on at a time (host.json)."""
WAIT_SECONDS = 1.0
SLOW_SECONDS = 5.0
"""Of an endpoint that took longer the last time, nobody waits for a place."""


class Slots:
    """The places at every endpoint, in this process."""

    def __init__(self, at_once: int = AT_ONCE, wait: float = WAIT_SECONDS) -> None:
        self._at_once = at_once
        self._wait = wait
        self._places: dict[str, asyncio.Semaphore] = {}
        self._slow: set[str] = set()

    @asynccontextmanager
    async def taken(self, endpoint_id: str) -> AsyncIterator[bool]:
        """Whether a place was free, or was soon; it is given back at the end."""
        places = self._places.setdefault(endpoint_id, asyncio.Semaphore(self._at_once))
        if not await self._take(places, endpoint_id):
            yield False
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            yield True
        finally:
            places.release()
            took_long = clock() - began > SLOW_SECONDS
            (self._slow.add if took_long else self._slow.discard)(endpoint_id)

    async def _take(self, places: asyncio.Semaphore, endpoint_id: str) -> bool:
        if places.locked() and endpoint_id in self._slow:
            return False
        try:
            async with asyncio.timeout(self._wait):
                await places.acquire()
        except TimeoutError:
            return False
        return True
