"""The policy: which rules hold, and whose access a change of them would change."""

from typing import Annotated

from pydantic import Field

from administration.reading.previews import read_preview
from administration.tenants import Tenancy
from console.api.models import Entitled, PreviewAnswer, keys_of
from console.api.operation import Call
from directory import tenants as stored
from directory.documents import EntitlementKey
from directory.reasons import REASONS, Reason
from directory.tenants import FEWEST_LOST, MOST_PROTECTED, Policy
from reconciler.questions.proposal import PolicyProposal
from web.operation import Answer, Body, Operation, Parameters


class MassLossRule(Answer):
    """When an event is a mass loss: at least so many users lost something by it, and at least this
    share of those who held anything."""

    users: int
    percent: int


class MassLossLimits(Body):
    """When an event is a mass loss: at least so many users lost something by it, and at least this
    share of those who held anything."""

    users: Annotated[int, Field(ge=FEWEST_LOST)]
    percent: Annotated[int, Field(ge=1, le=100)]


class PolicyAnswer(Answer):
    """What the organisation chose."""

    strict: bool
    """Unknown attributes and unknown members are refused instead of ignored."""
    accept_incomplete_users: bool
    """Users that lack a required attribute are created, disabled, instead of refused."""
    disable_when: tuple[Reason, ...]
    """Which rules disable a user."""
    cost_center_from_attribute: bool
    """The enterprise attribute costCenter grants the catalog entry of that key."""
    app_roles: bool
    """The attribute roles grants the roles of the catalog that it names by key or display name."""
    protected: tuple[EntitlementKey, ...]
    """What the last enabled holder keeps, whatever is taken away."""
    mass_loss: MassLossRule
    """Which events count as a mass loss: they are marked, and a notice is sent."""


class Rules(Body):
    """The whole policy."""

    strict: bool
    accept_incomplete_users: bool
    disable_when: Annotated[tuple[Reason, ...], Field(max_length=len(REASONS))]
    cost_center_from_attribute: bool
    app_roles: bool | None = None
    """Left out: as it is."""
    protected: Annotated[tuple[Entitled, ...], Field(max_length=MOST_PROTECTED)] | None = None
    """What the last enabled holder keeps; left out: as it is."""
    mass_loss: MassLossLimits | None = None
    """Which events count as a mass loss; left out: as it is."""

    def of(self, policy: Policy) -> Policy:
        """The policy with these rules."""
        protected = policy.protected if self.protected is None else keys_of(self.protected)
        limits = stored.MassLossLimits(**dict(self.mass_loss)) if self.mass_loss else None
        return policy.model_copy(
            update={
                "strict": self.strict,
                "accept_incomplete_users": self.accept_incomplete_users,
                "disable_when": tuple(one for one in REASONS if one in self.disable_when),
                "cost_center_from_attribute": self.cost_center_from_attribute,
                "app_roles": policy.app_roles if self.app_roles is None else self.app_roles,
                "protected": protected,
                "mass_loss": limits or policy.mass_loss,
            }
        )


class ProposedPolicy(Rules):
    """A policy to preview."""

    cursor: str | None = None
    """`nextCursor` of the page before; empty: the first page."""


class SavedPolicy(Rules):
    """A policy to save."""

    confirmed: bool = False
    """Save it even if nobody would hold the role Owner."""


async def read_policy(call: Call[Parameters, None]) -> PolicyAnswer:
    """The policy."""
    return PolicyAnswer.model_validate(call.tenant.policy)


async def preview_policy(call: Call[Parameters, ProposedPolicy]) -> PreviewAnswer:
    """Who would be enabled or disabled, gain and lose, before anything is saved."""
    page = await read_preview(
        call.store,
        call.tenant_id,
        PolicyProposal(call.body.of(call.tenant.policy)),
        call.preview_cursor(call.body.cursor),
    )
    return call.previewed(page)


async def save_policy(call: Call[Parameters, SavedPolicy]) -> PolicyAnswer:
    """Save the policy. It is applied to every user afterwards."""
    wanted = call.body.of(call.tenant.policy)
    saved = await call.changing(Tenancy).replace_policy(
        call.tenant, wanted, confirmed=call.body.confirmed
    )
    return PolicyAnswer.model_validate(saved.policy)


OPERATIONS = (
    Operation("GET", "/policy", read_policy, PolicyAnswer),
    Operation("POST", "/policy/preview", preview_policy, PreviewAnswer, body=ProposedPolicy),
    Operation("PUT", "/policy", save_policy, PolicyAnswer, body=SavedPolicy),
)
