"""`manage.py token`: secret tokens."""

import sys
from typing import Annotated

import typer

import wiring
from administration import tenants
from commands.output import AsJson, TenantId, out, run, show
from scim.auth import TokenKind

app = typer.Typer(no_args_is_help=True, help="Secret tokens.")


@app.command("create")
def token_create(
    tenant: TenantId,
    kind: Annotated[
        TokenKind, typer.Option(help="scim for Entra ID, access for the application.")
    ] = "scim",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a token and show it, this once."""
    text = run(
        lambda application: tenants.create_token(
            application.store, tenant, kind, wiring.utc_now(), note
        )
    )
    if as_json:
        show({"tenant": tenant, "kind": kind, "token": text}, as_json, ())
        return
    out.print("Keep this token now; Muster stores its digest only and cannot show it again.")
    sys.stdout.write(text + "\n")
