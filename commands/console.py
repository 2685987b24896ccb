"""`manage.py console`: the administrators' console."""

import os
import sys
from typing import Annotated

import typer

import wiring
from administration import tenants
from administration.errors import AdministrationError
from commands.operation import ask
from commands.output import AsJson, TenantId, refuse, run, server, show, show_once
from console.one_time import one_time_link
from operators.secrets import create_set_up_link, list_set_up_links, revoke_set_up_link
from operators.tenants import end_sessions
from settings import Settings
from trust.signing import PARTITION

app = typer.Typer(no_args_is_help=True, help="The administrators' console.")


@app.command("link")
def console_link(tenant: TenantId, as_json: AsJson = False) -> None:
    """A link that signs in to the console of a tenant: once, within ten minutes, on this machine.
    HOST and PORT name the address of the server, as they do for the server itself."""

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


@app.command("operator")
def console_operator(as_json: AsJson = False) -> None:
    """A link that signs in as an operator, who sees every tenant and changes none: once, within
    ten minutes, on this machine."""

    async def make(application: wiring.Application) -> str:
        if not application.settings.on_laptop:
            raise AdministrationError(
                "One-time links work on a laptop only. Here, operators sign in with Entra ID: with "
                "an account of MUSTER_OPERATOR_DIRECTORY that has the app role Operator."
            )
        return await one_time_link(application.store, PARTITION, _this_machine(), wiring.utc_now())

    link = run(make)
    if as_json:
        show({"link": link}, as_json, ())
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
    """A link for the person who sets up a tenant's Entra ID and has no account: it opens the set-up
    pages of the tenant and nothing else, for seven days. Its holder can make secret tokens of the
    tenant."""

    origin = url
    if server() is None and not origin:
        settings = Settings()
        origin = settings.public_url or (_this_machine() if settings.on_laptop else "")
        if not origin:
            refuse("Say where the console is: --url https://<your host>, or set MUSTER_PUBLIC_URL.")
    made = ask(create_set_up_link, {"tenant": tenant}, origin=origin)
    show_once({"tenant": tenant, **made}, "link", "this link", as_json)


@app.command("invitations")
def console_invitations(
    tenant: TenantId,
    revoke: Annotated[
        str, typer.Option(help="The id of a link to end, and the sessions that it began.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """The set-up links of a tenant: when each was made, expires and was last opened. With --revoke,
    the remaining links."""

    if revoke:
        ask(revoke_set_up_link, {"tenant": tenant, "linkId": revoke})
    columns = ("id", "live", "created", "expires", "lastOpened")
    show(ask(list_set_up_links, {"tenant": tenant})["links"], as_json, columns)


@app.command("end")
def console_end(tenant: TenantId, as_json: AsJson = False) -> None:
    """End every session at the console of a tenant, and its set-up links, at once. Users who still
    have a role can sign in again; users who lost the role or the account in Entra ID cannot."""
    ask(end_sessions, {"tenant": tenant})
    show({"tenant": tenant, "sessions": "ended"}, as_json, ("tenant", "sessions"))


def _this_machine() -> str:
    """The URL of the server on a laptop."""
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "7071")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
