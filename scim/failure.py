"""Whatever a use case raises, as the answer that the client gets."""

import logging
import math

from directory.store import Throttled, TooLarge, Unavailable
from scim.exchange import Answer
from scim.protocol.errors import (
    Forbidden,
    PayloadTooLarge,
    ScimError,
    TemporarilyUnavailable,
    TooManyRequests,
    Unauthorized,
    Unexpected,
)
from telemetry.logs import place
from trust.refusal import HomedElsewhere, KeysUnavailable, Unproven

UNAVAILABLE_SECONDS = 5
"""When to repeat a request that the store did not answer."""

log = logging.getLogger("muster.scim")


def failed(error: Exception, request_id: str) -> Answer:
    """The SCIM error for anything raised. What nobody foresaw is a 500 and goes to the log, by
    its place alone: its text may hold a person's data."""
    found = error if isinstance(error, ScimError) else _foreseen(error)
    if found is None:
        log.error("request %s failed: %s", request_id, place(error))
        found = Unexpected(
            "Muster could not answer this request because of a fault of its own. Repeat it, and "
            f"if it happens again tell the operator the request id {request_id}."
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
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def too_many_requests(seconds: float) -> TooManyRequests:
    """The answer to a tenant that sent more than its share."""
    return TooManyRequests(
        "This organisation sends requests faster than Muster takes them from one organisation; "
        "this one was not processed. Entra ID repeats it by itself. If it happens often, look for "
        "a second job or a script that uses the same token.",
        headers=_retry_after(seconds),
    )
