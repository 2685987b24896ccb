"""The operator's command line: tenants, tokens, the catalog, mappings, and a simulated Entra ID.

It works on the store that MUSTER_DATA names, beside a running server. Every command takes --json
for machines; without it, it prints tables for people.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

import wiring
from administration import catalog as catalogs
from administration import tenants
from administration.demo import Demo
from administration.mappings import Mappings, list_mappings, parse_mappings
from administration.tenants import AdministrationError
from directory.documents import Tenant
from directory.store import StoreError
from scim.auth import TokenKind
from simulation.command import Script
from simulation.command import simulate as play
from simulation.report import show as show_summary

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
tenant_commands = typer.Typer(no_args_is_help=True, help="Customer organisations.")
token_commands = typer.Typer(no_args_is_help=True, help="Secret tokens.")
catalog_commands = typer.Typer(no_args_is_help=True, help="What can be granted.")
mapping_commands = typer.Typer(no_args_is_help=True, help="What the members of a group get.")
app.add_typer(tenant_commands, name="tenant")
app.add_typer(token_commands, name="token")
app.add_typer(catalog_commands, name="catalog")
app.add_typer(mapping_commands, name="mapping")

out = Console()

TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JsonFile = Annotated[
    Path, typer.Argument(help="A JSON file.", exists=True, dir_okay=False, readable=True)
]


def run[T](use: Callable[[wiring.Application], Awaitable[T]]) -> T:
    """Run something on the application; what an operator can mend is said in one line."""

    async def with_application() -> T:
        application = wiring.build(wiring.Settings())
        try:
            return await use(application)
        finally:
            await application.close()

    try:
        return asyncio.run(with_application())
    except (AdministrationError, StoreError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def show(value: Any, as_json: bool, columns: Sequence[str], title: str = "") -> None:
    """Print a dict, or a list of them, as JSON or as a table of these columns."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table(*columns, title=title or None, title_justify="left")
    for row in value if isinstance(value, list) else [value]:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    out.print(table)


@tenant_commands.command("create")
def tenant_create(
    tenant: TenantId,
    name: Annotated[str, typer.Option(help="The organisation's name.")],
    region: Annotated[Literal["eu", "us"], typer.Option(help="Its home region.")] = "eu",
    directory_id: Annotated[
        str | None, typer.Option(help="Its Entra ID directory (tenant) id, a GUID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a tenant with the default catalog. Provisioning is not enabled yet."""

    async def create(application: wiring.Application) -> Tenant:
        created = await tenants.create_tenant(application.store, tenant, name, region, directory_id)
        await catalogs.load_catalog(application.store, tenant, catalogs.default_catalog())
        return created

    show(_row(run(create)), as_json, TENANT_COLUMNS)


@tenant_commands.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """All tenants of this deployment."""
    found = run(lambda application: tenants.list_tenants(application.store))
    show([_row(tenant) for tenant in found], as_json, TENANT_COLUMNS)


@tenant_commands.command("show")
def tenant_show(tenant: TenantId, as_json: AsJson = False) -> None:
    """One tenant, with its policy and its tokens (never their text)."""
    found = run(lambda application: tenants.read_tenant(application.store, tenant))
    row = _row(found) | {
        "policy": found.policy.model_dump(mode="json", by_alias=True),
        "tokens": _tokens(found),
    }
    if as_json:
        show(row, as_json, ())
        return
    show(row, as_json, TENANT_COLUMNS)
    show(row["tokens"], as_json, ("kind", "tokenId", "created", "note"), title="Tokens")
    _show_policy(found, as_json)


@tenant_commands.command("enable")
def tenant_enable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Let the tenant's connections write."""
    _provisioning(tenant, "enabled", as_json)


@tenant_commands.command("disable")
def tenant_disable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Refuse writes of the tenant's connections; reads go on."""
    _provisioning(tenant, "disabled", as_json)


@tenant_commands.command("policy")
def tenant_policy(
    tenant: TenantId,
    strict: Annotated[
        bool | None, typer.Option(help="Refuse unknown attributes and members with a 400.")
    ] = None,
    accept_incomplete_users: Annotated[
        bool | None,
        typer.Option(help="Create users who lack a required attribute, disabled."),
    ] = None,
    cost_center_from_attribute: Annotated[
        bool | None, typer.Option(help="Grant the cost center that the user's attribute names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set rules of a tenant's policy; the running server applies them to every user. Without an
    option it shows the policy."""
    given = {
        "strict": strict,
        "accept_incomplete_users": accept_incomplete_users,
        "cost_center_from_attribute": cost_center_from_attribute,
    }
    changes = {rule: value for rule, value in given.items() if value is not None}

    async def change(application: wiring.Application) -> Tenant:
        if not changes:
            return await tenants.read_tenant(application.store, tenant)
        submit = application.relay.submit
        return await tenants.change_policy(
            application.store, tenant, changes, submit, wiring.utc_now()
        )

    _show_policy(run(change), as_json)


@token_commands.command("create")
def token_create(
    tenant: TenantId,
    kind: Annotated[
        TokenKind, typer.Option(help="scim for Entra ID, access for the application.")
    ] = "scim",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a token and show it, this once."""
    text = run(
        lambda application: tenants.create_token(
            application.store, tenant, kind, wiring.utc_now(), note
        )
    )
    if as_json:
        show({"tenant": tenant, "kind": kind, "token": text}, as_json, ())
        return
    out.print("Keep this token now; Muster stores its digest only and cannot show it again.")
    sys.stdout.write(text + "\n")


@catalog_commands.command("load")
def catalog_load(tenant: TenantId, file: JsonFile, as_json: AsJson = False) -> None:
    """Add entitlements, replacing those of equal kind and key."""

    async def load(application: wiring.Application) -> int:
        await tenants.read_tenant(application.store, tenant)
        content = catalogs.parse_catalog(file.read_bytes())
        return await catalogs.load_catalog(application.store, tenant, content)

    show({"tenant": tenant, "entitlements": run(load)}, as_json, ("tenant", "entitlements"))


@catalog_commands.command("list")
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


@mapping_commands.command("load")
def mapping_load(tenant: TenantId, file: JsonFile, as_json: AsJson = False) -> None:
    """Save mappings from a file; the running server applies them to the members."""

    async def load(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        mappings = Mappings(application.store, tenant, application.relay.submit, wiring.utc_now)
        saved = await mappings.load(parse_mappings(file.read_bytes()))
        return [
            {"groupId": m.group_id, "version": m.version, "entitlements": len(m.entitlements)}
            for m in saved
        ]

    show(run(load), as_json, ("groupId", "version", "entitlements"))


@mapping_commands.command("list")
def mapping_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """Which group gives what, and whether it is applied."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        return await list_mappings(application.store, tenant)

    columns = ("group", "version", "appliedVersion", "entitlements")
    show(run(read), as_json, columns)


@app.command()
def simulate(
    users: Annotated[int, typer.Option(min=1, help="People in the initial cycle.")] = 200,
    groups: Annotated[int, typer.Option(min=1, help="Groups.")] = 12,
    cycles: Annotated[int, typer.Option(min=0, help="Days that follow.")] = 3,
    changes: Annotated[int, typer.Option(min=0, help="Joiners, movers and leavers a day.")] = 40,
    url: Annotated[
        str, typer.Option(help="Where Muster is, without /scim.", envvar="MUSTER_URL")
    ] = "",
    token: Annotated[
        str, typer.Option(help="SCIM token; the demo tenant's if left out.", envvar="MUSTER_TOKEN")
    ] = "",
    access_token: Annotated[
        str, typer.Option(help="Access API token.", envvar="MUSTER_ACCESS_TOKEN")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="The same organisation again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play a customer's Entra ID: test connection, users, groups, members, then days of joiners,
    movers and leavers; ends with who got what. Without a token it plays the demo tenant of
    'make run' and maps its groups; elsewhere the mappings are left as they are."""
    settings = wiring.Settings()
    demo = None if token else Demo.read(settings.data)
    if not (token and access_token) and demo is None:
        typer.secho(
            "No demo tenant in the data folder: start 'make run' first, or give --token and "
            "--access-token.",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
    base = url.rstrip("/") or f"http://127.0.0.1:{os.environ.get('PORT', '7071')}"
    script = Script(
        tenant_url=f"{base}/scim",
        access_url=f"{base}/access/v1",
        scim_token=demo.scim_token if demo else token,
        access_token=demo.access_token if demo else access_token,
        users=users,
        groups=groups,
        cycles=cycles,
        changes=changes,
        seed=seed,
    )
    console = Console(stderr=True) if as_json else out
    summary = run(
        lambda application: play(script, console, (application, demo.tenant) if demo else None)
    )
    if as_json:
        show(summary, as_json, ())
    else:
        show_summary(out, summary)
    raise typer.Exit(1 if summary["wrong"] else 0)


TENANT_COLUMNS = ("tenant", "name", "region", "provisioning", "directoryId")


def _row(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant": tenant.tenant_id,
        "name": tenant.name,
        "region": tenant.region,
        "provisioning": tenant.provisioning,
        "directoryId": tenant.directory_id or "",
    }


def _tokens(tenant: Tenant) -> list[dict[str, str]]:
    kinds = [("scim", token) for c in tenant.connections for token in c.tokens]
    kinds += [("access", token) for token in tenant.access_tokens]
    return [
        {
            "kind": kind,
            "tokenId": token.token_id,
            "created": token.created.isoformat(timespec="seconds"),
            "note": token.note,
        }
        for kind, token in kinds
    ]


def _show_policy(tenant: Tenant, as_json: bool) -> None:
    policy = tenant.policy.model_dump(mode="json", by_alias=True)
    if as_json:
        show(policy, as_json, ())
        return
    rules = [
        {"rule": rule, "value": ", ".join(value) if isinstance(value, list) else value}
        for rule, value in policy.items()
    ]
    show(rules, as_json, ("rule", "value"), title="Policy")


def _provisioning(tenant: str, state: Literal["enabled", "disabled"], as_json: bool) -> None:
    changed = run(
        lambda application: tenants.change_tenant(
            application.store,
            tenant,
            lambda found: found.model_copy(update={"provisioning": state}),
        )
    )
    show(_row(changed), as_json, TENANT_COLUMNS)


if __name__ == "__main__":
    app()
