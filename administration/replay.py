"""What failed: doing it once more, or discarding what is left of it.

An event fails when its message was delivered in vain as often as the queue allows: the event is
marked with a reason, and the message is a dead letter. A replay makes the event pending again and
sends its dead letters once more, or the event itself where there is none. Reconciling is
idempotent, so a replay is safe beside a running server, twice, and at any time; should it be
interrupted, the timer finds the event pending. Who replayed what is an entry in the log of the
tenant, written with the event, or before a dead letter of an event that did not fail is sent.

Discarding removes a dead letter and nothing else, so it is for those that nothing waits for: the
event is done or gone, or the message is none of Muster's.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Literal, cast

from administration.events import OPERATOR, administrative_event
from administration.tenants import AdministrationError, read_tenant
from directory.condition import All, Compare, Condition
from directory.documents import RETENTION, Actor, Event, Model, event_id
from directory.reading import every, every_tenant
from directory.store import (
    Assign,
    Change,
    Create,
    NotFound,
    PreconditionFailed,
    Query,
    Store,
    Stored,
    Unset,
    Update,
)
from queues.port import DeadLetter, DeadLetterQueue, QueueSender
from queues.relay import EventMessage, parse, replay_message

PAGE = 100
NAMED = 100
"""Events that one log entry names."""
MOST_LETTERS = 10_000
"""Dead letters that one call looks at."""

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
    resource_type: str
    resource_id: str
    attributes: tuple[str, ...] = ()
    reason: str = ""
    attempts: int = 0
    """Deliveries of its dead letters."""


type LetterState = Literal["pending", "done", "gone", "unreadable"]


class Letter(Model):
    """A dead letter whose event did not fail: the event is pending (the store did not answer, and
    the timer sends it again), done, or gone; or the message is none of Muster's."""

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


class Replayed(Model):
    """What was sent once more."""

    events: int = 0
    """Failed events that are pending again."""
    letters: int = 0
    """Dead letters that were sent again, those of the events included."""


class Discarded(Model):
    """Dead letters that were removed for good."""

    letters: tuple[Letter, ...]


class NoSuchLetter(AdministrationError):
    """There is no dead letter of this message id, or not any more."""


class NotFailed(AdministrationError):
    """No event of this id has failed, or not any more."""


class Replay:
    """Failed events and dead letters, of one tenant or (None) of the whole deployment.

    Raises AdministrationError, QueueError and StoreError.
    """

    def __init__(
        self,
        store: Store,
        dead_letters: DeadLetterQueue,
        sender: QueueSender,
        tenant_id: str | None = None,
        *,
        now: Callable[[], datetime],
        actor: Actor = OPERATOR,
        retention: int = RETENTION,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._sender = sender
        self._tenant_id = tenant_id
        self._actor = actor
        self._now = now
        self._retention = retention

    async def failures(self, limit: int = PAGE) -> Failures:
        """What failed, oldest first, at most `limit` of each kind."""
        letters = await self._letters()
        events: list[FailedEvent] = []
        more = False
        async for stored in self._failed(FAILED, limit + 1):
            if more := len(events) == limit:
                break
            ulid = stored.document["eventId"]
            attempts = sum(letter.delivery_count for letter in letters.pop(ulid, ()))
            events.append(FailedEvent.model_validate(stored.document | {"attempts": attempts}))
        others = [letter for some in letters.values() for letter in some]
        shown = [await self._shown(letter) for letter in others[:limit]]
        return Failures(
            events=tuple(events),
            letters=tuple(letter for letter in shown if letter is not None),
            more=more or len(others) > limit,
        )

    async def failure(self, ulid: str) -> FailedEvent | None:
        """One failed event; None where no event of this id has failed."""
        only = All((FAILED, Compare(("eventId",), "eq", ulid)))
        async for stored in self._failed(only):
            letters = (await self._letters()).get(ulid, ())
            attempts = sum(letter.delivery_count for letter in letters)
            return FailedEvent.model_validate(stored.document | {"attempts": attempts})
        return None

    async def one(self, ulid: str) -> Replayed:
        """Replay a failed event. Raises NotFailed."""
        only = All((FAILED, Compare(("eventId",), "eq", ulid)))
        found = [stored async for stored in self._failed(only)]
        reopened = [event async for event in self._reopened(found)]
        if not reopened:
            raise NotFailed(f"No event {ulid[:100]} has failed, or not any more.", "replay --list")
        letters = await self._letters()
        return await self._send(reopened, letters.get(ulid, ()))

    async def everything(self) -> Replayed:
        """Replay all failed events, and send every other dead letter once more."""
        letters = await self._letters()
        letter_count = 0
        reopened: set[str] = set()
        page: list[Stored] = []
        async for stored in self._failed(FAILED):
            page.append(stored)
            if len(page) == PAGE:
                reopened |= await self._reopen_and_send(page, letters)
                page = []
        reopened |= await self._reopen_and_send(page, letters)
        readable = [
            (one.id, event)
            for some in letters.values()
            for one in some
            if (event := _event_of(one))
        ]
        if readable:
            others = [event for _, event in readable if event.event_id not in reopened]
            await self._trace("replay", others)
            letter_count = await self._dead_letters.resubmit([id for id, _ in readable])
        return Replayed(events=len(reopened), letters=letter_count)

    async def discard(self, message_ids: Collection[str]) -> Discarded:
        """Remove the dead letters with these message ids for good. Each of them is looked at
        before the first one goes: one whose event is still to be applied refuses them all. Raises
        NoSuchLetter."""
        found = [
            letter
            for some in (await self._letters()).values()
            for letter in some
            if letter.id in message_ids
        ]
        for id in message_ids:
            if all(letter.id != id for letter in found):
                raise NoSuchLetter(
                    f"There is no dead letter {id[:100]}, or not any more.", "replay --list"
                )
        shown = {letter.sequence_number: await self._settled(letter) for letter in found}
        await self._trace("discard", [event for letter in found if (event := _event_of(letter))])
        removed = await self._dead_letters.discard([*shown])
        if left := len(found) - len(removed):
            raise AdministrationError(
                f"{left} of {len(found)} dead letters were not discarded: somebody else replays or "
                "discards them at this moment. Look again in a minute."
            )
        return Discarded(letters=tuple(shown[number] for number in removed))

    async def _settled(self, letter: DeadLetter) -> Letter:
        """How a dead letter that nothing waits for is shown. Raises AdministrationError for any
        other: without the message its event would stay as it is, or be sent again."""
        shown, event = await self._shown(letter), _event_of(letter)
        if shown is None:
            raise AdministrationError(
                f"The dead letter {letter.id[:100]} is kept: its event has failed. Replay the "
                "event; then its dead letter is gone.",
                f"replay {event.event_id if event else ''}",
            )
        if shown.event == "pending":
            raise AdministrationError(
                f"The dead letter {letter.id[:100]} is kept: its event is still to be applied, and "
                "is sent again by itself. Once that is done, discard the dead letter."
            )
        return shown

    async def _reopen_and_send(
        self, page: Sequence[Stored], letters: Mapping[str, Sequence[DeadLetter]]
    ) -> set[str]:
        """Make events pending again, and send those that have no dead letter; which they are."""
        reopened = [event async for event in self._reopened(page)]
        await self._send([event for event in reopened if event.event_id not in letters], ())
        return {event.event_id for event in reopened}

    async def _trace(
        self, operation: Literal["replay", "discard"], events: Sequence[EventMessage]
    ) -> None:
        """Say in each tenant's log whose dead letters are sent again though none failed, or are
        discarded."""
        by_tenant: dict[str, list[str]] = {}
        for event in sorted(events, key=lambda one: one.event_id):
            by_tenant.setdefault(event.tenant_id, []).append(event.event_id)
        for tenant_id, ulids in by_tenant.items():
            try:
                await read_tenant(self._store, tenant_id)
            except AdministrationError:
                continue  # nobody would read it
            for some in batched(dict.fromkeys(ulids), NAMED, strict=False):
                entry = self._entry(operation, tenant_id, "Tenant", tenant_id, some)
                await self._store.batch(tenant_id, [Create(entry.to_document())])

    def _entry(
        self,
        operation: Literal["replay", "discard"],
        tenant_id: str,
        resource_type: Literal["User", "Group", "Tenant"],
        resource_id: str,
        ulids: Sequence[str],
    ) -> Event:
        """The log entry of a replay, or of a discard."""
        return administrative_event(
            tenant_id,
            operation,
            resource_type,
            resource_id,
            [f"event {ulid}" for ulid in ulids],
            "none",
            self._now(),
            self._actor,
            self._retention,
        )

    async def _send(
        self, events: Sequence[EventMessage], letters: Sequence[DeadLetter]
    ) -> Replayed:
        """Send the dead letters, which know how far their event is; the events themselves where
        there is none."""
        sent = await self._dead_letters.resubmit([one.id for one in letters]) if letters else 0
        if not sent and events:
            again = [replay_message(event.tenant_id, event.event_id) for event in events]
            await self._sender.send(again)
        return Replayed(events=len(events), letters=sent)

    def _failed(self, where: Condition, page: int = PAGE) -> AsyncIterator[Stored]:
        query = Query("Event", where, fields=SHOWN, limit=page)
        if self._tenant_id is None:
            return every_tenant(self._store, query)
        return every(self._store, self._tenant_id, query)

    async def _reopened(self, found: Sequence[Stored]) -> AsyncIterator[EventMessage]:
        """Those of the failed events that are pending from now on."""
        for stored in found:
            tenant_id, ulid = stored.document["tenantId"], stored.document["eventId"]
            if await self._reopen(tenant_id, ulid):
                yield EventMessage(tenant_id, ulid)

    async def _reopen(self, tenant_id: str, ulid: str) -> bool:
        while True:
            try:
                stored = await self._store.read(tenant_id, event_id(ulid))
                if stored.document["state"] != "failed":
                    return False  # somebody else replayed it, or a late delivery got it done
                changes: tuple[Change, ...] = (Assign(("state",), "pending"),)
                if "reason" in stored.document:
                    changes += (Unset(("reason",)),)
                about = stored.document["resourceType"], stored.document["resourceId"]
                entry = self._entry("replay", tenant_id, *about, (ulid,))
                update = Update(event_id(ulid), changes, stored.etag)
                await self._store.batch(tenant_id, [update, Create(entry.to_document())])
            except NotFound:
                return False
            except PreconditionFailed:
                continue
            return True

    async def _letters(self) -> dict[str, list[DeadLetter]]:
        """Dead letters by the event that they are of; unreadable ones under ""."""
        letters: dict[str, list[DeadLetter]] = {}
        seen = after = 0
        while seen < MOST_LETTERS:
            page = await self._dead_letters.list_dead_letters(PAGE, after)
            if not page:
                break
            seen, after = seen + len(page), page[-1].sequence_number
            for letter in page:
                event = _event_of(letter)
                if self._tenant_id is None or (event and event.tenant_id == self._tenant_id):
                    letters.setdefault(event.event_id if event else "", []).append(letter)
        return letters

    async def _shown(self, letter: DeadLetter) -> Letter | None:
        """How a dead letter of no failed event is shown; None where its event failed after all."""
        event = _event_of(letter)
        state = "unreadable"
        if event is not None:
            try:
                stored = await self._store.read(event.tenant_id, event_id(event.event_id))
                state = stored.document["state"]
            except (NotFound, ValueError):
                state = "gone"
        if state == "failed":
            return None
        return Letter(
            message_id=letter.id,
            tenant_id=event.tenant_id if event else None,
            event_id=event.event_id if event else None,
            event=cast("LetterState", state),
            enqueued_at=letter.enqueued_at,
            attempts=letter.delivery_count,
            reason=letter.reason,
        )


def _event_of(letter: DeadLetter) -> EventMessage | None:
    try:
        return parse(letter.body)
    except ValueError:
        return None
