"""Keep at least one: a protected entitlement stays with its last enabled holder, whatever a
directory or an administrator takes away.

Kept grants are stored beside the user's grants by hand, so that access stays a function of what is
stored. Each page of users with a holder writes the entitlement's Protection under its ETag, even
where nothing changes, in the batch of their records. So if two pages would each take one of the
last two, the second finds one left; and a page that keeps the entitlement never overlooks a holder.

When a user loses the entitlement while few other records grant it, the access of those others is
computed, too. So the order in which the events of a loss are reconciled does not matter: while any
of these users still gets it, nobody keeps it; otherwise the one with the smallest id does (who was
created first), among those whom nothing disables but having no group.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from directory.access import (
    Access,
    AccessState,
    KeptGrant,
    ManualGrants,
    Protection,
    gives,
    manual_grants_id,
    protection_id,
)
from directory.condition import All, Negated, OneOf
from directory.documents import EntitlementKey
from directory.lanes import apart
from directory.reading import each_readable, readable
from directory.store import Assign, Create, Operation, Query, Replace, Store, Unreadable, Update
from reconciler.access import Facts, effective_access, entitlements, state_of, user_reasons
from reconciler.facts import Truth, read_truth

FEW = 20
"""The access of the other holders is computed where at most this many records grant it."""
SETTLES = timedelta(minutes=10)
"""How long pages that began before an entitlement was protected may go on. Its holders are counted
again after that; until then the count is not relied on."""


@dataclass(frozen=True, slots=True)
class Share:
    """How a page of users relates to one protected entitlement; SCIM ids."""

    users: frozenset[str]
    recorded: frozenset[str]
    """Users whose records grant it."""
    granted: frozenset[str]
    """Users whose records will grant it."""
    held: frozenset[str]
    """Users who get it from a source other than `kept`."""
    losing: frozenset[str]
    """Users who got it from another source than `kept`, and do not get it any more."""
    able: frozenset[str]
    """Those of `losing` who could keep it."""
    kept: frozenset[str]
    """Users for whom it is stored as kept."""

    @property
    def touched(self) -> bool:
        """Whether the page concerns the entitlement."""
        return bool(self.recorded or self.granted or self.kept)


async def kept_now(
    store: Store, tenant_id: str, protected: Sequence[EntitlementKey]
) -> dict[EntitlementKey, str]:
    """The entitlements that are kept now → the user (SCIM id), in one round trip. Raises
    StoreError."""
    ids = [protection_id(one) for one in protected]
    found = readable(await store.read_many(tenant_id, ids)) if ids else {}
    known = [Protection.from_document(stored.document) for stored in found.values()]
    return {EntitlementKey(one.kind, one.key): one.kept for one in known if one.kept is not None}


type States = Mapping[str, tuple[AccessState | None, AccessState | None]]
"""SCIM id → access in the record (None: no record), and as it must be (None: no user)."""


def shares_of(states: States, truth: Truth) -> dict[EntitlementKey, Share]:
    """The share of a page for each protected entitlement that it concerns."""
    protected = truth.facts.policy.protected
    if not protected:
        return {}
    before = {id: _held(old) for id, (old, _) in states.items()}
    after = {id: _held(new) for id, (_, new) in states.items()}
    shares = {one: _share(one, before, after, truth) for one in protected}
    return {one: share for one, share in shares.items() if share.touched}


type _Held = dict[EntitlementKey, bool]
"""Granted entitlement → whether it is only kept."""


def _held(state: AccessState | None) -> _Held:
    return {grant.entitlement: grant.is_kept for grant in state.grants} if state else {}


def _share(
    one: EntitlementKey, before: Mapping[str, _Held], after: Mapping[str, _Held], truth: Truth
) -> Share:
    def those(held: Mapping[str, _Held], *, by_something: bool = False) -> frozenset[str]:
        return frozenset(
            id for id, each in held.items() if one in each and not (by_something and each[one])
        )

    granted = those(after)
    losing = those(before, by_something=True) - granted
    return Share(
        users=frozenset(before),
        recorded=those(before),
        granted=granted,
        held=those(after, by_something=True),
        losing=losing,
        able=frozenset(id for id in losing if can_keep(id, truth)),
        kept=frozenset(
            id
            for id, kept in truth.facts.kept.items()
            if any(each.entitlement == one for each in kept)
        ),
    )


def can_keep(user: str, truth: Truth) -> bool:
    """Whether nothing but `noGroup` disables a user (SCIM id)."""
    stored = truth.users.get(user)
    return stored is not None and not user_reasons(stored, truth.facts.policy)


@dataclass(frozen=True, slots=True)
class Known:
    """A Protection as a page reads it, or counts it."""

    protection: Protection
    etag: str | None
    """None: it is not stored yet."""

    @property
    def relied_on(self) -> bool:
        """Whether the count of holders can be relied on."""
        return self.protection.recount_at is None

    def after(self, share: Share, keeper: str | None) -> Operation:
        """The operation with which a page writes it."""
        old = self.protection
        holders = old.holders - len(share.recorded) + len(share.granted)
        new = old.model_copy(update={"holders": holders, "kept": keeper}).to_document()
        return Create(new) if self.etag is None else Replace(new, self.etag)


@dataclass(frozen=True, slots=True)
class Protections:
    """Reads who holds the protected entitlements of one tenant. Raises what the store raises."""

    store: Store
    tenant_id: str

    async def read(
        self, entitlements: Collection[EntitlementKey], since: str, now: datetime
    ) -> dict[EntitlementKey, Known]:
        """The Protections of these entitlements. A Protection is counted anew where it is missing,
        unreadable, due to be counted again, or from before `since`."""
        ids = [protection_id(one) for one in entitlements]
        found = await self.store.read_many(self.tenant_id, ids)
        known = {}
        for one, id in zip(entitlements, ids, strict=True):
            stored = found.get(id)
            etag = stored.etag if stored else None
            try:
                protection = Protection.from_document(stored.document) if stored else None
            except Unreadable:
                protection = None
            if protection is None or protection.protected_since != since:
                protection = await self._counted(one, since, now + SETTLES)
            elif protection.recount_at is not None and protection.recount_at <= now:
                protection = await self._counted(one, since, None)
            known[one] = Known(protection, etag)
        return known

    async def _counted(
        self, one: EntitlementKey, since: str, recount_at: datetime | None
    ) -> Protection:
        holders = await self.store.count(self.tenant_id, "Access", gives("grants", one))
        query = Query("ManualGrants", gives("kept", one), fields=("userId",), limit=1)
        kept = await self.store.query(self.tenant_id, query)
        return Protection(
            tenant_id=self.tenant_id,
            kind=one.kind,
            key=one.key,
            holders=holders,
            kept=kept.items[0].document["userId"] if kept.items else None,
            protected_since=since,
            recount_at=recount_at,
        )

    async def keeper(
        self, one: EntitlementKey, known: Known, keeper: str | None, share: Share
    ) -> str | None:
        """The user (SCIM id) for whom it is kept after a page, when it was kept for `keeper`; None:
        somebody gets it, or nobody can keep it."""
        if share.held:
            return None
        if keeper is not None:
            return None if keeper in share.users - share.kept else keeper
        if not share.losing:
            return None
        left = known.protection.holders - len(share.recorded)
        if known.relied_on and left > FEW:
            return None
        others = await self._others(one, share.users)
        return None if others is None else min(share.able | others, default=None)

    async def _others(self, one: EntitlementKey, but: frozenset[str]) -> frozenset[str] | None:
        """The users outside `but` whose records grant it and who could keep it; None where one of
        them still gets it, or they are more than FEW."""
        where = All((gives("grants", one), Negated(OneOf(("userId",), tuple(sorted(but))))))
        query = Query("Access", where, limit=FEW + 1)
        page = await self.store.query(self.tenant_id, query)
        records = [Access.from_document(stored.document) for stored in page.items]
        if len(records) > FEW:
            return None
        ids = [each.user_id for each in records if not _held(state_of(each))[one]]
        looks, _ = await each_readable(ids, partial(read_truth, self.store, self.tenant_id))
        able: set[str] = set()
        for truth in looks:
            held = await apart(
                self.tenant_id,
                truth.facts.steps_of(truth.users),
                partial(_anybody_holds, one, truth),
            )
            if held:
                return None
            able.update(id for id in truth.users if can_keep(id, truth))
        return frozenset(able)


def _anybody_holds(one: EntitlementKey, truth: Truth) -> bool:
    return any(
        one in entitlements(effective_access(user, truth.facts)) for user in truth.users.values()
    )


class Keepers:
    """Who keeps which entitlement, for one attempt at a page of users. Entitlements that involve
    users in `fixed` (SCIM ids) keep their stored keeper."""

    def __init__(
        self, protections: Protections, since: str, now: datetime, fixed: Set[str]
    ) -> None:
        self._protections = protections
        self._since = since
        self._now = now
        self._fixed = fixed
        self._stored: dict[EntitlementKey, Known] = {}
        self._keepers: dict[EntitlementKey, str | None] = {}

    async def decide(self, shares: Mapping[EntitlementKey, Share]) -> None:
        """Decide for whom each entitlement is kept after the page. Raises StoreError."""
        new = [one for one in shares if one not in self._stored]
        for one, known in (await self._protections.read(new, self._since, self._now)).items():
            self._stored[one] = known
            self._keepers[one] = known.protection.kept
        for one, share in shares.items():
            before, known = self._stored[one].protection.kept, self._stored[one]
            keeper = await self._protections.keeper(one, known, self._keepers[one], share)
            self._keepers[one] = before if self._fixed & {before, keeper} else keeper

    @property
    def concerned(self) -> set[str]:
        """Users for whom something is newly kept, or no longer kept."""
        stored = {one: known.protection.kept for one, known in self._stored.items()}
        changed = [one for one, keeper in self._keepers.items() if keeper != stored[one]]
        return {id for one in changed for id in (stored[one], self._keepers[one]) if id is not None}

    def kept(self, truth: Truth, causes: Mapping[str, str]) -> dict[str, tuple[KeptGrant, ...]]:
        """User → kept grants, for the users of the page; without entitlements that are no longer
        protected."""
        protected = truth.facts.policy.protected
        kept: dict[str, tuple[KeptGrant, ...]] = {}
        for id, held in truth.facts.kept.items():
            stay = [one for one in held if one.entitlement in protected]
            stay = [one for one in stay if self._keepers.get(one.entitlement, id) == id]
            if stay:
                kept[id] = tuple(stay)
        for one, keeper in self._keepers.items():
            if keeper is None or keeper not in truth.users:
                continue
            before = kept.get(keeper, ())
            if all(each.entitlement != one for each in before):
                event = causes[keeper]
                new = KeptGrant(kind=one.kind, key=one.key, since=self._now, event_id=event)
                kept[keeper] = (*before, new)
        return kept

    def operations(self, shares: Mapping[EntitlementKey, Share]) -> list[Operation]:
        """The writes of the Protections, for the batch with the records of the page."""
        return [self._stored[one].after(share, self._keepers[one]) for one, share in shares.items()]


def writes_of(
    tenant_id: str, before: Facts, kept: Mapping[str, Sequence[KeptGrant]]
) -> list[Operation]:
    """The writes that store the kept grants, where they differ from the stored ones."""
    writes: list[Operation] = []
    for id in sorted(before.kept.keys() | kept.keys()):
        new = tuple(kept.get(id, ()))
        if new == tuple(before.kept.get(id, ())):
            continue
        beside = ManualGrants(tenant_id=tenant_id, user_id=id, kept=new)
        if id in before.manual:
            stored = beside.to_document()["kept"]
            writes.append(Update(manual_grants_id(id), (Assign(("kept",), stored),)))
        else:
            writes.append(Create(beside.to_document()))
    return writes
