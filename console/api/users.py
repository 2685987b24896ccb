"""Users: what they may do and why, now and in the past."""

from datetime import datetime, timedelta
from typing import Any

from administration.reading import users as reading
from administration.reading.naming import entitlement_names
from administration.reading.users import UserDetail, UserRow, UserSource
from console.api.models import (
    Cause,
    Name,
    NamedEntitlement,
    Paged,
    Search,
    Source,
    State,
    named,
)
from console.api.operation import Call
from console.api.problems import absent
from directory.documents import EntitlementKey
from directory.reasons import REASON_TEXTS, Reason
from reconciler.questions import history
from reconciler.questions.why import why
from web.moments import Moment
from web.operation import Answer, Operation, Parameters


class User(Answer):
    """A user in the list."""

    user_id: str
    name: str
    user_name: str | None
    work_email: str | None
    external_id: str | None
    source: UserSource
    """`manual`: made by hand, and not yet adopted by Entra ID."""
    enabled: bool
    reasons: tuple[Reason, ...]
    """Why the user is not enabled."""
    pending: bool
    """Whether the record of the user's access lags behind."""
    unreadable: bool
    """Whether the stored record of the user's access cannot be read. The rest is then unknown: tell
    the operator."""
    grants: int
    """How many."""


class UserQuery(Paged):
    """Which users."""

    q: Search = ""
    """A text that their names, user names or e-mail addresses contain."""
    source: UserSource | None = None


class Users(Answer):
    """A page of users: the newest first, or by user name where `q` is given."""

    users: tuple[User, ...]
    next_cursor: str | None


class NamedGroup(Answer):
    """A group."""

    group_id: str
    name: str | None
    """null: the group is gone."""


class HeldGrant(Answer):
    """An entitlement that the user holds, and everything that gives it."""

    kind: str
    key: str
    display_name: str
    sources: tuple[Source, ...]


class DetailedUser(User):
    """One user."""

    advice: tuple[str, ...]
    """For each reason, what to do."""
    held: tuple[HeldGrant, ...]
    groups: tuple[NamedGroup, ...]
    """The groups that the user is a direct member of, or the first of them."""
    more_groups: bool
    version: int
    """The version of the user's access record; 0: there is no record yet."""
    changed_at: datetime | None
    """When the access last changed."""
    resource: dict[str, Any]
    """The user as SCIM has it."""


class WhyQuery(Parameters):
    """Which entitlement."""

    kind: Name
    key: Name


class Link(Answer):
    """One membership along a path."""

    member_id: str
    group: NamedGroup
    since: datetime | None
    cause: Cause | None


class Chain(Answer):
    """One way in which the entitlement reaches the user."""

    source: Source
    links: tuple[Link, ...]
    """Memberships from the user to the mapped group."""
    cause: Cause | None
    """The event that saved the mapping, gave the grant, wrote the cost center, or would have taken
    what is kept."""


class Obstacle(Answer):
    """Something that keeps the user from holding the entitlement."""

    kind: str
    text: str
    """What it is, and what to do."""
    reasons: tuple[Reason, ...]
    groups: tuple[NamedGroup, ...]
    more: bool
    causes: tuple[Cause, ...]


class Why(Answer):
    """Why a user holds an entitlement, or what is missing."""

    held: EntitlementKey
    display_name: str | None
    """null: the catalog does not have it."""
    granted: bool
    """Whether the user holds it at this moment."""
    due: bool
    """Whether the directory, the mappings and the policy give it."""
    chains: tuple[Chain, ...]
    more: bool
    obstacles: tuple[Obstacle, ...]


class Change(Answer):
    """One change of the access."""

    at: datetime
    version: int
    gained: tuple[NamedEntitlement, ...]
    lost: tuple[NamedEntitlement, ...]
    before: State | None
    """null: the user was new."""
    after: State | None
    """null: the user was deleted."""
    cause: Cause


class Timeline(Answer):
    """A page of changes, the newest first."""

    changes: tuple[Change, ...]
    next_cursor: str | None


class PastQuery(Parameters):
    """When."""

    at: Moment


class PastAccess(Answer):
    """Access at a moment."""

    known: bool
    """Whether the stored history reaches back to that moment."""
    state: State | None
    """null where `known`: there was no such user, or no access was computed yet."""
    since: datetime | None
    until: datetime | None
    """null: it still holds."""
    cause: Cause | None


async def list_users(call: Call[UserQuery, None]) -> Users:
    """Users with their effective state."""
    query = call.query
    page = await reading.list_users(
        call.store,
        call.tenant_id,
        call.tenant.policy,
        query.q,
        call.pages.continuation(query.cursor),
        query.limit,
        query.source,
    )
    users = tuple(User(**_facts(one)) for one in page.rows)
    return Users(users=users, next_cursor=call.pages.cursor(page.next))


async def read_user(call: Call[Parameters, None]) -> DetailedUser:
    """One user: effective state with reasons, and every grant with its sources."""
    return detailed(await known_user(call))


async def why_user_holds(call: Call[WhyQuery, None]) -> Why:
    """The chain from the request to the grant; for what the user does not hold, what is missing."""
    user = (await known_user(call)).id
    held = EntitlementKey(kind=call.query.kind, key=call.query.key)
    answer = await why(call.store, call.tenant_id, user, held)
    if answer is None:
        raise absent("user")
    return Why.model_validate(answer)


async def list_changes(call: Call[Paged, None]) -> Timeline:
    """The changes of a user's access, the newest first."""
    user = (await known_user(call)).id
    after = call.pages.continuation(call.query.cursor)
    page = await history.timeline(call.store, call.tenant_id, user, after, call.query.limit)
    keys = [one for each in page.changes for one in (*each.gained, *each.lost)]
    names = await entitlement_names(call.store, call.tenant_id, keys)
    return Timeline(
        changes=tuple(_change(one, names) for one in page.changes),
        next_cursor=call.pages.cursor(page.continuation),
    )


async def read_past_access(call: Call[PastQuery, None]) -> PastAccess:
    """What a user's access was at a moment."""
    user, service = (await known_user(call)).id, call.deployment.service
    oldest = service.now() - timedelta(seconds=service.retention)
    found = await history.access_at(call.store, call.tenant_id, user, call.query.at, oldest)
    return PastAccess.model_validate(found)


async def known_user[Q, B](call: Call[Q, B]) -> UserDetail:
    """The user whom the path names. Raises Problem."""
    id, policy = call.path["userId"], call.tenant.policy
    found = await reading.read_user(call.store, call.tenant_id, policy, id)
    if found is None:
        raise absent("user")
    return found


def detailed(user: UserDetail) -> DetailedUser:
    """A user as the API shows one."""
    return DetailedUser(
        **_facts(user),
        advice=tuple(REASON_TEXTS[reason].remedy for reason in user.access.reasons),
        held=tuple(_held(one) for one in user.grants),
        groups=tuple(NamedGroup(group_id=id, name=name) for id, name in user.groups),
        more_groups=user.more_groups,
        version=user.version,
        changed_at=user.changed_at,
        resource=user.resource,
    )


def _facts(user: UserRow | UserDetail) -> dict[str, Any]:
    """What the list and the answer about one user have in common."""
    return {
        "user_id": user.id,
        "name": user.name,
        "user_name": user.user_name or None,
        "work_email": user.email or None,
        "external_id": user.external_id,
        "source": user.source,
        "enabled": user.access.enabled,
        "reasons": user.access.reasons,
        "pending": user.access.pending,
        "unreadable": isinstance(user, UserRow) and user.unreadable,
        "grants": len(user.access.grants),
    }


def _held(one: reading.Held) -> HeldGrant:
    sources = [
        Source.model_validate(
            {
                "type": source.type,
                "group_id": source.path[-1][0] if source.path else None,
                "mapping_version": source.mapping_version,
                "path": tuple(group for group, _ in source.path),
                "since": source.since,
                "event_id": source.event_id,
            }
        )
        for source in one.sources
    ]
    return HeldGrant(kind=one.kind, key=one.key, display_name=one.name, sources=tuple(sources))


def _change(one: history.AccessHistory, names: dict[EntitlementKey, str]) -> Change:
    change = one.change
    return Change(
        at=change.at,
        version=change.version,
        gained=named(one.gained, names),
        lost=named(one.lost, names),
        before=State.model_validate(change.before) if change.before else None,
        after=State.model_validate(change.after) if change.after else None,
        cause=Cause.model_validate(one.cause),
    )


OPERATIONS = (
    Operation("GET", "/users", list_users, Users, UserQuery),
    Operation("GET", "/users/{userId}", read_user, DetailedUser),
    Operation("GET", "/users/{userId}/why", why_user_holds, Why, WhyQuery),
    Operation("GET", "/users/{userId}/changes", list_changes, Timeline, Paged),
    Operation("GET", "/users/{userId}/past-access", read_past_access, PastAccess, PastQuery),
)
