"""The tenant: a customer organisation, its connections, tokens and policy."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from directory.documents import EntitlementKey, Model, StoredModel
from directory.reasons import REASONS, Reason
from directory.store import Document

COMPARABLE_FORM = 2
"""The version of `search` that is written now (`scim.protocol.scalars.fold`)."""
TENANT_ID = "tenant"
"""Document id of the tenant in its own partition."""
OWNER = EntitlementKey("role", "owner")
"""The role that always needs a holder (administration/default_catalog.json)."""
MOST_PROTECTED = 5
"""Entitlements that a tenant can protect: each adds a document to the batches of its holders."""
ENTRA_CONNECTION = "entra"
"""The connection that every tenant starts with, and that Entra ID's own tokens authenticate."""


class Token(Model):
    """A secret issued by Muster: a bearer token, or an OAuth client's secret. Only its digest is
    kept."""

    token_id: str
    digest: str
    created: datetime
    expires: datetime | None = None
    note: str = ""


class ClientSecret(Token):
    """A secret of an OAuth client, and the key that signs the access tokens got with it."""

    signing_key: str = Field(repr=False)
    """Hexadecimal, 256 bits."""

    @property
    def credential_id(self) -> str:
        """What an access token names it by."""
        return self.token_id


class Federation(Model):
    """A workload whose own identity stands in for an OAuth client's secret."""

    federation_id: str
    issuer: str
    subject: str
    audience: str
    keys_url: str
    """Where the issuer publishes its keys."""
    created: datetime
    signing_key: str = Field(repr=False)

    @property
    def credential_id(self) -> str:
        """What an access token names it by."""
        return self.federation_id


type Credential = ClientSecret | Federation
"""What an OAuth client shows to get an access token."""


class OAuthClient(Model):
    """How a connection gets access tokens at Muster's token endpoint."""

    client_id: str
    created: datetime
    secrets: tuple[ClientSecret, ...] = ()
    federation: Federation | None = None

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """All that it has."""
        return (*self.secrets, *((self.federation,) if self.federation else ()))


class Connection(Model):
    """One Enterprise Application of the tenant: a source that provisions."""

    connection_id: str
    name: str
    tokens: tuple[Token, ...] = ()
    program_token: Token | None = None
    """The latest token of the set-up program. It expires within an hour, so it does not count among
    the connection's `tokens`."""
    client: OAuthClient | None = None


FEWEST_LOST = 10
"""Users who must lose something by one event, at the least, for a mass loss."""


class MassLossLimits(Model):
    """The number and the share of users who must lose something to make an event a mass loss."""

    users: int = Field(default=FEWEST_LOST, ge=FEWEST_LOST)
    percent: int = Field(default=20, ge=1, le=100)
    """Of those who held anything before."""


class Policy(Model):
    """The choices of a tenant, with the product's defaults."""

    strict: bool = False
    """Unknown attributes and unknown members are a 400 instead of being ignored."""
    accept_incomplete_users: bool = False
    """Users that lack a required attribute are created (and are disabled) instead of refused."""
    disable_when: tuple[Reason, ...] = REASONS
    """Which rules disable a user."""
    cost_center_from_attribute: bool = False
    """The enterprise attribute `costCenter` grants the catalog entry of that key."""
    app_roles: bool = False
    """The attribute `roles` grants the catalog entries of kind `role` that it names."""
    protected: tuple[EntitlementKey, ...] = (OWNER,)
    """Entitlements that stay with their last enabled holder, whatever is taken away."""
    mass_loss: MassLossLimits = MassLossLimits()
    """Which events are marked and notified, because many users lost something by them."""


class EntraTrust(Model):
    """Which of Entra ID's own tokens count, beyond what the deployment says."""

    accepted: bool = True
    audiences: tuple[str, ...] = ()
    """Empty: the deployment's."""
    applications: tuple[str, ...] = ()
    """Applications that they may be issued to; empty: the deployment's."""


class Tenant(StoredModel):
    """A customer organisation."""

    document_type = "Tenant"

    name: str
    region: str = "eu"
    directory_id: str | None = None
    """The Entra ID directory (`tid`); it counts while a DirectoryClaim says the same."""
    entra: EntraTrust = EntraTrust()
    provisioning: Literal["disabled", "enabled"] = "disabled"
    policy: Policy = Policy()
    protected_since: str = ""
    """The event that last changed `policy.protected`; empty: no event so far."""
    comparable_form: int = COMPARABLE_FORM
    """The version of the comparable form that the tenant's users and groups are stored in; 1 where
    the document does not say."""
    connections: tuple[Connection, ...] = ()
    access_tokens: tuple[Token, ...] = ()
    """Tokens of the application that reads the access API."""
    console_tokens: tuple[Token, ...] = ()
    """Tokens for the console's JSON API."""
    invitations: tuple[Token, ...] = ()
    """Links to the console's set-up pages, by the digests of their secrets."""
    session_epoch: int = 0
    """How often all console sessions were ended; a session is valid while it names this number."""

    @property
    def document_id(self) -> str:
        return TENANT_ID

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Read back what `to_document` wrote, now or in an earlier version."""
        return super().from_document({"comparableForm": 1, **document})


class LastUse(StoredModel):
    """When a credential of the tenant was last used, to within minutes."""

    document_type = "LastUse"

    credential: str
    """The id of a token, a client's secret or a federation; `entra` for Entra ID's own tokens."""
    at: datetime
    ttl: int

    @property
    def document_id(self) -> str:
        return last_use_id(self.credential)


def last_use_id(credential: str) -> str:
    """Document id of the last use of a credential."""
    return f"use:{credential}"


class RequestCount(StoredModel):
    """How many SCIM requests of the tenant's connections one process answered in one hour."""

    document_type = "RequestCount"

    hour: datetime
    """When the hour begins."""
    process: str
    requests: int
    errors: int
    """Those answered with a status of 400 or more."""
    last: datetime
    """When the last of them was answered."""
    ttl: int

    @property
    def document_id(self) -> str:
        return f"requests:{self.hour:%Y-%m-%dT%H}:{self.process}"


class DirectoryClaim(StoredModel):
    """The tenant that an Entra ID directory belongs to. It is the only document of its partition,
    so that a token's `tid` finds the tenant with one read and no two tenants share a directory."""

    document_type = "DirectoryClaim"

    claimed_by: str
    """The tenant. The claim counts for nothing unless that tenant names the directory too."""

    @property
    def document_id(self) -> str:
        return CLAIM_ID

    @classmethod
    def of(cls, directory_id: str, tenant_id: str) -> "DirectoryClaim":
        """The claim of a tenant to a directory."""
        return cls(tenant_id=directory_partition(directory_id), claimed_by=tenant_id)


CLAIM_ID = "directory"
"""Document id of the claim in the directory's own partition."""


def directory_partition(directory_id: str) -> str:
    """The partition of an Entra ID directory; no tenant's id has a colon."""
    return f"directory:{directory_id}"
