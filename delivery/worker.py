"""Delivering changes and notices to the application's endpoints.

Every change is one message on the topic, and every notice a row that the timer finds. From either,
one message is made for each endpoint, so that no endpoint waits for another. Each attempt reads the
endpoint and the content, sends it, and stores the next step (the next attempt, or the disabled
endpoint with its notice) before its message is completed. So whenever a process dies, an endpoint
gets every message in the end, perhaps twice, or is disabled with a reason.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import batched

from delivery.attempts import Again, Answer, Attempt, Disable, attempts_partition, next_step
from delivery.endpoints import Endpoint, Endpoints, find_endpoint
from delivery.message import SENT_AT_ONCE, Delivery, Told, of_notice, told_by
from delivery.sending import Poster
from delivery.signing import headers, secrets_of
from delivery.slots import Slots
from directory.access import access_change_id
from directory.condition import Compare
from directory.documents import new_resource_id
from directory.ledger import RACES, retrying
from directory.notices import Notice
from directory.store import (
    Assign,
    Create,
    NotFound,
    Query,
    Replace,
    Store,
    StoreError,
    Throttled,
    Unavailable,
    Update,
    Upsert,
)
from queues.port import Message, QueueSender
from telemetry.observation import current
from trust.rate import RateLimit
from trust.signing import PARTITION, Keys

LATER_SECONDS = 300.0
"""How long a message is put off after the store did not answer in any of its deliveries."""
FULL_SECONDS = 5.0
"""How long a message whose endpoint is busy is put off, at least; up to twice as long."""
LOGGED_PER_SECOND = 10.0
"""Attempts of one endpoint that each process logs at most, on average."""
NOTICES = 500
"""Notices that one run of the timer sends."""
ATTEMPTS = 5

log = logging.getLogger("muster.webhooks")


class Deliveries:
    """Works on the messages of the queue `webhook-deliveries`, which `queue` sends to. `roots`
    answers the keys that secrets are derived from; `chance` a number from 0 to 1."""

    def __init__(
        self,
        store: Store,
        queue: QueueSender,
        poster: Poster,
        roots: Callable[[], Awaitable[Keys]],
        now: Callable[[], datetime],
        *,
        endpoints: Endpoints | None = None,
        slots: Slots | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._queue = queue
        self._poster = poster
        self._roots = roots
        self._now = now
        self._endpoints = endpoints or Endpoints(store)
        self._slots = slots or Slots()
        self._chance = chance
        self._logged = RateLimit(LOGGED_PER_SECOND)

    async def change_published(self, tenant_id: str, change_id: str, *, last: bool) -> None:
        """Handle a change of access from the topic. See `handle`."""
        await self.handle(Delivery(tenant_id, access_change_id(change_id)), last=last)

    async def handle(self, delivery: Delivery, *, last: bool) -> None:
        """Handle one message. Where the store does not answer, raises, so that the message is
        delivered again; at its `last` delivery, sends a new message in its place. Raises
        StoreError, QueueError."""
        current().tenant_id = delivery.partition
        try:
            await (self._deliver if delivery.endpoint else self._fan_out)(delivery)
        except (Throttled, Unavailable):
            if not last:
                raise
            current().outcome = "put off"
            await self._send([delivery.next_turn().message(LATER_SECONDS)])

    async def send_notices(self) -> int:
        """Send every notice that is pending, oldest first, NOTICES at most; returns how many.
        Raises QueueError, StoreError."""
        pending = Query("Notice", Compare(("state",), "eq", "pending"), limit=NOTICES)
        page = await self._store.query_every_tenant(pending)
        notices = [Notice.from_document(stored.document) for stored in page.items]
        for notice in notices:
            await self._send([of_notice(notice).message()])
            sent = Update(notice.document_id, (Assign(("state",), "sent"),))
            try:
                await self._store.batch(notice.tenant_id, [sent])
            except NotFound:
                continue
        return len(notices)

    async def _fan_out(self, delivery: Delivery) -> None:
        kind = delivery.kind
        if not kind:
            found = await self._found(delivery)
            if found is None:
                return
            kind = found.kind
        wanting = await self._endpoints.wanting(kind, delivery.partition)
        await self._send([delivery.to(endpoint).message() for endpoint in wanting])
        current().outcome = f"for {len(wanting)} endpoints"

    async def _deliver(self, delivery: Delivery) -> None:
        known = await find_endpoint(self._store, delivery.endpoint)
        content = await self._found(delivery)
        if known is None or content is None:
            current().outcome = "gone"
            return
        endpoint, _ = known
        if endpoint.state == "disabled" and content.kind != "test":
            current().outcome = "disabled"
            return
        async with self._slots.taken(endpoint.endpoint_id) as free:
            answer = await self._post(endpoint, content) if free else None
        if answer is None:
            current().outcome = "busy"
            pause = FULL_SECONDS * (1 + self._chance())
            await self._send([delivery.next_turn().message(pause)])
            return
        current().outcome = answer.text
        await self._follow_up(delivery, content, answer)

    async def _follow_up(self, delivery: Delivery, content: Told, answer: Answer) -> None:
        """Store the next step first, then log the attempt."""
        next_at = None
        step = next_step(delivery.attempt, answer, self._now(), self._chance())
        if content.kind == "test":  # the person who sent it sees the outcome
            step = None
        match step:
            case Again(pause):
                await self._send([delivery.next_attempt().message(pause)])
                next_at = self._now() + timedelta(seconds=pause)
            case Disable(reason):
                await self._disable(delivery.endpoint, reason)
        await self._log(delivery, content, answer, next_at)

    async def _post(self, endpoint: Endpoint, content: Told) -> Answer:
        now = self._now()
        secrets = secrets_of(await self._roots(), endpoint, now)
        signed = headers(content.message_id, now, content.body, secrets)
        return await self._poster.post(endpoint.url, content.body, signed)

    async def _found(self, delivery: Delivery) -> Told | None:
        try:
            stored = await self._store.read(delivery.partition, delivery.document)
        except NotFound:  # the change or notice has expired
            return None
        return told_by(stored.document)

    async def _disable(self, endpoint_id: str, reason: str) -> None:
        """Disable an endpoint in one batch with a notice, which the timer sends to the others."""

        async def attempt() -> bool:
            known = await find_endpoint(self._store, endpoint_id)
            if known is None or known[0].state == "disabled":
                return False
            endpoint, stored = known
            now = self._now()
            notice = Notice(
                tenant_id=PARTITION,
                notice_id=new_resource_id(),
                kind="endpoint.disabled",
                at=now,
                details={"endpointId": endpoint_id, "label": endpoint.label, "reason": reason},
            )
            disabled = endpoint.turned("disabled", reason, now).to_document()
            await self._store.batch(
                PARTITION, [Replace(disabled, stored.etag), Create(notice.to_document())]
            )
            return True

        try:
            did = await retrying(attempt, attempts=ATTEMPTS)
        except RACES:
            raise Unavailable(
                f"Somebody else keeps changing the webhook endpoint {endpoint_id}."
            ) from None
        if did:
            log.error("the webhook endpoint %s is disabled: %s", endpoint_id, reason)
            current().measures["webhooks_disabled"] = 1

    async def _log(
        self, delivery: Delivery, content: Told, answer: Answer, next_at: datetime | None
    ) -> None:
        """Log an attempt; a failure to log is ignored, because the attempt was made."""
        if self._logged.take(delivery.endpoint):
            return
        attempt = Attempt(
            tenant_id=attempts_partition(delivery.endpoint),
            attempt_id=new_resource_id(),
            endpoint_id=delivery.endpoint,
            message_id=content.message_id,
            kind=content.kind,
            tenant=delivery.partition,
            document=delivery.document,
            number=delivery.attempt,
            at=self._now(),
            outcome=answer.text,
            milliseconds=answer.milliseconds,
            next_at=next_at,
        )
        try:
            await self._store.batch(attempt.tenant_id, [Upsert(attempt.to_document())])
        except StoreError as error:
            log.info("an attempt of a webhook was not logged: %s", type(error).__name__)

    async def _send(self, messages: Sequence[Message]) -> None:
        for some in batched(messages, SENT_AT_ONCE, strict=False):
            await self._queue.send(some)
