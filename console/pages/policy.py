"""The policy: each rule with its effect, and a preview of whose access would change."""

from dataclasses import dataclass

from pydantic import ValidationError
from starlette.responses import Response

from administration.catalog import list_catalog
from administration.reading.naming import entitlement_names
from administration.reading.previews import preview_cursor, read_preview
from administration.tenants import Tenancy
from console.pages.editing import choice_value, choices, chosen_in
from console.pages.words import reason_in_words
from console.visit import Page, Visit
from directory.documents import EntitlementKey
from directory.reasons import REASON_TEXTS, REASONS
from directory.tenants import FEWEST_LOST, MOST_PROTECTED, MassLossLimits, Policy
from reconciler.questions.proposal import PolicyProposal
from web.trouble import malformed


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the policy, for people."""

    name: str
    title: str
    effect: str


RULES = (
    Rule(
        "strict",
        "Refuse what Muster does not know",
        "A request with an unknown attribute or an unknown member gets a 400 that names it. "
        "Otherwise it succeeds, and the log names what was ignored.",
    ),
    Rule(
        "accept_incomplete_users",
        "Create users who lack a required attribute",
        "They exist, disabled, with the reason. Otherwise creating them is refused with a message "
        "that says what to fill in.",
    ),
    Rule(
        "cost_center_from_attribute",
        "Grant the cost center that Entra ID sends",
        "The enterprise attribute costCenter grants the catalog entry of that key.",
    ),
    Rule(
        "app_roles",
        "Grant the app roles that Entra ID sends",
        "The attribute roles grants the roles of the catalog whose key or display name it says: "
        "for organisations whose Entra ID cannot assign groups (no P1 licence). Such organisations "
        "may want to leave out below that a user without a group is disabled.",
    ),
)


async def policy(visit: Visit, error: str = "") -> Response:
    """The page."""
    catalog = await list_catalog(visit.store, visit.tenant_id)
    return visit.page(
        "policy.html",
        400 if error else 200,
        policy=visit.tenant.policy,
        rules=RULES,
        disabling={reason: text.rule for reason, text in REASON_TEXTS.items()},
        editor=choices(visit.deployment.kinds, catalog, visit.tenant.policy.protected),
        most_protected=MOST_PROTECTED,
        fewest_lost=FEWEST_LOST,
        error=error,
    )


async def preview(visit: Visit) -> Response:
    """Who would be enabled or disabled, gain and lose."""
    wanted = _wanted(visit)
    if wanted == visit.tenant.policy:
        return await policy(visit, "This is the policy already.")
    if len(wanted.protected) > MOST_PROTECTED:
        return await policy(visit, f"At most {MOST_PROTECTED} entitlements can be protected.")
    cursor = visit.given("cursor")
    page = await read_preview(
        visit.store,
        visit.tenant_id,
        PolicyProposal(wanted),
        preview_cursor(cursor),
    )
    protected = [*visit.tenant.policy.protected, *wanted.protected]
    names = await entitlement_names(visit.store, visit.tenant_id, protected)
    return visit.page(
        "policy_preview.html",
        wanted=wanted,
        fields=_fields(wanted),
        changes=_changes(visit.tenant.policy, wanted, names),
        effects=page.effects,
        counts=page.counts,
        cursor=page.cursor.model_dump_json() if page.cursor else None,
        counting=page.counting.model_dump_json() if page.counting else None,
        names=page.names,
        no_owner=page.no_owner,
        kept=page.kept,
    )


async def save(visit: Visit) -> Response:
    """Save what was previewed; the reconciler applies it to every user."""
    confirmed = visit.given("confirmed") == "yes"
    wanted = _wanted(visit)
    await visit.changing(Tenancy).replace_policy(visit.tenant, wanted, confirmed=confirmed)
    return visit.go("/policy", told="policy-saved")


def _wanted(visit: Visit) -> Policy:
    chosen = set(visit.all_given("rule"))
    when = visit.all_given("disable")
    return visit.tenant.policy.model_copy(
        update={
            **{rule.name: rule.name in chosen for rule in RULES},
            "disable_when": tuple(reason for reason in REASONS if reason in when),
            "protected": chosen_in(visit),
            "mass_loss": _limits(visit),
        }
    )


def _limits(visit: Visit) -> MassLossLimits:
    """Raises malformed."""
    try:
        return MassLossLimits.model_validate(
            {name: visit.given(f"lost-{name}") for name in MassLossLimits.model_fields}
        )
    except ValidationError:
        raise malformed(
            f"A mass loss takes a number of users, {FEWEST_LOST} or more, and per cent, 1 to 100."
        ) from None


def _fields(wanted: Policy) -> list[tuple[str, str]]:
    """A policy as the fields of a form."""
    rules = [("rule", rule.name) for rule in RULES if getattr(wanted, rule.name)]
    protected = [("entitlement", choice_value(one)) for one in wanted.protected]
    lost = [(f"lost-{name}", str(number)) for name, number in wanted.mass_loss]
    return [*rules, *(("disable", reason) for reason in wanted.disable_when), *protected, *lost]


def _changes(
    policy: Policy, wanted: Policy, names: dict[EntitlementKey, str]
) -> list[tuple[str, bool]]:
    """The rules that change: (title, whether the rule holds from now on)."""
    rules = [
        (rule.title, getattr(wanted, rule.name))
        for rule in RULES
        if getattr(wanted, rule.name) != getattr(policy, rule.name)
    ]
    reasons = [
        (f"Disable a user: {reason_in_words(reason)}", reason in wanted.disable_when)
        for reason in REASONS
        if (reason in wanted.disable_when) != (reason in policy.disable_when)
    ]
    before, after = set(policy.protected), set(wanted.protected)
    protected = [(f"Protect {names[one]}", one in after) for one in sorted(before ^ after)]
    lost = wanted.mass_loss
    told = [(f"Tell of a loss of {lost.users} users and {lost.percent} %", True)]
    return [*rules, *reasons, *protected, *(told if lost != policy.mass_loss else ())]


PAGES = (
    Page("/policy", policy),
    Page("/policy/preview", preview, "POST"),
    Page("/policy", save, "POST"),
)
