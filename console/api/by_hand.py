"""Users made by hand, and what users are given by hand."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from administration.grants import Grants, list_given
from administration.kept import Kept
from administration.manual_users import ManualUsers
from administration.reading.users import UserDetail, read_user
from console.api.groups import Entitlements
from console.api.models import Actor, Entitled, keys_of
from console.api.operation import Call
from console.api.problems import absent
from console.api.users import DetailedUser, detailed, known_user
from directory.documents import EntitlementKey
from web.operation import Answer, Body, Operation, Parameters

type Value = Annotated[str, Field(max_length=1_000)]

_PATHS = {
    "user_name": "userName",
    "given_name": "name.givenName",
    "family_name": "name.familyName",
    "work_email": 'emails[type eq "work"].value',
    "display_name": "displayName",
}


class UserAttributes(Body):
    """The attributes of a user made by hand. An empty text clears an attribute; what is left out
    stays."""

    user_name: Value | None = None
    given_name: Value | None = None
    family_name: Value | None = None
    work_email: Value | None = None
    """Entra ID finds the user by it, and adopts the user."""
    display_name: Value | None = None
    attributes: dict[str, Value] = Field(default_factory=dict, max_length=50)
    """Any others: SCIM paths with their values, such as `title`."""


class GivenGrant(Answer):
    """A grant by hand."""

    kind: str
    key: str
    display_name: str
    since: datetime
    given_by: Actor | None


class GivenGrants(Answer):
    """What a user is given by hand."""

    grants: tuple[GivenGrant, ...]


class WantedGrants(Body):
    """Exactly what the user is given by hand from now on."""

    grants: Entitlements


async def create_user(call: Call[Parameters, UserAttributes]) -> DetailedUser:
    """Make a user by hand. User name, given name, family name and work e-mail are needed."""
    id = await call.changing(ManualUsers).create(_attributes(call.body))
    return detailed(await _user(call, id))


async def edit_user(call: Call[Parameters, UserAttributes]) -> DetailedUser:
    """Change a user made by hand. Users whom Entra ID manages are changed there."""
    user = (await known_user(call)).id
    await call.changing(ManualUsers).edit(user, _attributes(call.body))
    return detailed(await _user(call, user))


async def delete_user(call: Call[Parameters, None]) -> None:
    """Delete a user made by hand, with everything given by hand."""
    await call.changing(ManualUsers).delete((await known_user(call)).id)


async def list_given_grants(call: Call[Parameters, None]) -> GivenGrants:
    """What a user is given by hand."""
    return await _given(call, (await known_user(call)).id)


async def set_given_grants(call: Call[Parameters, WantedGrants]) -> GivenGrants:
    """Make this exactly what the user is given by hand."""
    user = (await known_user(call)).id
    await call.changing(Grants).give_exactly(user, keys_of(call.body.grants))
    return await _given(call, user)


async def let_go(call: Call[Parameters, Entitled]) -> DetailedUser:
    """Stop keeping an entitlement for its last holder; then nobody holds it."""
    user, kept = (await known_user(call)).id, EntitlementKey(call.body.kind, call.body.key)
    await call.changing(Kept).let_go(user, kept)
    return detailed(await _user(call, user))


def _attributes(body: UserAttributes) -> dict[str, str]:
    """SCIM paths with their values."""
    given = {path: getattr(body, field) for field, path in _PATHS.items()}
    return {path: value for path, value in given.items() if value is not None} | body.attributes


async def _user[Q, B](call: Call[Q, B], id: str) -> UserDetail:
    found = await read_user(call.store, call.tenant_id, call.tenant.policy, id)
    if found is None:
        raise absent("user")
    return found


async def _given[Q, B](call: Call[Q, B], user: str) -> GivenGrants:
    grants = await list_given(call.store, call.tenant_id, user)
    return GivenGrants(grants=tuple(GivenGrant.model_validate(one) for one in grants))


_GRANTS = "/users/{userId}/given-grants"
OPERATIONS = (
    Operation("POST", "/users", create_user, DetailedUser, body=UserAttributes, status=201),
    Operation("PATCH", "/users/{userId}", edit_user, DetailedUser, body=UserAttributes),
    Operation("DELETE", "/users/{userId}", delete_user, None, status=204),
    Operation("GET", _GRANTS, list_given_grants, GivenGrants),
    Operation("POST", "/users/{userId}/let-go", let_go, DetailedUser, body=Entitled),
    Operation("PUT", _GRANTS, set_given_grants, GivenGrants, body=WantedGrants),
)
