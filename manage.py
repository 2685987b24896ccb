"""The operator's command line: tenants, tokens, the catalog, mappings, and a simulated Entra ID.

It works on the store that the settings name, beside a running server. Every command takes --json
for machines; without it, it prints tables for people.
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
from commands.preview import preview
from commands.replay import replay
from commands.simulate import simulate
from commands.why import why

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
) -> None:
    if file is None:
        return
    for name, value in json.loads(file.read_text())["Values"].items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    app()
