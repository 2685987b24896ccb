"""Sending changes of access to the application: the topic `access-changes`.

A change is stored in the same batch as the access record, together with an outbox row; the row is
removed once the topic has confirmed the change. A change that was not confirmed (the topic did not
answer, the process died) is found by its row and sent again. So an application may receive a change
twice and out of order, but receives every one (docs/application.md).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

import orjson

from directory.access import AccessChange, AccessState, Publication, access_change_id
from directory.condition import Compare
from directory.reading import readable
from directory.store import BATCH_OPERATIONS, Delete, NotFound, Operation, Query, Store
from queues.port import BODY_BYTES, Message, QueueError, QueueSender
from queues.relay import second
from reconciler.recomputation import Committed

RESEND_ROWS = 500
"""Outbox rows that one run of the timer sends; each is for one page of users at most."""

log = logging.getLogger("muster.publishing")


def message_of(change: AccessChange) -> Message:
    """The message about a change: ids, and access before and after; no personal data. Its id is the
    same however often it is sent.

    Where the grants do not fit a message (BODY_BYTES), `before` and `after` come without them and
    `complete` is false: the access API has them.
    """
    properties = properties_of(change)
    room = BODY_BYTES - sum(len(f"{name}{value}".encode()) for name, value in properties.items())
    body = orjson.dumps(told_of(change))
    if len(body) > room:
        body = orjson.dumps(told_of(change, complete=False))
    return Message(change.change_id, body, properties=properties)


def published(body: bytes) -> str:
    """The tenant of a message from the topic. Raises ValueError for a body that is no such
    message."""
    content = orjson.loads(body)
    tenant_id = content.get("tenantId") if isinstance(content, dict) else None
    if not isinstance(tenant_id, str) or not tenant_id:
        raise ValueError("The message needs the string tenantId.")
    return tenant_id


def properties_of(change: AccessChange) -> dict[str, str | bool]:
    """The properties that a subscription of the topic can filter on (docs/application.md)."""
    before, after = _held(change.before), _held(change.after)
    properties: dict[str, str | bool] = {
        "tenant": change.tenant_id,
        "enabled": change.after is not None and change.after.enabled,
    }
    for name, held in (("gained", after - before), ("lost", before - after)):
        if kinds := sorted({kind for kind, _ in held}):
            properties[name] = f"/{'/'.join(kinds)}/"  # no kind has a slash
    return properties


def _held(state: AccessState | None) -> set[tuple[str, str]]:
    return {(grant.kind, grant.key) for grant in state.grants} if state else set()


def told_of(change: AccessChange, *, complete: bool = True) -> dict[str, Any]:
    """A change as JSON; without the grants unless `complete`."""
    return {
        "tenantId": change.tenant_id,
        "userId": change.user_id,
        "version": change.version,
        "at": change.at.isoformat().replace("+00:00", "Z"),
        "eventId": change.event_id,
        "complete": complete,
        "before": _state_body(change.before, complete),
        "after": _state_body(change.after, complete),
    }


def _state_body(state: AccessState | None, complete: bool) -> dict[str, Any] | None:
    if state is None:
        return None
    body: dict[str, Any] = {"enabled": state.enabled, "reasons": state.reasons}
    if complete:
        body["grants"] = [{"kind": grant.kind, "key": grant.key} for grant in state.grants]
    return body


async def leave_to_outbox(_committed: Sequence[Committed]) -> None:
    """Send nothing now: the timer finds the outbox rows (`Publisher.resend_pending`)."""


class Publisher:
    """Sends committed changes of access to the topic. `now` answers an aware UTC time."""

    def __init__(self, topic: QueueSender, store: Store, now: Callable[[], datetime]) -> None:
        self._topic = topic
        self._store = store
        self._now = now

    async def publish(self, committed: Sequence[Committed]) -> None:
        """Send changes that were just committed. Where the topic does not take them, they are left
        to the timer, and reconciling goes on. Raises StoreError."""
        changes = [change for one in committed for change in one.changes]
        try:
            await self._send([one.publication for one in committed], changes)
        except QueueError as error:
            log.warning("%d changes of access are left to the timer: %s", len(changes), error)

    async def resend_pending(self, older_than_seconds: float) -> int:
        """Send the changes of every tenant that are older than this and were never confirmed,
        oldest first, from at most RESEND_ROWS outbox rows. Sent rows are removed, so that the next
        run continues with others. Returns how many changes. Raises QueueError, StoreError."""
        cutoff = self._now() - timedelta(seconds=older_than_seconds)
        older = Compare(("at",), "lt", second(cutoff))
        sent = 0
        page = await self._store.query_every_tenant(Query("Publication", older, limit=RESEND_ROWS))
        for stored in page.items:
            publication = Publication.from_document(stored.document)
            ids = [access_change_id(id) for id in publication.changes]
            found = readable(await self._store.read_many(publication.tenant_id, ids))
            changes = [AccessChange.from_document(found[id].document) for id in ids if id in found]
            await self._send([publication], changes)
            sent += len(changes)
        return sent

    async def _send(
        self, publications: Sequence[Publication], changes: Sequence[AccessChange]
    ) -> None:
        await self._topic.send([message_of(change) for change in changes])
        tenant_id = publications[0].tenant_id
        rows: list[Operation] = [Delete(publication.document_id) for publication in publications]
        for some in batched(rows, BATCH_OPERATIONS, strict=False):
            try:
                await self._store.batch(tenant_id, some)
            except NotFound:  # another process sent some of them, too
                for row in some:
                    with suppress(NotFound):
                        await self._store.batch(tenant_id, [row])
