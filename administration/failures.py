"""Failed events, and dead letters whose events did not fail."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Literal

from directory.condition import All, Compare, Condition
from directory.documents import Model, event_id, ulid_of
from directory.reading import every, every_tenant
from directory.store import Damaged, NotFound, Query, Store, Stored, member
from directory.ulids import made_at
from queues.port import DeadLetter, DeadLetterQueue
from queues.relay import EventMessage, parse

PAGE = 100
MOST_LETTERS = 10_000
"""The most dead letters that one call looks at."""

FAILED: Condition = Compare(("state",), "eq", "failed")
SHOWN = (
    "tenantId",
    "eventId",
    "at",
    "operation",
    "resourceType",
    "resourceId",
    "attributes",
    "reason",
)


class FailedEvent(Model):
    """An event that failed."""

    tenant_id: str
    event_id: str
    at: datetime
    operation: str
    """This and the following fields are empty where the event cannot be read."""
    resource_type: str
    resource_id: str
    attributes: tuple[str, ...] = ()
    reason: str = ""
    attempts: int = 0
    """How often its dead letters were delivered."""


type LetterState = Literal["pending", "done", "gone", "unreadable"]
_STATES: Mapping[str, LetterState | Literal["failed"]] = {
    "pending": "pending",
    "done": "done",
    "failed": "failed",
}
"""An event's state, as far as it can be read."""


class Letter(Model):
    """A dead letter whose event did not fail: the event is pending (the store did not answer, and
    the timer sends it again), done, or gone; or the message is not from Muster."""

    message_id: str
    tenant_id: str | None = None
    event_id: str | None = None
    event: LetterState
    enqueued_at: datetime
    attempts: int
    reason: str


class Failures(Model):
    """What failed; `more` says that there is more than is shown."""

    events: tuple[FailedEvent, ...] = ()
    letters: tuple[Letter, ...] = ()
    more: bool = False


class FailedWork:
    """Failed events and dead letters as they are now, of one tenant or (None) of the whole
    deployment. Raises QueueError and StoreError."""

    def __init__(
        self, store: Store, dead_letters: DeadLetterQueue, tenant_id: str | None = None
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._tenant_id = tenant_id

    async def listed(self, limit: int = PAGE) -> Failures:
        """What failed, oldest first, at most `limit` of each kind."""
        letters = await self.letters()
        events: list[FailedEvent] = []
        more = False
        async for event in self.events(page=limit + 1):
            if more := len(events) == limit:
                break
            attempts = sum(letter.delivery_count for letter in letters.pop(event.event_id, ()))
            events.append(event.model_copy(update={"attempts": attempts}))
        others = [letter for some in letters.values() for letter in some]
        shown = [await self.shown(letter) for letter in others[:limit]]
        return Failures(
            events=tuple(events),
            letters=tuple(letter for letter in shown if letter is not None),
            more=more or len(others) > limit,
        )

    async def event(self, ulid: str) -> FailedEvent | None:
        """One failed event; None where no event of this id has failed."""
        async for event in self.events(ulid):
            letters = (await self.letters()).get(ulid, ())
            attempts = sum(letter.delivery_count for letter in letters)
            return event.model_copy(update={"attempts": attempts})
        return None

    async def events(self, ulid: str | None = None, page: int = PAGE) -> AsyncIterator[FailedEvent]:
        """All failed events, or the one, including those that cannot be read."""
        where = FAILED if ulid is None else All((FAILED, Compare(("id",), "eq", event_id(ulid))))
        query = Query("Event", where, fields=SHOWN, limit=page, damaged=True)
        if self._tenant_id is None:
            found = every_tenant(self._store, query)
        else:
            found = every(self._store, self._tenant_id, query)
        async for stored in found:
            yield _failed(stored)

    async def letters(self) -> dict[str, list[DeadLetter]]:
        """Dead letters by the id of their event; unreadable ones under ""."""
        letters: dict[str, list[DeadLetter]] = {}
        seen = after = 0
        while seen < MOST_LETTERS:
            page = await self._dead_letters.list_dead_letters(PAGE, after)
            if not page:
                break
            seen, after = seen + len(page), page[-1].sequence_number
            for letter in page:
                event = event_of(letter)
                if self._tenant_id is None or (event and event.tenant_id == self._tenant_id):
                    letters.setdefault(event.event_id if event else "", []).append(letter)
        return letters

    async def shown(self, letter: DeadLetter) -> Letter | None:
        """The dead letter with the state of its event; None where the event has failed."""
        event = event_of(letter)
        state: LetterState | Literal["failed"] = "unreadable"
        if event is not None:
            try:
                stored = await self._store.read(event.tenant_id, event_id(event.event_id))
                state = _STATES.get(str(member(stored, "state")), "unreadable")
            except (NotFound, ValueError):
                state = "gone"
        if state == "failed":
            return None
        return Letter(
            message_id=letter.id,
            tenant_id=event.tenant_id if event else None,
            event_id=event.event_id if event else None,
            event=state,
            enqueued_at=letter.enqueued_at,
            attempts=letter.delivery_count,
            reason=letter.reason,
        )


def _failed(stored: Stored) -> FailedEvent:
    """A failed event; of one that cannot be read hardly more than the id is shown."""
    if not isinstance(stored, Damaged):
        return FailedEvent.model_validate(stored.document)
    ulid = ulid_of(stored.error.document_id)
    return FailedEvent(
        tenant_id=str(member(stored, "tenantId")),
        event_id=ulid,
        at=made_at(ulid) or datetime.fromtimestamp(0, UTC),
        operation="",
        resource_type="",
        resource_id="",
        reason=str(stored.error),
    )


def event_of(letter: DeadLetter) -> EventMessage | None:
    """The event that a dead letter belongs to; None where the letter is unreadable."""
    try:
        return parse(letter.body)
    except ValueError:
        return None
