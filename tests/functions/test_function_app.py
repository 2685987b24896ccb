"""The real function_app.py, indexed and invoked by the real runtime."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queues.port import DIRECTORY_EVENTS
from scim.surface import HEADERS

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("probe.py")


def probe(data: Path, *requests: tuple[str, str]) -> dict[str, Any]:
    """Load the app with its state in `data` and send it these requests."""
    run = subprocess.run(
        [sys.executable, str(PROBE)],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        cwd=data.parent,
        env={**os.environ, "MUSTER_DATA": str(data)},
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    report["log"] = run.stderr
    return report


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The app as it is after indexing."""
    return probe(tmp_path_factory.mktemp("indexed") / "data")


def test_the_app_has_exactly_these_triggers(indexed: dict[str, Any]) -> None:
    http = {"direction": "IN", "type": "httpTrigger", "name": "req", "authLevel": "ANONYMOUS"}
    assert indexed["functions"] == {
        "scim": {**http, "route": "scim/{*path}"},
        "access": {**http, "route": "access/{*path}"},
        "console": {**http, "route": "console/{*path}"},
        "oauth": {**http, "route": "oauth/{*path}"},
        "reconcile": {
            "direction": "IN",
            "type": "serviceBusTrigger",
            "name": "message",
            "connection": "ServiceBusConnection",
            "queueName": DIRECTORY_EVENTS,
            "cardinality": "ONE",
        },
        "relay": {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "*/30 * * * * *",
            "runOnStartup": False,
            "useMonitor": False,
        },
        "export": {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "0 */30 * * * *",
            "runOnStartup": False,
            "useMonitor": False,
        },
    }


@pytest.mark.parametrize(
    "module",
    [
        "azure.cosmos",
        "azure.servicebus",
        "azure.identity",
        "azure.storage.blob",
        "azure.monitor.opentelemetry.exporter",
        "aiohttp",
        "authlib",
        "jinja2",
        "cryptography",
        "httpx",
        "jwt",
        "opentelemetry.trace",
        "typer",
    ],
)
def test_indexing_imports_no_sdk(indexed: dict[str, Any], module: str) -> None:
    assert importlib.util.find_spec(module) is not None, "a name that nobody could import"
    assert module not in indexed["imported"]


@pytest.mark.parametrize("module", ["console", "devhost.server", "manage", "simulation"])
def test_indexing_imports_no_other_surface(indexed: dict[str, Any], module: str) -> None:
    assert module not in indexed["imported"]


OURS = [
    "access",
    "administration",
    "commands",
    "console",
    "devhost",
    "directory",
    "function_app",
    "http_function",
    "manage",
    "oauth",
    "queues",
    "reconciler",
    "scim",
    "simulation",
    "telemetry",
    "trust",
    "wiring",
]


def test_nothing_installed_shadows_our_modules() -> None:
    """The app folder is the last place that Azure looks for a module."""
    find = "import importlib.util as u, sys; print([m for m in sys.argv[1:] if u.find_spec(m)])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-P", "-c", find, *OURS, "azure.functions"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROBE.parent,
        env=environment,
    )
    assert found.stdout.strip() == "['azure.functions']"


NEEDED = set(
    "annotated_types anyio azure dotenv markupsafe orjson pydantic pydantic_core pydantic_settings "
    "python_multipart starlette typing_extensions typing_inspection ulid werkzeug".split()
)
"""What a cold start waits for. A package more costs each of them its import: 30 to 300 ms."""


def test_importing_the_app_brings_only_what_every_instance_needs() -> None:
    script = (
        "import sys; before = {*sys.modules}; import function_app; "
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before}); "
        "print(*{name for name in sys.modules if name.count('.') == 1})"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    packages, modules = (set(line.split()) for line in found.stdout.splitlines())
    foreign = {name for name in packages - sys.stdlib_module_names if not name.startswith("_")}
    assert foreign - {*OURS} <= NEEDED
    assert {name for name in modules if name.startswith("azure.")} == {"azure.functions"}


def test_our_modules_are_all_looked_for() -> None:
    assert {each.stem for each in ROOT.glob("*.py")} <= set(OURS)
    packages = {each.parent.name for each in ROOT.glob("*/__init__.py")}
    assert packages <= {*OURS, "bench", "tests"}


def test_an_unreadable_url_is_a_scim_400(tmp_path: Path) -> None:
    urls = [
        "http://h/scim/v2/Users/%ff",
        "http://h:99999999/scim/v2/Users",
        "http://[h/scim/v2/Users",
    ]
    for status, headers, body in probe(tmp_path / "data", *(("GET", url) for url in urls))[
        "answers"
    ]:
        assert status == 400
        assert headers["content-type"] == "application/scim+json"
        assert body["scimType"] == "invalidSyntax"
        assert body["status"] == "400"
        assert HEADERS.items() <= headers.items()


def test_what_escapes_the_application_is_a_scim_500_with_its_request_id(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where the folder of the state should be")
    report = probe(tmp_path / "data", ("GET", "http://h/scim/v2/Users"))
    ((status, headers, body),) = report["answers"]
    assert status == 500
    assert headers["content-type"] == "application/scim+json"
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    request_id = headers["x-request-id"]
    assert request_id in body["detail"]
    assert HEADERS.items() <= headers.items()
    assert request_id in report["log"]
    assert "FileExistsError" in report["log"]
    assert str(tmp_path) not in report["log"].replace(str(ROOT), ""), "the exception's text"
