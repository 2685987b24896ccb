"""Why a user is disabled (product, section 5): the six reasons, and what people read about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

type Reason = Literal[
    "inactive",
    "userNameMissing",
    "givenNameMissing",
    "familyNameMissing",
    "workEmailMissing",
    "noGroup",
]


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What people read about a reason."""

    label: str
    """Of a user: `Inactive in Entra ID`."""
    rule: str
    """When a user is disabled for it: a sentence."""
    remedy: str
    """What is wrong, and what to do about it."""


@dataclass(frozen=True, slots=True)
class RequiredAttribute(ReasonText):
    """What people read about a missing attribute that every user needs."""

    path: tuple[str, ...]
    """Canonical names, as `/Schemas` shows them."""
    shown: str
    advice: str
    """What to fill in in Entra ID."""


def _required(
    label: str, rule: str, path: tuple[str, ...], shown: str, advice: str
) -> RequiredAttribute:
    remedy = f"{shown} is missing: fill in {advice} in Entra ID."
    return RequiredAttribute(label, rule, remedy, path, shown, advice)


REQUIRED: Mapping[Reason, RequiredAttribute] = {
    "userNameMissing": _required(
        "No user name",
        "userName is empty.",
        ("userName",),
        "userName",
        "the user principal name of the user",
    ),
    "givenNameMissing": _required(
        "No given name",
        "name.givenName is empty.",
        ("name", "givenName"),
        "name.givenName",
        "First name of the user",
    ),
    "familyNameMissing": _required(
        "No family name",
        "name.familyName is empty.",
        ("name", "familyName"),
        "name.familyName",
        "Last name of the user",
    ),
    "workEmailMissing": _required(
        "No work e-mail",
        "There is no e-mail address of type work.",
        ("emails",),
        'emails[type eq "work"].value',
        "Email (mail) of the user",
    ),
}
REASON_TEXTS: Mapping[Reason, ReasonText] = {
    "inactive": ReasonText(
        "Inactive in Entra ID",
        "Entra ID says that the account is disabled, deleted or not assigned.",
        "The account is disabled (active is false): enable it in Entra ID.",
    ),
    **REQUIRED,
    "noGroup": ReasonText(
        "In no provisioned group",
        "No provisioned group contains the user.",
        "No provisioned group contains the user: assign a group to the Enterprise Application in "
        "Entra ID and make the user a member.",
    ),
}
REASONS: tuple[Reason, ...] = tuple(REASON_TEXTS)
"""In the order in which records and answers list them."""
