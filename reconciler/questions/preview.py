"""Preview: exactly who would gain or lose what by a change that nobody made yet.

Computed by the function that the reconciler uses, for the users whom the reconciler would
recompute, once on the facts as they are and once as they would be. Nothing is written.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from directory.access import AccessState
from directory.condition import All, AnyElement, Compare, Condition
from directory.documents import EntitlementKey, Model, group_id, user_id
from directory.lanes import apart
from directory.reading import each_readable, every, pages
from directory.resources import StoredUser
from directory.store import Query, Store
from reconciler.access import STEPS_PER_GRANT, Facts, effective_access, lacking, state_of, visible
from reconciler.expansion import Cursor, of_type, touched
from reconciler.facts import read_truth
from reconciler.questions.proposal import (
    GrantsProposal,
    MappingProposal,
    MembersProposal,
    PolicyProposal,
    Proposal,
    ProposedReach,
    policy_to_read,
    proposed,
    reach_of,
)

STEP = 100
"""Users who are read and computed together."""
EXAMINED_PER_PAGE = 2_000
"""Users who are examined for one page at most, however few of them it would change."""
OWNER = EntitlementKey(kind="role", key="owner")
"""The role that somebody must hold (administration/default_catalog.json)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What would change for one user. A user whose grants only get other sources is none."""

    user_id: str
    user_name: str | None
    display_name: str | None
    before: AccessState
    after: AccessState

    @property
    def gained(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the user does not hold and would."""
        return lacking(self.before, self.after)

    @property
    def lost(self) -> tuple[EntitlementKey, ...]:
        """Entitlements that the user holds and would not."""
        return lacking(self.after, self.before)


class Counts(Model):
    """Users so far."""

    examined: int = 0
    unreadable: int = 0
    """Those of whom nothing can be said, because something stored cannot be read."""
    changed: int = 0
    gaining: int = 0
    losing: int = 0
    enabled: int = 0
    """Disabled now, and enabled then."""
    disabled: int = 0

    def and_of(self, effects: Sequence[Effect], examined: int, unreadable: int = 0) -> "Counts":
        """With one step more."""
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
    """Where a preview goes on; `model_dump_json` and `model_validate_json` carry it."""

    expansion: Cursor
    counts: Counts


@dataclass(frozen=True, slots=True)
class EffectPage:
    """Some effects, how many users there were up to and with this page, and where to go on:
    `cursor` is None at the end. A page may be empty and not the last."""

    effects: tuple[Effect, ...]
    counts: Counts
    cursor: PreviewCursor | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a proposal would do to a tenant, as the directory is while it is asked. Raises
    StoreError; asking again from the same cursor is safe."""

    store: Store
    tenant_id: str
    proposal: Proposal

    async def page(self, cursor: PreviewCursor | None = None, limit: int = 50) -> EffectPage:
        """The next effects: at least `limit` and fewer than twice as many, where there are that
        many and EXAMINED_PER_PAGE users suffice to find them. Every user comes once."""
        effects: list[Effect] = []
        page = EffectPage((), cursor.counts if cursor else Counts(), cursor)
        start = page.counts.examined
        async for page in self._pages(cursor, min(limit, STEP)):
            effects += page.effects
            if len(effects) >= limit or page.counts.examined - start >= EXAMINED_PER_PAGE:
                break
        return EffectPage(tuple(effects), page.counts, page.cursor)

    async def summary(
        self, cursor: PreviewCursor | None = None, at_most: int | None = None
    ) -> EffectPage:
        """How many users would gain, lose and so on, without naming them. It walks everything;
        with `at_most` it stops after about so many users, to go on from its cursor."""
        page = EffectPage((), cursor.counts if cursor else Counts(), cursor)
        start = page.counts.examined
        async for page in self._pages(cursor, STEP):
            if at_most is not None and page.counts.examined - start >= at_most:
                break
        return EffectPage((), page.counts, page.cursor)

    async def _pages(self, cursor: PreviewCursor | None, step: int) -> AsyncIterator[EffectPage]:
        reach, start = reach_of(self.tenant_id, self.proposal)
        at = cursor.expansion if cursor else start
        counts = cursor.counts if cursor else Counts()
        while not at.exhausted:
            users, after = await touched(self.store, reach, at, step)
            effects: list[Effect] = []
            examined = 0
            looks, unreadable = await each_readable(users, self._facts)
            for documents, facts, then in looks:
                new = _reached_first(documents, reach, at, facts)
                effects += await self._effects(new, facts, then)
                examined += len(new)
            at, counts = after, counts.and_of(effects, examined, len(unreadable))
            rest = None if at.exhausted else PreviewCursor(expansion=at, counts=counts)
            yield EffectPage(tuple(effects), counts, rest)

    async def _effects(self, users: list[StoredUser], facts: Facts, then: Facts) -> list[Effect]:
        ids = [user.id for user in users]
        grants = facts.grants_of(ids) + then.grants_of(ids)
        found = await apart(
            self.tenant_id,
            grants * STEPS_PER_GRANT,
            lambda: [_effect(user, facts, then) for user in users],
        )
        return [effect for effect in found if effect is not None]

    async def _facts(self, ids: Sequence[str]) -> tuple[list[StoredUser], Facts, Facts]:
        """The existing ones of these users, the facts as they are and as they would be."""
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

    async def nobody_would_hold(self, held: EntitlementKey = OWNER) -> bool:
        """Whether no enabled user would hold an entitlement that groups or hands give (a cost
        center from the user's attribute is not looked for). Ends with the first who does; only
        where nobody does, it walks every group that gives it."""
        async for ids in self._candidates(held):
            looks, _ = await each_readable(ids, self._facts)
            for users, _, then in looks:
                for user in users:
                    grants = effective_access(user, then).grants
                    if any(grant.entitlement == held for grant in grants):
                        return False
        return True

    async def _candidates(self, held: EntitlementKey) -> AsyncIterator[list[str]]:
        """Users among whom everybody is who would hold it."""
        users, groups, unmapped = _in_proposal(self.proposal, held)
        for start in range(0, len(users), STEP):
            yield users[start : start + STEP]
        given = Query("ManualGrants", gives("grants", held), fields=("userId",), limit=STEP)
        async for page in pages(self.store, self.tenant_id, given):
            yield [stored.document["userId"] for stored in page]
        mapped = Query("Mapping", gives("entitlements", held), fields=("groupId",), limit=1000)
        async for stored in every(self.store, self.tenant_id, mapped):
            groups.append(stored.document["groupId"])
        giving = dict.fromkeys(group for group in groups if group not in unmapped)
        reach, cursor = ProposedReach(self.tenant_id, "group"), Cursor(groups=tuple(giving))
        while not cursor.exhausted:
            found, cursor = await touched(self.store, reach, cursor, STEP)
            if found:
                yield found


def _reached_first(
    users: list[StoredUser], reach: ProposedReach, at: Cursor, facts: Facts
) -> list[StoredUser]:
    """Those of the users found at this place of a walk who are not found at an earlier one. The
    walk remembers groups only, so their own memberships tell."""
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


def _effect(user: StoredUser, facts: Facts, then: Facts) -> Effect | None:
    before = state_of(effective_access(user, facts))
    after = state_of(effective_access(user, then))
    if not visible(before, after):
        return None
    return Effect(user.id, user.user_name, user.display_name, before, after)


def _in_proposal(
    proposal: Proposal, held: EntitlementKey
) -> tuple[list[str], list[str], frozenset[str]]:
    """The users and groups that may hold it by the proposal, and the groups that stop giving it."""
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


def gives(array: str, held: EntitlementKey) -> Condition:
    """Whether a document's array of entitlements has this one."""
    both = All((Compare(("kind",), "eq", held.kind), Compare(("key",), "eq", held.key)))
    return AnyElement((array,), both)
