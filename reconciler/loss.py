"""Mass loss: an event after which many lost some of what they held is marked, and told of.

Each page of an event's users counts those who lose something on the event itself, in the same batch
as their records; so each loss counts once, whoever dies or works twice. At the end of the event the
policy says whether they are many. Events of FEW users are not counted: what they take is never a
mass loss, and they share pages with others.
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
"""Users of an event that takes too few for a mass loss."""
PAGE = 1_000
"""Users who hold something, read at once to count them."""

log = logging.getLogger("muster.reconciler")


def counted(
    event: str, states: Iterable[tuple[AccessState | None, AccessState | None]]
) -> list[Operation]:
    """What adds to an event (its ULID) those of a page who lose something; states are before and
    after."""
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
    """What is written in one batch with the end of an event."""

    changes: tuple[Change, ...] = ()
    """Of the event."""
    notices: tuple[Operation, ...] = ()


NOTHING = Marked()


async def marked(store: Store, event: Event) -> Marked:
    """What marks an event that has come to its end, and tells of it, if it is a mass loss and that
    is not done yet. Reads few times as many users as lost something, at most. Raises StoreError."""
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
    return _told(event, MassLoss(lost=counted.lost, of=held), tenant) if held <= most else NOTHING


async def _holding(store: Store, tenant_id: str, most: int) -> int:
    """How many users hold anything; some number above `most` where they are more."""
    query = Query("Access", AnyElement(("grants",), Present(("kind",))), fields=(), limit=PAGE)
    found = 0
    async for page in pages(store, tenant_id, query):
        found += len(page)
        if found > most:
            break
    return found


def _told(event: Event, loss: MassLoss, tenant: Tenant) -> Marked:
    """It is logged before it is stored: rather twice than never."""
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
