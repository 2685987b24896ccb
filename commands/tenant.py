"""`manage.py tenant`: customer organisations."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

import wiring
from administration import catalog as catalogs
from administration import tenants
from administration.checking import Finding, TenantCheck
from administration.demo import FILE, prepare_demo
from administration.directories import Directories, claim_directory
from administration.errors import AdministrationError
from administration.group_import import OUTCOMES
from administration.tenant_file import export_tenant, parse_tenant_file
from administration.tenant_import import TenantImport, TenantImported
from administration.tenants import Tenancy
from administration.tokens import ListedToken, list_tokens
from commands.output import AsJson, DryRun, JsonFile, TenantId, keys_named, plain, run, show
from commands.token import TOKEN_COLUMNS, token_row
from directory.documents import EntitlementKey
from directory.reasons import REASONS, Reason
from directory.tenants import FEWEST_LOST, MassLossLimits, Tenant
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
    """Create a tenant with the default catalog. Provisioning is not enabled yet. One whose home is
    another region is known here, so that its requests are sent there."""

    async def create(application: wiring.Application) -> Tenant:
        store, claimed = application.store, None
        if directory_id:
            claimed = await claim_directory(store, tenant, directory_id)
        created = await tenants.create_tenant(store, tenant, name, region, claimed)
        await catalogs.load_catalog(application.store, tenant, catalogs.default_catalog())
        return created

    show(_row(run(create)), as_json, TENANT_COLUMNS)


@app.command("demo")
def tenant_demo(as_json: AsJson = False) -> None:
    """The demo tenant that 'simulate' plays, as 'make run' prepares it: enabled, with tokens that
    MUSTER_DATA keeps. Under 'func start' nobody else does."""

    async def prepare(application: wiring.Application) -> dict[str, str]:
        settings = application.settings
        demo = await prepare_demo(application.service, settings.data, settings.region)
        return {**asdict(demo), "file": str(settings.data / FILE)}

    show(run(prepare), as_json, ("tenant", "file"), "Its tokens are in the file")


@app.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """All tenants of this deployment."""
    found = run(lambda application: tenants.list_tenants(application.store))
    show([_row(tenant) for tenant in found], as_json, TENANT_COLUMNS)


@app.command("show")
def tenant_show(tenant: TenantId, as_json: AsJson = False) -> None:
    """One tenant, with its policy and its tokens (never their text)."""

    async def read(application: wiring.Application) -> tuple[Tenant, list[ListedToken]]:
        found = await tenants.read_tenant(application.store, tenant)
        return found, await list_tokens(application.store, found, wiring.utc_now())

    found, listed = run(read)
    row = _row(found) | {
        "policy": found.policy.model_dump(mode="json", by_alias=True),
        "tokens": [token_row(each) for each in listed],
    }
    if as_json:
        show(row, as_json, ())
        return
    show(row, as_json, TENANT_COLUMNS)
    show(row["tokens"], as_json, TOKEN_COLUMNS, title="Tokens")
    _show_policy(found, as_json)


@app.command("enable")
def tenant_enable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Let the tenant's connections write."""
    _provisioning(tenant, "enabled", as_json)


@app.command("disable")
def tenant_disable(tenant: TenantId, as_json: AsJson = False) -> None:
    """Refuse writes of the tenant's connections; reads go on."""
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
            help="What disables a user, in place of what did; can be repeated: "
            f"{', '.join(REASONS)}; '': nothing.",
            metavar="REASON",
        ),
    ] = None,
    protected: Annotated[
        list[str] | None,
        typer.Option(
            help="What its last holder keeps, in place of what it was; can be repeated; "
            "'': nothing.",
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

    async def change(application: wiring.Application) -> Tenant:
        given = {
            "strict": strict,
            "accept_incomplete_users": accept_incomplete_users,
            "cost_center_from_attribute": cost_center_from_attribute,
            "app_roles": app_roles,
            "disable_when": _reasons(disable_when),
            "protected": _protected(protected),
            "mass_loss": None if mass_loss is None else _limits(mass_loss),
        }
        changes = {rule: value for rule, value in given.items() if value is not None}
        if not changes:
            return await tenants.read_tenant(application.store, tenant)
        return await Tenancy(application.service, tenant).change_policy(changes)

    _show_policy(run(change), as_json)


@app.command("check")
def tenant_check(tenant: TenantId, as_json: AsJson = False) -> None:
    """What stands between a tenant and a green Test Connection, with the remedy for each. Exits
    with 1 where Test Connection would fail."""

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
    """Say where a tenant is at home. Elsewhere its requests are refused with a 403 that names the
    right URL. Nothing of what it stores is moved."""
    changed = run(lambda application: Tenancy(application.service, tenant).set_region(region))
    show(_row(changed), as_json, TENANT_COLUMNS)


@app.command("export")
def tenant_export(
    tenant: TenantId,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; standard output without it.")
    ] = None,
) -> None:
    """Write a tenant's settings, catalog, mappings and digests of tokens as one JSON file: for
    another region, from staging to production, or for the day on which a region is lost. Nothing
    in it is secret, and nobody's data; users and members come again from Entra ID."""
    content = run(lambda application: export_tenant(application.service, tenant)).to_json()
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
    """Bring a tenant's file into this deployment: a new tenant, disabled, or what differs of one
    that is here. Credentials are taken where the tenant has none of a kind. To import again
    changes nothing."""

    async def load(application: wiring.Application) -> TenantImported:
        settings, content = application.settings, parse_tenant_file(file.read_bytes())
        importing = TenantImport(application.service, tenant or content.tenant.id)
        return await importing.load(content, settings.region, settings.kinds, dry_run=dry_run)

    report = run(load)
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
        list[str] | None, typer.Option(help="Audiences in place of the deployment's; '': those.")
    ] = None,
    application: Annotated[
        list[str] | None,
        typer.Option(help="Applications that tokens may be issued to; '': the deployment's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which of Entra ID's own tokens are the tenant's: those that arrive where Secret Token is
    left blank. Without an option it shows that."""
    given = {
        "accepted": accept,
        "audiences": _texts(audience),
        "applications": _texts(application),
    }
    changes = {name: value for name, value in given.items() if value is not None}

    async def change(application: wiring.Application) -> Tenant:
        directories = Directories(application.service, tenant)
        if directory_id or no_directory:
            await directories.register(None if no_directory else directory_id)
        if changes:
            return await directories.change_trust(changes)
        return await tenants.read_tenant(application.store, tenant)

    found = run(change)
    row = {"directoryId": found.directory_id or "", **found.entra.model_dump(mode="json")}
    show({"tenant": tenant, **row}, as_json, ("tenant", *row))


def _texts(given: list[str] | None) -> tuple[str, ...] | None:
    """What an option that can be repeated says; one empty text says none."""
    return None if given is None else tuple(text for text in given if text)


def _reasons(given: list[str] | None) -> tuple[Reason, ...] | None:
    """The reasons to disable a user that an option names, in their own order. Raises
    AdministrationError."""
    texts = _texts(given)
    if unknown := set(texts or ()) - set(REASONS):
        raise AdministrationError(
            f"--disable-when knows no {', '.join(sorted(unknown))}: choose from "
            f"{', '.join(REASONS)}."
        )
    return None if texts is None else tuple(one for one in REASONS if one in texts)


def _row(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant": tenant.tenant_id,
        "name": tenant.name,
        "region": tenant.region,
        "provisioning": tenant.provisioning,
        "directoryId": tenant.directory_id or "",
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
        raise AdministrationError(
            f"A mass loss is written as 10:20: {FEWEST_LOST} users or more, 1 to 100 per cent."
        ) from None


def _show_policy(tenant: Tenant, as_json: bool) -> None:
    policy = tenant.policy.model_dump(mode="json", by_alias=True)
    if as_json:
        show(policy, as_json, ())
        return
    limits = tenant.policy.mass_loss
    policy["massLoss"] = f"{limits.users} users, {limits.percent} %"
    policy["protected"] = [f"{one.kind}:{one.key}" for one in tenant.policy.protected]
    rules = [
        {"rule": rule, "value": ", ".join(value) if isinstance(value, list) else value}
        for rule, value in policy.items()
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
    changed = run(lambda application: Tenancy(application.service, tenant).set_provisioning(state))
    show(_row(changed), as_json, TENANT_COLUMNS)
