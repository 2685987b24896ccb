"""`GET /health`: does this deployment answer, and does its database?

For callers without a token, such as an availability test or a load balancer. 200 where the database
was reached a moment ago, 503 where it was not; the answer holds nothing else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from directory.store import NotFound, Store, Throttled
from telemetry.logs import place
from web.surface import Surface, at, routed
from web.trouble import trouble_of

PATH = "/health"
METHODS = ("GET", "HEAD")
REMEMBERED = 10.0
"""Seconds for which a result is reused: more requests cause no more reads."""
PATIENCE = 5.0
"""Seconds to wait for the database."""
NOWHERE = "health"
"""The partition and the id that are read. Neither exists: the answer NotFound proves that the
database answers."""

log = logging.getLogger("muster.health")


class Health:
    """Whether the database answers. `clock` is in seconds."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._patience = patience
        self._asking = asyncio.Lock()
        self._healthy = False
        self._until = float("-inf")

    async def healthy(self) -> bool:
        """The result of the last REMEMBERED seconds, or of a new read; simultaneous requests share
        one read."""
        async with self._asking:
            if self._clock() >= self._until:
                self._healthy = await self._reached()
                self._until = self._clock() + REMEMBERED
            return self._healthy

    async def _reached(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await self._store.read(NOWHERE, NOWHERE)
        except (NotFound, Throttled):
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is no
            log.error("The database did not answer: %s", place(error))
            return False
        return True


def health_application(health: Health) -> Surface:
    """The ASGI application for `/health`."""

    async def answer(_: Request) -> Response:
        healthy = await health.healthy()
        told = {"status": "healthy" if healthy else "unhealthy"}
        return _json(200 if healthy else 503, told, {})

    application = routed([at(PATH, answer, METHODS)], "There is nothing here but GET /health.")
    return Surface("health", application, {PATH: METHODS}, refuse)


def refuse(error: Exception) -> Response:
    """JSON for whatever was raised."""
    found = trouble_of(error)
    return _json(found.status, {"status": str(found.status), "detail": found.detail}, found.headers)


def _json(status: int, told: dict[str, Any], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(told), status, headers, "application/json")
