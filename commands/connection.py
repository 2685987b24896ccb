"""`manage.py connection`: the Enterprise Applications of a tenant."""

from typing import Annotated, Any

import typer

from commands.operation import ask
from commands.output import AsJson, TenantId, refuse, show
from commands.token import TOKEN_COLUMNS, token_rows
from operators.secrets import create_connection, list_connections, rename_connection

app = typer.Typer(no_args_is_help=True, help="Enterprise Applications of a tenant.")

COLUMNS = ("connection", "name", "tokens")

ConnectionId = Annotated[str, typer.Argument(help="The connection's id.")]
Name = Annotated[str, typer.Option(help="What people call it; refusals name it.")]


@app.command("create")
def connection_create(
    tenant: TenantId, connection: ConnectionId, name: Name, as_json: AsJson = False
) -> None:
    """Add a connection. Create a token for it next."""
    made = ask(
        create_connection, {"tenant": tenant}, body={"connectionId": connection, "name": name}
    )
    show(_row(made, []), as_json, COLUMNS)


@app.command("rename")
def connection_rename(
    tenant: TenantId, connection: ConnectionId, name: Name, as_json: AsJson = False
) -> None:
    """Give a connection another name."""
    path = {"tenant": tenant, "connectionId": connection}
    named = ask(rename_connection, path, body={"name": name})
    show(_row(named, token_rows(tenant)), as_json, COLUMNS)


@app.command("list")
def connection_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """The connections of a tenant."""
    show(_rows(tenant), as_json, COLUMNS)


@app.command("show")
def connection_show(tenant: TenantId, connection: ConnectionId, as_json: AsJson = False) -> None:
    """One connection and its credentials, without their text."""

    found = [row for row in _rows(tenant) if row["connection"] == connection]
    if not found:
        refuse(f"{tenant} has no connection {connection[:63]}.", f"connection list {tenant}")
    (row,) = found
    tokens = [one for one in token_rows(tenant) if one["connection"] == connection]
    if as_json:
        show(row | {"tokens": tokens}, as_json, ())
        return
    show(tokens, as_json, TOKEN_COLUMNS, title=f"{row['connection']}: {row['name']}")


def _rows(tenant: str) -> list[dict[str, Any]]:
    tokens = token_rows(tenant)
    listed = ask(list_connections, {"tenant": tenant})["connections"]
    return [_row(each, tokens) for each in listed]


def _row(connection: dict[str, Any], tokens: list[dict[str, Any]]) -> dict[str, Any]:
    id = connection["connectionId"]
    own = [one["tokenId"] for one in tokens if one["connection"] == id and one["kind"] == "scim"]
    return {"connection": id, "name": connection["name"], "tokens": ", ".join(own)}
