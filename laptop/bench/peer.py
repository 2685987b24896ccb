"""scim2-server (https://pypi.org/project/scim2-server/), the fastest SCIM server in Python beside
Muster, in a separate environment that is made where it is missing."""

import asyncio
import hashlib
import socket
import subprocess
import sys
import time
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from laptop.bench import payloads
from laptop.bench.client import Call, Client
from laptop.bench.contender import Contender
from laptop.bench.operations import Case, Directory, member_case, user_cases

NAME = "scim2-server 0.8.3"
ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("peer-requirements.txt")
START_SECONDS = 30.0
LOAD_SECONDS = 60.0
"""How long loading may take; the result says how many users were loaded."""
LOADERS = 4
SLOW_GROUP = 50_000
"""A group with more members is changed by one client at a time: each change takes seconds."""


def environment() -> Path:
    """The Python of the environment, which is first made where it is missing."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".bench" / f"environment-{digest}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        venv.create(folder, clear=True, with_pip=True)
        options = ("-qq", "--disable-pip-version-check", "-r", REQUIREMENTS)
        subprocess.run([python, "-m", "pip", "install", *options], check=True)
        ready.touch()
    return python


def draw(content: bytes, path: Path) -> None:
    """Draw a picture of results in that environment (`bench.plot`)."""
    program = Path(__file__).with_name("plot.py")
    subprocess.run([environment(), program, path.resolve()], input=content, check=True)


@asynccontextmanager
async def serving(users: int, groups: tuple[int, ...]) -> AsyncIterator[Contender]:
    """A server with `users` users, or as many as could be loaded in LOAD_SECONDS, and a group for
    each number of members in `groups`. Raises TimeoutError, UnexpectedAnswer."""
    python = await asyncio.to_thread(environment)
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        python, ROOT / "laptop" / "bench" / "peer_server.py", str(port), cwd=ROOT.anchor
    )
    try:
        url = f"http://127.0.0.1:{port}/v2"
        await _answers(port)
        directory = Directory(url, "none", await _load(url, users), patched=204)
        cases = [*user_cases(directory, directory)]
        cases += [await _group(directory, members) for members in groups]
        note = f"{NAME}: {len(directory.users):,} users, in memory, nothing stored."
        yield Contender(NAME, process.pid, {case.name: case for case in cases}, note)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


async def _answers(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def _load(url: str, users: int) -> tuple[str, ...]:
    """Create employees 0, 1, … as far as time allows; returns their ids."""
    ids: dict[int, str] = {}
    numbers = iter(range(users))
    until = time.monotonic() + LOAD_SECONDS

    async def loader() -> None:
        async with Client(url, "none") as client:
            for number in numbers:
                body = orjson.dumps(payloads.user(number))
                created = await client.send(Call("POST", "/Users", body, 201))
                ids[number] = orjson.loads(created)["id"]
                if time.monotonic() > until:
                    break

    async with asyncio.TaskGroup() as tasks:
        for _ in range(LOADERS):
            tasks.create_task(loader())
    return tuple(ids[number] for number in sorted(ids))


async def _group(directory: Directory, members: int) -> Case:
    """A group whose members need not exist: this server does not check."""
    value = [{"value": f"member-{number}"} for number in range(members)]
    body = {"schemas": [f"{payloads.CORE}:Group"], "displayName": f"{members}", "members": value}
    async with Client(directory.url, directory.token) as client:
        created = await client.send(Call("POST", "/Groups", orjson.dumps(body), 201))
    workers = 1 if members > SLOW_GROUP else None
    return member_case(members, directory, orjson.loads(created)["id"], workers)


if __name__ == "__main__":
    sys.stdout.write(f"{environment()}\n")
