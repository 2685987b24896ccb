"""The relay: hands committed events to the queue, and sends again what was never confirmed.

An event is written in the same transaction as the change it tells of; the relay only says that it
is there (transactional outbox). What it drops, or loses with its process, is still `pending` in
the store, and the timer's `resend_pending` finds it. Sending an event twice is harmless: the
queue drops the second message of an id, and reconciling is idempotent.

The first event of a tenant leaves at once; those that come within GATHER_SECONDS after a message
share the next one. What the timer sends, it sends one by one.
"""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import batched
from typing import Any

import orjson

from directory.condition import All, Compare
from directory.documents import ulid_of
from directory.store import Document, Query, Store
from directory.ulids import new_ulid
from queues.port import REPLAY, Message, QueueError, QueueSender
from telemetry.logs import place
from telemetry.observation import current
from telemetry.traces import span, traceparent

BATCH_MESSAGES = 100
"""Messages per send; bodies of ids only, so far below what a Service Bus batch may weigh."""
MESSAGE_EVENTS = 100
"""Events that share a message."""
GATHER_SECONDS = 0.1
"""How long a tenant's events gather after its last message. At Entra ID's 25 requests a second
that halves messages and executions, and more under more load."""
RESEND_EVENTS = 1_000
"""Pending events that one run of the timer looks at: what one round trip reads."""
RESEND_SECONDS = 120.0
"""How long an event that the timer has sent is left alone. Duplicate detection lasts longer, so
most of what is sent again before is dropped; but the message that it remembers may have been
dead-lettered minutes ago, and then the event should not wait for much longer than it remembers."""
WAITING_SUBMISSIONS = 10_000
"""How much waits in memory while the queue does not answer; more is left to the timer."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """What a message says: reconcile this event, from `cursor` on (None: from its start), and
    `others` of the same tenant from their start."""

    tenant_id: str
    event_id: str
    cursor: dict[str, Any] | None = None
    others: tuple[str, ...] = ()

    @property
    def event_ids(self) -> tuple[str, ...]:
        """All of its events."""
        return (self.event_id, *self.others)


def message_for(tenant_id: str, event_id: str, cursor: Mapping[str, Any] | None = None) -> Message:
    """The message of an event. Its id depends on the event and on what the cursor says, so that
    the queue recognises a repetition. Raises TypeError for a cursor that is not JSON."""
    body: dict[str, Any] = {"tenantId": tenant_id, "eventId": event_id}
    if cursor is None:
        return Message(event_id, orjson.dumps(body))
    canonical = orjson.dumps(cursor, option=orjson.OPT_SORT_KEYS)
    body["cursor"] = cursor
    digest = hashlib.sha256(canonical).hexdigest()[:32]
    return Message(f"{event_id}:{digest}", orjson.dumps(body))


def message_for_all(tenant_id: str, event_ids: Sequence[str]) -> Message:
    """One message of several events, at least one. Its id depends on them all."""
    first, *others = event_ids
    if not others:
        return message_for(tenant_id, first)
    digest = hashlib.sha256(" ".join(event_ids).encode()).hexdigest()[:32]
    body = {"tenantId": tenant_id, "eventId": first, "others": others}
    return Message(f"{first}:{digest}", orjson.dumps(body))


def replay_message(tenant_id: str, event_id: str) -> Message:
    """The message of an event that is sent once more, from its start; the queue takes it for a new
    one."""
    again = message_for(tenant_id, event_id)
    return Message(f"{again.id}{REPLAY}{new_ulid()}", again.body)


def parse(body: bytes) -> EventMessage:
    """Read back what `message_for` and `message_for_all` wrote. Raises ValueError for anything
    else."""
    content = orjson.loads(body)
    if not isinstance(content, dict):
        raise ValueError("The message is not a JSON object.")
    tenant_id, event_id = content.get("tenantId"), content.get("eventId")
    if not (isinstance(tenant_id, str) and tenant_id and isinstance(event_id, str) and event_id):
        raise ValueError("The message needs the strings tenantId and eventId.")
    cursor = content.get("cursor")
    if cursor is not None and not isinstance(cursor, dict):
        raise ValueError("The message's cursor is not a JSON object.")
    others = content.get("others", [])
    if not isinstance(others, list) or not all(isinstance(one, str) and one for one in others):
        raise ValueError("The message's other events are not a list of ids.")
    return EventMessage(tenant_id, event_id, cursor, tuple(others))


def pending_events(before: datetime, limit: int, fields: Sequence[str] = ()) -> Query:
    """Asks for the events of every tenant that are pending and older than that moment (to the
    second), in the order of their ids, which is that of time and names the event (`ulid_of`).
    `fields` are wanted beside `tenantId`."""
    pending = Compare(("state",), "eq", "pending")
    older = Compare(("at",), "lt", second(before))
    return Query("Event", All((pending, older)), fields=("tenantId", *fields), limit=limit)


def second(moment: datetime) -> str:
    """What a stored time is compared with as text: whole seconds without the Z.

    Stored times are ISO 8601 in UTC, with a fraction of a second or without. So the first 19
    characters decide, or else the stored time is of that very second and its longer text is not
    less.
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class _Gathered:
    """What came of one tenant since its last message."""

    until: asyncio.TimerHandle
    event_ids: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Submission:
    messages: list[Message]
    sent: asyncio.Future[bool] | None = None
    """For somebody who waits to hear whether they were."""
    traces: Sequence[str] = ()

    def settle(self, sent: bool) -> None:
        if self.sent is not None and not self.sent.done():
            self.sent.set_result(sent)


class Relay:
    """Sends events in batches, off the path of the request that made them.

    One task uses the sender, whatever the number of callers: senders are not safe for concurrent
    sends. It starts with the first submission, on the loop that is running then, sends whatever
    gathered during the send before, and ends when nothing is left. Each send is tried `attempts`
    times, `backoff` seconds apart, doubling. The sender is its maker's to close.
    """

    def __init__(
        self,
        sender: QueueSender,
        store: Store,
        now: Callable[[], float] = time.time,
        *,
        attempts: int = 4,
        backoff: float = 0.25,
    ) -> None:
        self._sender = sender
        self._store = store
        self._now = now
        self._attempts = attempts
        self._backoff = backoff
        self._waiting: deque[_Submission] = deque()
        self._gathered: dict[str, _Gathered] = {}
        """By tenant, from a message of it on until GATHER_SECONDS bring nothing more."""
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._resent: dict[str, float] = {}
        """Message id → when the timer sent it."""
        self._resume: str | None = None
        """Where the timer's next run goes on; None: at the oldest event."""

    def submit(self, tenant_id: str, event_id: str) -> None:
        """Send this event soon. Call it after the commit; it neither blocks nor raises."""
        if self._closed or len(self._waiting) >= WAITING_SUBMISSIONS:
            _logger.warning("event %s is left to the timer", event_id)
            return
        try:
            gathered = self._gathered.get(tenant_id)
            if gathered is None:
                gathered = self._gather(tenant_id)
                self._add(gathered, event_id)
                self._release(tenant_id, gathered)
            else:
                self._add(gathered, event_id)
                if len(gathered.event_ids) == MESSAGE_EVENTS:
                    self._release(tenant_id, gathered)
        except Exception as error:  # noqa: BLE001 - the change is committed, whatever it is
            _logger.error("event %s is left to the timer: %s", event_id, place(error))

    async def send(
        self, tenant_id: str, event_id: str, cursor: Mapping[str, Any] | None = None
    ) -> None:
        """Send this event, or its next piece, and wait until the queue has it. Raises
        QueueError."""
        if not await self._settled([message_for(tenant_id, event_id, cursor)]):
            raise QueueError(f"event {event_id} could not be sent")

    async def drain(self) -> None:
        """Wait until everything submitted so far was sent or given up."""
        self._release_all()
        await self._settled([])

    async def resend_pending(self, older_than_seconds: float) -> int:
        """Send pending events of every tenant that are older than this (to the second), oldest
        first, but for those that were sent here within RESEND_SECONDS; returns how many. A run
        looks at RESEND_EVENTS of them at most, and the next run goes on behind. Stops early where
        the queue does not take them. Raises StoreError."""
        now = self._now()
        cutoff = datetime.fromtimestamp(now - older_than_seconds, UTC)
        query = pending_events(cutoff, RESEND_EVENTS, ("at",))
        # A place that the store refuses is not asked for again: the run after begins anew.
        resume, self._resume = self._resume, None
        page = await self._store.query_every_tenant(replace(query, continuation=resume))
        documents = [stored.document for stored in page.items]
        first = documents if resume is None else await self._oldest(query)
        ages = [now - datetime.fromisoformat(one["at"]).timestamp() for one in first[:1]]
        current().measures["oldest_pending_seconds"] = round(ages[0], 1) if ages else 0.0
        # Sent later than now: somebody has set the clock back. A second message does no harm.
        self._resent = {id: at for id, at in self._resent.items() if 0 <= now - at < RESEND_SECONDS}
        messages = [message_for(one["tenantId"], ulid_of(one["id"])) for one in documents]
        due = [message for message in messages if message.id not in self._resent]
        sent = 0
        for some in batched(due, BATCH_MESSAGES, strict=False):
            if not await self._settled([*some]):
                self._resume = resume  # the next run begins with the same ones
                return sent
            self._resent |= dict.fromkeys((message.id for message in some), now)
            sent += len(some)
        self._resume = page.continuation
        return sent

    async def _oldest(self, query: Query) -> list[Document]:
        page = await self._store.query_every_tenant(replace(query, limit=1))
        return [stored.document for stored in page.items]

    async def close(self, wait_seconds: float = 5.0) -> None:
        """Send what is left, for at most about `wait_seconds`; what remains is the timer's."""
        self._release_all()
        for gathered in self._gathered.values():
            gathered.until.cancel()
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=wait_seconds)
            if self._task.cancel():
                _logger.warning("closed during a send: what was not sent is left to the timer")
                await asyncio.wait({self._task}, timeout=1.0)
        while self._waiting:
            self._waiting.popleft().settle(sent=False)

    def _gather(self, tenant_id: str) -> _Gathered:
        """From now on the tenant's events share a message."""
        loop = asyncio.get_running_loop()
        until = loop.call_later(GATHER_SECONDS, self._end_gathering, tenant_id)
        gathered = self._gathered[tenant_id] = _Gathered(until)
        return gathered

    def _end_gathering(self, tenant_id: str) -> None:
        gathered = self._gathered.pop(tenant_id)
        if gathered.event_ids:
            self._gather(tenant_id)
            self._release(tenant_id, gathered)

    def _add(self, gathered: _Gathered, event_id: str) -> None:
        gathered.event_ids.append(event_id)
        if trace := traceparent():
            gathered.traces.append(trace)

    def _release(self, tenant_id: str, gathered: _Gathered) -> None:
        """Send what was gathered; what comes now gathers anew."""
        message = message_for_all(tenant_id, gathered.event_ids)
        self._enqueue(_Submission([message], traces=gathered.traces))
        gathered.event_ids, gathered.traces = [], []

    def _release_all(self) -> None:
        for tenant_id, gathered in self._gathered.items():
            if gathered.event_ids:
                self._release(tenant_id, gathered)

    async def _settled(self, messages: list[Message]) -> bool:
        """Whether these, and so everything that was submitted before them, were sent."""
        if self._closed:
            return False
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._enqueue(_Submission(messages, sent))
        return await sent

    def _enqueue(self, submission: _Submission) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append(submission)
        if self._task is None or self._task.done():
            # In a context of its own: the task outlives the request that happened to start it.
            self._task = loop.create_task(self._send_all(), context=Context())

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            messages = [message for submission in batch for message in submission.messages]
            traces = [trace for submission in batch for trace in submission.traces]
            sent = False
            try:
                # One send carries events of many requests: it is part of the first one's trace.
                first, linked = (traces[0], traces[1:]) if traces else (None, ())
                with span("relay send", "producer", parent=first, linked=linked):
                    sent = await self._send(messages)
            finally:
                for submission in batch:
                    submission.settle(sent)

    def _next_batch(self) -> list[_Submission]:
        batch: list[_Submission] = []
        size = 0
        while self._waiting and size < BATCH_MESSAGES:
            submission = self._waiting.popleft()
            batch.append(submission)
            size += len(submission.messages)
        return batch

    async def _send(self, messages: list[Message]) -> bool:
        if not messages:
            return True
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(self._backoff * 2 ** (attempt - 1))
            try:
                await self._sender.send(messages)
            except QueueError as error:
                problem = error
            except Exception as error:  # noqa: BLE001 - the next messages are not to wait for it
                left = _left_to_the_timer(messages)
                _logger.error("the sender failed; %s: %s", left, place(error))
                return False
            else:
                return True
        _logger.warning("%s; %s", problem, _left_to_the_timer(messages))
        return False


def _left_to_the_timer(messages: list[Message]) -> str:
    return "left to the timer: " + ", ".join(message.id for message in messages)
