"""Reading more than one page or one round trip holds."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from directory.resources import StoredMembership
from directory.store import READ_MANY, Damaged, Page, Query, Store, Stored, Unreadable


def every(store: Store, tenant_id: str, query: Query) -> AsyncIterator[Stored]:
    """All documents of a query, page by page; `query.limit` is the size of a page."""
    return _items(pages(store, tenant_id, query))


def pages(store: Store, tenant_id: str, query: Query) -> AsyncIterator[tuple[Stored, ...]]:
    """The same, a page at a time."""
    return _pages(lambda page: store.query(tenant_id, page), query)


def every_tenant(store: Store, query: Query) -> AsyncIterator[Stored]:
    """All documents of a query in every tenant's partition; for operators and the relay only."""
    return _items(_pages(store.query_every_tenant, query))


class TooManyFound(Exception):
    """There are more documents than the caller is willing to read."""


async def memberships(
    store: Store, tenant_id: str, query: Query, most: float = math.inf
) -> list[StoredMembership]:
    """All memberships of a query. Raises TooManyFound where there are more than `most`, and then
    stops reading."""
    found: list[StoredMembership] = []
    async for stored in every(store, tenant_id, query):
        if len(found) >= most:
            raise TooManyFound
        found.append(StoredMembership.of(stored))
    return found


async def _items(pages: AsyncIterator[tuple[Stored, ...]]) -> AsyncIterator[Stored]:
    async for page in pages:
        for item in page:
            yield item


async def _pages(
    read: Callable[[Query], Awaitable[Page]], query: Query
) -> AsyncIterator[tuple[Stored, ...]]:
    while True:
        page = await read(query)
        yield page.items
        if page.continuation is None:
            return
        query = replace(query, continuation=page.continuation, offset=0)


def readable(found: Mapping[str, Stored]) -> dict[str, Stored]:
    """Without unreadable documents: for lists, and where only names are looked up."""
    return {id: stored for id, stored in found.items() if not isinstance(stored, Damaged)}


async def each_readable[T](
    ids: Sequence[str], work: Callable[[Sequence[str]], Awaitable[T]]
) -> tuple[list[T], dict[str, Unreadable]]:
    """Do the work on all ids; where a document is unreadable, on each half, down to single ids.
    Returns the answers, and the ids that have none with their error."""
    if not ids:
        return [], {}
    try:
        return [await work(ids)], {}
    except Unreadable as error:
        if len(ids) == 1:
            return [], {ids[0]: error}
    middle = len(ids) // 2
    first, these = await each_readable(ids[:middle], work)
    second, those = await each_readable(ids[middle:], work)
    return first + second, these | those


async def read_all(store: Store, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
    """Any number of documents by id; missing ones are left out."""
    found: dict[str, Stored] = {}
    async for some in reading_all(store, tenant_id, ids):
        found |= some
    return found


async def reading_all(
    store: Store, tenant_id: str, ids: Sequence[str]
) -> AsyncIterator[dict[str, Stored]]:
    """The same, one round trip at a time, for a caller that keeps little of each document."""
    for start in range(0, len(ids), READ_MANY):
        yield await store.read_many(tenant_id, ids[start : start + READ_MANY])
