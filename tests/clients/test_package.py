"""The package: httpx and nothing else, typed, for the Python that it says; its example runs."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx

import muster_client
from tests.crash.killing import host
from tests.hosting import ROOT
from tests.scim.messages import user

PACKAGE = ROOT / "clients/python"
MODULES = [*(PACKAGE / "src").rglob("*.py"), *(PACKAGE / "examples").glob("*.py")]
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]


def imported(module: Path) -> set[str]:
    """What a module imports, as the oldest Python that the package is for reads it."""
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(), feature_version=(3, oldest))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_the_package_needs_httpx_and_nothing_else() -> None:
    (needed,) = PROJECT["dependencies"]
    assert needed.startswith("httpx>=")
    others = set[str]().union(*map(imported, MODULES)) - sys.stdlib_module_names
    assert others == {"httpx", "muster_client"}


def test_the_package_is_typed_and_licensed() -> None:
    assert Path(muster_client.__file__).parent == PACKAGE / "src/muster_client"
    assert (PACKAGE / "src/muster_client/py.typed").read_text() == ""
    assert (PACKAGE / PROJECT["readme"]).is_file()
    assert [(PACKAGE / name).read_text() for name in PROJECT["license-files"]] == [
        (ROOT / "LICENSE").read_text()
    ]


def test_the_example_prints_what_everybody_may_do(tmp_path: Path) -> None:
    """On a host of its own, which nobody waits for: a request that waits delays its end."""
    command = [sys.executable, "clients/python/examples/follow.py"]
    with host(tmp_path / "data") as running:
        secrets = {"MUSTER_CREDENTIAL": running.demo.access_token}
        environment = {**os.environ, **secrets, "PYTHONPATH": str(PACKAGE / "src")}
        with subprocess.Popen(
            [*command, running.url], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as printing:
            assert printing.stdout
            try:
                headers = {"Authorization": f"Bearer {running.demo.scim_token}"}
                httpx.post(f"{running.url}/scim/Users", json=user("ada"), headers=headers)
                line = printing.stdout.readline()
                assert "disabled (noGroup), no grants" in line
            finally:
                printing.kill()
