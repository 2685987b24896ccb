"""Finding the users that an application asks about, by SCIM id, externalId or userName."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Literal, NamedTuple

from access.currently import MOST_GRANTS, Pair, current_of, stored_grants
from directory.access import access_id
from directory.documents import Key, is_resource_id, user_id
from directory.reading import read_all
from directory.resources import StoredUser
from directory.store import Damaged, Store, Unreadable
from directory.tenants import Tenant
from reconciler.facts import Current
from scim.protocol.comparison import stored_forms
from scim.protocol.schema import ResourceType
from web.trouble import Trouble

type Unique = Literal["externalId", "userName"]
type Identifier = Literal["id", "externalId", "userName"]
UNIQUE: tuple[Unique, ...] = ("externalId", "userName")
"""Attributes in the order in which a name is looked up, if it is not a SCIM id."""
CHUNK = 50
"""Users in one read; with the largest mapping they hold MOST_GRANTS together."""


class Named(NamedTuple):
    """The name of a user in a request."""

    name: str
    identifier: Identifier | None = None
    """The kind of the name. None: it is looked up as a SCIM id, then in the order of UNIQUE."""


class Subjects:
    """Finds users with their current access, who hold `most_grants` together at most."""

    def __init__(
        self, store: Store, user_type: ResourceType, *, most_grants: int = MOST_GRANTS
    ) -> None:
        self._store = store
        self._user_type = user_type
        self._most_grants = most_grants

    async def find(
        self, tenant: Tenant, names: Iterable[Named]
    ) -> dict[Named, Current | Unreadable]:
        """The users with these names; unknown names are left out. Takes one round trip of two point
        reads each for a CHUNK of SCIM ids, and one more for other names. Raises Trouble where the
        users hold more than `most_grants` together."""
        wanted = dict.fromkeys(names)
        ids = {
            one: one.name
            for one in wanted
            if one.identifier in (None, "id") and is_resource_id(one.name)
        }
        found = await self._current(tenant, ids)
        others = [one for one in wanted if one not in found]
        owners = await self.owners(tenant.tenant_id, others)
        broken = {one: owner for one, owner in owners.items() if isinstance(owner, Unreadable)}
        ids = {one: owner for one, owner in owners.items() if isinstance(owner, str)}
        return found | broken | await self._current(tenant, ids)

    async def owners(self, tenant_id: str, names: Sequence[Named]) -> dict[Named, str | Unreadable]:
        """The SCIM ids of the users with these names, in one round trip."""
        keys = {one: self._keys(tenant_id, one) for one in names}
        stored = await read_all(
            self._store, tenant_id, [*dict.fromkeys(id for ids in keys.values() for id in ids)]
        )
        found: dict[Named, str | Unreadable] = {}
        for one, ids in keys.items():
            if (key := next((stored[id] for id in ids if id in stored), None)) is None:
                continue
            if isinstance(key, Damaged):
                found[one] = key.error
            else:
                found[one] = Key.from_document(key.document).resource_id
        return found

    def _keys(self, tenant_id: str, named: Named) -> list[str]:
        """Document ids of the reservations that a name may have, in the order of lookup."""
        attributes = [each for each in UNIQUE if named.identifier in (None, each)]
        return [
            Key.reserve(tenant_id, "User", attribute, str(form), "").document_id
            for attribute in attributes
            for form in stored_forms(self._user_type.attributes[attribute.lower()], named.name)
        ]

    async def _current(
        self, tenant: Tenant, ids: Mapping[Named, str]
    ) -> dict[Named, Current | Unreadable]:
        found: dict[str, Current | Unreadable] = {}
        pairs: list[Pair] = []
        for some in batched(dict.fromkeys(ids.values()), CHUNK, strict=False):
            keys = [key for id in some for key in (user_id(id), access_id(id))]
            stored = await self._store.read_many(tenant.tenant_id, keys)
            for id in some:
                user = stored.get(user_id(id))
                if isinstance(user, Damaged):
                    found[id] = user.error
                elif user is not None:
                    pairs.append((StoredUser.of(user), stored.get(access_id(id))))
            if len(pairs) > 1 and stored_grants(pairs) > self._most_grants:
                raise too_many_grants(self._most_grants)
        found |= {one.user.id: one for one in await current_of(tenant, pairs)}
        return {named: found[id] for named, id in ids.items() if id in found}


def too_many_grants(most: int) -> Trouble:
    """The error for users who hold more than `most` grants, which one answer may show."""
    return Trouble(
        413,
        f"These users hold more than {most:,} grants together, the most in one answer. Ask "
        "for fewer of them at once.",
    )
