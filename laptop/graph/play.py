"""`manage.py simulate --graph`: the whole set-up of a customer, played against a Muster.

The set-up program runs as a customer's administrator runs it, against a Graph in this process:
set-up, first cycle, differences made by hand, an audit that finds them, a repair that removes them.
Then everybody's access is checked.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress

from administration.connections import Connections
from administration.errors import AdministrationError
from administration.tokens import Tokens
from laptop.devhost.server import served
from laptop.graph.clock import Clock
from laptop.graph.directory import Directory
from laptop.graph.program import Terminal, load
from laptop.graph.service import Graph
from laptop.simulation.checking import Checking
from laptop.simulation.command import mapper
from laptop.simulation.organisation import Organisation
from laptop.simulation.play import Play
from laptop.simulation.provisioning import MEDIA_TYPE, PATCH
from laptop.simulation.report import report
from wiring import Application

SPEED = 20.0
"""How much faster than in reality the clock of this Graph runs, and the program waits."""
TOKEN_LIFE = timedelta(hours=1)

program = load()


@dataclass(frozen=True, slots=True)
class GraphScript:
    """The Muster to play against, and the size of the organisation."""

    url: str
    """Muster's URL without a path."""
    access_token: str
    users: int
    groups: int
    seed: int | None = None


class Administrator(Terminal):
    """The program's terminal, with shortened pauses."""

    def __init__(self, console: Console, environment: dict[str, str]) -> None:
        super().__init__()
        self.environment = environment
        self._console = console

    def pause(self, seconds: float) -> None:
        time.sleep(seconds / SPEED)

    def say(self, text: str) -> None:
        self._console.print(f"  {self.safe(text)}", markup=False, highlight=False, soft_wrap=True)


async def play_graph(
    script: GraphScript, console: Console, application: Application, tenant: str
) -> dict[str, Any]:
    """Play the script, with a connection for this organisation only. Raises AdministrationError
    where a command of the program ends with the wrong code."""
    seed = random.getrandbits(32) if script.seed is None else script.seed
    organisation = Organisation(script.users, script.groups, seed)
    connection = f"graph-{organisation.tag}"
    with suppress(AdministrationError):  # the same organisation was played before
        await Connections(application.service, tenant).create(connection, connection)
    tokens, ends = Tokens(application.service, tenant), application.service.now() + TOKEN_LIFE
    secret = await tokens.create("scim", "graph", connection_id=connection, expires=ends)
    api = await tokens.create("console", "graph", expires=ends)
    environment = {"MUSTER_SECRET_TOKEN": secret, "MUSTER_API_TOKEN": api}
    graph = Graph(Directory.of(organisation), clock=Clock(speed=SPEED))
    try:
        async with served(graph) as graph.base:
            administrator = Administrator(console, environment)

            async def run(expected: int, command: str, *options: str) -> None:
                console.print(f"\n[bold]muster_entra.py {command}[/]")
                name = f"--name=Muster ({organisation.tag})"
                urls = [f"--tenant-url={script.url}/scim", f"--graph-url={graph.base}"]
                arguments = [command, name, *urls, f"--sign-in-url={graph.base}", *options]
                code = await asyncio.to_thread(program.main, arguments, administrator)
                if code != expected:
                    raise AdministrationError(f"{command} ended with {code}, not {expected}.")

            return {
                "seed": seed,
                **await _play(
                    script, graph, organisation, run, mapper(application, tenant), secret
                ),
            }
    finally:
        await graph.close()
        for token in (secret, api):
            await tokens.revoke(token.split("_")[3])


type RunProgram = Callable[..., Awaitable[None]]


async def _play(
    script: GraphScript,
    graph: Graph,
    organisation: Organisation,
    run: RunProgram,
    map_teams: Any,
    secret: str,
) -> dict[str, Any]:
    await run(0, "setup", "--yes", *(f"--group={one.object_id}" for one in organisation.teams))
    await graph.idle()
    (job,) = graph.jobs.values()
    checking = Checking(f"{script.url}/access/v1", script.access_token)
    with Progress(disable=True) as progress:
        play = Play(organisation, job.entra, checking, progress)
        try:
            links = job.entra.links
            teams = [(team, links[team.object_id]) for team in organisation.teams]
            play.entitlements = await map_teams(teams)
            made = await drift(f"{script.url}/scim", secret, links, organisation)
            await run(1, "audit")
            await run(0, "repair", "--yes", "--remove")
            await run(0, "audit")
            outcomes = await play.outcomes()
        finally:
            await checking.close()
    return {"madeByHand": made, **report(play, outcomes)}


async def drift(
    scim: str, token: str, links: dict[str, str], organisation: Organisation
) -> Sequence[str]:
    """Make changes in Muster that Entra ID does not know: a member removed, a member added, a user
    deactivated."""
    team = max(organisation.teams, key=lambda one: len(one.members))
    inside = sorted(team.members)
    outside = sorted(organisation.people.keys() - team.members)
    group = f"/Groups/{links[team.object_id]}"
    made: list[tuple[str, str, dict[str, Any]]] = [
        ("a member out", group, _members("Remove", links[inside[0]])),
        (
            "inactive",
            f"/Users/{links[inside[-1]]}",
            {"op": "Replace", "path": "active", "value": "False"},
        ),
    ]
    if outside:
        made.append(("a member in", group, _members("Add", links[outside[0]])))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        for _, path, operation in made:
            body = {"schemas": [PATCH], "Operations": [operation]}
            (await client.patch(f"{scim}{path}", json=body)).raise_for_status()
    return [what for what, _, _ in made]


def _members(op: str, id: str) -> dict[str, Any]:
    return {"op": op, "path": "members", "value": [{"value": id}]}
