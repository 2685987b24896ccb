"""The queries of alerts and workbook ask for what the code logs, and for nothing else."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry import logs
from tests.hosting import Host
from tests.infra.bicep import INFRA, Infra
from tests.infra.test_documents import code
from tests.triggers import triggers

ROOT = Path(__file__).parents[2]
FIELD = re.compile(r"(?:told|parse_json\(Message\))\.(\w+)")


BINDER = Path(__file__).parent / "kusto.js"
TABLES = re.compile(r"^\s*(?:App|CDB|Usage|_Log)\w+\s*(?:\||$)")


def has_kusto() -> bool:
    """Whether Node.js finds Microsoft's parser (NODE_PATH says where)."""
    node = shutil.which("node")
    asked = [str(node), "-e", "require.resolve('@kusto/language-service-next/package.json')"]
    return bool(node) and subprocess.run(asked, capture_output=True, check=False).returncode == 0


def bind(*files: Path) -> tuple[int, str]:
    """The parser's exit status, and what it found."""
    asked = ["node", str(BINDER), *map(str, files)]
    run = subprocess.run(asked, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.skipif(not has_kusto(), reason="no @kusto/language-service-next for Node.js")
def test_every_query_binds_to_its_tables(tmp_path: Path) -> None:
    files = [INFRA / name for name in Infra.read().texts if name.endswith(".kql")]
    for document in sorted((ROOT / "docs").glob("*.md")):
        text = document.read_text()
        blocks = re.findall(r"```kusto\n(.*?)```", text, re.DOTALL)
        parts = [part for block in blocks for part in re.split(r"\n\n", block)]
        for number, query in enumerate([*parts, *filter(TABLES.match, code(text))]):
            files.append(tmp_path / f"{document.name}-{number}.kql")
            files[-1].write_text(query)
    assert len(files) > 15
    assert bind(*files) == (0, "")

    broken = tmp_path / "broken.kql"
    for query in ("AppTrace | take 1", "AppTraces | where Mesage has 'x'", "AppTraces | summarise"):
        broken.write_text(query)
        assert bind(broken)[0] == 1, query


def queries() -> Iterator[tuple[str, str]]:
    """Every query in infra/, and the documents that hold some."""
    yield from ((name, text) for name, text in Infra.read().texts.items() if name.endswith(".kql"))
    for document in sorted((ROOT / "docs").glob("*.md")):
        yield document.name, document.read_text()


def test_fields_are_those_of_a_log_record() -> None:
    asked = {(name, field) for name, text in queries() for field in FIELD.findall(text)}
    assert asked, "the queries name fields in another way now: this test must follow"
    assert {(name, field) for name, field in asked if field not in logs._FIELDS} == set()


def test_every_function_s_log_reaches_azure() -> None:
    """The host's default is to drop what is below a warning."""
    levels = json.loads((ROOT / "host.json").read_text())["logging"]["logLevel"]
    functions = {*triggers()}
    told = {name.split(".")[1] for name, level in levels.items() if name.endswith(".User")}
    assert told == functions
    assert {levels[f"Function.{name}.User"] for name in functions} == {"Information"}


def test_the_timer_logs_the_age_of_the_oldest_pending_event(host: Host) -> None:
    """Every run does, also while nothing waits: the alert `relay-silent` lives on it."""
    query = (INFRA / "queries/oldest-pending.kql").read_text()
    (name,) = {*FIELD.findall(query), *re.findall(r'Message has "(\w+)"', query)}
    line = re.compile(rf"  relay .*\b{name}=\d")
    for _ in range(600):  # the host runs its timer once when it starts
        if line.search(host.log.read_text()):
            return
        time.sleep(0.1)
    raise AssertionError(host.log.read_text())
