"""`manage.py token`: secret tokens."""

from datetime import timedelta
from typing import Annotated, Any

import typer

import wiring
from commands.operation import ask
from commands.output import AsJson, TenantId, moment_text, plain, show, show_once
from directory.tenants import ENTRA_CONNECTION
from operators.secrets import create_token, list_tenant_tokens, revoke_token, rotate_token
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
        str, typer.Option(help="The connection, for a token of kind scim.")
    ] = ENTRA_CONNECTION,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="How many days it is valid; without end if left out."),
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a token and show it, only once. Two of a kind can be valid at a time, per
    connection."""
    expires = wiring.utc_now() + timedelta(days=days) if days else None
    new = {"kind": kind, "note": note, "connectionId": connection, "expires": plain(expires)}
    made = ask(create_token, {"tenant": tenant}, body=new)
    row = {"tenant": tenant, "kind": kind, "token": made["secret"]}
    show_once(row, "token", "this token", as_json)


@app.command("list")
def token_list(tenant: TenantId, as_json: AsJson = False) -> None:
    """The tokens of a tenant and when they were last used, accurate to some minutes."""

    show(token_rows(tenant), as_json, TOKEN_COLUMNS)


@app.command("rotate")
def token_rotate(
    tenant: TenantId,
    token: TokenId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How many hours the old one still works.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a token that replaces another one, which still works for a while."""
    path, body = {"tenant": tenant, "tokenId": token}, {"overlapHours": overlap_hours}
    made = ask(rotate_token, path, body=body)
    row = {"tenant": tenant, "replaces": token, "token": made["secret"]}
    show_once(row, "token", "this token", as_json)


@app.command("revoke")
def token_revoke(tenant: TenantId, token: TokenId, as_json: AsJson = False) -> None:
    """End a token. Servers notice within seconds."""
    ask(revoke_token, {"tenant": tenant, "tokenId": token})
    show({"tenant": tenant, "revoked": token}, as_json, ("tenant", "revoked"))


def token_rows(tenant: str) -> list[dict[str, Any]]:
    """The tokens of a tenant as rows of a table."""
    listed = ask(list_tenant_tokens, {"tenant": tenant})["tokens"]
    return [
        {
            "kind": one["kind"],
            "connection": one["connectionId"] or "",
            "tokenId": one["tokenId"],
            "state": "live" if one["live"] else "expired",
            "created": moment_text(one["created"]),
            "expires": moment_text(one["expires"]),
            "lastUsed": moment_text(one["lastUsed"]),
            "note": one["note"],
        }
        for one in listed
    ]
