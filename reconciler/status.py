"""Group status as administrators see it (product, section 4); a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from directory.documents import Mapping
from directory.store import Document

type Status = Literal["New", "Waiting for sync", "Applying changes", "Active"]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The status, and while changes are applied how many of how many users are done; `total` is 0
    while that is not known."""

    status: Status
    done: int = 0
    total: int = 0


def group_status(
    group: Document, mapping: Mapping | None, events: Sequence[Document]
) -> GroupStatus:
    """The status of a stored group.

    `events` are the stored events about this group that are not done. A group of source `manual`
    was imported and no request from Entra ID has touched it; the first one makes it `scim`.
    """
    if group["source"] == "manual":
        return GroupStatus("Waiting for sync")
    if mapping is None:
        return GroupStatus("New")
    open_events = [e for e in events if e["state"] != "done" and e["scope"] != "none"]
    if open_events or group.get("intent") or mapping.applied_version < mapping.version:
        progress = [_progress(event) for event in open_events]
        return GroupStatus(
            "Applying changes",
            done=sum(done for done, _ in progress),
            total=sum(total for _, total in progress),
        )
    return GroupStatus("Active")


def _progress(event: Document) -> tuple[int, int]:
    """What the reconciler noted on the event; before it began, the members that the event names
    are what is known of its size."""
    if "progress" in event:
        return event["progress"]["done"], event["progress"]["total"]
    change = event.get("membership") or {}
    return 0, len(change.get("added", ())) + len(change.get("removed", ()))
