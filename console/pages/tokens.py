"""The forms to create, rotate and revoke tokens, for all pages that have them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from administration.tokens import Tokens, find_token
from console.visit import NoSuchPage, Visit
from directory.tenants import ENTRA_CONNECTION
from trust.tokens import TokenKind

OVERLAP = timedelta(days=7)
"""How long a rotated token still works."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new token, shown only once; `replaced` is the id of the token that it replaces, if any."""

    text: str
    replaced: str = ""


async def created(visit: Visit, kinds: Collection[TokenKind]) -> Fresh:
    """Create the token that a form asks for, of one of these kinds."""
    kind = next((each for each in kinds if each == visit.given("kind")), None)
    if kind is None:
        raise NoSuchPage("There is no such kind of token here.")
    text = await visit.changing(Tokens).create(
        kind,
        visit.given("note")[:100],
        connection_id=visit.given("connection") or ENTRA_CONNECTION,
    )
    return Fresh(text)


async def changed(visit: Visit, kinds: Collection[TokenKind]) -> Fresh | None:
    """Rotate or revoke the token in the path, which must be of one of these kinds. Returns the new
    token; None where it was revoked."""
    token, tokens = visit.path("token"), visit.changing(Tokens)
    if find_token(visit.tenant, token)[0] not in kinds:
        raise NoSuchPage("There is no such token here.")
    if visit.given("do") == "rotate":
        return Fresh(await tokens.rotate(token, OVERLAP), token)
    await tokens.revoke(token)
    return None
