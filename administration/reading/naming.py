"""The names that people know things by, read for a handful of them at once."""

from collections.abc import Iterable
from typing import Protocol

from administration import catalog
from administration.people import name_of
from directory.documents import EntitlementKey, group_id, user_id
from directory.reading import read_all
from directory.store import Document, Store


class Named(Protocol):
    """Whatever names a catalog entry: a grant, an entry of a mapping."""

    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...


async def entitlement_names(
    store: Store, tenant_id: str, wanted: Iterable[Named]
) -> dict[tuple[str, str], str]:
    """(kind, key) → display name; the key where the catalog no longer has it."""
    keys = {(one.kind, one.key): EntitlementKey(kind=one.kind, key=one.key) for one in wanted}
    found = await catalog.entitlement_names(store, tenant_id, keys.values())
    return {pair: found.get(pair, pair[1]) for pair in keys}


async def group_names(store: Store, tenant_id: str, groups: Iterable[str]) -> dict[str, str]:
    """Names of groups by SCIM id; those that are gone are left out."""
    ids = list(dict.fromkeys(groups))
    found = await read_all(store, tenant_id, [group_id(id) for id in ids])
    return {
        id: str(found[group_id(id)].document["resource"]["displayName"])
        for id in ids
        if group_id(id) in found
    }


async def user_names(store: Store, tenant_id: str, users: Iterable[str]) -> dict[str, str]:
    """Names of users by SCIM id; those that are gone are left out."""
    ids = list(dict.fromkeys(users))
    found = await read_all(store, tenant_id, [user_id(id) for id in ids])
    return {
        id: person_name(found[user_id(id)].document["resource"])
        for id in ids
        if user_id(id) in found
    }


def person_name(resource: Document) -> str:
    """What to call a user; the id where there is no name at all."""
    return name_of(resource) or str(resource["id"])
