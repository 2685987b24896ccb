"""Which attributes a user needs to be granted anything, and which of them are missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from directory.documents import Reason


@dataclass(frozen=True, slots=True)
class RequiredAttribute:
    """An attribute that every user needs, and what an administrator does where it is missing."""

    reason: Reason
    path: tuple[str, ...]
    """Canonical names, as `/Schemas` shows them."""
    shown: str
    advice: str


REQUIRED: tuple[RequiredAttribute, ...] = (
    RequiredAttribute(
        "userNameMissing", ("userName",), "userName", "the user principal name of the user"
    ),
    RequiredAttribute(
        "givenNameMissing", ("name", "givenName"), "name.givenName", "First name of the user"
    ),
    RequiredAttribute(
        "familyNameMissing", ("name", "familyName"), "name.familyName", "Last name of the user"
    ),
    RequiredAttribute(
        "workEmailMissing",
        ("emails",),
        'emails[type eq "work"].value',
        "Email (mail) of the user",
    ),
)


def missing(resource: Mapping[str, Any]) -> list[RequiredAttribute]:
    """The required attributes that a canonical SCIM user does not have."""
    name = resource.get("name") or {}
    present = {
        "userNameMissing": bool(resource.get("userName")),
        "givenNameMissing": bool(name.get("givenName")),
        "familyNameMissing": bool(name.get("familyName")),
        "workEmailMissing": work_email(resource) is not None,
    }
    return [required for required in REQUIRED if not present[required.reason]]


def work_email(resource: Mapping[str, Any]) -> str | None:
    """The value of the first e-mail address of type `work`."""
    for email in resource.get("emails") or ():
        if str(email.get("type", "")).casefold() == "work" and email.get("value"):
            return str(email["value"])
    return None
