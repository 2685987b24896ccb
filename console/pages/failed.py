"""Failed events and dead letters: shown, replayed, or discarded where nothing waits for them."""

from starlette.responses import Response

from administration.reading.naming import group_names, user_names
from console.visit import Page, Visit


async def failed(visit: Visit) -> Response:
    """What failed in this tenant."""
    async with visit.deployment.replay(visit.tenant_id, visit.actor) as replaying:
        found = await replaying.failed.listed()
    ids = [event.resource_id for event in found.events]
    names = await user_names(visit.store, visit.tenant_id, ids)
    names |= await group_names(visit.store, visit.tenant_id, ids)
    return visit.page("failed.html", failures=found, names=names)


async def replay(visit: Visit) -> Response:
    """Send one failed event again, or all of them; or discard one dead letter."""
    async with visit.deployment.replay(visit.tenant_id, visit.actor) as replaying:
        if letter := visit.given("letter"):
            await replaying.discard([letter])
            return visit.go("/failed", told="discarded")
        if event := visit.given("event"):
            await replaying.one(event)
        else:
            await replaying.everything()
    return visit.go("/failed", told="replayed")


PAGES = (Page("/failed", failed), Page("/failed", replay, "POST"))
