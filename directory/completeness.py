"""Which attributes a user needs to be granted anything, and which of them are missing."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from directory.reasons import REQUIRED, Reason

_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
"""Unicode categories: separators, control and format characters."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that show nothing, which Unicode files elsewhere: Hangul fillers, Braille."""


def is_blank(text: str) -> bool:
    """Whether a text is empty, or holds only white space and invisible characters, such as U+00A0
    or U+200B (zero width space). A blank text counts as no value."""
    if text.isascii():
        return not text.strip()
    # The first characters usually decide; in a long text each distinct character is checked once.
    return all(map(_shows_nothing, text[:64])) and all(map(_shows_nothing, set(text)))


def _shows_nothing(char: str) -> bool:
    return char.isspace() or char in _FILLERS or unicodedata.category(char) in _INVISIBLE


def missing(resource: Mapping[str, Any]) -> list[Reason]:
    """Which required attributes a canonical SCIM user lacks. Blank texts count as missing: older
    documents hold some, from before they were refused."""
    name = resource.get("name") or {}
    present: dict[Reason, bool] = {
        "userNameMissing": _says_something(resource.get("userName")),
        "givenNameMissing": _says_something(name.get("givenName")),
        "familyNameMissing": _says_something(name.get("familyName")),
        "workEmailMissing": work_email(resource) is not None,
    }
    return [reason for reason in REQUIRED if not present[reason]]


def work_email(resource: Mapping[str, Any]) -> str | None:
    """The value of the first e-mail address of type `work`."""
    for email in resource.get("emails") or ():
        if str(email.get("type", "")).casefold() == "work" and _says_something(email.get("value")):
            return str(email["value"])
    return None


def _says_something(value: object) -> bool:
    return isinstance(value, str) and not is_blank(value)
