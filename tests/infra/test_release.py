"""What is deployed: it is enough to run, it is no more than that, and two tools agree on it."""

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from tests.infra.bicep import Infra

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DEVELOPERS = {"tests", "infra", "docs", "laptop", "clients", "commands", ".github"}


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
    assert left_out() >= DEVELOPERS
    assert all((ROOT / name).exists() for name in left_out())
    for name in names - left_out():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    script = (
        "import sys, wiring, function_app\n"
        "wiring.application()\n"
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
    used = re.findall(r"uses:\s*([^.\s].*)", workflow)  # ./ is our own, at the same commit
    return [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", use)]


def test_actions_are_pinned_by_hash() -> None:
    for workflow in WORKFLOWS:
        assert unpinned(workflow.read_text()) == [], workflow.name
    assert unpinned("- uses: actions/checkout@v5\n")


def steps(name: str, job: str) -> list[dict[str, Any]]:
    """What a job of a workflow does."""
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    found: list[dict[str, Any]] = workflow["jobs"][job]["steps"]
    return found


def test_workflows_may_no_more_than_they_need() -> None:
    for workflow in WORKFLOWS:
        text = workflow.read_text()
        assert "\npermissions:\n  contents: read\n\n" in text, workflow.name
        jobs = yaml.safe_load(text)["jobs"]
        for name, job in jobs.items():
            allowed = {"contents": "read"}
            signs_in = "azure/login@" in str(job) or job.get("uses", "").endswith("/deploy.yml")
            if signs_in:
                allowed["id-token"] = "write"
            if (workflow.name, name) == ("release.yml", "release"):
                allowed["contents"] = "write"  # releases are contents
            assert job.get("permissions", {"contents": "read"}).items() <= allowed.items(), name
        assert not re.search(r"write-all|pull_request_target", text)
        assert "creds:" not in text  # a client secret


def test_the_token_that_releases_is_given_to_nothing_else() -> None:
    """What is installed to build a package runs in the same job."""
    *others, last = steps("release.yml", "release")
    assert "gh release create" in last["run"]
    assert last["env"]["GH_TOKEN"] == "${{ github.token }}"
    assert "token" not in str([step.get("env") for step in others])
    for step in others:
        if "checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_what_was_released_is_what_is_deployed() -> None:
    released = str(steps("release.yml", "release"))
    for name in ("muster.zip", "sbom.json", "main.json", "SHA256SUMS"):
        assert name in released
    runs = [step.get("run", "") for step in steps("deploy.yml", "deploy")]
    (fetched,) = [number for number, run in enumerate(runs) if 'download "$TAG"' in run]
    assert "sha256sum --check --ignore-missing --strict SHA256SUMS" in runs[fetched]
    (deployed,) = [number for number, run in enumerate(runs) if "--src muster.zip" in run]
    assert fetched < deployed
    assert not [run for run in runs if "make package" in run]


def test_where_there_is_an_identity_nothing_else_is_installed_than_what_is_deployed() -> None:
    """Whatever is installed in the job could ask for the identity's tokens."""
    runs = "\n".join(step.get("run", "") for step in steps("deploy.yml", "deploy"))
    assert re.findall(r"pip install .*", runs) == [
        "pip install --quiet --require-hashes --requirement requirements.txt"
    ]
    assert not re.search(r"\bmake\b|\bnpm\b|\buv\b", runs)


def test_a_release_that_does_not_answer_is_taken_back() -> None:
    found = steps("deploy.yml", "deploy")
    names = [step.get("name") or step["uses"] for step in found]
    smoke, good, back = (found[names.index(name)] for name in names[-3:])
    assert "--dry-target" in smoke["run"]
    assert "/health" in smoke["run"]
    assert "muster-release=$TAG" in good["run"]
    assert "if" not in good, "only what answered is a release to come back to"
    assert back["if"].startswith("failure()")
    assert "steps.before.outputs.release != ''" in back["if"]
    assert 'download "$RELEASE"' in back["run"]
    assert "--src before/muster.zip" in back["run"]
    assert found.index(back) > found.index(smoke)


def test_infrastructure_is_deployed_only_where_it_changed() -> None:
    """Writing settings ends every instance."""
    (infrastructure,) = [s for s in steps("deploy.yml", "deploy") if s.get("id") == "infra"]
    script = infrastructure["run"]
    condition = script.index('[ "$now" != "$BEFORE" ]')
    assert condition < script.index("az deployment sub create") < script.index("\nfi\n")


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


def test_known_vulnerabilities_are_looked_for_and_updates_come() -> None:
    audit = (ROOT / ".github" / "workflows" / "audit.yml").read_text()
    assert "make audit" in audit
    assert "schedule:" in audit
    updates = (ROOT / ".github" / "dependabot.yml").read_text()
    assert "package-ecosystem: pip" in updates


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


def test_the_bill_of_materials_has_hashes_and_licences(tmp_path: Path) -> None:
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
    assert components.keys() == deployed.keys()
    unlicensed = [name for name, one in components.items() if not one.get("licenses")]
    assert unlicensed == ["colorama==0.4.6"], "only what is not installed, because of Windows"
    for one in components.values():
        files = [file for each in one.get("externalReferences", ()) for file in each["hashes"]]
        assert one.get("hashes") or files, one["name"]
