"""Effective access: what a user may do, as a pure function of stored facts (product, section 5).

The reconciler stores the answer of `effective_access`. Previews call the same function with other
facts: they `dataclasses.replace` a mapping or a membership in `Facts`.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from directory.access import Access, AccessState, Grant, GrantSource, KeptGrant, ManualGrant
from directory.completeness import missing
from directory.documents import EntitlementKey
from directory.documents import Mapping as GroupMapping
from directory.reasons import REASONS, Reason
from directory.resources import StoredUser
from directory.tenants import Policy

COST_CENTER = "costCenterMembership"
"""The kind of entitlement that the enterprise attribute `costCenter` can grant."""
ROLE = "role"
"""The kind of entitlement that the attribute `roles` can grant."""
COUNTED_ROLES = 100
"""How many values and display names of a user's `roles` count at most."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What access depends on beside the user's document."""

    groups_of: Mapping[str, Sequence[str]]
    """SCIM id of a user or group → ids of the existing groups that it is a direct member of."""
    mappings: Mapping[str, GroupMapping]
    """Group id → its mapping, at least of every group that `groups_of` leads to."""
    policy: Policy
    cost_centers: frozenset[str]
    """Keys of the catalog's `costCenterMembership` entries, at least those that users name."""
    app_roles: Mapping[str, EntitlementKey] = field(default_factory=dict)
    """Value or display name of a role → the catalog entry that it names; at least for the names in
    users' `roles`."""
    manual: Mapping[str, Sequence[EntitlementKey | ManualGrant]] = field(default_factory=dict)
    """User id → the grants by hand."""
    kept: Mapping[str, Sequence[KeptGrant]] = field(default_factory=dict)
    """User id → what is kept for the user as its last holder; a kept grant counts while the policy
    protects the entitlement."""

    def steps_of(self, users: Collection[str]) -> int:
        """About how many steps (`directory.lanes`) it takes to compute the access of these users
        (SCIM ids) once and to store it: their grants, and the walks through groups."""
        walks = sum(1 + len(self.groups_of.get(id, ())) for id in users)
        above = len(self.groups_of) - len(users)
        return STEPS_PER_GRANT * self.grants_of(users) + walks * above

    def grants_of(self, users: Collection[str]) -> int:
        """About how many grants these users (SCIM ids) have together: the mapping of a group that
        none of them is in directly counts for each of them."""
        sizes = {group: len(mapping.entitlements) for group, mapping in self.mappings.items()}
        direct = [group for id in users for group in self.groups_of.get(id, ())]
        above = sum(sizes[group] for group in sizes.keys() - {*direct})
        by_hand = sum(len(self.manual.get(id, ())) for id in users)
        roles = len(users) * min(len(self.app_roles), COUNTED_ROLES)
        return sum(sizes.get(group, 0) for group in direct) + len(users) * above + by_hand + roles


@dataclass(frozen=True, slots=True)
class EffectiveAccess:
    """Whether a user is enabled, every reason why not, and what the user holds."""

    enabled: bool
    reasons: tuple[Reason, ...] = ()
    grants: tuple[Grant, ...] = ()
    pending: bool = False
    """The access record is missing, or does not reflect the user's document yet."""


STEPS_PER_GRANT = 40
"""Steps (`directory.lanes`) to compute, compare and write one grant."""


def effective_access(user: StoredUser, facts: Facts) -> EffectiveAccess:
    """The access of a stored user; equal input gives an equal answer, order included.

    Users made by hand (source `manual`) are enabled, and groups and attributes give them nothing
    until Entra ID adopts them. Grants by hand count for every enabled user. A kept grant counts
    while nothing else gives the entitlement. Meanwhile `noGroup` does not disable the user: that
    would take the kept grant away.
    """
    access = _without_kept(user, facts)
    kept = facts.kept.get(user.id)
    if not kept or user_reasons(user, facts.policy):
        return access
    held = entitlements(access)
    sources: _Sources = {
        one.entitlement: [one.source]
        for one in kept
        if one.entitlement in facts.policy.protected and one.entitlement not in held
    }
    if not sources:
        return access
    given = _by_hand(user, facts) if user.manual else _sources(user, facts)
    for one, keeping in sources.items():
        given.setdefault(one, []).extend(keeping)
    return EffectiveAccess(enabled=True, grants=_granted(given))


def _without_kept(user: StoredUser, facts: Facts) -> EffectiveAccess:
    """The access of a user without kept grants."""
    if user.manual:
        return EffectiveAccess(enabled=True, grants=_granted(_by_hand(user, facts)))
    applicable = set(user_reasons(user, facts.policy))
    if not facts.groups_of.get(user.id) and "noGroup" in facts.policy.disable_when:
        applicable.add("noGroup")
    if applicable:
        return EffectiveAccess(enabled=False, reasons=_in_order(applicable))
    return EffectiveAccess(enabled=True, grants=_granted(_sources(user, facts)))


def entitlements(access: Access | AccessState | EffectiveAccess) -> frozenset[EntitlementKey]:
    """The granted entitlements."""
    return frozenset(grant.entitlement for grant in access.grants)


def user_reasons(user: StoredUser, policy: Policy) -> tuple[Reason, ...]:
    """The reasons to disable a user that follow from the user's document alone."""
    if user.manual:
        return ()
    applicable = set(missing(user.resource))
    if not user.active:
        applicable.add("inactive")
    return _in_order(applicable.intersection(policy.disable_when))


def current_access(access: Access | None, user: StoredUser, policy: Policy) -> EffectiveAccess:
    """A user's access as a read at this moment answers it.

    The record may lag behind the user's document. So the document disables a user at once
    (deactivation is never eventual), while enabling waits for the record. A user whose access was
    not computed yet is not enabled; `pending` distinguishes this from a user who is disabled for a
    reason.
    """
    applicable: set[Reason] = set(user_reasons(user, policy))
    if access is None:
        return EffectiveAccess(enabled=False, reasons=_in_order(applicable), pending=True)
    if not user.manual and "noGroup" in access.reasons and "noGroup" in policy.disable_when:
        applicable.add("noGroup")
    reasons = _in_order(applicable)
    enabled = access.enabled and not reasons
    return EffectiveAccess(
        enabled=enabled,
        reasons=reasons,
        grants=access.grants if enabled else (),
        pending=reasons != access.reasons,
    )


def state_of(access: Access | EffectiveAccess) -> AccessState:
    """The state of a record or of computed access, which can be compared."""
    return AccessState(enabled=access.enabled, reasons=access.reasons, grants=access.grants)


def visible(before: AccessState | None, after: AccessState | None) -> bool:
    """Whether the application sees a difference; it does not see the sources of grants."""
    return _seen(before) != _seen(after)


def _seen(state: AccessState | None) -> object:
    if state is None:
        return None
    return state.enabled, state.reasons, [(grant.kind, grant.key) for grant in state.grants]


def lacking(here: AccessState | None, there: AccessState | None) -> tuple[EntitlementKey, ...]:
    """Entitlements that are granted in `there` and not in `here`."""
    present = {grant.entitlement for grant in here.grants} if here else set()
    granted = (grant.entitlement for grant in (there.grants if there else ()))
    return tuple(one for one in granted if one not in present)


def cost_center(user: StoredUser, policy: Policy) -> str | None:
    """The key in a user's attribute `costCenter`, where the policy lets the attribute grant."""
    return user.cost_center if policy.cost_center_from_attribute else None


def app_roles(user: StoredUser, policy: Policy) -> tuple[str, ...]:
    """The names in a user's attribute `roles`, where the policy lets the attribute grant."""
    return user.app_roles[:COUNTED_ROLES] if policy.app_roles else ()


def granted_by_attributes(policy: Policy) -> frozenset[str]:
    """The kinds of entitlements that users' attributes can grant under the policy."""
    kinds = {COST_CENTER: policy.cost_center_from_attribute, ROLE: policy.app_roles}
    return frozenset(kind for kind, counts in kinds.items() if counts)


def _in_order(reasons: set[Reason]) -> tuple[Reason, ...]:
    return tuple(reason for reason in REASONS if reason in reasons)


type _Sources = dict[EntitlementKey, list[GrantSource]]
"""Entitlement → what gives it."""


def _sources(user: StoredUser, facts: Facts) -> _Sources:
    sources: _Sources = {}
    for group in sorted(facts.groups_of.get(user.id, ())):
        reached = _reached(group, facts.groups_of)
        for giving in reached:
            mapping = facts.mappings.get(giving)
            if mapping is None or not mapping.entitlements:
                continue
            path = _path(giving, reached)
            source = GrantSource(
                type="group", group_id=giving, mapping_version=mapping.version, path=path
            )
            for entitlement in dict.fromkeys(mapping.entitlements):
                sources.setdefault(entitlement, []).append(source)
    key = cost_center(user, facts.policy)
    if key is not None and key in facts.cost_centers:
        sources.setdefault(EntitlementKey(COST_CENTER, key), []).append(
            GrantSource(type="costCenter")
        )
    named = (facts.app_roles.get(name) for name in app_roles(user, facts.policy))
    for role in dict.fromkeys(held for held in named if held is not None):
        sources.setdefault(role, []).append(GrantSource(type="appRole"))
    for held, by_hand in _by_hand(user, facts).items():
        sources.setdefault(held, []).extend(by_hand)
    return sources


def _by_hand(user: StoredUser, facts: Facts) -> _Sources:
    given = facts.manual.get(user.id, ())
    return {EntitlementKey(one.kind, one.key): [GrantSource(type="manual")] for one in given}


def _granted(sources: _Sources) -> tuple[Grant, ...]:
    return tuple(
        Grant(kind=kind, key=key, sources=tuple(found))
        for (kind, key), found in sorted(sources.items())
    )


type _Reached = dict[str, str | None]
"""Group → the member group through which it was reached; None: the walk began here."""


def _reached(group: str, groups_of: Mapping[str, Sequence[str]]) -> _Reached:
    """The group itself and each group above it, by the shortest path; of several, by the smallest.
    Where groups share ancestors, all paths together would be exponentially many."""
    reached: _Reached = {group: None}
    waiting = deque([group])
    while waiting:
        member = waiting.popleft()
        for parent in sorted(groups_of.get(member, ())):
            if parent not in reached:
                reached[parent] = member
                waiting.append(parent)
    return reached


def _path(group: str, reached: _Reached) -> tuple[str, ...]:
    """The groups from the start of the walk to this group, both included."""
    path = []
    at: str | None = group
    while at is not None:
        path.append(at)
        at = reached[at]
    return tuple(reversed(path))
