"""Replaying what failed, or discarding its dead letters.

An event fails when its message was delivered in vain as often as the queue allows: the event is
marked with a reason, and the message is a dead letter. A replay makes the event pending again and
sends its dead letters once more, or the event itself where there is none. Reconciling is
idempotent, so a replay is safe beside a running server, twice, and at any time; should it be
interrupted, the timer finds the event pending. Who replayed what is an entry in the log of the
tenant, written with the event, or before a dead letter of an event that did not fail is sent.

Discarding removes a dead letter and nothing else. It is only for letters that nothing waits for:
the event is done or gone, or the message is not from Muster.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import batched
from typing import Literal

from administration.errors import Absent, AdministrationError
from administration.events import OPERATOR
from administration.failures import PAGE, FailedEvent, FailedWork, Letter, event_of
from administration.tenants import read_tenant
from directory.documents import Actor, Event, EventResource, Model, event_id
from directory.ledger import Ledger, retrying
from directory.store import (
    Assign,
    Change,
    NotFound,
    PreconditionFailed,
    Unreadable,
    Unset,
    Update,
)
from queues.port import DeadLetter, DeadLetterQueue, QueueSender
from queues.relay import EventMessage, replay_message

BEGUN = ("reason", "progress", "resume")
"""Fields that are cleared when an event begins anew."""
NAMED = 100
"""The most events that one log entry names."""


class Replayed(Model):
    """What was sent once more."""

    events: int = 0
    """Failed events that are pending again."""
    letters: int = 0
    """Dead letters that were sent again, those of the events included."""


class Discarded(Model):
    """Dead letters that were removed for good."""

    letters: tuple[Letter, ...]


class NoSuchLetter(Absent):
    """There is no dead letter of this message id, or no longer."""


class NotFailed(Absent):
    """No event of this id has failed, or it is no longer failed."""


class Replay:
    """Failed events and dead letters, of one tenant or (None) of the whole deployment.

    Raises AdministrationError, QueueError and StoreError.
    """

    def __init__(
        self,
        ledger: Ledger,
        dead_letters: DeadLetterQueue,
        sender: QueueSender,
        tenant_id: str | None = None,
        actor: Actor = OPERATOR,
    ) -> None:
        self.failed = FailedWork(ledger.store, dead_letters, tenant_id)
        """The failed events and dead letters that there are."""
        self._ledger = ledger
        self._store = ledger.store
        self._dead_letters = dead_letters
        self._sender = sender
        self._actor = actor

    async def one(self, ulid: str) -> Replayed:
        """Replay a failed event. Raises NotFailed."""
        found = [event async for event in self.failed.events(ulid)]
        reopened = [event async for event in self._reopened(found)]
        if not reopened:
            raise NotFailed(
                f"No event {ulid[:100]} has failed; it may have been replayed, or its "
                "document cannot be read.",
                "replay --list",
            )
        letters = await self.failed.letters()
        return await self._send(reopened, letters.get(ulid, ()))

    async def everything(self) -> Replayed:
        """Replay all failed events, and send every other dead letter once more."""
        letters = await self.failed.letters()
        letter_count = 0
        reopened: set[str] = set()
        page: list[FailedEvent] = []
        async for failed in self.failed.events():
            page.append(failed)
            if len(page) == PAGE:
                reopened |= await self._reopen_and_send(page, letters)
                page = []
        reopened |= await self._reopen_and_send(page, letters)
        readable = [
            (one.id, event) for some in letters.values() for one in some if (event := event_of(one))
        ]
        if readable:
            others = [event for _, event in readable if event.event_id not in reopened]
            await self._trace("replay", others)
            letter_count = await self._dead_letters.resubmit([id for id, _ in readable])
        return Replayed(events=len(reopened), letters=letter_count)

    async def discard(self, message_ids: Collection[str]) -> Discarded:
        """Remove the dead letters with these message ids for good. All of them are checked before
        the first is removed: if the event of one is still to be applied, none is removed. Raises
        NoSuchLetter."""
        found = [
            letter
            for some in (await self.failed.letters()).values()
            for letter in some
            if letter.id in message_ids
        ]
        known = {letter.id for letter in found}
        if unknown := [id for id in message_ids if id not in known]:
            raise NoSuchLetter(
                f"There is no dead letter {unknown[0][:100]}, or it is gone by now.",
                "replay --list",
            )
        shown = {letter.sequence_number: await self._settled(letter) for letter in found}
        await self._trace("discard", [event for letter in found if (event := event_of(letter))])
        removed = await self._dead_letters.discard([*shown])
        if left := len(found) - len(removed):
            raise AdministrationError(
                f"{left} of {len(found)} dead letters were not discarded: somebody else replays or "
                "discards them at this moment. Look again in a minute."
            )
        return Discarded(letters=tuple(shown[number] for number in removed))

    async def _settled(self, letter: DeadLetter) -> Letter:
        """The dead letter, if nothing waits for it. Raises AdministrationError for any other:
        without the message its event would stay failed, or be sent again."""
        shown, event = await self.failed.shown(letter), event_of(letter)
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
        self, page: Sequence[FailedEvent], letters: Mapping[str, Sequence[DeadLetter]]
    ) -> set[str]:
        """Make events pending again, and send those that have no dead letter. Returns the events
        that are pending now."""
        reopened = [event async for event in self._reopened(page)]
        await self._send([event for event in reopened if event.event_id not in letters], ())
        return {event.event_id for event in reopened}

    async def _trace(
        self, operation: Literal["replay", "discard"], events: Sequence[EventMessage]
    ) -> None:
        """Log, in each tenant concerned, that dead letters of events that did not fail are sent
        again, or that dead letters are discarded."""
        by_tenant: dict[str, list[str]] = {}
        for event in sorted(events, key=lambda one: one.event_id):
            by_tenant.setdefault(event.tenant_id, []).extend(event.event_ids)
        for tenant_id, ulids in by_tenant.items():
            try:
                await read_tenant(self._store, tenant_id)
            except AdministrationError:
                continue  # without a tenant there is no log to write to
            for some in batched(dict.fromkeys(ulids), NAMED, strict=False):
                entry = self._entry(operation, tenant_id, "Tenant", tenant_id, some)
                await self._ledger.commit([], entry)

    def _entry(
        self,
        operation: Literal["replay", "discard"],
        tenant_id: str,
        resource_type: EventResource,
        resource_id: str,
        ulids: Sequence[str],
    ) -> Event:
        """The log entry of a replay, or of a discard."""
        return self._ledger.accepted(
            tenant_id,
            self._actor,
            operation,
            resource_type,
            resource_id,
            scope="none",
            attributes=[f"event {ulid}" for ulid in ulids],
        )

    async def _send(
        self, events: Sequence[EventMessage], letters: Sequence[DeadLetter]
    ) -> Replayed:
        """Send the dead letters again, which carry their event's cursor; for events without a dead
        letter, a new message."""
        sent = await self._dead_letters.resubmit([one.id for one in letters]) if letters else 0
        if not sent and events:
            again = [replay_message(event.tenant_id, event.event_id) for event in events]
            await self._sender.send(again)
        return Replayed(events=len(events), letters=sent)

    async def _reopened(self, found: Sequence[FailedEvent]) -> AsyncIterator[EventMessage]:
        """Reopens failed events; returns those that are pending from now on."""
        for failed in found:
            if await self._reopen(failed.tenant_id, failed.event_id):
                yield EventMessage(failed.tenant_id, failed.event_id)

    async def _reopen(self, tenant_id: str, ulid: str) -> bool:
        async def attempt() -> bool:
            stored = await self._store.read(tenant_id, event_id(ulid))
            if stored.document["state"] != "failed":
                return False  # somebody else replayed it, or a late delivery got it done
            begun = [name for name in BEGUN if name in stored.document]
            changes: tuple[Change, ...] = (
                Assign(("state",), "pending"),
                *(Unset((name,)) for name in begun),
            )
            about = stored.document["resourceType"], stored.document["resourceId"]
            entry = self._entry("replay", tenant_id, *about, (ulid,))
            await self._ledger.commit([Update(event_id(ulid), changes, stored.etag)], entry)
            return True

        try:
            return await retrying(attempt, (PreconditionFailed,))
        except (NotFound, Unreadable):  # it fails again, for as long as it cannot be read
            return False
