"""`manage.py simulate`: an Entra ID in a box."""

import os
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from administration.demo import Demo
from commands.output import AsJson, out, run, show
from laptop.graph.play import GraphScript, play_graph
from laptop.simulation.command import Script
from laptop.simulation.command import simulate as play
from laptop.simulation.dry import try_target
from laptop.simulation.provisioning import Dialect
from laptop.simulation.report import show as show_summary
from settings import Settings


def simulate(
    users: Annotated[int, typer.Option(min=1, help="People in the initial cycle.")] = 200,
    groups: Annotated[int, typer.Option(min=1, help="Groups.")] = 12,
    cycles: Annotated[int, typer.Option(min=0, help="Days that follow.")] = 3,
    changes: Annotated[int, typer.Option(min=0, help="Joiners, movers and leavers a day.")] = 40,
    url: Annotated[
        str, typer.Option(help="Where Muster is, without /scim.", envvar="MUSTER_URL")
    ] = "",
    token: Annotated[
        str, typer.Option(help="SCIM token; the demo tenant's if left out.", envvar="MUSTER_TOKEN")
    ] = "",
    access_token: Annotated[
        str, typer.Option(help="Access API token.", envvar="MUSTER_ACCESS_TOKEN")
    ] = "",
    dry_target: Annotated[
        str,
        typer.Option(
            help="Of the Muster at this URL, only see whether it refuses strangers and, with "
            "--token, whether Test Connection would be green. Nothing is written."
        ),
    ] = "",
    seed: Annotated[int | None, typer.Option(help="The same organisation again.")] = None,
    dialect: Annotated[
        Dialect,
        typer.Option(
            help="Entra ID's forms of requests: its default, those of the flag aadOptscim062020, "
            "or both in turn."
        ),
    ] = "both",
    graph: Annotated[
        bool,
        typer.Option(
            "--graph",
            help="Play the set-up by Microsoft Graph instead of days: setup, the first cycle, "
            "differences made by hand, audit, repair. Of the demo tenant alone.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play a customer's Entra ID: test connection, users, groups, members, then days of joiners,
    movers and leavers; ends with who got what. Users are matched by externalId, then by work
    e-mail, groups by externalId. Without a token it plays the demo tenant of 'make run', maps its
    groups and makes one user by hand, whom Entra ID adopts; elsewhere the mappings are left as
    they are."""
    if dry_target:
        seen = run(lambda _: try_target(dry_target, token))
        show(seen, as_json, tuple(seen))
        return
    settings = Settings()
    demo = None if token else Demo.read(settings.data)
    if not (token and access_token) and demo is None:
        typer.secho(
            "No demo tenant in the data folder: start 'make run' first, or give --token and "
            "--access-token.",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
    base = url.rstrip("/") or f"http://127.0.0.1:{os.environ.get('PORT', '7071')}"
    console = Console(stderr=True) if as_json else out
    if graph:
        if demo is None:
            typer.secho("--graph plays the demo tenant: leave out --token.", fg="red", err=True)
            raise typer.Exit(1)
        set_up = GraphScript(base, demo.access_token, users, groups, seed)
        tenant = demo.tenant
        _end(run(lambda application: play_graph(set_up, console, application, tenant)), as_json)
    script = Script(
        tenant_url=f"{base}/scim",
        access_url=f"{base}/access/v1",
        scim_token=demo.scim_token if demo else token,
        access_token=demo.access_token if demo else access_token,
        users=users,
        groups=groups,
        cycles=cycles,
        changes=changes,
        seed=seed,
        dialect=dialect,
    )
    summary = run(
        lambda application: play(script, console, (application, demo.tenant) if demo else None)
    )
    _end(summary, as_json)


def _end(summary: dict[str, Any], as_json: bool) -> NoReturn:
    if as_json:
        show(summary, as_json, ())
    else:
        show_summary(out, summary)
    raise typer.Exit(1 if summary["wrong"] else 0)
