"""The preview of a change says what making the change then does."""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from directory.access import AccessState
from directory.documents import Entitlement, EntitlementKey, MemberReference, user_id
from directory.resources import ENTERPRISE_USER
from directory.store import Assign, Delete, Update, Upsert
from directory.tenants import Policy
from reconciler.access import COST_CENTER, state_of, visible
from reconciler.questions.preview import Counts, Effect, Preview, PreviewCursor
from reconciler.questions.proposal import (
    GrantsProposal,
    MappingProposal,
    MembersProposal,
    PolicyProposal,
    Proposal,
    policy_then,
)
from tests.reconciler.world import TENANT, World, tenant

USERS = [f"u{number}" for number in range(6)]
GROUPS = [f"g{number}" for number in range(4)]
ROLES = ["role:Owner", "role:Reader"]
OWNER = EntitlementKey(kind="role", key="Owner")
CENTER = {ENTERPRISE_USER: {"costCenter": "cc"}}


preview_of = partial(Preview, step=2, first_step=2, page_cost=30, summary_cost=20)
"""Six users are a crowd."""


@dataclass
class Start:
    """How a world begins."""

    members: dict[str, list[str]] = field(default_factory=dict)
    mapped: dict[str, list[str]] = field(default_factory=dict)
    given: dict[str, list[str]] = field(default_factory=dict)
    inactive: list[str] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)
    in_cost_center: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    then: dict[str, list[str]] = field(default_factory=dict)
    """Mapped in place of what was, once that is applied."""


def some(of: list[str], at_most: int = 6) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(of), max_size=at_most, unique=True)


policies = st.builds(
    Policy,
    disable_when=st.sampled_from([("inactive", "noGroup"), ("inactive",), ("noGroup",), ()]),
    cost_center_from_attribute=st.booleans(),
    app_roles=st.booleans(),
    protected=st.sampled_from([(), (OWNER,)]),
)
starts = st.builds(
    Start,
    members=st.fixed_dictionaries({group: some(USERS + GROUPS) for group in GROUPS}),
    mapped=st.fixed_dictionaries({}, optional={group: some(ROLES) for group in GROUPS}),
    given=st.dictionaries(st.sampled_from(USERS), some(ROLES), max_size=2),
    inactive=some(USERS, 2),
    manual=some(USERS, 2),
    in_cost_center=some(USERS, 3),
    policy=policies,
)


def keys(entitlements: list[str]) -> tuple[EntitlementKey, ...]:
    pairs = (entitlement.split(":") for entitlement in sorted(entitlements))
    return tuple(EntitlementKey(kind=kind, key=key) for kind, key in pairs)


def members_proposal(group: str, chosen: dict[str, bool]) -> MembersProposal:
    """Ids → whether they come."""
    members = {
        MemberReference("User" if id in USERS else "Group", id): comes
        for id, comes in chosen.items()
    }
    added = tuple(member for member, comes in members.items() if comes)
    return MembersProposal(group, added, tuple(one for one in members if one not in added))


proposals: st.SearchStrategy[Proposal] = st.one_of(
    st.builds(
        MappingProposal,
        st.dictionaries(st.sampled_from(GROUPS), some(ROLES).map(keys), min_size=1, max_size=2),
    ),
    st.builds(
        members_proposal,
        st.sampled_from(GROUPS),
        st.dictionaries(st.sampled_from(USERS + GROUPS), st.booleans(), min_size=1),
    ),
    st.builds(PolicyProposal, policies),
    st.builds(GrantsProposal, st.sampled_from(USERS), some(ROLES).map(keys)),
)


async def begin(world: World, start: Start) -> None:
    """A world in which nothing is left to do."""
    entry = Entitlement(tenant_id=TENANT, kind=COST_CENTER, key="cc", display_name="CC")
    await world.store.batch(TENANT, [Upsert(entry.to_document())])
    await world.put_policy(start.policy)
    for user in USERS:
        source = "manual" if user in start.manual else "scim"
        await world.put_user(user, user not in start.inactive, source)
        if user in start.in_cost_center:
            assign = Assign(("resource", ENTERPRISE_USER), CENTER[ENTERPRISE_USER])
            await world.store.batch(TENANT, [Update(user_id(user), (assign,))])
    for group in GROUPS:
        await world.put_group(group)
    for group, members in start.members.items():
        await world.change_members(group, members)
    for group, entitlements in start.mapped.items():
        await world.put_mapping(group, entitlements)
    for user, entitlements in start.given.items():
        await world.give(user, entitlements)
    await world.drain()
    for group, entitlements in start.then.items():
        await world.put_mapping(group, entitlements)
    await world.drain()


async def make(world: World, proposal: Proposal) -> None:
    """What was proposed, done."""

    def text(entitlements: tuple[EntitlementKey, ...]) -> list[str]:
        return [f"{one.kind}:{one.key}" for one in entitlements]

    match proposal:
        case MappingProposal(entitlements):
            for group, given in entitlements.items():
                await world.put_mapping(group, text(given))
        case MembersProposal(group, added, removed):
            plain = ([member.id for member in members] for members in (added, removed))
            await world.change_members(group, *plain)
        case PolicyProposal(policy):
            await world.put_policy(policy)
        case GrantsProposal(user, given):
            await world.give(user, text(given))
    await world.drain()


async def states(world: World) -> dict[str, AccessState]:
    return {user: state_of(await world.access(user)) for user in USERS}


async def walk(preview: Preview, limit: int) -> tuple[list[Effect], Counts]:
    """All pages, each asked for with what a client kept of the page before."""
    effects: list[Effect] = []
    cursor = None
    while True:
        page = await preview.page(cursor, limit)
        effects += page.effects
        if page.cursor is None:
            return effects, page.counts
        cursor = PreviewCursor.model_validate_json(page.cursor.model_dump_json())


NESTED = {"g0": ["g1", "g2"], "g1": ["u0", "u1"], "g2": ["u0", "u2"]}
SHARED = Start(NESTED, mapped={"g3": ["role:Reader"]})
LAST = Start({"g0": ["u1", "u2"]}, {"g0": ["role:Owner"]}, policy=Policy(protected=(OWNER,)))
KEPT = replace(LAST, then={"g0": []})
BELOW_OWNER = Start(members={"g0": ["g1"]}, mapped={"g0": ["role:Owner"]})


@settings(max_examples=40)
@example(SHARED, MappingProposal({"g0": (OWNER,)}), 1)
@example(SHARED, members_proposal("g3", {"u0": True, "g1": True}), 1)
@example(BELOW_OWNER, members_proposal("g1", {"u0": True}), 1)
@example(SHARED, GrantsProposal("u0", (OWNER,)), 1)
@example(KEPT, GrantsProposal("u5", (OWNER,)), 1)
@example(LAST, MappingProposal({"g0": ()}), 1)
@given(start=starts, proposal=proposals, limit=st.integers(1, 3))
def test_preview_equals_effect(start: Start, proposal: Proposal, limit: int) -> None:
    async def play() -> None:
        async with tenant() as world:
            await begin(world, start)
            preview = preview_of(world.store, TENANT, proposal)
            effects, counts = await walk(preview, limit)
            whole = await preview.summary()
            while whole.cursor is not None:
                whole = await preview.summary(whole.cursor)
            assert whole.counts == counts
            nobody = await preview.nobody_would_hold(OWNER)
            before, keeper = await states(world), await keeper_of_owner(world)
            await make(world, proposal)
            after, keeps = await states(world), await keeper_of_owner(world)
            expected = {u: (before[u], after[u]) for u in USERS if visible(before[u], after[u])}
            if keeper != keeps and keeper not in [e.user_id for e in effects]:
                expected.pop(str(keeper), None)  # whom the proposal does not reach
            assert {e.user_id: (shown(e.before), shown(e.after)) for e in effects} == {
                user: (shown(old), shown(new)) for user, (old, new) in expected.items()
            }
            assert len(effects) == len(expected) == counts.changed
            told = {one: (k.before, k.after) for one, k in (await preview.keepers()).items()}
            protects = OWNER in policy_then(proposal, start.policy).protected
            assert told == ({OWNER: (keeper, keeps)} if protects and keeper != keeps else {})
            given = any("Owner" in held(s) and keeps != u for u, s in after.items())
            assert nobody is not (given or (keeps is not None and keeper == keeps))
            assert_sums(counts, list(expected.values()))

    asyncio.run(play())


async def keeper_of_owner(world: World) -> str | None:
    for user in USERS:
        for grant in state_of(await world.access(user)).grants:
            if grant.is_kept:
                return user
    return None


def shown(state: AccessState) -> object:
    """Without since when and why something is kept: that is not known before."""
    return [
        (state.enabled, state.reasons),
        *[(g.kind, g.key, s.type, s.path) for g in state.grants for s in g.sources],
    ]


def held(state: AccessState) -> set[str]:
    return {grant.key for grant in state.grants}


def assert_sums(counts: Counts, expected: list[tuple[AccessState, AccessState]]) -> None:
    assert counts.gaining == sum(bool(held(b) - held(a)) for a, b in expected)
    assert counts.losing == sum(bool(held(a) - held(b)) for a, b in expected)
    assert counts.enabled == sum(b.enabled and not a.enabled for a, b in expected)
    assert counts.disabled == sum(a.enabled and not b.enabled for a, b in expected)


async def test_who_is_reached_along_a_deleted_group_too_comes_once(world: World) -> None:
    await begin(world, Start(members={"g0": ["g1", "g2"], "g1": ["u0"], "g2": ["u0"]}))
    await world.store.batch(TENANT, [Delete("group:g1")])  # its edges are still there
    preview = preview_of(world.store, TENANT, MappingProposal({"g0": (OWNER,)}))
    effects, counts = await walk(preview, 1)
    assert [(e.user_id, e.user_name, e.gained) for e in effects] == [("u0", "u0", (OWNER,))]
    assert counts.examined == 1


@pytest.mark.parametrize(
    "proposal",
    [MappingProposal({"nowhere": (OWNER,)}), members_proposal("nowhere", {"u0": True, "g0": True})],
)
async def test_a_group_that_does_not_exist_gives_nothing(world: World, proposal: Proposal) -> None:
    await begin(world, Start(members={"g0": ["u1"]}, mapped={"g1": ["role:Owner"]}))
    assert (await walk(preview_of(world.store, TENANT, proposal), 3))[0] == []


async def test_the_search_for_an_owner_ends_with_the_first(world: World) -> None:
    """However many there are; and does not walk a group that stops giving the role."""
    await begin(world, Start(members={"g0": USERS, "g1": ["u0"]}, mapped={"g0": ["role:Owner"]}))
    asked = Asked(world.store)
    policy = PolicyProposal(Policy())
    assert not await preview_of(asked, TENANT, policy).nobody_would_hold(OWNER)
    assert len(asked.users) <= 2
    asked.users.clear()
    assert await preview_of(asked, TENANT, MappingProposal({"g0": ()})).nobody_would_hold(OWNER)
    assert asked.users == set()


class Asked:
    """A store that notes which users were read."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.users: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_many(self, tenant_id: str, ids: Any) -> Any:
        self.users |= {id for id in ids if id.startswith("user:")}
        return await self._store.read_many(tenant_id, ids)
