"""The real function_app.py, indexed and invoked by the real runtime."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from web.surface import HEADERS

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("probe.py")


def probe(data: Path, *requests: tuple[str, str, str]) -> dict[str, Any]:
    """Load the app with its state in `data` and send it these requests (function, method, URL)."""
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
    half_hourly = {
        "direction": "IN",
        "type": "timerTrigger",
        "name": "timer",
        "schedule": "0 */30 * * * *",
        "runOnStartup": False,
        "useMonitor": False,
    }
    service_bus = {
        "direction": "IN",
        "type": "serviceBusTrigger",
        "name": "message",
        "connection": "ServiceBusConnection",
        "cardinality": "ONE",
    }
    http = {"direction": "IN", "type": "httpTrigger", "name": "req", "authLevel": "ANONYMOUS"}
    assert indexed["functions"] == {
        "scim": {**http, "route": "scim/{*path}"},
        "access": {**http, "route": "access/{*path}"},
        "discovery": {**http, "route": ".well-known/authzen-configuration/{*path}"},
        "console": {**http, "route": "console/{*path}"},
        "oauth": {**http, "route": "oauth/{*path}"},
        "operator": {**http, "route": "operator/{*path}"},
        "health": {**http, "route": "health", "methods": ["GET", "HEAD"]},
        "reconcile": {**service_bus, "queueName": DIRECTORY_EVENTS},
        "webhooks": {
            **service_bus,
            "topicName": ACCESS_CHANGES,
            "subscriptionName": WEBHOOKS,
        },
        "deliver": {**service_bus, "queueName": WEBHOOK_DELIVERIES},
        "relay": {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "*/30 * * * * *",
            "runOnStartup": False,
            "useMonitor": False,
        },
        "export": half_hourly,
        "fleet": {**half_hourly, "schedule": "0 */5 * * * *"},
        "watch": half_hourly,
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


@pytest.mark.parametrize(
    "module", ["console", "operators", "laptop.devhost.server", "manage", "laptop.simulation"]
)
def test_indexing_imports_no_other_surface(indexed: dict[str, Any], module: str) -> None:
    assert module not in indexed["imported"]


OURS = [
    "access",
    "administration",
    "commands",
    "console",
    "delivery",
    "directory",
    "function_app",
    "laptop",
    "manage",
    "oauth",
    "operators",
    "queues",
    "reconciler",
    "scim",
    "settings",
    "telemetry",
    "trust",
    "web",
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
    "python_multipart starlette typing_extensions typing_inspection werkzeug".split()
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
    assert packages <= {*OURS, "tests"}


MEDIA_TYPES = {
    "scim/v2/Users": "application/scim+json",
    "access/v1/users": "application/problem+json",
    "oauth/token": "application/json",
    "operator/v1/tenants": "application/problem+json",
    "console/users": "text/html; charset=utf-8",
    "console/api/users": "application/problem+json",
}


def test_an_unreadable_url_is_a_400_of_its_surface(tmp_path: Path) -> None:
    hosts = {"h": "/%ff", "h:99999999": "", "[h": ""}
    asked = [
        (path, f"http://{host}/{path}{more}")
        for path in MEDIA_TYPES
        for host, more in hosts.items()
    ]
    requests = [(path.partition("/")[0], "GET", url) for path, url in asked]
    answers = probe(tmp_path / "data", *requests)["answers"]
    for (path, url), (status, headers, body) in zip(asked, answers, strict=True):
        assert (status, headers["content-type"]) == (400, MEDIA_TYPES[path]), url
        assert "URL cannot be read" in body
        assert HEADERS.keys() <= headers.keys()
    assert json.loads(answers[0][2])["scimType"] == "invalidSyntax"


def test_what_escapes_the_application_is_a_500_of_its_surface(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where the folder of the state should be")
    requests = [(path.partition("/")[0], "GET", f"http://h/{path}") for path in MEDIA_TYPES]
    report = probe(tmp_path / "data", *requests)
    for (status, headers, body), media_type in zip(
        report["answers"], MEDIA_TYPES.values(), strict=True
    ):
        assert (status, headers["content-type"]) == (500, media_type)
        assert HEADERS.keys() <= headers.keys()
        request_id = headers["x-request-id"]
        assert request_id in body
        assert request_id in report["log"]
    assert "FileExistsError" in report["log"]
    assert str(tmp_path) not in report["log"].replace(str(ROOT), ""), "the exception's text"


@pytest.mark.parametrize(
    ("setting", "said"),
    [("", "max-age=31536000"), ("true", "max-age=31536000; includeSubDomains")],
)
def test_transport_security_speaks_for_other_hosts_only_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, said: str
) -> None:
    monkeypatch.setenv("MUSTER_HSTS_SUBDOMAINS", setting)
    report = probe(tmp_path / "data", ("scim", "GET", "https://muster.test/scim/Users"))
    ((_, headers, _),) = report["answers"]
    assert headers["strict-transport-security"] == said
