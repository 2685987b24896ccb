"""What an administrator or an operator changes in a tenant, and the event of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from directory.documents import (
    RETENTION,
    Actor,
    AdministrativeOperation,
    Event,
    new_resource_id,
)
from directory.store import Create, Operation
from scim.writing import Service
from telemetry.traces import traceparent

OPERATOR = Actor(type="operator", id="manage.py")


@dataclass(frozen=True, slots=True)
class Administration:
    """The base of what is done by hand in one tenant, by `actor`."""

    service: Service
    tenant_id: str
    actor: Actor = OPERATOR

    def event(
        self,
        operation: AdministrativeOperation,
        resource_type: Literal["User", "Group", "Tenant"],
        resource_id: str,
        attributes: Sequence[str],
        scope: Literal["none", "user", "group", "tenant"],
    ) -> Event:
        """The event of a change. One that can change nobody's access is done from the start."""
        return administrative_event(
            self.tenant_id,
            operation,
            resource_type,
            resource_id,
            attributes,
            scope,
            self.service.now(),
            self.actor,
            self.service.retention,
        )

    async def commit(self, operations: Sequence[Operation], event: Event) -> None:
        """Write everything and the event in one batch, then hand the event to the relay. Raises
        what the store raises."""
        await self.service.store.batch(self.tenant_id, [*operations, Create(event.to_document())])
        if event.state == "pending":
            self.service.submit(self.tenant_id, event.event_id)


def administrative_event(
    tenant_id: str,
    operation: AdministrativeOperation,
    resource_type: Literal["User", "Group", "Tenant"],
    resource_id: str,
    attributes: Sequence[str],
    scope: Literal["none", "user", "group", "tenant"],
    now: datetime,
    actor: Actor = OPERATOR,
    retention: int = RETENTION,
) -> Event:
    """The event of a change that somebody makes by hand; `retention` (seconds) is for one of
    scope `none`, which is done from the start."""
    done = scope == "none"
    return Event(
        tenant_id=tenant_id,
        event_id=new_resource_id(),
        state="done" if done else "pending",
        at=now,
        actor=actor,
        request_id=new_resource_id(),
        operation=operation,
        resource_type=resource_type,
        resource_id=resource_id,
        attributes=tuple(attributes),
        scope=scope,
        done_at=now if done else None,
        ttl=retention if done else None,
        traceparent=traceparent(),
    )
