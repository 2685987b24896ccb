"""The settings of a deployment; docs/settings.md explains each."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from directory.documents import ENTITLEMENT_KINDS
from trust.authenticator import Home
from trust.cloud import Cloud, OperatorDirectory, is_trustworthy
from web.surface import REQUEST_SECONDS

DATABASE = "muster.sqlite"
PUBLIC_CLOUD = Cloud()


class Settings(BaseSettings):
    """The settings of a deployment, each from an environment variable `MUSTER_<NAME>`, except those
    of Service Bus, which are the Functions trigger's."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    data: Path = Path(".muster")
    """The folder that holds all state on a laptop."""
    region: Literal["eu", "us"] = "eu"
    public_url: str = ""
    """Scheme and host that clients see; empty: the host that they address."""
    region_urls: dict[str, str] = {}
    """Region → scheme and host of its deployment, named to clients of tenants in other regions."""
    entra_login_url: str = PUBLIC_CLOUD.login_url
    """Entra ID's sign-in host, which also publishes its keys; a sovereign cloud has another."""
    entra_issuer_url: str = PUBLIC_CLOUD.issuer_url
    """The beginning of the issuer in Entra ID's version 1.0 tokens."""
    entra_audiences: tuple[str, ...] = PUBLIC_CLOUD.audiences
    entra_applications: tuple[str, ...] = PUBLIC_CLOUD.applications
    """Applications that Entra ID's tokens may be issued to; empty: any."""
    operator_directory: str = ""
    """The vendor's Entra ID directory (`tid`), whose applications may have app roles of Muster;
    empty: none."""
    operator_audience: str = ""
    """The application in that directory that represents Muster: its id or its URI."""
    schemas: Path | None = None
    """A folder of extension schemas (SCIM Schema resources as `*.json`)."""
    entitlement_kinds: tuple[str, ...] = ()
    """Kinds of entitlements beside those that Muster brings."""
    relay_after_seconds: float = 60.0
    """Events still pending after this time are sent again."""
    relay_apply_seconds: float = Field(default=120.0, ge=0)
    """Events still pending after this time are reconciled by the timer itself; 0: never."""
    retention_days: int = 400
    """How long events that are done are kept."""
    requests_per_second: float = Field(default=200.0, ge=0)
    """How many requests one tenant may send to each surface of one process; 0: any number."""
    request_seconds: float = Field(default=REQUEST_SECONDS, gt=0)
    """How long a request may take."""
    proxies: int = Field(default=0, ge=0)
    """How many proxies, such as Front Door, are in front of the platform's front end; needed to
    find the network that a request came from."""
    hsts_subdomains: bool = False
    """Whether browsers must use TLS for all subdomains of this host, too."""
    export_url: str = ""
    """A container of Blob Storage that every tenant's file is copied to; empty: no copies."""
    webhook_private: bool = False
    """Whether webhooks may be sent to this machine and to private networks, and without TLS."""
    trace: Literal["", "console"] = ""
    """`console` writes traces to standard error."""
    trace_share: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that are kept."""
    max_delivery_count: int = 10
    """Deliveries after which the queue dead-letters a message; must equal the queue's setting."""
    cosmos_endpoint: str = ""
    """The Cosmos DB account; empty: the SQLite file."""
    cosmos_key: SecretStr = SecretStr("")
    """The emulator's key; empty: the managed identity."""
    cosmos_database: str = "muster"
    cosmos_container: str = "directory"
    console_client_id: str = ""
    """The application in Entra ID that administrators sign in to; empty: no sign-in."""
    console_client_secret: SecretStr = SecretStr("")
    console_authority: str = "https://login.microsoftonline.com/organizations/v2.0"
    """The OpenID provider for administrators."""
    service_bus_namespace: str = Field(
        default="", validation_alias="ServiceBusConnection__fullyQualifiedNamespace"
    )
    """Host name of the namespace, reached with the managed identity."""
    service_bus_connection: SecretStr = Field(
        default=SecretStr(""), validation_alias="ServiceBusConnection"
    )
    """The emulator's connection string. With neither of them, the queue is in the SQLite file."""

    @field_validator("entra_login_url")
    @classmethod
    def _can_be_trusted(cls, url: str) -> str:
        if not is_trustworthy(url):
            raise ValueError("keys are fetched over https only (http from this machine itself)")
        return url.rstrip("/")

    @property
    def home(self) -> Home:
        """The region of this deployment, and the URLs of the others."""
        return Home(self.region, self.region_urls)

    @property
    def cloud(self) -> Cloud:
        """Entra ID's addresses, and which of its tokens are accepted."""
        return Cloud(
            self.entra_login_url,
            self.entra_issuer_url.rstrip("/"),
            self.entra_audiences,
            self.entra_applications,
        )

    @property
    def operators(self) -> OperatorDirectory:
        """The vendor's directory."""
        return OperatorDirectory(self.operator_directory.lower(), self.operator_audience)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of entitlements that a catalog can have."""
        return tuple(dict.fromkeys((*ENTITLEMENT_KINDS, *self.entitlement_kinds)))

    @property
    def on_laptop(self) -> bool:
        """Whether the store is the SQLite file on this machine."""
        return not self.cosmos_endpoint

    @property
    def on_service_bus(self) -> bool:
        """Whether queue and topic are on Service Bus."""
        return bool(self.service_bus_namespace or self.service_bus_connection.get_secret_value())

    @property
    def database(self) -> Path:
        """The SQLite file of store and queue."""
        return self.data / DATABASE
