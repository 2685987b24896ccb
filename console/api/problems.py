"""What the API answers where something is wrong."""

from starlette.responses import Response

from console.refusals import refusal_of
from web.problems import Problem, problem_details


def refuse(error: Exception) -> Response:
    """Problem details for whatever was raised."""
    return problem_details(refusal_of(error))


def absent(what: str) -> Problem:
    """What the path names does not exist in the token's organisation."""
    return Problem(404, f"There is no such {what} in this organisation. It may have been deleted.")
