"""`manage.py tenant`: customer organisations."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

import wiring
from administration import tenants
from administration.checking import Finding, TenantCheck
from administration.demo import FILE, prepare_demo
from administration.group_import import OUTCOMES
from administration.tenant_file import TenantFile
from administration.tenant_import import TenantImported
from commands.operation import ask, every_row
from commands.output import (
    AsJson,
    DryRun,
    JsonFile,
    TenantId,
    keys_named,
    moment_text,
    plain,
    refuse,
    run,
    server,
    show,
)
from commands.token import TOKEN_COLUMNS, token_rows
from directory.documents import EntitlementKey
from directory.reasons import REASONS, Reason
from directory.tenants import FEWEST_LOST, MassLossLimits
from operators.tenants import (
    add_tenant,
    change_entra_tokens,
    change_policy,
    export_file,
    import_file,
    list_tenants,
    read_one_tenant,
    read_tenant_health,
    set_directory,
    set_provisioning,
    set_region,
)
from trust.keysets import KeySets

app = typer.Typer(no_args_is_help=True, help="Customer organisations.")


TENANT_COLUMNS = ("tenant", "name", "region", "provisioning", "directoryId")


@app.command("create")
def tenant_create(
    tenant: TenantId,
    name: Annotated[str, typer.Option(help="The organisation's name.")],
    region: Annotated[Literal["eu", "us"], typer.Option(help="Its home region.")] = "eu",
    directory_id: Annotated[
        str | None, typer.Option(help="Its Entra ID directory (tenant) id, a GUID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a tenant with the default catalog. Provisioning is not enabled yet. Also create it
    here if its home is another region: its requests then get the URL of that region."""

    new = {"id": tenant, "name": name, "region": region, "directoryId": directory_id}
    show(_row(ask(add_tenant, body=new)), as_json, TENANT_COLUMNS)


@app.command("demo")
def tenant_demo(as_json: AsJson = False) -> None:
    """Prepare the demo tenant that 'simulate' plays: enabled, with its tokens in MUSTER_DATA. 'make
    run' does it by itself; 'func start' does not."""

    async def prepare(application: wiring.Application) -> dict[str, str]:
        settings = application.settings
        demo = await prepare_demo(application.service, settings.data, settings.region)
        return {**asdict(demo), "file": str(settings.data / FILE)}

    show(run(prepare), as_json, ("tenant", "file"), "Its tokens are in the file")


@app.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """All tenants of this deployment."""
    if server() is None:
        listed = run(lambda application: tenants.list_tenants(application.store))
        rows = [{"id": one.tenant_id, **plain(one)} for one in listed]
    else:
        rows = [{"id": one["tenant"], **one} for one in every_row(list_tenants, "tenants")]
    rows.sort(key=lambda row: str(row["id"]))
    show([_row(row) for row in rows], as_json, TENANT_COLUMNS)


@app.command("show")
def tenant_show(tenant: TenantId, as_json: AsJson = False) -> None:
    """One tenant, with its policy and its tokens, without their text."""

    found = ask(read_one_tenant, {"tenant": tenant})
    row = _row(found) | {"policy": found["policy"], "tokens": token_rows(tenant)}
    if as_json:
        show(row, as_json, ())
        return
    show(row, as_json, TENANT_COLUMNS)
    show(row["tokens"], as_json, TOKEN_COLUMNS, title="Tokens")
    _show_policy(found["policy"], as_json)


@app.command("health")
def tenant_health(tenant: TenantId, as_json: AsJson = False) -> None:
    """A tenant's health at this moment: what is wrong, its requests, what waits or has failed, and
    how far the set-up in Entra ID is."""
    found = ask(read_tenant_health, {"tenant": tenant})
    if as_json:
        show(found, as_json, ())
        return
    summary = found["summary"]
    summary["troubles"] = ", ".join(summary["troubles"]) or "none"
    rows = [{"what": name, "is": "" if value is None else value} for name, value in summary.items()]
    show(rows, as_json, ("what", "is"))
    steps = [{**step, "at": moment_text(step["at"])} for step in found["checklist"]]
    show(steps, as_json, ("state", "title", "says", "at"), title="Set-up in Entra ID")


@app.command("enable")
def tenant_enable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Allow writes by the tenant's connections."""
    _provisioning(tenant, "enabled", as_json)


@app.command("disable")
def tenant_disable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Refuse writes by the tenant's connections; reads stay allowed."""
    _provisioning(tenant, "disabled", as_json)


@app.command("policy")
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
    app_roles: Annotated[
        bool | None, typer.Option(help="Grant the roles that the user's app roles name.")
    ] = None,
    disable_when: Annotated[
        list[str] | None,
        typer.Option(
            help="What disables a user, replacing what did; can be repeated: "
            f"{', '.join(REASONS)}; '': nothing.",
            metavar="REASON",
        ),
    ] = None,
    protected: Annotated[
        list[str] | None,
        typer.Option(
            help="What the last holder keeps, replacing what it was; can be repeated; '': nothing.",
            metavar="KIND:KEY",
        ),
    ] = None,
    mass_loss: Annotated[
        str | None,
        typer.Option(
            help="Mark and tell of events after which so many users, and such a share of those who "
            "held anything, lost something.",
            metavar="USERS:PERCENT",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set rules of a tenant's policy; the running server applies them to every user. Without an
    option it shows the policy."""

    given = {
        "strict": strict,
        "acceptIncompleteUsers": accept_incomplete_users,
        "costCenterFromAttribute": cost_center_from_attribute,
        "appRoles": app_roles,
        "disableWhen": _reasons(disable_when),
        "protected": _protected(protected),
        "massLoss": None if mass_loss is None else _limits(mass_loss),
    }
    changes = {rule: plain(value) for rule, value in given.items() if value is not None}
    path = {"tenant": tenant}
    found = ask(change_policy, path, body=changes) if changes else ask(read_one_tenant, path)
    _show_policy(found["policy"], as_json)


@app.command("check")
def tenant_check(tenant: TenantId, as_json: AsJson = False) -> None:
    """What keeps a tenant's Test Connection from succeeding, with the remedy for each. Exits with 1
    where Test Connection would fail."""

    async def check(application: wiring.Application) -> list[Finding]:
        key_sets, settings = KeySets(), application.settings
        try:
            found = await tenants.read_tenant(application.store, tenant)
            return await TenantCheck(
                application.store, found, settings.home, settings.cloud, key_sets, wiring.utc_now()
            ).findings()
        finally:
            await key_sets.close()

    findings = run(check)
    show([asdict(each) for each in findings], as_json, ("item", "state", "found", "remedy"))
    if any(each.state == "failing" for each in findings):
        raise typer.Exit(1)


@app.command("region")
def tenant_region(
    tenant: TenantId,
    region: Annotated[Literal["eu", "us"], typer.Argument(help="Its home region.")],
    as_json: AsJson = False,
) -> None:
    """Set a tenant's home region. Other regions refuse its requests with a 403 that names the right
    URL. Nothing that is stored is moved."""
    changed = ask(set_region, {"tenant": tenant}, body={"region": region})
    show(_row(changed), as_json, TENANT_COLUMNS)


@app.command("export")
def tenant_export(
    tenant: TenantId,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; standard output without it.")
    ] = None,
) -> None:
    """Write a tenant's settings, catalog, mappings and digests of tokens as one JSON file: for
    another region, from staging to production, or in case a region is lost. It holds no secrets and
    no personal data; users and members come again from Entra ID."""
    content = TenantFile.model_validate(ask(export_file, {"tenant": tenant})).to_json()
    if output is None:
        sys.stdout.write(content.decode())
        return
    output.touch(mode=0o600)
    output.write_bytes(content)
    typer.echo(f"{tenant} is in {output}")


@app.command("import")
def tenant_import(
    file: JsonFile,
    tenant: Annotated[
        str | None, typer.Option(help="The tenant's id; that of the file without it.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import a tenant's file: it creates a tenant, disabled, or changes what differs in one that
    exists. Credentials of a kind are imported only if the tenant has none of that kind. Importing
    the same file again changes nothing."""

    how = {"tenant": tenant or "", "dryRun": dry_run}
    report = TenantImported.model_validate(ask(import_file, query=how, content=file.read_bytes()))
    if as_json:
        show(plain(report), as_json, ())
        return
    _show_import(report)


@app.command("entra")
def tenant_entra(
    tenant: TenantId,
    directory_id: Annotated[
        str | None, typer.Option(help="Its Entra ID directory (tenant) id, a GUID.")
    ] = None,
    no_directory: Annotated[bool, typer.Option("--no-directory", help="It has none.")] = False,
    accept: Annotated[
        bool | None, typer.Option(help="Whether Secret Token may be left blank.")
    ] = None,
    audience: Annotated[
        list[str] | None,
        typer.Option(help="Audiences that replace the deployment's; '': the deployment's."),
    ] = None,
    application: Annotated[
        list[str] | None,
        typer.Option(help="Applications that tokens may be issued to; '': the deployment's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set which of Entra ID's own tokens count for the tenant: Entra ID sends them where Secret
    Token is left blank. Without an option it shows the settings."""
    given = {
        "accepted": accept,
        "audiences": _texts(audience),
        "applications": _texts(application),
    }
    changes = {name: value for name, value in given.items() if value is not None}

    path = {"tenant": tenant}
    if directory_id or no_directory:
        named = {"directoryId": None if no_directory else directory_id}
        found = ask(set_directory, path, body=named)
    if changes:
        found = ask(change_entra_tokens, path, body=changes)
    elif not (directory_id or no_directory):
        found = ask(read_one_tenant, path)
    row = {"directoryId": found["directoryId"] or "", **found["entra"]}
    show({"tenant": tenant, **row}, as_json, ("tenant", *row))


def _texts(given: list[str] | None) -> tuple[str, ...] | None:
    """The values of an option that can be repeated; a single empty text means none."""
    return None if given is None else tuple(text for text in given if text)


def _reasons(given: list[str] | None) -> tuple[Reason, ...] | None:
    """The reasons to disable a user that an option names, in their fixed order; an unknown one ends
    the command."""
    texts = _texts(given)
    if unknown := set(texts or ()) - set(REASONS):
        refuse(
            f"--disable-when knows no {', '.join(sorted(unknown))}: choose from "
            f"{', '.join(REASONS)}."
        )
    return None if texts is None else tuple(one for one in REASONS if one in texts)


def _row(tenant: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant": tenant["id"],
        "name": tenant["name"],
        "region": tenant["region"],
        "provisioning": tenant["provisioning"],
        "directoryId": tenant.get("directoryId") or "",
    }


def _protected(given: list[str] | None) -> tuple[EntitlementKey, ...] | None:
    if given is None:
        return None
    return () if given == [""] else tuple(dict.fromkeys(keys_named(given)))


def _limits(given: str) -> MassLossLimits:
    users, _, percent = given.partition(":")
    try:
        return MassLossLimits.model_validate({"users": users, "percent": percent})
    except ValidationError:
        refuse(f"A mass loss is written as 10:20: {FEWEST_LOST} users or more, 1 to 100 per cent.")


def _show_policy(policy: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(policy, as_json, ())
        return
    limits = policy["massLoss"]
    said = {
        "massLoss": f"{limits['users']} users, {limits['percent']} %",
        "protected": ", ".join(f"{one['kind']}:{one['key']}" for one in policy["protected"]),
    }
    rules = [
        {"rule": rule, "value": ", ".join(value) if isinstance(value, list) else value}
        for rule, value in {**policy, **said}.items()
    ]
    show(rules, as_json, ("rule", "value"), title="Policy")


def _show_import(report: TenantImported) -> None:
    catalog, groups = report.catalog, Counter(group.outcome for group in report.groups)
    rows = [
        {"what": "tenant", "outcome": report.outcome},
        {"what": "settings", "outcome": ", ".join(report.settings) or "unchanged"},
        {
            "what": "catalog",
            "outcome": f"{len(catalog.added)} new, {len(catalog.changed)} updated, "
            f"{catalog.unchanged} unchanged",
        },
        {
            "what": "groups with mappings",
            "outcome": ", ".join(f"{groups[outcome]} {outcome}" for outcome in OUTCOMES),
        },
    ]
    show(rows, as_json=False, columns=("what", "outcome"))
    for sentence in report.left_out:
        typer.echo(f"Left out: {sentence}")


def _provisioning(tenant: str, state: Literal["enabled", "disabled"], as_json: bool) -> None:
    changed = ask(set_provisioning, {"tenant": tenant}, body={"state": state})
    show(_row(changed), as_json, TENANT_COLUMNS)
