"""What issuers publish over HTTP (key sets, OpenID metadata): fetched, remembered, renewed.

- A document counts as fresh for an hour, then it is renewed beside the requests.
- While its issuer does not answer, what is known goes on counting for a day.
- However many ask, one fetch of a document goes on at a time, and none begins within seconds of
  one that failed: an issuer that hangs costs one connection.
- Addresses come from configuration, never from a token; redirects are not followed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import httpx

FRESH_SECONDS = 3600.0
KEPT_SECONDS = 24 * 3600.0
LOOK_AGAIN_SECONDS = 60.0
RETRY_SECONDS = 5.0
"""How long an issuer gets no request after a failed one."""
FETCH_SECONDS = 5.0
ANSWER_BYTES = 256 * 1024

FAILURES = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError)
"""The errors of fetching a document."""

log = logging.getLogger("muster.trust")


class NotPublished(Exception):
    """No valid copy is known, and the issuer does not answer."""


class Document[T]:
    """The known copy of one published document. `parse` raises ValueError for invalid content."""

    def __init__(self, url: str, parse: Callable[[bytes], T]) -> None:
        self.url = url
        self.parse = parse
        self.content: T | None = None
        self.fetched = -KEPT_SECONDS
        self.failed: float | None = None
        """When the last fetch failed; None where it succeeded."""
        self.fetches = 0
        self.looked_again = -LOOK_AGAIN_SECONDS
        """When it was last fetched because it lacked something."""
        self.fetching: asyncio.Task[None] | None = None


class Published:
    """Reads documents with one HTTP client. Use it on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.fetch_seconds = FETCH_SECONDS
        """How long a request may take."""
        self._documents: dict[str, Document[Any]] = {}
        self._client: httpx.AsyncClient | None = None

    def document[T](self, url: str, parse: Callable[[bytes], T]) -> Document[T]:
        """The known copy of the document at a URL; empty until the first fetch."""
        return self._documents.setdefault(url, Document(url, parse))

    async def renew(self, document: Document[Any]) -> None:
        """Fetch a document unless it is fresh. Raises NotPublished where no valid copy is known."""
        age = self.clock() - document.fetched
        if age < FRESH_SECONDS:
            return
        if age < KEPT_SECONDS:
            self._start(document)
            return
        await self._fetched(document)
        if self.clock() - document.fetched >= KEPT_SECONDS:
            raise NotPublished

    async def look_again(self, document: Document[Any]) -> None:
        """Fetch a document because it lacks something, unless that was done a moment ago."""
        if document.fetching is None:
            if self.clock() - document.looked_again < LOOK_AGAIN_SECONDS:
                return
            document.looked_again = self.clock()
        await self._fetched(document)

    async def ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request, within `fetch_seconds`: its status and at most ANSWER_BYTES. Raises one of
        FAILURES."""
        if self._client is None:
            # made once: reading the certificates takes as long as many requests
            self._client = httpx.AsyncClient(timeout=self.fetch_seconds, follow_redirects=False)
        content = bytearray()
        async with (
            asyncio.timeout(self.fetch_seconds),
            self._client.stream(method, url, data=form) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES:
                    raise ValueError(f"the answer has more than {ANSWER_BYTES} bytes")
        return answer.status_code, bytes(content)

    async def close(self) -> None:
        """Stop fetching."""
        fetching = [each.fetching for each in self._documents.values() if each.fetching]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _fetched(self, document: Document[Any]) -> None:
        """Wait for the fetch under way, or a new one; it goes on if this caller is cancelled."""
        if (fetching := self._start(document)) is not None:
            await asyncio.shield(fetching)

    def _start(self, document: Document[Any]) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; none if the last one failed a moment ago."""
        if document.fetching is not None:
            return document.fetching
        if document.failed is not None and self.clock() - document.failed < RETRY_SECONDS:
            return None
        # in an empty context, since it outlives the request that begins it
        document.fetching = asyncio.create_task(self._fetch(document), context=Context())
        return document.fetching

    async def _fetch(self, document: Document[Any]) -> None:
        try:
            status, content = await self.ask("GET", document.url)
            if status != httpx.codes.OK:
                raise ValueError(f"the answer was {status}")
            document.content = document.parse(content)
            document.fetched, document.failed = self.clock(), None
        except FAILURES as error:
            document.failed = self.clock()
            log.warning("%s was not read: %s: %s", document.url, type(error).__name__, error)
        finally:
            document.fetches += 1
            document.fetching = None
