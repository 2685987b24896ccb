"""`python -m laptop.devhost`, or what a test puts in its place, as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Host:
    """A host that listens."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    """Holds its state."""
    log: Path


def start(folder: Path, *command: str, **settings: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a host (`command`: the module and its arguments; devhost where there is none) with its
    state in `folder`, on a free port; its log, beside that folder, goes on from start to start."""
    log = folder.with_suffix(".log")
    environment = {"MUSTER_DATA": str(folder), "HOST": "127.0.0.1", "PORT": "0", **settings}
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *(command or ("laptop.devhost",))],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    return process, log


@contextmanager
def running_host(folder: Path, *command: str, **settings: str) -> Iterator[Host]:
    """A host that listens, see `start`; killed at the end if nobody has stopped it."""
    process, log = start(folder, *command, **settings)
    with process:
        try:
            found = (re.search(r"(http://\S+)/scim", line) for line in process.stdout or ())
            url = next((match[1] for match in found if match), None)
            assert url, log.read_text()
            yield Host(process, url, folder, log)
        finally:
            process.kill()
