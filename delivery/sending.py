"""One POST to an outside address that is not trusted: no redirects, no cookies, no proxy, no
compression, a time limit, and connections to public addresses only."""

import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from delivery.addresses import AddressRefused, fault_of, socket_factory
from delivery.attempts import Answer

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS = 20.0
ANSWER_BYTES = 16 * 1024
"""Bytes that are read of an answer so that its connection can be reused; they are ignored."""
_KEEP_SECONDS = 15.0
_CONNECTIONS = 100


class Poster(Protocol):
    """Sends a body to a URL."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The outcome; raises nothing that the other side can cause."""
        ...


class HttpPoster:
    """Sends by HTTP. With `private`, also to addresses that are not public, and without TLS.
    `trusted` has the certificate authorities to trust; None: the system's."""

    def __init__(
        self,
        private: bool = False,
        trusted: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._private = private
        self._trusted = trusted
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """See Poster. Only the kind of a failure is returned: the text of an error may hold what
        the other side sent."""
        if fault_of(url, self._private):
            return Answer(failure="url")
        began = time.perf_counter()
        status, retry_after, failure = 0, "", ""
        try:
            status, retry_after = await self._answer(url, body, headers)
        except Exception as error:  # noqa: BLE001 - any failure of the other side is an outcome
            failure = _kind(error)
        took = round((time.perf_counter() - began) * 1000, 1)
        return Answer(status, failure, retry_after, took)

    async def close(self) -> None:
        """Close all open connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _answer(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        if self._session is None:
            self._session = self._opened()
        content = {"content-type": "application/json", "user-agent": "Muster"}
        async with self._session.post(
            url, data=body, headers={**content, **headers}, allow_redirects=False
        ) as response:
            await response.content.read(ANSWER_BYTES)
            return response.status, response.headers.get("retry-after", "")

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            keepalive_timeout=_KEEP_SECONDS,
            socket_factory=socket_factory(self._private),
            ssl=self._trusted or True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )


def _kind(error: Exception) -> str:
    """The kind of failure (`Answer.failure`)."""
    import aiohttp

    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorDNSError():
            return "name"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, AddressRefused):
            return "address"
        case aiohttp.InvalidURL():
            return "url"
    return "connection"
