"""The provisioning log: every accepted write, newest first, and what it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from administration.files import as_csv
from administration.reading.naming import group_names, user_names
from administration.reading.paging import PageOf
from administration.reading.users import matching
from directory.access import AccessChange, access_change_id
from directory.condition import All, Compare, Condition, OneOf
from directory.documents import Event, event_id, is_resource_id, resource_id_of
from directory.store import NEWEST_FIRST, NotFound, Query, Store
from directory.ulids import first_ulid
from scim.protocol.scalars import fold

ENTRIES = 50
EXPORTED = 10_000
"""The most entries in one export."""
EFFECTS = 100
"""The most changes of access that one entry shows."""
FOUND = 100
"""The most users, and the most groups, that a name in the filter finds."""
LAG = timedelta(days=2)
"""How long after an unfinished event its effects are looked for."""
LISTED = tuple(
    field.alias or name for name, field in Event.model_fields.items() if name != "membership"
)
"""What a list shows of an event: all but the members, who may be a hundred thousand."""
COLUMNS = (
    "time",
    "actor",
    "operation",
    "resourceType",
    "resourceId",
    "name",
    "attributes",
    "ignored",
    "state",
    "reason",
    "requestId",
    "eventId",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are listed: those that meet all criteria."""

    resources: tuple[str, ...] | None = None
    """SCIM ids of users and groups; None: all."""
    resource_type: str = ""
    operation: str = ""
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def condition(self) -> Condition:
        """The filter as a condition for the store. An event's id begins with its time, so a range
        of time is a range of ids."""
        equal = {
            "resourceType": self.resource_type,
            "operation": self.operation,
            "state": self.state,
        }
        found: list[Condition] = [
            Compare((path,), "eq", value) for path, value in equal.items() if value
        ]
        if self.resources is not None:
            found.append(OneOf(("resourceId",), self.resources))
        if self.since:
            found.append(Compare(("id",), "ge", event_id(first_ulid(self.since))))
        if self.until:
            found.append(Compare(("id",), "lt", event_id(first_ulid(self.until))))
        return All(tuple(found))


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with the name of what it is about, as far as it still exists."""

    event: Event
    name: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did to one user's access."""

    change: AccessChange
    name: str | None


async def list_entries(
    store: Store, tenant_id: str, filter: Filter, after: str | None = None, limit: int = ENTRIES
) -> PageOf[Entry]:
    """Log entries, newest first, without `membership`. Raises BadContinuation for an `after`
    that is not of this list."""
    query = Query("Event", filter.condition, NEWEST_FIRST, LISTED, limit, continuation=after)
    page = await store.query(tenant_id, query)
    events = [Event.from_document(stored.document) for stored in page.items]
    return PageOf(tuple(await _named(store, tenant_id, events)), page.continuation)


async def find_resources(store: Store, tenant_id: str, text: str) -> tuple[str, ...] | None:
    """SCIM ids of what a text names: an id, or some of the existing users and groups whose names
    contain it. None where there is no text."""
    if not text:
        return None
    if is_resource_id(text):
        return (text,)
    named = Compare(("search", "displayName"), "co", fold(text))
    pages = [
        await store.query(tenant_id, Query(type, where, fields=(), limit=FOUND))
        for type, where in (("User", matching(text)), ("Group", named))
    ]
    return tuple(resource_id_of(stored.document["id"]) for page in pages for stored in page.items)


async def read_entry(store: Store, tenant_id: str, id: str) -> Entry | None:
    """One entry by the event's id, or None where there is none."""
    if not is_resource_id(id):
        return None
    try:
        stored = await store.read(tenant_id, event_id(id))
    except NotFound:
        return None
    (entry,) = await _named(store, tenant_id, [Event.from_document(stored.document)])
    return entry


async def effects(store: Store, tenant_id: str, event: Event) -> PageOf[Effect]:
    """The changes of access that an event caused, EFFECTS of them at most."""
    end = (event.done_at or event.at + LAG) + timedelta(seconds=1)
    where = All(
        (
            Compare(("eventId",), "eq", event.event_id),
            Compare(("id",), "ge", access_change_id(first_ulid(event.at))),
            Compare(("id",), "lt", access_change_id(first_ulid(end))),
        )
    )
    page = await store.query(tenant_id, Query("AccessChange", where, limit=EFFECTS))
    changes = [AccessChange.from_document(stored.document) for stored in page.items]
    names = await user_names(store, tenant_id, [change.user_id for change in changes])
    rows = tuple(Effect(change, names.get(change.user_id)) for change in changes)
    return PageOf(rows, page.continuation)


async def export(store: Store, tenant_id: str, filter: Filter) -> str:
    """The newest EXPORTED entries as CSV, with names."""
    rows: list[list[str]] = []
    after = None
    while len(rows) < EXPORTED:
        page = await list_entries(store, tenant_id, filter, after, limit=500)
        rows += map(_cells, page.rows)
        after = page.next
        if after is None:
            break
    return as_csv(COLUMNS, rows)


def _cells(entry: Entry) -> list[str]:
    event = entry.event
    return [
        event.at.isoformat(timespec="milliseconds"),
        f"{event.actor.type} {event.actor.id}",
        event.operation,
        event.resource_type,
        event.resource_id,
        entry.name or "",
        " ".join(event.attributes),
        " ".join(event.ignored),
        event.state,
        event.reason or "",
        event.request_id,
        event.event_id,
    ]


async def _named(store: Store, tenant_id: str, events: Sequence[Event]) -> list[Entry]:
    users = [event.resource_id for event in events if event.resource_type == "User"]
    groups = [event.resource_id for event in events if event.resource_type == "Group"]
    names = await user_names(store, tenant_id, users)
    names |= await group_names(store, tenant_id, groups)
    return [Entry(event, names.get(event.resource_id)) for event in events]
