"""`manage.py connection`: the Enterprise Applications of a tenant."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.connections import Connections, connection_of
from administration.tokens import list_tokens
from commands.output import AsJson, TenantId, run, show
from commands.token import TOKEN_COLUMNS, token_row
from directory.tenants import Connection

app = typer.Typer(no_args_is_help=True, help="Enterprise Applications of a tenant.")

COLUMNS = ("connection", "name", "tokens")

ConnectionId = Annotated[str, typer.Argument(help="The connection's id.")]
Name = Annotated[str, typer.Option(help="What people call it; refusals name it.")]


@app.command("create")
def connection_create(
    tenant: TenantId, connection: ConnectionId, name: Name, as_json: AsJson = False
) -> None:
    """Add a connection. Create a token for it next."""
    made = run(
        lambda application: Connections(application.service, tenant).create(connection, name)
    )
    show(_row(made), as_json, COLUMNS)


@app.command("rename")
def connection_rename(
    tenant: TenantId, connection: ConnectionId, name: Name, as_json: AsJson = False
) -> None:
    """Give a connection another name."""
    named = run(
        lambda application: Connections(application.service, tenant).rename(connection, name)
    )
    show(_row(named), as_json, COLUMNS)


@app.command("list")
def connection_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """The connections of a tenant."""
    found = run(lambda application: tenants.read_tenant(application.store, tenant))
    show([_row(each) for each in found.connections], as_json, COLUMNS)


@app.command("show")
def connection_show(tenant: TenantId, connection: ConnectionId, as_json: AsJson = False) -> None:
    """One connection and its credentials (never their text)."""

    async def read(application: wiring.Application) -> dict[str, Any]:
        found = await tenants.read_tenant(application.store, tenant)
        row = _row(connection_of(found, connection))
        listed = await list_tokens(application.store, found, wiring.utc_now())
        return row | {"tokens": [token_row(t) for t in listed if t.connection_id == connection]}

    row = run(read)
    if as_json:
        show(row, as_json, ())
        return
    show(row["tokens"], as_json, TOKEN_COLUMNS, title=f"{row['connection']}: {row['name']}")


def _row(connection: Connection) -> dict[str, Any]:
    return {
        "connection": connection.connection_id,
        "name": connection.name,
        "tokens": ", ".join(token.token_id for token in connection.tokens),
    }
