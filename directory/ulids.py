"""ULIDs (https://github.com/ulid/spec), in lower case: text that sorts by the millisecond in which
it was made: ten digits of Crockford's base 32 for the milliseconds since 1970, sixteen at random.
"""

import os
import re
import time
from datetime import UTC, datetime, timedelta

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32."""
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_SHIFTS = range(120, -1, -10)
_ULID = re.compile(rf"[0-7][{_DIGITS}]{{25}}", re.IGNORECASE)
TIME = 10
"""Digits that say when it was made."""


def made_at(ulid: str) -> datetime | None:
    """When a ULID was made, aware; None where the text is no ULID, or the year is beyond 9999."""
    if not _ULID.fullmatch(ulid):
        return None
    milliseconds = 0
    for digit in ulid[:TIME].lower():
        milliseconds = milliseconds << 5 | _DIGITS.index(digit)
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def new_ulid(at: datetime | None = None) -> str:
    """A new ULID of this moment, or of an aware time."""
    seconds = time.time() if at is None else at.timestamp()
    return _written(int(seconds * 1000), int.from_bytes(os.urandom(10)))


def first_ulid(at: datetime) -> str:
    """The smallest ULID of an aware time: a lower bound for all made then or later."""
    return _written(max(0, int(at.timestamp() * 1000)), 0)


def _written(milliseconds: int, chance: int) -> str:
    number = milliseconds << 80 | chance
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
