"""Computations of a request that count their cost as they go: they begin on the event loop, and
move to a thread where they turn out to be long."""

from collections.abc import Callable
from functools import partial

from directory.lanes import LIGHT, computations
from scim.protocol.errors import PayloadTooLarge
from scim.protocol.work import Work


async def compute[T](tenant_id: str, work: Work, size: int, job: Callable[[Work], T]) -> T:
    """What the job returns; raises what it raises. The job counts its cost in the Work that it
    gets. It runs on the event loop where both `size` (bytes) and the cost turn out to be small, and
    otherwise in a thread, from its beginning."""
    if size <= LIGHT:
        little = Work(min(LIGHT, work.left))
        try:
            result = job(little)
        except PayloadTooLarge:
            if not little.exceeded or little.most == work.left:
                raise
        else:
            work.spend(little.spent)
            return result
    return await computations.run(tenant_id, partial(job, work))
