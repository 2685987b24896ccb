"""`manage.py token`: secret tokens."""

from datetime import timedelta
from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.tokens import ListedToken, Tokens, list_tokens
from commands.output import AsJson, TenantId, run, show, show_once
from directory.tenants import ENTRA_CONNECTION
from trust.tokens import TokenKind

app = typer.Typer(no_args_is_help=True, help="Secret tokens.")

TOKEN_COLUMNS = ("kind", "connection", "tokenId", "state", "created", "expires", "lastUsed", "note")

TokenId = Annotated[str, typer.Argument(help="The token's id, as 'token list' shows it.")]


@app.command("create")
def token_create(
    tenant: TenantId,
    kind: Annotated[
        TokenKind,
        typer.Option(help="scim for Entra ID, access for the application, console for its API."),
    ] = "scim",
    connection: Annotated[
        str, typer.Option(help="Whose token it is, of kind scim.")
    ] = ENTRA_CONNECTION,
    days: Annotated[
        int | None, typer.Option(min=1, help="How long it lives; for ever if left out.")
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a token and show it, this once. Two of a kind may live at a time, per connection."""
    expires = wiring.utc_now() + timedelta(days=days) if days else None
    text = run(
        lambda application: Tokens(application.service, tenant).create(
            kind, note, connection_id=connection, expires=expires
        )
    )
    show_once({"tenant": tenant, "kind": kind, "token": text}, "token", "this token", as_json)


@app.command("list")
def token_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """The tokens of a tenant and when they were last used, to within minutes."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        found = await tenants.read_tenant(application.store, tenant)
        listed = await list_tokens(application.store, found, wiring.utc_now())
        return [token_row(each) for each in listed]

    show(run(read), as_json, TOKEN_COLUMNS)


@app.command("rotate")
def token_rotate(
    tenant: TenantId,
    token: TokenId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How long the old one goes on working.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a token in place of another, which goes on working for a while."""
    overlap = timedelta(hours=overlap_hours)
    text = run(lambda application: Tokens(application.service, tenant).rotate(token, overlap))
    row = {"tenant": tenant, "replaces": token, "token": text}
    show_once(row, "token", "this token", as_json)


@app.command("revoke")
def token_revoke(tenant: TenantId, token: TokenId, as_json: AsJson = False) -> None:
    """End a token. Servers notice within seconds."""
    run(lambda application: Tokens(application.service, tenant).revoke(token))
    show({"tenant": tenant, "revoked": token}, as_json, ("tenant", "revoked"))


def token_row(listed: ListedToken) -> dict[str, Any]:
    """A token as a table shows it."""
    token = listed.token
    return {
        "kind": listed.kind,
        "connection": listed.connection_id,
        "tokenId": token.token_id,
        "state": "live" if listed.live else "expired",
        "created": token.created.isoformat(timespec="seconds"),
        "expires": token.expires.isoformat(timespec="seconds") if token.expires else "",
        "lastUsed": listed.last_used.isoformat(timespec="seconds") if listed.last_used else "",
        "note": token.note,
    }
