"""Preview: exactly who would gain or lose what by a proposed change.

Computed with the reconciler's function, for the users whom the reconciler would recompute: once
with the facts as they are, and once as they would be. Nothing is written.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import batched

from directory.access import AccessState, KeptGrant, gives
from directory.condition import Either
from directory.documents import EntitlementKey, Model, group_id, user_id
from directory.lanes import apart
from directory.reading import each_readable, every, pages
from directory.resources import StoredUser
from directory.store import Query, Store
from directory.tenants import OWNER, TENANT_ID, Policy
from reconciler.access import (
    STEPS_PER_GRANT,
    Facts,
    effective_access,
    lacking,
    state_of,
    user_reasons,
    visible,
)
from reconciler.expansion import Cursor, of_type, touched
from reconciler.facts import read_truth
from reconciler.keeping import FEW, kept_now
from reconciler.questions.proposal import (
    UNSAVED,
    GrantsProposal,
    MappingProposal,
    MembersProposal,
    PolicyProposal,
    Proposal,
    ProposedReach,
    policy_then,
    policy_to_read,
    proposed,
    reach_of,
)

STEP, FIRST_STEP = 100, 10
STEP_COST = 8_000
"""The cost that a step aims at, about 80 ms: a step of users with many grants has few users."""
COST_OF_USER, COST_OF_GROUP = 10, 20
"""The cost of a user and of a group beside the grants. Computing a grant costs 1: about 10
microseconds."""
PAGE_COST, SUMMARY_COST = 20_000, 50_000
SEARCH_COST = 50_000
"""The most that a search for a user who would hold an entitlement costs."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What would change for one user. Other sources of the same grants are no effect."""

    user_id: str
    user_name: str | None
    display_name: str | None
    before: AccessState
    after: AccessState

    @property
    def gained(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the user would newly hold."""
        return lacking(self.before, self.after)

    @property
    def lost(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the user would no longer hold."""
        return lacking(self.after, self.before)


class Counts(Model):
    """Numbers of users so far."""

    examined: int = 0
    unreadable: int = 0
    """Users whose access cannot be computed, because a document is unreadable."""
    changed: int = 0
    gaining: int = 0
    losing: int = 0
    enabled: int = 0
    """Users who would be enabled and are not; `disabled` is the reverse."""
    disabled: int = 0

    def and_of(self, effects: Sequence[Effect], examined: int, unreadable: int = 0) -> "Counts":
        """These counts with one more step added."""
        switched = [effect for effect in effects if effect.before.enabled != effect.after.enabled]
        return Counts(
            examined=self.examined + examined,
            unreadable=self.unreadable + unreadable,
            changed=self.changed + len(effects),
            gaining=self.gaining + sum(bool(effect.gained) for effect in effects),
            losing=self.losing + sum(bool(effect.lost) for effect in effects),
            enabled=self.enabled + sum(effect.after.enabled for effect in switched),
            disabled=self.disabled + sum(effect.before.enabled for effect in switched),
        )


class PreviewCursor(Model):
    """Where a preview continues; clients carry it as JSON."""

    expansion: Cursor
    counts: Counts


@dataclass(frozen=True, slots=True)
class EffectPage:
    """Some effects, the counts up to the end of this page, and where to continue: `cursor` is None
    at the end. A page may be empty without being the last."""

    effects: tuple[Effect, ...]
    counts: Counts
    cursor: PreviewCursor | None


@dataclass(frozen=True, slots=True)
class Keeper:
    """The user (SCIM id) for whom a protected entitlement is kept, and for whom it would be."""

    before: str | None = None
    after: str | None = None
    one_of_many: bool = False
    """It would be kept for one user of many; which one is not computed."""

    @property
    def changes(self) -> bool:
        """Whether the proposal changes for whom it is kept."""
        return self.before != self.after or self.one_of_many


@dataclass(slots=True)
class Preview:
    """The effects of a proposal on a tenant, computed from the directory as it is at each call.
    Raises StoreError; a call can be repeated with the same cursor. Costs are in the unit of
    COST_OF_USER."""

    store: Store
    tenant_id: str
    proposal: Proposal
    _: KW_ONLY
    step: int = STEP
    """Users who are read and computed together, at most."""
    first_step: int = FIRST_STEP
    """Users in a step while the cost per user is unknown."""
    page_cost: int = PAGE_COST
    """The most that a page costs, even if it finds few effects."""
    summary_cost: int = SUMMARY_COST
    """The most that one call of `summary` costs."""
    _keepers: dict[EntitlementKey, Keeper] | None = field(default=None, init=False)

    async def page(self, cursor: PreviewCursor | None = None, limit: int = 50) -> EffectPage:
        """The next effects: at least `limit` and fewer than twice as many, unless there are fewer
        or `page_cost` is spent before. Every user comes once."""
        effects: list[Effect] = []
        page = EffectPage((), cursor.counts if cursor else Counts(), cursor)
        async for page in self._pages(cursor, min(limit, self.step), self.page_cost):
            effects += page.effects
            if len(effects) >= limit:
                break
        return EffectPage(tuple(effects), page.counts, page.cursor)

    async def summary(self, cursor: PreviewCursor | None = None) -> EffectPage:
        """How many users would gain, lose and so on, without naming them. Where `summary_cost` is
        spent before all are examined, the cursor says where to continue."""
        counted = EffectPage((), cursor.counts if cursor else Counts(), cursor)
        async for page in self._pages(cursor, self.step, self.summary_cost):
            counted = EffectPage((), page.counts, page.cursor)
        return counted

    async def _pages(
        self, cursor: PreviewCursor | None, most: int, cost: int
    ) -> AsyncIterator[EffectPage]:
        """Steps of at most `most` users, until all are examined or the cost is spent."""
        reach, start = reach_of(self.tenant_id, self.proposal)
        at = cursor.expansion if cursor else start
        counts = cursor.counts if cursor else Counts()
        first = min(most, self.first_step)
        step, left = first, cost
        while not at.exhausted and left > 0:
            users, after = await touched(self.store, reach, at, step)
            effects: list[Effect] = []
            examined = spent = 0
            looks, unreadable = await each_readable(users, self._facts)
            for documents, facts, then in looks:
                new = _reached_first(documents, reach, at, facts)
                effects += await self._effects(new, facts, await self._keeping(then))
                examined += len(new)
                spent += _cost(documents, facts, then)
            at, counts = after, counts.and_of(effects, examined, len(unreadable))
            step, left = _next_step(len(users), spent, most, first), left - spent - COST_OF_USER
            rest = None if at.exhausted else PreviewCursor(expansion=at, counts=counts)
            yield EffectPage(tuple(effects), counts, rest)

    async def _effects(self, users: list[StoredUser], facts: Facts, then: Facts) -> list[Effect]:
        ids = [user.id for user in users]
        found = await apart(
            self.tenant_id,
            facts.steps_of(ids) + then.steps_of(ids),
            lambda: [_effect(user, facts, then) for user in users],
        )
        return [effect for effect in found if effect is not None]

    async def _facts(self, ids: Sequence[str]) -> tuple[list[StoredUser], Facts, Facts]:
        """Those of these users who exist, the facts as they are, and the facts as they would be."""
        proposal = self.proposal
        target = (proposal.group_id,) if isinstance(proposal, MembersProposal) else ()
        truth = await read_truth(
            self.store,
            self.tenant_id,
            ids,
            also=[*map(group_id, target)],
            groups=target,
            under=lambda policy: policy_to_read(proposal, policy),
        )
        facts, exists = truth.facts, len(truth.also) == len(target)
        then = proposed(proposal, facts) if exists else facts
        return list(truth.users.values()), facts, then

    async def keepers(self) -> dict[EntitlementKey, Keeper]:
        """The protected entitlements for whose keeper something would change. Costs one
        `nobody_would_hold` for each that is kept now, or that all of its few holders would lose;
        computed once."""
        if self._keepers is None:
            found = await self.store.read(self.tenant_id, TENANT_ID)
            policy = Policy.model_validate(found.document.get("policy", {}))
            then = policy_then(self.proposal, policy)
            now = await kept_now(self.store, self.tenant_id, policy.protected)
            looked = {one: await self._keeper(one, now.get(one)) for one in then.protected}
            self._keepers = {one: keeper for one, keeper in looked.items() if keeper.changes}
        return self._keepers

    async def _keeper(self, one: EntitlementKey, now: str | None) -> Keeper:
        if now is not None:
            stays = await self.nobody_would_hold(one, kept=False)
            return Keeper(before=now, after=now if stays else None)
        able, more = await self._able_losers(one)
        if not able or not await self.nobody_would_hold(one, kept=False):
            return Keeper()
        return Keeper(after=None if more else min(able), one_of_many=more)

    async def _able_losers(self, one: EntitlementKey) -> tuple[list[str], bool]:
        """The first FEW holders of an entitlement who would lose it and could keep it, and whether
        it has more holders; none where one of these would still hold it."""
        query = Query("Access", gives("grants", one), fields=("userId",), limit=FEW + 1)
        page = await self.store.query(self.tenant_id, query)
        holders = [stored.document["userId"] for stored in page.items]
        looks, _ = await each_readable(holders[:FEW], self._facts)
        able: list[str] = []
        for users, _, then in looks:
            if await self._any_holds(users, then, one, kept=False):
                return [], False
            able += [user.id for user in users if not user_reasons(user, then.policy)]
        return able, len(holders) > FEW

    async def _keeping(self, then: Facts) -> Facts:
        """The facts as they would be, including the kept grants."""
        kept = {user: list(held) for user, held in then.kept.items()}
        for one, keeper in (await self.keepers()).items():
            if keeper.before is not None:
                held = kept.get(keeper.before, [])
                kept[keeper.before] = [each for each in held if each.entitlement != one]
            if keeper.after is not None:
                new = KeptGrant(kind=one.kind, key=one.key, since=UNSAVED, event_id="")
                kept.setdefault(keeper.after, []).append(new)
        return replace(then, kept=kept)

    async def nobody_would_hold(self, held: EntitlementKey = OWNER, *, kept: bool = True) -> bool:
        """Whether no enabled user is found who would hold the entitlement through a group or by
        hand (grants by attributes are not searched). A kept grant counts only with `kept`. The
        search ends with the first holder, or when SEARCH_COST is spent."""
        left = SEARCH_COST
        async for ids in self._candidates(held):
            looks, _ = await each_readable(ids, self._facts)
            for users, facts, then in looks:
                if await self._any_holds(users, then, held, kept=kept):
                    return False
                left -= _cost(users, facts, then)
            left -= COST_OF_USER
            if left <= 0:
                return True
        return True

    async def _any_holds(
        self, users: list[StoredUser], then: Facts, held: EntitlementKey, *, kept: bool
    ) -> bool:
        def look() -> bool:
            return any(
                grant.entitlement == held and (kept or not grant.is_kept)
                for user in users
                for grant in effective_access(user, then).grants
            )

        ids = [user.id for user in users]
        return await apart(self.tenant_id, then.steps_of(ids), look)

    async def _candidates(self, held: EntitlementKey) -> AsyncIterator[list[str]]:
        """Users, few at a time, who include everybody who would hold it."""
        users, groups, unmapped = _in_proposal(self.proposal, held)
        for some in batched(users, self.first_step, strict=False):
            yield [*some]
        beside = Either((gives("grants", held), gives("kept", held)))
        given = Query("ManualGrants", beside, fields=("userId",), limit=self.first_step)
        async for page in pages(self.store, self.tenant_id, given):
            yield [stored.document["userId"] for stored in page]
        mapped = Query("Mapping", gives("entitlements", held), fields=("groupId",), limit=1000)
        async for stored in every(self.store, self.tenant_id, mapped):
            groups.append(stored.document["groupId"])
        giving = dict.fromkeys(group for group in groups if group not in unmapped)
        reach, cursor = ProposedReach(self.tenant_id, "group"), Cursor(groups=tuple(giving))
        while not cursor.exhausted:
            found, cursor = await touched(self.store, reach, cursor, self.first_step)
            yield found


def _reached_first(
    users: list[StoredUser], reach: ProposedReach, at: Cursor, facts: Facts
) -> list[StoredUser]:
    """Those of the users found at this cursor of a walk who were not found before. The walk
    remembers only groups, so the users' own memberships show it."""
    named = reach.membership.added if reach.membership else ()
    if reach.scope in ("user", "tenant") or at.position < len(named):
        return users
    earlier, walking = frozenset(at.groups[: at.walked]), at.groups[at.walked]
    done = frozenset(named)
    return [
        user
        for user in users
        if user_id(user.id) not in done
        and walking in (direct := facts.groups_of[user.id])
        and earlier.isdisjoint(direct)
    ]


def _cost(users: list[StoredUser], facts: Facts, then: Facts) -> int:
    """The cost of reading and computing these users, in the unit of COST_OF_USER."""
    ids = [user.id for user in users]
    groups = len(facts.groups_of) - len(ids)
    computing = (facts.steps_of(ids) + then.steps_of(ids)) // STEPS_PER_GRANT
    return COST_OF_USER * len(ids) + COST_OF_GROUP * groups + computing


def _next_step(users: int, spent: int, most: int, first: int) -> int:
    """How many users the next step takes, after a step of `users` that cost `spent`; `first` while
    the cost per user is unknown."""
    if users == 0 or spent == 0:
        return first
    return max(1, min(most, users * STEP_COST // spent))


def _effect(user: StoredUser, facts: Facts, then: Facts) -> Effect | None:
    before = state_of(effective_access(user, facts))
    after = state_of(effective_access(user, then))
    if not visible(before, after):
        return None
    return Effect(user.id, user.user_name, user.display_name, before, after)


def _in_proposal(
    proposal: Proposal, held: EntitlementKey
) -> tuple[list[str], list[str], frozenset[str]]:
    """The users and groups that may hold it because of the proposal, and the groups that would no
    longer give it."""
    match proposal:
        case GrantsProposal(user):
            return [user], [], frozenset()
        case MembersProposal(_, added):
            return of_type("User", added), of_type("Group", added), frozenset()
        case MappingProposal(entitlements):
            giving = [group for group, keys in entitlements.items() if held in keys]
            return [], giving, frozenset(entitlements.keys() - set(giving))
        case PolicyProposal():
            return [], [], frozenset()
