"""`manage.py catalog`: what can be granted."""

from typing import Any

import typer

import wiring
from administration import catalog as catalogs
from administration import tenants
from commands.output import AsJson, JsonFile, TenantId, run, show

app = typer.Typer(no_args_is_help=True, help="What can be granted.")


@app.command("load")
def catalog_load(tenant: TenantId, file: JsonFile, as_json: AsJson = False) -> None:
    """Add entitlements, replacing those of equal kind and key."""

    async def load(application: wiring.Application) -> int:
        await tenants.read_tenant(application.store, tenant)
        content = catalogs.parse_catalog(file.read_bytes())
        return await catalogs.load_catalog(application.store, tenant, content)

    show({"tenant": tenant, "entitlements": run(load)}, as_json, ("tenant", "entitlements"))


@app.command("list")
def catalog_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """What can be granted in a tenant."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        found = await catalogs.list_catalog(application.store, tenant)
        return [
            {"kind": entry.kind, "key": entry.key, "displayName": entry.display_name}
            for entry in found
        ]

    show(run(read), as_json, ("kind", "key", "displayName"))
