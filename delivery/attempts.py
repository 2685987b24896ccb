"""The next step after an attempt to deliver, and the log of attempts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from directory.documents import StoredModel

PAUSES = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, as Standard Webhooks proposes: three days in all."""
JITTER = 0.1
"""A pause is longer by up to this share, so that messages that failed together are spread."""
LONGEST_SECONDS = 86_400.0
"""The longest Retry-After that is respected."""
_GONE = 410
_BUSY = (429, 503)
LOGGED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one attempt: a status, or the kind of failure without a status."""

    status: int = 0
    failure: str = ""
    """`address`, `connection`, `name`, `timeout`, `tls`, `url`."""
    retry_after: str = ""
    """The header as received."""
    milliseconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint has the message."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The status or the kind of failure."""
        return str(self.status) if self.status else self.failure


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `pause` seconds."""

    pause: float


@dataclass(frozen=True, slots=True)
class Disable:
    """Disable the endpoint."""

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
        pause = max(pause, min(_seconds(answer.retry_after, now), LONGEST_SECONDS))
    return Again(pause)


def _seconds(retry_after: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks for; 0 where it is missing or malformed."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0


class Attempt(StoredModel):
    """One attempt to deliver a message, stored in the partition of its endpoint."""

    document_type = "WebhookAttempt"

    attempt_id: str
    """A ULID."""
    endpoint_id: str
    message_id: str
    """The `webhook-id`."""
    kind: str
    tenant: str
    document: str
    """Document id of the change or notice."""
    number: int
    """From 1."""
    at: datetime
    outcome: str
    """`Answer.text`."""
    milliseconds: float
    next_at: datetime | None = None
    ttl: int = LOGGED_DAYS * 86_400

    @property
    def document_id(self) -> str:
        return f"attempt:{self.attempt_id}"


def attempts_partition(endpoint_id: str) -> str:
    """The partition of an endpoint's attempts; no tenant's id has a colon."""
    return f"webhook:{endpoint_id}"
