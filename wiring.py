"""Settings become a store, a queue and the applications on them: the only place that chooses."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import ASGIApp, Receive, Scope, Send

from access.following import Feed
from access.http import access_application
from access.http import refuse as refuse_access
from access.reading import AccessReader
from directory.checked import CheckedStore
from directory.documents import ENTITLEMENT_KINDS
from directory.sqlite.store import SqliteStore
from directory.store import Store
from directory.traced import TracedStore
from oauth.http import oauth_application
from oauth.http import refuse as refuse_oauth
from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, DeadLetterQueue, QueueSender
from queues.relay import Relay
from queues.sqlite.file import Beside
from queues.sqlite.queue import SqliteQueue
from queues.sqlite.topic import SqliteTopic
from reconciler.overdue import Overdue
from reconciler.publishing import Publisher, leave_to_outbox
from reconciler.worker import Reconciler
from scim.counting import RequestCounter
from scim.http import refuse as refuse_scim
from scim.http import scim_application
from scim.protocol.schema import load_resource_types
from scim.writing import Service
from telemetry import traces
from telemetry.observation import charge
from trust.authenticator import Authenticator, Home
from trust.cloud import Cloud, OperatorDirectory, is_trustworthy
from trust.rate import RateLimit
from trust.signing import SigningKeys
from web.health import Health, health_application
from web.health import refuse as refuse_health
from web.surface import REQUEST_SECONDS, Refuse, Surface

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

    from administration.blob_container import BlobContainer
    from administration.export_copies import ExportCopies
    from console.visit import Deployment
    from queues.servicebus.sender import ServiceBusNamespace

API_PATH = "/console/api"
DATABASE = "muster.sqlite"
PUBLIC_CLOUD = Cloud()


class Settings(BaseSettings):
    """What a deployment sets, each as an environment variable `MUSTER_<NAME>`, but for Service
    Bus, which shares the settings of the Functions trigger."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    data: Path = Path(".muster")
    """The folder that holds all state on a laptop."""
    region: Literal["eu", "us"] = "eu"
    public_url: str = ""
    """Scheme and host that clients see; empty: what they address."""
    region_urls: dict[str, str] = {}
    """Region → scheme and host of its deployment: where a tenant of another region is sent."""
    entra_login_url: str = PUBLIC_CLOUD.login_url
    """Where Entra ID signs in and publishes its keys; a sovereign cloud has its own."""
    entra_issuer_url: str = PUBLIC_CLOUD.issuer_url
    """What the issuer of its version 1.0 tokens begins with."""
    entra_audiences: tuple[str, ...] = PUBLIC_CLOUD.audiences
    entra_applications: tuple[str, ...] = PUBLIC_CLOUD.applications
    """Applications that its tokens may be issued to; none: any."""
    operator_directory: str = ""
    """The vendor's own Entra ID directory (`tid`), whose applications may have an app role here;
    empty: none."""
    operator_audience: str = ""
    """The application there that stands for Muster: its id, or its URI."""
    schemas: Path | None = None
    """A folder of extension schemas (SCIM Schema resources as `*.json`)."""
    entitlement_kinds: tuple[str, ...] = ()
    """Kinds of entitlements beside those that ship."""
    relay_after_seconds: float = 60.0
    """Events still pending after so long are sent again."""
    relay_apply_seconds: float = Field(default=120.0, ge=0)
    """Events still pending after so long are reconciled by the timer itself; 0: never."""
    retention_days: int = 400
    """How long events that are done are kept."""
    requests_per_second: float = Field(default=200.0, ge=0)
    """How many requests one tenant may send to each surface of one process; 0: any number."""
    request_seconds: float = Field(default=REQUEST_SECONDS, gt=0)
    """How long a request may take."""
    proxies: int = Field(default=0, ge=0)
    """How many proxies stand before the platform's own front end, such as Front Door: by them the
    log knows which network a request came from."""
    hsts_subdomains: bool = False
    """Whether browsers are to ask for every host below this one over TLS only, too."""
    export_url: str = ""
    """A container of Blob Storage that every tenant's file is copied to; empty: none is."""
    trace: Literal["", "console"] = ""
    """`console` writes traces to standard error."""
    trace_share: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that are kept."""
    max_delivery_count: int = 10
    """After so many deliveries the queue dead-letters a message; as in the queue's settings."""
    cosmos_endpoint: str = ""
    """The Cosmos DB account; empty: the SQLite file."""
    cosmos_key: SecretStr = SecretStr("")
    """The emulator's key; empty: the managed identity."""
    cosmos_database: str = "muster"
    cosmos_container: str = "directory"
    console_client_id: str = ""
    """The application in Entra ID that administrators sign in to; empty: nobody can."""
    console_client_secret: SecretStr = SecretStr("")
    console_authority: str = "https://login.microsoftonline.com/organizations/v2.0"
    """Where they sign in."""
    service_bus_namespace: str = Field(
        default="", validation_alias="ServiceBusConnection__fullyQualifiedNamespace"
    )
    """Host name of the namespace, reached with the managed identity."""
    service_bus_connection: SecretStr = Field(
        default=SecretStr(""), validation_alias="ServiceBusConnection"
    )
    """The emulator's connection string. With neither, the queue is in the SQLite file."""

    @field_validator("entra_login_url")
    @classmethod
    def _can_be_trusted(cls, url: str) -> str:
        if not is_trustworthy(url):
            raise ValueError("keys are fetched over https only (http from this machine itself)")
        return url.rstrip("/")

    @property
    def home(self) -> Home:
        """The region that is served here, and where the others are."""
        return Home(self.region, self.region_urls)

    @property
    def cloud(self) -> Cloud:
        """Where Entra ID is, and whose tokens count."""
        return Cloud(
            self.entra_login_url,
            self.entra_issuer_url.rstrip("/"),
            self.entra_audiences,
            self.entra_applications,
        )

    @property
    def operators(self) -> OperatorDirectory:
        """The vendor's own directory."""
        return OperatorDirectory(self.operator_directory.lower(), self.operator_audience)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of entitlements that a catalog can have."""
        return tuple(dict.fromkeys((*ENTITLEMENT_KINDS, *self.entitlement_kinds)))

    @property
    def on_laptop(self) -> bool:
        """Whether the state is a file of this machine."""
        return not self.cosmos_endpoint

    @property
    def on_service_bus(self) -> bool:
        """Whether queue and topic are on Service Bus."""
        return bool(self.service_bus_namespace or self.service_bus_connection.get_secret_value())

    @property
    def database(self) -> Path:
        """The SQLite file of store and queue."""
        return self.data / DATABASE


@dataclass(frozen=True, slots=True)
class Application:
    """Everything a trigger needs, built once per process."""

    settings: Settings
    store: Store
    sender: QueueSender
    topic: QueueSender
    """`access-changes`, for the application."""
    credential: "DefaultAzureCredential | None"
    authenticator: Authenticator
    relay: Relay
    publisher: Publisher
    reconciler: Reconciler
    overdue: Overdue
    """What the queue did not bring in time."""
    service: Service
    """What the use cases of SCIM and of administration need."""
    counter: RequestCounter
    scim: Surface
    access: Surface
    console: ASGIApp
    """The pages, and below /console/api their use cases for programs."""
    console_api: "Lazy"
    oauth: Surface
    health: Surface
    copies: "Copies"

    async def close(self) -> None:
        """Send what was submitted, then release store and queue."""
        await self.authenticator.close()
        await self.counter.close()
        await self.copies.close()
        await self.relay.close()
        await self.sender.close()
        await self.topic.close()
        await self.store.close()
        if self.credential is not None:
            await self.credential.close()


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def build(settings: Settings, now: Callable[[], datetime] = utc_now) -> Application:
    """Wire an application; nothing is connected before its first request."""
    credential = _credential(settings)
    store, beside = _store(settings, credential)
    store = CheckedStore(store)
    if traces.enabled():
        store = TracedStore(store)
    sender = _sender(settings, credential, beside)
    topic = _topic(settings, credential, beside)
    relay = Relay(sender, store, lambda: now().timestamp())
    resource_types = load_resource_types(
        sorted(settings.schemas.glob("*.json")) if settings.schemas else ()
    )
    retention = settings.retention_days * 86_400
    counter = RequestCounter(store, now)
    service = Service(store, relay.submit, now, resource_types, retention)
    publisher = Publisher(topic, store, now)
    authenticator = Authenticator(
        store, now, home=settings.home, cloud=settings.cloud, operators=settings.operators
    )
    console_api = Lazy(
        "console-api",
        lambda: _console_api(settings, service, sender, credential, authenticator),
    )
    return Application(
        settings=settings,
        store=store,
        sender=sender,
        topic=topic,
        credential=credential,
        authenticator=authenticator,
        relay=relay,
        publisher=publisher,
        reconciler=Reconciler(store, relay.send, publisher.publish, now, retention=retention),
        overdue=Overdue(
            store,
            # Where the queue is away, the topic may be, too: its outbox waits, access does not.
            Reconciler(store, relay.send, leave_to_outbox, now, retention=retention),
            now,
            after_seconds=settings.relay_apply_seconds,
            attempts=settings.max_delivery_count,
        ),
        service=service,
        counter=counter,
        scim=scim_application(
            service,
            authenticator,
            RateLimit(settings.requests_per_second),
            counter,
            settings.public_url,
            settings.request_seconds,
        ),
        access=access_application(
            AccessReader(store, resource_types["User"]),
            Feed(store, now, retention),
            authenticator,
            RateLimit(settings.requests_per_second),
            settings.request_seconds,
        ),
        console=_Split(
            API_PATH,
            console_api,
            Lazy("console", lambda: _console(settings, service, sender, credential, authenticator)),
        ),
        console_api=console_api,
        oauth=oauth_application(
            authenticator,
            RateLimit(settings.requests_per_second),
            now,
            settings.request_seconds,
        ),
        health=health_application(Health(store)),
        copies=Copies(settings, service, credential),
    )


class Copies:
    """Copies of every tenant's file, in the container that the settings name; none where they
    name none. What writes them is imported at its first run."""

    def __init__(
        self, settings: Settings, service: Service, credential: "DefaultAzureCredential | None"
    ) -> None:
        self._settings = settings
        self._service = service
        self._credential = credential
        self._container: BlobContainer | None = None
        self._copies: ExportCopies | None = None

    async def write(self) -> int:
        """How many files were written. Raises what `ExportCopies.write` raises."""
        url = self._settings.export_url
        if not url:
            return 0
        if self._copies is None:
            from administration.blob_container import BlobContainer
            from administration.export_copies import ExportCopies

            self._container = BlobContainer(url, None if "?" in url else self._credential)
            self._copies = ExportCopies(self._service, self._container, self._settings.region)
        return await self._copies.write()

    async def close(self) -> None:
        """Release the container."""
        if self._container is not None:
            await self._container.close()


class Lazy:
    """A surface that is built at its first request."""

    def __init__(self, name: str, build: Callable[[], Awaitable[Surface]]) -> None:
        self._name = name
        self._build = build
        self._building = asyncio.Lock()
        self._built: Surface | None = None

    async def built(self) -> Surface:
        """The surface itself."""
        async with self._building:
            if self._built is None:
                self._built = await self._build()
        return self._built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            surface = await self.built()
        except Exception as error:  # noqa: BLE001 - what it needs did not answer
            surface = not_built(self._name, error)
        await surface(scope, receive, send)


def not_built(name: str, error: Exception) -> Surface:
    """What answers in place of a surface that could not be built: with the error, as that surface
    shows it."""

    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return Surface(name, fail, {}, _refusals(name))


def _refusals(name: str) -> Refuse:
    if name == "console":
        from console.application import refuse as refuse_console

        return refuse_console
    if name == "console-api":
        from console.api.problems import refuse as refuse_console_api

        return refuse_console_api
    refusals: dict[str, Refuse] = {
        "scim": refuse_scim,
        "access": refuse_access,
        "oauth": refuse_oauth,
        "health": refuse_health,
    }
    return refusals[name]


class _Split:
    """Two ASGI applications: one for a path and all below it, one for everything else."""

    def __init__(self, path: str, below: ASGIApp, others: ASGIApp) -> None:
        self._path = path
        self._below = below
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = f"{scope['path']}/".startswith(f"{self._path}/")
        await (self._below if below else self._others)(scope, receive, send)


async def _console(
    settings: Settings,
    service: Service,
    sender: QueueSender,
    credential: "DefaultAzureCredential | None",
    authenticator: Authenticator,
) -> Surface:
    """The console; it is imported here, so that a cold start for SCIM does not wait for it."""
    from console.application import Console, refuse
    from console.provider import Provider
    from console.session import Cookies
    from console.sign_in import SignInPages

    provider = None
    if settings.console_client_id:
        secret = settings.console_client_secret.get_secret_value()
        provider = Provider(
            settings.console_authority,
            settings.console_client_id,
            secret,
            authenticator.signed().key_sets,
        )
    keys = SigningKeys(service.store, service.now)
    cookies = Cookies(lambda: keys.keys("console"), service.now)
    public_url = settings.public_url
    home = Home(settings.region, settings.region_urls)
    sign_in = SignInPages(
        service, cookies, provider, home, public_url=public_url, one_time=settings.on_laptop
    )
    deployment = _deployment(settings, service, sender, credential)
    rate = RateLimit(settings.requests_per_second)
    console = Console(deployment, cookies, sign_in, rate)
    return Surface("console", console, console.routes, refuse, settings.request_seconds)


async def _console_api(
    settings: Settings,
    service: Service,
    sender: QueueSender,
    credential: "DefaultAzureCredential | None",
    authenticator: Authenticator,
) -> Surface:
    """The console's JSON API; imported here for the same reason."""
    from console.api.application import api_application

    deployment = _deployment(settings, service, sender, credential)
    rate = RateLimit(settings.requests_per_second)
    return api_application(deployment, authenticator, rate, settings.request_seconds)


def _deployment(
    settings: Settings,
    service: Service,
    sender: QueueSender,
    credential: "DefaultAzureCredential | None",
) -> "Deployment":
    from console.visit import Deployment

    return Deployment(
        service,
        sender,
        lambda: _dead_letters(settings, sender, credential),
        settings.kinds,
        settings.public_url,
    )


# Azure's SDKs take a while to import: they are, where they are used.


def _credential(settings: Settings) -> "DefaultAzureCredential | None":
    """The managed identity (or whoever is signed in on a laptop), where anything asks for it."""
    keyless_store = settings.cosmos_endpoint and not settings.cosmos_key.get_secret_value()
    keyless_copies = settings.export_url and "?" not in settings.export_url
    if not (keyless_store or settings.service_bus_namespace or keyless_copies):
        return None
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


def _store(
    settings: Settings, credential: "DefaultAzureCredential | None"
) -> tuple[Store, Beside | None]:
    """The store, and how an embedded queue writes beside it where they share a file."""
    if not settings.cosmos_endpoint:
        _make_folder(settings.data)
        store = SqliteStore(settings.database)
        return store, store.beside
    from directory.cosmos.store import CosmosStore

    cosmos = CosmosStore(
        settings.cosmos_endpoint,
        settings.cosmos_key.get_secret_value() or _given(credential),
        settings.cosmos_database,
        settings.cosmos_container,
        meter=charge,
    )
    return cosmos, None


def _make_folder(path: Path) -> None:
    """The folder of all state on a laptop, for nobody else on the machine to look into; one that
    was there before is left as it is, and what is in it is readable to its owner alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _sender(
    settings: Settings, credential: "DefaultAzureCredential | None", beside: Beside | None
) -> QueueSender:
    if settings.on_service_bus:
        return _service_bus_sender(settings, credential, DIRECTORY_EVENTS)
    _make_folder(settings.data)
    return SqliteQueue(
        settings.database,
        max_delivery_count=settings.max_delivery_count,
        poll_interval=0.1,  # what another process sends, such as manage.py, waits for this
        beside=beside,
    )


def _topic(
    settings: Settings, credential: "DefaultAzureCredential | None", beside: Beside | None
) -> QueueSender:
    if settings.on_service_bus:
        return _service_bus_sender(settings, credential, ACCESS_CHANGES)
    return SqliteTopic(settings.database, beside=beside)


def _service_bus_sender(
    settings: Settings, credential: "DefaultAzureCredential | None", entity: str
) -> QueueSender:
    from queues.servicebus.sender import ServiceBusSender

    return ServiceBusSender(_namespace(settings, credential), entity)


def _namespace(
    settings: Settings, credential: "DefaultAzureCredential | None"
) -> "ServiceBusNamespace":
    from queues.servicebus.sender import ServiceBusNamespace

    connection = settings.service_bus_connection.get_secret_value()
    return ServiceBusNamespace(connection, settings.service_bus_namespace, credential)


def dead_letters(application: Application) -> AbstractAsyncContextManager[DeadLetterQueue]:
    """The dead letters of the queue that carries events."""
    return _dead_letters(application.settings, application.sender, application.credential)


@asynccontextmanager
async def _dead_letters(
    settings: Settings, sender: QueueSender, credential: "DefaultAzureCredential | None"
) -> AsyncIterator[DeadLetterQueue]:
    if isinstance(sender, SqliteQueue):
        yield sender
        return
    from queues.servicebus.queue import ServiceBusQueue

    async with ServiceBusQueue(_namespace(settings, credential)) as queue:
        yield queue


def _given(credential: "DefaultAzureCredential | None") -> "DefaultAzureCredential":
    if credential is None:
        raise ValueError("There is no credential, though the settings ask for one.")
    return credential


def failed(error: Exception) -> dict[str, ASGIApp]:
    """What answers, by name, where `application` fails."""
    return {
        "scim": not_built("scim", error),
        "access": not_built("access", error),
        "oauth": not_built("oauth", error),
        "health": not_built("health", error),
        "console": _Split(API_PATH, not_built("console-api", error), not_built("console", error)),
    }


_built: Application | None = None
_building = asyncio.Lock()


async def application() -> Application:
    """The application of this process, built at its first use."""
    global _built  # noqa: PLW0603 - one per process is the point
    if _built is not None:
        return _built
    async with _building:
        if _built is None:
            settings = Settings()
            traces.configure(settings.trace, settings.trace_share)
            _built = build(settings)
            gc.freeze()  # what is imported stays; a look through it stops everything for 10 ms
        return _built
