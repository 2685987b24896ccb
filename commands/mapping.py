"""`manage.py mapping`: which group gives what."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.mappings import Mappings, list_mappings, parse_mappings
from administration.remembered import RememberedMappings
from commands.output import AsJson, JsonFile, TenantId, run, show

app = typer.Typer(no_args_is_help=True, help="What the members of a group get.")


@app.command("load")
def mapping_load(tenant: TenantId, file: JsonFile, as_json: AsJson = False) -> None:
    """Save mappings from a file; the running server applies them to the members."""

    async def load(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        mappings = Mappings(application.service, tenant)
        saved = await mappings.load(parse_mappings(file.read_bytes()))
        return [
            {"groupId": m.group_id, "version": m.version, "entitlements": len(m.entitlements)}
            for m in saved
        ]

    show(run(load), as_json, ("groupId", "version", "entitlements"))


@app.command("list")
def mapping_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """Which group gives what, and whether it is applied; at the end what deleted groups will give
    again if they come back within 30 days."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        return await list_mappings(application.store, tenant)

    columns = ("group", "groupId", "version", "appliedVersion", "entitlements")
    show(run(read), as_json, columns)


@app.command("forget")
def mapping_forget(
    tenant: TenantId,
    group: Annotated[str, typer.Argument(help="The groupId that 'mapping list' shows.")],
) -> None:
    """Forget what a deleted group gave: if it comes back, it gives nothing."""

    async def forget(application: wiring.Application) -> None:
        await tenants.read_tenant(application.store, tenant)
        await RememberedMappings(application.service, tenant).forget(group)

    run(forget)
    typer.echo(f"Forgotten. If the group {group} comes back, it gives nothing.")
