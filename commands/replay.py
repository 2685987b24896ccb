"""`manage.py replay`: listing what failed, replaying it, or discarding its dead letters."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.events import OPERATOR
from administration.replay import Discarded
from commands.operation import ask
from commands.output import AsJson, run, show
from operators.failed import list_failed, replay_all_failed, replay_failed

EVENT_COLUMNS = ("eventId", "tenant", "at", "what", "reason", "attempts")
LETTER_COLUMNS = ("messageId", "tenant", "eventState", "enqueuedAt", "reason", "attempts")


def replay(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="The failed event to replay.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Replay all that failed, and every dead letter.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Show what failed; so does the command alone.")
    ] = False,
    discard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MESSAGE",
            help="Remove this dead letter for good, by its message id; may be repeated.",
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the events that failed and the dead letters, or replay one or all of them. A replay is
    safe at any time: an event says whose access to compute anew, and that is done from what is
    true then. Dead letters whose event is done or gone, and unreadable ones, can be discarded."""
    if sum((event is not None, everything, listing, bool(discard))) > 1:
        raise typer.BadParameter("Give an event, or --all, or --list, or --discard.")

    path = {} if tenant is None else {"tenant": tenant}
    if discard:
        found = _discarded(tenant, discard)
    elif event is not None:
        found = ask(replay_failed, {**path, "eventId": event})
    else:
        found = ask(replay_all_failed if everything else list_failed, path)
    if as_json:
        show(found, as_json, ())
    elif discard:
        show([_letter_row(one) for one in found["letters"]], as_json, LETTER_COLUMNS, "Discarded")
    elif "more" in found:
        _show_failures(found)
    else:
        show(found, as_json, ("events", "letters"))


def _discarded(tenant: str | None, discard: list[str]) -> dict[str, Any]:
    """The dead letters that were discarded: all of them, or none."""

    async def use(application: wiring.Application) -> Discarded:
        if tenant is not None:
            await tenants.read_tenant(application.store, tenant)
        async with application.deployment.replay(tenant, OPERATOR) as replaying:
            return await replaying.discard(discard)

    return run(use).model_dump(mode="json", by_alias=True)


def _show_failures(found: dict[str, Any]) -> None:
    if not (found["events"] or found["letters"]):
        typer.echo("Nothing has failed.")
    if found["events"]:
        show([_event_row(one) for one in found["events"]], False, EVENT_COLUMNS, "Failed events")
    if found["letters"]:
        rows = [_letter_row(one) for one in found["letters"]]
        show(rows, False, LETTER_COLUMNS, "Dead letters of other events")
    if found["more"]:
        typer.echo("There are more: replay these, or choose one tenant with --tenant.")


def _event_row(event: dict[str, Any]) -> dict[str, Any]:
    return event | {
        "tenant": event["tenantId"],
        "what": f"{event['operation']} {event['resourceType']} {event['resourceId']}",
    }


def _letter_row(letter: dict[str, Any]) -> dict[str, Any]:
    return letter | {
        "tenant": letter["tenantId"] or "",
        "eventState": letter["event"],
    }
