"""The AMQP 1.0 protocol of a broker: connections over TCP.

Source: OASIS AMQP 1.0, parts 2 "Transport" and 5 "Security". Left out: TLS and idle timeouts.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

from tests.emulators.amqp_links import WINDOW, Broker, ConnectionDropped, Performative, Session
from tests.emulators.amqp_types import (
    Array,
    Described,
    MalformedError,
    Reader,
    Symbol,
    Ubyte,
    Uint,
    Ushort,
    encode,
)

SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
_FIELDS = 14
"""The most that a performative has; those left out at its end are null."""
_FRAME_SIZE = 65_536
_HEADER = struct.Struct(">IBBH")
_SASL_PROTOCOL, _AMQP_PROTOCOL = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"


class Connection:
    """One TCP connection, from the protocol header to the close frame."""

    def __init__(
        self, broker: Broker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.broker = broker
        self.frame_size = _FRAME_SIZE
        self.sessions: dict[int, Session] = {}
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        """Serve the client until one of the two ends it."""
        try:
            await self._sasl()
            async for channel, performative, payload in self._frames():
                if not await self._handle(channel, performative, payload):
                    break
                await self._writer.drain()
        except (OSError, EOFError, MalformedError, ConnectionDropped):
            self._writer.transport.abort()
        finally:
            for session in self.sessions.values():
                await session.close()
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def drop(self) -> None:
        """End it without a word."""
        self._writer.transport.abort()

    def write(
        self,
        channel: int,
        performative: int,
        fields: list[Any],
        payload: bytes = b"",
        type: int = 0,
    ) -> None:
        body = encode(Described(performative, fields)) + payload
        self._writer.write(_HEADER.pack(len(body) + 8, 2, type, channel) + body)

    async def _sasl(self) -> None:
        """SASL ANONYMOUS: on Service Bus, who it is shows at `$cbs`."""
        await self._exchange_header(_SASL_PROTOCOL)
        self.write(0, SASL_MECHANISMS, [Array([Symbol("ANONYMOUS")])], type=1)
        _, init, _ = await self._frame()
        if init.descriptor != SASL_INIT:
            raise MalformedError("SASL begins with sasl-init.")
        known = init.value[0] == "ANONYMOUS"
        self.write(0, SASL_OUTCOME, [Ubyte(0 if known else 1)], type=1)
        await self._exchange_header(_AMQP_PROTOCOL)

    async def _exchange_header(self, protocol: bytes) -> None:
        if await self._reader.readexactly(8) != protocol:
            raise MalformedError("This is another protocol.")
        self._writer.write(protocol)

    async def _frames(self) -> AsyncIterator[tuple[int, Described, bytes]]:
        while True:
            yield await self._frame()

    async def _frame(self) -> tuple[int, Described, bytes]:
        while True:
            size, offset, _, channel = _HEADER.unpack(await self._reader.readexactly(8))
            body = await self._reader.readexactly(size - 8)
            if len(body) <= offset * 4 - 8:
                continue  # an empty frame only keeps the connection alive
            reader = Reader(body[offset * 4 - 8 :])
            performative = reader.read()
            if not isinstance(performative, Described):
                raise MalformedError("A frame holds a performative.")
            return channel, performative, reader.rest()

    async def _handle(self, channel: int, performative: Described, payload: bytes) -> bool:
        """False where this was the last frame."""
        kind = int(performative.descriptor)
        fields = [*performative.value, *[None] * _FIELDS][:_FIELDS]
        session = self.sessions.get(channel)
        match kind:
            case Performative.OPEN:
                self.frame_size = min(_FRAME_SIZE, fields[2] or _FRAME_SIZE)
                self.write(0, Performative.OPEN, ["stand-in", None, Uint(_FRAME_SIZE), Ushort(255)])
            case Performative.BEGIN:
                self.sessions[channel] = Session(self, channel)
                window = [Uint(0), Uint(WINDOW), Uint(WINDOW), Uint(255)]
                self.write(channel, Performative.BEGIN, [Ushort(channel), *window])
            case Performative.END:
                if session is not None:
                    await self.sessions.pop(channel).close()
                    self.write(channel, Performative.END, [])
            case Performative.CLOSE:
                self.write(0, Performative.CLOSE, [])
                return False
            case _ if session is None:
                raise MalformedError("There is no such session.")
            case Performative.ATTACH:
                await session.attach(fields)
            case Performative.FLOW:
                await session.handle_flow(fields)
            case Performative.TRANSFER:
                await session.transfer(fields, payload)
            case Performative.DISPOSITION:
                await session.settle(fields)
            case Performative.DETACH:
                await session.detach(fields)
            case _:
                raise MalformedError(f"{kind:#x} is no performative.")
        return True
