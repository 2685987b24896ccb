"""What can go wrong with any request, whatever the surface: one table.

`trouble_of` turns what the layers below raise into status, text and headers. Each surface shows
it in its own media type: a SCIM error, problem details, an OAuth error or a page.

| raised | status | Retry-After |
|---|---|---|
| Unproven | 401, with a challenge | |
| HomedElsewhere, Misplaced | 403 | |
| UnknownTenant | 404 | |
| KeysUnavailable | 503 | as it says |
| Throttled | 429 | as it says |
| Unavailable, QueueError | 503 | 5 |
| TooLarge | 413 | |
| NotFound, Conflict, PreconditionFailed | 409 | |
| NotAccepted | 422; 409 where it was overtaken | |
| BadContinuation, BadPosition | 400 | |
| LostPosition | 410 | |
| a stored document that cannot be read | 500, with the request id | |
| anything else | 500, with the request id | |

What a surface ends by itself is raised as a Trouble: a flood, a request that takes too long, a
body that is too large or cannot be read.
"""

import logging
import math
from collections.abc import Mapping
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from directory.ledger import NotAccepted
from directory.store import (
    BadContinuation,
    BadPosition,
    Conflict,
    LostPosition,
    NotFound,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unavailable,
    Unreadable,
)
from queues.port import QueueError
from telemetry.logs import place
from telemetry.observation import current
from trust.refusal import (
    HomedElsewhere,
    KeysUnavailable,
    Refused,
    UnknownTenant,
    Unproven,
)

UNAVAILABLE_SECONDS = 5.0
"""Retry-After of a request that the store or the queue did not answer."""
TOO_SLOW_SECONDS = 30.0
"""Retry-After of a request that took too long."""
LESS = "Send less at once."

log = logging.getLogger("muster.web")

type Kind = Literal["", "syntax", "cursor"]
"""What is wrong with a request that gets a 400, where SCIM has a scimType for it."""


class Trouble(Exception):
    """An error to answer a request with. `detail` is for people: what was wrong, where, and what to
    do."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        retry_after: float | None = None,
        kind: Kind = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        self.kind = kind


def trouble_of(error: Exception, request_id: str = "") -> Trouble:
    """The answer to any exception. An unexpected one is logged with its place in the code only,
    because its text may hold personal data. `request_id` is given for one operation of a bulk
    request."""
    found = error if isinstance(error, Trouble) else _of_store(error) or _of_caller(error)
    if found is not None:
        return found
    request_id = request_id or current().request_id
    log.error("request %s failed: %s", request_id, place(error))
    if isinstance(error, Unreadable):
        return Trouble(
            500,
            "Something that Muster has stored, and that this request needs, cannot be read. Tell "
            f"the operator the request id {request_id}; everything else can be used.",
        )
    return Trouble(
        500,
        "Muster could not answer this request because of an internal fault. Repeat it, and if it "
        f"happens again tell the operator the request id {request_id}.",
    )


def _of_store(error: Exception) -> Trouble | None:
    match error:
        case Throttled(retry_after=seconds):
            return Trouble(
                429,
                "The directory is busy. Repeat the request after the time that Retry-After names; "
                "what it may have written already is not written twice.",
                retry_after=seconds,
            )
        case Unavailable():
            return Trouble(
                503,
                "The directory did not answer in time. Repeat the request.",
                retry_after=UNAVAILABLE_SECONDS,
            )
        case QueueError():
            return Trouble(
                503,
                "The queue did not answer in time. What was accepted is not lost. Repeat the "
                "request.",
                retry_after=UNAVAILABLE_SECONDS,
            )
        case TooLarge():
            return Trouble(
                413,
                "What is to be stored would be larger than 2 MB, the most that Muster stores in "
                "one piece. Send less: fewer entries for one group or user; in Entra ID, leave out "
                "of the attribute mapping what is not needed.",
            )
        case NotFound() | Conflict() | PreconditionFailed():
            # Not a 404: that tells Entra ID to forget the resource and to create it anew.
            return Trouble(
                409,
                "Somebody else changed or removed the same at the same time. Read it again, and "
                "repeat the request if it is still wanted.",
            )
        case NotAccepted(overtaken=overtaken):
            return Trouble(409 if overtaken else 422, str(error))
        case BadContinuation():
            return Trouble(
                400,
                "This page of the list cannot be found: its cursor is not one of this list's. "
                "Begin without one (in SCIM with an empty one, RFC 9865 section 2), then send the "
                "nextCursor of each answer, and leave everything else as it was.",
                kind="cursor",
            )
        case BadPosition():
            return Trouble(
                400,
                "This is no position of the feed. Send the position of the answer before, or the "
                "feedPosition of a list of users, as it was; or begin anew with a list.",
            )
        case LostPosition():
            return Trouble(
                410,
                "The feed has not reached this position: what is stored was restored from a "
                "backup. Begin anew: list all users, and go on from the feedPosition of the first "
                "page.",
            )
    return None


def _of_caller(error: Exception) -> Trouble | None:
    match error:
        case Unproven(detail=detail, challenge=challenge):
            return Trouble(401, detail, {"WWW-Authenticate": challenge})
        case KeysUnavailable(detail=detail, retry_after=seconds):
            return Trouble(503, detail, retry_after=seconds)
        case UnknownTenant(detail=detail):
            return Trouble(404, detail)
        case HomedElsewhere(detail=detail) | Refused(detail=detail):
            return Trouble(403, detail)
        case ClientDisconnect():
            return malformed("The body ended too early. Send the request again.")
        case HTTPException(status_code=status, detail=detail, headers=headers):
            return Trouble(status, detail, headers)
    return None


def too_many_requests(seconds: float) -> Trouble:
    """The answer to a tenant that exceeds its rate limit."""
    return Trouble(
        429,
        "This organisation sends requests faster than Muster takes them from one organisation; "
        "this one was not processed. Repeat it after the time that Retry-After names, as Entra ID "
        "does by itself. If it happens often, look for a second job or a script that uses the same "
        "token or client.",
        retry_after=seconds,
    )


def too_slow(seconds: float) -> Trouble:
    """The answer to a request that exceeded the time limit."""
    return Trouble(
        503,
        f"Muster did not finish this request within {seconds:g} seconds. What it asked for may be "
        "written already, in part or whole, and then takes effect; to repeat it does no harm. If "
        "it happens again, ask for less at once: fewer members, fewer operations, a narrower "
        "filter.",
        retry_after=TOO_SLOW_SECONDS,
    )


def body_too_large(limit: int, hint: str = LESS) -> Trouble:
    """The answer to a body of more bytes than a surface reads."""
    size = f"{limit >> 20} MB ({limit} bytes)" if limit >> 20 else f"{limit} bytes"
    return Trouble(413, f"The body is larger than {size}. {hint}")


def too_many_values(limit: int, hint: str = LESS) -> Trouble:
    """The answer to a JSON body of more values, arrays and objects than a surface reads."""
    return Trouble(413, f"The body holds more than {limit:,} values. {hint}")


def malformed(detail: str) -> Trouble:
    """The answer to a request that cannot be read."""
    return Trouble(400, detail, kind="syntax")
