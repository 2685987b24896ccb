"""`manage.py client`: OAuth 2.0 clients of connections."""

from typing import Annotated, Any

import typer

from administration.clients import LONGEST
from commands.operation import ask
from commands.output import AsJson, TenantId, moment_text, out, refuse, show
from directory.tenants import ENTRA_CONNECTION
from operators.secrets import (
    create_client_secret,
    end_client_secret,
    federate_client,
    list_oauth_clients,
    remove_client,
)

app = typer.Typer(no_args_is_help=True, help="OAuth 2.0 clients of connections.")

COLUMNS = ("credential", "id", "state", "created", "expires", "lastUsed")

ConnectionOption = Annotated[str, typer.Option("--connection", help="The client's connection.")]
Days = Annotated[int, typer.Option(min=1, max=LONGEST.days, help="Days that the secret is valid.")]


@app.command("create")
def client_create(
    tenant: TenantId,
    connection: ConnectionOption = ENTRA_CONNECTION,
    days: Days = 365,
    as_json: AsJson = False,
) -> None:
    """Create the client of a connection, or a second secret of it, and show the secret, only
    once."""
    _show_secret(tenant, connection, days, None, as_json)


@app.command("rotate")
def client_rotate(
    tenant: TenantId,
    connection: ConnectionOption = ENTRA_CONNECTION,
    days: Days = 365,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How many hours the old secret still works.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a secret that replaces the old one, which still works for a while."""
    _show_secret(tenant, connection, days, overlap_hours, as_json)


@app.command("federate")
def client_federate(
    tenant: TenantId,
    issuer: Annotated[
        str, typer.Option(help="Who issues the assertions: https://login…/<directory id>/v2.0.")
    ],
    subject: Annotated[str, typer.Option(help="Object id of the workload identity.")],
    audience: Annotated[
        str,
        typer.Option(
            help="What the assertions are meant for, such as api://<application id>; with "
            "/.default, or the id alone, it is the same audience."
        ),
    ],
    keys_url: Annotated[
        str, typer.Option(help="Where the issuer's keys are; known for Entra ID.")
    ] = "",
    connection: ConnectionOption = ENTRA_CONNECTION,
    as_json: AsJson = False,
) -> None:
    """Let a workload identity replace a secret."""
    workload = {
        "issuer": issuer,
        "subject": subject,
        "audience": audience,
        "keysUrl": keys_url,
    }
    ask(federate_client, {"tenant": tenant, "connectionId": connection}, body=workload)
    client_show(tenant, connection, as_json)


@app.command("show")
def client_show(
    tenant: TenantId, connection: ConnectionOption = ENTRA_CONNECTION, as_json: AsJson = False
) -> None:
    """The client of a connection and its credentials, without their text."""

    clients = ask(list_oauth_clients, {"tenant": tenant})["clients"]
    found = [one for one in clients if one["connectionId"] == connection]
    if not found:
        create = f"client create {tenant} --connection {connection}"
        refuse(f"The connection {connection} has no client.", create)
    (client,) = found
    row: dict[str, Any] = {"clientId": client["clientId"], "connection": connection}
    row["credentials"] = [
        {
            "credential": one["kind"],
            "id": one["id"],
            "state": "live" if one["live"] else "expired",
            "created": moment_text(one["created"]),
            "expires": moment_text(one["expires"]),
            "lastUsed": moment_text(one["lastUsed"]),
        }
        for one in client["credentials"]
    ]
    if client["federation"]:
        row["federation"] = client["federation"]
    if as_json:
        show(row, as_json, ())
        return
    show(row["credentials"], as_json, COLUMNS, title=f"{row['clientId']} of {connection}")
    if "federation" in row:
        show(row["federation"], as_json, tuple(row["federation"]), title="Federation")


@app.command("revoke")
def client_revoke(
    tenant: TenantId,
    secret: Annotated[str, typer.Argument(help="The secret's id, as 'client show' has it.")],
    connection: ConnectionOption = ENTRA_CONNECTION,
    as_json: AsJson = False,
) -> None:
    """End a secret, and within seconds the access tokens that it obtained."""
    path = {"tenant": tenant, "connectionId": connection, "secretId": secret}
    ask(end_client_secret, path)
    show({"tenant": tenant, "revoked": secret}, as_json, ("tenant", "revoked"))


@app.command("remove")
def client_remove(
    tenant: TenantId, connection: ConnectionOption = ENTRA_CONNECTION, as_json: AsJson = False
) -> None:
    """Remove a connection's client, and within seconds all its access tokens."""
    ask(remove_client, {"tenant": tenant, "connectionId": connection})
    row = {"tenant": tenant, "connection": connection, "client": "removed"}
    show(row, as_json, tuple(row))


def _show_secret(
    tenant: str, connection: str, days: int, overlap_hours: float | None, as_json: bool
) -> None:
    path = {"tenant": tenant, "connectionId": connection}
    made = ask(create_client_secret, path, body={"days": days, "overlapHours": overlap_hours})
    row = {name: made[name] for name in ("tokenEndpoint", "clientId", "clientSecret")}
    if not as_json:
        out.print("Keep this secret now; Muster stores its digest only and cannot show it again.")
    for name, value in () if as_json else row.items():
        typer.echo(f"{name}  {value}")
    if as_json:
        show(row, as_json, ())
