"""`manage.py client`: OAuth 2.0 clients of connections."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

import wiring
from administration.clients import LONGEST, Clients, read_client
from commands.output import AsJson, TenantId, out, run, show
from directory.tenants import ENTRA_CONNECTION

app = typer.Typer(no_args_is_help=True, help="OAuth 2.0 clients of connections.")

COLUMNS = ("credential", "id", "state", "created", "expires", "lastUsed")

ConnectionOption = Annotated[str, typer.Option("--connection", help="Whose client it is.")]
Days = Annotated[int, typer.Option(min=1, max=LONGEST.days, help="How long the secret lives.")]


@app.command("create")
def client_create(
    tenant: TenantId,
    connection: ConnectionOption = ENTRA_CONNECTION,
    days: Days = 365,
    as_json: AsJson = False,
) -> None:
    """Create the client of a connection, or a second secret of it, and show the secret, this
    once."""
    _show_secret(tenant, connection, timedelta(days=days), None, as_json)


@app.command("rotate")
def client_rotate(
    tenant: TenantId,
    connection: ConnectionOption = ENTRA_CONNECTION,
    days: Days = 365,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How long the old secret goes on working.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a secret in place of the old one, which goes on working for a while."""
    _show_secret(tenant, connection, timedelta(days=days), timedelta(hours=overlap_hours), as_json)


@app.command("federate")
def client_federate(
    tenant: TenantId,
    issuer: Annotated[
        str, typer.Option(help="Who issues the assertions: https://login…/<directory id>/v2.0.")
    ],
    subject: Annotated[str, typer.Option(help="Object id of the workload's identity.")],
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
    """Let a workload's own identity stand in for a secret."""
    run(
        lambda application: Clients(application.service, tenant).federate(
            connection,
            issuer=issuer,
            subject=subject,
            audience=audience,
            keys_url=keys_url,
            cloud=application.settings.cloud,
        )
    )
    client_show(tenant, connection, as_json)


@app.command("show")
def client_show(
    tenant: TenantId, connection: ConnectionOption = ENTRA_CONNECTION, as_json: AsJson = False
) -> None:
    """The client of a connection and its credentials (never their text)."""

    async def read(application: wiring.Application) -> dict[str, Any]:
        now = wiring.utc_now()
        client = await read_client(application.store, tenant, connection, now)
        row: dict[str, Any] = {"clientId": client.client_id, "connection": connection}
        row["credentials"] = [
            {
                "credential": one.kind,
                "id": one.id,
                "state": "live" if one.live else "expired",
                "created": _text(one.created),
                "expires": _text(one.expires),
                "lastUsed": _text(one.last_used),
            }
            for one in client.credentials
        ]
        if federation := client.federation:
            row["federation"] = {
                "issuer": federation.issuer,
                "subject": federation.subject,
                "audience": federation.audience,
                "keysUrl": federation.keys_url,
            }
        return row

    row = run(read)
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
    """End a secret, and within seconds the access tokens that were got with it."""
    run(lambda application: Clients(application.service, tenant).revoke_secret(connection, secret))
    show({"tenant": tenant, "revoked": secret}, as_json, ("tenant", "revoked"))


@app.command("remove")
def client_remove(
    tenant: TenantId, connection: ConnectionOption = ENTRA_CONNECTION, as_json: AsJson = False
) -> None:
    """Remove a connection's client, and within seconds all its access tokens."""
    run(lambda application: Clients(application.service, tenant).remove(connection))
    row = {"tenant": tenant, "connection": connection, "client": "removed"}
    show(row, as_json, tuple(row))


def _show_secret(
    tenant: str, connection: str, lifetime: timedelta, overlap: timedelta | None, as_json: bool
) -> None:
    client_id, secret = run(
        lambda application: Clients(application.service, tenant).add_secret(
            connection, lifetime, overlap
        )
    )
    row = {"tokenEndpoint": "/oauth/token", "clientId": client_id, "clientSecret": secret}
    if not as_json:
        out.print("Keep this secret now; Muster stores its digest only and cannot show it again.")
    for name, value in () if as_json else row.items():
        typer.echo(f"{name}  {value}")
    if as_json:
        show(row, as_json, ())


def _text(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""
