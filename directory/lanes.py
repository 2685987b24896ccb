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


LIGHT = 20_000
"""Steps of about a microsecond, and bytes of a body, that are taken on the event loop: some 20 ms
at the most."""

computations = Lanes(2, "computations")
"""Of the process."""


async def apart[T](tenant_id: str, size: int, job: Callable[[], T]) -> T:
    """What the job returns, whose cost is known from its size (bytes, or steps): computed on the
    event loop where it is little, which is nearly always, and else in a thread, so that no other
    tenant waits for it. Raises what it raises. The job touches nothing that others write."""
    return job() if size <= LIGHT else await computations.run(tenant_id, job)
