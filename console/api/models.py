"""What several operations of the API have in common: parameters of lists, and parts of answers.

Answers are made from the results of the use cases, attribute by attribute.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from administration.reading.paging import MOST_PER_PAGE, PAGE
from directory.access import SourceType
from directory.documents import EntitlementKey
from directory.reasons import Reason
from web.operation import Answer, Body, Parameters


class Continued(Parameters):
    """Parameters of a list with further pages."""

    cursor: str | None = None
    """`nextCursor` of the page before (empty: the first page); all else stays as it was."""


class Paged(Continued):
    """Parameters of a list whose page size can be chosen."""

    limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = PAGE
    """Rows of a page."""


type Name = Annotated[str, Field(min_length=1, max_length=200)]
type Search = Annotated[str, Field(max_length=200)]


class Entitled(Body):
    """An entitlement, as the catalog names it."""

    kind: Name
    key: Name


def keys_of(entitlements: tuple[Entitled, ...]) -> tuple[EntitlementKey, ...]:
    """The entitlements as keys for use cases, without repetition."""
    keys = (EntitlementKey(one.kind, one.key) for one in entitlements)
    return tuple(dict.fromkeys(keys))


class NamedEntitlement(Answer):
    """An entitlement."""

    kind: str
    key: str
    display_name: str


def named(
    entitlements: tuple[EntitlementKey, ...], names: dict[EntitlementKey, str]
) -> tuple[NamedEntitlement, ...]:
    """Entitlements with their names."""
    return tuple(
        NamedEntitlement(kind=one.kind, key=one.key, display_name=names[one])
        for one in entitlements
    )


class Actor(Answer):
    """Who made a change: a connection of the organisation, an administrator, or an operator."""

    type: Literal["connection", "administrator", "operator"]
    id: str


class Progress(Answer):
    """How far a big change is applied, in users."""

    done: int
    total: int


class MassLoss(Answer):
    """How many users lost something by an event."""

    lost: int
    """Users who lost something."""
    of: int
    """Users who held something before."""


class Event(Answer):
    """An accepted write."""

    event_id: str
    state: Literal["pending", "done", "failed"]
    at: datetime
    actor: Actor
    request_id: str
    operation: str
    resource_type: Literal["User", "Group", "Tenant"]
    resource_id: str
    attributes: tuple[str, ...]
    """Names of the attributes that changed, never their values."""
    ignored: tuple[str, ...]
    """Names of what the request carried and Muster ignored."""
    reason: str | None
    """Why it could not be applied."""
    done_at: datetime | None
    progress: Progress | None
    mass_loss: MassLoss | None
    """Set where many users lost something by it."""


class Cause(Answer):
    """The event behind something. It is kept for a limited time."""

    event_id: str
    at: datetime | None
    expired: bool
    event: Event | None


class Source(Answer):
    """What gives a grant: a mapped group (`groupId`) by a path of groups, the user's cost center or
    app role, or an administrator by hand. `kept`: nothing gives it any more, but it is protected,
    and the user was the last to hold it."""

    type: SourceType
    group_id: str | None = None
    mapping_version: int | None = None
    path: tuple[str, ...] = ()
    """Ids of groups, from the one that the user is a member of to the mapped one."""
    since: datetime | None = None
    """Of `kept`: when it would have been lost."""
    event_id: str | None = None
    """Of `kept`: the event that would have taken it."""


class Grant(Answer):
    """An entitlement that a user holds, and everything that gives it."""

    kind: str
    key: str
    sources: tuple[Source, ...]


class State(Answer):
    """Effective access."""

    enabled: bool
    reasons: tuple[Reason, ...]
    """Why it is not enabled."""
    grants: tuple[Grant, ...]


class Effect(Answer):
    """What a change would do to one user."""

    user_id: str
    user_name: str | None
    display_name: str | None
    enabled: bool
    """Whether the user would be enabled."""
    reasons: tuple[Reason, ...]
    gained: tuple[NamedEntitlement, ...]
    lost: tuple[NamedEntitlement, ...]


class Counts(Answer):
    """Users whom a change would affect: all of them where `complete`, else as many as one request
    may count. The following pages count on."""

    complete: bool
    """Whether all users are counted."""
    examined: int
    changed: int
    gaining: int
    losing: int
    enabled: int
    """Disabled now, and enabled after the change."""
    disabled: int


class WouldKeep(NamedEntitlement):
    """An entitlement that would be kept for somebody, or would no longer be kept."""

    ends: bool
    """true: it is kept for the user now and would no longer be, because something would give it."""
    user_id: str | None
    """null: it would be kept for one of its many holders."""
    name: str | None


class PreviewAnswer(Answer):
    """What a change would do. Nothing is written."""

    effects: tuple[Effect, ...]
    """Some of the users; a page may be empty and not the last."""
    counts: Counts
    no_owner: bool
    """Whether nothing would give the role Owner to anybody; then saving needs `confirmed`."""
    kept: tuple[WouldKeep, ...]
    """Protected entitlements that would be kept for their last holder, or would no longer be kept.
    A user for whom one is no longer kept loses it, and may be missing in `effects` and `counts`."""
    next_cursor: str | None
