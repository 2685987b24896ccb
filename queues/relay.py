"""The relay: hands committed events to the queue, and sends again what was never confirmed.

An event is written in the same transaction as its change; the relay only announces it
(transactional outbox). An event that the relay drops, or loses with its process, is still `pending`
in the store, and the timer's `resend_pending` finds it. Sending an event twice is harmless: the
queue drops the second message of an id, and reconciling is idempotent.

The first event of a tenant is sent at once; events that come within `gather_seconds` after a
message share the next one, and gather for longer while many come. The timer sends each event in its
own message.
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
"""Messages per send; their bodies hold only ids, far below the size of a Service Bus batch."""
MESSAGE_EVENTS = 96
"""The most events that share a message: users fill two pages of the reconciler then
(`directory.portions`), and no third one has a few."""
GATHER_SECONDS = 0.1
"""How long a tenant's events gather after its last message."""
BUSY_EVENTS = 10.0
"""Events per second of a tenant beyond which the next ones gather twice as long."""
MOST_GATHER_SECONDS = 0.8
"""How long at most. At Entra ID's 25 requests a second a message soon has twenty events. Forty such
tenants on two cores then are one second behind instead of eleven: messages and executions cost
more than the events in them."""
RESEND_EVENTS = 1_000
"""Pending events that one run of the timer reads, in one round trip."""
RESEND_SECONDS = 120.0
"""How long the timer leaves an event alone after it sent it. Duplicate detection lasts longer and
drops most of what is sent again in its time. But the message that it remembers may have been
dead-lettered; then the event should be sent again soon after it is forgotten."""
WAITING_SUBMISSIONS = 10_000
"""Submissions that wait in memory while the queue does not answer; more are left to the timer."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """The content of a message: reconcile this event from `cursor` on (None: from its start), and
    the `others`, events of the same tenant, from their start."""

    tenant_id: str
    event_id: str
    cursor: dict[str, Any] | None = None
    others: tuple[str, ...] = ()

    @property
    def event_ids(self) -> tuple[str, ...]:
        """All of its events."""
        return (self.event_id, *self.others)


def message_for(tenant_id: str, event_id: str, cursor: Mapping[str, Any] | None = None) -> Message:
    """The message of an event. Its id depends on the event and the content of the cursor, so that
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
    """A message that reconciles an event once more from its start; its new id passes duplicate
    detection."""
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
    """The query for every tenant's events that are pending and older than `before` (to the second),
    in the order of their ids, which is the order of time. It reads the document id (`ulid_of` gives
    the event's), `tenantId` and `fields`."""
    pending = Compare(("state",), "eq", "pending")
    older = Compare(("at",), "lt", second(before))
    return Query("Event", All((pending, older)), fields=("tenantId", *fields), limit=limit)


def second(moment: datetime) -> str:
    """A time as text for comparison with stored times: whole seconds without the Z.

    Stored times are ISO 8601 in UTC, with or without a fraction of a second. The first 19
    characters decide; in the same second the stored text is longer, and so not less.
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class _Gathered:
    """The events of one tenant that came since its last message."""

    until: asyncio.TimerHandle
    seconds: float
    """How long they gather."""
    event_ids: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Submission:
    messages: list[Message]
    sent: asyncio.Future[bool] | None = None
    """Set for a caller that waits for the outcome."""
    traces: Sequence[str] = ()

    def settle(self, sent: bool) -> None:
        if self.sent is not None and not self.sent.done():
            self.sent.set_result(sent)


class Relay:
    """Sends events in batches, in the background of the requests that made them.

    One task uses the sender, whatever the number of callers: senders are not safe for concurrent
    sends. It starts with the first submission, on the running loop, sends whatever gathered during
    the send before, and ends when nothing is left. Each send is tried `attempts` times, `backoff`
    seconds apart, doubling. The caller closes the sender.

    `gather_seconds` is how long a tenant's events gather after its last message, and
    `most_gather_seconds` how long they do while many come; `most_waiting` is how many submissions
    wait in memory, and `resend_events` how many events a run of the timer reads.
    """

    def __init__(
        self,
        sender: QueueSender,
        store: Store,
        now: Callable[[], float] = time.time,
        *,
        attempts: int = 4,
        backoff: float = 0.25,
        gather_seconds: float = GATHER_SECONDS,
        most_gather_seconds: float = MOST_GATHER_SECONDS,
        most_waiting: int = WAITING_SUBMISSIONS,
        resend_events: int = RESEND_EVENTS,
    ) -> None:
        self._sender = sender
        self._store = store
        self._now = now
        self._attempts = attempts
        self._backoff = backoff
        self._gather_seconds = gather_seconds
        self._most_gather_seconds = most_gather_seconds
        self._most_waiting = most_waiting
        self._resend_events = resend_events
        self._waiting: deque[_Submission] = deque()
        self._gathered: dict[str, _Gathered] = {}
        """Tenants that had a message lately, and their events since."""
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._resent: dict[str, float] = {}
        """Message id → when the timer sent it."""
        self._resume: str | None = None
        """The continuation for the timer's next run; None: the run starts at the oldest event."""

    def submit(self, tenant_id: str, event_id: str) -> None:
        """Send this event soon. Call it after the commit; it neither blocks nor raises."""
        if self._closed or len(self._waiting) >= self._most_waiting:
            _logger.warning("event %s is left to the timer", event_id)
            return
        try:
            known = self._gathered.get(tenant_id)
            gathered = known or self._gather(tenant_id, self._gather_seconds)
            self._add(gathered, event_id)
            if known is None:
                self._release(tenant_id, gathered)
            elif len(gathered.event_ids) == MESSAGE_EVENTS:
                gathered.until.cancel()
                self._end_gathering(tenant_id)
        except Exception as error:  # noqa: BLE001 - the change is committed all the same
            _logger.error("event %s is left to the timer: %s", event_id, place(error))

    async def send(
        self, tenant_id: str, event_id: str, cursor: Mapping[str, Any] | None = None
    ) -> None:
        """Send this event, from `cursor` on, and wait until the queue has it. Raises QueueError."""
        if not await self._settled([message_for(tenant_id, event_id, cursor)]):
            raise QueueError(f"event {event_id} could not be sent")

    async def drain(self) -> None:
        """Wait until everything submitted so far was sent or given up."""
        self._release_all()
        await self._settled([])

    async def resend_pending(self, older_than_seconds: float) -> int:
        """Send pending events of every tenant that are older than this (to the second), oldest
        first, except those that this process sent within RESEND_SECONDS; returns how many. A run
        reads at most `resend_events`, and the next run continues behind them. Stops early where the
        queue does not take them. Raises StoreError."""
        now = self._now()
        cutoff = datetime.fromtimestamp(now - older_than_seconds, UTC)
        query = pending_events(cutoff, self._resend_events, ("at",))
        # Cleared first: if the store refuses the continuation, the next run starts anew.
        resume, self._resume = self._resume, None
        page = await self._store.query_every_tenant(replace(query, continuation=resume))
        documents = [stored.document for stored in page.items]
        first = documents if resume is None else await self._oldest(query)
        ages = [now - datetime.fromisoformat(one["at"]).timestamp() for one in first[:1]]
        current().measures["oldest_pending_seconds"] = round(ages[0], 1) if ages else 0.0
        # A time in the future means that the clock was set back. A second message does no harm.
        self._resent = {id: at for id, at in self._resent.items() if 0 <= now - at < RESEND_SECONDS}
        messages = [message_for(one["tenantId"], ulid_of(one["id"])) for one in documents]
        due = [message for message in messages if message.id not in self._resent]
        sent = 0
        for some in batched(due, BATCH_MESSAGES, strict=False):
            if not await self._settled([*some]):
                self._resume = resume  # the next run begins with the same events
                return sent
            self._resent |= dict.fromkeys((message.id for message in some), now)
            sent += len(some)
        self._resume = page.continuation
        return sent

    async def _oldest(self, query: Query) -> list[Document]:
        page = await self._store.query_every_tenant(replace(query, limit=1))
        return [stored.document for stored in page.items]

    async def close(self, wait_seconds: float = 5.0) -> None:
        """Send what is left, for at most about `wait_seconds`; the rest is left to the timer."""
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

    def _gather(self, tenant_id: str, seconds: float) -> _Gathered:
        """Start to gather the tenant's events into one message."""
        loop = asyncio.get_running_loop()
        until = loop.call_later(seconds, self._end_gathering, tenant_id)
        gathered = self._gathered[tenant_id] = _Gathered(until, seconds)
        return gathered

    def _end_gathering(self, tenant_id: str) -> None:
        gathered = self._gathered.pop(tenant_id)
        if not gathered.event_ids:
            return
        longer = min(2 * gathered.seconds, self._most_gather_seconds)
        busy = len(gathered.event_ids) > BUSY_EVENTS * gathered.seconds
        self._gather(tenant_id, longer if busy else self._gather_seconds)
        self._release(tenant_id, gathered)

    def _add(self, gathered: _Gathered, event_id: str) -> None:
        gathered.event_ids.append(event_id)
        if trace := traceparent():
            gathered.traces.append(trace)

    def _release(self, tenant_id: str, gathered: _Gathered) -> None:
        """Send the gathered events, and gather anew."""
        message = message_for_all(tenant_id, gathered.event_ids)
        self._enqueue(_Submission([message], traces=gathered.traces))
        gathered.event_ids, gathered.traces = [], []

    def _release_all(self) -> None:
        for tenant_id, gathered in self._gathered.items():
            if gathered.event_ids:
                self._release(tenant_id, gathered)

    async def _settled(self, messages: list[Message]) -> bool:
        """Send these messages behind everything submitted before; whether they were sent."""
        if self._closed:
            return False
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._enqueue(_Submission(messages, sent))
        return await sent

    def _enqueue(self, submission: _Submission) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append(submission)
        if self._task is None or self._task.done():
            # An empty context: the task outlives the request that happened to start it.
            self._task = loop.create_task(self._send_all(), context=Context())

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            messages = [message for submission in batch for message in submission.messages]
            traces = [trace for submission in batch for trace in submission.traces]
            sent = False
            try:
                # A send carries events of many requests: it belongs to the trace of the first.
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
            except Exception as error:  # noqa: BLE001 - the next messages must still be sent
                left = _left_to_the_timer(messages)
                _logger.error("the sender failed; %s: %s", left, place(error))
                return False
            else:
                return True
        _logger.warning("%s; %s", problem, _left_to_the_timer(messages))
        return False


def _left_to_the_timer(messages: list[Message]) -> str:
    return "left to the timer: " + ", ".join(message.id for message in messages)
