"""A whole simulated Entra ID against a server that is killed and started again meanwhile."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from administration.demo import TENANT
from directory.condition import EVERYTHING, All, Compare, Condition
from tests.crash.killing import PATIENCE, State, host, state
from tests.hosting import ROOT

USERS = 120


@contextmanager
def simulation(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`manage.py simulate` against the demo tenant."""
    size = f"--users {USERS} --groups 8 --cycles 3 --changes 60 --json".split()
    with subprocess.Popen(
        [sys.executable, "manage.py", "simulate", *size],
        cwd=ROOT,
        env={**os.environ, "MUSTER_DATA": str(folder), "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


PATCHES_OF_GROUPS = All(
    (Compare(("operation",), "eq", "patch"), Compare(("resourceType",), "eq", "Group"))
)


async def until(disk: State, number: int, type: str, where: Condition = EVERYTHING) -> None:
    """Wait until there are so many documents."""
    async with asyncio.timeout(PATIENCE):
        while await disk.store.count(TENANT, type, where) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_two_deaths_in_the_middle_of_everything(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with host(folder, "never", port) as first:
        async with state(folder) as disk:
            with simulation(folder, port) as playing:
                await until(disk, USERS // 2, "User")
                first.kill()
                with host(folder, "never", port) as second:
                    await until(disk, 40, "Event", PATCHES_OF_GROUPS)
                    second.kill()
                with host(folder, "never", port):
                    assert playing.poll() is None, "it was over before"
                    report, _ = await asyncio.to_thread(playing.communicate, timeout=PATIENCE)
                    assert playing.returncode == 0
                    assert json.loads(report)["wrong"] == 0
                    await disk.settled()
