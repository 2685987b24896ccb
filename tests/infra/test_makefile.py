"""What `make` does to a developer's machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", [".venv/.ready", "check", "clean"])
def test_an_environment_behind_a_link_is_left_alone(tmp_path: Path, target: str) -> None:
    project, elsewhere, tools = (tmp_path / name for name in ("project", "elsewhere", "tools"))
    for folder in (project, elsewhere, tools):
        folder.mkdir()
    shutil.copy(ROOT / "Makefile", project)
    (project / "requirements-dev.txt").touch()
    (elsewhere / "precious").touch()
    (project / ".venv").symlink_to(elsewhere)
    uv = tools / "uv"
    uv.write_text("#!/bin/sh\nrm -f .venv/precious\n")  # as `uv venv --clear` does
    uv.chmod(0o755)
    run = subprocess.run(
        ["make", target],
        cwd=project,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "symbolic link" in run.stderr
    assert (project / ".venv").is_symlink()
    assert (elsewhere / "precious").exists()


def made(*arguments: str, **settings: str) -> str:
    """What `make` says."""
    run = subprocess.run(
        ["make", "-o", ".venv/.ready", *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def test_help_tells_of_every_command() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^  make (\S+) ", made("help"), re.MULTILINE) == phony.split()


def test_on_a_laptop_webhooks_go_to_this_machine_unless_that_is_set() -> None:
    """`make example` receives them there."""
    command = "MUSTER_WEBHOOK_PRIVATE=${MUSTER_WEBHOOK_PRIVATE:-true} .venv/bin/python"
    assert command in made("-n", "run")
