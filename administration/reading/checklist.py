"""How far the set-up of a customer's Entra ID is, judged by its requests."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from administration.reading.refusals import all_refusals
from administration.tokens import ListedToken
from directory.completeness import missing
from directory.condition import Compare
from directory.reading import every
from directory.reasons import REQUIRED, Reason
from directory.refusals import Refusal
from directory.resources import StoredUser
from directory.seen import Seen
from directory.store import NEWEST_FIRST, Query, Store
from directory.tenants import Tenant
from scim.seeing import Step
from trust.tokens import is_live

SAMPLE = 50
"""How many of the newest users are looked at."""
PATIENCE = timedelta(hours=1)
"""This long after the first user, it is a mistake if nothing was matched, or no member came."""

type State = Literal["done", "waiting", "wrong"]


@dataclass(frozen=True, slots=True)
class Item:
    """One step. `says` is what was seen, and, where the state is `wrong`, what to do about it."""

    key: str
    title: str
    state: State
    says: str
    at: datetime | None = None
    """When it was last seen, where that is known."""


@dataclass(frozen=True, slots=True)
class _Observed:
    """Everything that the steps are judged by."""

    tenant: Tenant
    now: datetime
    seen: Mapping[str, datetime]
    users: Sequence[Mapping[str, Any]]
    has_groups: bool
    tokens: Sequence[ListedToken]
    refused: Sequence[Refusal]

    def at(self, *steps: Step) -> datetime | None:
        """When one of these was last seen."""
        return max((self.seen[step] for step in steps if step in self.seen), default=None)


async def read_checklist(
    store: Store, tenant: Tenant, tokens: Sequence[ListedToken], now: datetime
) -> list[Item]:
    """Every step, in the order in which they are done; `tokens` are the tenant's. It reads the
    newest users, and what was refused: a number of documents that does not grow with the
    organisation."""
    tenant_id = tenant.tenant_id
    provisioned = Query(
        "User", Compare(("source",), "eq", "scim"), NEWEST_FIRST, ("resource",), SAMPLE
    )
    users, groups, refused, seen = await asyncio.gather(
        store.query(tenant_id, provisioned),
        store.query(tenant_id, Query("Group", fields=(), limit=1)),
        all_refusals(store, tenant_id),
        _seen(store, tenant_id),
    )
    observed = _Observed(
        tenant,
        now,
        seen,
        [StoredUser.of(stored).resource for stored in users.items],
        bool(groups.items),
        tokens,
        refused,
    )
    return [*_connecting(observed), *_users(observed), *_groups(observed), _refusals(observed)]


async def _seen(store: Store, tenant_id: str) -> dict[str, datetime]:
    """When each step was last seen, over all connections."""
    found: dict[str, datetime] = {}
    async for stored in every(store, tenant_id, Query("Seen")):
        found = Seen.from_document(stored.document).with_more(found).steps
    return found


def _connecting(observed: _Observed) -> Iterator[Item]:
    users, groups = observed.at("usersSought"), observed.at("groupsSought")
    yield _step("usersSought", "Test Connection asks for users", users, "Press Test Connection.")
    yield _step("groupsSought", "Test Connection asks for groups", groups, "Press Test Connection.")
    lasting = [one for one in observed.tokens if one.kind == "scim" and not one.of_program]
    used = [one for one in lasting if one.last_used]
    last = max(used, key=lambda one: one.last_used or observed.now, default=None)
    if (users or lasting) and not _may_come_in(observed, lasting):
        says = "None is live any more: make a new one, enter it in Entra ID, press Test Connection."
        yield Item("credential", "Credential in use", "wrong", says, users)
    elif last is not None:
        says = f"Token {last.token.token_id}{f' ({last.token.note})' if last.token.note else ''}."
        yield Item("credential", "Credential in use", "done", says, last.last_used)
    elif users:
        says = "Entra ID's own token, or that of an OAuth client."
        yield Item("credential", "Credential in use", "done", says, users)
    else:
        yield Item("credential", "Credential in use", "waiting", "No request so far.")
    if observed.tenant.provisioning == "enabled":
        yield Item("enabled", "Provisioning is enabled here", "done", "")
    else:
        says = "Writes are refused until you enable it: at the top of the page Set-up."
        yield Item("enabled", "Provisioning is enabled here", "waiting", says)


def _may_come_in(observed: _Observed, tokens: Sequence[ListedToken]) -> bool:
    """Whether any credential of a connection is live."""
    tenant, now = observed.tenant, observed.now
    if (tenant.directory_id and tenant.entra.accepted) or any(one.live for one in tokens):
        return True
    clients = [each.client for each in tenant.connections if each.client]
    return any(
        one.federation or any(is_live(secret, now) for secret in one.secrets) for one in clients
    )


_MAPPED: Mapping[Reason, tuple[str, str]] = {
    "userNameMissing": ("userName", "userPrincipalName"),
    "givenNameMissing": ("givenName", "givenName"),
    "familyNameMissing": ("familyName", "surname"),
    "workEmailMissing": ("workEmail", "mail"),
}
"""Attribute that every user needs → the key of its step, and Entra ID's attribute."""


def _users(observed: _Observed) -> Iterator[Item]:
    created = observed.at("userCreated")
    if not observed.users:
        yield _step("user", "The first user", None, "Assign people or groups, then start.")
        return
    yield Item("user", "The first user", "done", "Users have arrived.", created)
    everybody = len(observed.users)
    known = sum("externalId" in user for user in observed.users)
    mapping = "objectId to externalId, as the first matching attribute"
    yield _arriving("externalId", "externalId", mapping, known, everybody)
    lacking = Counter(each for user in observed.users for each in missing(user))
    for reason, required in REQUIRED.items():
        key, mapped = _MAPPED[reason]
        mapping = f"{mapped} to {required.shown}"
        yield _arriving(key, required.shown, mapping, everybody - lacking[reason], everybody)
    yield _active(observed)
    yield _matching(
        "userMatch",
        "Users are matched by their object id",
        observed.at("userByExternalId"),
        observed.at("userByUserName", "userByEmail"),
        "Entra ID looks users up by their name or e-mail address only: a renamed user is "
        "created again. Map objectId to externalId and make it the first matching attribute.",
    )


def _arriving(key: str, attribute: str, mapping: str, having: int, all_of: int) -> Item:
    of = f"{having} of {'the newest ' if all_of == SAMPLE else ''}{all_of} users have it."
    title = f"{attribute} arrives"
    if having == all_of:
        return Item(key, title, "done", of)
    if having:
        says = f"{of} Fill it in in Entra ID for the others."
        return Item(key, title, "wrong", says)
    return Item(key, title, "wrong", f"No user has it. Map {mapping}.")


def _active(observed: _Observed) -> Item:
    title, on, off = "active arrives", observed.at("activeTrue"), observed.at("activeFalse")
    if on and off:
        return Item("active", title, "done", "True and false were both seen.", max(on, off))
    if on or off:
        says = "Only true was seen so far: disable or unassign a test user to see false."
        if off:
            says = "Only false was seen so far. Check that the mapping of active is Entra ID's own."
        return Item("active", title, "waiting" if on else "wrong", says, on or off)
    if not observed.at("userCreated"):
        return Item("active", title, "waiting", "No user was created since this was looked for.")
    return Item(
        "active",
        title,
        "wrong",
        "No request has said who is active, so nobody is ever disabled. Map Switch([IsSoftDeleted]"
        ', , "False", "True", "True", "False") to active.',
    )


def _matching(
    key: str, title: str, well: datetime | None, otherwise: datetime | None, remedy: str
) -> Item:
    if well:
        return Item(key, title, "done", "", well)
    if otherwise:
        return Item(key, title, "wrong", remedy, otherwise)
    return Item(key, title, "waiting", "No look-up was seen so far.")


def _groups(observed: _Observed) -> Iterator[Item]:
    if not observed.has_groups:
        says = "Assign the groups that give access; assign each nested group, too."
        yield _step("group", "The first group", None, says)
        return
    created = observed.at("groupCreated")
    yield Item("group", "The first group", "done", "Groups have arrived.", created)
    yield _matching(
        "groupMatch",
        "Groups are matched by their object id",
        observed.at("groupByExternalId"),
        observed.at("groupByDisplayName"),
        "Entra ID looks groups up by name only: two groups with one name become one, and a "
        "renamed one is created again. Map objectId to externalId and make it the matching "
        "attribute.",
    )
    added = observed.at("memberAdded")
    if added:
        yield Item("members", "Members arrive", "done", "", added)
    elif created and observed.now - created > PATIENCE:
        says = (
            "Groups came, and no member in an hour. Assign groups that have direct members (those "
            "of groups inside them are not sent), and map members."
        )
        yield Item("members", "Members arrive", "wrong", says)
    else:
        yield Item("members", "Members arrive", "waiting", "No member so far.")


def _refusals(observed: _Observed) -> Item:
    title = "Nothing is refused"
    since = observed.now - timedelta(days=1)
    recent = [one for one in observed.refused if one.last_at > since]
    if not recent:
        return Item("refused", title, "done", "Nothing in the last 24 hours.")
    most = max(recent, key=lambda one: one.count)
    says = f"{len(recent)} kinds of requests in the last 24 hours. Most often: {most.detail}"
    return Item("refused", title, "wrong", says, recent[0].last_at)


def _step(key: str, title: str, at: datetime | None, otherwise: str) -> Item:
    return Item(key, title, "done", "", at) if at else Item(key, title, "waiting", otherwise)
