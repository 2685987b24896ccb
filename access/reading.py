"""Reading the current effective access of users."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from access.currently import MOST_GRANTS, STEPS_PER_GRANT, STEPS_PER_USER, current_of
from access.subjects import CHUNK, Named, Subjects, Unique, too_many_grants
from directory.access import access_id
from directory.condition import EVERYTHING, Compare
from directory.documents import (
    Entitlement,
    EntitlementKey,
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
    Query,
    Store,
    Unreadable,
    member,
)
from directory.tenants import Tenant
from reconciler.facts import Current, read_current
from scim.protocol.schema import ResourceType

MOST = 1_000
"""The most users in one answer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter on the users of a page; None: any value."""

    enabled: bool | None = None
    grant: EntitlementKey | None = None
    changed_since: datetime | None = None

    def fits(self, found: Current) -> bool:
        """Whether the user passes the filter. A user whose record lags behind counts as
        changed."""
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
    """Answers "what may this user do?" for the application. Users' documents are read together with
    the records, so that a deactivation counts from the moment it was answered (product, section 5).
    An answer about several users holds `most_grants` at most; a page reads `chunk` records at once.
    """

    def __init__(
        self,
        store: Store,
        user_type: ResourceType,
        *,
        chunk: int = CHUNK,
        most_grants: int = MOST_GRANTS,
    ) -> None:
        self._store = store
        self._chunk = chunk
        self._most_grants = most_grants
        self.subjects = Subjects(store, user_type, most_grants=most_grants)

    async def of_user(self, tenant: Tenant, user: str) -> dict[str, Any] | None:
        """The access of a user (SCIM id) in the form of the access API; None where there is no such
        user. Raises Unreadable where the user or the record is unreadable."""
        if not is_resource_id(user):
            return None
        found = await read_current(self._store, tenant.tenant_id, user, tenant.policy)
        if found is None:
            return None
        (shown,) = await self._shown(tenant, [found])
        return shown

    async def by_unique(
        self, tenant: Tenant, attribute: Unique, value: str
    ) -> dict[str, Any] | None:
        """The access of the user who holds a `userName` (in any case) or an `externalId`."""
        named = Named(value, attribute)
        owner = (await self.subjects.owners(tenant.tenant_id, [named])).get(named)
        if isinstance(owner, Unreadable):
            raise owner
        return None if owner is None else await self.of_user(tenant, owner)

    async def several(
        self, tenant: Tenant, users: Iterable[str]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The access of users by SCIM id, in this order, and the ids that no user has; an
        unreadable user is in neither list. Takes two round trips for 1,000 users, and those for the
        names of their entitlements. Raises Trouble for more than `most_grants`."""
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
            found += await current_of(tenant, pairs)
            if len(found) > 1 and _grants(found) > self._most_grants:
                raise too_many_grants(self._most_grants)
        return await self._shown(tenant, found), [id for id in wanted if id not in present]

    async def everybody(
        self, tenant: Tenant, after: str | None, limit: int, wanted: Wanted
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The users of a page in the form of the access API, and the cursor of the next page. Costs
        what `page` costs, and the round trips for the names of entitlements. Raises
        BadContinuation."""
        found, cursor = await self.page(tenant, after, limit, wanted)
        return await self._shown(tenant, found), cursor

    async def page(
        self, tenant: Tenant, after: str | None, limit: int, wanted: Wanted
    ) -> tuple[list[Current], str | None]:
        """Those of the `limit` users after a cursor (None or empty: from the start) that fit, in
        the order in which they were created, and the cursor of the next page. Takes one query, and
        a round trip for each `chunk` of records. Unreadable users are logged and left out; with an
        unreadable record a user is pending. Raises BadContinuation."""
        if after and not is_resource_id(after):
            raise BadContinuation
        behind = Compare(("id",), "gt", user_id(after)) if after else EVERYTHING
        query = Query("User", behind, fields=("resource", "source"), limit=limit, damaged=True)
        page = await self._store.query(tenant.tenant_id, query)
        found: list[Current] = []
        looked_at = 0
        for chunk in batched(page.items, self._chunk, strict=False):
            users = [StoredUser.of(each) for each in chunk if not isinstance(each, Damaged)]
            ids = [access_id(user.id) for user in users]
            records = await self._store.read_many(tenant.tenant_id, ids)
            pairs = [(user, records.get(id)) for user, id in zip(users, ids, strict=True)]
            found += await current_of(tenant, pairs)
            looked_at += len(chunk)
            if _grants(found) > self._most_grants:
                break
        fitting = [one for one in found if wanted.fits(one)]
        if page.continuation is None and looked_at == len(page.items):
            return fitting, None
        last = str(member(page.items[looked_at - 1], "id"))
        return fitting, last.removeprefix(user_id(""))

    async def _shown(self, tenant: Tenant, found: Sequence[Current]) -> list[dict[str, Any]]:
        """Users in the form of the API, with the names of their entitlements."""
        held = {grant.entitlement for one in found for grant in one.access.grants}
        ids = [entitlement_id(*one) for one in held]
        catalog = readable(await read_all(self._store, tenant.tenant_id, ids))
        entries = [Entitlement.from_document(entry.document) for entry in catalog.values()]
        names = {EntitlementKey(entry.kind, entry.key): entry.display_name for entry in entries}
        size = _grants(found) * STEPS_PER_GRANT + len(found) * STEPS_PER_USER
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
