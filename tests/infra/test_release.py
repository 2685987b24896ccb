"""What is deployed: it is enough to run, it is no more than that, and two tools agree on it."""

import json
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


PINNED = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def requirements(text: str) -> dict[str, list[str]]:
    """What a requirements file pins, as name==version, each with its hashes."""
    pinned: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            package, *hashes = line.split(" --hash")
            found = PINNED.fullmatch(package.strip())
            assert found is not None, line
            assert all(HASH.fullmatch("--hash" + each.strip()) for each in hashes)
            pinned[f"{found['name']}=={found['version']}"] = hashes
    return pinned


def test_everything_is_pinned_by_hash() -> None:
    """So pip, and Azure's build with it, takes nothing else; `make` says so besides."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        pinned = requirements((ROOT / name).read_text())
        assert pinned
        assert all(pinned.values()), name
    deployed, developed = (
        requirements((ROOT / name).read_text())
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert deployed.items() <= developed.items(), "what is tested is what is deployed"
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"pip install .*-r requirements\S*", makefile)
    assert len(installs) == 2
    assert all("--require-hashes" in each for each in installs)
    assert not requirements("a==1\n    # via b\n")["a==1"]


def test_the_bill_of_materials_has_hashes_licences_and_what_is_kept_here(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / ".ci/sbom.py"), str(tmp_path / "sbom.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text())
    components = {f"{one['name']}=={one['version']}": one for one in bill["components"]}
    deployed = requirements((ROOT / "requirements.txt").read_text())
    assert components.keys() - deployed.keys() == {"htmx.org==4.0.1"}
    assert deployed.keys() <= components.keys()
    unlicensed = [name for name, one in components.items() if not one.get("licenses")]
    assert unlicensed == ["colorama==0.4.6"], "only what is not installed, because of Windows"
    for one in components.values():
        files = [file for each in one.get("externalReferences", ()) for file in each["hashes"]]
        assert one.get("hashes") or files, one["name"]
