"""Azure Cosmos DB's REST API on loopback, for the unmodified SDK
(https://learn.microsoft.com/rest/api/cosmos-db/).

One account with the database `muster` and the container `directory`. What it does not know it
refuses with 405, which no client takes for an answer. Signatures are not checked, but must be
there. Request units are made up; nothing may rely on their amount.
"""

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import unquote

from aiohttp import web

from tests.emulators.cosmos_container import RID, Container, Refused
from tests.emulators.cosmos_sql import UNDEFINED, Statement, Unsupported, parse

DATABASE, CONTAINER = "muster", "directory"
REQUEST_BYTES = 2 * 1024 * 1024
PAGE_ITEMS = 100
"""Of an answer, where the client does not say how many."""
_RANGES_ETAG = '"1"'
_PARTITION = "x-ms-documentdb-partitionkey"

type Kind = Literal["account", "container", "ranges", "read", "write", "batch", "query"]


@dataclass
class Fault:
    """What befalls the next requests of a kind, instead of or besides being served.

    `refuse`: an answer with `status`, nothing executed. `drop`: the connection breaks before the
    request is executed. `lose`: it breaks afterwards; with a status: executed, and answered with
    that status. `stall`: executed, and never answered.
    """

    kind: Kind
    effect: Literal["refuse", "drop", "lose", "stall"]
    status: int = 0
    sub_status: int = 0
    retry_after_ms: int | None = None
    times: int = 1
    skip: int = 0
    """So many requests of the kind are served before."""
    meanwhile: Callable[[], object] = lambda: None
    """What happens before the client learns of it."""


@dataclass
class Facade:
    """The account, and what tests do to it."""

    container: Container
    faults: list[Fault] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """What is to be made first: the database, the container."""
    made: list[dict[str, Any]] = field(default_factory=list)
    """What was made, as it was asked for."""
    calm: int = 0
    """While it is not 0, faults wait."""
    requests: list[Kind] = field(default_factory=list)
    """Every request that arrived."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    page_items: int | None = None
    """The most in an answer, whatever the client says."""
    endpoint: str = ""

    def application(self) -> web.Application:
        """As a web application."""
        application = web.Application(client_max_size=REQUEST_BYTES)
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        kind, handler = self._route(request)
        self.requests.append(kind)
        fault = self._fault(kind)
        if fault is not None and fault.effect == "refuse":
            return _error(fault.status, "injected", fault.sub_status, fault.retry_after_ms)
        if fault is not None and fault.effect == "drop":
            return _broken(request)
        try:
            response = await self._answer(request, handler)
        except Refused as refused:
            response = _error(refused.status, str(refused), refused.sub_status)
        except Unsupported as unsupported:
            response = _error(405, f"This façade does not know {unsupported}.")
        except web.HTTPRequestEntityTooLarge:
            response = _error(413, "the request is larger than 2 MB")
        if fault is not None and fault.effect == "stall":
            await self.closing.wait()
        if fault is not None and fault.effect == "lose":
            fault.meanwhile()
            return _error(fault.status, "injected") if fault.status else _broken(request)
        response.headers["Date"] = formatdate(self.container.now(), usegmt=True)
        return response

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        authorization = unquote(request.headers.get("authorization", ""))
        if not authorization.startswith(("type=master&ver=1.0&sig=", "type=aad&ver=1.0&sig=")):
            raise Refused(401, "no authorization")
        if request.headers.get("x-ms-cosmos-intended-collection-rid", RID) != RID:
            raise Refused(400, "the container was created anew", 1024)
        return await handler(request)

    def _fault(self, kind: Kind) -> Fault | None:
        for fault in self.faults:
            if fault.kind != kind or self.calm:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            return fault
        return None

    def _route(
        self, request: web.Request
    ) -> tuple[Kind, Callable[[web.Request], Awaitable[web.Response]]]:
        path = request.raw_path.partition("?")[0].strip("/")
        container = f"dbs/{DATABASE}/colls/{CONTAINER}"
        headers = request.headers
        if request.method == "POST" and path in ("dbs", f"dbs/{DATABASE}/colls"):
            return "container", self._make
        if any(part in self.missing for part in path.split("/")):
            return "container", self._missing
        match request.method, path.removeprefix(container):
            case "GET", "" if not path:
                return "account", self._account
            case "GET", "":
                return "container", self._container
            case "GET", database if database == f"dbs/{DATABASE}":
                return "container", self._database
            case "GET", "/pkranges":
                return "ranges", self._ranges
            case "GET", item if item.startswith("/docs/"):
                return "read", self._read
            case "POST", "/docs" if headers.get("x-ms-documentdb-isquery") == "true":
                return "query", self._query
            case "POST", "/docs" if headers.get("x-ms-cosmos-is-batch-request") == "True":
                return "batch", self._batch
            case "POST" | "PUT" | "PATCH" | "DELETE", item if item.startswith("/docs"):
                return "write", self._write
        if path.startswith("dbs/"):
            return "container", self._missing
        return "account", self._unknown

    async def _account(self, _: web.Request) -> web.Response:
        here = [{"name": "Loopback", "databaseAccountEndpoint": self.endpoint}]
        return _json(
            {
                "id": "facade",
                "_self": "",
                "_dbs": "//dbs/",
                "media": "//media/",
                "addresses": "//addresses/",
                "writableLocations": here,
                "readableLocations": here,
                "enableMultipleWriteLocations": False,
                "userConsistencyPolicy": {"defaultConsistencyLevel": "Strong"},
            }
        )

    async def _database(self, _: web.Request) -> web.Response:
        return _json({"id": DATABASE, "_rid": "facade==", "_self": f"dbs/{DATABASE}/"})

    async def _container(self, _: web.Request) -> web.Response:
        return _json(
            {
                "id": CONTAINER,
                "_rid": RID,
                "_self": f"dbs/{DATABASE}/colls/{CONTAINER}/",
                "partitionKey": {"paths": ["/tenantId"], "kind": "Hash", "version": 2},
                "defaultTtl": -1,
                "indexingPolicy": self.container.indexing_policy,
            }
        )

    async def _make(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["id"] not in self.missing:
            raise Refused(409, f"{body['id']} exists")
        self.missing.remove(body["id"])
        self.made.append(body)
        return _json({**body, "_rid": "facade==", "_self": f"{request.path}/{body['id']}/"}, 201)

    async def _ranges(self, request: web.Request) -> web.Response:
        """The SDK asks until it is told that nothing is new."""
        if request.headers.get("if-none-match") == _RANGES_ETAG:
            return web.Response(status=304, headers={"etag": _RANGES_ETAG})
        whole = {"id": "0", "_rid": RID, "minInclusive": "", "maxExclusive": "FF", "parents": []}
        return _json({"_rid": RID, "PartitionKeyRanges": [whole], "_count": 1}, etag=_RANGES_ETAG)

    async def _read(self, request: web.Request) -> web.Response:
        item = self.container.read(_partition(request), _item_id(request))
        return _json(item, etag=item["_etag"])

    async def _batch(self, request: web.Request) -> web.Response:
        headers = request.headers
        if headers.get("x-ms-cosmos-batch-atomic") != "True":
            raise Unsupported("batches that are not atomic")
        results = self.container.execute(_partition(request), await request.json())
        if headers.get("prefer") == "return=minimal":
            results = [{k: v for k, v in r.items() if k != "resourceBody"} for r in results]
        failed = any(result["statusCode"] >= 400 for result in results)
        charge = sum(result["requestCharge"] for result in results)
        return _json(results, 207 if failed else 200, charge)

    async def _write(self, request: web.Request) -> web.Response:
        """One item: as a batch of one operation, which answers with its status."""
        body = None if request.method == "DELETE" else await request.json()
        upserts = request.headers.get("x-ms-documentdb-is-upsert") == "True"
        names = {"PUT": "Replace", "PATCH": "Patch", "DELETE": "Delete"}
        name = names.get(request.method, "Upsert" if upserts else "Create")
        operation = {"operationType": name, "resourceBody": body}
        if name in names.values():
            operation["id"] = _item_id(request)
        if "if-match" in request.headers:
            operation["ifMatch"] = request.headers["if-match"]
        (result,) = self.container.execute(_partition(request), [operation])
        if result["statusCode"] >= 400:
            raise Refused(result["statusCode"], name)
        if name == "Delete":
            return web.Response(status=204, headers={"x-ms-request-charge": "5"})
        return _json(result["resourceBody"], result["statusCode"], etag=result["eTag"])

    async def _query(self, request: web.Request) -> web.Response:
        body = await request.json()
        values = {p["name"]: p["value"] for p in body.get("parameters", ())}
        statement = parse(body["query"], values)
        partition = None if _PARTITION not in request.headers else _partition(request)
        if partition is None:
            if request.headers.get("x-ms-documentdb-query-enablecrosspartition") != "True":
                raise Refused(400, "a query over partitions must say so")
            if statement.order or statement.counts or statement.limit is not None:
                raise Unsupported("query plans")
        rows = self._rows(statement, partition)
        digest = hashlib.sha256(await request.read()).hexdigest()
        start = _resume(request.headers.get("x-ms-continuation"), digest)
        asked = int(request.headers.get("x-ms-max-item-count", -1))
        most = asked if asked > 0 else PAGE_ITEMS
        most = min(most, self.page_items or most)
        rows, rest = rows[start : start + most], rows[start + most :]
        response = _json({"_rid": RID, "Documents": rows, "_count": len(rows)}, charge=2.8)
        if rest:
            token = json.dumps([digest, start + len(rows)]).encode()
            response.headers["x-ms-continuation"] = base64.b64encode(token).decode()
        return response

    def _rows(self, statement: Statement, partition: str | None) -> list[Any]:
        items = [item for item in self.container.items(partition) if statement.selects(item)]
        if statement.counts:
            return [len(items)]
        _check_index(statement, self.container.indexing_policy)
        for path, descending in reversed(statement.order):
            items.sort(key=lambda item, path=path: _sortable(item, path), reverse=descending)  # type: ignore[misc]
        end = None if statement.limit is None else statement.offset + statement.limit
        return [statement.project(item) for item in items[statement.offset : end]]

    async def _missing(self, _: web.Request) -> web.Response:
        raise Refused(404, "no such database or container", 1003)

    async def _unknown(self, request: web.Request) -> web.Response:
        raise Unsupported(f"{request.method} {request.path}")


@asynccontextmanager
async def serving(facade: Facade) -> AsyncIterator[Facade]:
    """The façade on a free port of loopback; `endpoint` says where."""
    runner = web.AppRunner(facade.application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        facade.endpoint = f"http://{host}:{port}/"
        yield facade
    finally:
        facade.closing.set()
        await runner.cleanup()


@contextmanager
def serving_in_a_thread(facade: Facade) -> Iterator[Facade]:
    """The same, on a loop of its own, for tests that wait until nothing runs on theirs."""
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(facade):
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield facade
    finally:
        done.set()
        thread.join()


def _json(
    body: Any, status: int = 200, charge: float = 1.0, *, etag: str | None = None
) -> web.Response:
    headers = {"x-ms-request-charge": str(charge)} | ({"etag": etag} if etag else {})
    return web.json_response(body, status=status, headers=headers)


def _error(
    status: int, message: str, sub_status: int = 0, retry_after_ms: int | None = None
) -> web.Response:
    response = _json({"code": str(status), "message": message}, status)
    if sub_status:
        response.headers["x-ms-substatus"] = str(sub_status)
    if retry_after_ms is not None:
        response.headers["x-ms-retry-after-ms"] = str(retry_after_ms)
    return response


def _broken(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _partition(request: web.Request) -> str:
    try:
        (value,) = json.loads(request.headers[_PARTITION])
    except (KeyError, ValueError) as error:
        raise Refused(400, "no partition key") from error
    if not isinstance(value, str):
        raise Unsupported(f"the partition key {value!r}")
    return value


def _item_id(request: web.Request) -> str:
    path = request.raw_path.partition("?")[0].strip("/")
    return unquote(path.rpartition("/docs/")[2], errors="strict")


def _resume(continuation: str | None, digest: str) -> int:
    if continuation is None:
        return 0
    try:
        found, start = json.loads(base64.b64decode(continuation))
    except ValueError as error:
        raise Refused(400, "the continuation is malformed") from error
    if found != digest:
        raise Refused(400, "the continuation is another query's")
    return int(start)


def _check_index(statement: Statement, policy: dict[str, Any]) -> None:
    """An ORDER BY must be served by an index. Raises Refused."""
    order = [("/" + "/".join(path), descending) for path, descending in statement.order]
    if len(order) == 1:
        included = {found["path"] for found in policy["includedPaths"]} | {"/id/?"}
        served = f"{order[0][0]}/?" in included
    else:
        composites = [
            [(p["path"], p["order"] == "descending") for p in composite]
            for composite in policy["compositeIndexes"]
        ]
        served = not order or order in composites or [(p, not d) for p, d in order] in composites
    if not served:
        raise Refused(400, "The order by query does not have a corresponding index.")


def _sortable(item: Any, path: tuple[str, ...]) -> str | int:
    for key in path:
        item = item.get(key, UNDEFINED) if isinstance(item, dict) else UNDEFINED
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise Unsupported("ORDER BY of anything but strings and whole numbers")
    return item
