"""How the organisation is connected, the state and health of provisioning, and tokens."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from administration import tokens as administration
from administration.errors import AdministrationError
from administration.kept import list_kept
from administration.reading import checklist as reading
from administration.reading.health import read_health
from administration.tenants import Tenancy
from administration.tokens import ListedToken
from console.api.models import Event, MassLoss
from console.api.operation import Call
from console.api.problems import absent
from directory.tenants import ENTRA_CONNECTION
from trust.tokens import TokenKind
from web.moments import Moment
from web.operation import Answer, Body, Operation, Parameters

type Provisioning = Literal["disabled", "enabled"]


class Connection(Answer):
    """An Enterprise Application of the organisation."""

    connection_id: str
    name: str


class Hour(Answer):
    """The SCIM requests of connections in one hour, and how many of them got an error (a status
    of 400 or more)."""

    begins: datetime
    requests: int
    errors: int


class Loss(MassLoss):
    """A change by which many users lost something."""

    at: datetime
    event_id: str
    operation: str


class Health(Answer):
    """The health of provisioning. Requests without a valid token are not counted; all others are
    counted some seconds after their answer."""

    hours: tuple[Hour, ...]
    """The last 24 hours; the last one is not over."""
    last_request: datetime | None
    """The last request in these hours."""
    last: Event | None
    """The last accepted write of a connection."""
    pending: int
    """Changes that are being applied; like `failed`, it includes those of administrators."""
    failed: int
    losses: tuple[Loss, ...]
    """The newest changes of the last seven days by which many users lost something, newest
    first."""


class ChecklistItem(Answer):
    """One step of setting up provisioning in Entra ID, judged by its requests."""

    key: str
    title: str
    state: Literal["done", "waiting", "wrong"]
    says: str
    """What was seen, and, where the state is `wrong`, what to do about it."""
    at: datetime | None
    """When it was last seen, where that is known."""


class Checklist(Answer):
    """The steps, in the order in which they are done."""

    items: tuple[ChecklistItem, ...]


class KeptEntitlement(Answer):
    """A protected entitlement that nothing gives to anybody any more, and the user who keeps it."""

    kind: str
    key: str
    display_name: str
    user_id: str
    name: str
    since: datetime
    """When it would have been lost."""
    event_id: str
    """The event that would have taken it."""


class Overview(Answer):
    """The organisation."""

    tenant_id: str
    name: str
    region: str
    directory_id: str | None
    """The organisation's Entra ID directory."""
    provisioning: Provisioning
    tenant_url: str
    """What to enter as Tenant URL in Entra ID."""
    connections: tuple[Connection, ...]
    health: Health
    kept: tuple[KeptEntitlement, ...]
    """What is kept for its last holder. `POST /users/{userId}/let-go` ends it."""


class ProvisioningState(Body):
    """Whether Entra ID's writes are accepted."""

    state: Provisioning


class ProvisioningAnswer(Answer):
    """Whether Entra ID's writes are accepted."""

    state: Provisioning


class Token(Answer):
    """A token, without its text."""

    token_id: str
    kind: TokenKind
    connection_id: str | None
    """Of kind `scim`: the connection that the token belongs to."""
    of_program: bool
    """Whether it is the set-up program's token, which is valid for an hour."""
    note: str
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None
    """Accurate to some minutes."""


class Tokens(Answer):
    """All tokens."""

    tokens: tuple[Token, ...]


class NewToken(Body):
    """A token to create. Two of a kind can be valid at a time, per connection."""

    kind: TokenKind
    note: Annotated[str, Field(max_length=100)] = ""
    connection_id: Annotated[str, Field(max_length=100)] = ENTRA_CONNECTION
    """Of kind `scim`: the connection that the token belongs to."""
    expires: Moment | None = None
    """Left out: it never expires."""


class Rotation(Body):
    """How the old token ends."""

    overlap_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 168
    """How long the old token still works."""


class FreshToken(Answer):
    """A new token."""

    token: str
    """Shown only once: Muster keeps its digest only."""


async def read_checklist(call: Call[Parameters, None]) -> Checklist:
    """How far the set-up in Entra ID is, judged by its requests, and what to do."""
    now = call.deployment.service.now()
    tokens = await administration.list_tokens(call.store, call.tenant, now)
    found = await reading.read_checklist(call.store, call.tenant, tokens, now)
    return Checklist(items=tuple(ChecklistItem.model_validate(one) for one in found))


async def read_overview(call: Call[Parameters, None]) -> Overview:
    """The organisation, how it is connected, and the health of provisioning."""
    tenant = call.tenant
    health = await read_health(call.store, call.tenant_id, call.deployment.service.now())
    return Overview(
        tenant_id=tenant.tenant_id,
        name=tenant.name,
        region=tenant.region,
        directory_id=tenant.directory_id,
        provisioning=tenant.provisioning,
        tenant_url=f"{call.origin}/scim",
        connections=tuple(Connection.model_validate(one) for one in tenant.connections),
        health=Health.model_validate(health),
        kept=tuple(
            KeptEntitlement.model_validate(one)
            for one in await list_kept(call.store, call.tenant_id, tenant.policy)
        ),
    )


async def set_provisioning(call: Call[Parameters, ProvisioningState]) -> ProvisioningAnswer:
    """Accept Entra ID's writes, or refuse them."""
    tenant = await call.changing(Tenancy).set_provisioning(call.body.state)
    return ProvisioningAnswer(state=tenant.provisioning)


async def list_tokens(call: Call[Parameters, None]) -> Tokens:
    """All tokens, with their last uses."""
    now = call.deployment.service.now()
    listed = await administration.list_tokens(call.store, call.tenant, now)
    return Tokens(tokens=tuple(_token(one) for one in listed))


async def create_token(call: Call[Parameters, NewToken]) -> FreshToken:
    """Create a token and show it, only once."""
    new = call.body
    text = await call.changing(administration.Tokens).create(
        new.kind, new.note, connection_id=new.connection_id, expires=new.expires
    )
    return FreshToken(token=text)


async def rotate_token(call: Call[Parameters, Rotation]) -> FreshToken:
    """Create a token that replaces another one, which still works for a while."""
    overlap = timedelta(hours=call.body.overlap_hours)
    text = await call.changing(administration.Tokens).rotate(_known(call), overlap)
    return FreshToken(token=text)


async def revoke_token(call: Call[Parameters, None]) -> None:
    """End a token. Servers notice within seconds."""
    await call.changing(administration.Tokens).revoke(_known(call))


def _known[Q, B](call: Call[Q, B]) -> str:
    """The token that the path names. Raises Problem."""
    id = call.path["tokenId"]
    try:
        administration.find_token(call.tenant, id)
    except AdministrationError:
        raise absent("token") from None
    return id


def _token(one: ListedToken) -> Token:
    return Token(
        token_id=one.token.token_id,
        kind=one.kind,
        connection_id=one.connection_id or None,
        of_program=one.of_program,
        note=one.token.note,
        created=one.token.created,
        expires=one.token.expires,
        live=one.live,
        last_used=one.last_used,
    )


OPERATIONS = (
    Operation("GET", "/overview", read_overview, Overview),
    Operation("GET", "/checklist", read_checklist, Checklist),
    Operation("PUT", "/provisioning", set_provisioning, ProvisioningAnswer, body=ProvisioningState),
    Operation("GET", "/tokens", list_tokens, Tokens),
    Operation("POST", "/tokens", create_token, FreshToken, body=NewToken, status=201),
    Operation("DELETE", "/tokens/{tokenId}", revoke_token, None, status=204),
    Operation(
        "POST", "/tokens/{tokenId}/rotate", rotate_token, FreshToken, body=Rotation, status=201
    ),
)
