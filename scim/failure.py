"""Whatever a use case raises, as the answer that the client gets."""

import logging
import traceback

from directory.store import Throttled, TooLarge, Unavailable
from scim.errors import (
    PayloadTooLarge,
    ScimError,
    TemporarilyUnavailable,
    TooManyRequests,
    Unexpected,
)
from scim.exchange import Answer

log = logging.getLogger("muster.scim")


def failed(error: Exception, request_id: str) -> Answer:
    """The SCIM error for anything raised. What nobody foresaw is a 500 and goes to the log, by
    its place alone: its text may hold a person's data."""
    found = error if isinstance(error, ScimError) else _of_store(error)
    if found is None:
        log.error("request %s failed: %s", request_id, _trace(error))
        found = Unexpected(
            "Muster could not answer this request because of a fault of its own; nothing was half "
            f"written. Repeat it, and if it happens again tell the operator the request id "
            f"{request_id}."
        )
    return Answer(found.status, found.body(), found.headers)


def _of_store(error: Exception) -> ScimError | None:
    match error:
        case Throttled(retry_after=seconds):
            return TooManyRequests(
                "The directory is busy; nothing was written. Repeat the request after the time "
                "that Retry-After names.",
                headers={"Retry-After": str(max(1, round(seconds)))},
            )
        case TooLarge():
            return PayloadTooLarge(
                "The resource would be larger than 2 MB. Leave out what is not needed in the "
                "attribute mapping."
            )
        case Unavailable():
            return TemporarilyUnavailable(
                "The directory did not answer in time. Repeat the request.",
                headers={"Retry-After": "5"},
            )
    return None


def _trace(error: BaseException) -> str:
    """Where an exception came from, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames[-8:]))
    return f"{type(error).__name__} in {places}"
