"""Azure Cosmos DB's wire protocol (the tests' façade) in a separate process, which counts requests:
`python -m laptop.bench.cosmos_facade` prints its address and serves until its input ends. `GET
/bench/counts` answers the requests since it was last called, and forgets them.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from directory.cosmos.indexing import indexing_policy
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container

COUNTS = "/bench/counts"
STRONG = 2
"""Reads cost twice as much under Strong consistency."""

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CountingFacade(Facade):
    """Also keeps kind, bytes and estimated request units of each request."""

    def application(self) -> web.Application:
        """The façade as a web application."""
        counts: list[dict[str, Any]] = []

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path == COUNTS:
                answered, counts[:] = counts[:], []
                return web.json_response(answered)
            response = await handler(request)
            body = await request.read()
            answer = response.body if isinstance(response, web.Response) else b""
            answer = answer if isinstance(answer, bytes) else b""
            kind, units = _priced(request, body, answer)
            counts.append({"kind": kind, "sent": len(body), "got": len(answer), "units": units})
            return response

        application = super().application()
        application.middlewares.append(count)
        return application


def _priced(request: web.Request, body: bytes, answer: bytes) -> tuple[str, float]:
    """The kind of a request, and about what Cosmos DB charges for it by its documentation
    (https://learn.microsoft.com/azure/cosmos-db/request-units): for each KB, a point read costs 1
    RU and a write 5 RU; a replace or a patch costs twice a create; a query costs 2.3 RU and a price
    for each KB of its documents."""
    if request.headers.get("x-ms-cosmos-is-batch-request", "").lower() == "true":
        return "batch", sum(map(_of_operation, json.loads(body)))
    if "query" in request.headers.get("content-type", ""):
        found = json.loads(answer).get("Documents", []) if answer else []
        return "query", STRONG * (2.3 + sum(0.3 * _kilobytes(each) for each in found))
    if request.method == "GET" and "/docs/" in request.path:
        return "read", STRONG * max(1.0, len(answer) / 1024)
    return "metadata", 0.0


def _of_operation(operation: dict[str, Any]) -> float:
    kind, item = operation["operationType"], operation.get("resourceBody")
    if kind == "Create":
        return 5 * _kilobytes(item)
    if kind == "Read":
        return float(STRONG)
    return 10 * (_kilobytes(item) if kind in ("Replace", "Upsert") else 1.0)


def _kilobytes(item: Any) -> float:
    return max(1.0, len(json.dumps(item)) / 1024)


async def main() -> None:
    """Serve until the input ends."""
    async with serving(CountingFacade(Container(indexing_policy()))) as facade:
        sys.stdout.write(f"{facade.endpoint}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
