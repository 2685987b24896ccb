"""What a request computes and says what it costs on its way: begun on the event loop, and where it
turns out to be long, done in a thread."""

from collections.abc import Callable
from functools import partial

from directory.lanes import LIGHT, computations
from scim.protocol.errors import PayloadTooLarge
from scim.protocol.work import Work


async def compute[T](tenant_id: str, work: Work, size: int, job: Callable[[Work], T]) -> T:
    """What the job returns, which says what it costs on its way; raises what it raises. `size`
    (bytes) is known before. It begins on the event loop, and where it turns out to be long begins
    again in a thread."""
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
