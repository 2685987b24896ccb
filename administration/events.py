"""The events of what an operator changes at the command line."""

from datetime import datetime
from typing import Literal

from ulid import ULID

from directory.documents import Actor, Event


def operator_event(
    tenant_id: str,
    operation: Literal["mapping", "policy"],
    resource_id: str,
    attributes: tuple[str, ...],
    now: datetime,
) -> Event:
    """The event of a saved mapping (of the group `resource_id`) or policy (of the tenant)."""
    of_group = operation == "mapping"
    return Event(
        tenant_id=tenant_id,
        event_id=str(ULID()).lower(),
        at=now,
        actor=Actor(type="operator", id="manage.py"),
        request_id=str(ULID()).lower(),
        operation=operation,
        resource_type="Group" if of_group else "Tenant",
        resource_id=resource_id,
        attributes=attributes,
        scope="group" if of_group else "tenant",
    )
