"""`manage.py user`: listing users, and users made by hand."""

from typing import Annotated, Any

import typer

import wiring
from administration.manual_users import ManualUsers
from administration.reading.paging import MOST_PER_PAGE, PAGE, PageOf
from administration.reading.users import UserRow, UserSource, find_row, list_users
from administration.tenants import read_tenant
from commands.output import AsJson, TenantId, begun_here, run, show

app = typer.Typer(no_args_is_help=True, help="Users, and those made by hand.")

COLUMNS = ("userName", "name", "workEmail", "source", "enabled", "userId")

UserName = Annotated[
    str, typer.Argument(metavar="USER", help="The user's id, userName or externalId.")
]
GivenName = Annotated[str | None, typer.Option(help="First name.")]
FamilyName = Annotated[str | None, typer.Option(help="Last name.")]
Email = Annotated[
    str | None, typer.Option(help="Work e-mail, by which Entra ID finds and adopts the user.")
]
DisplayName = Annotated[str | None, typer.Option(help="The name that is shown.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Any other SCIM attribute, such as title=CTO."
    ),
]


@app.command("list")
def user_list(
    tenant: TenantId,
    named: Annotated[str, typer.Option(help="With this in their userName, name or e-mail.")] = "",
    by_hand: Annotated[bool, typer.Option(help="Only those made by hand.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = PAGE,
    after: Annotated[
        str | None, typer.Option(help="The continuation that the page before ended with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A page of a tenant's users."""
    source: UserSource | None = "manual" if by_hand else None

    async def read(application: wiring.Application) -> PageOf[UserRow]:
        policy = (await read_tenant(application.store, tenant)).policy
        with begun_here():
            return await list_users(application.store, tenant, policy, named, after, limit, source)

    page = run(read)
    if as_json:
        users = [_as_json(user) for user in page.rows]
        show({"users": users, "continuation": page.next}, as_json, ())
        return
    show([_row(user) for user in page.rows], as_json, COLUMNS)
    if page.next:
        typer.echo(f"More: --after {page.next}")


@app.command("create")
def user_create(
    tenant: TenantId,
    user_name: Annotated[str, typer.Argument(help="The userName, usually an e-mail address.")],
    given_name: GivenName = None,
    family_name: FamilyName = None,
    email: Email = None,
    display_name: DisplayName = None,
    attributes: Attributes = None,
    as_json: AsJson = False,
) -> None:
    """Make a user by hand; what the user may do is given with 'manage.py grant give'."""
    named = {"userName": user_name}
    given = _attributes(given_name, family_name, email, display_name, attributes)

    async def create(application: wiring.Application) -> UserRow:
        policy = (await read_tenant(application.store, tenant)).policy
        id = await ManualUsers(application.service, tenant).create(named | given)
        return await find_row(application.store, tenant, policy, id)

    _show(run(create), as_json)


@app.command("edit")
def user_edit(
    tenant: TenantId,
    user: UserName,
    user_name: Annotated[str | None, typer.Option(help="A new userName.")] = None,
    given_name: GivenName = None,
    family_name: FamilyName = None,
    email: Email = None,
    display_name: DisplayName = None,
    attributes: Attributes = None,
    as_json: AsJson = False,
) -> None:
    """Change a user made by hand; an empty value clears the attribute. Users whom Entra ID manages
    are changed there."""
    changes = _attributes(given_name, family_name, email, display_name, attributes)
    if user_name is not None:
        changes["userName"] = user_name

    async def edit(application: wiring.Application) -> UserRow:
        policy = (await read_tenant(application.store, tenant)).policy
        found = await find_row(application.store, tenant, policy, user)
        await ManualUsers(application.service, tenant).edit(found.id, changes)
        return await find_row(application.store, tenant, policy, found.id)

    _show(run(edit), as_json)


@app.command("delete")
def user_delete(tenant: TenantId, user: UserName, as_json: AsJson = False) -> None:
    """Delete a user made by hand, with everything given by hand."""

    async def delete(application: wiring.Application) -> str:
        await read_tenant(application.store, tenant)
        return await ManualUsers(application.service, tenant).delete(user)

    show({"tenant": tenant, "deleted": run(delete)}, as_json, ("tenant", "deleted"))


def _attributes(
    given_name: str | None,
    family_name: str | None,
    email: str | None,
    display_name: str | None,
    others: list[str] | None,
) -> dict[str, Any]:
    """The options as SCIM paths with their values."""
    options = {
        "name.givenName": given_name,
        "name.familyName": family_name,
        'emails[type eq "work"].value': email,
        "displayName": display_name,
    }
    attributes: dict[str, Any] = {
        path: value for path, value in options.items() if value is not None
    }
    for other in others or ():
        path, separator, value = other.rpartition("=")
        if not separator:
            raise typer.BadParameter(f"--set takes PATH=VALUE, not {other!r}.")
        attributes[path] = value
    return attributes


def _show(user: UserRow, as_json: bool) -> None:
    show(_as_json(user) if as_json else _row(user), as_json, COLUMNS)


def _as_json(user: UserRow) -> dict[str, Any]:
    return {
        "userId": user.id,
        "userName": user.user_name or None,
        "displayName": user.name,
        "workEmail": user.email or None,
        "externalId": user.external_id,
        "source": user.source,
        "enabled": user.access.enabled,
        "reasons": user.access.reasons,
        "unreadable": user.unreadable,
    }


def _row(user: UserRow) -> dict[str, Any]:
    reasons = ", ".join(user.access.reasons) or "not computed yet"
    why = "its record cannot be read" if user.unreadable else reasons
    return {
        "userName": user.user_name,
        "name": user.name,
        "workEmail": user.email,
        "source": user.source,
        "enabled": "yes" if user.access.enabled else f"no: {why}",
        "userId": user.id,
    }
