"""Mass loss: an event by which many users lost something is marked, and the application notified.

Each page of an event's users adds those who lose something to counters on the event, in the same
batch as their records; so each loss counts once, even if a process dies or work is repeated. At the
end of the event the policy decides whether it is a mass loss. Events of FEW users are not counted:
they are never a mass loss, and share pages with other events.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from directory.access import AccessState
from directory.condition import AnyElement, Present
from directory.documents import Event, MassLoss, event_id
from directory.notices import Notice
from directory.reading import pages
from directory.store import Assign, Change, Create, Increment, Operation, Query, Store, Update
from directory.tenants import FEWEST_LOST, TENANT_ID, Tenant
from reconciler.access import lacking

FEW = FEWEST_LOST - 1
"""The most users of an event that cannot be a mass loss."""
PAGE = 1_000
"""Records per page when holders are counted."""

log = logging.getLogger("muster.reconciler")


def counted(
    event: str, states: Iterable[tuple[AccessState | None, AccessState | None]]
) -> list[Operation]:
    """The update that adds the users of a page who lose something to the event's (ULID) counters;
    each state is a pair of before and after."""
    lost = lost_all = 0
    for before, after in states:
        if before is not None and lacking(after, before):
            lost += 1
            lost_all += after is None or not after.grants
    if not lost:
        return []
    return [
        Update(event_id(event), (Increment(("lost",), lost), Increment(("lostAll",), lost_all)))
    ]


@dataclass(frozen=True, slots=True)
class Marked:
    """What a mass loss adds to the batch that ends its event."""

    changes: tuple[Change, ...] = ()
    """Changes of the event."""
    notices: tuple[Operation, ...] = ()


NOTHING = Marked()


async def marked(store: Store, event: Event) -> Marked:
    """The mark and the notice of an event that is about to end, if it is a mass loss and is not
    marked yet. The users that it reads are at most a few times those who lost something. Raises
    StoreError."""
    stored = await store.read_many(event.tenant_id, [event.document_id, TENANT_ID])
    if event.document_id not in stored:
        return NOTHING
    counted = Event.from_document(stored[event.document_id].document)
    tenant = Tenant.from_document(stored[TENANT_ID].document)
    limits = tenant.policy.mass_loss
    if counted.mass_loss is not None or counted.lost < limits.users:
        return NOTHING
    most = counted.lost * 100 // limits.percent
    held = counted.lost_all + await _holding(store, event.tenant_id, most - counted.lost_all)
    return _mark(event, MassLoss(lost=counted.lost, of=held), tenant) if held <= most else NOTHING


async def _holding(store: Store, tenant_id: str, most: int) -> int:
    """How many users hold anything; any number above `most` where there are more."""
    query = Query("Access", AnyElement(("grants",), Present(("kind",))), fields=(), limit=PAGE)
    found = 0
    async for page in pages(store, tenant_id, query):
        found += len(page)
        if found > most:
            break
    return found


def _mark(event: Event, loss: MassLoss, tenant: Tenant) -> Marked:
    """Logs the loss, too: before it is stored, because twice is better than never."""
    log.warning(
        "mass loss: %d of %d users who held something lost some of it",
        loss.lost,
        loss.of,
        extra={"tenant": event.tenant_id, "event": event.event_id, "mass_losses": 1},
    )
    notice = Notice(
        tenant_id=event.tenant_id,
        notice_id=event.event_id,
        kind="access.massLoss",
        at=event.at,
        details={
            "tenantId": event.tenant_id,
            "name": tenant.name,
            "eventId": event.event_id,
            "operation": event.operation,
            "lost": loss.lost,
            "of": loss.of,
        },
    )
    mark = Assign(("massLoss",), loss.model_dump(mode="json", by_alias=True))
    return Marked((mark,), (Create(notice.to_document()),))
