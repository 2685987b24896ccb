"""The program as a customer runs it: by an old Python, with nothing installed, over the network."""

import ast
import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.program import filled_in
from laptop.devhost.http import Message, Receive, Send
from laptop.devhost.server import served
from laptop.graph.program import PROGRAM, Terminal
from laptop.graph.service import Graph, Pace
from tests.environment import running
from tests.setup.customer import Customer, StandingClock
from tests.setup.playing import program


def test_it_is_python_3_9_and_imports_the_standard_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in getattr(node, "names", [])]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case _: pass", feature_version=(3, 9))


def oldest() -> str:
    """The oldest Python that can be run here, of those that the program is for."""
    for minor in range(9, 13):
        found = shutil.which(f"python3.{minor}")
        if found and not subprocess.run([found, "-V"], check=False, capture_output=True).returncode:
            return found
    return sys.executable


class Hasty(Terminal):
    """The real one, for which time flies."""

    def __init__(self, clock: StandingClock, **environment: str) -> None:
        super().__init__()
        self.environment |= environment
        self._clock = clock

    def pause(self, seconds: float) -> None:
        self._clock.forward(seconds)


async def test_it_runs_over_the_network(tmp_path: Path, customer: Customer) -> None:
    async with running(tmp_path) as muster:

        async def surfaces(scope: Message, receive: Receive, send: Send) -> None:
            below = scope["path"].startswith("/scim")
            application = muster.application
            await (application.scim if below else application.console)(scope, receive, send)

        clock = StandingClock()
        graph = Graph(customer, clock=clock, pace=Pace(page=1))
        async with served(surfaces) as url, served(graph) as graph.base:
            places = [
                f"--tenant-url={url}/scim",
                f"--graph-url={graph.base}",
                f"--sign-in-url={graph.base}",
            ]
            terminal = Hasty(clock, MUSTER_SECRET_TOKEN=muster.token)
            arguments = ["setup", "--yes", "--group=Sales", *places]
            assert await asyncio.to_thread(program.main, arguments, terminal) == 0
            await graph.idle()
            handed_out = tmp_path / "muster_entra.py"
            values = program.FILLED_IN | {"tenant_url": f"{url}/scim", "token": muster.token}
            handed_out.write_text(filled_in(values))
            audit = await asyncio.create_subprocess_exec(
                oldest(),
                str(handed_out),
                "audit",
                "--json",
                *places[1:],
                env={**os.environ, "GRAPH_TOKEN": graph.sign_in.issue(program.READING)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await audit.communicate()
            assert audit.returncode == 0, printed
            assert b'"differences": []' in printed
            await graph.close()


async def test_a_redirect_is_not_followed() -> None:
    """A token is for the host that it was made for."""
    asked: list[str] = []

    async def elsewhere(scope: Message, _: Receive, send: Send) -> None:
        asked.append(scope["path"])
        headers = [(b"location", b"/thief")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body"})

    async with served(elsewhere) as url:
        graph = program.Service(program.Terminal(), "Graph", url, "secret")
        answer = await asyncio.to_thread(graph.call, "GET", "/v1.0/me")
        assert (answer.status, asked) == (302, ["/v1.0/me"])
        with pytest.raises(program.Problem, match="another host"):
            graph.call("GET", "https://elsewhere.example/v1.0/users")
