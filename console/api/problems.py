"""What the API answers where something is wrong: problem details (RFC 9457)."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from administration.tenants import AdministrationError, Overtaken
from console.api.models import Fault, ProblemDetails
from directory.store import Throttled, Unavailable
from queues.port import QueueError
from scim.protocol.errors import ScimError
from trust.refusal import KeysUnavailable, Refused, Unproven

MEDIA_TYPE = "application/problem+json"
BUSY_SECONDS = 5.0
FAULTS = 20
"""Faults that one answer names."""


class Problem(Exception):
    """A request that is answered with problem details: what is wrong, where, and what to do."""

    def __init__(
        self,
        status: int,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = tuple(faults[:FAULTS])
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer."""
        body = ProblemDetails(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            errors=self.faults or None,
        )
        content = body.model_dump(mode="json", by_alias=True, exclude_none=True)
        return Response(orjson.dumps(content), self.status, {**self.headers}, MEDIA_TYPE)


def absent(what: str) -> Problem:
    """What the path names does not exist in the token's organisation."""
    return Problem(404, f"There is no such {what} in this organisation. It may have been deleted.")


def malformed(where: str, error: ValidationError) -> Problem:
    """A body or parameters that are not what the document says."""
    faults = [
        Fault(
            pointer="/".join(["", *(_escaped(step) for step in one["loc"])]),
            detail=one["msg"],
        )
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return Problem(
        400,
        f"The {where} cannot be read: `errors` says where and why. /console/api/openapi.json has "
        "the schema.",
        faults,
    )


def foreseen(error: Exception) -> Problem | None:
    """The problem for anything that a use case raises on purpose; None for a fault of Muster's."""
    match error:
        case Problem():
            return error
        case Unproven():
            return Problem(401, _UNPROVEN, headers={"WWW-Authenticate": error.challenge})
        case KeysUnavailable(retry_after=seconds):
            return busy(503, seconds)
        case Refused():
            return Problem(403, error.detail)
        case Overtaken():
            return Problem(409, str(error))
        case AdministrationError():
            return Problem(422, str(error))
        case ScimError():
            return Problem(error.status, error.detail, headers=error.headers)
        case Throttled(retry_after=seconds):
            return busy(429, seconds)
        case Unavailable() | QueueError():
            return busy(503, BUSY_SECONDS)
    return None


def busy(status: int, seconds: float) -> Problem:
    """Muster, or what it rests on, asks for patience."""
    return Problem(
        status,
        "Muster is busy. Repeat the request after the seconds that Retry-After names.",
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )


def _escaped(step: int | str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")


_UNPROVEN = (
    "The bearer token is missing or not valid for the console's API. Create one in the console "
    "under Overview, Tokens, for the Console API; tokens of other kinds, and the cookie of the "
    "console's pages, do not count here."
)
