"""`manage.py why`: why a user holds an entitlement, or what is missing."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.reading.users import find_user
from commands.output import AsJson, TenantId, out, plain, run, show
from commands.user import UserName
from directory.documents import EntitlementKey
from reconciler.questions.causes import Cause
from reconciler.questions.why import Chain, Why
from reconciler.questions.why import why as ask


def why(
    tenant: TenantId,
    user: UserName,
    kind: Annotated[str, typer.Argument(help="Kind of the entitlement, such as role.")],
    key: Annotated[str, typer.Argument(help="Its key, such as addInUser.")],
    as_json: AsJson = False,
) -> None:
    """The chain from the request to the grant; for what a user does not hold, what is missing."""

    async def look(application: wiring.Application) -> Why | None:
        await tenants.read_tenant(application.store, tenant)
        id = (await find_user(application.store, tenant, user)).id
        return await ask(application.store, tenant, id, EntitlementKey(kind=kind, key=key))

    found = run(look)
    if found is None:
        raise typer.Exit(1)  # deleted just now
    if as_json:
        show(_row(found), as_json, ())
        return
    held = "holds" if found.granted else "does not hold"
    out.print(
        f"{user} {held} {kind} {key}" + (f" ({found.display_name})." if found.display_name else ".")
    )
    for obstacle in found.obstacles:
        out.print(f"  {obstacle.text}")
    if found.chains and found.obstacles:
        out.print("It comes, once nothing is in the way, by:")
    for chain in found.chains:
        _print(chain)
    if found.more:
        out.print("… and in more ways.")


def _row(found: Why) -> dict[str, Any]:
    obstacles = [plain(one) | {"text": one.text} for one in found.obstacles]
    return {**plain(found), "obstacles": obstacles}


def _print(chain: Chain) -> None:
    out.print(f"- {chain.source.type}")
    for link in chain.links:
        member = "the user" if link is chain.links[0] else "which"
        since = f" since {link.since:%Y-%m-%d %H:%M}Z" if link.since else ""
        out.print(f"  {member} is in “{link.group}”{since}: {caused(link.cause)}")
    match chain.source.type:
        case "group":
            out.print(f"  mapping version {chain.source.mapping_version}: {caused(chain.cause)}")
        case "costCenter":
            out.print(f"  the attribute costCenter: {caused(chain.cause)}")
        case "appRole":
            out.print(f"  the attribute roles: {caused(chain.cause)}")
        case "manual":
            out.print(f"  given by hand: {caused(chain.cause)}")
        case "kept":
            since = f" since {chain.source.since:%Y-%m-%d %H:%M}Z" if chain.source.since else ""
            out.print(f"  kept for the last holder{since}, or lost by: {caused(chain.cause)}")


def caused(cause: Cause | None) -> str:
    """Who caused it, when, and with which request."""
    if cause is None:
        return "by an event that is no longer known"
    at = f" at {cause.at:%Y-%m-%d %H:%M:%S}Z" if cause.at else ""
    if cause.event is None:
        return f"event {cause.event_id}{at}, which has expired"
    event = cause.event
    state = "" if event.state == "done" else f" ({event.state})"
    who = f"{event.operation} by {event.actor.type} {event.actor.id}"
    return f"{who}{at}, request {event.request_id}{state}"
