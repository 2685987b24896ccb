"""The bulkhead around single documents: an unreadable document affects nothing but itself.

Every document that is read from a store is checked here, once. If it does not fit the model of its
type, the log gets its id and the names of the wrong fields. A query leaves it out; a read by id
returns it as Damaged: it exists, and reading its content raises Unreadable. Documents of types
without a model pass as they are.
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
LOG_AGAIN_SECONDS = 60.0
"""How often one document is logged; a timer or a list may read it every second."""
LOGGED = 1_000
"""Documents that are remembered as logged."""

log = logging.getLogger("muster.store")


class CheckedStore(Store):
    """Wraps a store and checks every document that is read from it. Why the store did not answer
    goes to the log: clients only learn that it did not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logged: dict[tuple[str, str], float] = {}

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """See Store."""
        return self._checked(tenant_id, await _logged(self._store.read(tenant_id, document_id)))

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See Store."""
        found = await _logged(self._store.read_many(tenant_id, ids))
        return {id: self._checked(tenant_id, stored) for id, stored in found.items()}

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """See Store."""
        return await _logged(self._store.batch(tenant_id, operations))

    async def query(self, tenant_id: str, query: Query) -> Page:
        """See Store; unreadable documents are left out, unless the query asks for them."""
        return self._readable(tenant_id, query, await _logged(self._store.query(tenant_id, query)))

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """See Store; unreadable documents count."""
        return await _logged(self._store.count(tenant_id, type, where))

    async def query_every_tenant(self, query: Query) -> Page:
        """See Store; unreadable documents are left out, unless the query asks for them."""
        return self._readable(None, query, await _logged(self._store.query_every_tenant(query)))

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store. An unreadable change is included (Damaged): a reader of the feed must know
        that somebody's access changed."""
        page = await _logged(self._store.changes(tenant_id, after, limit))
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
        self._log(tenant_id or str(member(stored, "tenantId")), error)
        if isinstance(stored, Damaged):
            return stored
        return Damaged(stored.document, stored.etag, error)

    def _log(self, tenant_id: str, error: Unreadable) -> None:
        now, key = time.monotonic(), (tenant_id, error.document_id)
        if now - self._logged.get(key, -LOG_AGAIN_SECONDS) < LOG_AGAIN_SECONDS:
            return
        if len(self._logged) >= LOGGED:
            self._logged.clear()
        self._logged[key] = now
        log.error("tenant %s: %s", tenant_id, error)


async def _logged[T](answer: Awaitable[T]) -> T:
    """What the store answers; its failure to answer is logged. Raises what the store raises."""
    try:
        return await answer
    except Unavailable as error:
        log.warning("the store did not answer: %s", error)
        raise


def _fault(stored: Stored, query: Query | None = None) -> Unreadable | None:
    """The error in a document, or in the fields of it that a query reads; None: it is valid."""
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
    """The model of a type's documents, or of these fields of them."""
    whole = RESOURCES.get(type) or MODELS.get(type)
    if whole is None or fields is None:
        return whole
    found: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in whole.model_fields.items()
        if (field.alias or name) in fields
    }
    return create_model(whole.__name__, __base__=Model, **found) if found else None
