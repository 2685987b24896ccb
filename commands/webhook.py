"""`manage.py webhook`: endpoints of the application that changes are sent to."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic.alias_generators import to_camel

import wiring
from commands.operation import ask
from commands.output import AsJson, moment_text, out, plain, run, show
from delivery.endpoints import TYPES, Endpoint
from operators.deployment import (
    create_webhook,
    delete_webhook,
    list_deliveries,
    list_webhooks,
    read_webhook,
    resend_messages,
    rotate_webhook,
    set_webhook_state,
    test_webhook,
)

app = typer.Typer(no_args_is_help=True, help="Endpoints that changes are sent to.")

COLUMNS = ("endpointId", "state", "since", "label", "url", "types", "tenants", "reason")
LOG_COLUMNS = ("at", "messageId", "type", "attempt", "outcome", "milliseconds", "nextAt")

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.")]


@app.command("create")
def webhook_create(
    url: Annotated[str, typer.Argument(help="URL to post messages to: https, port 443 or 8443.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    type: Annotated[
        list[str] | None,
        typer.Option(help=f"What to send, can be repeated; all without it: {', '.join(TYPES)}."),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="The tenants whose messages to send; can be repeated; all without it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages to a URL from now on, and show the secret that signs them. A running server may
    need five seconds to notice."""

    new = {"url": url, "label": label, "types": type or [], "tenants": tenant or []}
    _show_secrets(ask(create_webhook, body=new), as_json)


@app.command("list")
def webhook_list(as_json: AsJson = False) -> None:
    """All endpoints: which of them are disabled, since when and why."""
    found = ask(list_webhooks)["endpoints"]
    show([_row(each, as_json) for each in found], as_json, COLUMNS)


@app.command("show")
def webhook_show(
    endpoint: EndpointId,
    secret: Annotated[bool, typer.Option("--secret", help="Show the secrets that sign.")] = False,
    as_json: AsJson = False,
) -> None:
    """One endpoint, and the versions of its key."""

    async def read(application: wiring.Application) -> tuple[Endpoint, list[str]]:
        found = await application.webhooks.read(endpoint)
        return found, await application.webhooks.secrets(found)

    if secret:
        found, secrets = run(read)
        told = {to_camel(name): plain(value) for name, value in found}
        _show_secrets({**told, "secrets": secrets}, as_json)
        return
    shown = ask(read_webhook, {"endpointId": endpoint})
    row = _row(shown, as_json)
    if as_json:
        show(row | {"keys": shown["keys"]}, as_json, ())
        return
    show(row, as_json, COLUMNS)
    show(shown["keys"], as_json, ("version", "created", "ends"), title="Keys")


@app.command("rotate")
def webhook_rotate(
    endpoint: EndpointId,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="Stop signing with the old one at once, because it leaked."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign with a new secret, and show it. For a day messages carry a signature with the old one,
    too: give the receiver the new one in that time."""

    changed = ask(rotate_webhook, {"endpointId": endpoint}, body={"atOnce": at_once})
    _show_secrets(changed, as_json)


@app.command("enable")
def webhook_enable(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Enable an endpoint again. 'webhook resend --since' sends what happened meanwhile."""
    changed = ask(set_webhook_state, {"endpointId": endpoint}, body={"state": "enabled"})
    show(_row(changed, as_json), as_json, COLUMNS)


@app.command("disable")
def webhook_disable(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Disable an endpoint, and drop what waits for it."""
    changed = ask(set_webhook_state, {"endpointId": endpoint}, body={"state": "disabled"})
    show(_row(changed, as_json), as_json, COLUMNS)


@app.command("delete")
def webhook_delete(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Delete an endpoint."""
    ask(delete_webhook, {"endpointId": endpoint})
    show({"deleted": endpoint}, as_json, ("deleted",))


@app.command("test")
def webhook_test(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Let the running server send a message of type test, once. The log shows the result."""
    sent = ask(test_webhook, {"endpointId": endpoint})
    show({"endpointId": endpoint, **sent}, as_json, ("endpointId", "messageId"))


@app.command("resend")
def webhook_resend(
    endpoint: EndpointId,
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="The webhook-id of one message.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="All that happened since then (UTC).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages once more, whether they arrived or not: one, or all since a moment. They keep
    their ids, so that a receiver recognises what it has already."""
    if (message is None) == (since is None):
        raise typer.BadParameter("Give a message, or --since.")

    moment = since.replace(tzinfo=UTC) if since else None
    wanted = {"messageId": message, "since": plain(moment)}
    sent = ask(resend_messages, {"endpointId": endpoint}, body=wanted)
    show({"endpointId": endpoint, **sent}, as_json, ("endpointId", "messages"))


@app.command("log")
def webhook_log(
    endpoint: EndpointId,
    message: Annotated[str, typer.Option(help="Only of the message with this webhook-id.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only attempts that failed.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The attempts to deliver to an endpoint, the newest first; they are kept for 30 days."""
    wanted = {"limit": limit, "failed": failed, "messageId": message}
    found = ask(list_deliveries, {"endpointId": endpoint}, wanted)["attempts"]
    show([_attempt_row(each) for each in found], as_json, LOG_COLUMNS)


def _row(endpoint: dict[str, Any], as_json: bool) -> dict[str, Any]:
    row = {
        "endpointId": endpoint["endpointId"],
        "state": endpoint["state"],
        "since": moment_text(endpoint["changed"]),
        "label": endpoint["label"],
        "url": endpoint["url"],
        "types": [*endpoint["types"]],
        "tenants": [*endpoint["tenants"]],
        "reason": endpoint["reason"],
    }
    if as_json:
        return row
    return row | {name: ", ".join(row[name]) or "all" for name in ("types", "tenants")}


def _attempt_row(attempt: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": attempt["at"],
        "messageId": attempt["messageId"],
        "type": attempt["kind"],
        "tenant": attempt["tenant"],
        "attempt": attempt["number"],
        "outcome": attempt["outcome"],
        "milliseconds": attempt["milliseconds"],
        "nextAt": moment_text(attempt["nextAt"]),
    }


def _show_secrets(endpoint: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(_row(endpoint, as_json) | {"secrets": endpoint["secrets"]}, as_json, ())
        return
    show(_row(endpoint, as_json), as_json, COLUMNS)
    out.print("Messages are signed with:")
    for secret in endpoint["secrets"]:
        out.print(secret, soft_wrap=True)
