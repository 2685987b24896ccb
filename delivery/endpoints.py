"""The endpoints that webhooks are sent to: documents of the deployment."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from directory.documents import Model, StoredModel
from directory.notices import NOTICE_TYPES
from directory.reading import every
from directory.store import NotFound, Query, Store, Stored
from trust.signing import PARTITION

ACCESS_CHANGED = "access.changed"
TYPES = (ACCESS_CHANGED, *NOTICE_TYPES)
"""The types of messages."""
OVERLAP = timedelta(hours=24)
"""How long a replaced key still signs beside the new one."""
REMEMBER_SECONDS = 2.0


class EndpointKey(Model):
    """A version of an endpoint's key. The secret is derived (`delivery.signing`), not stored."""

    version: int
    created: datetime
    ends: datetime | None = None


class Endpoint(StoredModel):
    """A URL of the application that messages are posted to."""

    document_type = "WebhookEndpoint"

    endpoint_id: str
    url: str
    label: str = ""
    types: tuple[str, ...] = ()
    """The types of messages that it gets; empty: all."""
    tenants: tuple[str, ...] = ()
    """The tenants whose messages it gets; empty: all."""
    keys: tuple[EndpointKey, ...]
    """The newest last."""
    state: Literal["enabled", "disabled"] = "enabled"
    reason: str = ""
    """Why it is disabled."""
    changed: datetime
    """When it was enabled or disabled."""
    created: datetime

    @property
    def document_id(self) -> str:
        return endpoint_document_id(self.endpoint_id)

    def wants(self, kind: str, tenant_id: str) -> bool:
        """Whether the endpoint gets messages of a type about a tenant; messages about the
        deployment concern every tenant."""
        of_tenant = not self.tenants or tenant_id in (*self.tenants, PARTITION)
        return of_tenant and (not self.types or kind in self.types)

    def live_keys(self, now: datetime) -> tuple[EndpointKey, ...]:
        """The keys that sign now, the newest first."""
        return tuple(key for key in reversed(self.keys) if key.ends is None or key.ends > now)

    def rotated(self, now: datetime, overlap: timedelta) -> "Endpoint":
        """The endpoint with a new key; older keys end after `overlap` at the latest."""
        ends = now + overlap
        kept = [
            key.model_copy(update={"ends": min(key.ends or ends, ends)})
            for key in self.live_keys(now)[::-1]
            if overlap
        ]
        new = EndpointKey(version=self.keys[-1].version + 1, created=now)
        return self.model_copy(update={"keys": (*kept, new)})

    def turned(
        self, state: Literal["enabled", "disabled"], reason: str, now: datetime
    ) -> "Endpoint":
        """The endpoint enabled or disabled."""
        return self.model_copy(update={"state": state, "reason": reason, "changed": now})


def endpoint_document_id(endpoint_id: str) -> str:
    """Document id of an endpoint."""
    return f"webhook:{endpoint_id}"


async def find_endpoint(store: Store, endpoint_id: str) -> tuple[Endpoint, Stored] | None:
    """An endpoint as it is stored now; None where there is none. Raises StoreError."""
    try:
        stored = await store.read(PARTITION, endpoint_document_id(endpoint_id))
    except (NotFound, ValueError):  # ValueError: no document can have such an id
        return None
    return Endpoint.from_document(stored.document), stored


async def list_endpoints(store: Store) -> list[Endpoint]:
    """All of them, the oldest first. Raises StoreError."""
    found = every(store, PARTITION, Query("WebhookEndpoint"))
    return [Endpoint.from_document(stored.document) async for stored in found]


class Endpoints:
    """All endpoints, cached for `remember` seconds, so that a change of access does not read them
    each time. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        store: Store,
        remember: float = REMEMBER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._remember = remember
        self._clock = clock
        self._known: tuple[float, list[Endpoint]] | None = None
        """When the cache expires, and its content."""

    async def wanting(self, kind: str, tenant_id: str) -> list[Endpoint]:
        """The enabled endpoints that get such a message. Raises StoreError."""
        if self._known is None or self._clock() >= self._known[0]:
            until = self._clock() + self._remember
            self._known = until, await list_endpoints(self._store)
        return [
            each
            for each in self._known[1]
            if each.state == "enabled" and each.wants(kind, tenant_id)
        ]
