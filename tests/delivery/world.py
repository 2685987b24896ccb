"""A deployment's part that sends webhooks: real store, real queues, a clock that jumps from message
to message, receivers that do as they are told, and a death at any call."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from administration.tenants import new_tenant
from administration.webhooks import Webhooks
from delivery.attempts import Answer
from delivery.endpoints import Endpoint, Endpoints
from delivery.message import Delivery
from delivery.worker import Deliveries
from directory.access import AccessChange, AccessState, Grant, GrantSource
from directory.checked import CheckedStore
from directory.documents import new_resource_id
from directory.store import Create, Store, StoreError, Upsert
from queues.port import WEBHOOK_DELIVERIES, WEBHOOKS, Message, QueueError
from queues.sqlite.queue import ReceivedMessage, SqliteQueue
from queues.sqlite.topic import SqliteTopic
from reconciler.publishing import message_of, published
from tests.reconciler.places import PLACES
from tests.reconciler.world import Hooked

TENANT = "contoso"
MAX_DELIVERIES = 10
ROOT = bytes(32)
BY_HAND = GrantSource(type="manual")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """At which calls of store, queue and receivers the process dies: before the call, or after it
    was carried out."""

    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()
    calls: int = 0

    async def begin(self, *_: Any) -> None:
        self.calls += 1
        if self.calls in self.before:
            raise Killed

    async def end(self, *_: Any) -> None:
        if self.calls in self.after:
            raise Killed


@dataclass
class Receivers:
    """By URL: what the next requests get, then for ever the last of it; and what came."""

    fate: Fate
    replies: dict[str, list[Answer]] = field(default_factory=dict)
    received: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The ids of the messages that they took."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        await self.fate.begin()
        replies = self.replies.get(url, [])
        answer = (replies.pop(0) if len(replies) > 1 else replies[0]) if replies else Answer(204)
        self.requests[url] += 1
        if answer.succeeded:
            self.received[url].append(headers["webhook-id"])
            self.bodies.append(orjson.loads(body))
        await self.fate.end()
        return answer


@dataclass
class Sender:
    """The queue of deliveries, as the process that may die sends to it."""

    queue: SqliteQueue
    fate: Fate

    async def send(self, messages: Sequence[Message]) -> None:
        await self.fate.begin()
        await self.queue.send(messages)
        await self.fate.end()

    async def close(self) -> None:
        """It is the world's."""


@dataclass
class World:
    """Everything. `webhooks` is the operator, who does not die."""

    path: Path
    store: Store
    topic: SqliteTopic
    subscription: SqliteQueue
    queue: SqliteQueue
    webhooks: Webhooks
    receivers: Receivers
    fate: Fate
    clock: list[datetime]
    deliveries: Deliveries = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def now(self) -> datetime:
        return self.clock[0]

    def start(self) -> None:
        """A new process."""
        store = Hooked(self.store, self.fate.begin, self.fate.end)
        self.deliveries = Deliveries(
            store,
            Sender(self.queue, self.fate),
            self.receivers,
            roots,
            self.now,
            endpoints=Endpoints(store, remember=0),
            chance=lambda: 0.5,
        )

    async def change(self, tenant: str = TENANT, keys: Sequence[str] = ("a",)) -> str:
        """Somebody's access changes, and the topic has it; the id."""
        grants = tuple(Grant(kind="role", key=key, sources=(BY_HAND,)) for key in keys)
        change = AccessChange(
            tenant_id=tenant,
            change_id=new_resource_id(),
            user_id="u",
            version=1,
            at=self.now(),
            event_id="e",
            after=AccessState(enabled=True, grants=grants),
            ttl=1000 * 86_400,
        )
        await self.store.batch(tenant, [Create(change.to_document())])
        await self.topic.send([message_of(change)])
        return change.change_id

    async def settle(self) -> None:
        """Work, with the timer now and then, until nothing is left; time passes where all wait."""
        for _ in range(2000):
            worked = await self._work(self.subscription, self._changed)
            worked |= await self._work(self.queue, self._handled)
            if worked:
                continue
            try:
                sent = await self.deliveries.send_notices()
            except Killed:
                self.start()
                continue
            if sent:
                continue
            due = self._next_due()
            if due is None:
                return
            self.clock[0] = max(self.now(), datetime.fromtimestamp(due + 0.001, UTC))
        raise AssertionError("It does not come to an end.")

    async def _work(self, queue: SqliteQueue, handle: Callable[[ReceivedMessage], Any]) -> bool:
        messages = await queue.receive(4)
        for message in messages:
            try:
                await handle(message)
            except Killed:  # its messages come again when their locks have expired
                self.start()
                return True
            except (StoreError, QueueError):
                await queue.abandon(message)
            else:
                await queue.complete(message)
        return bool(messages)

    async def _changed(self, message: ReceivedMessage) -> None:
        last = message.delivery_count >= MAX_DELIVERIES
        await self.deliveries.change_published(published(message.body), message.id, last=last)

    async def _handled(self, message: ReceivedMessage) -> None:
        last = message.delivery_count >= MAX_DELIVERIES
        await self.deliveries.handle(Delivery.parse(message.body), last=last)

    def _next_due(self) -> float | None:
        with sqlite3.connect(self.path) as db:
            (due,) = db.execute(
                "SELECT min(max(enqueued_at, locked_until)) FROM queue_message"
            ).fetchone()
        db.close()
        return float(due) if due is not None else None

    async def endpoint(self, name: str, *replies: Answer, **options: Any) -> Endpoint:
        """An endpoint at https://name.example/."""
        url = f"https://{name}.example/"
        self.receivers.replies[url] = list(replies)
        for tenant_id in options.get("tenants", ()):
            tenant = new_tenant(tenant_id, tenant_id, "eu").to_document()
            await self.store.batch(tenant_id, [Upsert(tenant)])
        return await self.webhooks.create(url, name, **options)

    def took(self, endpoint: Endpoint) -> list[str]:
        """The ids of the messages that an endpoint took."""
        return self.receivers.received[endpoint.url]


async def roots() -> tuple[bytes, ...]:
    """What secrets are derived from."""
    return (ROOT,)


@asynccontextmanager
async def world(
    folder: Path, fate: Fate | None = None, place: str = "sqlite"
) -> AsyncIterator[World]:
    """With its queues in `folder`, and a store in one of PLACES."""
    fate = fate or Fate()
    clock = [datetime.now(UTC)]
    path = folder / "queues.sqlite"

    def seconds() -> float:
        return clock[0].timestamp()

    topic = SqliteTopic(path, now=seconds)
    queue = SqliteQueue(path, WEBHOOK_DELIVERIES, now=seconds)
    subscription = await topic.subscribe(WEBHOOKS)

    async def subscribed() -> None:
        """It is, above."""

    try:
        async with PLACES[place]() as opened:
            store = CheckedStore(opened.store)
            webhooks = Webhooks(
                store,
                queue,
                roots,
                lambda: clock[0],
                private=False,
                subscribe=subscribed,
                known_after=0,
            )
            receivers = Receivers(fate)
            yield World(path, store, topic, subscription, queue, webhooks, receivers, fate, clock)
    finally:
        for part in (subscription, queue, topic):
            await part.close()


DAY = timedelta(days=1)
