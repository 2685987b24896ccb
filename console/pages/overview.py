"""Overview: how to connect, whether it is on, the tokens, and how it goes."""

from datetime import timedelta
from typing import Literal

from starlette.responses import Response

from administration.kept import list_kept
from administration.reading.checklist import read_checklist
from administration.reading.health import read_health
from administration.tenants import Tenancy
from administration.tokens import KINDS, Tokens, list_tokens
from console.visit import NoSuchPage, Page, Visit
from directory.tenants import ENTRA_CONNECTION

OVERLAP = timedelta(days=7)
"""How long a rotated token still works."""
STATES: tuple[Literal["enabled", "disabled"], ...] = ("enabled", "disabled")
GUIDE = (
    ("objectId", "externalId", "first"),
    ("mail", 'emails[type eq "work"].value', "second"),
    ("userPrincipalName", "userName", ""),
    ('Switch([IsSoftDeleted], , "False", "True", "True", "False")', "active", ""),
    ("givenName", "name.givenName", ""),
    ("surname", "name.familyName", ""),
    ("displayName", "displayName", ""),
)
"""Entra ID's attribute, Muster's, and its place in the order of matching."""


async def overview(visit: Visit, fresh: str | None = None, replaced: str = "") -> Response:
    """The page; `fresh` is a token to show this once, in place of the one `replaced`, if any."""
    health = await read_health(visit.store, visit.tenant_id, visit.now)
    tokens = await list_tokens(visit.store, visit.tenant, visit.now)
    return visit.page(
        "overview.html",
        health=health,
        tokens=tokens,
        kept=await list_kept(visit.store, visit.tenant_id, visit.tenant.policy),
        fresh=fresh,
        replaced=replaced,
        tenant_url=f"{visit.origin}/scim",
        guide=GUIDE,
        overlap_days=OVERLAP.days,
        checklist=await read_checklist(visit.store, visit.tenant, tokens, visit.now),
    )


async def checklist(visit: Visit) -> Response:
    """The part of the page that says how far the set-up is."""
    tokens = await list_tokens(visit.store, visit.tenant, visit.now)
    found = await read_checklist(visit.store, visit.tenant, tokens, visit.now)
    return visit.page("checklist.html", checklist=found)


async def set_provisioning(visit: Visit) -> Response:
    """Enable or disable it."""
    state = next((each for each in STATES if each == visit.given("state")), None)
    if state is None:
        raise NoSuchPage("Provisioning is either enabled or disabled.")
    await visit.changing(Tenancy).set_provisioning(state)
    return visit.go("", told=state)


async def make_token(visit: Visit) -> Response:
    """Create a token and show it, this once."""
    kind = next((each for each in KINDS if each == visit.given("kind")), None)
    if kind is None:
        raise NoSuchPage("There is no such kind of token.")
    text = await visit.changing(Tokens).create(
        kind,
        visit.given("note")[:100],
        connection_id=visit.given("connection") or ENTRA_CONNECTION,
    )
    return await _shown(visit, text)


async def change_token(visit: Visit) -> Response:
    """Rotate a token, which shows the new one, or revoke it."""
    token, tokens = visit.path("token"), visit.changing(Tokens)
    if visit.given("do") == "rotate":
        return await _shown(visit, await tokens.rotate(token, OVERLAP), replaced=token)
    await tokens.revoke(token)
    return visit.go("", told="token-revoked")


async def end_sessions(visit: Visit) -> Response:
    """End every session of the organisation at the console, this one included."""
    if visit.given("do") != "end":
        raise NoSuchPage("Sessions can only be ended.")
    await visit.changing(Tenancy).end_sessions()
    return visit.go("")


async def _shown(visit: Visit, text: str, replaced: str = "") -> Response:
    return await overview(await visit.again(), text, replaced)


PAGES = (
    Page("", overview),
    Page("/checklist", checklist),
    Page("/provisioning", set_provisioning, "POST"),
    Page("/sessions", end_sessions, "POST"),
    Page("/tokens", make_token, "POST"),
    Page("/tokens/{token}", change_token, "POST"),
)
