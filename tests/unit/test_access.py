"""Effective access as a pure function: every rule, every source, and its laws."""

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.access import Access, Grant, GrantSource, KeptGrant
from directory.documents import EntitlementKey, Mapping
from directory.reasons import REASONS, Reason
from directory.resources import ENTERPRISE_USER, StoredUser
from directory.tenants import Policy
from reconciler.access import EffectiveAccess, Facts, current_access, effective_access, user_reasons

NOW = datetime(2026, 1, 2, tzinfo=UTC)


NAMELESS = ("givenNameMissing", "familyNameMissing")


def user(source: str = "scim", **resource: Any) -> StoredUser:
    """A stored user who lacks nothing; None takes an attribute away."""
    complete = {
        "id": "u",
        "userName": "ada@example.com",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [{"type": "work", "value": "ada@example.com"}],
        "active": True,
    }
    resource = {k: v for k, v in (complete | resource).items() if v is not None}
    return StoredUser({"id": "user:u", "source": source, "resource": resource}, "")


def in_cost_center(key: str) -> StoredUser:
    enterprise: dict[str, Any] = {ENTERPRISE_USER: {"costCenter": key}}
    return user(**enterprise)


def mapping(group: str, *entitlements: str, version: int = 1) -> Mapping:
    """`mapping("g", "role:Owner")`."""
    keys = [entitlement.split(":") for entitlement in entitlements]
    return Mapping(
        tenant_id="t",
        group_id=group,
        version=version,
        entitlements=tuple(EntitlementKey(kind=kind, key=key) for kind, key in keys),
        changed_at=NOW,
        event_id="e",
    )


def facts(
    groups_of: dict[str, list[str]],
    *mappings: Mapping,
    policy: Policy | None = None,
    cost_centers: frozenset[str] = frozenset(),
) -> Facts:
    return Facts(groups_of, {m.group_id: m for m in mappings}, policy or Policy(), cost_centers)


def held(access: EffectiveAccess) -> dict[str, list[tuple[str, ...]]]:
    """Entitlement → paths of its sources."""
    return {f"{g.kind}:{g.key}": [s.path for s in g.sources] for g in access.grants}


@pytest.mark.parametrize(
    ("lacking", "reasons"),
    [
        ({"active": False}, ("inactive",)),
        ({"active": None}, ()),
        ({"userName": None}, ("userNameMissing",)),
        ({"name": {"familyName": "Lovelace"}}, ("givenNameMissing",)),
        ({"name": {"givenName": "Ada"}}, ("familyNameMissing",)),
        ({"name": None}, NAMELESS),
        ({"emails": None}, ("workEmailMissing",)),
        ({"emails": [{"type": "home", "value": "a@b"}]}, ("workEmailMissing",)),
        ({"emails": [{"type": "work", "display": "Ada"}]}, ("workEmailMissing",)),
        # As they were stored before they were refused.
        ({"userName": "  "}, ("userNameMissing",)),
        ({"name": {"givenName": "\u00a0", "familyName": "\u200b"}}, NAMELESS),
        ({"emails": [{"type": "work", "value": " "}]}, ("workEmailMissing",)),
        ({"emails": [{"value": "x@y"}, {"type": "Work", "value": "a@b"}]}, ()),
        (
            {"active": False, "userName": None, "name": None, "emails": None},
            tuple(reason for reason in REASONS if reason != "noGroup"),
        ),
    ],
)
def test_each_rule_disables_with_its_reason(
    lacking: dict[str, Any], reasons: tuple[Reason, ...]
) -> None:
    known = facts({"u": ["g"]}, mapping("g", "role:Owner"))
    access = effective_access(user(**lacking), known)
    assert access.reasons == reasons == user_reasons(user(**lacking), Policy())
    assert access.enabled is (not reasons)
    assert held(access) == ({} if reasons else {"role:Owner": [("g",)]})


def test_a_user_in_no_group_is_disabled_after_all_other_reasons() -> None:
    access = effective_access(user(active=False), facts({"u": []}))
    assert access == EffectiveAccess(enabled=False, reasons=("inactive", "noGroup"))
    assert effective_access(user(), facts({})).reasons == ("noGroup",)


BY_GROUP, KEPT = ("group",), ("kept",)
NO_LONGER = Policy(protected=())


@pytest.mark.parametrize(
    ("who", "groups", "policy", "reasons", "sources"),
    [
        (user(), [], Policy(), (), KEPT),
        (user(), ["other"], Policy(), (), KEPT),
        (user(), ["owners"], Policy(), (), BY_GROUP),
        (user(source="manual"), [], Policy(), (), KEPT),
        (user(active=False), [], Policy(), ("inactive", "noGroup"), ()),
        (user(userName=None), ["other"], Policy(), ("userNameMissing",), ()),
        (user(), [], NO_LONGER, ("noGroup",), ()),
        (user(), ["other"], NO_LONGER, (), ()),
    ],
)
def test_what_is_kept_counts_while_nothing_else_gives_it(
    who: StoredUser,
    groups: list[str],
    policy: Policy,
    reasons: tuple[Reason, ...],
    sources: tuple[str, ...],
) -> None:
    kept = {"u": [KeptGrant(kind="role", key="owner", since=NOW, event_id="e")]}
    known = facts({"u": groups}, mapping("owners", "role:owner"), policy=policy)
    access = effective_access(who, replace(known, kept=kept))
    assert (access.enabled, access.reasons) == (not reasons, reasons)
    assert tuple(s.type for g in access.grants for s in g.sources) == sources


def test_only_the_rules_of_the_policy_disable() -> None:
    lenient = Policy(disable_when=("inactive",))
    known = facts({"u": []}, policy=lenient)
    assert effective_access(user(userName=None), known) == EffectiveAccess(enabled=True)
    assert effective_access(user(active=False), known).reasons == ("inactive",)


def test_a_user_made_by_hand_is_left_alone() -> None:
    by_hand = user("manual", active=False, name=None)
    known = facts({"u": ["g"]}, mapping("g", "role:Owner"))
    assert effective_access(by_hand, known) == EffectiveAccess(enabled=True)


def test_a_grant_by_hand_stays_shown_as_such_and_is_withheld_while_the_user_is_disabled() -> None:
    given = {"u": [EntitlementKey(kind="role", key="owner")]}
    stated = replace(facts({"u": ["g"]}, mapping("g", "role:owner")), manual=given)
    by_hand = Grant(kind="role", key="owner", sources=(GrantSource(type="manual"),))
    assert effective_access(user("manual"), stated) == EffectiveAccess(True, grants=(by_hand,))
    (both,) = effective_access(user(), stated).grants
    assert [source.type for source in both.sources] == ["group", "manual"]
    assert effective_access(user(active=False), stated).grants == ()
    assert effective_access(user(id="other"), stated).grants == ()


def test_a_grant_lists_every_source_in_order() -> None:
    known = facts(
        {"u": ["b", "a"], "a": ["top"], "b": ["top"], "top": []},
        mapping("a", "role:Owner"),
        mapping("top", "role:Owner", "role:Reader", version=7),
    )
    access = effective_access(user(), known)
    assert held(access) == {
        "role:Owner": [("a",), ("a", "top"), ("b", "top")],
        "role:Reader": [("a", "top"), ("b", "top")],
    }
    last = access.grants[1].sources[1]
    assert last == GrantSource(type="group", group_id="top", mapping_version=7, path=("b", "top"))


def test_the_shortest_path_counts_and_loops_end() -> None:
    known = facts(
        {"u": ["a"], "a": ["c", "b"], "b": ["a", "d"], "c": ["d"], "d": ["a", "d"]},
        mapping("d", "role:Owner"),
        mapping("a", "role:Owner"),
    )
    assert held(effective_access(user(), known)) == {"role:Owner": [("a",), ("a", "b", "d")]}


def test_many_shared_ancestors_stay_cheap() -> None:
    """Thirty layers of two groups hold 2^30 paths."""
    groups_of: dict[str, list[str]] = {"u": ["0a", "0b"]}
    for layer in range(30):
        for name in "ab":
            groups_of[f"{layer}{name}"] = [f"{layer + 1}a", f"{layer + 1}b"]
    known = facts(groups_of, mapping("30a", "role:Owner"))
    (grant,) = effective_access(user(), known).grants
    assert [source.path[0] for source in grant.sources] == ["0a", "0b"]


def test_a_deep_chain_costs_what_it_is_long() -> None:
    """A path for each group on the way, most of which give nothing, would be quadratic memory."""
    depth = 30_000
    chain = {f"g{n}": [f"g{n + 1}"] for n in range(depth)} | {"u": ["g0"]}
    tracemalloc.start()
    access = effective_access(user(), facts(chain, mapping(f"g{depth}", "role:Owner")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(access.grants[0].sources[0].path) == depth + 1
    assert peak < 20_000_000


@pytest.mark.parametrize("switched_on", [True, False])
def test_the_cost_center_attribute(switched_on: bool) -> None:
    policy = Policy(cost_center_from_attribute=switched_on)
    known = facts(
        {"u": ["g"]},
        mapping("g", "costCenterMembership:4711"),
        policy=policy,
        cost_centers=frozenset({"4711", ""}),
    )
    (grant,) = effective_access(in_cost_center("4711"), known).grants
    assert [s.type for s in grant.sources] == ["group", "costCenter"][: 1 + switched_on]
    other = effective_access(in_cost_center("12"), known)
    nothing = effective_access(user(), known)
    assert [s.type for g in (*other.grants, *nothing.grants) for s in g.sources] == ["group"] * 2


def record(enabled: bool, *reasons: Reason, grants: tuple[Grant, ...] = ()) -> Access:
    return Access(
        tenant_id="t",
        user_id="u",
        enabled=enabled,
        reasons=reasons,
        grants=grants,
        changed_at=NOW,
        event_id="e",
    )


OWNER = (Grant(kind="role", key="Owner", sources=(GrantSource(type="group", group_id="g"),)),)


@pytest.mark.parametrize(
    ("stored", "document", "expected"),
    [
        (record(True, grants=OWNER), user(), EffectiveAccess(True, (), OWNER)),
        (
            record(True, grants=OWNER),
            user(active=False),
            EffectiveAccess(False, ("inactive",), pending=True),
        ),
        (
            record(False, "inactive", "noGroup"),
            user(),
            EffectiveAccess(False, ("noGroup",), pending=True),
        ),
        (record(False, "inactive"), user(), EffectiveAccess(False, pending=True)),
        (record(False, "noGroup"), user(), EffectiveAccess(False, ("noGroup",))),
        (record(False, "noGroup"), user("manual"), EffectiveAccess(False, pending=True)),
        (record(True), user("manual", active=False), EffectiveAccess(True)),
        (None, user(), EffectiveAccess(False, pending=True)),
        (None, user(active=False), EffectiveAccess(False, ("inactive",), pending=True)),
    ],
)
def test_what_a_read_says_of_a_record_that_may_lag(
    stored: Access | None, document: StoredUser, expected: EffectiveAccess
) -> None:
    assert current_access(stored, document, Policy()) == expected


GROUPS = "abcde"
memberships = st.dictionaries(
    st.sampled_from("u" + GROUPS), st.lists(st.sampled_from(GROUPS), unique=True)
)
mapped = st.dictionaries(
    st.sampled_from(GROUPS),
    st.lists(st.sampled_from(["role:x", "role:y", "costCenterMembership:1"])),
)


@given(memberships, mapped, st.booleans(), st.sets(st.sampled_from(REASONS)))
def test_laws(
    groups_of: dict[str, list[str]],
    mappings: dict[str, list[str]],
    active: bool,
    rules: set[Reason],
) -> None:
    """Held is exactly what the groups above give; order of input is never seen; a read of what
    was just computed says the same."""
    policy = Policy(disable_when=tuple(rules))
    stored = [mapping(group, *entitlements) for group, entitlements in mappings.items()]
    document = user(active=active)
    access = effective_access(document, facts(groups_of, *stored, policy=policy))

    above: set[str] = set()
    waiting = list(groups_of.get("u", []))
    while waiting:
        group = waiting.pop()
        if group not in above:
            above.add(group)
            waiting += groups_of.get(group, [])
    expected = {entitlement for group in above for entitlement in mappings.get(group, [])}
    assert set(held(access)) == (expected if access.enabled else set())

    names = [(grant.kind, grant.key) for grant in access.grants]
    assert names == sorted(names)
    for grant in access.grants:
        paths = [source.path for source in grant.sources]
        assert len(paths) == len(set(paths))
        for source in grant.sources:
            chain = ("u", *source.path)
            assert all(b in groups_of[a] for a, b in pairwise(chain))
            assert source.group_id == source.path[-1]

    backwards = {member: groups[::-1] for member, groups in reversed(groups_of.items())}
    assert access == effective_access(document, facts(backwards, *stored[::-1], policy=policy))

    kept = record(access.enabled, *access.reasons, grants=access.grants)
    assert current_access(kept, document, policy) == access
