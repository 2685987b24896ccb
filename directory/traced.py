"""A store whose calls appear in the trace, by name only."""

from collections.abc import Sequence

from directory.condition import EVERYTHING, Condition
from directory.store import Changes, Operation, Page, Query, Store, Stored
from telemetry.traces import span


class TracedStore(Store):
    """Wraps a store, with a span around each call."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """See Store."""
        with span("store read", "client"):
            return await self._store.read(tenant_id, document_id)

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See Store."""
        with span("store read_many", "client", documents=len(ids)):
            return await self._store.read_many(tenant_id, ids)

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """See Store."""
        with span("store batch", "client", operations=len(operations)):
            return await self._store.batch(tenant_id, operations)

    async def query(self, tenant_id: str, query: Query) -> Page:
        """See Store."""
        with span("store query", "client", type=query.type):
            return await self._store.query(tenant_id, query)

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """See Store."""
        with span("store count", "client", type=type):
            return await self._store.count(tenant_id, type, where)

    async def query_every_tenant(self, query: Query) -> Page:
        """See Store."""
        with span("store query_every_tenant", "client", type=query.type):
            return await self._store.query_every_tenant(query)

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store."""
        with span("store changes", "client"):
            return await self._store.changes(tenant_id, after, limit)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()
