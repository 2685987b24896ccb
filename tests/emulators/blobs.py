"""A stand-in for a container of Azure Blob Storage: takes what Put Blob sends, as the service does.

https://learn.microsoft.com/rest/api/storageservices/put-blob
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Blobs:
    """What was written, by the blob's name."""

    url: str = ""
    """Of the container."""
    written: dict[str, list[bytes]] = field(default_factory=dict)
    """Every version of each blob."""
    refused: set[str] = field(default_factory=set)
    """Names that are answered with a 403."""

    async def put(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.headers.get("x-ms-blob-type") != "BlockBlob" or request.query:
            return _error(400, "InvalidHeaderValue")
        if not request.headers.get("x-ms-version"):
            return _error(400, "MissingRequiredHeader")
        if request.headers.get("x-ms-blob-content-type") != "application/json":
            return _error(415, "UnsupportedMediaType")
        if name in self.refused:
            return _error(403, "AuthorizationPermissionMismatch")
        self.written.setdefault(name, []).append(await request.read())
        return web.Response(status=201, headers={"etag": '"0x1"'})


def _error(status: int, code: str) -> web.Response:
    return web.Response(status=status, headers={"x-ms-error-code": code})


@asynccontextmanager
async def blobs() -> AsyncIterator[Blobs]:
    """A container that is served on a free port."""
    container = Blobs()
    application = web.Application()
    application.router.add_put("/account/tenants/{name:.+}", container.put)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    container.url = f"http://{host}:{port}/account/tenants"
    try:
        yield container
    finally:
        await runner.cleanup()
