"""ULIDs (https://github.com/ulid/spec), in lower case: text that sorts by the millisecond in which
it was made.

Made here and not by the library that reads them, because every write makes about four.
"""

import os
import time
from datetime import UTC, datetime

from ulid import ULID

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32."""
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_SHIFTS = range(120, -1, -10)


def made_at(ulid: str) -> datetime | None:
    """When it was made, aware; None where it is no ULID."""
    try:
        return ULID.from_str(ulid.upper()).datetime.astimezone(UTC)
    except ValueError:
        return None


def new_ulid(at: datetime | None = None) -> str:
    """A new one, of this moment or of an aware time."""
    seconds = time.time() if at is None else at.timestamp()
    number = int(seconds * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
