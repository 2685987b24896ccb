"""`manage.py user`: who is there, and users made by hand."""

from typing import Annotated, Any

import typer

import wiring
from administration import people, tenants
from administration.manual_users import ManualUsers
from commands.output import AsJson, TenantId, run, show

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
    named: Annotated[str, typer.Option(help="Whose userName or name begins so.")] = "",
    by_hand: Annotated[bool, typer.Option(help="Only those made by hand.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=people.MOST_PER_PAGE)] = people.PAGE,
    after: Annotated[
        str | None, typer.Option(help="The continuation that the page before ended with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A page of a tenant's users."""
    page = run(
        lambda application: people.list_people(
            application.store,
            tenant,
            named=named,
            source="manual" if by_hand else None,
            limit=limit,
            continuation=after,
        )
    )
    if as_json:
        show(page.model_dump(mode="json", by_alias=True), as_json, ())
        return
    show([_row(person) for person in page.users], as_json, COLUMNS)
    if page.continuation:
        typer.echo(f"More: --after {page.continuation}")


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

    async def create(application: wiring.Application) -> people.Person:
        await tenants.read_tenant(application.store, tenant)
        id = await ManualUsers(application.service, tenant).create(named | given)
        return await people.read_person(application.store, tenant, id)

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
    """Change a user made by hand; an empty value clears. What Entra ID manages is changed there."""
    changes = _attributes(given_name, family_name, email, display_name, attributes)
    if user_name is not None:
        changes["userName"] = user_name

    async def edit(application: wiring.Application) -> people.Person:
        found = await people.read_person(application.store, tenant, user)
        await ManualUsers(application.service, tenant).edit(found.user_id, changes)
        return await people.read_person(application.store, tenant, found.user_id)

    _show(run(edit), as_json)


@app.command("delete")
def user_delete(tenant: TenantId, user: UserName, as_json: AsJson = False) -> None:
    """Delete a user made by hand, with everything given by hand."""

    async def delete(application: wiring.Application) -> str:
        await tenants.read_tenant(application.store, tenant)
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


def _show(person: people.Person, as_json: bool) -> None:
    shown = person.model_dump(mode="json", by_alias=True) if as_json else _row(person)
    show(shown, as_json, COLUMNS)


def _row(person: people.Person) -> dict[str, Any]:
    reasons = ", ".join(person.reasons)
    return {
        "userName": person.user_name,
        "name": person.display_name,
        "workEmail": person.work_email,
        "source": person.source,
        "enabled": "yes" if person.enabled else f"no: {reasons or 'not computed yet'}",
        "userId": person.user_id,
    }
