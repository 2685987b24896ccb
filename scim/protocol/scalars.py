"""Values of simple attributes: what clients may send for each type, and the canonical form.

Every reader takes a JSON value and the attribute's path (for errors), and returns the value to
store or raises InvalidValue (RFC 7643 section 2.3).
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, NoReturn

from scim.protocol.errors import InvalidValue
from scim.protocol.schema import AttributeType

type Scalar = str | bool | int | float

_EXACT = 2**53 - 1
"""Beyond it, JSON numbers are not exact in every store and client (RFC 8259 section 6)."""


def string(value: Any, path: str) -> str:
    """Unicode text without U+0000, which not every store can keep."""
    if not isinstance(value, str):
        refuse(path, "a string", value)
    if "\0" in value:
        raise InvalidValue(f"'{path}' holds the character U+0000; remove it at its source.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue(
                f"'{path}' is no valid Unicode text: it holds half of a surrogate pair."
            ) from None
    return value


def _plain_widths() -> dict[int, str]:
    blocks = (0x3000, *range(0xFF00, 0xFFF0))
    mappings = ((code, unicodedata.decomposition(chr(code)).split()) for code in blocks)
    return {
        code: chr(int(mapping[1], 16))
        for code, mapping in mappings
        if mapping and mapping[0] in ("<wide>", "<narrow>")
    }


_PLAIN_WIDTHS = _plain_widths()
"""Full-width and half-width characters → the plain ones (RFC 8265 section 3.3.2, rule 1)."""


_DECOMPOSED = {0x0F73: "\u0f71\u0f72", 0x0F75: "\u0f71\u0f74", 0x0F81: "\u0f71\u0f80"}
"""Characters that are not combining, but decompose into two combining ones of different classes."""
_SHORT = 64
"""Texts of at most this many characters are normalised quickly, in whatever order their marks."""


@cache
def _marks() -> re.Pattern[str]:
    codes = (code for code in range(0x20000) if unicodedata.combining(chr(code)))
    return re.compile(f"[{''.join(map(chr, codes))}]{{33,}}")


def _ordered(text: str) -> str:
    """The same text (canonically equivalent) with every long run of combining characters in
    canonical order. `normalize` would take time that grows with the square of the run's length, and
    block every thread meanwhile."""
    return _marks().sub(
        lambda run: "".join(sorted(run[0], key=unicodedata.combining)),
        text.translate(_DECOMPOSED),
    )


def fold(text: str) -> str:
    """The form in which texts are compared without case (RFC 7644 section 5, RFC 8265
    UsernameCaseMapped): width mapping, case mapping, normalisation (NFC).

    Case is mapped by case folding, not to lower case as in RFC 8265: there, the mapping of a
    capital sigma depends on the letters around it, so a part of a text would not be found in it.
    Folding equates more (ß and ss). Characters that RFC 8265 prohibits are accepted: a userName may
    hold spaces. A change of this function must raise `directory.tenants.COMPARABLE_FORM`.
    """
    if text.isascii():
        return text.lower()
    text = text.translate(_PLAIN_WIDTHS)
    decomposed = unicodedata.normalize("NFD", text if len(text) <= _SHORT else _ordered(text))
    return unicodedata.normalize("NFC", decomposed.casefold())


def folds(text: str) -> tuple[str, ...]:
    """The forms in which a text may be stored while a store is brought up to date
    (`scim.comparable_form`): that of `fold`, and the former one where it differs."""
    return tuple(dict.fromkeys((fold(text), text.casefold())))


_BOOLEANS = {"true": True, "false": False}


def boolean(value: Any, path: str) -> bool:
    """true, false, or either as a string in any case, as Entra ID sends it."""
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        refuse(path, "true or false", value)
    return known


_INTEGER = re.compile(r"[+-]?[0-9]{1,16}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,4})?")


def integer(value: Any, path: str) -> int:
    """A whole number, or a string that holds one."""
    if isinstance(value, str):
        whole = _INTEGER.fullmatch(value) is not None
    else:
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    if not whole:
        refuse(path, "a whole number", value)
    number = int(value)
    if abs(number) > _EXACT:
        raise InvalidValue(f"'{path}' must be between -{_EXACT} and {_EXACT}.")
    return number


def decimal(value: Any, path: str) -> int | float:
    """A number, or a string that holds one."""
    number = value
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        refuse(path, "a number", value)
    if isinstance(number, int) and abs(number) <= _EXACT:
        return number
    try:
        number = float(number)
    except OverflowError:
        number = float("inf")
    if not abs(number) < float("inf"):
        raise InvalidValue(f"'{path}' must be a number that fits 64 bits (IEEE 754).")
    return number


_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)


def utc(text: str) -> str:
    """An xsd:dateTime as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, whose binary order is the order of time.

    Without a zone it is taken as UTC; fractions beyond microseconds are cut off. Raises ValueError
    for a text that is no xsd:dateTime, or is outside the years 1 to 9999.
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError("not an xsd:dateTime")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("outside the years 1 to 9999") from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def date_time(value: Any, path: str) -> str:
    """A date with a time, kept as it was sent."""
    if not isinstance(value, str):
        refuse(path, "a string with a date and time", value)
    try:
        utc(value)
    except ValueError:
        raise InvalidValue(
            f"'{path}' must be a date and time such as 2026-01-31T08:00:00Z; the request holds "
            f"{value[:60]!r}. In Entra ID, map it with FormatDateTime and the output format "
            "yyyy-MM-ddTHH:mm:ssZ."
        ) from None
    return value


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


def binary(value: Any, path: str) -> str:
    """Base64, kept as it was sent; padding may be missing, but not wrong."""
    if not isinstance(value, str):
        refuse(path, "a string in base64", value)
    digits = value.rstrip("=")
    padded = len(digits) == len(value) or len(value) % 4 == 0
    if not (_BASE64.fullmatch(value) and padded and len(digits) % 4 != 1):
        raise InvalidValue(f"'{path}' must be base64 (RFC 4648) without line breaks.")
    return value


SCALARS: dict[AttributeType, Callable[[Any, str], Scalar]] = {
    "string": string,
    "boolean": boolean,
    "integer": integer,
    "decimal": decimal,
    "dateTime": date_time,
    "binary": binary,
    "reference": string,
}
"""The reader of each simple type."""


def refuse(path: str, expected: str, value: Any) -> NoReturn:
    """Raises InvalidValue for a value of the wrong JSON type."""
    raise InvalidValue(
        f"'{path}' must be {expected}; the request holds {json_type(value)}. Correct the "
        "attribute mapping in Entra ID."
    )


_JSON_TYPES = {
    bool: "a boolean",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def json_type(value: Any) -> str:
    """The name of a JSON value's type, with its article."""
    return _JSON_TYPES.get(type(value), "a number")
