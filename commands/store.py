"""`manage.py store`: the store, which keeps everything."""

from typing import Annotated

import typer

import wiring
from administration.errors import AdministrationError
from commands.output import AsJson, run, show
from delivery.signing import DOCUMENT as WEBHOOK_SECRET
from trust.signing import SigningKeys

app = typer.Typer(no_args_is_help=True, help="The store, which keeps everything.")


@app.command("create")
def store_create(as_json: AsJson = False) -> None:
    """Create the Cosmos DB database and container that the settings name, if they do not exist: for
    the emulator. On Azure, Bicep creates them; a SQLite file is created by itself."""
    show(run(_create), as_json, ("account", "container"))


async def _create(application: wiring.Application) -> dict[str, str]:
    settings = application.settings
    key = settings.cosmos_key.get_secret_value()
    if not (settings.cosmos_endpoint and key):
        raise AdministrationError(
            "A container is made only in an account that is reached with a key: set "
            "MUSTER_COSMOS_ENDPOINT and MUSTER_COSMOS_KEY (local.settings.example.json has the "
            "emulator's). On Azure, Bicep makes it."
        )
    from directory.cosmos.creation import create_container

    names = settings.cosmos_database, settings.cosmos_container
    await create_container(settings.cosmos_endpoint, key, *names)
    return {"account": settings.cosmos_endpoint, "container": "/".join(names)}


@app.command("roll-key")
def store_roll_key(
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once",
            help="Because the old one leaked: within a minute every session at a console has ended "
            "and every cursor is invalid, and webhooks are signed with new secrets ('webhook show "
            "--secret').",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new secret for what Muster signs: sessions at the console and cursors. It signs in a
    few minutes, when every instance knows it; what the old one signed stays valid for a day."""

    async def roll(application: wiring.Application) -> dict[str, str]:
        keys = SigningKeys(application.store, wiring.utc_now)
        signs_from = await keys.roll(at_once=at_once)
        if at_once:
            await SigningKeys(application.store, wiring.utc_now, document=WEBHOOK_SECRET).roll(
                at_once=True
            )
        return {"signsFrom": signs_from.isoformat(timespec="seconds")}

    show(run(roll), as_json, ("signsFrom",))
