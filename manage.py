"""The operator's command line: tenants, tokens, the catalog, mappings, and a simulated Entra ID.

It works on the store that the settings name, beside a running server; or, for what the operators'
interface offers, on the server that --url names. Every command takes --json for machines; without
it, it prints tables for people.
"""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from commands import (
    catalog,
    client,
    connection,
    console,
    credential,
    grant,
    group,
    mapping,
    store,
    tenant,
    token,
    user,
    webhook,
)
from commands.access import app as access
from commands.drift import drift
from commands.output import Server, choose
from commands.preview import preview
from commands.replay import replay
from commands.simulate import simulate
from commands.why import why
from trust.cloud import is_trustworthy

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(tenant.app, name="tenant")
app.add_typer(connection.app, name="connection")
app.add_typer(client.app, name="client")
app.add_typer(token.app, name="token")
app.add_typer(credential.app, name="credential")
app.add_typer(catalog.app, name="catalog")
app.add_typer(mapping.app, name="mapping")
app.add_typer(group.app, name="group")
app.add_typer(user.app, name="user")
app.add_typer(grant.app, name="grant")
app.command()(replay)
app.add_typer(webhook.app, name="webhook")
app.add_typer(store.app, name="store")
app.add_typer(console.app, name="console")
app.command()(simulate)
app.add_typer(access, name="access")
app.command()(why)
app.command()(preview)
app.command()(drift)


@app.callback(help=__doc__)
def settings(
    file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            envvar="MUSTER_SETTINGS",
            exists=True,
            dir_okay=False,
            help="A local.settings.json, for the settings that the environment does not have.",
        ),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            envvar="MUSTER_OPERATOR_URL",
            help="URL of a Muster, such as https://scim.example.com, whose operators' interface to "
            "use instead of the store.",
        ),
    ] = "",
    credential: Annotated[
        str,
        typer.Option(
            envvar="MUSTER_OPERATOR_CREDENTIAL",
            help="Your credential for it: the secret of a credential of kind operator, or a token "
            "of Entra ID. Better set it in the environment: lists of processes show options.",
        ),
    ] = "",
) -> None:
    if file is not None:
        for name, value in json.loads(file.read_text())["Values"].items():
            os.environ.setdefault(name, value)
    if url and not is_trustworthy(url):
        raise typer.BadParameter("--url is https://<host>, or http on this machine.")
    if url and not credential:
        raise typer.BadParameter("--url needs --credential, or MUSTER_OPERATOR_CREDENTIAL.")
    choose(Server(url.rstrip("/"), credential) if url else None)


if __name__ == "__main__":
    app()
