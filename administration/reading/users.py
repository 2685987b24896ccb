"""Users as administrators see them: a list with everybody's effective state, and one user with
every grant and where it comes from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from administration.errors import AdministrationError
from administration.reading.naming import entitlement_names, group_names, person_name
from administration.reading.paging import MOST_PER_PAGE, PAGE, PageOf
from administration.reading.records import ShownAccess, shown_access
from directory.access import Grant, GrantSource, access_id
from directory.completeness import work_email
from directory.condition import EVERYTHING, All, AnyElement, Compare, Condition, Either
from directory.documents import Key, is_resource_id, key_id, user_id
from directory.reading import read_all
from directory.resources import StoredMembership, StoredUser
from directory.store import NEWEST_FIRST, Document, Order, Query, Store
from directory.tenants import Policy
from reconciler.access import EffectiveAccess
from reconciler.facts import read_current
from scim.protocol.scalars import fold, folds

GROUPS_OF_USER = 200
"""The most direct groups that a user's page shows."""

type UserSource = Literal["scim", "manual"]
"""`manual`: made by hand, and not yet adopted by Entra ID."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user in the list."""

    id: str
    name: str
    user_name: str
    email: str
    external_id: str | None
    source: UserSource
    access: EffectiveAccess
    unreadable: bool = False
    """Whether the record of the access cannot be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """One reason why a user holds a grant. `path` holds (id, name) of each group from the user's
    direct group to the mapped one; a group that is gone has no name."""

    type: str
    path: tuple[tuple[str, str | None], ...] = ()
    mapping_version: int | None = None
    since: datetime | None = None
    """Of a kept grant: when it would have been lost."""
    event_id: str | None = None
    """Of a kept grant: the event that would have taken it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A grant with its name and every source."""

    kind: str
    key: str
    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class UserDetail:
    """One user."""

    id: str
    name: str
    user_name: str
    email: str
    external_id: str | None
    source: UserSource
    resource: Document
    access: EffectiveAccess
    grants: tuple[Held, ...]
    groups: tuple[tuple[str, str], ...]
    """(id, name) of the groups that the user is a direct member of."""
    more_groups: bool
    version: int
    changed_at: datetime | None


async def list_users(
    store: Store,
    tenant_id: str,
    policy: Policy,
    text: str = "",
    after: str | None = None,
    limit: int = PAGE,
    source: UserSource | None = None,
) -> PageOf[UserRow]:
    """Users whose name, userName or e-mail address contains `text`, by userName; without a text all
    users, the newest first. With `source`, only users from there. Raises BadContinuation for an
    `after` that is not of this list."""
    where = matching(text)
    if source is not None:
        where = All((Compare(("source",), "eq", source), where))
    query = Query(
        "User",
        where,
        order=(Order(("search", "userName")),) if text else NEWEST_FIRST,
        limit=min(limit, MOST_PER_PAGE),
        continuation=after,
    )
    page = await store.query(tenant_id, query)
    users = [StoredUser.of(stored) for stored in page.items]
    return PageOf(await _rows(store, tenant_id, policy, users), page.continuation)


def matching(text: str) -> Condition:
    """Users whose name, userName or e-mail address contains a text, in any case."""
    if not text:
        return EVERYTHING
    folded = fold(text)
    return Either(
        (
            Compare(("search", "displayName"), "co", folded),
            Compare(("search", "userName"), "co", folded),
            Compare(("search", "name", "givenName"), "co", folded),
            Compare(("search", "name", "familyName"), "co", folded),
            AnyElement(("search", "emails"), Compare(("value",), "co", folded)),
        )
    )


async def find_user(store: Store, tenant_id: str, who: str) -> StoredUser:
    """A stored user by SCIM id, userName or externalId, looked for in this order. Raises
    AdministrationError where there is none."""
    names = [*(("userName", form) for form in folds(who)), ("externalId", who)]
    keys = [key_id("User", attribute, value) for attribute, value in names]
    reserved = await store.read_many(tenant_id, keys)
    owners = [Key.from_document(reserved[key].document) for key in keys if key in reserved]
    ids = [user_id(owner.resource_id) for owner in owners]
    if is_resource_id(who):
        ids.insert(0, user_id(who))
    found = await store.read_many(tenant_id, ids) if ids else {}
    for id in ids:
        if id in found:
            return StoredUser.of(found[id])
    raise AdministrationError(
        f"{tenant_id} has no user {who[:200]!r}. A user is named by id, userName or externalId."
    )


async def find_row(store: Store, tenant_id: str, policy: Policy, who: str) -> UserRow:
    """The user that `find_user` finds, as a row of the list. Raises AdministrationError."""
    user = await find_user(store, tenant_id, who)
    (row,) = await _rows(store, tenant_id, policy, [user])
    return row


async def _rows(
    store: Store, tenant_id: str, policy: Policy, users: list[StoredUser]
) -> tuple[UserRow, ...]:
    ids = [access_id(user.id) for user in users]
    records = await read_all(store, tenant_id, ids)
    return tuple(
        _row(user, shown_access(records.get(id), user, policy))
        for user, id in zip(users, ids, strict=True)
    )


def _row(user: StoredUser, shown: ShownAccess) -> UserRow:
    return UserRow(
        id=user.id,
        name=person_name(user),
        user_name=user.user_name or "",
        email=work_email(user.resource) or "",
        external_id=user.external_id,
        source=user.source,
        access=shown.access,
        unreadable=shown.unreadable,
    )


async def read_user(store: Store, tenant_id: str, policy: Policy, id: str) -> UserDetail | None:
    """One user at this moment, or None where there is none."""
    if not is_resource_id(id):
        return None
    found = await read_current(store, tenant_id, id, policy)
    if found is None:
        return None
    user, stored, access = found.user, found.record, found.access
    edges = await store.query(
        tenant_id,
        Query(
            "Membership",
            Compare(("memberId",), "eq", id),
            fields=("groupId",),
            limit=GROUPS_OF_USER,
        ),
    )
    direct = [StoredMembership.of(edge).group_id for edge in edges.items]
    paths = [group for grant in access.grants for s in grant.sources for group in s.path]
    names = await group_names(store, tenant_id, [*direct, *paths])
    return UserDetail(
        id=id,
        name=person_name(user),
        user_name=user.user_name or "",
        email=work_email(user.resource) or "",
        external_id=user.external_id,
        source=user.source,
        resource=user.resource,
        access=access,
        grants=await held(store, tenant_id, access.grants, names),
        groups=tuple((group, names[group]) for group in direct if group in names),
        more_groups=edges.continuation is not None,
        version=stored.version if stored else 0,
        changed_at=stored.changed_at if stored else None,
    )


async def held(
    store: Store, tenant_id: str, grants: tuple[Grant, ...], groups: dict[str, str]
) -> tuple[Held, ...]:
    """Grants with their names, by kind and name; `groups` has the names of the groups in them."""
    names = await entitlement_names(store, tenant_id, grants)
    shown = [
        Held(
            grant.kind,
            grant.key,
            names[grant.entitlement],
            tuple(_source(source, groups) for source in grant.sources),
        )
        for grant in grants
    ]
    return tuple(sorted(shown, key=lambda one: (one.kind, one.name)))


def _source(source: GrantSource, groups: dict[str, str]) -> Source:
    path = tuple((group, groups.get(group)) for group in source.path)
    return Source(source.type, path, source.mapping_version, source.since, source.event_id)
