"""Where what a request asks for is computed: on the event loop where it is little, which is nearly
always, and else in a thread, so that no other tenant waits for it."""

from collections.abc import Callable
from functools import partial

from directory.lanes import Lanes
from scim.protocol.errors import PayloadTooLarge
from scim.protocol.work import Work

LIGHT = 20_000
"""Steps, and bytes of a body, that are taken on the event loop: some 20 ms at the most."""

_lanes = Lanes(2, "computations")


async def apart[T](tenant_id: str, size: int, job: Callable[[], T]) -> T:
    """What the job returns, whose cost is known from its size (bytes, or pieces of about a
    microsecond each); raises what it raises. The job touches nothing that others write."""
    return job() if size <= LIGHT else await _lanes.run(tenant_id, job)


async def compute[T](tenant_id: str, work: Work, size: int, job: Callable[[Work], T]) -> T:
    """The same for a job that says what it costs on its way. It begins on the event loop, and
    where it turns out to be long begins again in a thread."""
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
    return await _lanes.run(tenant_id, partial(job, work))
