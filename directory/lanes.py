"""Threads for what would keep the event loop too long; no tenant has more than one of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary


class Lanes:
    """So many threads. Jobs of one tenant run one after the other, so that a tenant with many of
    them leaves the other threads to the others."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run[T](self, tenant_id: str, job: Callable[[], T]) -> T:
        """What the job returns; raises what it raises. A job that began ends, even where nobody
        waits for it any more, and its tenant's next one waits for that."""
        turn = self._turns.setdefault(tenant_id, asyncio.Lock())
        await turn.acquire()
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, job)
        except BaseException:
            turn.release()
            raise

        def end(ended: asyncio.Future[T]) -> None:
            turn.release()
            if not ended.cancelled():
                ended.exception()  # asked for, though perhaps nobody waits for it any more

        running.add_done_callback(end)
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Wait for what is running; nothing is run after it."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)
