"""`manage.py console`: the administrators' console."""

import os
import sys
from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.errors import AdministrationError
from administration.invitations import Invitations, list_invitations
from administration.tenants import Tenancy
from commands.output import AsJson, TenantId, plain, run, show, show_once
from console.one_time import one_time_link

app = typer.Typer(no_args_is_help=True, help="The administrators' console.")


@app.command("link")
def console_link(tenant: TenantId, as_json: AsJson = False) -> None:
    """A link that signs in to the console of a tenant: once, within ten minutes, on this machine.
    HOST and PORT say where the server listens, as they do for it."""

    async def make(application: wiring.Application) -> str:
        if not application.settings.on_laptop:
            raise AdministrationError(
                "One-time links work on a laptop only. Here, administrators sign in with Entra ID."
            )
        await tenants.read_tenant(application.store, tenant)
        return await one_time_link(application.store, tenant, _this_machine(), wiring.utc_now())

    link = run(make)
    if as_json:
        show({"tenant": tenant, "link": link}, as_json, ())
        return
    sys.stdout.write(link + "\n")


@app.command("invite")
def console_invite(
    tenant: TenantId,
    url: Annotated[
        str,
        typer.Option(help="Scheme and host of the console; MUSTER_PUBLIC_URL, if it is left out."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """A link for whoever sets up a tenant's Entra ID and has no account: it opens the set-up
    pages of the tenant and nothing else, for seven days. Who has it can make secret tokens of the
    tenant."""

    async def make(application: wiring.Application) -> dict[str, str]:
        settings = application.settings
        origin = url or settings.public_url or (_this_machine() if settings.on_laptop else "")
        if not origin:
            raise AdministrationError(
                "Say where the console is: --url https://<your host>, or set MUSTER_PUBLIC_URL."
            )
        made = await Invitations(application.service, tenant).create(origin)
        row: dict[str, str] = plain(made)
        return {"tenant": tenant, **row}

    show_once(run(make), "link", "this link", as_json)


@app.command("invitations")
def console_invitations(
    tenant: TenantId,
    revoke: Annotated[
        str, typer.Option(help="The id of a link to end, and the sessions that it began.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """The set-up links of a tenant: when each was made, expires and was last opened. With
    --revoke, those that are left after it."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        if revoke:
            await Invitations(application.service, tenant).revoke(revoke)
        found = await tenants.read_tenant(application.store, tenant)
        listed = await list_invitations(application.store, found, wiring.utc_now())
        return [plain(each) for each in listed]

    columns = ("id", "live", "created", "expires", "lastOpened")
    show(run(read), as_json, columns)


@app.command("end")
def console_end(tenant: TenantId, as_json: AsJson = False) -> None:
    """End every session at the console of a tenant, and its set-up links, at once.
    Whoever still has a role there can sign in again; whom Entra ID no longer lets in, or gives no
    role, cannot."""
    run(lambda application: Tenancy(application.service, tenant).end_sessions())
    show({"tenant": tenant, "sessions": "ended"}, as_json, ("tenant", "sessions"))


def _this_machine() -> str:
    """Where the server of a laptop listens."""
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "7071")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
