"""`manage.py credential`: credentials of the deployment, for the vendor's own programs."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

import wiring
from administration.credentials import Credentials, ListedSecret
from administration.errors import AdministrationError
from administration.moments import moment
from commands.output import AsJson, run, show, show_once
from trust.tokens import DeploymentKind

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
    """Create a credential that serves every tenant, and show its secret, this once."""

    async def create(application: wiring.Application) -> dict[str, str]:
        credential, text = await _credentials(application).create(kind, name, _end(expires))
        return {"credentialId": credential.credential_id, "kind": kind, "secret": text}

    _show(run(create), as_json)


@app.command("list")
def credential_list(as_json: AsJson = False) -> None:
    """The credentials of the deployment and when each secret was last used, to within minutes."""

    async def read(application: wiring.Application) -> list[dict[str, Any]]:
        return [_row(each) for each in await _credentials(application).list()]

    show(run(read), as_json, COLUMNS)


@app.command("rotate")
def credential_rotate(
    credential: CredentialId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How long the old secret goes on working.")
    ] = 168,
    as_json: AsJson = False,
) -> None:
    """Create a secret in place of another, which goes on working for a while."""
    overlap = timedelta(hours=overlap_hours)
    text = run(lambda application: _credentials(application).rotate(credential, overlap))
    _show({"credentialId": credential, "secret": text}, as_json)


@app.command("revoke")
def credential_revoke(
    credential: CredentialId,
    secret: Annotated[str, typer.Option(help="The id of one of its secrets; else all end.")] = "",
    as_json: AsJson = False,
) -> None:
    """End a credential, or one of its secrets. Servers notice within seconds."""
    run(lambda application: _credentials(application).revoke(credential, secret))
    show({"revoked": secret or credential}, as_json, ("revoked",))


def _credentials(application: wiring.Application) -> Credentials:
    return Credentials(application.store, wiring.utc_now)


def _end(text: str | None) -> datetime | None:
    """Raises AdministrationError for what is no moment to come."""
    if text is None:
        return None
    try:
        end = moment(text)
    except ValueError as error:
        raise AdministrationError(f"--expires: {error}") from None
    if end <= wiring.utc_now():
        raise AdministrationError("--expires is in the past: such a secret would open nothing.")
    return end


def _row(listed: ListedSecret) -> dict[str, Any]:
    credential, token = listed.credential, listed.token
    return {
        "kind": credential.kind,
        "name": credential.name,
        "credentialId": credential.credential_id,
        "secretId": token.token_id if token else "",
        "state": "live" if listed.live else "expired" if token else "no secret",
        "created": (token or credential).created.isoformat(timespec="seconds"),
        "expires": token.expires.isoformat(timespec="seconds") if token and token.expires else "",
        "lastUsed": listed.last_used.isoformat(timespec="seconds") if listed.last_used else "",
    }


def _show(row: dict[str, str], as_json: bool) -> None:
    show_once(row, "secret", f"the secret of credential {row['credentialId']}", as_json)
