"""Times that people write: in forms, in parameters of JSON interfaces, on the command line."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

EXAMPLE = "2026-01-31T13:45:00Z"


def moment(text: str) -> datetime:
    """A moment in UTC, from ISO 8601 such as `2026-01-31`, `2026-01-31T13:45` or
    `2026-01-31T13:45:00+01:00`; without an offset it is UTC. Raises ValueError for anything else,
    and for what lies outside the years 1 to 9999 in UTC."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"A time looks like {EXAMPLE}.") from None


def _given(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"a time is text, such as {EXAMPLE}")
    return moment(value)


type Moment = Annotated[datetime, BeforeValidator(_given, json_schema_input_type=datetime)]
"""A moment in a JSON body or in a query."""
