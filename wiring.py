"""Builds store, queue and applications from the settings: the only module that chooses between
implementations."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from access.following import Feed
from access.http import access_application
from access.http import refuse as refuse_access
from access.reading import AccessReader
from directory.checked import CheckedStore
from directory.portions import PORTIONS, Portions
from directory.sqlite.store import SqliteStore
from directory.store import Store
from directory.traced import TracedStore
from oauth.http import oauth_application
from oauth.http import refuse as refuse_oauth
from queues.port import (
    ACCESS_CHANGES,
    DIRECTORY_EVENTS,
    WEBHOOK_DELIVERIES,
    WEBHOOKS,
    DeadLetterQueue,
    QueueSender,
)
from queues.relay import Relay
from queues.sqlite.file import Beside
from queues.sqlite.queue import SqliteQueue
from queues.sqlite.topic import SqliteTopic
from reconciler.overdue import Overdue
from reconciler.publishing import Publisher, leave_to_outbox
from reconciler.worker import Publish, Reconciler
from scim.counting import RequestCounter
from scim.http import refuse as refuse_scim
from scim.http import scim_application
from scim.protocol.schema import load_resource_types
from scim.writing import Service
from settings import Settings
from telemetry import traces
from telemetry.observation import charge
from trust.authenticator import Authenticator
from trust.rate import RateLimit
from trust.signing import Keys, SigningKeys
from web.health import Health, health_application
from web.health import refuse as refuse_health
from web.surface import Refuse, Surface

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

    from administration.blob_container import BlobContainer
    from administration.deployment import Deployment
    from administration.export_copies import ExportCopies
    from administration.fleet import Fleet
    from administration.webhooks import Webhooks
    from delivery.sending import HttpPoster
    from delivery.watching import Watch
    from delivery.worker import Deliveries
    from queues.servicebus.sender import ServiceBusNamespace

API_PATH = "/console/api"


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


class Application:
    """Everything that triggers and commands need. Each part is built at its first use, and its own
    imports are made then: a cold start for SCIM waits neither for the console nor for an Azure SDK
    that the settings do not need. Nothing connects before its first use."""

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        *,
        portions: Portions = PORTIONS,
    ) -> None:
        self.settings = settings
        self._now = now
        self._portions = portions

    async def close(self) -> None:
        """Send submitted events, then release store and queue. Parts that were never used are not
        built for this."""
        for name in _TO_CLOSE:
            if (part := vars(self).get(name)) is not None:
                await part.close()

    # Store, queues and topic.

    @cached_property
    def store(self) -> Store:
        """The store."""
        store = CheckedStore(self._sqlite if self.settings.on_laptop else self._cosmos)
        return TracedStore(store) if traces.enabled() else store

    @cached_property
    def sender(self) -> QueueSender:
        """The queue that carries events."""
        return self._queue(DIRECTORY_EVENTS)

    @cached_property
    def webhook_queue(self) -> QueueSender:
        """`webhook-deliveries`."""
        return self._queue(WEBHOOK_DELIVERIES)

    def _queue(self, name: str) -> QueueSender:
        if self.settings.on_service_bus:
            return self._service_bus_sender(name)
        _make_folder(self.settings.data)
        return SqliteQueue(
            self.settings.database,
            name,
            max_delivery_count=self.settings.max_delivery_count,
            poll_interval=0.1,  # messages from another process, such as manage.py, wait this long
            beside=self._beside,
        )

    @cached_property
    def topic(self) -> QueueSender:
        """`access-changes`, for the application."""
        if self.settings.on_service_bus:
            return self._service_bus_sender(ACCESS_CHANGES)
        return SqliteTopic(
            self.settings.database,
            max_delivery_count=self.settings.max_delivery_count,
            beside=self._beside,
        )

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator[DeadLetterQueue]:
        """The dead letters of the queue that carries events."""
        if isinstance(self.sender, SqliteQueue):
            yield self.sender
            return
        from queues.servicebus.queue import ServiceBusQueue

        async with ServiceBusQueue(self._namespace()) as queue:
            yield queue

    @cached_property
    def _sqlite(self) -> SqliteStore:
        _make_folder(self.settings.data)
        return SqliteStore(self.settings.database)

    @property
    def _beside(self) -> Beside | None:
        """Lets an embedded queue write in the store's transactions, where they share a file."""
        return self._sqlite.beside if self.settings.on_laptop else None

    @cached_property
    def _cosmos(self) -> Store:
        from directory.cosmos.store import CosmosStore

        return CosmosStore(
            self.settings.cosmos_endpoint,
            self.settings.cosmos_key.get_secret_value() or self._credential,
            self.settings.cosmos_database,
            self.settings.cosmos_container,
            meter=charge,
        )

    def _service_bus_sender(self, entity: str) -> QueueSender:
        from queues.servicebus.sender import ServiceBusSender

        return ServiceBusSender(self._namespace(), entity)

    def _namespace(self) -> "ServiceBusNamespace":
        from queues.servicebus.sender import ServiceBusNamespace

        connection = self.settings.service_bus_connection.get_secret_value()
        credential = None if connection else self._credential
        return ServiceBusNamespace(connection, self.settings.service_bus_namespace, credential)

    @cached_property
    def _credential(self) -> "DefaultAzureCredential":
        """The managed identity, or the person signed in on a laptop."""
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential()

    # From an event to access.

    @cached_property
    def relay(self) -> Relay:
        """Sends events to the queue."""
        return Relay(self.sender, self.store, lambda: self._now().timestamp())

    @cached_property
    def publisher(self) -> Publisher:
        """Sends changes of access to the topic."""
        return Publisher(self.topic, self.store, self._now)

    @cached_property
    def reconciler(self) -> Reconciler:
        """Applies events."""
        return self._reconciler(self.publisher.publish)

    @cached_property
    def overdue(self) -> Overdue:
        """Reconciles events that the queue did not deliver in time."""
        return Overdue(
            self.store,
            # If the queue is down, the topic may be, too: the outbox can wait, access must not.
            self._reconciler(leave_to_outbox),
            self._now,
            after_seconds=self.settings.relay_apply_seconds,
            attempts=self.settings.max_delivery_count,
        )

    def _reconciler(self, publish: Publish) -> Reconciler:
        return Reconciler(
            self.store,
            self.relay.send,
            publish,
            self._now,
            retention=self._retention,
            portions=self._portions,
        )

    @property
    def _retention(self) -> int:
        """How long done events and changes of access are kept, in seconds."""
        return self.settings.retention_days * 86_400

    # From a change to the application's endpoints.

    @cached_property
    def deliveries(self) -> "Deliveries":
        """Sends webhooks."""
        from delivery.worker import Deliveries

        roots = self._webhook_keys
        return Deliveries(self.store, self.webhook_queue, self._poster, roots, self._now)

    @cached_property
    def watch(self) -> "Watch":
        """Makes notices about refused requests and expiring secrets."""
        from delivery.watching import Watch

        return Watch(self.store, self._now)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """The operator's use cases about webhook endpoints."""
        from administration.webhooks import Webhooks

        return Webhooks(
            self.store,
            self.webhook_queue,
            self._webhook_keys,
            self._now,
            private=self.settings.webhook_private,
            subscribe=self._subscribe_webhooks,
        )

    @cached_property
    def webhook_subscription(self) -> SqliteQueue | None:
        """The embedded topic's subscription for webhooks; None on Service Bus, which triggers the
        function itself."""
        topic = self.topic
        return topic.subscription(WEBHOOKS) if isinstance(topic, SqliteTopic) else None

    async def _subscribe_webhooks(self) -> None:
        """Make the embedded subscription (on Azure, Bicep makes it). It is made only with the first
        endpoint, because the embedded topic writes a message for each subscription."""
        if isinstance(self.topic, SqliteTopic):
            await (await self.topic.subscribe(WEBHOOKS)).close()

    @cached_property
    def _webhook_keys(self) -> Callable[[], Awaitable[Keys]]:
        from delivery.signing import DOCUMENT, PURPOSE

        keys = SigningKeys(self.store, self._now, document=DOCUMENT)
        return lambda: keys.keys(PURPOSE)

    @cached_property
    def _poster(self) -> "HttpPoster":
        from delivery.sending import HttpPoster

        return HttpPoster(self.settings.webhook_private)

    # What the surfaces share.

    @cached_property
    def service(self) -> Service:
        """What SCIM's and the administration's use cases need."""
        schemas = self.settings.schemas
        resource_types = load_resource_types(sorted(schemas.glob("*.json")) if schemas else ())
        return Service(
            self.store,
            self.relay.submit,
            self._now,
            resource_types,
            self._retention,
            self._portions,
        )

    @cached_property
    def authenticator(self) -> Authenticator:
        """Finds out who calls."""
        return Authenticator(
            self.store,
            self._now,
            home=self.settings.home,
            cloud=self.settings.cloud,
            operators=self.settings.operators,
        )

    @cached_property
    def counter(self) -> RequestCounter:
        """Counts each tenant's requests."""
        return RequestCounter(self.store, self._now)

    async def write_copies(self) -> int:
        """Copy every tenant's file to the container in the settings, if there is one; returns how
        many were written. Raises what `ExportCopies.write` raises."""
        return await self._copies.write() if self.settings.export_url else 0

    @cached_property
    def _copies(self) -> "ExportCopies":
        from administration.export_copies import ExportCopies

        return ExportCopies(self.service, self._container, self.settings.region)

    @cached_property
    def _container(self) -> "BlobContainer":
        from administration.blob_container import BlobContainer

        url = self.settings.export_url
        return BlobContainer(url, None if "?" in url else self._credential)

    # The surfaces.

    @cached_property
    def scim(self) -> Surface:
        """The SCIM service provider."""
        return scim_application(
            self.service,
            self.authenticator,
            self._rate(),
            self.counter,
            self.settings.public_url,
            self.settings.request_seconds,
        )

    @cached_property
    def access(self) -> Surface:
        """The access API."""
        return access_application(
            AccessReader(self.store, self.service.resource_types["User"]),
            self.feed,
            self.authenticator,
            self._rate(),
            self.settings.public_url,
            self.settings.request_seconds,
        )

    @cached_property
    def feed(self) -> Feed:
        """The feed of all changes of access."""
        return Feed(self.store, self._now, self._retention)

    @cached_property
    def oauth(self) -> Surface:
        """The token endpoint."""
        return oauth_application(
            self.authenticator, self._rate(), self._now, self.settings.request_seconds
        )

    @cached_property
    def health(self) -> Surface:
        """Whether the deployment and its database answer."""
        return health_application(Health(self.store))

    @cached_property
    def console(self) -> ASGIApp:
        """The console's pages, and below /console/api its JSON API."""
        return _Split(
            API_PATH,
            Lazy("console-api", lambda: self.console_api),
            Lazy("console", lambda: self.console_pages),
        )

    @cached_property
    def console_pages(self) -> Surface:
        """The console's pages."""
        from console.application import Console, refuse
        from console.provider import Provider
        from console.session import Cookies
        from console.sign_in import SignInPages

        settings = self.settings
        provider = None
        if settings.console_client_id:
            provider = Provider(
                settings.console_authority,
                settings.console_client_id,
                settings.console_client_secret.get_secret_value(),
                self.authenticator.signed().key_sets,
            )
        keys = SigningKeys(self.store, self._now)
        cookies = Cookies(lambda: keys.keys("console"), self._now)
        sign_in = SignInPages(
            self.service,
            cookies,
            provider,
            settings.home,
            public_url=settings.public_url,
            one_time=settings.on_laptop,
            operators=settings.operators.directory_id,
        )
        console = Console(self.deployment, cookies, sign_in, self._rate())
        return Surface("console", console, console.routes, refuse, settings.request_seconds)

    @cached_property
    def console_api(self) -> Surface:
        """The console's JSON API."""
        from console.api.application import api_application

        return api_application(
            self.deployment, self.authenticator, self._rate(), self.settings.request_seconds
        )

    @cached_property
    def operator(self) -> ASGIApp:
        """The operators' interface, for the vendor's own programs."""
        return Lazy("operator", lambda: self.operator_api)

    @cached_property
    def operator_api(self) -> Surface:
        """The same, built."""
        from operators.http import operator_application

        return operator_application(
            self.deployment, self.authenticator, self._rate(), self.settings.request_seconds
        )

    @cached_property
    def fleet(self) -> "Fleet":
        """Keeps the summaries of all tenants."""
        from administration.fleet import Fleet

        return Fleet(self.store, self._now)

    @cached_property
    def deployment(self) -> "Deployment":
        """What surfaces for administrators and operators work with."""
        from administration.deployment import Deployment

        return Deployment(
            self.service,
            self.sender,
            self.dead_letters,
            lambda: self.webhooks,
            self.settings.kinds,
            self.settings.public_url,
            self.settings.cloud,
            self.settings.home,
        )

    def _rate(self) -> RateLimit:
        return RateLimit(self.settings.requests_per_second)


_TO_CLOSE = (
    "authenticator counter _container relay _poster sender webhook_queue webhook_subscription "
    "topic _sqlite _cosmos _credential".split()
)
"""The parts that must be closed, in this order."""


class Lazy:
    """A surface that is built at its first request; while that fails, the error is the answer."""

    def __init__(self, name: str, built: Callable[[], Surface]) -> None:
        self._name = name
        self._built = built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            surface = self._built()
        except Exception as error:  # noqa: BLE001 - any error becomes the answer
            surface = not_built(self._name, error)
        await surface(scope, receive, send)


def not_built(name: str, error: Exception) -> Surface:
    """A surface in place of one that could not be built: it answers with the error, in the form of
    that surface."""

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
    if name == "operator":
        from operators.http import refuse as refuse_operator

        return refuse_operator
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


def _make_folder(path: Path) -> None:
    """Make the folder of all state on a laptop, closed to other users of the machine. An existing
    folder keeps its mode; the files in it are readable only to their owner."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def failed(error: Exception) -> dict[str, ASGIApp]:
    """Surfaces by name that answer with the error, for when `application` fails."""
    return {
        "scim": not_built("scim", error),
        "access": not_built("access", error),
        "oauth": not_built("oauth", error),
        "health": not_built("health", error),
        "operator": not_built("operator", error),
        "console": _Split(API_PATH, not_built("console-api", error), not_built("console", error)),
    }


@cache
def application() -> Application:
    """The application of this process."""
    settings = Settings()
    traces.configure(settings.trace, settings.trace_share)
    built = Application(settings)
    gc.freeze()  # imported objects stay; a collection that visits them takes 10 ms
    return built
