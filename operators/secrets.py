"""A tenant's connections, their tokens and OAuth clients, and set-up links."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from administration import clients, connections, invitations, tokens
from administration.clients import CHARACTERS, LONGEST
from directory.tenants import ENTRA_CONNECTION
from operators.call import OF_TENANT, Call
from operators.models import Fresh, Name, Note, Rotation
from operators.tenants import Connection
from trust.tokens import TokenKind
from web.moments import Moment
from web.operation import Answer, Body, Operation, Parameters

type Identity = Annotated[str, Field(min_length=1, max_length=CHARACTERS)]


class Connections(Answer):
    """All Enterprise Applications of a tenant."""

    connections: tuple[Connection, ...]


class NewConnection(Body):
    """A connection to add."""

    connection_id: Name
    """Lower-case letters, digits and hyphens, such as `entra-2`."""
    name: Name
    """What people call it; refusals name it."""


class ConnectionName(Body):
    """Another name."""

    name: Name


class TokenRow(Answer):
    """A token, without its text."""

    token_id: str
    kind: TokenKind
    connection_id: str | None
    note: str
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None
    """Accurate to some minutes."""


class Tokens(Answer):
    """All tokens of a tenant."""

    tokens: tuple[TokenRow, ...]


class NewToken(Body):
    """A token to create. Two of a kind can be valid at a time, per connection."""

    kind: TokenKind
    note: Note = ""
    connection_id: Name = ENTRA_CONNECTION
    """Of kind `scim`: the connection that the token belongs to."""
    expires: Moment | None = None
    """Left out: it never expires."""


class Workload(Answer):
    """The workload identity whose assertions replace a secret."""

    issuer: str
    subject: str
    audience: str
    keys_url: str


class ClientCredential(Answer):
    """A secret, without its text; or a workload identity."""

    kind: Literal["secret", "federation"]
    id: str
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None


class Client(Answer):
    """How a connection gets access tokens at the token endpoint."""

    connection_id: str
    client_id: str
    credentials: tuple[ClientCredential, ...]
    federation: Workload | None


class Clients(Answer):
    """The OAuth clients, one for each connection that has one."""

    clients: tuple[Client, ...]


class NewSecret(Body):
    """A secret to create. Two can be valid at a time."""

    days: Annotated[int, Field(ge=1, le=LONGEST.days)] = 365
    overlap_hours: Annotated[float, Field(ge=0, le=24 * 365)] | None = None
    """How long the older secret still works; left out: until its own expiry."""


class FreshSecret(Answer):
    """A new secret."""

    client_id: str
    client_secret: str
    """Shown only once: Muster keeps its digest only."""
    token_endpoint: str


class Federation(Body):
    """A workload identity."""

    issuer: Identity
    subject: Identity
    audience: Identity
    keys_url: Annotated[str, Field(max_length=CHARACTERS)] = ""
    """The URL of the issuer's keys (https); not needed for Entra ID."""


class SetUpLink(Answer):
    """A link to a tenant's set-up pages, without its secret."""

    id: str
    created: datetime
    expires: datetime
    live: bool
    last_opened: datetime | None


class SetUpLinks(Answer):
    """The links of a tenant."""

    links: tuple[SetUpLink, ...]


class FreshLink(Answer):
    """A new link."""

    id: str
    link: str
    """Shown only once. It opens the tenant's set-up pages, and nothing else."""
    expires: datetime


async def list_connections(call: Call[Parameters, None]) -> Connections:
    """The connections of a tenant."""
    found = (await call.tenant()).connections
    return Connections(connections=tuple(Connection.model_validate(one) for one in found))


async def create_connection(call: Call[Parameters, NewConnection]) -> Connection:
    """Add a connection, still without credentials."""
    new = call.body
    made = await call.changing(connections.Connections).create(new.connection_id, new.name)
    return Connection.model_validate(made)


async def rename_connection(call: Call[Parameters, ConnectionName]) -> Connection:
    """Give a connection another name."""
    renaming = call.changing(connections.Connections)
    return Connection.model_validate(
        await renaming.rename(call.path["connectionId"], call.body.name)
    )


async def list_tenant_tokens(call: Call[Parameters, None]) -> Tokens:
    """The tokens of a tenant, with their last uses."""
    now = call.deployment.service.now()
    listed = await tokens.list_tokens(call.store, await call.tenant(), now)
    rows = (
        TokenRow(
            kind=one.kind,
            connection_id=one.connection_id or None,
            live=one.live,
            last_used=one.last_used,
            **one.token.model_dump(exclude={"digest"}),
        )
        for one in listed
    )
    return Tokens(tokens=tuple(rows))


async def create_token(call: Call[Parameters, NewToken]) -> Fresh:
    """Create a token of a tenant and show it, only once."""
    new = call.body
    text = await call.changing(tokens.Tokens).create(
        new.kind, new.note, connection_id=new.connection_id, expires=new.expires
    )
    return _fresh(text)


async def rotate_token(call: Call[Parameters, Rotation]) -> Fresh:
    """Create a token that replaces another one, which still works for a while."""
    overlap = timedelta(hours=call.body.overlap_hours)
    return _fresh(await call.changing(tokens.Tokens).rotate(call.path["tokenId"], overlap))


async def revoke_token(call: Call[Parameters, None]) -> None:
    """End a token. Servers notice within seconds."""
    await call.changing(tokens.Tokens).revoke(call.path["tokenId"])


def _fresh(text: str) -> Fresh:
    return Fresh(id=text.split("_")[3], secret=text)


async def list_oauth_clients(call: Call[Parameters, None]) -> Clients:
    """The OAuth clients of a tenant's connections."""
    now = call.deployment.service.now()
    listed = await clients.list_clients(call.store, await call.tenant(), now)
    return Clients(clients=tuple(Client.model_validate(one) for one in listed))


async def create_client_secret(call: Call[Parameters, NewSecret]) -> FreshSecret:
    """Create a secret of a connection's client and show it, only once. The first secret makes the
    client."""
    hours = call.body.overlap_hours
    client_id, secret = await call.changing(clients.Clients).add_secret(
        call.path["connectionId"],
        timedelta(days=call.body.days),
        None if hours is None else timedelta(hours=hours),
    )
    endpoint = f"{call.origin}/oauth/token"
    return FreshSecret(client_id=client_id, client_secret=secret, token_endpoint=endpoint)


async def end_client_secret(call: Call[Parameters, None]) -> None:
    """End a secret, and within seconds the access tokens that it obtained."""
    ending = call.changing(clients.Clients)
    await ending.revoke_secret(call.path["connectionId"], call.path["secretId"])


async def federate_client(call: Call[Parameters, Federation]) -> Client:
    """Let a workload identity authenticate the client instead of a secret; it replaces the one
    before."""
    connection_id, body = call.path["connectionId"], call.body
    await call.changing(clients.Clients).federate(
        connection_id,
        issuer=body.issuer,
        subject=body.subject,
        audience=body.audience,
        keys_url=body.keys_url,
        cloud=call.deployment.cloud,
    )
    now = call.deployment.service.now()
    found = await clients.read_client(call.store, call.tenant_id, connection_id, now)
    return Client.model_validate(found)


async def remove_client(call: Call[Parameters, None]) -> None:
    """Remove a connection's client, and within seconds all its access tokens."""
    await call.changing(clients.Clients).remove(call.path["connectionId"])


async def list_set_up_links(call: Call[Parameters, None]) -> SetUpLinks:
    """The set-up links of a tenant: when each was made, expires and was last opened."""
    now = call.deployment.service.now()
    listed = await invitations.list_invitations(call.store, await call.tenant(), now)
    return SetUpLinks(links=tuple(SetUpLink.model_validate(one) for one in listed))


async def create_set_up_link(call: Call[Parameters, None]) -> FreshLink:
    """Create a link for the person who sets up the tenant's Entra ID and has no account here. It is
    valid for seven days."""
    made = await call.changing(invitations.Invitations).create(call.origin)
    return FreshLink.model_validate(made)


async def revoke_set_up_link(call: Call[Parameters, None]) -> None:
    """End a set-up link and the sessions that it began, at once."""
    await call.changing(invitations.Invitations).revoke(call.path["linkId"])


_CONNECTIONS = f"{OF_TENANT}/connections"
_TOKENS = f"{OF_TENANT}/tokens"
_CLIENTS = f"{OF_TENANT}/clients"
_CLIENT = f"{_CLIENTS}/{{connectionId}}"
_LINKS = f"{OF_TENANT}/set-up-links"
OPERATIONS = (
    Operation("GET", _CONNECTIONS, list_connections, Connections),
    Operation("POST", _CONNECTIONS, create_connection, Connection, body=NewConnection, status=201),
    Operation(
        "PATCH",
        f"{_CONNECTIONS}/{{connectionId}}",
        rename_connection,
        Connection,
        body=ConnectionName,
    ),
    Operation("GET", _TOKENS, list_tenant_tokens, Tokens),
    Operation("POST", _TOKENS, create_token, Fresh, body=NewToken, status=201),
    Operation("DELETE", f"{_TOKENS}/{{tokenId}}", revoke_token, None, status=204),
    Operation(
        "POST", f"{_TOKENS}/{{tokenId}}/rotate", rotate_token, Fresh, body=Rotation, status=201
    ),
    Operation("GET", _CLIENTS, list_oauth_clients, Clients),
    Operation("DELETE", _CLIENT, remove_client, None, status=204),
    Operation(
        "POST", f"{_CLIENT}/secrets", create_client_secret, FreshSecret, body=NewSecret, status=201
    ),
    Operation("DELETE", f"{_CLIENT}/secrets/{{secretId}}", end_client_secret, None, status=204),
    Operation("PUT", f"{_CLIENT}/federation", federate_client, Client, body=Federation),
    Operation("GET", _LINKS, list_set_up_links, SetUpLinks),
    Operation("POST", _LINKS, create_set_up_link, FreshLink, status=201),
    Operation("DELETE", f"{_LINKS}/{{linkId}}", revoke_set_up_link, None, status=204),
)
