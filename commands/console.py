"""`manage.py console`: the administrators' console."""

import os
import sys

import typer

import wiring
from administration import tenants
from administration.errors import AdministrationError
from administration.tenants import Tenancy
from commands.output import AsJson, TenantId, run, show
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
        host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "7071")
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return await one_time_link(application.store, tenant, url, wiring.utc_now())

    link = run(make)
    if as_json:
        show({"tenant": tenant, "link": link}, as_json, ())
        return
    sys.stdout.write(link + "\n")


@app.command("end")
def console_end(tenant: TenantId, as_json: AsJson = False) -> None:
    """End every session at the console of a tenant, at once. Whoever still has a role there can
    sign in again; whom Entra ID no longer lets in, or gives no role, cannot."""
    run(lambda application: Tenancy(application.service, tenant).end_sessions())
    show({"tenant": tenant, "sessions": "ended"}, as_json, ("tenant", "sessions"))
