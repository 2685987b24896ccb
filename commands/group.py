"""`manage.py group`: groups, their status and what they give."""

from typing import Annotated, Any

import typer

import wiring
from administration import groups, tenants
from commands.output import AsJson, TenantId, run, show

app = typer.Typer(no_args_is_help=True, help="Groups and their status.")

COLUMNS = ("group", "status", "applied", "members", "gives", "groupId")


@app.command("list")
def group_list(
    tenant: TenantId,
    named: Annotated[str, typer.Option(help="Only those with this in their name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=groups.MOST_PER_PAGE)] = groups.PAGE,
    after: Annotated[
        str | None, typer.Option(help="The continuation that the page before ended with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A page of a tenant's groups."""

    async def read(application: wiring.Application) -> groups.GroupPage:
        await tenants.read_tenant(application.store, tenant)
        return await groups.list_groups(
            application.store, tenant, named=named, limit=limit, continuation=after
        )

    page = run(read)
    if as_json:
        show(page.model_dump(mode="json", by_alias=True), as_json, ())
        return
    show([_row(group) for group in page.groups], as_json, COLUMNS)
    if page.continuation:
        typer.echo(f"More: --after {page.continuation}")


@app.command("show")
def group_show(
    tenant: TenantId,
    group: Annotated[str, typer.Argument(help="The group's id.")],
    as_json: AsJson = False,
) -> None:
    """One group."""

    async def read(application: wiring.Application) -> groups.GroupOverview:
        await tenants.read_tenant(application.store, tenant)
        return await groups.read_group(application.store, tenant, group)

    found = run(read)
    shown = found.model_dump(mode="json", by_alias=True) if as_json else _row(found)
    show(shown, as_json, COLUMNS)


def _row(group: groups.GroupOverview) -> dict[str, Any]:
    moving = group.status == "Applying changes"
    return {
        "group": group.display_name,
        "status": group.status + (" (failed)" if group.failed else ""),
        "applied": f"{group.done} / {group.total or '?'}" if moving else "",
        "members": group.members,
        "gives": ", ".join(one.display_name for one in group.entitlements),
        "groupId": group.group_id,
    }
