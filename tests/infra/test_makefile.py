"""What `make` does to a developer's machine."""

import os
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
