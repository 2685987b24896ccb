"""Threads for work that would block the event loop too long; a tenant has one of them at most."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary


class Lanes:
    """A pool of threads. Jobs of one tenant run one after the other, so that a tenant with many
    jobs leaves the other threads to other tenants."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run[T](self, tenant_id: str, job: Callable[[], T]) -> T:
        """What the job returns; raises what it raises. A job that began runs to its end, even where
        its caller was cancelled, and the tenant's next job waits for that."""
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
                ended.exception()  # marks it as retrieved: perhaps nobody waits for it any more

        running.add_done_callback(end)
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Wait for running jobs; no job can be run afterwards."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)


LIGHT = 20_000
"""The largest size of a job that runs on the event loop, in steps of about a microsecond or bytes
of a body: some 20 ms at most."""

computations = Lanes(2, "computations")
"""For the whole process."""


async def apart[T](tenant_id: str, size: int, job: Callable[[], T]) -> T:
    """What the job returns; raises what it raises. `size` is its cost in bytes or steps: a small
    job, as nearly all are, runs on the event loop, and a larger one in a thread, so that no other
    tenant waits for it. The job must not touch anything that others write."""
    return job() if size <= LIGHT else await computations.run(tenant_id, job)
