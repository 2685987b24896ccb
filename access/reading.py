"""Reading the effective access of users as it is at this moment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from directory.access import access_id
from directory.condition import EVERYTHING, Compare
from directory.documents import (
    Entitlement,
    EntitlementKey,
    Key,
    entitlement_id,
    is_resource_id,
    user_id,
)
from directory.lanes import apart
from directory.reading import read_all, readable
from directory.resources import StoredUser
from directory.store import (
    BadContinuation,
    Damaged,
    NotFound,
    Query,
    Store,
    Stored,
    member,
)
from directory.tenants import Tenant
from reconciler.access import current_access
from reconciler.facts import Current, known_access, read_current
from scim.protocol.comparison import stored_forms
from scim.protocol.schema import ResourceType
from web.trouble import Trouble

MOST = 1_000
"""Users of an answer."""
MOST_GRANTS = 50_000
"""Grants of an answer to several users; a page of everybody ends there."""
CHUNK = 250
"""Users whose records are read at once."""
_STEPS_PER_USER = 60
_STEPS_PER_GRANT = 25


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which users of a page; None: whichever."""

    enabled: bool | None = None
    grant: EntitlementKey | None = None
    changed_since: datetime | None = None

    def fits(self, found: Current) -> bool:
        """Whether the user is one of them. Whose record lags behind is about to change."""
        access, record = found.access, found.record
        if self.enabled is not None and access.enabled is not self.enabled:
            return False
        if self.grant is not None and self.grant not in {
            grant.entitlement for grant in access.grants
        }:
            return False
        if self.changed_since is None or access.pending or record is None:
            return True
        return record.changed_at >= self.changed_since


class AccessReader:
    """Answers "what may this user do?" for the application. The users' own documents are read with
    the records, so that a deactivation shows from the moment it was answered (product, section 5).
    """

    def __init__(self, store: Store, user_type: ResourceType) -> None:
        self._store = store
        self._user_type = user_type

    async def of_user(self, tenant: Tenant, user: str) -> dict[str, Any] | None:
        """The access of a user by SCIM id, as the access API shows it; None where there is no
        such user. Raises Unreadable where the user or the record cannot be read."""
        if not is_resource_id(user):
            return None
        found = await read_current(self._store, tenant.tenant_id, user, tenant.policy)
        if found is None:
            return None
        (shown,) = await self._shown(tenant, [found])
        return shown

    async def by_unique(self, tenant: Tenant, attribute: str, value: str) -> dict[str, Any] | None:
        """The access of the user who holds a `userName` (in any case) or an `externalId`."""
        definition = self._user_type.attributes[attribute.lower()]
        for form in stored_forms(definition, value):
            key = Key.reserve(tenant.tenant_id, "User", attribute, str(form), "")
            try:
                stored = await self._store.read(tenant.tenant_id, key.document_id)
            except NotFound:
                continue
            return await self.of_user(tenant, Key.from_document(stored.document).resource_id)
        return None

    async def several(
        self, tenant: Tenant, users: Iterable[str]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The access of users by SCIM id, in this order, and the ids that no user has. Two round
        trips for 1,000 users, and what the names of their entitlements take. One that cannot be
        read is in neither. Raises Trouble for more than MOST_GRANTS."""
        wanted = list(dict.fromkeys(users))
        found: list[Current] = []
        present: set[str] = set()
        known = [id for id in wanted if is_resource_id(id)]
        for ids in batched(known, MOST // 2, strict=False):
            keys = [key for id in ids for key in (user_id(id), access_id(id))]
            stored = await self._store.read_many(tenant.tenant_id, keys)
            here = {id: stored[user_id(id)] for id in ids if user_id(id) in stored}
            present.update(here)
            pairs = [
                (StoredUser.of(one), stored.get(access_id(id)))
                for id, one in readable(here).items()
            ]
            found += await self._current(tenant, pairs)
            if len(found) > 1 and _grants(found) > MOST_GRANTS:
                raise Trouble(
                    413,
                    f"These users hold more than {MOST_GRANTS:,} grants together, the most in one "
                    "answer. Ask for fewer of them at once.",
                )
        return await self._shown(tenant, found), [id for id in wanted if id not in present]

    async def everybody(
        self, tenant: Tenant, after: str | None, limit: int, wanted: Wanted
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of users behind a place, in the order in which they were made, and the place of
        the next page. It looks at `limit` users: one query, a round trip for each CHUNK of their
        records, and what the names of their entitlements take. A user or a record that cannot be
        read is in the log; the one is left out, the other is pending. Raises BadContinuation."""
        if after is not None and not is_resource_id(after):
            raise BadContinuation
        behind = Compare(("id",), "gt", user_id(after)) if after else EVERYTHING
        query = Query("User", behind, fields=("resource", "source"), limit=limit, damaged=True)
        page = await self._store.query(tenant.tenant_id, query)
        found: list[Current] = []
        looked_at = 0
        for chunk in batched(page.items, CHUNK, strict=False):
            users = [StoredUser.of(each) for each in chunk if not isinstance(each, Damaged)]
            ids = [access_id(user.id) for user in users]
            records = await self._store.read_many(tenant.tenant_id, ids)
            pairs = [(user, records.get(id)) for user, id in zip(users, ids, strict=True)]
            found += await self._current(tenant, pairs)
            looked_at += len(chunk)
            if _grants(found) > MOST_GRANTS:
                break
        shown = await self._shown(tenant, [one for one in found if wanted.fits(one)])
        if page.continuation is None and looked_at == len(page.items):
            return shown, None
        last = str(member(page.items[looked_at - 1], "id"))
        return shown, last.removeprefix(user_id(""))

    async def _current(
        self, tenant: Tenant, pairs: Sequence[tuple[StoredUser, Stored | None]]
    ) -> list[Current]:
        """What the records say of users at this moment."""
        sizes = [member(record, "grants") for _, record in pairs if record is not None]
        size = sum(len(each) for each in sizes if isinstance(each, list)) * _STEPS_PER_GRANT

        def compute() -> list[Current]:
            known = [(user, known_access(stored)) for user, stored in pairs]
            return [
                Current(user, record, current_access(record, user, tenant.policy))
                for user, record in known
            ]

        return await apart(tenant.tenant_id, size + len(pairs) * _STEPS_PER_USER, compute)

    async def _shown(self, tenant: Tenant, found: Sequence[Current]) -> list[dict[str, Any]]:
        """Users as the API shows them, with the names of their entitlements."""
        held = {grant.entitlement for one in found for grant in one.access.grants}
        ids = [entitlement_id(*one) for one in held]
        catalog = readable(await read_all(self._store, tenant.tenant_id, ids))
        entries = [Entitlement.from_document(entry.document) for entry in catalog.values()]
        names = {EntitlementKey(entry.kind, entry.key): entry.display_name for entry in entries}
        size = _grants(found) * _STEPS_PER_GRANT + len(found) * _STEPS_PER_USER
        return await apart(tenant.tenant_id, size, lambda: [_answer(one, names) for one in found])


def _grants(found: Sequence[Current]) -> int:
    return sum(len(one.access.grants) for one in found)


def _answer(found: Current, names: Mapping[EntitlementKey, str]) -> dict[str, Any]:
    user, access, record = found.user, found.access, found.record
    return {
        "id": user.id,
        "userName": user.user_name,
        "externalId": user.external_id,
        "enabled": access.enabled,
        "reasons": list(access.reasons),
        "pending": access.pending,
        "grants": [
            {
                "kind": grant.kind,
                "key": grant.key,
                "displayName": names.get(grant.entitlement, grant.key),
                "sources": [
                    source.model_dump(mode="json", by_alias=True, exclude_none=True)
                    for source in grant.sources
                ],
            }
            for grant in access.grants
        ],
        "version": record.version if record else 0,
        "changedAt": record.model_dump(mode="json")["changed_at"] if record else None,
    }
