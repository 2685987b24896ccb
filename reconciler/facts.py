"""Reading the facts that access depends on: the only module that knows which documents they are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import batched

from directory.access import Access, ManualGrants, access_id, manual_grants_id
from directory.condition import All, Compare, OneOf
from directory.documents import Entitlement, EntitlementKey, entitlement_id, mapping_id, user_id
from directory.documents import Mapping as GroupMapping
from directory.nesting import groups_above
from directory.reading import every, read_all
from directory.resources import StoredUser
from directory.store import Query, Store, Stored, Unreadable
from directory.tenants import TENANT_ID, Policy
from reconciler.access import (
    COST_CENTER,
    ROLE,
    EffectiveAccess,
    Facts,
    app_roles,
    cost_center,
    current_access,
)

NAMES_PER_QUERY = 500


async def _read_facts(
    store: Store,
    tenant_id: str,
    users: Sequence[StoredUser],
    policy: Policy,
    groups: Sequence[str] = (),
) -> Facts:
    """The facts that the access of these users, and of other members of `groups`, depends on. One
    level of nested groups costs two round trips, everything else one, and one more where users'
    `roles` name catalog entries by display name."""
    ids = [user.id for user in users]
    groups_of = await groups_above(store, tenant_id, [*ids, *groups])
    mapped = set(groups).union(*groups_of.values())
    mappings = {mapping_id(group): group for group in mapped}
    keys = {key for user in users if (key := cost_center(user, policy))}
    entries = {entitlement_id(COST_CENTER, key): key for key in keys}
    names = {name for user in users for name in app_roles(user, policy)}
    roles = {entitlement_id(ROLE, name): name for name in names}
    by_hand = {manual_grants_id(id): id for id in ids}
    found = await read_all(store, tenant_id, [*mappings, *entries, *roles, *by_hand])
    of_keys = {name: EntitlementKey(ROLE, name) for id, name in roles.items() if id in found}
    beside = {
        user: ManualGrants.from_document(found[id].document)
        for id, user in by_hand.items()
        if id in found
    }
    return Facts(
        groups_of=groups_of,
        mappings={
            group: GroupMapping.from_document(found[id].document)
            for id, group in mappings.items()
            if id in found
        },
        policy=policy,
        cost_centers=frozenset(key for id, key in entries.items() if id in found),
        app_roles=await _roles_called(store, tenant_id, names - of_keys.keys()) | of_keys,
        manual={user: one.grants for user, one in beside.items()},
        kept={user: one.kept for user, one in beside.items() if one.kept},
    )


async def _roles_called(
    store: Store, tenant_id: str, names: Iterable[str]
) -> dict[str, EntitlementKey]:
    """Display name → the catalog's role; a name that several roles have is left out."""
    found: dict[str, list[EntitlementKey]] = {}
    for some in batched(sorted(names), NAMES_PER_QUERY, strict=False):
        where = All((Compare(("kind",), "eq", ROLE), OneOf(("displayName",), some)))
        async for entry in every(store, tenant_id, Query("Entitlement", where, limit=1000)):
            role = Entitlement.from_document(entry.document)
            found.setdefault(role.display_name, []).append(EntitlementKey(role.kind, role.key))
    return {name: roles[0] for name, roles in found.items() if len(roles) == 1}


@dataclass(frozen=True, slots=True)
class Truth:
    """Some users and the facts that their access depends on, as read at one moment."""

    users: dict[str, StoredUser]
    """SCIM id → user; those who do not exist are left out."""
    facts: Facts
    also: dict[str, Stored]
    """The other documents that were asked for, by id."""
    protected_since: str = ""
    """`Tenant.protected_since`."""


async def read_truth(
    store: Store,
    tenant_id: str,
    ids: Sequence[str],
    *,
    also: Sequence[str] = (),
    groups: Sequence[str] = (),
    under: Callable[[Policy], Policy] = lambda policy: policy,
) -> Truth:
    """These users (SCIM ids) and the facts that their access depends on, all at most as old as this
    call. `also` are ids of documents to read in the first round trip; the facts include the members
    of `groups`. `under` gives the policy that decides which facts are read. Raises Unreadable."""
    found = await read_all(store, tenant_id, [TENANT_ID, *map(user_id, ids), *also])
    policy = Policy.model_validate(found[TENANT_ID].document.get("policy", {}))
    users = {id: StoredUser.of(found[user_id(id)]) for id in ids if user_id(id) in found}
    facts = await _read_facts(store, tenant_id, list(users.values()), under(policy), groups)
    return Truth(
        users,
        replace(facts, policy=policy),
        {id: found[id] for id in also if id in found},
        found[TENANT_ID].document.get("protectedSince", ""),
    )


def known_access(record: Stored | None) -> Access | None:
    """The access record; None where it is missing or unreadable."""
    try:
        return Access.from_document(record.document) if record else None
    except Unreadable:
        return None


@dataclass(frozen=True, slots=True)
class Current:
    """A user with the current access."""

    user: StoredUser
    record: Access | None
    """None: nothing was computed yet."""
    access: EffectiveAccess


async def read_current(store: Store, tenant_id: str, user: str, policy: Policy) -> Current | None:
    """A user (SCIM id) with the `current_access`, in one round trip; None where there is no such
    user. Raises Unreadable."""
    found = await store.read_many(tenant_id, [user_id(user), access_id(user)])
    if user_id(user) not in found:
        return None
    stored, record = StoredUser.of(found[user_id(user)]), found.get(access_id(user))
    access = Access.from_document(record.document) if record else None
    return Current(stored, access, current_access(access, stored, policy))
