"""The bulkhead around single documents: what cannot be read stops only itself.

Every document that comes out of a store passes here, once. One that is not what its type must be
is told in the log, by its id and by the names of what is wrong; a query leaves it out, and a read
by id answers it as Damaged: it exists, and only whoever asks for what it says gets Unreadable.
Documents of types without a model pass as they are.
"""

import logging
import time
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from directory.condition import EVERYTHING, Condition
from directory.documents import MODELS, Model, StoredModel, unreadable
from directory.resources import GroupDocument, UserDocument
from directory.store import (
    Changes,
    Damaged,
    Operation,
    Page,
    Query,
    Store,
    Stored,
    Unavailable,
    Unreadable,
    member,
)

RESOURCES: dict[str, type[StoredModel]] = {"User": UserDocument, "Group": GroupDocument}
TOLD_AGAIN_SECONDS = 60.0
"""How often the log tells of one document; a timer or a list may come to it every second."""
TOLD = 1_000
"""Documents that are remembered as told."""

log = logging.getLogger("muster.store")


class CheckedStore(Store):
    """The store that it is given, with every document checked that is read from it. Why it did not
    answer is told in the log: clients are told no more than that it did not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[tuple[str, str], float] = {}

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """See Store."""
        return self._checked(tenant_id, await _told(self._store.read(tenant_id, document_id)))

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See Store."""
        found = await _told(self._store.read_many(tenant_id, ids))
        return {id: self._checked(tenant_id, stored) for id, stored in found.items()}

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """See Store."""
        return await _told(self._store.batch(tenant_id, operations))

    async def query(self, tenant_id: str, query: Query) -> Page:
        """See Store; what cannot be read is left out, unless the query asks for it."""
        return self._readable(tenant_id, query, await _told(self._store.query(tenant_id, query)))

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """See Store; what cannot be read counts."""
        return await _told(self._store.count(tenant_id, type, where))

    async def query_every_tenant(self, query: Query) -> Page:
        """See Store; what cannot be read is left out, unless the query asks for it."""
        return self._readable(None, query, await _told(self._store.query_every_tenant(query)))

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store. One that cannot be read is there all the same (Damaged): whoever follows the
        feed must know that somebody's access changed."""
        page = await _told(self._store.changes(tenant_id, after, limit))
        return replace(page, items=tuple(self._checked(tenant_id, one) for one in page.items))

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    def _readable(self, tenant_id: str | None, query: Query, page: Page) -> Page:
        found = [self._checked(tenant_id, stored, query) for stored in page.items]
        if query.damaged:
            return Page(tuple(found), page.continuation)
        whole = tuple(stored for stored in found if not isinstance(stored, Damaged))
        return page if len(whole) == len(page.items) else Page(whole, page.continuation)

    def _checked(self, tenant_id: str | None, stored: Stored, query: Query | None = None) -> Stored:
        error = _fault(stored, query)
        if error is None:
            return stored
        self._tell(tenant_id or str(member(stored, "tenantId")), error)
        if isinstance(stored, Damaged):
            return stored
        return Damaged(stored.document, stored.etag, error)

    def _tell(self, tenant_id: str, error: Unreadable) -> None:
        now, key = time.monotonic(), (tenant_id, error.document_id)
        if now - self._told.get(key, -TOLD_AGAIN_SECONDS) < TOLD_AGAIN_SECONDS:
            return
        if len(self._told) >= TOLD:
            self._told.clear()
        self._told[key] = now
        log.error("tenant %s: %s", tenant_id, error)


async def _told[T](answer: Awaitable[T]) -> T:
    """What the store answers. Raises what it raises."""
    try:
        return await answer
    except Unavailable as error:
        log.warning("the store did not answer: %s", error)
        raise


def _fault(stored: Stored, query: Query | None = None) -> Unreadable | None:
    """What is wrong with a document, or with the fields of it that a query asked for."""
    if isinstance(stored, Damaged):
        return stored.error
    document = stored.document
    type = query.type if query else document.get("type")
    fields = None if query is None or query.fields is None else frozenset(query.fields)
    model = _model(type, fields) if isinstance(type, str) else None
    if model is None:
        return None
    try:
        model.model_validate(document)
    except ValidationError as error:
        return unreadable(document["id"], str(type), error)
    return None


@lru_cache(maxsize=256)
def _model(type: str, fields: Collection[str] | None) -> type[BaseModel] | None:
    """What a document of a type must be, or what these fields of it must be."""
    whole = RESOURCES.get(type) or MODELS.get(type)
    if whole is None or fields is None:
        return whole
    found: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in whole.model_fields.items()
        if (field.alias or name) in fields
    }
    return create_model(whole.__name__, __base__=Model, **found) if found else None
