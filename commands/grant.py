"""`manage.py grant`: what a user holds by hand, independently of groups."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.grants import Grants, list_given
from commands.output import AsJson, TenantId, keys_named, run, show
from commands.user import UserName

app = typer.Typer(no_args_is_help=True, help="What a user is given by hand.")

COLUMNS = ("kind", "key", "displayName", "since", "by")

Entitlements = Annotated[
    list[str],
    typer.Argument(metavar="KIND:KEY...", help="Entitlements of the catalog, such as role:owner."),
]


@app.command("give")
def grant_give(
    tenant: TenantId, user: UserName, entitlements: Entitlements, as_json: AsJson = False
) -> None:
    """Give a user entitlements of the catalog. They stay when Entra ID adopts the user."""
    chosen = keys_named(entitlements)
    _change(tenant, user, lambda grants: grants.give(user, chosen), as_json)


@app.command("withdraw")
def grant_withdraw(
    tenant: TenantId, user: UserName, entitlements: Entitlements, as_json: AsJson = False
) -> None:
    """Take back what a user was given by hand; what groups give stays."""
    chosen = keys_named(entitlements)
    _change(tenant, user, lambda grants: grants.withdraw(user, chosen), as_json)


@app.command("list")
def grant_list(tenant: TenantId, user: UserName, as_json: AsJson = False) -> None:
    """What a user was given by hand, since when and by whom."""
    show(run(lambda application: _given(application, tenant, user)), as_json, COLUMNS)


def _change(
    tenant: str, user: str, change: Callable[[Grants], Awaitable[object]], as_json: bool
) -> None:
    async def changed(application: wiring.Application) -> list[dict[str, Any]]:
        await tenants.read_tenant(application.store, tenant)
        await change(Grants(application.service, tenant))
        return await _given(application, tenant, user)

    show(run(changed), as_json, COLUMNS)


async def _given(application: wiring.Application, tenant: str, user: str) -> list[dict[str, Any]]:
    rows = []
    for grant in await list_given(application.store, tenant, user):
        row = grant.model_dump(mode="json", by_alias=True)
        by = grant.given_by
        rows.append(row | {"by": f"{by.type} {by.id}" if by else ""})
    return rows
