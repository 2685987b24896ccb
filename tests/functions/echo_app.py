"""A function app that shows what the host hands to its functions, and misbehaves on demand."""

import asyncio
import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

delivered: list[tuple[str, int | None]] = []
"""Body and delivery count of every message so far."""
ticks: list[bool] = []
release = asyncio.Event()
"""Messages that say `wait` wait for it."""


@app.function_name("mirror")
@app.route("mirror/{*path}")
async def mirror(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode("latin-1"),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/scim+json")


@app.function_name("trivial")
@app.route("trivial")
async def trivial(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"{}", mimetype="application/json")


@app.function_name("posts")
@app.route("posts/{id?}", methods=["POST"])
async def posts(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params.get("id", "none"))


@app.function_name("B_either")
@app.route("either/{name}")
async def later(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("later")


@app.function_name("a_either")
@app.route("either/{name}", methods=["GET"])
async def earlier(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("earlier")


@app.function_name("misbehave")
@app.route("misbehave/{how}")
async def misbehave(req: func.HttpRequest) -> func.HttpResponse:
    match req.route_params["how"]:
        case "raise":
            raise RuntimeError("on demand")
        case "none":
            return None  # type: ignore[return-value]
        case "text":
            return "text"  # type: ignore[return-value]
        case "dict":
            return {"status": 200}  # type: ignore[return-value]
    response = func.HttpResponse(status_code=204)
    response.headers.add("x-twice", "first")
    response.headers.add("x-twice", "second")
    response.headers.add("Set-Cookie", "a=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60")
    response.headers.add("Set-Cookie", "b=x=y; Expires=Thu, 01 Jan 2032 00:00:00 GMT")
    return response


@app.function_name("deliver")
@app.service_bus_queue_trigger("message", "ServiceBusConnection", "echoes", cardinality="one")
async def deliver(message: func.ServiceBusMessage) -> None:
    body = message.get_body().decode()
    delivered.append((body, message.delivery_count))
    if body == "fail":
        raise RuntimeError("on demand")
    if body.startswith("wait"):
        await release.wait()


@app.function_name("tick")
@app.timer_trigger("timer", "*/30 * * * * *", run_on_startup=False, use_monitor=False)
async def tick(timer: func.TimerRequest) -> None:
    ticks.append(timer.past_due)
