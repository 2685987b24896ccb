"""Group status as administrators see it (product, section 4); a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from directory.documents import SAVES_MAPPING, Mapping
from directory.resources import StoredGroup
from directory.store import Document

type Status = Literal["New", "Waiting for sync", "Applying changes", "Active"]

EVENT_FIELDS = (
    "eventId",
    "state",
    "operation",
    "resourceId",
    "scope",
    "membership",
    "progress",
)
"""The fields of an event that the status depends on."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The status; while changes are applied, also how many users are done of how many; `total` is 0
    while it is unknown."""

    status: Status
    done: int = 0
    total: int = 0


def group_status(
    group: StoredGroup, mapping: Mapping | None, events: Sequence[Document], members: int = 0
) -> GroupStatus:
    """The status of a stored group with `members` members.

    `events` are the stored events about this group that are not done. A group of source `manual`
    was imported, and no request from Entra ID has touched it; the first request makes it `scim`.
    Changes inside a nested group are shown on that group, not on the groups above it.
    """
    if group.manual:
        return GroupStatus("Waiting for sync")
    if mapping is None:
        return GroupStatus("New")
    open_events = [event for event in events if _is_open(event, mapping)]
    if open_events or group.intent or mapping.applied_version < mapping.version:
        progress = [_progress(event, members) for event in open_events]
        return GroupStatus(
            "Applying changes",
            done=sum(done for done, _ in progress),
            total=sum(total for _, total in progress),
        )
    return GroupStatus("Active")


def _is_open(event: Document, mapping: Mapping) -> bool:
    """Whether the event is still to be applied; a later save of the mapping replaces an earlier."""
    superseded = event["operation"] in SAVES_MAPPING and event["eventId"] != mapping.event_id
    return not (superseded or event["state"] == "done" or event["scope"] == "none")


def _progress(event: Document, members: int) -> tuple[int, int]:
    """Users done and in total, as the reconciler stored them on the event. Before it began, the
    total is the number of members that the event names, or of all in the group."""
    if "progress" in event:
        return event["progress"]["done"], event["progress"]["total"]
    if event["scope"] == "group":
        return 0, members
    change = event.get("membership") or {}
    return 0, len(change.get("added", ())) + len(change.get("removed", ()))
