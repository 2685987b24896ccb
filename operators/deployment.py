"""What belongs to the deployment and not to a tenant: its credentials, and webhook endpoints."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, model_validator

from administration.credentials import Credentials as Administration
from administration.webhooks import Webhooks
from delivery.endpoints import TYPES, EndpointKey
from delivery.endpoints import Endpoint as Stored
from operators.call import Call
from operators.models import Fresh, Name, Note, Rotation, State
from trust.tokens import DeploymentKind
from web.moments import Moment
from web.operation import Answer, Body, Operation, Parameters


class CredentialRow(Answer):
    """A secret of a credential of the deployment, without its text."""

    credential_id: str
    kind: DeploymentKind
    name: str
    secret_id: str | None
    """null: all its secrets were revoked."""
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None
    """Accurate to some minutes."""


class Credentials(Answer):
    """The secrets of all credentials."""

    credentials: tuple[CredentialRow, ...]


class NewCredential(Body):
    """A credential to create."""

    kind: DeploymentKind
    """`application` reads access and follows changes; `operator` uses this interface."""
    name: Note = ""
    """Which program it is for."""
    expires: Moment | None = None
    """Left out: it never expires."""


class Endpoint(Answer):
    """A URL of the application that messages are posted to."""

    endpoint_id: str
    url: str
    label: str
    types: tuple[str, ...]
    """The types of messages that it gets; empty: all."""
    tenants: tuple[str, ...]
    """The tenants whose messages it gets; empty: all."""
    state: State
    reason: str
    """Why it is disabled."""
    changed: datetime
    """When it was enabled or disabled."""
    created: datetime
    keys: tuple[EndpointKey, ...]
    """The versions of the signing key, the newest last."""


class Endpoints(Answer):
    """All endpoints, the oldest first."""

    endpoints: tuple[Endpoint, ...]


class SigningEndpoint(Endpoint):
    """An endpoint with the secrets that sign, the newest first."""

    secrets: tuple[str, ...]


class NewEndpoint(Body):
    """An endpoint to create."""

    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    label: Note = ""
    types: Annotated[tuple[Name, ...], Field(max_length=len(TYPES))] = ()
    tenants: Annotated[tuple[Name, ...], Field(max_length=100)] = ()


class EndpointState(Body):
    """Whether messages are sent to it."""

    state: State


class KeyRotation(Body):
    """How the older secret ends."""

    at_once: bool = False
    """End the older secret at once, because it leaked; otherwise it signs for one more day."""


class Resend(Body):
    """What to send once more: one message, or all since a moment."""

    message_id: Name | None = None
    since: Moment | None = None

    @model_validator(mode="after")
    def _one(self) -> "Resend":
        if (self.message_id is None) == (self.since is None):
            raise ValueError("give messageId or since")
        return self


class Resent(Answer):
    """How many messages are sent once more."""

    messages: int


class TestMessage(Answer):
    """A message of type `test`, on its way."""

    message_id: str


class AttemptRow(Answer):
    """An attempt to deliver a message."""

    at: datetime
    message_id: str
    kind: str
    tenant: str
    number: int
    """1: the first attempt."""
    outcome: str
    """The HTTP status, or the kind of failure where there was none."""
    milliseconds: float
    next_at: datetime | None


class Attempts(Answer):
    """Attempts, the newest first; they are kept for 30 days."""

    attempts: tuple[AttemptRow, ...]


class AttemptsQuery(Parameters):
    """Which attempts."""

    failed: bool = False
    """Only those that failed."""
    message_id: Annotated[str, Field(max_length=200)] = ""
    """Only of this message."""
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50


async def list_credentials(call: Call[Parameters, None]) -> Credentials:
    """The credentials of the deployment and when each secret was last used."""
    rows = (
        CredentialRow(
            credential_id=one.credential.credential_id,
            kind=one.credential.kind,
            name=one.credential.name,
            secret_id=one.token.token_id if one.token else None,
            created=(one.token or one.credential).created,
            expires=one.token.expires if one.token else None,
            live=one.live,
            last_used=one.last_used,
        )
        for one in await _credentials(call).list()
    )
    return Credentials(credentials=tuple(rows))


async def create_credential(call: Call[Parameters, NewCredential]) -> Fresh:
    """Create a credential that serves every tenant and show its secret, only once."""
    new = call.body
    credential, text = await _credentials(call).create(new.kind, new.name, new.expires)
    return Fresh(id=credential.credential_id, secret=text)


async def rotate_credential(call: Call[Parameters, Rotation]) -> Fresh:
    """Create a secret of a credential that replaces another one, which still works for a while."""
    id, overlap = call.path["credentialId"], timedelta(hours=call.body.overlap_hours)
    return Fresh(id=id, secret=await _credentials(call).rotate(id, overlap))


async def revoke_credential(call: Call[Parameters, None]) -> None:
    """End a credential with all its secrets. Servers notice within seconds."""
    await _credentials(call).revoke(call.path["credentialId"])


async def revoke_credential_secret(call: Call[Parameters, None]) -> None:
    """End one of a credential's secrets. Servers notice within seconds."""
    await _credentials(call).revoke(call.path["credentialId"], call.path["secretId"])


def _credentials[Q, B](call: Call[Q, B]) -> Administration:
    return Administration(call.store, call.deployment.service.now)


async def list_webhooks(call: Call[Parameters, None]) -> Endpoints:
    """All endpoints: which of them are disabled, since when and why."""
    listed = await _webhooks(call).listed()
    return Endpoints(endpoints=tuple(Endpoint.model_validate(one) for one in listed))


async def read_webhook(call: Call[Parameters, None]) -> Endpoint:
    """One endpoint."""
    return Endpoint.model_validate(await _webhooks(call).read(_endpoint(call)))


async def create_webhook(call: Call[Parameters, NewEndpoint]) -> SigningEndpoint:
    """Send messages to a URL from now on, and show the secret that signs them."""
    new = call.body
    return await _signing(
        call, await _webhooks(call).create(new.url, new.label, new.types, new.tenants)
    )


async def rotate_webhook(call: Call[Parameters, KeyRotation]) -> SigningEndpoint:
    """Sign with a new secret, and show it. For a day messages carry a signature with the old one,
    too."""
    webhooks = _webhooks(call)
    return await _signing(call, await webhooks.rotate(_endpoint(call), at_once=call.body.at_once))


async def set_webhook_state(call: Call[Parameters, EndpointState]) -> Endpoint:
    """Enable an endpoint, or disable it and drop what waits for it."""
    changed = await _webhooks(call).set_state(_endpoint(call), call.body.state)
    return Endpoint.model_validate(changed)


async def delete_webhook(call: Call[Parameters, None]) -> None:
    """Delete an endpoint."""
    await _webhooks(call).delete(_endpoint(call))


async def test_webhook(call: Call[Parameters, None]) -> TestMessage:
    """Send a message of type `test`, once. The deliveries show the result."""
    return TestMessage(message_id=await _webhooks(call).test(_endpoint(call)))


async def resend_messages(call: Call[Parameters, Resend]) -> Resent:
    """Send messages once more, whether they arrived or not: one, or all since a moment. They keep
    their ids. A 503 says that not all fit into one request's time; then begin at a later moment."""
    wanted, webhooks = call.body, _webhooks(call)
    if wanted.since is not None:
        return Resent(messages=await webhooks.resend_since(_endpoint(call), wanted.since))
    await webhooks.resend(_endpoint(call), wanted.message_id or "")
    return Resent(messages=1)


async def list_deliveries(call: Call[AttemptsQuery, None]) -> Attempts:
    """The attempts to deliver to an endpoint, the newest first."""
    query = call.query
    found = await _webhooks(call).log(
        _endpoint(call), query.limit, failed=query.failed, message_id=query.message_id
    )
    return Attempts(attempts=tuple(AttemptRow.model_validate(one) for one in found))


def _webhooks[Q, B](call: Call[Q, B]) -> Webhooks:
    return call.deployment.webhooks()


def _endpoint[Q, B](call: Call[Q, B]) -> str:
    return call.path["endpointId"]


async def _signing[Q, B](call: Call[Q, B], endpoint: Stored) -> SigningEndpoint:
    secrets = tuple(await _webhooks(call).secrets(endpoint))
    return SigningEndpoint(**Endpoint.model_validate(endpoint).model_dump(), secrets=secrets)


_CREDENTIAL = "/credentials/{credentialId}"
_WEBHOOK = "/webhooks/{endpointId}"
OPERATIONS = (
    Operation("GET", "/credentials", list_credentials, Credentials),
    Operation("POST", "/credentials", create_credential, Fresh, body=NewCredential, status=201),
    Operation("DELETE", _CREDENTIAL, revoke_credential, None, status=204),
    Operation("POST", f"{_CREDENTIAL}/rotate", rotate_credential, Fresh, body=Rotation, status=201),
    Operation(
        "DELETE", f"{_CREDENTIAL}/secrets/{{secretId}}", revoke_credential_secret, None, status=204
    ),
    Operation("GET", "/webhooks", list_webhooks, Endpoints),
    Operation("POST", "/webhooks", create_webhook, SigningEndpoint, body=NewEndpoint, status=201),
    Operation("GET", _WEBHOOK, read_webhook, Endpoint),
    Operation("DELETE", _WEBHOOK, delete_webhook, None, status=204),
    Operation("PUT", f"{_WEBHOOK}/state", set_webhook_state, Endpoint, body=EndpointState),
    Operation("POST", f"{_WEBHOOK}/rotate", rotate_webhook, SigningEndpoint, body=KeyRotation),
    Operation("POST", f"{_WEBHOOK}/test", test_webhook, TestMessage),
    Operation("POST", f"{_WEBHOOK}/resend", resend_messages, Resent, body=Resend),
    Operation("GET", f"{_WEBHOOK}/deliveries", list_deliveries, Attempts, query=AttemptsQuery),
)
