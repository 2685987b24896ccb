"""A load generator for one HTTP server on loopback: keep-alive connections in a closed loop.

It does as little as possible per answer, because it runs beside the server that it measures: of an
answer's head it reads only the status line and Content-Length.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from laptop.bench.process import cpu_seconds

MEDIA_TYPE = "application/scim+json"


class UnexpectedAnswer(Exception):
    """The server did not answer the measured request as it should; the text quotes the answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request and the status that it must get; `path` is relative to the client's base."""

    method: str
    path: str
    body: bytes | None = None
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one stretch of load: seconds per request, seconds in all, and seconds of the
    server's processor time (None where the system does not show it)."""

    latencies: tuple[float, ...]
    seconds: float
    cpu_seconds: float | None

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency (seconds) that this share (0 to 1) of the requests did not exceed."""
        return percentile(self.latencies, share)


def percentile(figures: Sequence[float], share: float) -> float:
    """The figure that this share (0 to 1) of them do not exceed."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Client:
    """One connection to `base` (`http://host:port/path`) that sends a bearer token. Open it for one
    stretch of load: servers close connections that were idle for seconds."""

    def __init__(self, base: str, token: str) -> None:
        parts = urlsplit(base)
        self._address = (parts.hostname or "", parts.port or 80)
        self._path = parts.path
        self._head = (
            f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            f"Accept: {MEDIA_TYPE}\r\n"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    async def __aenter__(self) -> Self:
        self._streams = await asyncio.open_connection(*self._address, limit=2**16)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._streams[1].close()
        with suppress(OSError):
            await self._streams[1].wait_closed()

    async def send(self, call: Call) -> bytes:
        """The answer's body. Raises UnexpectedAnswer, OSError, EOFError."""
        reader, writer = self._streams
        writer.write(self._request(call))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        _, found, after = head.partition(b"content-length:")
        if found:
            length = int(after.partition(b"\r\n")[0])
            body = await reader.readexactly(length) if length else b""
        else:
            body = await _chunks(reader) if b"transfer-encoding: chunked" in head else b""
        if status != call.expected:
            what = f"{call.method} {call.path} answered {status}"
            raise UnexpectedAnswer(f"{what}, not {call.expected}: {body[:500].decode()}")
        return body

    def _request(self, call: Call) -> bytes:
        head = f"{call.method} {self._path}{call.path}{self._head}"
        if call.body is None:
            return f"{head}\r\n".encode()
        head += f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(call.body)}\r\n\r\n"
        return head.encode() + call.body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body of unknown length (RFC 9112 section 7.1)."""
    body = b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(length + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


async def drive(
    clients: Sequence[Client], calls: Sequence[Iterator[Call]], seconds: float, pid: int
) -> Sample:
    """Make load for `seconds`: each client sends its next call as soon as it has its answer. `pid`
    is the server's process. Raises an ExceptionGroup of what `Client.send` raises."""
    latencies: list[float] = []

    async def work(client: Client, mine: Iterator[Call], until: float) -> None:
        now = time.perf_counter()
        while now < until:
            await client.send(next(mine))
            began, now = now, time.perf_counter()
            latencies.append(now - began)

    async with AsyncExitStack() as connections:
        for client in clients:
            await connections.enter_async_context(client)
        cpu, started = cpu_seconds(pid), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for client, mine in zip(clients, calls, strict=True):
                tasks.create_task(work(client, mine, started + seconds))
        elapsed, used = time.perf_counter() - started, cpu_seconds(pid)
    spent = None if cpu is None or used is None else used - cpu
    return Sample(tuple(latencies), elapsed, spent)
