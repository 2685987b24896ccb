"""The Cosmos DB store: the store port on Azure Cosmos DB for NoSQL, through its async SDK.

One container with the partition key `/tenantId`, TTL on (default -1) and the indexing policy of
`directory.cosmos.indexing`; it is made by Bicep, never by this module. The account has Strong
consistency and a single write region.

The SDK sends a request again when the connection broke, whether or not the service had executed
it: fine for reads, but it doubles writes. So its retries are off, except for 429 (nothing was
executed). This module repeats reads, and those batches that are safe to repeat
(`Batch.repeatable`).
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from aiohttp import ClientConnectorError
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from directory.condition import EVERYTHING, Condition
from directory.cosmos.batch import Batch, unquoted
from directory.cosmos.feed import Answered, read_changes
from directory.cosmos.pages import continuation, in_order, place, resume
from directory.cosmos.query import Select, select_count, select_keys, select_page
from directory.operations import is_document_id
from directory.store import (
    NEWEST_FIRST,
    READ_MANY,
    Changes,
    Document,
    NotFound,
    Operation,
    Page,
    Query,
    Stored,
    StoreError,
    Throttled,
    TooLarge,
    Unavailable,
)

type Meter = Callable[[str, float], None]
"""Called with each answer of the service: the operation (`read`, `read_many`, `batch`, `query`) and
its cost in request units."""
type _Hook = Callable[[Mapping[str, Any], Any], None]

CONNECT_SECONDS = 3
READ_SECONDS = 8
"""The service gives up on a request after 5 seconds."""
THROTTLE_RETRIES = 9
THROTTLE_SECONDS = 2
"""How long the SDK waits for capacity before Throttled is raised; on a query about four times as
long, as its retries of queries are nested."""
ROWS_PER_ANSWER = 1_000
"""Rows of the feed that one answer of the service may hold."""
PAUSES = (0.1, 0.5)
"""Seconds before the second and the third attempt."""

_SYSTEM = ("_rid", "_self", "_etag", "_attachments", "_ts")
_CHARGE = "x-ms-request-charge"
_RETRY_AFTER = "x-ms-retry-after-ms"
_OWNER_NOT_FOUND = 1003


class CosmosStore:
    """`directory.store.Store` in a container of the account at `endpoint`.

    `credential` is the account's key, or a token credential of azure-identity (which the caller
    closes). The one client of the process connects at the first use; all use is on one event loop.

    `pauses` are the seconds before the second attempt, the third and so on; `read_seconds` is how
    long an answer is waited for. While the service asks for patience, the SDK repeats a request up
    to `throttle_retries` times, within `throttle_seconds`.
    """

    def __init__(
        self,
        endpoint: str,
        credential: str | AsyncTokenCredential,
        database: str = "muster",
        container: str = "directory",
        *,
        meter: Meter = lambda _what, _charge: None,
        pauses: Sequence[float] = PAUSES,
        read_seconds: float = READ_SECONDS,
        throttle_retries: int = THROTTLE_RETRIES,
        throttle_seconds: float = THROTTLE_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._credential = credential
        self._database = database
        self._name = container
        self._meter = meter
        self._pauses = pauses
        self._read_seconds = read_seconds
        self._throttle_retries = throttle_retries
        self._throttle_seconds = throttle_seconds
        self._connecting = asyncio.Lock()
        self._client: CosmosClient | None = None
        self._container: ContainerProxy | None = None

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """Point read. Raises NotFound, Throttled, Unavailable."""
        if not is_document_id(document_id):
            raise NotFound(document_id)

        async def attempt(container: ContainerProxy) -> Document:
            hook = self._hook("read")
            try:
                return await container.read_item(document_id, tenant_id, response_hook=hook)
            except CosmosResourceNotFoundError as error:
                if error.sub_status == _OWNER_NOT_FOUND:
                    raise
                hook(error.headers or {}, None)
                raise NotFound(document_id) from None

        return _stored(await self._repeat(attempt))

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """Up to READ_MANY documents by id; missing ones are left out. Raises ValueError for more,
        Throttled, Unavailable."""
        if len(ids) > READ_MANY:
            raise ValueError(f"{len(ids)} ids; at most {READ_MANY} can be read at once.")
        found = await self._read_items([(id, tenant_id) for id in ids])
        return {id: stored for (id, _), stored in found.items()}

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """All or nothing; see the port. Raises Throttled, and Unavailable where the batch is not
        known to be written.

        After a lost answer the event in the batch shows whether the batch was written; without an
        event, it counts as written where the stored documents are exactly as it leaves them. The
        answer is then the same as if nothing had been lost, except that documents which others
        changed since, and partial updates, get the ETag `directory.cosmos.batch.UNKNOWN_ETAG`.
        """
        batch = Batch.of(tenant_id, operations)
        if not batch.steps:
            return []
        lost = False
        refusal: Exception
        for pause in (*self._pauses, None):
            try:
                return await self._execute(tenant_id, batch)
            except _Unanswered as fault:
                lost = lost or fault.perhaps_executed
                refusal = Unavailable(str(fault))
                if pause is not None and (batch.repeatable or not lost):
                    await asyncio.sleep(pause)
                    continue
            except (StoreError, ValueError) as error:
                refusal = error
            break
        if not lost:
            raise refusal
        if batch.proof is not None and not await self._exists(tenant_id, batch.proof):
            raise refusal
        found = await self.read_many(tenant_id, [*{step.id: None for step in batch.steps}])
        if batch.proof is None and not batch.is_shown_by(found):
            raise Unavailable(f"An answer was lost, and then: {refusal}") from refusal
        return batch.etags_of_found(found)

    async def query(self, tenant_id: str, query: Query) -> Page:
        """One page. Takes one query in the order of `id`, ascending or descending; in any other
        order one for the sort keys of everything selected, and one for the page. Raises
        BadContinuation, ValueError, Throttled, Unavailable."""
        if query.order not in ((), NEWEST_FIRST):
            return await self._sorted_page(tenant_id, query)
        _check(query)
        after = resume(query)
        rows = await self._rows(select_page(query, after[1] if after else None), tenant_id)
        items = tuple(map(_stored, rows[: query.limit]))
        if not items or len(rows) <= query.limit:
            return Page(items)
        last = items[-1].document["id"]
        return Page(items, continuation(query, ((last,) * len(query.order), last, tenant_id)))

    async def query_every_tenant(self, query: Query) -> Page:
        """One page over all tenants, ordered by `order`, `id` and tenant. Reads the sort keys of
        everything selected, so it is for small sets, such as overdue events. Raises as `query`."""
        return await self._sorted_page(None, query)

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """See Store. Takes one query; over all tenants one for the places, or more where there are
        many, and one for the changes themselves."""
        return await read_changes(_FeedQueries(self), tenant_id, after, limit)

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """How many documents satisfy the condition. Raises ValueError, Throttled, Unavailable."""
        return int(sum(await self._rows(select_count(type, where), tenant_id)))

    async def close(self) -> None:
        """Release connections; the store is not used after it."""
        client, self._client, self._container = self._client, None, None
        if client is not None:
            await client.close()

    async def _sorted_page(self, tenant_id: str | None, query: Query) -> Page:
        _check(query)
        resume(query)  # refuses a bad continuation before anything is read
        rows = await self._rows(select_keys(query), tenant_id)
        places = in_order(query, (place(query, row) for row in rows))
        keys = [(id, tenant) for _, id, tenant in places[: query.limit]]
        found: dict[tuple[str, str], Stored] = {}
        for start in range(0, len(keys), READ_MANY):
            found |= await self._read_items(keys[start : start + READ_MANY])
        names = query.fields
        if names is not None:
            names = ("id", *([] if tenant_id is not None else ["tenantId"]), *names)
        items = tuple(_projected(found[key], names) for key in keys if key in found)
        more = len(places) > query.limit > 0
        return Page(items, continuation(query, places[query.limit - 1]) if more else None)

    async def _rows(self, select: Select, tenant_id: str | None) -> list[Any]:
        """All rows of a query, in one tenant's partition or in every one."""

        async def attempt(container: ContainerProxy) -> list[Any]:
            scope: dict[str, Any] = {} if tenant_id is None else {"partition_key": tenant_id}
            rows = container.query_items(
                select.sql,
                parameters=select.parameters,
                response_hook=self._hook("query"),
                **scope,
            )
            return [row async for row in rows]

        return await self._repeat(attempt)

    async def _read_items(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
        """Documents by (id, tenant); missing ones are left out."""
        valid = [key for key in dict.fromkeys(keys) if is_document_id(key[0])]
        if not valid:
            return {}

        async def attempt(container: ContainerProxy) -> list[Document]:
            return list(await container.read_items(valid, response_hook=self._hook("read_many")))

        documents = await self._repeat(attempt)
        return {(d["id"], d["tenantId"]): _stored(d) for d in documents}

    async def _execute(self, tenant_id: str, batch: Batch) -> list[str | None]:
        """One attempt. Raises _Unanswered, or the service's refusal of the batch."""
        try:
            async with self._translated():
                container = await self._connected()
                results = await container.execute_item_batch(
                    batch.requests(), tenant_id, response_hook=self._hook("batch")
                )
                return batch.etags(results)
        except CosmosBatchOperationError as error:
            index, status = error.error_index or 0, error.status_code or 0
            self._hook("batch")(error.headers or {}, None)
            response = (error.operation_responses or [{}])[index]
            raise (
                batch.failure(index, status) or _translation(status, response, self._endpoint)
            ) from None

    async def _exists(self, tenant_id: str, id: str) -> bool:
        try:
            await self.read(tenant_id, id)
        except NotFound:
            return False
        return True

    async def _repeat[Answer](
        self, attempt: Callable[[ContainerProxy], Awaitable[Answer]]
    ) -> Answer:
        """Make a request that is safe to execute more than once."""
        for pause in (*self._pauses, None):
            try:
                async with self._translated():
                    return await attempt(await self._connected())
            except _Unanswered as fault:
                if pause is None:
                    raise Unavailable(str(fault)) from fault
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt either answers or raises")

    async def _connected(self) -> ContainerProxy:
        if self._container is None:
            async with self._connecting:
                if self._container is None:
                    try:
                        async with self._translated():
                            self._container = await self._connect()
                    except _Unanswered as fault:  # the request itself was not sent
                        raise _Unanswered(str(fault), perhaps_executed=False) from fault
        return self._container

    async def _connect(self) -> ContainerProxy:
        logging.getLogger("azure").setLevel(logging.WARNING)
        client = CosmosClient(
            self._endpoint,
            self._credential,
            # Reading the proxy settings of the environment doubles the cost of a request.
            transport=AioHttpTransport(use_env_settings=False),
            enable_endpoint_discovery=False,
            enable_compact_utf8_item_writes=True,
            no_response_on_write=True,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=self._read_seconds,
            retry_total=0,
            retry_throttle_total=self._throttle_retries,
            retry_throttle_backoff_max=self._throttle_seconds,
        )
        try:
            await client.__aenter__()
            container = client.get_database_client(self._database).get_container_client(self._name)
            await container.read()
        except CosmosResourceNotFoundError:
            await client.close()
            raise Unavailable(
                f"{self._endpoint} has no container {self._database}/{self._name}."
            ) from None
        except BaseException:
            await client.close()
            raise
        self._client = client
        return container

    def _hook(self, what: str) -> _Hook:
        return lambda headers, _: self._meter(what, float(headers.get(_CHARGE, 0)))

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Raise the SDK's errors as the port's, and as _Unanswered where the request can be tried
        again; errors of operations in a batch pass as they are."""
        try:
            yield
        except CosmosBatchOperationError:
            raise
        except ClientAuthenticationError as error:
            raise Unavailable(f"{self._endpoint}: no access token. {error.message}") from error
        except CosmosHttpResponseError as error:
            status, headers = error.status_code or 0, error.headers or {}
            raise _translation(status, headers, self._endpoint) from error
        except AzureError as error:
            raise _Unanswered(f"{self._endpoint}: {error}", not _is_unsent(error)) from error


class _FeedQueries:
    """`directory.cosmos.feed.FeedQueries` on this store."""

    def __init__(self, store: CosmosStore) -> None:
        self._store = store

    async def answered(self, select: Select, tenant_id: str | None, most: int) -> Answered:
        """See directory.cosmos.feed."""

        async def attempt(container: ContainerProxy) -> Answered:
            begun, counts, at = time.monotonic(), [], None
            charge = self._store._hook("query")

            def hook(headers: Mapping[str, Any], answer: Any) -> None:
                nonlocal at
                charge(headers, answer)
                counts.append(len(answer["Documents"]))
                if at is None and (date := headers.get("date")):
                    # The query may have run at any time since it was sent: the earliest counts.
                    moment = parsedate_to_datetime(date).timestamp()
                    at = math.floor(moment - (time.monotonic() - begun))

            scope: dict[str, Any] = {} if tenant_id is None else {"partition_key": tenant_id}
            found = container.query_items(
                select.sql,
                parameters=select.parameters,
                max_item_count=min(most, ROWS_PER_ANSWER),
                response_hook=hook,
                **scope,
            )
            rows: list[Any] = []
            async for row in found:
                if len(rows) == most:
                    return Answered(rows, counts[0], at, whole=False)
                rows.append(row)
            first = counts[0] if counts else 0  # none where that answer was empty
            return Answered(rows, first, at, whole=True)

        return await self._store._repeat(attempt)

    async def items(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
        """See directory.cosmos.feed."""
        return await self._store._read_items(keys)

    def stored(self, row: Mapping[str, Any]) -> Stored:
        """See directory.cosmos.feed."""
        return _stored(row)


class _Unanswered(Exception):
    """No answer shows what became of the request."""

    def __init__(self, message: str, perhaps_executed: bool) -> None:
        super().__init__(message)
        self.perhaps_executed = perhaps_executed


def _translation(status: int, details: Mapping[str, Any], where: str) -> Exception:
    match status:
        case 400:
            return ValueError("Cosmos DB refuses the request.")
        case 413:
            return TooLarge("The request is larger than Cosmos DB takes.")
        case 429:
            waiting = details.get(_RETRY_AFTER, details.get("retryAfterMilliseconds"))
            return Throttled(float(waiting or 1000) / 1000)
        case 410 | 449:  # the partition moves, a write to the same document is under way
            return _Unanswered(f"{where} answered {status}.", False)
        case _ if status == 408 or status >= 500:
            return _Unanswered(f"{where} answered {status}.", True)
    return Unavailable(f"{where} answered {status}.")


def _is_unsent(error: AzureError) -> bool:
    """Whether no connection was made. aiohttp's transport raises ServiceRequestError also for
    connections that broke later."""
    return isinstance(error, ServiceRequestTimeoutError) or (
        isinstance(error, ServiceRequestError)
        and isinstance(error.inner_exception, ClientConnectorError)
    )


def _check(query: Query) -> None:
    if query.limit < 0 or query.offset < 0:
        raise ValueError("limit and offset cannot be negative.")


def _stored(found: Mapping[str, Any]) -> Stored:
    document = {key: value for key, value in found.items() if key not in _SYSTEM}
    return Stored(document, unquoted(found["_etag"]))


def _projected(stored: Stored, names: Sequence[str] | None) -> Stored:
    if names is None:
        return stored
    document = stored.document
    return Stored({name: document[name] for name in names if name in document}, stored.etag)
