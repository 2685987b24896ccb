"""`manage.py group`: groups, their status and what they give."""

from collections import Counter
from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.errors import AdministrationError
from administration.group_import import OUTCOMES, GroupImport, ImportedGroup, parse_import
from administration.reading.groups import GroupOverview, list_groups, read_group
from administration.reading.paging import MOST_PER_PAGE, PAGE, PageOf
from commands.output import AsJson, DataFile, DryRun, TenantId, begun_here, run, show

app = typer.Typer(no_args_is_help=True, help="Groups and their status.")

COLUMNS = ("group", "status", "applied", "members", "gives", "groupId")


@app.command("list")
def group_list(
    tenant: TenantId,
    named: Annotated[str, typer.Option(help="Only those with this in their name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = PAGE,
    after: Annotated[
        str | None, typer.Option(help="The continuation that the page before ended with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A page of a tenant's groups."""

    async def read(application: wiring.Application) -> PageOf[GroupOverview]:
        await tenants.read_tenant(application.store, tenant)
        with begun_here():
            return await list_groups(application.store, tenant, named, after, limit)

    page = run(read)
    if as_json:
        groups = [group.model_dump(mode="json", by_alias=True) for group in page.rows]
        show({"groups": groups, "continuation": page.next}, as_json, ())
        return
    show([_row(group) for group in page.rows], as_json, COLUMNS)
    if page.next:
        typer.echo(f"More: --after {page.next}")


@app.command("import")
def group_import(
    tenant: TenantId, file: DataFile, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Create groups of an earlier integration, with what they give, by externalId. They wait for
    Entra ID, which brings their members. CSV has the columns externalId, displayName, kind, key,
    and a line for each entitlement of a group. Importing the same again changes nothing."""

    async def load(application: wiring.Application) -> list[ImportedGroup]:
        await tenants.read_tenant(application.store, tenant)
        content = parse_import(file.read_bytes())
        return await GroupImport(application.service, tenant).load(content, dry_run=dry_run)

    rows = [group.model_dump(mode="json", by_alias=True) for group in run(load)]
    counts = Counter(row["outcome"] for row in rows)
    summary = {outcome: counts[outcome] for outcome in OUTCOMES}
    if as_json:
        show({**summary, "groups": rows}, as_json, ())
        return
    changed = [
        row | {"changed": ", ".join(row["changed"])}
        for row in rows
        if row["outcome"] != "unchanged"
    ]
    title = ", ".join(f"{count} {outcome}" for outcome, count in summary.items())
    show(changed, as_json, ("outcome", "displayName", "externalId", "changed"), title)


@app.command("show")
def group_show(
    tenant: TenantId,
    group: Annotated[str, typer.Argument(help="The group's id.")],
    as_json: AsJson = False,
) -> None:
    """One group."""

    async def read(application: wiring.Application) -> GroupOverview:
        await tenants.read_tenant(application.store, tenant)
        found = await read_group(application.store, tenant, group)
        if found is None:
            raise AdministrationError(
                f"{tenant} has no group {group[:100]!r}.", f"group list {tenant}"
            )
        return found

    found = run(read)
    shown = found.model_dump(mode="json", by_alias=True) if as_json else _row(found)
    show(shown, as_json, COLUMNS)


def _row(group: GroupOverview) -> dict[str, Any]:
    moving = group.status == "Applying changes"
    return {
        "group": group.display_name,
        "status": group.status + (" (failed)" if group.failed else ""),
        "applied": f"{group.done} / {group.total or '?'}" if moving else "",
        "members": group.members,
        "gives": ", ".join(one.display_name for one in group.entitlements),
        "groupId": group.group_id,
    }
