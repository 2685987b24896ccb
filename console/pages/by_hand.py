"""Users made by hand, and what users are given by hand."""

from starlette.responses import Response

from administration.catalog import list_catalog
from administration.errors import AdministrationError
from administration.grants import Grants, list_given
from administration.kept import Kept
from administration.manual_users import ManualUsers
from console.pages.editing import choices, chosen_in
from console.pages.users import user_of
from console.visit import NoSuchPage, Page, Visit

FIELDS = {
    "userName": ("User name", "username"),
    "name.givenName": ("Given name", "given-name"),
    "name.familyName": ("Family name", "family-name"),
    'emails[type eq "work"].value': ("Work e-mail", "email"),
    "displayName": ("Display name", "name"),
}
"""SCIM paths of the form's fields; the last one may stay empty."""


async def new(visit: Visit) -> Response:
    """The form for a new user."""
    return visit.page("user_form.html", user=None, fields=_fields({}), error="")


async def create(visit: Visit) -> Response:
    """Create the user."""
    given = {path: visit.given(path) for path in FIELDS}
    attributes = {path: value for path, value in given.items() if value}
    try:
        id = await visit.changing(ManualUsers).create(attributes)
    except AdministrationError as refusal:
        return visit.page(
            "user_form.html", 400, user=None, fields=_fields(given), error=str(refusal)
        )
    return visit.go(f"/users/{id}", told="user-created")


async def edit(visit: Visit) -> Response:
    """The form for a user made by hand."""
    user = await user_of(visit)
    if user.source != "manual":
        raise NoSuchPage("Entra ID manages this user: change the user there.")
    name = user.resource.get("name") or {}
    given = {
        "userName": user.user_name,
        "name.givenName": name.get("givenName", ""),
        "name.familyName": name.get("familyName", ""),
        'emails[type eq "work"].value': user.email,
        "displayName": user.resource.get("displayName", ""),
    }
    return visit.page("user_form.html", user=user, fields=_fields(given), error="")


async def save(visit: Visit) -> Response:
    """Save or delete a user made by hand."""
    user = await user_of(visit)
    users = visit.changing(ManualUsers)
    if visit.given("do") == "delete":
        await users.delete(user.id)
        return visit.go("/users", told="user-deleted")
    given = {path: visit.given(path) for path in FIELDS}
    try:
        await users.edit(user.id, given)
    except AdministrationError as refusal:
        return visit.page(
            "user_form.html", 400, user=user, fields=_fields(given), error=str(refusal)
        )
    return visit.go(f"/users/{user.id}", told="user-saved")


async def grants(visit: Visit) -> Response:
    """What a user is given by hand, to edit."""
    user = await user_of(visit)
    given = await list_given(visit.store, visit.tenant_id, user.id)
    catalog = await list_catalog(visit.store, visit.tenant_id)
    editor = choices(visit.deployment.kinds, catalog, [one.entitlement for one in given])
    return visit.page("user_grants.html", user=user, given=given, editor=editor)


async def save_grants(visit: Visit) -> Response:
    """Make the form's choice exactly what the user is given by hand."""
    user = await user_of(visit)
    await visit.changing(Grants).give_exactly(user.id, chosen_in(visit))
    return visit.go(f"/users/{user.id}", told="grants-saved")


async def let_go(visit: Visit) -> Response:
    """Stop keeping an entitlement for its last holder."""
    user = await user_of(visit)
    for one in chosen_in(visit)[:1]:
        await visit.changing(Kept).let_go(user.id, one)
    return visit.go(f"/users/{user.id}", told="let-go")


def _fields(given: dict[str, str]) -> list[tuple[str, str, str, str, bool]]:
    """(path, label, purpose, value, required) of each field."""
    return [
        (path, label, purpose, given.get(path, ""), path != "displayName")
        for path, (label, purpose) in FIELDS.items()
    ]


PAGES = (
    Page("/users/new", new),
    Page("/users/new", create, "POST"),
    Page("/users/{id}/edit", edit),
    Page("/users/{id}/edit", save, "POST"),
    Page("/users/{id}/grants", grants),
    Page("/users/{id}/grants", save_grants, "POST"),
    Page("/users/{id}/let-go", let_go, "POST"),
)
