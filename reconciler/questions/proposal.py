"""Proposed changes, and the facts as they would be after them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from directory.documents import EntitlementKey, MemberReference, MembershipChange
from directory.documents import Mapping as GroupMapping
from directory.tenants import TENANT_ID, Policy
from reconciler.access import Facts
from reconciler.expansion import Cursor, of_type

UNSAVED = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of change of a mapping that is only proposed."""


@dataclass(frozen=True, slots=True)
class MappingProposal:
    """Other entitlements for the members of some groups."""

    entitlements: Mapping[str, tuple[EntitlementKey, ...]]
    """Group id → all entitlements that its members would get."""


@dataclass(frozen=True, slots=True)
class MembersProposal:
    """Members that would be added to a group and removed from it."""

    group_id: str
    added: tuple[MemberReference, ...] = ()
    """Wins over `removed`."""
    removed: tuple[MemberReference, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyProposal:
    """Another policy of the tenant."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class GrantsProposal:
    """All grants by hand that a user would have."""

    user_id: str
    grants: tuple[EntitlementKey, ...]


type Proposal = MappingProposal | MembersProposal | PolicyProposal | GrantsProposal


@dataclass(frozen=True, slots=True)
class ProposedReach:
    """Whose access a proposal may change, in the fields of an event
    (`reconciler.expansion.Reach`)."""

    tenant_id: str
    scope: Literal["user", "members", "group", "tenant"]
    resource_id: str = ""
    membership: MembershipChange | None = None


def reach_of(tenant_id: str, proposal: Proposal) -> tuple[ProposedReach, Cursor]:
    """Whose access a proposal may change, and the cursor at which to begin."""
    match proposal:
        case MappingProposal(entitlements):
            return ProposedReach(tenant_id, "group"), Cursor(groups=tuple(entitlements))
        case MembersProposal(group, added, removed):
            named = dict.fromkeys((*added, *removed))
            change, groups = MembershipChange.of(named), tuple(of_type("Group", named))
            return ProposedReach(tenant_id, "members", group, change), Cursor(groups=groups)
        case PolicyProposal():
            return ProposedReach(tenant_id, "tenant", TENANT_ID), Cursor()
        case GrantsProposal(user):
            return ProposedReach(tenant_id, "user", user), Cursor()


def policy_then(proposal: Proposal, policy: Policy) -> Policy:
    """The tenant's policy as it would be."""
    return proposal.policy if isinstance(proposal, PolicyProposal) else policy


def policy_to_read(proposal: Proposal, policy: Policy) -> Policy:
    """The policy to read facts under: facts for an attribute are read where the present policy or
    the proposed one lets it grant."""
    if not isinstance(proposal, PolicyProposal):
        return policy
    wanted = proposal.policy
    return wanted.model_copy(
        update={
            name: getattr(policy, name) or getattr(wanted, name)
            for name in ("cost_center_from_attribute", "app_roles")
        }
    )


def proposed(proposal: Proposal, facts: Facts) -> Facts:
    """The facts as they would be. For a MembersProposal, `facts` must include the groups above its
    group."""
    match proposal:
        case MappingProposal(entitlements):
            new = {g: _mapping(g, keys, facts) for g, keys in entitlements.items()}
            return replace(facts, mappings={**facts.mappings, **new})
        case MembersProposal():
            return replace(facts, groups_of=_groups_of(proposal, facts))
        case PolicyProposal(policy):
            return replace(facts, policy=policy)
        case GrantsProposal(user, grants):
            return replace(facts, manual={**facts.manual, user: grants})


def _mapping(group: str, entitlements: tuple[EntitlementKey, ...], facts: Facts) -> GroupMapping:
    old = facts.mappings.get(group)
    return GroupMapping(
        tenant_id="",
        group_id=group,
        version=old.version + 1 if old else 1,
        entitlements=entitlements,
        changed_at=UNSAVED,
        event_id="",
    )


def _groups_of(proposal: MembersProposal, facts: Facts) -> Mapping[str, tuple[str, ...]]:
    groups_of = {member: tuple(groups) for member, groups in facts.groups_of.items()}
    for members, belongs in ((proposal.removed, False), (proposal.added, True)):
        for member in (reference.id for reference in members):
            if member in groups_of:  # the facts need no others
                others = set(groups_of[member]) - {proposal.group_id}
                now = others | {proposal.group_id} if belongs else others
                groups_of[member] = tuple(sorted(now))
    return groups_of
