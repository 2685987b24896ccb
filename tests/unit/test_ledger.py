"""No write without its event: one module makes events and commits them, and whoever writes without
an event is known by name."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import pytest

from directory.documents import Actor, Event
from directory.ledger import Ledger, retrying
from directory.store import Conflict, Create, Delete, Store, Unavailable

ROOT = Path(__file__).parents[2]
LEDGER = "directory/ledger.py"
FOLDERS = (
    "access administration commands console delivery directory oauth operators queues reconciler "
    "scim telemetry trust web"
).split()

WITHOUT_EVENT = {
    "administration/credentials.py": "credentials of the deployment, which is no tenant",
    "administration/directories.py": "claims of directories, in partitions of their own",
    "administration/fleet.py": "summaries of tenants, for operators",
    "administration/invitations.py": "when a link was last opened",
    "administration/tenants.py": "a new tenant with its catalog, and its summary: no log yet",
    "administration/webhooks.py": "endpoints, which are of the deployment and of no tenant",
    "console/one_time.py": "links that sign in once",
    "console/session.py": "sessions that ended",
    "delivery/watching.py": "notices of what is no write",
    "delivery/worker.py": "deliveries and what became of them",
    "directory/checked.py": "a store around a store",
    "directory/membership_change.py": "the rest of a change whose event is committed",
    "directory/notes.py": "notes beside the requests",
    "directory/traced.py": "a store around a store",
    "reconciler/overdue.py": "where the work of an event goes on",
    "reconciler/publishing.py": "outbox rows that the topic has confirmed",
    "reconciler/recomputation.py": "access records, which an event asked for",
    "reconciler/shared_walk.py": "where the work of events goes on",
    "reconciler/sweeping.py": "memberships of a group or user whose deletion has its event",
    "reconciler/worker.py": "what became of an event",
    "scim/comparable_form.py": "the same resources in another comparable form",
    "scim/counting.py": "the oldest notes of what was refused, which go",
    "trust/signing.py": "the deployment's secret",
}
"""Module that writes to the store itself → what it writes that no event is for."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def writes(module: ast.Module) -> bool:
    """Whether it calls the `batch` of anything."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "batch"
        for node in ast.walk(module)
    )


def makes_events(module: ast.Module) -> bool:
    """Whether it calls the model of a stored event, under whatever name."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module == "directory.documents"
        for alias in node.names
        if alias.name == "Event"
    }
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in names)
            or ast.unparse(node.func).endswith("documents.Event")
        )
        for node in ast.walk(module)
    )


def test_events_are_made_in_the_ledger_alone() -> None:
    assert [path for path, module in modules() if makes_events(module)] == [LEDGER]


def test_who_writes_without_an_event_is_known() -> None:
    assert {path for path, module in modules() if writes(module)} == {LEDGER, *WITHOUT_EVENT}


@pytest.mark.parametrize(
    "code",
    [
        "from directory.documents import Event\nEvent(tenant_id='t')",
        "from directory.documents import Event as E\nE(tenant_id='t')",
        "from directory import documents\ndocuments.Event(tenant_id='t')",
    ],
)
def test_an_event_made_elsewhere_is_found(code: str) -> None:
    assert makes_events(ast.parse(code))
    assert not makes_events(ast.parse("import asyncio\nasyncio.Event()"))


class Batches:
    """A store that notes what is committed."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []

    async def batch(self, _: str, operations: list[Create | Delete]) -> list[str | None]:
        self.written.append([type(operation).__name__ for operation in operations])
        return [f"e{place}" for place in range(len(operations))]


async def test_a_commit_is_one_batch_and_submits_what_is_pending() -> None:
    batches, submitted = Batches(), list[str]()
    ledger = Ledger(
        cast("Store", batches),
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
        lambda _, event: submitted.append(event),
        retention=7,
    )

    def accepted(scope: Literal["none", "user"]) -> Event:
        actor = Actor(type="operator", id="manage.py")
        return ledger.accepted("t", actor, "patch", "User", "u", scope=scope)

    pending, done = accepted("user"), accepted("none")
    assert (done.state, done.ttl, pending.state, pending.ttl) == ("done", 7, "pending", None)
    assert await ledger.commit([Delete("x")], pending, done) == ["e0"]
    assert batches.written == [["Delete", "Create", "Create"]]
    assert submitted == [pending.event_id]
    await ledger.commit([], pending, submit=False)
    assert submitted == [pending.event_id]


@pytest.mark.parametrize(
    ("failures", "tries"),
    [(0, 1), (2, 3), (3, 3)],
)
async def test_a_lost_race_is_tried_again_so_often(failures: int, tries: int) -> None:
    tried = 0

    async def attempt() -> str:
        nonlocal tried
        tried += 1
        if tried <= failures:
            raise Conflict(f"d{tried}")
        return "written"

    if failures < 3:
        assert await retrying(attempt, attempts=3, pause=0) == "written"
    else:
        with pytest.raises(Conflict, match="d3"):
            await retrying(attempt, attempts=3, pause=0)
    assert tried == tries


async def test_what_is_no_race_is_not_tried_again() -> None:
    tried = 0

    async def attempt() -> None:
        nonlocal tried
        tried += 1
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await retrying(attempt)
    assert tried == 1
