"""What is done after an attempt, and the log of attempts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from directory.documents import StoredModel

PAUSES = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, as Standard Webhooks has them: three days in all."""
JITTER = 0.1
"""A pause is longer by up to this share, so that what failed together does not come together."""
LONGEST_SECONDS = 86_400.0
"""The most of a Retry-After that is heeded."""
_GONE = 410
_BUSY = (429, 503)
LOGGED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or the kind of the failure to get one."""

    status: int = 0
    failure: str = ""
    """`address`, `connection`, `name`, `timeout`, `tls`, `url`."""
    retry_after: str = ""
    """The header, as it came."""
    milliseconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint has the message."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """In a word."""
        return str(self.status) if self.status else self.failure


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more, after so many seconds."""

    pause: float


@dataclass(frozen=True, slots=True)
class Disable:
    """Send this endpoint nothing more."""

    reason: str


def next_step(attempt: int, answer: Answer, now: datetime, chance: float) -> Again | Disable | None:
    """What to do after an attempt (1: the first); None: nothing, it succeeded. `chance` is a
    number from 0 to 1."""
    if answer.succeeded:
        return None
    if answer.status == _GONE:
        return Disable("It answered 410 Gone.")
    if attempt >= len(PAUSES):
        return Disable(
            f"It did not take a message in {attempt} attempts; the last one ended with "
            f"{answer.text}."
        )
    pause = PAUSES[attempt] + round(PAUSES[attempt] * JITTER * chance, 1)
    if answer.status in _BUSY:
        pause = max(pause, min(_asked(answer.retry_after, now), LONGEST_SECONDS))
    return Again(pause)


def _asked(retry_after: str, now: datetime) -> float:
    """Seconds that a Retry-After asks for; 0 where it says nothing that can be read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0


class Attempt(StoredModel):
    """One attempt to deliver a message, in a partition of its endpoint's own."""

    document_type = "WebhookAttempt"

    attempt_id: str
    """A ULID."""
    endpoint_id: str
    message_id: str
    """The `webhook-id`."""
    kind: str
    tenant: str
    document: str
    """Document id of what it tells."""
    number: int
    """1: the first."""
    at: datetime
    outcome: str
    """A status, or the kind of the failure to get one."""
    milliseconds: float
    next_at: datetime | None = None
    ttl: int = LOGGED_DAYS * 86_400

    @property
    def document_id(self) -> str:
        return f"attempt:{self.attempt_id}"


def attempts_partition(endpoint_id: str) -> str:
    """The partition of an endpoint's attempts; no tenant's id has a colon."""
    return f"webhook:{endpoint_id}"
