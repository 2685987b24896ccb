"""Whatever a use case raises, as the answer that the client gets."""

import logging
import traceback

from directory.store import Throttled, TooLarge, Unavailable
from scim.errors import (
    Forbidden,
    PayloadTooLarge,
    ScimError,
    TemporarilyUnavailable,
    TooManyRequests,
    Unauthorized,
    Unexpected,
)
from scim.exchange import Answer
from trust.refusal import HomedElsewhere, KeysUnavailable, Unproven

UNAVAILABLE_SECONDS = 5
"""When to repeat a request that the store did not answer."""

log = logging.getLogger("muster.scim")


def failed(error: Exception, request_id: str) -> Answer:
    """The SCIM error for anything raised. What nobody foresaw is a 500 and goes to the log, by
    its place alone: its text may hold a person's data."""
    found = error if isinstance(error, ScimError) else _foreseen(error)
    if found is None:
        log.error("request %s failed: %s", request_id, _trace(error))
        found = Unexpected(
            "Muster could not answer this request because of a fault of its own; nothing was half "
            f"written. Repeat it, and if it happens again tell the operator the request id "
            f"{request_id}."
        )
    return Answer(found.status, found.body(), found.headers)


def _foreseen(error: Exception) -> ScimError | None:
    match error:
        case Unproven():
            return Unauthorized(error.detail, headers={"WWW-Authenticate": error.challenge})
        case HomedElsewhere():
            return Forbidden(error.detail)
        case KeysUnavailable():
            return TemporarilyUnavailable(error.detail, headers=_retry_after(error.retry_after))
        case Throttled(retry_after=seconds):
            return TooManyRequests(
                "The directory is busy. Repeat the request after the time that Retry-After names; "
                "what it may have written already is not written twice.",
                headers=_retry_after(seconds),
            )
        case TooLarge():
            return PayloadTooLarge(
                "The resource would be larger than 2 MB. Leave out what is not needed in the "
                "attribute mapping."
            )
        case Unavailable():
            return TemporarilyUnavailable(
                "The directory did not answer in time. Repeat the request.",
                headers=_retry_after(UNAVAILABLE_SECONDS),
            )
    return None


def unfinished(error: Throttled | Unavailable) -> ScimError:
    """The answer where a change too large for one batch is committed, and the store failed while
    it was carried out."""
    detail = (
        "The change is accepted and partly written, and Muster finishes it by itself: the "
        "directory was too busy to do so within this request. To repeat it does no harm."
    )
    if isinstance(error, Throttled):
        return TooManyRequests(detail, headers=_retry_after(error.retry_after))
    return TemporarilyUnavailable(detail, headers=_retry_after(UNAVAILABLE_SECONDS))


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(seconds)))}


def _trace(error: BaseException) -> str:
    """Where an exception came from, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames[-8:]))
    return f"{type(error).__name__} in {places}"
