"""The requests and answers of the access API, for its OpenAPI document."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, RootModel

from access.following import MOST_SECONDS
from access.reading import MOST
from directory.access import SourceType
from directory.reasons import Reason
from web.moments import Moment
from web.operation import Answer, Body, Parameters

PAGE = 100
"""Users, or changes, of an answer when the request has no `limit`."""
type Id = Annotated[str, Field(min_length=1, max_length=200)]
type Limit = Annotated[int, Field(ge=1, le=MOST)]


class UsersQuery(Parameters):
    """Which users: one by `userName` or `externalId`; several by `ids`; else everybody who fits all
    filters, in pages."""

    user_name: Annotated[str | None, Field(max_length=2_000)] = None
    """One user; upper and lower case are equal. The answer is that user."""
    external_id: Annotated[str | None, Field(max_length=2_000)] = None
    """One user. The answer is that user."""
    ids: Annotated[str | None, Field(min_length=1, max_length=30_000)] = None
    """SCIM ids with commas between them, 1,000 at most; `POST /users/query` takes them as JSON."""
    limit: Limit = PAGE
    """How many users a page examines. With a filter it may hold fewer, even none; the list goes on
    as long as there is a `nextCursor`."""
    cursor: Annotated[str | None, Field(max_length=100)] = None
    """`nextCursor` of the page before (empty: the first page); all else stays as it was."""
    enabled: bool | None = None
    """Only users who are enabled, or only those who are not."""
    grant: Annotated[str | None, Field(pattern=r"^[^:]+:.+$", max_length=2_000)] = None
    """Only users who hold this entitlement: `kind:key`, such as `role:owner`."""
    changed_since: Moment | None = None
    """Only users whose access changed at this moment or later, or is about to change."""


class UsersBody(Body):
    """Which users."""

    ids: Annotated[tuple[Id, ...], Field(max_length=MOST)]
    """SCIM ids."""


class Source(Answer):
    """One path that gives a grant."""

    type: SourceType
    """`appRole` and `costCenter`: an attribute of the user names it. `kept`: nothing gives it any
    more. It is protected, and the user was the last to hold it."""
    group_id: str | None = None
    """The mapped group."""
    mapping_version: int | None = None
    path: tuple[str, ...]
    """Group ids from the one that the user is a direct member of to the mapped one."""
    since: datetime | None = None
    """Of `kept`: when it would have been lost."""
    event_id: str | None = None
    """Of `kept`: the event that would have taken it."""


class Held(Answer):
    """An entitlement that a user holds."""

    kind: str
    key: str
    display_name: str
    sources: tuple[Source, ...]
    """Every path that gives it."""


class UserAccess(Answer):
    """What a user may do at this moment."""

    id: str
    user_name: str | None
    external_id: str | None
    enabled: bool
    reasons: tuple[Reason, ...]
    """Why the user is disabled."""
    pending: bool
    """The access record lags behind the user. What disables the user counts already; what enables
    the user does not. Ask again: the feed has no change for catching up."""
    grants: tuple[Held, ...]
    version: int
    """The version of the access record. It grows with every change; 0: there is no record yet."""
    changed_at: datetime | None
    """When the access last changed."""


class Everybody(Answer):
    """A page of users, in the order in which they were made."""

    users: tuple[UserAccess, ...]
    next_cursor: str | None = None
    """Leads to the next page; left out at the end."""
    feed_position: str | None = None
    """Of the first page: where the feed of changes was when the list began. The list, and the
    changes after this position, are all there is."""
    missing: tuple[str, ...] | None = None
    """Those of the `ids` that no user has."""


class UsersAnswer(RootModel[Everybody | UserAccess]):
    """A page of users; or the one user that `userName` or `externalId` names."""


class ChangesQuery(Parameters):
    """Which changes."""

    after: Annotated[str | None, Field(min_length=1, max_length=4_000)] = None
    """`position` of the answer before, or `feedPosition` of a list of users. Without it, from the
    oldest change that is kept."""
    limit: Limit = PAGE
    wait: Annotated[int, Field(ge=0, le=MOST_SECONDS)] = 0
    """Seconds to wait for a change where there is none."""


class Entitlement(Answer):
    """An entitlement."""

    kind: str
    key: str


class State(Answer):
    """Access at one moment."""

    enabled: bool
    reasons: tuple[Reason, ...]
    grants: tuple[Entitlement, ...]


class Change(Answer):
    """A change of somebody's access."""

    id: str
    """The same whenever the change is sent, here and in the topic."""
    tenant: str
    user_id: str | None
    version: int
    """The version of the access record. The highest one holds."""
    at: datetime | None
    event_id: str | None
    """The event that changed it: the provisioning log's entry."""
    complete: bool
    """false: the stored change cannot be read, so `before` and `after` are null. Ask for the
    user."""
    before: State | None
    """null: the user was new."""
    after: State | None
    """null: the user was deleted."""


class ChangesAnswer(Answer):
    """Changes in the order in which they were committed; those of one user in the order of their
    versions."""

    changes: tuple[Change, ...]
    position: str
    """Where to go on. Store it together with the applied changes."""
    more: bool
    """Whether further changes can be read at once."""
