"""Error answers of JSON interfaces: problem details (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from web.operation import Fault, ProblemDetails
from web.trouble import Trouble

MEDIA_TYPE = "application/problem+json"
FAULTS = 20
"""The most faults that one answer names."""


class Problem(Trouble):
    """A request that is answered with problem details: what is wrong, where, and what to do."""

    def __init__(self, status: int, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(status, detail)
        self.faults = tuple(faults[:FAULTS])


def problem_details(found: Trouble) -> Response:
    """The answer."""
    body = ProblemDetails(
        title=HTTPStatus(found.status).phrase,
        status=found.status,
        detail=found.detail,
        errors=(found.faults if isinstance(found, Problem) else ()) or None,
    )
    content = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Response(orjson.dumps(content), found.status, found.headers, MEDIA_TYPE)


def unreadable(where: str, error: ValidationError, document: str) -> Problem:
    """The error for a body or parameters that do not fit the OpenAPI document at this path."""
    faults = [
        Fault(
            pointer="/".join(["", *(_escaped(step) for step in one["loc"])]),
            detail=one["msg"],
        )
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return Problem(
        400,
        f"The {where} cannot be read: `errors` says where and why. {document} has the schema.",
        faults,
    )


def _escaped(step: int | str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")
