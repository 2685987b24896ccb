"""Paging by index: where the next page of a query begins.

A page by index (RFC 7644 section 3.4.2.4) would read all results before it, and skip as many as
were deleted since the page before. So each page stores the continuation at its end, and the request
for the next page continues there: each page costs the same, and no remaining resource is missed.
The end of a page is found by connection and query. Two clients that send the same query over one
connection at the same time share it; at worst, that is like counting.
"""

import hashlib
import logging
from collections.abc import Iterable

from directory.documents import StoredModel
from directory.notes import Notes
from directory.store import NotFound, Store, Unreadable
from scim.exchange import Request
from web.cursor import Cursor

KEPT_SECONDS = 600

log = logging.getLogger("muster.scim")


class PageEnd(StoredModel):
    """The continuation before a start index, and the number of results at the first page."""

    document_type = "PageEnd"

    walk_id: str
    continuation: str
    total: int
    ttl: int = KEPT_SECONDS

    @property
    def document_id(self) -> str:
        return page_end_id(self.walk_id)


def page_end_id(walk_id: str) -> str:
    """Document id of the end of a page."""
    return f"page-end:{walk_id}"


class Walks:
    """Stores the ends of pages of one resource type."""

    def __init__(self, store: Store, resource_type: str) -> None:
        self._store = store
        self._type = resource_type
        self._notes = Notes(store, log, "the end of a page was not kept")

    async def begin_of(self, request: Request, question: str, start_index: int) -> Cursor | None:
        """Where the page at this index begins, if the page before it was answered within
        KEPT_SECONDS. Raises StoreError."""
        if start_index == 1:
            return None
        document_id = page_end_id(self._id(request, question, start_index))
        try:
            stored = await self._store.read(request.tenant.tenant_id, document_id)
            kept = PageEnd.from_document(stored.document)
        except (NotFound, Unreadable):
            return None
        return Cursor(kept.continuation, kept.total)

    async def ended(
        self, request: Request, question: str, following: Iterable[int], at: Cursor
    ) -> None:
        """Store the end of a page for the start indexes that may follow it. If that fails, the next
        page is counted from the first result."""
        ends = [
            PageEnd(
                tenant_id=request.tenant.tenant_id,
                walk_id=self._id(request, question, start_index),
                continuation=at.continuation,
                total=at.total,
            )
            for start_index in following
        ]
        await self._notes.write(*ends)

    def _id(self, request: Request, question: str, start_index: int) -> str:
        about = [request.caller.connection_id, self._type, question, start_index]
        return hashlib.sha256(repr(about).encode("utf-8", "surrogatepass")).hexdigest()[:32]
