"""Group status, case by case of the product's table."""

from datetime import UTC, datetime
from typing import Any

import pytest

from directory.documents import Mapping
from directory.resources import StoredGroup
from reconciler.status import GroupStatus, group_status

MOVING = GroupStatus("Applying changes")


def group(source: str = "scim", **more: str) -> StoredGroup:
    return StoredGroup({"id": "group:g", "source": source, **more}, "")


def mapping(version: int, applied: int) -> Mapping:
    return Mapping(
        tenant_id="t",
        group_id="g",
        version=version,
        applied_version=applied,
        changed_at=datetime(2026, 1, 2, tzinfo=UTC),
        event_id="e",
    )


def event(state: str = "pending", scope: str = "members", **more: Any) -> dict[str, Any]:
    return {"eventId": "e2", "operation": "patch", "state": state, "scope": scope, **more}


def save(event_id: str, **more: Any) -> dict[str, Any]:
    """The event of a saved mapping."""
    return event(scope="group", eventId=event_id, operation="mapping", **more)


@pytest.mark.parametrize(
    ("stored", "applied", "events", "expected"),
    [
        (group(), None, [], GroupStatus("New")),
        (group(), None, [event()], GroupStatus("New")),
        (group("manual"), mapping(1, 0), [event()], GroupStatus("Waiting for sync")),
        (group(), mapping(1, 1), [], GroupStatus("Active")),
        (group(), mapping(2, 1), [], MOVING),
        (group(intent="e"), mapping(1, 1), [], MOVING),
        (group(), mapping(1, 1), [event()], MOVING),
        (group(), mapping(1, 1), [event("failed")], MOVING),
        (group(), mapping(1, 1), [event("done"), event(scope="none")], GroupStatus("Active")),
        (group(), mapping(2, 2), [save("superseded")], GroupStatus("Active")),
    ],
)
def test_status(
    stored: StoredGroup,
    applied: Mapping | None,
    events: list[dict[str, Any]],
    expected: GroupStatus,
) -> None:
    assert group_status(stored, applied, events) == expected


def test_progress_is_summed_over_the_events() -> None:
    events = [
        event(progress={"done": 500, "total": 2000}),
        event(membership={"added": ["user:1", "user:2"], "removed": ["user:3"], "applied": 3}),
        event(state="done", progress={"done": 9, "total": 9}),
    ]
    status = group_status(group(), mapping(2, 1), events)
    assert status == GroupStatus("Applying changes", done=500, total=2003)


def test_a_saved_mapping_is_as_large_as_its_group_until_it_is_measured() -> None:
    superseded = save("e1", progress={"done": 3, "total": 7})
    status = group_status(group(), mapping(3, 1), [superseded, save("e")], members=40)
    assert status == GroupStatus("Applying changes", done=0, total=40)
    measured = save("e", progress={"done": 20, "total": 55})
    status = group_status(group(), mapping(3, 1), [superseded, measured], members=40)
    assert status == GroupStatus("Applying changes", done=20, total=55)
