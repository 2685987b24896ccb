"""Muster as it is deployed, in this process: an instance that serves HTTP, instances that the
queue triggers, and the timer. They share what is behind the ports, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import pytest

import function_app
import wiring
from directory.condition import Compare
from directory.store import Store
from directory.tenants import Policy
from laptop.devhost.http import Message, Receive, Send
from laptop.devhost.server import served
from queues.port import DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from settings import Settings
from tests.environment import TENANT, add_tenant, queue_of
from wiring import Application

TIMER_SECONDS = 0.5
PATIENCE_SECONDS = 60
type Invoke = Callable[[str, bytes, str, int], Awaitable[None]]
"""Takes where a message comes from (a key of FUNCTIONS), its body, its id and how often it was
delivered; raises where it failed."""
type Triggering = Callable[[Application, Invoke], Coroutine[Any, Any, None]]
"""Feeds an instance from its queues until it is cancelled."""
FUNCTIONS = {
    DIRECTORY_EVENTS: function_app.reconcile,
    WEBHOOKS: function_app.webhooks,
    WEBHOOK_DELIVERIES: function_app.deliver,
}
"""By queue or subscription."""

_application: ContextVar[Application] = ContextVar("_application")
"""That of the instance whose function runs."""


@contextmanager
def instances() -> Iterator[None]:
    """Functions find the application of the instance that runs them."""

    def application() -> Application:
        return _application.get()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "application", application)
        yield


class Worker:
    """An instance that the queue triggers."""

    def __init__(self, application: Application, triggering: Triggering) -> None:
        self._application = application
        self._triggered = asyncio.create_task(triggering(application, self._invoke))
        self.working = 0
        """How many messages are being worked on."""

    async def _invoke(self, source: str, body: bytes, message_id: str, delivery_count: int) -> None:
        """Deliver one message to the real function; what it raises is raised."""
        _application.set(self._application)
        self.working += 1
        try:
            await _function(FUNCTIONS[source])(_Delivered(body, message_id, delivery_count))
        finally:
            self.working -= 1

    async def kill(self) -> None:
        """In the middle of things: nothing is finished, nothing settled."""
        self._triggered.cancel()
        await asyncio.wait({self._triggered})
        await self._application.relay.close(0)


@dataclass(frozen=True)
class _Delivered:
    """What the function reads of a func.ServiceBusMessage."""

    body: bytes
    message_id: str
    delivery_count: int

    def get_body(self) -> bytes:
        return self.body


@dataclass
class Deployment:
    """Everything, with one tenant."""

    settings: Settings
    triggering: Triggering
    application: Application
    """Of the instance that serves HTTP."""
    store: Store
    """What is stored, for the test to read."""
    url: str
    token: str
    access_token: str
    closing: AsyncExitStack

    def worker(self) -> Worker:
        """Another instance."""
        application = Application(self.settings)
        self.closing.push_async_callback(application.close)
        return Worker(application, self.triggering)

    async def settled(self) -> None:
        """Wait until every event is done and every change of access published."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._unfinished():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _unfinished(self) -> int:
        pending = Compare(("state",), "eq", "pending")
        return await self.store.count(TENANT, "Event", pending) + await self.store.count(
            TENANT, "Publication"
        )


@asynccontextmanager
async def deployed(settings: Settings, triggering: Triggering) -> AsyncIterator[Deployment]:
    """Deploy, and prepare the tenant. Workers are the test's to start and to stop."""
    async with AsyncExitStack() as closing:
        closing.enter_context(instances())
        application = Application(settings)
        closing.push_async_callback(application.close)
        token, access_token = await add_tenant(application.store, TENANT, Policy())
        url = await closing.enter_async_context(_serving(application))
        await closing.enter_async_context(_timer(application))
        yield Deployment(
            settings, triggering, application, application.store, url, token, access_token, closing
        )


async def embedded(application: Application, invoke: Invoke) -> None:
    """The queue in the application's own file, of which nothing comes twice."""
    queue = queue_of(application)
    while True:
        messages = await queue.receive(16, 1)
        await asyncio.gather(
            *(invoke(DIRECTORY_EVENTS, m.body, m.id, m.delivery_count) for m in messages)
        )
        for message in messages:
            await queue.complete(message)


@asynccontextmanager
async def _serving(application: Application) -> AsyncIterator[str]:
    async def surfaces(scope: Message, receive: Receive, send: Send) -> None:
        is_scim = scope["path"].startswith("/scim")
        await (application.scim if is_scim else application.access)(scope, receive, send)

    async with served(surfaces) as url:
        yield url


@asynccontextmanager
async def _timer(application: Application) -> AsyncIterator[None]:
    """What fails comes again with its next run."""

    async def tick() -> None:
        _application.set(application)
        while True:
            await asyncio.gather(_function(function_app.relay)(None), return_exceptions=True)
            await asyncio.sleep(TIMER_SECONDS)

    ticking = asyncio.create_task(tick())
    yield
    ticking.cancel()
    await asyncio.wait({ticking})


def _function(builder: Any) -> Callable[[Any], Any]:
    """The function under its decorators."""
    return cast("Callable[[Any], Any]", builder._function.get_user_function())
