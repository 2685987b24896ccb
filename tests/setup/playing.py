"""The set-up program against a Graph in a box and a Muster in this process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from laptop.graph.directory import Directory
from laptop.graph.program import Terminal, load
from laptop.graph.service import Doubts, Graph, Pace
from tests.environment import Environment, add_console_token, running
from tests.setup.customer import StandingClock

program = load()
"""The module."""


class Killed(BaseException):
    """The process is gone."""


class Hosts(httpx.AsyncBaseTransport):
    """Leads each host to its application."""

    def __init__(self, **applications: Any) -> None:
        self._transports = {
            name: httpx.ASGITransport(app=application) for name, application in applications.items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.path.split("/")[1]
        name = request.url.host.partition(".")[0]
        known = self._transports.get(f"{name}_{kind}") or self._transports[name]
        return await known.handle_async_request(request)


@dataclass
class Run:
    """What a run of the program said, and how it ended."""

    code: int
    said: str
    printed: str

    @property
    def json(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.printed)


class Person(Terminal):
    """The terminal of a test: requests go to the applications, waiting passes the clock."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, clock: StandingClock
    ) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.given: list[str] = []
        self.answers: list[str] = []
        self.left: int | None = None
        """Requests until the process dies."""
        self._loop, self._client, self._clock = loop, client, clock

    def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Any:
        if self.left == 0:
            raise Killed
        if self.left is not None:
            self.left -= 1
        request = self._client.request(method, url, headers=headers, content=body)
        answer = asyncio.run_coroutine_threadsafe(request, self._loop).result(30)
        return program.Answer(answer.status_code, dict(answer.headers), answer.content)

    def pause(self, seconds: float) -> None:
        self._clock.forward(seconds)

    def say(self, text: str) -> None:
        self.lines.append(self.safe(text))

    def give(self, text: str) -> None:
        self.given.append(self.safe(text))

    def ask(self, question: str) -> str:
        self.lines.append(question)
        return self.answers.pop(0)

    def ask_secret(self, question: str) -> str:
        return self.ask(question)


@dataclass
class Play:
    """A customer's administrator, their Graph, and Muster."""

    graph: Graph
    muster: Environment
    environment: dict[str, str]
    clock: StandingClock = field(default_factory=StandingClock)
    """Graph's."""
    said: list[str] = field(default_factory=list)
    """All that was ever shown."""

    async def run(
        self, *arguments: str, left: int | None = None, answers: tuple[str, ...] = (), **more: str
    ) -> Run:
        """Run the program; `left`: it dies after so many requests."""
        application = self.muster.application
        everywhere = Hosts(
            muster_scim=application.scim,
            muster_console=application.console,
            graph=self.graph,
            login=self.graph,
        )
        given = [
            "--tenant-url=https://muster.test/scim",
            "--graph-url=https://graph.test",
            "--sign-in-url=https://login.test",
        ]
        async with httpx.AsyncClient(transport=everywhere) as client:
            person = Person(asyncio.get_running_loop(), client, self.clock)
            person.left, person.answers = left, [*answers]
            person.environment = {**self.environment, **more}
            try:
                code = await asyncio.to_thread(program.main, [*arguments, *given], person)
            except Killed:
                code = -1
        printed = "\n".join(person.given)
        self.said += [*person.lines, printed]
        return Run(code, "\n".join(person.lines), printed)

    async def set_up(self, *groups: str, **more: str) -> Run:
        """Set these groups up without being asked; the customer's own where none is named."""
        named = groups or tuple(one.name for one in self.graph.directory.groups.values())
        arguments = ("setup", "--yes", *(f"--group={one}" for one in named))
        return await self.run(*arguments, left=None, answers=(), **more)

    async def cycle(self) -> None:
        """The next cycle, and what Muster makes of it."""
        await self.graph.idle()
        for principal, job in self.graph.jobs.items():
            if job.state == "Active":
                await self.graph._run(principal, job)
        await self.muster.settle()

    def writes(self) -> list[tuple[str, str]]:
        """The requests to Graph that change something."""
        found = self.graph.requests
        return [one for one in found if one[0] != "GET" and "validate" not in one[1]]

    def begin_anew(self, doubts: Doubts | None = None, pace: Pace | None = None) -> None:
        """A Graph in which nothing was set up, for the same people."""
        self.graph.directory.principals.clear()
        application = self.muster.application
        hosts = Hosts(muster_scim=application.scim, muster_oauth=application.oauth)
        self.clock = StandingClock()
        self.graph = Graph(
            self.graph.directory,
            doubts=doubts,
            pace=pace,
            clock=self.clock,
            transport=hosts,
            own_token=self.muster.token,
        )
        self.graph.base = "https://graph.test"

    @property
    def schema(self) -> dict[str, Any]:
        """That of the only job."""
        (job,) = self.graph.jobs.values()
        return job.schema

    async def users(self) -> dict[str, dict[str, Any]]:
        """Muster's users by userName."""
        found = (await self.muster.client.get("/Users?count=200")).json()["Resources"]
        return {one["userName"].partition("@")[0]: one for one in found}

    async def members(self) -> dict[str, set[str]]:
        """Muster's groups by name, with the names of their members."""
        users = {one["id"]: name for name, one in (await self.users()).items()}
        found = (await self.muster.client.get("/Groups")).json()["Resources"]
        return {
            one["displayName"]: {users[member["value"]] for member in one.get("members", [])}
            for one in found
        }


@asynccontextmanager
async def playing(
    folder: Path,
    directory: Directory,
    doubts: Doubts | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Play]:
    """Everything but the administrator. A secret that was ever shown fails the test."""
    async with running(folder) as muster:
        api_token = await add_console_token(muster.application.store, muster.tenant_id)
        environment = {"MUSTER_TOKEN": muster.token, "MUSTER_API_TOKEN": api_token}
        play = Play(Graph(directory), muster, environment)
        play.begin_anew(doubts, pace)
        yield play
        await play.graph.close()
        shown = "\n".join(play.said)
        sign_in = play.graph.sign_in
        secrets = [*sign_in._devices, *sign_in._tokens, *environment.values()]
        assert not [one for one in secrets if one in shown]
