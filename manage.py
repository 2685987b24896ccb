"""The operator's command line: tenants, tokens, the catalog, mappings, and a simulated Entra ID.

It works on the store that MUSTER_DATA names, beside a running server. Every command takes --json
for machines; without it, it prints tables for people.
"""

import typer

from commands import catalog, connection, grant, group, mapping, tenant, token, user
from commands.replay import replay
from commands.simulate import simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(tenant.app, name="tenant")
app.add_typer(connection.app, name="connection")
app.add_typer(token.app, name="token")
app.add_typer(catalog.app, name="catalog")
app.add_typer(mapping.app, name="mapping")
app.add_typer(group.app, name="group")
app.add_typer(user.app, name="user")
app.add_typer(grant.app, name="grant")
app.command()(replay)
app.command()(simulate)

if __name__ == "__main__":
    app()
