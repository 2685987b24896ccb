"""OAuth clients of connections: their secrets, and workload identities that replace one."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from administration.clients import (
    CHARACTERS,
    LONGEST,
    Clients,
    ListedClient,
    list_clients,
    read_client,
)
from administration.connections import connection_of
from administration.errors import AdministrationError
from console.api.operation import Call
from console.api.problems import absent
from directory.tenants import Connection
from web.operation import Answer, Body, Operation, Parameters

type Name = Annotated[str, Field(min_length=1, max_length=CHARACTERS)]


class Workload(Answer):
    """The workload identity whose assertions replace a secret."""

    issuer: str
    subject: str
    audience: str
    """As it is stored, for an application: `api://<application id>`."""


class ClientCredential(Answer):
    """A secret, without its text; or a workload identity."""

    kind: Literal["secret", "federation"]
    id: str
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None
    """Accurate to some minutes."""


class Client(Answer):
    """How a connection gets access tokens at the token endpoint."""

    connection_id: str
    client_id: str
    token_endpoint: str
    credentials: tuple[ClientCredential, ...]
    federation: Workload | None


class ConnectionClients(Answer):
    """The OAuth clients, one for each connection that has one."""

    clients: tuple[Client, ...]


class NewSecret(Body):
    """A secret to create. Two can be valid at a time."""

    days: Annotated[int, Field(ge=1, le=LONGEST.days)] = 365
    """How long it is valid."""
    overlap_hours: Annotated[float, Field(ge=0, le=24 * 365)] | None = None
    """How long the older secret still works; left out: until its own expiry."""


class FreshSecret(Answer):
    """A new secret."""

    client_id: str
    client_secret: str
    """Shown only once: Muster keeps its digest only."""
    token_endpoint: str


class Federation(Body):
    """A workload identity; its issuer is one of Entra ID's."""

    issuer: Name
    subject: Name
    audience: Name
    """`api://<application id>`, with or without `/.default`, or the id alone: all mean the same."""


async def list_oauth_clients(call: Call[Parameters, None]) -> ConnectionClients:
    """The OAuth clients of all connections, with the last uses of their credentials."""
    listed = await list_clients(call.store, call.tenant, call.deployment.service.now())
    return ConnectionClients(clients=tuple(_client(call, one) for one in listed))


async def create_client_secret(call: Call[Parameters, NewSecret]) -> FreshSecret:
    """Create a secret of a connection's client and show it, only once. The first secret makes the
    client."""
    hours = call.body.overlap_hours
    client_id, secret = await call.changing(Clients).add_secret(
        _connection(call),
        timedelta(days=call.body.days),
        None if hours is None else timedelta(hours=hours),
    )
    return FreshSecret(
        client_id=client_id, client_secret=secret, token_endpoint=_token_endpoint(call)
    )


async def end_client_secret(call: Call[Parameters, None]) -> None:
    """End a secret, and within seconds the access tokens that it obtained."""
    id = call.path["secretId"]
    client = _found(call).client
    if client is None or all(each.token_id != id for each in client.secrets):
        raise absent("client secret")
    await call.changing(Clients).revoke_secret(_connection(call), id)


async def federate_client(call: Call[Parameters, Federation]) -> Client:
    """Let a workload identity authenticate the client instead of a secret; it replaces the one
    before."""
    connection_id, body = _connection(call), call.body
    await call.changing(Clients).federate(
        connection_id,
        issuer=body.issuer,
        subject=body.subject,
        audience=body.audience,
        cloud=call.deployment.cloud,
    )
    now = call.deployment.service.now()
    return _client(call, await read_client(call.store, call.tenant_id, connection_id, now))


async def remove_client(call: Call[Parameters, None]) -> None:
    """Remove a connection's client, and within seconds all its access tokens."""
    if _found(call).client is None:
        raise absent("OAuth client")
    await call.changing(Clients).remove(_connection(call))


def _found[Q, B](call: Call[Q, B]) -> Connection:
    """The connection that the path names. Raises Problem."""
    try:
        return connection_of(call.tenant, call.path["connectionId"])
    except AdministrationError:
        raise absent("connection") from None


def _connection[Q, B](call: Call[Q, B]) -> str:
    return _found(call).connection_id


def _token_endpoint[Q, B](call: Call[Q, B]) -> str:
    return f"{call.origin}/oauth/token"


def _client[Q, B](call: Call[Q, B], one: ListedClient) -> Client:
    return Client(
        connection_id=one.connection_id,
        client_id=one.client_id,
        token_endpoint=_token_endpoint(call),
        credentials=tuple(ClientCredential.model_validate(each) for each in one.credentials),
        federation=Workload.model_validate(one.federation) if one.federation else None,
    )


_OF_CONNECTION = "/clients/{connectionId}"
OPERATIONS = (
    Operation("GET", "/clients", list_oauth_clients, ConnectionClients),
    Operation("DELETE", _OF_CONNECTION, remove_client, None, status=204),
    Operation(
        "POST",
        f"{_OF_CONNECTION}/secrets",
        create_client_secret,
        FreshSecret,
        body=NewSecret,
        status=201,
    ),
    Operation(
        "DELETE", f"{_OF_CONNECTION}/secrets/{{secretId}}", end_client_secret, None, status=204
    ),
    Operation("PUT", f"{_OF_CONNECTION}/federation", federate_client, Client, body=Federation),
)
