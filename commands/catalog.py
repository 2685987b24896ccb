"""`manage.py catalog`: what can be granted."""

from typing import Annotated, Any

import typer

import wiring
from administration import catalog as catalogs
from administration import tenants
from administration.catalog_change import Catalog, CatalogPlan
from commands.output import AsJson, DataFile, DryRun, TenantId, run, show

app = typer.Typer(no_args_is_help=True, help="What can be granted.")

COLUMNS = ("change", "kind", "key", "displayName")


@app.command("import")
def catalog_import(
    tenant: TenantId,
    file: DataFile,
    remove_missing: Annotated[
        bool, typer.Option("--remove-missing", help="Remove entries that the file does not have.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add entitlements, and rename those of equal kind and key. CSV has the columns kind, key,
    displayName."""

    async def load(application: wiring.Application) -> CatalogPlan:
        await tenants.read_tenant(application.store, tenant)
        content = catalogs.parse_catalog(file.read_bytes(), application.settings.kinds)
        catalog = Catalog(application.service, tenant)
        return await catalog.load(content, remove_missing=remove_missing, dry_run=dry_run)

    plan = run(load).model_dump(mode="json", by_alias=True)
    if as_json:
        show(plan, as_json, ())
        return
    changes = ("added", "changed", "removed")
    rows = [entry | {"change": change} for change in changes for entry in plan[change]]
    show(rows, as_json, COLUMNS, f"{plan['unchanged']} are unchanged")


@app.command("remove")
def catalog_remove(
    tenant: TenantId,
    kind: Annotated[str, typer.Argument(help="The entry's kind.")],
    key: Annotated[str, typer.Argument(help="Its key.")],
    as_json: AsJson = False,
) -> None:
    """Remove an entry that no mapping gives and no user holds by hand."""

    async def remove(application: wiring.Application) -> None:
        await tenants.read_tenant(application.store, tenant)
        await Catalog(application.service, tenant).remove(kind, key)

    run(remove)
    show({"kind": kind, "key": key, "change": "removed"}, as_json, ("change", "kind", "key"))


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
