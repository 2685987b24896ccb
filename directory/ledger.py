"""The ledger: where a write is accepted, as one batch with its event.

No write without its event in the same transaction, and no event without its write
(docs/architecture.md, invariant 1): only this module makes the event of an accepted write and
commits it. `retrying` repeats a write that lost a race against another.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from directory.documents import (
    RETENTION,
    Actor,
    Event,
    EventOperation,
    EventResource,
    EventScope,
    MembershipChange,
    new_resource_id,
)
from directory.store import Conflict, Create, NotFound, Operation, PreconditionFailed, Store
from telemetry.traces import traceparent

IGNORED = 100
"""Names of ignored attributes that one event keeps."""
ATTEMPTS = 12
"""How often a write is computed anew after a lost race."""
PAUSE_SECONDS = 0.005
"""The longest pause after the first lost race; doubles with each further one, six times."""
RACES = (Conflict, NotFound, PreconditionFailed)
"""What a batch raises where another write came between reading and committing."""


class NotAccepted(Exception):
    """A write that cannot be accepted as things are; the text says why and what to do instead, to
    whoever asked for it. `overtaken`: somebody else changed it since it was looked at."""

    overtaken = False


def leave_to_timer(_tenant_id: str, _event_id: str) -> None:
    """A `submit` that does nothing: the timer finds the pending event."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Accepts writes.

    `now` answers an aware UTC time. `submit(tenant_id, event_id)` hands a committed event to the
    relay and never fails. `retention` is how long (seconds) an event that is done is kept.
    """

    store: Store
    now: Callable[[], datetime]
    submit: Callable[[str, str], None] = leave_to_timer
    retention: int = RETENTION

    def accepted(
        self,
        tenant_id: str,
        actor: Actor,
        operation: EventOperation,
        resource_type: EventResource,
        resource_id: str,
        *,
        scope: EventScope,
        attributes: Sequence[str] = (),
        ignored: Sequence[str] = (),
        membership: MembershipChange | None = None,
        request_id: str | None = None,
    ) -> Event:
        """The event of a write that is about to be committed. With the scope `none` it is done from
        the start."""
        now = self.now()
        done = scope == "none"
        return Event(
            tenant_id=tenant_id,
            event_id=new_resource_id(),
            state="done" if done else "pending",
            at=now,
            actor=actor,
            request_id=request_id or new_resource_id(),
            operation=operation,
            resource_type=resource_type,
            resource_id=resource_id,
            attributes=tuple(attributes),
            ignored=tuple(ignored[:IGNORED]),
            scope=scope,
            membership=membership,
            done_at=now if done else None,
            ttl=self.retention if done else None,
            traceparent=traceparent(),
        )

    async def commit(
        self, operations: Sequence[Operation], event: Event, *more: Event, submit: bool = True
    ) -> list[str | None]:
        """Write the operations and their events, all of one tenant, in one batch; then hand the
        events to the relay, unless the caller handles them (`submit`). Returns the new ETags of
        `operations`. Raises what the store raises for a batch; then nothing is written."""
        events = (event, *more)
        batch = [*operations, *(Create(each.to_document()) for each in events)]
        etags = await self.store.batch(event.tenant_id, batch)
        for each in events if submit else ():
            if each.state == "pending":
                self.submit(each.tenant_id, each.event_id)
        return etags[: len(operations)]


async def retrying[T](
    attempt: Callable[[], Awaitable[T]],
    lost: tuple[type[Exception], ...] = RACES,
    *,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE_SECONDS,
) -> T:
    """Run an attempt, which reads and writes, until it loses no race, at most `attempts` times.
    `pause` is the longest pause after the first, in seconds. Raises the last error in `lost`."""
    for tries in range(attempts - 1):
        try:
            return await attempt()
        except lost:
            await asyncio.sleep(random.uniform(0, pause * 2 ** min(tries, 6)))  # noqa: S311
    return await attempt()
