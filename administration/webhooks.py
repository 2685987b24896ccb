"""The application's webhook endpoints, as an operator manages them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from administration.errors import Absent, AdministrationError
from administration.events import until_written
from administration.tenants import read_tenant
from delivery.addresses import fault_of
from delivery.attempts import Attempt, attempts_partition
from delivery.endpoints import (
    ACCESS_CHANGED,
    OVERLAP,
    REMEMBER_SECONDS,
    TYPES,
    Endpoint,
    EndpointKey,
    endpoint_document_id,
    find_endpoint,
    list_endpoints,
)
from delivery.message import SENT_AT_ONCE, Delivery, of_notice
from delivery.signing import secrets_of, shown
from directory.access import access_change_id
from directory.condition import EVERYTHING, All, Compare, Condition
from directory.documents import new_resource_id
from directory.notices import Notice, notice_document_id
from directory.reading import every, every_tenant
from directory.store import (
    NEWEST_FIRST,
    Create,
    Delete,
    NotFound,
    Query,
    Replace,
    Store,
    Stored,
)
from directory.ulids import first_ulid
from queues.port import Message, QueueSender
from queues.relay import second
from trust.signing import PARTITION, Keys

MOST_ENDPOINTS = 50
LIVE_KEYS = 2
LABEL_CHARACTERS = 200
ATTEMPTS = 5
SKEW = timedelta(minutes=1)
"""How much the clocks of instances may differ: resending from a moment begins this much earlier."""
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier than anything that is kept."""


class Webhooks:
    """Manages endpoints. `queue` holds the deliveries, `roots` answers the keys that secrets are
    derived from, `subscribe` makes the topic keep changes for webhooks. With `private`, any address
    may be an endpoint. Creating or enabling one takes `known_after` seconds, until every instance
    knows it. Every method raises AdministrationError, StoreError, and where it sends, QueueError.
    """

    def __init__(
        self,
        store: Store,
        queue: QueueSender,
        roots: Callable[[], Awaitable[Keys]],
        now: Callable[[], datetime],
        *,
        private: bool,
        subscribe: Callable[[], Awaitable[None]],
        known_after: float = REMEMBER_SECONDS,
    ) -> None:
        self._store = store
        self._queue = queue
        self._roots = roots
        self._now = now
        self._private = private
        self._subscribe = subscribe
        self._known_after = known_after

    async def create(
        self, url: str, label: str = "", types: Sequence[str] = (), tenants: Sequence[str] = ()
    ) -> Endpoint:
        """Make an endpoint, enabled, for these types and tenants; without any, for all. Everything
        that happens after this has returned is sent to it."""
        if fault := fault_of(url, self._private):
            raise AdministrationError(
                f"A webhook endpoint must have {fault}. On a laptop, MUSTER_WEBHOOK_PRIVATE=true "
                "allows any other."
            )
        if len(label) > LABEL_CHARACTERS:
            raise AdministrationError(f"A label has at most {LABEL_CHARACTERS} characters.")
        if unknown := [kind for kind in types if kind not in TYPES]:
            raise AdministrationError(
                f"There is no type {', '.join(unknown)}: choose from {', '.join(TYPES)}."
            )
        for tenant_id in tenants:
            await read_tenant(self._store, tenant_id)
        if len(await self.listed()) >= MOST_ENDPOINTS:
            raise AdministrationError(
                f"There are {MOST_ENDPOINTS} endpoints, the most there can be."
            )
        now = self._now()
        endpoint = Endpoint(
            tenant_id=PARTITION,
            endpoint_id=new_resource_id(),
            url=url,
            label=label,
            types=tuple(dict.fromkeys(types)),
            tenants=tuple(dict.fromkeys(tenants)),
            keys=(EndpointKey(version=1, created=now),),
            changed=now,
            created=now,
        )
        await self._subscribe()  # subscribe first: a change that finds no endpoint yet is dropped
        await self._store.batch(PARTITION, [Create(endpoint.to_document())])
        await asyncio.sleep(self._known_after)
        return endpoint

    async def listed(self) -> list[Endpoint]:
        """All endpoints, the oldest first."""
        return await list_endpoints(self._store)

    async def read(self, endpoint_id: str) -> Endpoint:
        """One endpoint."""
        known = await find_endpoint(self._store, endpoint_id)
        if known is None:
            raise _no_endpoint(endpoint_id)
        return known[0]

    async def secrets(self, endpoint: Endpoint) -> list[str]:
        """The secrets that sign now, newest first, in the form that a receiver gets."""
        return [shown(one) for one in secrets_of(await self._roots(), endpoint, self._now())]

    async def rotate(self, endpoint_id: str, *, at_once: bool = False) -> Endpoint:
        """Sign with a new secret. The one before signs, too, for one day; not at all with
        `at_once`, for a secret that leaked."""

        def change(found: Endpoint) -> Endpoint:
            live = found.live_keys(self._now())
            if len(live) >= LIVE_KEYS and not at_once:
                raise AdministrationError(
                    f"Endpoint {endpoint_id} has two live secrets already, until "
                    f"{live[-1].ends:%Y-%m-%d %H:%M} UTC. Rotate it after that, or with --at-once."
                )
            return found.rotated(self._now(), timedelta() if at_once else OVERLAP)

        return await self._change(endpoint_id, change)

    async def set_state(self, endpoint_id: str, state: Literal["enabled", "disabled"]) -> Endpoint:
        """Enable or disable an endpoint. What happens while it is disabled is not kept for it;
        `resend_since` sends it."""
        reason = "" if state == "enabled" else "An operator disabled it."
        changed = await self._change(
            endpoint_id,
            lambda found: (
                found if found.state == state else found.turned(state, reason, self._now())
            ),
        )
        await asyncio.sleep(self._known_after)
        return changed

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint. Messages that wait to be sent to it are dropped."""
        await self.read(endpoint_id)
        try:
            await self._store.batch(PARTITION, [Delete(endpoint_document_id(endpoint_id))])
        except NotFound:
            raise _no_endpoint(endpoint_id) from None

    async def test(self, endpoint_id: str) -> str:
        """Send it a message of type `test`, once, even if it is disabled; returns its id."""
        endpoint = await self.read(endpoint_id)
        notice = Notice(
            tenant_id=PARTITION,
            notice_id=new_resource_id(),
            kind="test",
            at=self._now(),
            details={"endpointId": endpoint_id, "label": endpoint.label},
            state="sent",  # to this endpoint alone, below
        )
        await self._store.batch(PARTITION, [Create(notice.to_document())])
        await self._queue.send([of_notice(notice).to(endpoint).message()])
        return notice.notice_id

    async def resend(self, endpoint_id: str, message_id: str) -> None:
        """Send a message once more, whether it arrived or not."""
        endpoint = await self._enabled(endpoint_id)
        for type, document in (
            ("AccessChange", access_change_id(message_id)),
            ("Notice", notice_document_id(message_id)),
        ):
            asked = Query(type, Compare(("id",), "eq", document), limit=1)
            async for stored in every_tenant(self._store, asked):
                tenant_id = stored.document["tenantId"]
                run = new_resource_id()
                await self._queue.send(
                    [Delivery(tenant_id, document, run=run).to(endpoint).message()]
                )
                return
        raise Absent(
            f"There is no message {message_id}, or it is no longer kept.",
            f"webhook log {endpoint_id}",
        )

    async def resend_since(self, endpoint_id: str, since: datetime) -> int:
        """Send everything that happened since then and that the endpoint wants, whether it arrived
        or not; returns the number of messages."""
        endpoint = await self._enabled(endpoint_id)
        run, sent = new_resource_id(), 0
        waiting: list[Message] = []
        begin = max(since, BEFORE_ALL) - SKEW
        ids = Compare(("id",), "ge", access_change_id(first_ulid(begin)))
        for asked in (
            Query("AccessChange", ids, fields=("tenantId",)),
            Query("Notice", Compare(("at",), "ge", second(begin)), fields=("tenantId", "kind")),
        ):
            async for stored in self._about(endpoint, asked):
                tenant_id = stored.document["tenantId"]
                kind = stored.document.get("kind", ACCESS_CHANGED)
                if kind != "test" and endpoint.wants(kind, tenant_id):
                    delivery = Delivery(tenant_id, stored.document["id"], run=run).to(endpoint)
                    waiting.append(delivery.message())
                if len(waiting) == SENT_AT_ONCE:
                    await self._queue.send(waiting)
                    sent += len(waiting)
                    waiting.clear()
        await self._queue.send(waiting)
        return sent + len(waiting)

    async def log(
        self, endpoint_id: str, limit: int, *, failed: bool = False, message_id: str = ""
    ) -> list[Attempt]:
        """The attempts to deliver to an endpoint, newest first; only failed ones, or those of one
        message, where asked."""
        await self.read(endpoint_id)
        conditions: list[Condition] = []
        if message_id:
            conditions.append(Compare(("messageId",), "eq", message_id))
        if failed:
            conditions += [Compare(("outcome",), "ge", "3")]
        where = All(tuple(conditions)) if conditions else EVERYTHING
        asked = Query("WebhookAttempt", where, order=NEWEST_FIRST, limit=limit)
        found: list[Attempt] = []
        async for stored in every(self._store, attempts_partition(endpoint_id), asked):
            found.append(Attempt.from_document(stored.document))
            if len(found) == limit:
                break
        return found

    async def _about(self, endpoint: Endpoint, asked: Query) -> AsyncIterator[Stored]:
        """The documents of a query that may concern an endpoint."""
        if not endpoint.tenants:
            async for stored in every_tenant(self._store, asked):
                yield stored
        for tenant_id in (*endpoint.tenants, PARTITION) if endpoint.tenants else ():
            async for stored in every(self._store, tenant_id, asked):
                yield stored

    async def _enabled(self, endpoint_id: str) -> Endpoint:
        endpoint = await self.read(endpoint_id)
        if endpoint.state == "disabled":
            raise AdministrationError(
                f"Endpoint {endpoint_id} is disabled.", f"webhook enable {endpoint_id}"
            )
        return endpoint

    async def _change(self, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Change an endpoint under its ETag; try again where somebody else changed it meanwhile."""

        async def attempt() -> Endpoint:
            known = await find_endpoint(self._store, endpoint_id)
            if known is None:
                raise _no_endpoint(endpoint_id)
            found, stored = known
            changed = change(found)
            if changed != found:
                await self._store.batch(PARTITION, [Replace(changed.to_document(), stored.etag)])
            return changed

        return await until_written(attempt, f"endpoint {endpoint_id}", ATTEMPTS)


def _no_endpoint(endpoint_id: str) -> Absent:
    return Absent(f"There is no endpoint {endpoint_id}.", "webhook list")
