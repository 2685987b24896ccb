"""Every trigger of the Function App, and nothing else.

One HTTP function per surface hands its requests to an ASGI app; the triggers of Service Bus hand
events to the reconciler and changes to webhooks; the timer sends unconfirmed events and changes
again. `wiring` builds everything else at first use: Azure imports this module on every instance to
find the functions, before it knows which of them will run there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import azure.functions as func

import wiring
from delivery.message import Delivery
from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from queues.relay import parse
from reconciler.patience import pause_before_redelivery
from reconciler.publishing import published
from telemetry import logs
from telemetry.observation import Observation
from web import function
from web.surface import HEADERS, PARENT

log = logging.getLogger("muster.functions")

logs.configure()  # before the first invocation, but after the worker added its handlers

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("scim")
@app.route("scim/{*path}")
async def scim(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The SCIM service provider, under /scim and /scim/v2."""
    return await _serve("scim", req, context)


@app.function_name("access")
@app.route("access/{*path}")
async def access(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The access API of the application."""
    return await _serve("access", req, context)


@app.function_name("discovery")
@app.route(".well-known/authzen-configuration/{*path}")
async def discovery(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The metadata of the access API's decision points (AuthZEN)."""
    return await _serve("access", req, context)


@app.function_name("console")
@app.route("console/{*path}")
async def console(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The administrators' console."""
    return await _serve("console", req, context)


@app.function_name("oauth")
@app.route("oauth/{*path}")
async def oauth(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The token endpoint of OAuth 2.0 clients."""
    return await _serve("oauth", req, context)


@app.function_name("operator")
@app.route("operator/{*path}")
async def operator(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The interface of the vendor's own operators."""
    return await _serve("operator", req, context)


@app.function_name("health")
@app.route("health", methods=["GET", "HEAD"])
async def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether the deployment and its database answer, for monitoring from outside."""
    return await _serve("health", req, context)


@app.function_name("reconcile")
@app.service_bus_queue_trigger(
    arg_name="message",
    connection="ServiceBusConnection",
    queue_name=DIRECTORY_EVENTS,
    cardinality=func.Cardinality.ONE,
)
async def reconcile(message: func.ServiceBusMessage) -> None:
    """Apply one event, or several of one tenant. A return completes the message; an exception
    abandons it, and after its last delivery the queue dead-letters it."""
    with _observed("reconcile") as seen:
        events = parse(message.get_body())
        seen.tenant_id = events.tenant_id
        if events.others:
            seen.measures["events"] = len(events.event_ids)
        else:
            seen.event_id = events.event_id
        application = wiring.application()
        delivery = message.delivery_count or 1
        async with _patient(message, application) as last:
            await application.reconciler.handle_all(events, delivery=delivery, last=last)


@app.function_name("webhooks")
@app.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBusConnection",
    topic_name=ACCESS_CHANGES,
    subscription_name=WEBHOOKS,
    cardinality=func.Cardinality.ONE,
)
async def webhooks(message: func.ServiceBusMessage) -> None:
    """Make a delivery of a change of access for every endpoint of the application that wants it."""
    with _observed("webhooks"):
        tenant_id, change_id = published(message.get_body()), message.message_id
        application = wiring.application()
        async with _patient(message, application) as last:
            await application.deliveries.change_published(tenant_id, change_id, last=last)


@app.function_name("deliver")
@app.service_bus_queue_trigger(
    arg_name="message",
    connection="ServiceBusConnection",
    queue_name=WEBHOOK_DELIVERIES,
    cardinality=func.Cardinality.ONE,
)
async def deliver(message: func.ServiceBusMessage) -> None:
    """Make one attempt to send one message to one endpoint of the application."""
    with _observed("deliver"):
        delivery, application = Delivery.parse(message.get_body()), wiring.application()
        async with _patient(message, application) as last:
            await application.deliveries.handle(delivery, last=last)


@app.function_name("relay")
@app.timer_trigger(
    arg_name="timer",
    schedule="*/30 * * * * *",
    run_on_startup=False,
    use_monitor=False,  # every run sends all that is due: there is nothing to catch up with
)
async def relay(timer: func.TimerRequest) -> None:  # noqa: ARG001 (bound by its name)
    """Send committed events and changes of access that were never confirmed, and pending notices;
    reconcile events that the queue did not deliver in time; then bring documents of an earlier
    version up to date."""
    with _observed("relay") as seen:
        application = wiring.application()
        older_than = application.settings.relay_after_seconds
        applied, events, changes, notices = await asyncio.gather(
            application.overdue.apply(),
            application.relay.resend_pending(older_than),
            application.publisher.resend_pending(older_than),
            application.deliveries.send_notices(),
            return_exceptions=True,  # an unavailable queue must not stop reconciliation
        )
        for outcome in (applied, events, changes, notices):
            if isinstance(outcome, BaseException):
                raise outcome
        seen.outcome = (
            f"sent {events} events, {changes} changes and {notices} notices, "
            f"applied {applied} events"
        )
        if left := await application.service.form.run():
            seen.outcome += f"; {left} tenants are still brought up to the present comparable form"


@app.function_name("watch")
@app.timer_trigger(
    arg_name="timer", schedule="0 */30 * * * *", run_on_startup=False, use_monitor=False
)
async def watch(timer: func.TimerRequest) -> None:  # noqa: ARG001 (bound by its name)
    """Make notices about refused requests and expiring secrets, if there are webhooks."""
    with _observed("watch") as seen:
        seen.outcome = f"told of {await wiring.application().watch.look()}"


@app.function_name("fleet")
@app.timer_trigger(
    arg_name="timer", schedule="0 */5 * * * *", run_on_startup=False, use_monitor=False
)
async def fleet(timer: func.TimerRequest) -> None:  # noqa: ARG001 (bound by its name)
    """Summarise the tenants in which something has happened, for operators who watch all of
    them."""
    with _observed("fleet") as seen:
        seen.outcome = f"looked at {await wiring.application().fleet.refresh()} tenants"


@app.function_name("export")
@app.timer_trigger(
    arg_name="timer", schedule="0 */30 * * * *", run_on_startup=False, use_monitor=False
)
async def export(timer: func.TimerRequest) -> None:  # noqa: ARG001 (bound by its name)
    """Copy the tenants' files to Blob Storage, where they outlive the region, if the settings name
    a container."""
    with _observed("export") as seen:
        application = wiring.application()
        seen.outcome = f"wrote {await application.write_copies()} files"


@asynccontextmanager
async def _patient(
    message: func.ServiceBusMessage, application: wiring.Application
) -> AsyncIterator[bool]:
    """Yields whether this is the message's last delivery. If the work fails and it is not, the
    message is held for a while before it is given back."""
    delivery = message.delivery_count or 1
    last = delivery >= application.settings.max_delivery_count
    try:
        yield last
    except Exception as error:
        if not last:
            await asyncio.sleep(pause_before_redelivery(error, delivery))
        raise


@contextmanager
def _observed(trigger: str) -> Iterator[Observation]:
    """Log a trigger's run. The host logs the text of an exception from a function, and the text may
    hold personal data: so another exception is raised in its place."""
    try:
        with Observation(log, trigger) as seen:
            yield seen
    except Exception as error:  # noqa: BLE001 (the host must learn of any error)
        name = f"Event {seen.event_id}" if seen.event_id else trigger
        log.error("%s failed: %s", name, logs.place(error))
        raise RuntimeError(f"{name} failed: {type(error).__name__}") from None


async def _serve(
    surface: Literal["scim", "access", "console", "oauth", "operator", "health"],
    req: func.HttpRequest,
    context: func.Context,
) -> func.HttpResponse:
    """Hand a request to one of the application's ASGI apps. Errors are answered in the form of that
    surface, because the host would answer an exception with an empty 500."""
    try:
        scope = {**function.scope_of(req), PARENT: context.trace_context.trace_parent}
        subdomains = False
        try:
            built = wiring.application()
            application: function.Asgi = getattr(built, surface)
            subdomains = built.settings.hsts_subdomains
            scope["client"] = function.client_of(req, built.settings.proxies)
        except Exception as error:  # noqa: BLE001 (the client must learn of any error)
            application = wiring.failed(error)[surface]
        answered = await function.answer(application, req, scope)
        if subdomains:
            answered.headers = [*map(_with_subdomains, answered.headers)]
    except Exception as error:  # noqa: BLE001 (an answer that failed while it was sent)
        log.error("Request %s failed: %s", context.invocation_id, logs.place(error))
        return func.HttpResponse(b"", status_code=500, headers={**HEADERS})
    headers = dict(answered.headers)
    if "set-cookie" not in headers:
        return _Response(answered.body, answered.status, headers)
    response = func.HttpResponse(answered.body, status_code=answered.status)
    for name, value in answered.headers:
        response.headers.add(name, value)
    return response


def _with_subdomains(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    return name, f"{value}; includeSubDomains" if name == "strict-transport-security" else value


class _Response(func.HttpResponse):
    """A response without cookies, so that a dict can hold its headers: only Set-Cookie may repeat.
    The headers of HttpResponse search a list for each name, and take several times as long to fill
    and read."""

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        super().__init__(body, status_code=status)
        self._headers = _Headers(headers)  # their names are in lower case

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]
        """As the runtime reads them."""
        return self._headers


class _Headers(dict[str, str]):
    """Headers of an answer. The runtime sets `text/plain` where there is no content type; this
    ignores it, because an answer with a body has its content type already."""

    def __setitem__(self, name: str, value: str) -> None:
        if name != "content-type":
            super().__setitem__(name, value)
