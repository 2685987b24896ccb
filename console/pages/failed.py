"""Failed events and dead letters: why, and once more."""

from starlette.responses import Response

from administration.reading.naming import group_names, user_names
from administration.replay import Replay
from console.visit import Page, Visit
from queues.port import DeadLetterQueue


async def failed(visit: Visit) -> Response:
    """What failed in this tenant."""
    async with visit.deployment.dead_letters() as letters:
        found = await _replay(visit, letters).failures()
    ids = [event.resource_id for event in found.events]
    names = await user_names(visit.store, visit.tenant_id, ids)
    names |= await group_names(visit.store, visit.tenant_id, ids)
    return visit.page("failed.html", failures=found, names=names)


async def replay(visit: Visit) -> Response:
    """Send one failed event again, or all of them."""
    async with visit.deployment.dead_letters() as letters:
        replaying = _replay(visit, letters)
        if event := visit.given("event"):
            await replaying.one(event)
        else:
            await replaying.everything()
    return visit.go("/failed", told="replayed")


def _replay(visit: Visit, letters: DeadLetterQueue) -> Replay:
    return Replay(
        visit.store,
        letters,
        visit.deployment.sender,
        visit.tenant_id,
        actor=visit.actor,
        now=visit.service.now,
        retention=visit.service.retention,
    )


PAGES = (Page("/failed", failed), Page("/failed", replay, "POST"))
