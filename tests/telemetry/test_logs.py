"""What is logged: one record for each piece of work, as JSON or for a person at a terminal."""

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telemetry import logs
from telemetry.observation import Observation, charge, current
from tests.environment import TENANT, running
from tests.scim.messages import add, create_group, create_user
from tests.transports import Muster


class Lines(logging.Handler):
    """What a formatter makes of Muster's own records."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(self.format(record))

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The JSON records of an operation."""
        found = [json.loads(line) for line in self.lines]
        return [each for each in found if each.get("operation") == operation]


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """Muster's lines as JSON, or as `request.param` says."""
    lines = Lines(getattr(request, "param", logs.json_lines)())
    muster = logging.getLogger("muster")
    level = muster.level
    muster.addHandler(lines)
    muster.setLevel(logging.INFO)
    yield lines
    muster.removeHandler(lines)
    muster.setLevel(level)


async def test_a_request_is_one_record(written: Lines, tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        ada = await create_user(muster.client, "ada")
        answer = await muster.client.get(f"/Users/{ada}", headers={"x-request-id": "6f1d-7"})
        await muster.client.get("/Users", headers={"Authorization": "Bearer x"})
        await muster.access.get(f"/users/{ada}")
    (read,) = written.of("GET /Users/{id}")
    assert read["outcome"] == str(answer.status_code)
    assert read["request"] == "6f1d-7"
    assert (read["tenant"], read["level"], read["logger"]) == (TENANT, "INFO", "muster.scim")
    assert read["milliseconds"] > 0
    assert read["time"]
    (refused,) = written.of("GET /Users")
    assert refused["outcome"] == "401"
    assert "tenant" not in refused, "nobody was proven"
    (asked,) = written.of("GET /access/v1/users/{id}")
    assert (asked["tenant"], asked["logger"]) == (TENANT, "muster.access")


@pytest.mark.parametrize("muster", ["wire"], indirect=True)
async def test_request_units_are_those_of_all_calls_of_a_request(
    written: Lines, muster: Muster
) -> None:
    """Cosmos DB's charge of every call counts, and only for the request that made it."""
    tenant = await muster.tenant()
    ada = await create_user(tenant.scim, "ada")
    sales = await create_group(tenant.scim, "Sales")
    await tenant.scim.patch(f"/Groups/{sales}", json=add([ada]))
    await tenant.scim.get(f"/Groups/{sales}", params={"excludedAttributes": "members"})
    await tenant.scim.get("/Me")
    (read,), (patched,) = written.of("GET /Groups/{id}"), written.of("PATCH /Groups/{id}")
    assert 0 < read["requestUnits"] < patched["requestUnits"]
    assert "requestUnits" not in written.of("GET /Me")[0]


def test_charges_belong_to_the_work_at_hand() -> None:
    log = logging.getLogger("muster.test")
    with Observation(log, "outer") as outer:
        charge("read", 1.0)
        with Observation(log, "inner") as inner:
            charge("read", 2.5)
        charge("batch", 4.0)
    charge("read", 8.0)
    assert (outer.request_units, inner.request_units) == (5.0, 2.5)
    assert current().request_units == 0


@pytest.mark.parametrize("written", [logs.json_lines, logs.Readable], indirect=True)
def test_an_exception_is_shown_by_its_places_alone(written: Lines) -> None:
    """Also where another handler was there first and made a text of it."""
    log = logging.getLogger("muster.test")
    try:
        raise ValueError("ada@example.com")
    except ValueError:
        record = log.makeRecord(log.name, logging.ERROR, "", 0, "It failed", (), _exc_info())
        logging.Formatter().format(record)
        log.handle(record)
        log.exception("It failed")
    for line in written.lines:
        assert "ValueError in test_an_exception" in line.replace("\\", "")
        assert "ada@" not in line
    assert len(written.lines) == 2


def _exc_info() -> Any:
    import sys

    return sys.exc_info()


async def test_a_task_that_fails_unheard_is_told_without_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio shows the task, and with it its exception."""
    root, asyncios = logging.getLogger(), logging.getLogger("asyncio")
    lines = Lines(logging.Formatter())
    monkeypatch.setattr(root, "handlers", [lines])
    monkeypatch.setattr(asyncios, "filters", [])
    for changed in ("azure", "uvicorn.error"):
        monkeypatch.setattr(logging.getLogger(changed), "level", logging.WARNING)
    logs.configure()

    async def fails() -> None:
        raise ValueError("ada@example.com")

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    del task
    gc.collect()
    told = "\n".join(lines.lines)
    assert "never retrieved" in told
    assert "ValueError in fails" in told
    assert "ada@" not in told


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "text"),
        ({"WEBSITE_SITE_NAME": "muster-eu"}, "json"),
        ({"WEBSITE_SITE_NAME": "muster-eu", "MUSTER_LOG_FORMAT": "text"}, "text"),
        ({"MUSTER_LOG_FORMAT": "JSON"}, "json"),
        ({"MUSTER_LOG_FORMAT": ""}, "text"),
    ],
)
def test_the_format_is_json_on_azure_or_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("WEBSITE_SITE_NAME", "MUSTER_LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert logs.chosen_format() == expected


@pytest.mark.parametrize("written", [logs.Readable], indirect=True)
def test_a_line_for_a_person_ends_in_what_was_observed(written: Lines) -> None:
    with Observation(logging.getLogger("muster.test"), "GET /Users", "r-1") as seen:
        seen.outcome = "200"
    (line,) = written.lines
    assert "muster.test" in line
    assert "GET /Users outcome=200 milliseconds=" in line
    assert line.endswith("request=r-1")
