"""Display names, read for a few documents at once."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from directory.documents import (
    Entitled,
    Entitlement,
    EntitlementKey,
    entitlement_id,
    group_id,
    user_id,
)
from directory.reading import read_all, readable
from directory.resources import StoredGroup, StoredUser
from directory.store import Store


class Named(Protocol):
    """Anything that names a catalog entry: a grant, or an entry of a mapping."""

    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...


async def entitlement_names(
    store: Store, tenant_id: str, wanted: Iterable[Named]
) -> dict[EntitlementKey, str]:
    """Display names; the key where the catalog no longer has it."""
    names = {EntitlementKey(one.kind, one.key): one.key for one in wanted}
    found = readable(await read_all(store, tenant_id, [entitlement_id(*key) for key in names]))
    for stored in found.values():
        entry = Entitlement.from_document(stored.document)
        names[entry.entitlement] = entry.display_name
    return names


class Granted(Entitled):
    """An entitlement that a group gives, named as the catalog names it."""

    display_name: str


def granted(
    entitlements: Iterable[EntitlementKey], names: Mapping[EntitlementKey, str]
) -> tuple[Granted, ...]:
    """Entitlements with their names."""
    return tuple(
        Granted(kind=one.kind, key=one.key, display_name=names[one]) for one in entitlements
    )


async def group_names(store: Store, tenant_id: str, groups: Iterable[str]) -> dict[str, str]:
    """Names of groups by SCIM id; groups that are gone or cannot be read are left out."""
    ids = list(dict.fromkeys(groups))
    found = readable(await read_all(store, tenant_id, [group_id(id) for id in ids]))
    return {
        id: StoredGroup.of(found[group_id(id)]).display_name for id in ids if group_id(id) in found
    }


async def user_names(store: Store, tenant_id: str, users: Iterable[str]) -> dict[str, str]:
    """Names of users by SCIM id; users who are gone or cannot be read are left out."""
    ids = list(dict.fromkeys(users))
    found = readable(await read_all(store, tenant_id, [user_id(id) for id in ids]))
    return {
        id: person_name(StoredUser.of(found[user_id(id)])) for id in ids if user_id(id) in found
    }


def person_name(user: StoredUser) -> str:
    """What to call a user; the id where there is no name at all."""
    name = user.resource.get("name") or {}
    whole = " ".join(name[part] for part in ("givenName", "familyName") if part in name)
    found = user.display_name or name.get("formatted") or whole
    return str(found or user.user_name or user.id)
