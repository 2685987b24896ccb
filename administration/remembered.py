"""What deleted groups gave. It is remembered in case they come back (`scim.remembering`);
administrators see it, and can forget it earlier."""

from datetime import datetime, timedelta

from administration.errors import Absent
from administration.events import Administration
from administration.reading.naming import Granted, entitlement_names, granted
from administration.reading.paging import MOST_PER_PAGE, PAGE, PageOf
from directory.condition import Compare
from directory.documents import EntitlementKey, Model, RememberedMapping
from directory.store import Delete, NotFound, PreconditionFailed, Query, Store


class Remembered(Model):
    """What a deleted group gave, and gives again if it comes back before it is `forgotten_at`."""

    group_id: str
    """The SCIM id that the group had."""
    display_name: str
    external_id: str
    connection_id: str
    """The connection that it would come back by."""
    version: int
    """The mapping's version."""
    entitlements: tuple[Granted, ...]
    deleted_at: datetime
    forgotten_at: datetime


async def list_remembered(
    store: Store, tenant_id: str, after: str | None = None, limit: int = PAGE
) -> PageOf[Remembered]:
    """A page of what is remembered of a tenant's deleted groups, in no order that means anything.
    Raises BadContinuation for an `after` that is not of this list."""
    query = Query("RememberedMapping", limit=min(limit, MOST_PER_PAGE), continuation=after)
    page = await store.query(tenant_id, query)
    found = [RememberedMapping.from_document(item.document) for item in page.items]
    given = [one for mapping in found for one in mapping.entitlements]
    names = await entitlement_names(store, tenant_id, given) if given else {}
    return PageOf(tuple(_shown(one, names) for one in found), page.continuation)


def _shown(mapping: RememberedMapping, names: dict[EntitlementKey, str]) -> Remembered:
    shown = {
        "entitlements": granted(mapping.entitlements, names),
        "forgotten_at": mapping.deleted_at + timedelta(seconds=mapping.ttl),
    }
    return Remembered(**dict(mapping) | shown)


class NotRemembered(Absent):
    """Nothing is remembered of such a deleted group."""


class RememberedMappings(Administration):
    """What is remembered of the deleted groups of one tenant."""

    async def forget(self, group: str) -> None:
        """Forget what the deleted group of this SCIM id gave. Raises NotRemembered."""
        store = self.service.store
        where = Compare(("groupId",), "eq", group)
        page = await store.query(self.tenant_id, Query("RememberedMapping", where))
        for stored in page.items:
            event = self.event("mappingForget", "Group", group, ("mapping",), "none")
            try:
                await self.ledger.commit([Delete(stored.document["id"], stored.etag)], event)
            except (NotFound, PreconditionFailed):
                break  # it came back, or was deleted anew: what was to be forgotten is gone
            return
        raise NotRemembered(
            f"Nothing is remembered of a deleted group {group}. It may have come back and give "
            "again what it gave, or more than 30 days have passed."
        )
