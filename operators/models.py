"""What several operations have in common."""

from typing import Annotated, Literal

from pydantic import Field

from web.operation import Answer, Body, Parameters

type Name = Annotated[str, Field(min_length=1, max_length=200)]
type Note = Annotated[str, Field(max_length=200)]
type Region = Literal["eu", "us"]
type State = Literal["disabled", "enabled"]
YEARS = 24 * 366 * 3


class Continued(Parameters):
    """Parameters of a list with further pages."""

    cursor: str | None = None
    """`nextCursor` of the page before (empty: the first page); all else stays as it was."""


class Rotation(Body):
    """How the older secret ends."""

    overlap_hours: Annotated[float, Field(ge=0, le=YEARS)] = 168
    """How long the older secret still works."""


class Fresh(Answer):
    """A new secret."""

    id: str
    """The id of the token, or of the credential, that it belongs to."""
    secret: str
    """Shown only once: Muster keeps its digest only."""
