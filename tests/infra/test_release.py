"""What is deployed: it is enough to run, it is no more than that, and two tools agree on it."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.infra.bicep import Infra

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DEVELOPERS = {"tests", "infra", "docs", "bench", "devhost", "simulation", "commands", ".github"}


def left_out() -> set[str]:
    """What `git archive`, and so `make package`, leaves out."""
    rows = (line.split() for line in (ROOT / ".gitattributes").read_text().splitlines())
    return {row[0].strip("/") for row in rows if row[1:] == ["export-ignore"]}


def project() -> set[str]:
    """What lies at the root of the project, but for what git ignores."""
    ignored = [*(ROOT / ".gitignore").read_text().split(), ".git"]
    names = {path.name for path in ROOT.iterdir()}
    return {n for n in names if not any(fnmatch(n, pattern.strip("/")) for pattern in ignored)}


def test_a_release_is_enough_to_run(tmp_path: Path) -> None:
    names = project()
    assert DEVELOPERS <= left_out() <= names
    for name in names - left_out():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    script = (
        "import sys, wiring, function_app\n"
        "wiring.build(wiring.Settings())\n"
        "assert function_app.__file__.startswith(sys.argv[1]), function_app.__file__\n"
        "print(*(f.get_function_name() for f in function_app.app.get_functions()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {"scim", "access", "reconcile", "relay"} <= {*run.stdout.split()}
    for needed in ("host.json", "requirements.txt"):
        assert (tmp_path / needed).is_file()


def test_azd_and_core_tools_leave_out_the_same() -> None:
    ignored = set((ROOT / ".funcignore").read_text().split())
    untracked = set((ROOT / ".gitignore").read_text().replace("/\n", "\n").split())
    assert left_out() <= ignored
    assert ignored - left_out() <= untracked | {".git"}


def unpinned(workflow: str) -> list[str]:
    """Actions that somebody else could change under us."""
    used = re.findall(r"uses:\s*(.+)", workflow)
    return [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", use)]


def test_actions_are_pinned_by_hash() -> None:
    for workflow in WORKFLOWS:
        assert unpinned(workflow.read_text()) == [], workflow.name
    assert unpinned("- uses: actions/checkout@v5\n")


def test_workflows_may_no_more_than_they_need() -> None:
    for workflow in WORKFLOWS:
        text = workflow.read_text()
        assert "\npermissions:\n  contents: read\n\n" in text, workflow.name
        assert set(re.findall(r"^\s+([\w-]+): (?:write|read)$", text, re.MULTILINE)) <= {
            "contents",
            "id-token",
        }
        assert not re.search(r"contents: write|write-all|pull_request_target", text)
        assert ("id-token: write" in text) == ("azure/login@" in text), workflow.name
        assert "creds:" not in text  # a client secret


def test_workflows_deploy_each_stamp_to_its_region() -> None:
    files = Infra.read().files
    for name in ("infra.yml", "deploy.yml"):
        text = (ROOT / ".github/workflows" / name).read_text()
        matrix = dict(re.findall(r"\{ stamp: (\w+), location: (\w+) \}", text))
        assert {*matrix} == {"eu", "us"}
        for stamp, location in matrix.items():
            assert files[f"{stamp}.bicepparam"].parameters["location"].value == location


def test_azd_deploys_the_test_stamp() -> None:
    text = (ROOT / "azure.yaml").read_text()
    module = re.search(r"module: (\w+)", text)
    assert module is not None
    assert f"{module[1]}.bicepparam" in Infra.read().files
    service = re.search(r"services:\n  (\w+):", text)
    assert service is not None
    tags = str(Infra.read().files["modules/functionapp.bicep"].resources["app"].get("tags"))
    assert f"'azd-service-name': '{service[1]}'" in tags
