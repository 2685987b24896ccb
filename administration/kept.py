"""What is kept for the last holder of a protected entitlement: who that is, and letting it go."""

from datetime import datetime

from administration.errors import AdministrationError
from administration.events import Administration
from administration.grants import write_given
from administration.reading.naming import entitlement_names, user_names
from administration.reading.users import find_user
from directory.access import (
    ManualGrants,
    Protection,
    manual_grants_id,
    protection_id,
)
from directory.documents import Entitled, EntitlementKey
from directory.reading import readable
from directory.store import Replace, Store
from directory.tenants import Policy
from reconciler.keeping import kept_now


class KeptEntitlement(Entitled):
    """A protected entitlement that nothing gives to anybody any more, and who keeps it."""

    display_name: str
    user_id: str
    name: str
    """The user's name."""
    since: datetime
    event_id: str
    """The event that would have taken it."""


async def list_kept(store: Store, tenant_id: str, policy: Policy) -> list[KeptEntitlement]:
    """What is kept in a tenant, in order of kind and key; two round trips, and a third where there
    is anything. Raises StoreError."""
    keepers = await kept_now(store, tenant_id, policy.protected)
    if not keepers:
        return []
    beside = [manual_grants_id(user) for user in keepers.values()]
    stored = readable(await store.read_many(tenant_id, beside))
    kept = {
        (given.user_id, each.entitlement): each
        for given in (ManualGrants.from_document(one.document) for one in stored.values())
        for each in given.kept
    }
    names = await entitlement_names(store, tenant_id, keepers)
    people = await user_names(store, tenant_id, keepers.values())
    return [
        KeptEntitlement(
            kind=one.kind,
            key=one.key,
            display_name=names[one],
            user_id=user,
            name=people[user],
            since=kept[user, one].since,
            event_id=kept[user, one].event_id,
        )
        for one, user in sorted(keepers.items())
        if (user, one) in kept and user in people
    ]


class Kept(Administration):
    """What is kept in one tenant. Raises AdministrationError."""

    async def let_go(self, who: str, entitlement: EntitlementKey) -> None:
        """Stop keeping an entitlement for a user (id or userName), so that nobody holds it. The
        reconciler then takes it from the user."""
        store = self.service.store
        user = (await find_user(store, self.tenant_id, who)).id
        beside, protection = manual_grants_id(user), protection_id(entitlement)

        async def attempt() -> None:
            found = await store.read_many(self.tenant_id, [beside, protection])
            if (stored := found.get(beside)) is None:
                raise self._not_kept(who, entitlement)
            given = ManualGrants.from_document(stored.document)
            kept = tuple(each for each in given.kept if each.entitlement != entitlement)
            if kept == given.kept:
                raise self._not_kept(who, entitlement)
            operations = [write_given(given.model_copy(update={"kept": kept}), stored)]
            if (known := found.get(protection)) is not None:
                ended = Protection.from_document(known.document).model_copy(update={"kept": None})
                operations.append(Replace(ended.to_document(), known.etag))
            named = (f"{entitlement.kind}:{entitlement.key}",)
            event = self.event("letGo", "User", user, named, "user")
            await self.ledger.commit(operations, event)

        await self.retrying(attempt, "what is kept for this user")

    def _not_kept(self, who: str, entitlement: EntitlementKey) -> AdministrationError:
        return AdministrationError(
            f"{entitlement.kind[:200]} {entitlement.key[:200]} is not kept for {who[:200]}: "
            "a group or somebody gives it, or the user does not hold it.",
            f"access kept {self.tenant_id}",
        )
