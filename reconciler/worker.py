"""The reconciler: applies events to access records.

Level-triggered: an event only says whose access may have changed; the access itself is computed
from the facts at the time when the message is handled. So a message may come twice, late, or in any
order, and after a crash at any point a redelivery does the same again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched
from typing import Any

from directory import membership_change
from directory.changes import apply_changes
from directory.condition import All, Compare, Condition, OneOf
from directory.documents import (
    RETENTION,
    SAVES_MAPPING,
    Event,
    event_id,
    group_id,
    mapping_id,
)
from directory.documents import Mapping as GroupMapping
from directory.ledger import retrying
from directory.portions import PORTIONS, Portions
from directory.reading import read_all
from directory.resources import StoredGroup
from directory.store import (
    Assign,
    Change,
    Delete,
    NotFound,
    Operation,
    Replace,
    Store,
    Stored,
    StoreError,
    Throttled,
    Unavailable,
    Unreadable,
    Unset,
    Update,
    member,
)
from queues.relay import EventMessage
from reconciler import loss, shared_walk
from reconciler.expansion import Cursor, changed, changed_groups, first_cursor, touched
from reconciler.gathering import Causes, Gathering
from reconciler.loss import Marked
from reconciler.recomputation import PAUSE_SECONDS, AccessRecords, Committed, Recomputed
from reconciler.sweeping import remove_edges
from telemetry.observation import current
from telemetry.traces import span

GROUPS_PER_COUNT = 500
"""Groups whose members are counted in one query."""
ENDS_PER_BATCH = 90
"""Events that are marked done in one batch. On Cosmos DB one takes 1.2 ms of processor time,
whatever it holds."""

type Submit = Callable[[str, str, dict[str, Any] | None], Awaitable[None]]
"""Sends tenant id, event id and cursor as a message behind those already in the queue."""
type Known = Mapping[str, Stored]
"""Events that were read along, by their document ids."""
type Ends = Mapping[str, tuple[Event, Stored | None]]
"""Events that end, by their ULIDs; each with how it is stored, if that was read just before."""
type Publish = Callable[[Sequence[Committed]], Awaitable[None]]
"""Publishes changes of access to the application; the timer sends what it cannot."""


@dataclass(frozen=True, slots=True)
class Share:
    """The outcome of one message's share of an event. `completed`: this share completed the event.
    `rest` is the cursor from which the work continues; None: nothing is left, or another event's
    work includes it. `others` are events of the same tenant (ULIDs and cursors) that can be worked
    on now; the last one only after the others are safely submitted."""

    completed: bool = False
    rest: dict[str, Any] | None = None
    others: tuple[tuple[str, dict[str, Any]], ...] = ()


class Reconciler:
    """Handles messages from the queue of directory events.

    `now` answers an aware UTC time; `retention` is in seconds. `pause_seconds` is the longest pause
    after the first attempt that lost a race for access records.
    """

    def __init__(
        self,
        store: Store,
        submit: Submit,
        publish: Publish,
        now: Callable[[], datetime],
        *,
        retention: int = RETENTION,
        portions: Portions = PORTIONS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._submit = submit
        self._publish = publish
        self._now = now
        self._retention = retention
        self._portions = portions
        self._records = AccessRecords(
            store, now, retention, portions=portions, pause_seconds=pause_seconds
        )
        self._few = Gathering(self._recompute_each, portions.users_per_batch)
        self._ends = Gathering(self._end_together, ENDS_PER_BATCH)

    async def handle(
        self,
        tenant_id: str,
        event: str,
        cursor: dict[str, Any] | None = None,
        *,
        last_attempt: bool = False,
        known: Known | None = None,
    ) -> None:
        """Do one message's share of an event, and send the next messages where the event takes
        more. Raises what `work` raises, and QueueError: the message must be delivered again."""
        share = await self.work(tenant_id, event, cursor, last_attempt=last_attempt, known=known)
        if share.rest is not None:
            await self._submit(tenant_id, event, share.rest)
        if share.others:
            *first, last = share.others
            await asyncio.gather(*(self._submit(tenant_id, *other) for other in first))
            await self._submit(tenant_id, *last)

    async def handle_all(self, message: EventMessage, *, delivery: int, last: bool) -> None:
        """Handle a message of one event or several; `delivery` counts from 1.

        Several events are worked on together only at the first delivery. When their message comes
        again, each event that is left gets its own message: so it has its own deliveries, and an
        event that fails does not hold up others. Raises what `handle` raises."""
        tenant_id = message.tenant_id
        if not message.others:
            await self.handle(tenant_id, message.event_id, message.cursor, last_attempt=last)
        elif delivery > 1:
            left = await self._undone(tenant_id, message.event_ids)
            await asyncio.gather(*(self._submit(tenant_id, event, None) for event in left))
        else:
            ids = [event_id(event) for event in message.event_ids]
            known = await read_all(self._store, tenant_id, ids)
            pages = batched(message.event_ids, self._portions.users_per_batch, strict=False)
            await _each(self._handle_page(tenant_id, some, known) for some in pages)

    async def _handle_page(self, tenant_id: str, ulids: Sequence[str], known: Known) -> None:
        """While the events of a page end, the next page is worked on: the store has fewer and
        larger transactions."""
        others = await self._handle_together(tenant_id, ulids, known)
        await _each(self.handle(tenant_id, event, known=known) for event in others)

    async def _handle_together(
        self, tenant_id: str, ulids: Sequence[str], known: Known
    ) -> Sequence[str]:
        """Handle those of the events that touch one user each, as most do, as one page: no task, no
        gathering for each. Returns the events that are left; all of them where one fails, so that
        each is handled alone. Raises Throttled, Unavailable."""
        page = {
            event.event_id: (event, stored)
            for ulid in ulids
            if (stored := known.get(event_id(ulid))) and (event := _of_one_user(stored))
        }
        if not page:
            return ulids
        # The first event of a user is the cause.
        causes = {event.resource_id: ulid for ulid, (event, _) in reversed(page.items())}
        try:
            with ExitStack() as spans:
                for event, _ in page.values():
                    spans.enter_context(_span_of(event))
                publishing = await self._few.ask(tenant_id, causes)
                await _each((self._ends.ask(tenant_id, page), publishing))
        except (Throttled, Unavailable):
            raise
        except Exception:  # noqa: BLE001 - raised again for the event that fails
            return ulids
        current().outcome = "done"
        return [ulid for ulid in ulids if ulid not in page]

    async def _undone(self, tenant_id: str, events: Sequence[str]) -> list[str]:
        found = await read_all(self._store, tenant_id, [event_id(event) for event in events])
        states = {id: member(stored, "state") for id, stored in found.items()}
        return [event for event in events if states.get(event_id(event), "done") != "done"]

    async def work(
        self,
        tenant_id: str,
        event: str,
        cursor: dict[str, Any] | None = None,
        *,
        last_attempt: bool = False,
        known: Known | None = None,
    ) -> Share:
        """Do the next share of an event (ULID), from `cursor` on (None: from its start).

        An event that is done or gone costs one read; none where it is among `known`. Whatever this
        raises, the work must be done again. On the last attempt the event is marked `failed` with a
        reason first, unless the store asked for patience: that is no fault of the event, which
        stays pending.
        """
        try:
            share = await self._work(tenant_id, event, cursor, known)
        except (Throttled, Unavailable):
            raise
        except Exception as error:
            if last_attempt:
                await self._fail(tenant_id, event, error)
            raise
        goes_on = share.rest or (share.others and not share.completed)
        current().outcome = "goes on" if goes_on else "done"
        return share

    async def _work(
        self, tenant_id: str, ulid: str, cursor: dict[str, Any] | None, known: Known | None
    ) -> Share:
        at = None if cursor is None else Cursor.model_validate(cursor)
        stored = await self._open(tenant_id, ulid, known)
        if stored is None:
            return await self._give_turn_on(tenant_id) if at and at.turn else Share()
        event = Event.from_document(stored.document)
        current().request_id = event.request_id
        with _span_of(event):
            if at is not None and at.turn is not None:
                return await self._walk_for_others(event, at)
            return await self._apply(event, at)

    async def _completed(self, event: Event) -> Share:
        waited = event.progress is not None and event.progress.waits
        share = await self._give_turn_on(event.tenant_id) if waited else Share()
        return replace(share, completed=True)

    async def _give_turn_on(self, tenant_id: str) -> Share:
        return _share(await shared_walk.next_turn(self._store, tenant_id, _timestamp(self._now())))

    async def _walk_for_others(self, event: Event, at: Cursor) -> Share:
        """The next piece of a shared walk, if it is this event's turn."""
        rest: Cursor | None
        if at.leads:
            rest = await self._recompute_share(event, at)
            if rest.exhausted:
                after = _timestamp(self._now())
                return _share(await shared_walk.ended(self._store, event, rest, after))
        else:
            rest = await shared_walk.begun(self._store, event, at)
            if rest is None:
                waits = await self._open(event.tenant_id, event.event_id)
                return Share() if waits else await self._give_turn_on(event.tenant_id)
        rest = await self._measured(event, rest, len(at.groups))
        await self._report(event, rest)
        return Share(rest=rest.to_json())

    async def _apply(self, event: Event, cursor: Cursor | None) -> Share:
        if cursor is None:
            await self._finish_memberships(event)
        if await self._superseded(event):
            await self._complete(event)
            return await self._completed(event)
        start = cursor or first_cursor(event)
        rest = await self._recompute_share(event, start, begins=cursor is None)
        if cursor is None and self._is_for_sharing(event, rest):
            asks = Cursor(turn=_timestamp(self._now()))
            await self._report(event, asks)
            return await self._walk_for_others(event, asks)
        if rest.exhausted:
            swept = await self._sweep(event)
            if swept < self._portions.edges_per_message:
                await self._remove_mapping(event)
                await self._end(event, rest)
                return await self._completed(event)
            rest = rest.model_copy(update={"swept": rest.swept + swept})
        rest = await self._measured(event, rest, 0 if cursor is None else len(start.groups))
        await self._report(event, rest)
        return Share(rest=rest.to_json())

    async def _open(self, tenant_id: str, ulid: str, known: Known | None = None) -> Stored | None:
        """The event, or None where it is done or gone; an unreadable event is open, so that it is
        marked failed."""
        try:
            id = event_id(ulid)
            stored = known.get(id) if known else await self._store.read(tenant_id, id)
        except NotFound:
            return None
        return None if stored is None or member(stored, "state") == "done" else stored

    async def _finish_memberships(self, event: Event) -> None:
        """Finish writing accepted edges: those of this event, and those of the event that the
        group's `intent` names."""
        if event.resource_type != "Group":
            return
        if event.membership and event.membership.applied < event.membership.size:
            await self._finish(event, event.event_id)
        try:
            group = await self._store.read(event.tenant_id, group_id(event.resource_id))
            intent = StoredGroup.of(group).intent
        except (NotFound, Unreadable):  # an unreadable group has no intent, but its members count
            return
        if intent is not None and intent != event.event_id:
            await self._finish(event, intent)

    async def _finish(self, event: Event, unfinished: str) -> None:
        await membership_change.finish(
            self._store,
            event.tenant_id,
            unfinished,
            self._now,
            edges_per_batch=self._portions.edges_per_batch,
        )

    def _is_for_sharing(self, event: Event, cursor: Cursor) -> bool:
        return shared_walk.is_for_sharing(event, cursor, self._portions.groups_per_event)

    async def _recompute_each(self, tenant_id: str, causes: Causes) -> "asyncio.Task[None]":
        """Recompute users, each with its cause, and begin to publish the changes: whoever has them
        recomputed waits for that, too. Raises Unreadable after all others are done."""
        done = Recomputed()
        await self._records.recompute(tenant_id, causes, done)
        publishing = asyncio.create_task(self._published(done))
        if done.unreadable:
            await publishing
            raise done.unreadable[0]
        return publishing

    async def _published(self, done: Recomputed) -> None:
        if done.committed:
            await self._publish(done.committed)

    async def _recompute_share(
        self, event: Event, cursor: Cursor, *, begins: bool = False
    ) -> Cursor:
        """Do one message's share: its pages, and more until the rest fits a message.
        An event that `begins` stops where a shared walk does the rest."""
        cursor = await self._recompute_pages(event, cursor, begins)
        while cursor.too_large and not cursor.exhausted:
            cursor = await self._recompute_pages(event, cursor, begins)
        return cursor

    async def _recompute_pages(self, event: Event, cursor: Cursor, begins: bool) -> Cursor:
        """Users of several groups share pages, because a group may have few users, or none."""
        users: dict[str, str] = {}
        done = Recomputed(counted=event.event_id)
        page = self._portions.users_per_batch
        for _ in range(self._portions.pages_per_message):
            if done.steps >= self._portions.steps_per_message or cursor.exhausted:
                break
            if begins and self._is_for_sharing(event, cursor):
                break
            found, cursor = await touched(self._store, event, cursor, page)
            users |= dict.fromkeys(found, event.event_id)
            if len(users) >= page:
                await self._records.recompute(event.tenant_id, users, done)
                users = {}
        if cursor.exhausted and cursor.done <= loss.FEW:  # together with other events' users
            try:
                await (await self._few.ask(event.tenant_id, users))
            except Unreadable as error:
                done.unreadable.append(error)
        else:
            await self._records.recompute(event.tenant_id, users, done)
        await self._published(done)
        return cursor.without(done.unreadable)

    async def _sweep(self, event: Event) -> int:
        """Remove dangling edges, after all users along them were recomputed; returns how many."""
        removed = 0
        for where in await self._dangling(event):
            at_most = self._portions.edges_per_message - removed
            removed += await remove_edges(self._store, event.tenant_id, where, at_most, self._now)
        return removed

    async def _dangling(self, event: Event) -> list[Condition]:
        if event.operation == "delete" and event.resource_type == "Group":
            ends = ("groupId",), ("memberId",)
            return [Compare(end, "eq", event.resource_id) for end in ends]
        groups = changed_groups(event)
        found = await read_all(self._store, event.tenant_id, [group_id(id) for id in groups])
        return [Compare(("memberId",), "eq", id) for id in groups if group_id(id) not in found]

    async def _superseded(self, event: Event) -> bool:
        """Whether a later save of the same mapping replaces this one: its event does all the
        remaining work."""
        if event.operation not in SAVES_MAPPING:
            return False
        stored = await self._mapping(event)
        return stored is not None and stored.document["eventId"] != event.event_id

    async def _mapping(self, event: Event) -> Stored | None:
        try:
            return await self._store.read(event.tenant_id, mapping_id(event.resource_id))
        except NotFound:
            return None

    async def _remove_mapping(self, event: Event) -> None:
        """Remove the mapping of a group that is gone: deleted by this event, or while the mapping
        was saved."""
        ends = event.operation == "delete" or event.operation in SAVES_MAPPING
        if event.resource_type != "Group" or not ends:
            return
        group, mapping = group_id(event.resource_id), mapping_id(event.resource_id)
        found = await self._store.read_many(event.tenant_id, [group, mapping])
        if mapping in found and group not in found:
            with suppress(NotFound):
                await self._store.batch(event.tenant_id, [Delete(mapping)])

    async def _measured(self, event: Event, cursor: Cursor, counted: int) -> Cursor:
        """The cursor with the members of its groups from `counted` on added to `total`."""
        total = cursor.total
        if event.scope == "tenant" and not total:
            total = await self._store.count(event.tenant_id, "User")
        if event.scope == "members" and not total:
            total = changed(event).size
        of_users = Compare(("memberType",), "eq", "User")
        for new in batched(cursor.groups[counted:], GROUPS_PER_COUNT, strict=False):
            where = All((OneOf(("groupId",), new), of_users))
            total += await self._store.count(event.tenant_id, "Membership", where)
        return cursor.model_copy(update={"total": total})

    async def _report(self, event: Event, cursor: Cursor) -> None:
        """Store on the event how far it is."""
        shown: dict[str, Any] = {
            "done": cursor.done,
            "total": cursor.total,
            "at": _timestamp(self._now()),
        }
        if cursor.turn is not None:
            shown["waits"] = True
        change = Assign(("progress",), shown)
        with suppress(NotFound):
            await self._store.batch(event.tenant_id, [Update(event.document_id, (change,))])

    async def _end(self, event: Event, rest: Cursor) -> None:
        """End an event whose users are done. Where a document was unreadable, the event is marked
        failed, so that it is listed and can be replayed after the repair."""
        lost = await loss.marked(self._store, event) if rest.done > loss.FEW else loss.NOTHING
        if not rest.unreadable:
            await self._complete(event, lost)
            return
        unreadable = ", ".join(rest.unreadable)
        reason = f"Done, but for whoever depends on what cannot be read: {unreadable}"
        await self._mark_failed(event.tenant_id, event.event_id, reason, lost)

    async def _complete(self, event: Event, lost: Marked = loss.NOTHING) -> None:
        """Mark the event done, together with others of its tenant that end now, where it brought no
        version of a mapping and nobody lost anything."""
        if lost is loss.NOTHING and event.operation not in SAVES_MAPPING:
            await self._ends.ask(event.tenant_id, {event.event_id: (event, None)})
        else:
            await self._complete_alone(event, lost)

    async def _end_together(self, tenant_id: str, events: Ends) -> None:
        """Raises what the store does; then each of several is marked alone."""
        if len(events) > 1:
            await self._store.batch(tenant_id, [self._ended(*one) for one in events.values()])
            return
        for event, _ in events.values():
            await self._complete_alone(event, loss.NOTHING)

    async def _complete_alone(self, event: Event, lost: Marked) -> None:
        """Mark the event done, and the version of the mapping that it saved as applied."""
        known = [event]

        async def attempt() -> None:
            if known:
                await self._write_done(known.pop(), lost)
            elif (stored := await self._open(event.tenant_id, event.event_id)) is not None:
                await self._write_done(Event.from_document(stored.document), lost)

        await retrying(attempt)

    async def _write_done(self, event: Event, lost: Marked) -> None:
        done = Update(event.document_id, (*self._done(event), *lost.changes))
        applied = await self._applied(event) if event.operation in SAVES_MAPPING else ()
        await self._store.batch(event.tenant_id, [done, *applied, *lost.notices])

    def _ended(self, event: Event, stored: Stored | None) -> Operation:
        """A partial update reads the event once more; to write all of it instead takes a tenth off
        reconciling a user on SQLite."""
        if stored is None:
            return Update(event.document_id, self._done(event))
        document = {**stored.document}
        apply_changes(document, self._done(event))
        return Replace(document, stored.etag)

    def _done(self, event: Event) -> tuple[Change, ...]:
        return (
            Assign(("state",), "done"),
            Assign(("doneAt",), _timestamp(self._now())),
            Assign(("ttl",), self._retention),
            *((Unset(("reason",)),) if event.reason is not None else ()),
        )

    async def _applied(self, event: Event) -> tuple[Update, ...]:
        stored = await self._mapping(event)
        if stored is None:
            return ()
        mapping = GroupMapping.from_document(stored.document)
        if mapping.event_id != event.event_id or mapping.applied_version == mapping.version:
            return ()  # a later save applies itself
        version = Assign(("appliedVersion",), mapping.version)
        return (Update(mapping.document_id, (version,), stored.etag),)

    async def _fail(self, tenant_id: str, ulid: str, error: Exception) -> None:
        """Mark the event failed, unless another delivery has completed it."""
        reason = str(error) if isinstance(error, StoreError) else type(error).__name__
        await self._mark_failed(tenant_id, ulid, reason)

    async def _mark_failed(
        self, tenant_id: str, ulid: str, reason: str, lost: Marked = loss.NOTHING
    ) -> None:
        changes = (Assign(("state",), "failed"), Assign(("reason",), reason), *lost.changes)

        async def attempt() -> None:
            if (stored := await self._open(tenant_id, ulid)) is not None:
                update = Update(event_id(ulid), changes, stored.etag)
                await self._store.batch(tenant_id, [update, *lost.notices])

        await retrying(attempt)


async def _each(works: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them, then raise the first error, if any."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _of_one_user(stored: Stored) -> Event | None:
    """The event, if all that it takes is to recompute one user; None where it is done."""
    if member(stored, "state") == "done" or member(stored, "scope") != "user":
        return None
    try:
        return Event.from_document(stored.document)
    except Unreadable:
        return None


def _span_of(event: Event) -> AbstractContextManager[Any]:
    return span("reconcile", "consumer", parent=event.traceparent, event=event.event_id)


def _share(others: Iterable[tuple[str, Cursor]]) -> Share:
    return Share(others=tuple((event, cursor.to_json()) for event, cursor in others))


def _timestamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
