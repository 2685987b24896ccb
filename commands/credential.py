"""`manage.py credential`: credentials of the deployment, for the vendor's own programs."""

from typing import Annotated, Any

import typer

from commands.operation import ask
from commands.output import AsJson, moment_text, plain, refuse, show, show_once
from operators.deployment import (
    create_credential,
    list_credentials,
    revoke_credential,
    revoke_credential_secret,
    rotate_credential,
)
from trust.tokens import DeploymentKind
from web.moments import moment

app = typer.Typer(no_args_is_help=True, help="Credentials that serve every tenant.")

COLUMNS = (
    *("kind", "name", "credentialId", "secretId", "state"),
    *("created", "expires", "lastUsed"),
)

CredentialId = Annotated[
    str, typer.Argument(help="The credential's id, as 'credential list' shows it.")
]


@app.command("create")
def credential_create(
    kind: Annotated[
        DeploymentKind,
        typer.Option(
            help="application reads access and follows changes; operator manages tenants."
        ),
    ],
    name: Annotated[str, typer.Option(help="Which program it is for.")] = "",
    expires: Annotated[
        str | None, typer.Option(help="When it ends, such as 2027-01-31; never if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a credential that serves every tenant, and show its secret, only once."""

    new = {"kind": kind, "name": name, "expires": _end(expires)}
    made = ask(create_credential, body=new)
    row = {"credentialId": made["id"], "kind": kind, "secret": made["secret"]}
    _show(row, as_json)


@app.command("list")
def credential_list(as_json: AsJson = False) -> None:
    """The credentials of the deployment and when each secret was last used, accurate to some
    minutes."""

    listed = ask(list_credentials)["credentials"]
    show([_row(each) for each in listed], as_json, COLUMNS)


@app.command("rotate")
def credential_rotate(
    credential: CredentialId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How many hours the old secret still works.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a secret that replaces another one, which still works for a while."""
    path, body = {"credentialId": credential}, {"overlapHours": overlap_hours}
    made = ask(rotate_credential, path, body=body)
    _show({"credentialId": credential, "secret": made["secret"]}, as_json)


@app.command("revoke")
def credential_revoke(
    credential: CredentialId,
    secret: Annotated[str, typer.Option(help="The id of one of its secrets; else all end.")] = "",
    as_json: AsJson = False,
) -> None:
    """End a credential, or one of its secrets. Servers notice within seconds."""
    if secret:
        ask(revoke_credential_secret, {"credentialId": credential, "secretId": secret})
    else:
        ask(revoke_credential, {"credentialId": credential})
    show({"revoked": secret or credential}, as_json, ("revoked",))


def _end(text: str | None) -> str | None:
    """The expiry as JSON has it, such as `2027-01-31T00:00:00Z`; ends the command for a text that
    is not a time."""
    try:
        return None if text is None else str(plain(moment(text)))
    except ValueError as error:
        refuse(f"--expires: {error}")


def _row(listed: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": listed["kind"],
        "name": listed["name"],
        "credentialId": listed["credentialId"],
        "secretId": listed["secretId"] or "",
        "state": "live" if listed["live"] else "expired" if listed["secretId"] else "no secret",
        "created": moment_text(listed["created"]),
        "expires": moment_text(listed["expires"]),
        "lastUsed": moment_text(listed["lastUsed"]),
    }


def _show(row: dict[str, str], as_json: bool) -> None:
    show_once(row, "secret", f"the secret of credential {row['credentialId']}", as_json)
