"""`manage.py access`: what a user may do, now or at a past time, and every change of it."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.kept import Kept, KeptEntitlement, list_kept
from administration.reading.users import find_user
from commands.output import AsJson, TenantId, begun_here, keys_named, out, plain, run, show
from commands.user import UserName
from commands.why import caused
from directory.access import Grant
from directory.documents import EntitlementKey
from reconciler.questions.history import PastAccess, Timeline, access_at, access_now, timeline
from web.moments import moment

app = typer.Typer(no_args_is_help=True, help="What a user may do, now or at a past time.")


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        raise typer.BadParameter("write it as 2026-11-22 or 2026-11-22T14:09:37Z") from None


@app.command("show")
def access_show(
    tenant: TenantId,
    user: UserName,
    at: Annotated[
        datetime | None,
        typer.Option(parser=_moment, metavar="TIME", help="ISO 8601, UTC; now if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a user may do: enabled or not and why, and the grants with their sources."""

    async def look(application: wiring.Application) -> PastAccess:
        policy = (await tenants.read_tenant(application.store, tenant)).policy
        person = await find_user(application.store, tenant, user)
        now = wiring.utc_now()
        oldest = now - timedelta(days=application.settings.retention_days)
        if at is not None:
            return await access_at(application.store, tenant, person.id, at, oldest)
        return await access_now(application.store, tenant, person, policy)

    found = run(look)
    if as_json:
        show(plain(found), as_json, ())
        return
    if not found.known:
        out.print("The history does not reach back so far.")
        return
    if found.state is None:
        out.print("There was no such user, or no access was computed yet.")
        return
    state = found.state
    out.print("enabled" if state.enabled else f"disabled: {', '.join(state.reasons)}")
    if found.since:
        until = f" until {found.until:%Y-%m-%d %H:%M:%S}Z" if found.until else ""
        out.print(f"since {found.since:%Y-%m-%d %H:%M:%S}Z{until}: {caused(found.cause)}")
    if state.grants:
        show([_grant(grant) for grant in state.grants], as_json, ("kind", "key", "from"))


@app.command("history")
def access_history(
    tenant: TenantId,
    user: UserName,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes to show.")] = 20,
    after: Annotated[
        str | None, typer.Option(help="The continuation that the page before ended with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The changes of a user's access, newest first."""

    async def look(application: wiring.Application) -> Timeline:
        id = await _user(application, tenant, user)
        with begun_here():
            return await timeline(application.store, tenant, id, after, limit)

    page = run(look)
    rows = [
        {
            "at": plain(one.change.at),
            "gained": _keys(one.gained),
            "lost": _keys(one.lost),
            "then": _standing(one.change.after),
            "cause": caused(one.cause),
        }
        | ({"change": plain(one.change)} if as_json else {})
        for one in page.changes
    ]
    if as_json:
        show({"changes": rows, "continuation": page.continuation}, as_json, ())
        return
    show(rows, as_json, ("at", "gained", "lost", "then", "cause"))
    if page.continuation:
        typer.echo(f"More: --after {page.continuation}")


@app.command("kept")
def access_kept(tenant: TenantId, as_json: AsJson = False) -> None:
    """What is kept for its last holder, since when and because of which event."""

    async def look(application: wiring.Application) -> list[KeptEntitlement]:
        policy = (await tenants.read_tenant(application.store, tenant)).policy
        return await list_kept(application.store, tenant, policy)

    rows = [one.model_dump(mode="json", by_alias=True) for one in run(look)]
    show(rows, as_json, ("kind", "key", "userId", "name", "since", "eventId"))


@app.command("let-go")
def access_let_go(
    tenant: TenantId,
    user: UserName,
    entitlement: Annotated[
        str, typer.Argument(metavar="KIND:KEY", help="What is kept, such as role:owner.")
    ],
    as_json: AsJson = False,
) -> None:
    """Stop keeping an entitlement for its last holder; then nobody holds it."""

    async def let_go(application: wiring.Application) -> None:
        await tenants.read_tenant(application.store, tenant)
        (key,) = keys_named([entitlement])
        await Kept(application.service, tenant).let_go(user, key)

    run(let_go)
    access_kept(tenant, as_json)


async def _user(application: wiring.Application, tenant: str, user: str) -> str:
    await tenants.read_tenant(application.store, tenant)
    return (await find_user(application.store, tenant, user)).id


def _keys(entitlements: tuple[EntitlementKey, ...]) -> str:
    return ", ".join(f"{one.kind} {one.key}" for one in entitlements)


def _standing(state: Any) -> str:
    if state is None:
        return "deleted"
    return "enabled" if state.enabled else f"disabled: {', '.join(state.reasons)}"


def _grant(grant: Grant) -> dict[str, str]:
    sources = [
        f"{source.type} {' › '.join(source.path)} version {source.mapping_version}"
        if source.type == "group"
        else f"kept since {source.since:%Y-%m-%d %H:%M}Z"
        if source.type == "kept" and source.since
        else source.type
        for source in grant.sources
    ]
    return {"kind": grant.kind, "key": grant.key, "from": "; ".join(sources)}
