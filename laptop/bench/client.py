"""A load generator for one HTTP server on loopback: keep-alive connections in a closed loop.

It does as little as possible per answer, because it runs beside the server that it measures: of an
answer's head it reads only the status line and Content-Length.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Self
from urllib.parse import urlsplit

from laptop.bench.process import cpu_seconds

MEDIA_TYPE = "application/scim+json"
ANSWERS = 3
"""So many per client are wanted: fewer slow requests say little about how many fit a second."""
LONGER = 4


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


class Load(Iterator[Call]):
    """The endless calls of one client. `prepare` makes some of the next calls now: what a client
    does while it measures takes time from the server on the same cores."""

    def __init__(self, calls: Iterator[Call]) -> None:
        self._calls = calls
        self._prepared: deque[Call] = deque()
        self._taken = 1

    def prepare(self) -> None:
        """Make as many calls as were taken since the last time, and half as many again."""
        wanted = self._taken + self._taken // 2
        self._prepared.extend(islice(self._calls, max(0, wanted - len(self._prepared))))
        self._taken = 1

    def __next__(self) -> Call:
        self._taken += 1
        return self._prepared.popleft() if self._prepared else next(self._calls)


@dataclass(frozen=True, slots=True)
class _Body:
    """Where the body of an answer is; without a `length` (bytes) it comes in chunks (RFC 9112
    section 7.1)."""

    begins: int
    length: int | None

    @classmethod
    def of(cls, received: bytearray) -> "_Body | None":
        """None: the head of the answer is not whole yet."""
        begins = received.find(b"\r\n\r\n") + 4
        if begins < 4:
            return None
        head = received[:begins].lower()
        _, found, after = head.partition(b"content-length:")
        if found:
            return cls(begins, int(after.partition(b"\r\n")[0]))
        return cls(begins, None if b"transfer-encoding: chunked" in head else 0)

    def content(self, received: bytearray) -> bytes | None:
        """None: it is not whole yet."""
        if self.length is not None:
            ends = self.begins + self.length
            return bytes(received[self.begins : ends]) if len(received) >= ends else None
        return self._joined(received) if received.endswith(b"0\r\n\r\n") else None

    def _joined(self, received: bytearray) -> bytes:
        content, at = b"", self.begins
        while length := int(received[at : (start := received.index(b"\r\n", at) + 2)], 16):
            content += received[start : start + length]
            at = start + length + 2
        return content


class Client(asyncio.Protocol):
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
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[tuple[int, bytes]]
        self._received = bytearray()
        self._body: _Body | None = None
        """Of the answer that is coming, once its head is there."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._transport, _ = await loop.create_connection(lambda: self, *self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answer.cancel()
        self._transport.close()

    async def send(self, call: Call) -> bytes:
        """The answer's body. Raises UnexpectedAnswer, ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request(call))
        status, body = await self._answer
        if status != call.expected:
            what = f"{call.method} {call.path} answered {status}"
            raise UnexpectedAnswer(f"{what}, not {call.expected}: {body[:500].decode()}")
        return body

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        if self._body is None:
            self._body = _Body.of(self._received)
        if self._body is None or (content := self._body.content(self._received)) is None:
            return
        answer = int(self._received[9:12]), content
        self._received.clear()
        self._body = None
        if not self._answer.done():  # who asked may have been cancelled
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("The server hung up."))

    def _request(self, call: Call) -> bytes:
        head = f"{call.method} {self._path}{call.path}{self._head}"
        if call.body is None:
            return f"{head}\r\n".encode()
        head += f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(call.body)}\r\n\r\n"
        return head.encode() + call.body


async def drive(
    clients: Sequence[Client], loads: Sequence[Load], seconds: float, pid: int
) -> Sample:
    """Make load for `seconds`, or up to LONGER times as long until each client has ANSWERS: each
    sends its next call as soon as it has its answer. `pid` is the server's process. Raises an
    ExceptionGroup of what `Client.send` raises."""
    latencies: list[float] = []

    async def work(client: Client, mine: Load, began: float) -> None:
        now, answers = time.perf_counter(), 0
        while now < began + seconds * (1 if answers >= ANSWERS else LONGER):
            await client.send(next(mine))
            sent, now = now, time.perf_counter()
            latencies.append(now - sent)
            answers += 1

    for load in loads:
        load.prepare()
    async with AsyncExitStack() as connections:
        for client in clients:
            await connections.enter_async_context(client)
        cpu, started = cpu_seconds(pid), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for client, mine in zip(clients, loads, strict=True):
                tasks.create_task(work(client, mine, started))
        elapsed, used = time.perf_counter() - started, cpu_seconds(pid)
    spent = None if cpu is None or used is None else used - cpu
    return Sample(tuple(latencies), elapsed, spent)
