"""Grants by hand: entitlements that one user holds whatever the groups say."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from administration.catalog import refuse_more, refuse_unknown
from administration.events import Administration
from administration.reading.naming import entitlement_names
from administration.reading.users import find_user
from directory.access import ManualGrant, ManualGrants, manual_grants_id
from directory.documents import Actor, Entitled, EntitlementKey, Event
from directory.store import (
    Create,
    Delete,
    NotFound,
    Operation,
    Replace,
    Store,
    Stored,
)


class GivenGrant(Entitled):
    """A grant by hand, with who gave it and when."""

    display_name: str
    since: datetime
    given_by: Actor | None = None


async def list_given(store: Store, tenant_id: str, who: str) -> list[GivenGrant]:
    """What a user (id or userName) was given by hand. Raises AdministrationError where there is
    no such user."""
    user = (await find_user(store, tenant_id, who)).id
    grants = _given(tenant_id, user, await _stored(store, tenant_id, user)).grants
    names = await entitlement_names(store, tenant_id, grants)
    return [
        GivenGrant(
            kind=grant.kind,
            key=grant.key,
            display_name=names[grant.entitlement],
            since=grant.since,
            given_by=grant.given_by,
        )
        for grant in grants
    ]


async def _stored(store: Store, tenant_id: str, user: str) -> Stored | None:
    try:
        return await store.read(tenant_id, manual_grants_id(user))
    except NotFound:
        return None


def _given(tenant_id: str, user: str, stored: Stored | None) -> ManualGrants:
    if stored is None:
        return ManualGrants(tenant_id=tenant_id, user_id=user)
    return ManualGrants.from_document(stored.document)


class Grants(Administration):
    """What is given by hand in one tenant. A user is named by id or userName; every method raises
    AdministrationError."""

    async def give(self, who: str, entitlements: Sequence[EntitlementKey]) -> bool:
        """Give a user these entitlements, which the catalog must have; returns if any was new."""
        await refuse_unknown(self.service.store, self.tenant_id, entitlements)

        def with_these(held: tuple[ManualGrant, ...], event: Event) -> tuple[ManualGrant, ...]:
            return self._with(held, entitlements, event)

        return await self._change(who, with_these)

    async def withdraw(self, who: str, entitlements: Sequence[EntitlementKey]) -> bool:
        """Take these entitlements back; returns whether the user had any of them by hand."""

        def without_these(held: tuple[ManualGrant, ...], _: Event) -> tuple[ManualGrant, ...]:
            return tuple(grant for grant in held if grant.entitlement not in entitlements)

        return await self._change(who, without_these)

    async def give_exactly(self, who: str, entitlements: Sequence[EntitlementKey]) -> bool:
        """Make these exactly the entitlements that the user is given by hand; returns whether
        anything changed. The catalog must have what is new."""
        store = self.service.store
        user = (await find_user(store, self.tenant_id, who)).id
        stored = await _stored(store, self.tenant_id, user)
        had = _given(self.tenant_id, user, stored).entitlements
        wanted = dict.fromkeys(entitlements)
        await refuse_unknown(store, self.tenant_id, [one for one in wanted if one not in had])

        def only_these(held: tuple[ManualGrant, ...], event: Event) -> tuple[ManualGrant, ...]:
            kept = tuple(grant for grant in held if grant.entitlement in wanted)
            return self._with(kept, wanted, event)

        return await self._change(who, only_these)

    def _with(
        self, held: tuple[ManualGrant, ...], wanted: Iterable[EntitlementKey], event: Event
    ) -> tuple[ManualGrant, ...]:
        """What is held, and those of the wanted that are not held yet."""
        known = {grant.entitlement for grant in held}
        new = [one for one in dict.fromkeys(wanted) if one not in known]
        refuse_more(len(held) + len(new), "Somebody by hand")
        return held + tuple(
            ManualGrant(
                kind=kind, key=key, since=event.at, event_id=event.event_id, given_by=self.actor
            )
            for kind, key in new
        )

    async def _change(
        self,
        who: str,
        change: Callable[[tuple[ManualGrant, ...], Event], tuple[ManualGrant, ...]],
    ) -> bool:
        """Write what a user is given, with its event. If the user is deleted meanwhile, reconciling
        the event removes it."""
        store = self.service.store
        user = (await find_user(store, self.tenant_id, who)).id

        async def attempt() -> bool:
            event = self.event("grant", "User", user, ("grants",), "user")
            stored = await _stored(store, self.tenant_id, user)
            given = _given(self.tenant_id, user, stored)
            grants = change(given.grants, event)
            if grants == given.grants:
                return False
            changed = given.model_copy(update={"grants": grants})
            await self.ledger.commit([write_given(changed, stored)], event)
            return True

        return await self.retrying(attempt, "this user's grants")


def write_given(given: ManualGrants, stored: Stored | None) -> Operation:
    """The operation that stores it over the version that was read."""
    if stored is None:
        return Create(given.to_document())
    if not given.grants and not given.kept:
        return Delete(given.document_id, stored.etag)
    return Replace(given.to_document(), stored.etag)
