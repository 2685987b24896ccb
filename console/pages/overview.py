"""Overview: the state and health of provisioning, tokens of programs, set-up links and sessions."""

from collections import Counter
from typing import Literal

from starlette.responses import Response

from administration.invitations import Invitation, Invitations, list_invitations
from administration.kept import list_kept
from administration.reading.checklist import read_checklist
from administration.reading.health import read_health
from administration.tenants import Tenancy
from administration.tokens import list_tokens
from console.pages.tokens import OVERLAP, Fresh, changed, created
from console.visit import NoSuchPage, Page, Visit
from trust.tokens import TokenKind

STATES: tuple[Literal["enabled", "disabled"], ...] = ("enabled", "disabled")
KINDS: tuple[TokenKind, ...] = ("access", "console")
"""Kinds of tokens for programs. Those of connections are on the set-up page."""


async def overview(
    visit: Visit, fresh: Fresh | None = None, invitation: Invitation | None = None
) -> Response:
    """The page; `fresh` and `invitation` are a new token and a new set-up link, shown only once."""
    health = await read_health(visit.store, visit.tenant_id, visit.now)
    tokens = await list_tokens(visit.store, visit.tenant, visit.now)
    checklist = await read_checklist(visit.store, visit.tenant, tokens, visit.now)
    return visit.page(
        "overview.html",
        health=health,
        tokens=[one for one in tokens if one.kind in KINDS],
        kept=await list_kept(visit.store, visit.tenant_id, visit.tenant.policy),
        fresh=fresh,
        invitation=invitation,
        invitations=await list_invitations(visit.store, visit.tenant, visit.now),
        overlap_days=OVERLAP.days,
        steps=Counter(one.state for one in checklist),
        wrong=[one for one in checklist if one.state == "wrong"],
    )


async def set_provisioning(visit: Visit) -> Response:
    """Enable or disable provisioning."""
    state = next((each for each in STATES if each == visit.given("state")), None)
    if state is None:
        raise NoSuchPage("Provisioning is either enabled or disabled.")
    await visit.changing(Tenancy).set_provisioning(state)
    return visit.go("", told=state)


async def make_token(visit: Visit) -> Response:
    """Create a token and show it, only once."""
    fresh = await created(visit, KINDS)
    return await overview(await visit.again(), fresh)


async def change_token(visit: Visit) -> Response:
    """Rotate a token, which shows the new one, or revoke it."""
    fresh = await changed(visit, KINDS)
    if fresh is None:
        return visit.go("", told="token-revoked")
    return await overview(await visit.again(), fresh)


async def invite(visit: Visit) -> Response:
    """Make a set-up link and show it, only once."""
    invitation = await visit.changing(Invitations).create(visit.origin)
    return await overview(await visit.again(), invitation=invitation)


async def revoke_invitation(visit: Visit) -> Response:
    """End a set-up link."""
    await visit.changing(Invitations).revoke(visit.path("invitation"))
    return visit.go("", told="invitation-revoked")


async def end_sessions(visit: Visit) -> Response:
    """End every session of the organisation at the console, this one included."""
    if visit.given("do") != "end":
        raise NoSuchPage("Sessions can only be ended.")
    await visit.changing(Tenancy).end_sessions()
    return visit.go("")


PAGES = (
    Page("", overview),
    Page("/provisioning", set_provisioning, "POST"),
    Page("/sessions", end_sessions, "POST"),
    Page("/invitations", invite, "POST"),
    Page("/invitations/{invitation}", revoke_invitation, "POST"),
    Page("/tokens", make_token, "POST"),
    Page("/tokens/{token}", change_token, "POST"),
)
