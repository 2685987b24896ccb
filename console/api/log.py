"""The provisioning log."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from administration.reading import log as reading
from administration.reading import refusals as reading_refusals
from administration.reading.log import Filter, find_resources
from console.api.models import Event, Paged, Search, State
from console.api.operation import Call
from console.api.problems import absent
from web.moments import Moment
from web.operation import Answer, Operation, Parameters


class RefusalFilter(Parameters):
    """Which refused requests: those that fit all parameters."""

    resource: Search = ""
    """The id of a user or group, or a part of its name in the request."""
    type: Literal["User", "Group"] | None = None
    since: Moment | None = None
    """The last such request was at this time or later."""
    until: Moment | None = None


class Refusal(Answer):
    """Requests that were refused for the same user or group with the same answer."""

    connection_id: str
    operation: str
    """Method and path, such as `PATCH /Users/{id}`."""
    name: str | None
    """The name of the user or group that it was about."""
    resource_id: str | None
    external_id: str | None
    user_name: str | None
    display_name: str | None
    status: int
    scim_type: str | None
    detail: str
    """What was wrong, and what to do."""
    count: int
    first_at: datetime
    last_at: datetime
    request_id: str
    """The id of the last of these requests."""


class Refusals(Answer):
    """Refused requests, the last ones first."""

    refusals: tuple[Refusal, ...]


class LogFilter(Parameters):
    """Which entries: those that fit all parameters."""

    resource: Search = ""
    """The id of a user or group, or a text that its name contains."""
    type: Literal["User", "Group", "Tenant"] | None = None
    operation: Annotated[str, Field(max_length=50)] = ""
    state: Literal["pending", "done", "failed"] | None = None
    since: Moment | None = None
    until: Moment | None = None


class LogQuery(LogFilter, Paged):
    """Which entries, in pages."""


class Entry(Answer):
    """An accepted write, and the name of its resource, if that still exists."""

    event: Event
    name: str | None


class Entries(Answer):
    """A page of the log, the newest first."""

    entries: tuple[Entry, ...]
    next_cursor: str | None


class AccessChange(Answer):
    """What the write did to one user's access."""

    user_id: str
    name: str | None
    before: State | None
    """null: the user was new."""
    after: State | None
    """null: the user was deleted."""


class DetailedEntry(Entry):
    """One entry with its effect."""

    members_added: int
    members_removed: int
    effects: tuple[AccessChange, ...]
    """The first changes of access by this write."""
    more_effects: bool


async def list_log(call: Call[LogQuery, None]) -> Entries:
    """Every accepted write, the newest first."""
    query = call.query
    filter = await _filter(call)
    page = await reading.list_entries(
        call.store, call.tenant_id, filter, call.pages.continuation(query.cursor), query.limit
    )
    entries = tuple(Entry.model_validate(one) for one in page.rows)
    return Entries(entries=entries, next_cursor=call.pages.cursor(page.next))


async def log_as_csv(call: Call[LogFilter, None]) -> str:
    """The newest accepted writes as CSV, 10,000 at most. `since` and `until` choose others."""
    return await reading.export(call.store, call.tenant_id, await _filter(call))


async def read_log_entry(call: Call[Parameters, None]) -> DetailedEntry:
    """One entry: the request, what it changed, what was ignored, and whose access changed how."""
    found = await reading.read_entry(call.store, call.tenant_id, call.path["eventId"])
    if found is None:
        raise absent("entry")
    page = await reading.effects(call.store, call.tenant_id, found.event)
    membership = found.event.membership
    return DetailedEntry(
        event=Event.model_validate(found.event),
        name=found.name,
        members_added=len(membership.added) if membership else 0,
        members_removed=len(membership.removed) if membership else 0,
        effects=tuple(_effect(one) for one in page.rows),
        more_effects=page.next is not None,
    )


async def list_refusals(call: Call[RefusalFilter, None]) -> Refusals:
    """Requests of Entra ID that were refused in the last 30 days, the last ones first. Equal
    refusals are one row with a count. At most 500 are kept."""
    return Refusals(refusals=tuple(_refusal(one) for one in await _refused(call)))


async def refusals_as_csv(call: Call[RefusalFilter, None]) -> str:
    """Requests that were refused, as CSV."""
    return reading_refusals.refusals_as_csv(await _refused(call))


async def _refused(call: Call[RefusalFilter, None]) -> list[reading_refusals.Refused]:
    query = call.query
    filter = Filter(
        await find_resources(call.store, call.tenant_id, query.resource),
        query.type or "",
        since=query.since,
        until=query.until,
    )
    return await reading_refusals.list_refusals(call.store, call.tenant_id, filter, query.resource)


def _refusal(one: reading_refusals.Refused) -> Refusal:
    shown = one.refusal.model_dump(include={*Refusal.model_fields})
    return Refusal.model_validate(shown | {"name": one.name})


async def _filter[Q: LogFilter, B](call: Call[Q, B]) -> Filter:
    """The query as a filter; a name becomes the ids that it finds."""
    query = call.query
    return Filter(
        await find_resources(call.store, call.tenant_id, query.resource),
        query.type or "",
        query.operation,
        query.state or "",
        query.since,
        query.until,
    )


def _effect(one: reading.Effect) -> AccessChange:
    change = one.change
    return AccessChange(
        user_id=change.user_id,
        name=one.name,
        before=State.model_validate(change.before) if change.before else None,
        after=State.model_validate(change.after) if change.after else None,
    )


OPERATIONS = (
    Operation("GET", "/log", list_log, Entries, LogQuery),
    Operation("GET", "/log.csv", log_as_csv, str, LogFilter),
    Operation("GET", "/log/{eventId}", read_log_entry, DetailedEntry),
    Operation("GET", "/refusals", list_refusals, Refusals, RefusalFilter),
    Operation("GET", "/refusals.csv", refusals_as_csv, str, RefusalFilter),
)
