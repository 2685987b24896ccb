"""The events that caused what is stored: who did it, when, with which request."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from directory.condition import All, Compare, Condition, OneOf
from directory.documents import Event, event_id
from directory.reading import read_all, readable
from directory.store import Order, Query, Store, Stored
from directory.ulids import made_at


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that caused something stored. Events expire; of an expired event only the id is
    known."""

    event_id: str
    event: Event | None
    """Without its `membership`, which may name a hundred thousand members; None: expired."""

    @property
    def at(self) -> datetime | None:
        """When the event happened; for an expired one, from its id."""
        if self.event is not None:
            return self.event.at
        return made_at(self.event_id)

    @property
    def expired(self) -> bool:
        """Whether the event is no longer kept."""
        return self.event is None

    @property
    def open(self) -> bool:
        """Whether the event is pending or failed."""
        return self.event is not None and self.event.state != "done"


async def read_causes(store: Store, tenant_id: str, ids: Iterable[str]) -> dict[str, Cause]:
    """ULIDs of events → causes, in one round trip."""
    ulids = list(dict.fromkeys(ids))
    found = readable(await read_all(store, tenant_id, [event_id(ulid) for ulid in ulids]))
    causes = {ulid: Cause(ulid, None) for ulid in ulids}
    return causes | {cause.event_id: cause for cause in map(_cause, found.values())}


async def open_causes(
    store: Store, tenant_id: str, resources: Iterable[str], limit: int
) -> tuple[Cause, ...]:
    """Events about these resources (SCIM ids) that are not done, the oldest first."""
    where = All(
        (
            OneOf(("resourceId",), tuple(dict.fromkeys(resources))),
            OneOf(("state",), ("pending", "failed")),
        )
    )
    return await _causes(store, tenant_id, where, limit)


async def last_cause(
    store: Store, tenant_id: str, resource: str, attributes: Condition
) -> Cause | None:
    """The last event about a resource that satisfies the condition on its attributes; None where
    none is stored."""
    where = All((Compare(("resourceId",), "eq", resource), attributes))
    found = await _causes(store, tenant_id, where, 1, latest=True)
    return found[0] if found else None


async def _causes(
    store: Store, tenant_id: str, where: Condition, limit: int, *, latest: bool = False
) -> tuple[Cause, ...]:
    order = (Order(("eventId",), descending=latest),)
    page = await store.query(tenant_id, Query("Event", where, order, limit=limit))
    return tuple(map(_cause, page.items))


def _cause(stored: Stored) -> Cause:
    event = Event.from_document({**stored.document, "membership": None})
    return Cause(event.event_id, event)
