"""Every trigger of the Function App, and nothing else.

One HTTP function per surface hands its requests to an ASGI app; the Service Bus trigger hands an
event to the reconciler; the timer sends again what was never confirmed. What they work with is
built by `wiring` on first use: Azure imports this module to find the functions, on every instance,
before it knows which of them will run there.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import Callable

import azure.functions as func

import http_function
import wiring
from queues.port import DIRECTORY_EVENTS
from queues.relay import parse
from reconciler.patience import pause_before_redelivery
from scim.errors import InvalidSyntax, ScimError, Unexpected

log = logging.getLogger("muster.functions")

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("scim")
@app.route("scim/{*path}")
async def scim(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The SCIM service provider, under /scim and /scim/v2."""
    return await _serve(lambda application: application.scim, req, context)


@app.function_name("access")
@app.route("access/{*path}")
async def access(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The access API of the application."""
    return await _serve(lambda application: application.access, req, context)


@app.function_name("reconcile")
@app.service_bus_queue_trigger(
    arg_name="message",
    connection="ServiceBusConnection",
    queue_name=DIRECTORY_EVENTS,
    cardinality=func.Cardinality.ONE,
)
async def reconcile(message: func.ServiceBusMessage) -> None:
    """Apply one event. Returning completes the message; an exception abandons it, and after its
    last delivery the queue dead-letters it."""
    application = await wiring.application()
    event = parse(message.get_body())
    delivery = message.delivery_count or 1
    last_attempt = delivery >= application.settings.max_delivery_count
    try:
        await application.reconciler.handle(
            event.tenant_id,
            event.event_id,
            event.cursor,
            last_attempt=last_attempt,
        )
    except Exception as error:  # noqa: BLE001 (whatever it is, the message must come again)
        # The host logs the text of what leaves here, and an exception's may hold a person's data.
        stack = "".join(traceback.format_tb(error.__traceback__))
        log.error("Event %s: %s\n%s", event.event_id, type(error).__name__, stack)
        if not last_attempt:
            await asyncio.sleep(pause_before_redelivery(error, delivery))
        raise RuntimeError(f"Event {event.event_id} failed: {type(error).__name__}") from None


@app.function_name("relay")
@app.timer_trigger(
    arg_name="timer",
    schedule="*/30 * * * * *",
    run_on_startup=False,
    use_monitor=False,  # every run sends all that is due: there is nothing to catch up with
)
async def relay(timer: func.TimerRequest) -> None:  # noqa: ARG001 (bound by its name)
    """Send the events and the changes of access that are committed and were never confirmed."""
    application = await wiring.application()
    older_than = application.settings.relay_after_seconds
    await application.relay.resend_pending(older_than)
    await application.publisher.resend_pending(older_than)


async def _serve(
    surface: Callable[[wiring.Application], http_function.Asgi],
    req: func.HttpRequest,
    context: func.Context,
) -> func.HttpResponse:
    """Hand a request to one of the application's ASGI apps. Whatever happens is answered with a
    SCIM error, because the host makes an empty 500 of an exception."""
    try:
        scope = http_function.scope_of(req)
    except ValueError:
        return _answer(InvalidSyntax(_UNREADABLE), context.invocation_id)
    try:
        application = await wiring.application()
        answered = await http_function.answer(surface(application), req, scope)
    except Exception as error:  # noqa: BLE001 (nothing may leave as an empty 500)
        # Without the exception's text, which may hold a person's data.
        stack = "".join(traceback.format_tb(error.__traceback__))
        log.error("Request %s failed: %s\n%s", context.invocation_id, type(error).__name__, stack)
        return _answer(Unexpected(_FAULT.format(context.invocation_id)), context.invocation_id)
    response = func.HttpResponse(answered.body, status_code=answered.status)
    for name, value in answered.headers:
        response.headers.add(name, value)
    return response


_UNREADABLE = (
    "The request's URL cannot be read: its path must be percent-encoded UTF-8, and its host and "
    "port must be valid."
)
_FAULT = (
    "Muster failed to answer; the request is not at fault. Repeat it, and if it fails again tell "
    "the operator the request id {}."
)


def _answer(error: ScimError, request_id: str) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(error.body()),
        status_code=error.status,
        headers={"x-request-id": request_id},
        mimetype="application/scim+json",
    )
