"""Why a user holds an entitlement, and what is missing where the user does not.

Chains are computed from the current facts, with the function that the reconciler uses; the stored
record then shows whether they have been applied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from directory.access import Access, GrantSource, ManualGrant, SourceType, access_id, gives
from directory.condition import AnyElement, Compare
from directory.documents import (
    Entitlement,
    EntitlementKey,
    Membership,
    entitlement_id,
    group_id,
    membership_id,
)
from directory.reading import read_all, readable
from directory.resources import ENTERPRISE_USER, StoredGroup, StoredUser
from directory.store import Query, Store, Stored
from directory.tenants import TENANT_ID
from reconciler.access import (
    COST_CENTER,
    ROLE,
    EffectiveAccess,
    Facts,
    cost_center,
    current_access,
    effective_access,
)
from reconciler.facts import read_truth
from reconciler.questions.causes import Cause, last_cause, open_causes, read_causes
from reconciler.questions.obstacles import NamedGroup, Obstacle

CHAINS = 20
"""How many chains of one entitlement are listed."""
GROUPS = 10
"""How many groups that would give the entitlement are listed."""
OPEN_EVENTS = 5
"""How many events that are not done are listed."""
_ATTRIBUTES: dict[SourceType, str] = {
    "costCenter": f"{ENTERPRISE_USER}:costCenter",
    "appRole": "roles",
}
"""Type of source → the user's attribute that gives the grant."""


@dataclass(frozen=True, slots=True)
class Link:
    """One membership along a path."""

    member_id: str
    group: NamedGroup
    since: datetime | None
    """None where the membership was removed during the read."""
    cause: Cause | None
    """The event that added the member."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One way in which an entitlement reaches a user."""

    source: GrantSource
    links: tuple[Link, ...]
    """Memberships from the user to the mapped group; empty for other sources."""
    cause: Cause | None
    """The event that saved this version of the mapping, gave the grant by hand, last wrote the
    attribute, or would have taken the kept grant; None where that is no longer known."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer about an entitlement and a user."""

    user_id: str
    held: EntitlementKey
    display_name: str | None
    """The entitlement's; None where the catalog does not have it."""
    granted: bool
    """Whether a read of the user's access shows it at this moment."""
    due: bool
    """Whether directory, mappings and policy give it."""
    chains: tuple[Chain, ...]
    """Every way that gives it, or would without the obstacles; at most CHAINS."""
    more: bool
    """Whether there are more chains."""
    obstacles: tuple[Obstacle, ...]
    """In the order to deal with them; empty where it is granted and due."""


async def why(store: Store, tenant_id: str, user: str, held: EntitlementKey) -> Why | None:
    """The chains of an entitlement to a user (SCIM id), and what is missing; None where there is
    no such user. The round trips depend on how deep groups are nested and on nothing else. Raises
    StoreError."""
    entry = entitlement_id(*held)
    truth = await read_truth(store, tenant_id, [user], also=(access_id(user), entry))
    if user not in truth.users:
        return None
    stored, facts, found = truth.users[user], truth.facts, truth.also
    record = found.get(access_id(user))
    recorded = Access.from_document(record.document) if record else None
    question = _Question(store, tenant_id, stored, facts, held, recorded)
    granted = bool(_sources(current_access(recorded, stored, facts.policy), held))
    sources = _sources(effective_access(stored, facts), held)
    due = bool(sources)
    sources = sources or question.sources_if_enabled()
    chains = await question.chains(sources[:CHAINS])
    obstacles = await question.obstacles(granted, due, chains, in_catalog=entry in found)
    return Why(
        user_id=user,
        held=held,
        display_name=_display_name(readable(found).get(entry)),
        granted=granted,
        due=due,
        chains=chains,
        more=len(sources) > CHAINS,
        obstacles=obstacles,
    )


def _sources(
    access: EffectiveAccess | Access | None, held: EntitlementKey
) -> tuple[GrantSource, ...]:
    grants = access.grants if access else ()
    found = [grant.sources for grant in grants if grant.entitlement == held]
    return found[0] if found else ()


def _display_name(entry: Stored | None) -> str | None:
    return Entitlement.from_document(entry.document).display_name if entry else None


@dataclass(frozen=True, slots=True)
class _Question:
    store: Store
    tenant_id: str
    user: StoredUser
    facts: Facts
    held: EntitlementKey
    record: Access | None

    @property
    def user_id(self) -> str:
        return self.user.id

    def sources_if_enabled(self) -> tuple[GrantSource, ...]:
        """The sources that would give it to the user if adopted by Entra ID and enabled."""
        policy = self.facts.policy.model_copy(update={"disable_when": ()})
        adopted = StoredUser({**self.user.document, "source": "scim"}, self.user.etag)
        return _sources(effective_access(adopted, replace(self.facts, policy=policy)), self.held)

    async def chains(self, sources: Sequence[GrantSource]) -> tuple[Chain, ...]:
        """The chains of these sources, in two round trips, and one more for an attribute."""
        edges = {
            membership_id(group, member)
            for source in sources
            for member, group in pairwise((self.user_id, *source.path))
        }
        groups = {group_id(group) for source in sources for group in source.path}
        found = await read_all(self.store, self.tenant_id, [*sorted(edges), *sorted(groups)])
        known = readable(found)
        memberships = {
            edge: Membership.from_document(known[edge].document) for edge in edges if edge in known
        }
        ulids = [membership.event_id for membership in memberships.values()]
        ulids += [id for source in sources if (id := self._event_of(source)) is not None]
        causes = await read_causes(self.store, self.tenant_id, ulids)
        chains = []
        for source in sources:
            links = []
            for member, group in pairwise((self.user_id, *source.path)):
                edge = memberships.get(membership_id(group, member))
                named = _named(group, found)
                since, cause = (edge.since, causes[edge.event_id]) if edge else (None, None)
                links.append(Link(member, named, since, cause))
            event = self._event_of(source)
            origin = causes[event] if event else await self._attribute_cause(source)
            chains.append(Chain(source, tuple(links), origin))
        return tuple(chains)

    def _event_of(self, source: GrantSource) -> str | None:
        """The event that saved the mapping, gave the grant, or would have taken the kept grant."""
        if source.type == "kept":
            return source.event_id
        if source.group_id is not None:
            return self.facts.mappings[source.group_id].event_id
        for one in self.facts.manual.get(self.user_id, ()) if source.type == "manual" else ():
            if isinstance(one, ManualGrant) and one.entitlement == self.held:
                return one.event_id
        return None

    async def _attribute_cause(self, source: GrantSource) -> Cause | None:
        name = _ATTRIBUTES.get(source.type)
        if name is None:
            return None
        wrote = Compare((), "eq", name)
        attributes = AnyElement(("attributes",), wrote)
        return await last_cause(self.store, self.tenant_id, self.user_id, attributes)

    async def obstacles(
        self, granted: bool, due: bool, chains: Sequence[Chain], *, in_catalog: bool
    ) -> tuple[Obstacle, ...]:
        """Everything between the user and the entitlement."""
        if granted and due:
            return ()
        found = [] if due else await self._missing(chains, in_catalog)
        if granted != due:
            found += await self._late(chains)
        return tuple(found)

    async def _missing(self, chains: Sequence[Chain], in_catalog: bool) -> list[Obstacle]:
        """What directory, mappings or policy lack."""
        obstacles = []
        reasons = effective_access(self.user, self.facts).reasons
        if reasons:
            obstacles.append(Obstacle("disabled", reasons=reasons))
        if self.user.manual:
            obstacles.append(Obstacle("notAdopted"))
        if chains:
            return obstacles
        if not in_catalog:
            return [*obstacles, Obstacle("notInCatalog")]
        if self.held.kind == COST_CENTER:
            obstacles += self._cost_center()
        if self.held.kind == ROLE:
            obstacles += await self._app_roles()
        return [*obstacles, await self._groups()]

    def _cost_center(self) -> list[Obstacle]:
        policy = self.facts.policy
        if policy.cost_center_from_attribute:
            return [Obstacle("costCenterDiffers")]
        switched_on = policy.model_copy(update={"cost_center_from_attribute": True})
        named = cost_center(self.user, switched_on) == self.held.key
        return [Obstacle("costCenterOff")] if named else []

    async def _app_roles(self) -> list[Obstacle]:
        """The obstacle where app roles count, or would count under another policy."""
        if self.facts.policy.app_roles:
            return [Obstacle("appRolesDiffer")]
        if not self.user.app_roles:
            return []
        truth = await read_truth(
            self.store,
            self.tenant_id,
            [self.user_id],
            under=lambda policy: policy.model_copy(update={"app_roles": True}),
        )
        named = self.held in truth.facts.app_roles.values()
        return [Obstacle("appRolesOff")] if named else []

    async def _groups(self) -> Obstacle:
        """The obstacle that the user is in no group that gives it, or that no group does."""
        where = gives("entitlements", self.held)
        query = Query("Mapping", where, fields=("groupId",), limit=GROUPS)
        page = await self.store.query(self.tenant_id, query)
        groups = [mapping.document["groupId"] for mapping in page.items]
        found = await read_all(self.store, self.tenant_id, [group_id(group) for group in groups])
        named = tuple(_named(group, found) for group in groups if group_id(group) in found)
        if not named:
            return Obstacle("noGroupMapped")
        return Obstacle("notMember", groups=named, more=page.continuation is not None)

    async def _late(self, chains: Sequence[Chain]) -> list[Obstacle]:
        """Why the record is not up to date yet."""
        late = {
            chain.source.group_id: Obstacle(
                "mappingNotApplied", groups=(chain.links[-1].group,), causes=(chain.cause,)
            )
            for chain in chains
            if chain.links and chain.cause and chain.cause.open
        }
        if late:
            return list(late.values())
        recorded = {group for source in _sources(self.record, self.held) for group in source.path}
        about = (self.tenant_id, TENANT_ID, *self.facts.groups_of, *recorded)
        causes = await open_causes(self.store, self.tenant_id, about, OPEN_EVENTS)
        return [Obstacle("recordLags", causes=causes)]


def _named(group: str, found: dict[str, Stored]) -> NamedGroup:
    stored = readable(found).get(group_id(group))
    return NamedGroup(group, StoredGroup.of(stored).display_name if stored else None)
