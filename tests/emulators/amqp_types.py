"""The AMQP 1.0 type system: what a stand-in for a broker reads and writes.

Source: OASIS AMQP 1.0, part 1 "Types". Every number keeps its width as a type of its own
(`Uint`, `Ulong`, ...), so that what was read is written back as it came.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID


class Symbol(str):
    """ASCII from a constrained domain, such as an error condition."""

    __slots__ = ()


class Ubyte(int):
    """8 bits."""


class Ushort(int):
    """16 bits."""


class Uint(int):
    """32 bits."""


class Ulong(int):
    """64 bits."""


class Byte(int):
    """8 bits, signed."""


class Short(int):
    """16 bits, signed."""


class Int(int):
    """32 bits, signed."""


class Long(int):
    """64 bits, signed; a plain `int` is written as one."""


class Timestamp(int):
    """Milliseconds since 1970 in UTC."""


class Array(list[Any]):
    """Values of one type, with one constructor for all of them."""


@dataclass(frozen=True, slots=True)
class Described:
    """A value that says by a descriptor what it is: a performative, a section, an outcome."""

    descriptor: int | Symbol
    value: Any


class MalformedError(ValueError):
    """Bytes that are no AMQP value, or a value that AMQP has no type for."""


# Format code and struct format of each fixed width.
_NUMBERS: dict[type, tuple[int, struct.Struct]] = {
    Ubyte: (0x50, struct.Struct(">B")),
    Ushort: (0x60, struct.Struct(">H")),
    Uint: (0x70, struct.Struct(">I")),
    Ulong: (0x80, struct.Struct(">Q")),
    Byte: (0x51, struct.Struct(">b")),
    Short: (0x61, struct.Struct(">h")),
    Int: (0x71, struct.Struct(">i")),
    Long: (0x81, struct.Struct(">q")),
    int: (0x81, struct.Struct(">q")),
    Timestamp: (0x83, struct.Struct(">q")),
    float: (0x82, struct.Struct(">d")),
}
_UINT32 = struct.Struct(">I")


def encode(value: Any) -> bytes:
    """Constructor and value. Raises MalformedError for a type that AMQP does not have."""
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, Ulong) and value < 256:
        return bytes((0x53, value))  # descriptors are expected in this, the shortest form
    if isinstance(value, Described):
        descriptor = value.descriptor
        name = descriptor if isinstance(descriptor, Symbol) else Ulong(descriptor)
        return b"\x00" + encode(name) + encode(value.value)
    code, content = _encode(value)
    return bytes((code,)) + content


def _encode(value: Any) -> tuple[int, bytes]:
    """Format code and content, in the one form that an array could hold, too."""
    number = _NUMBERS.get(type(value))
    if number is not None:
        code, layout = number
        return code, layout.pack(value)
    match value:
        case Symbol():
            return 0xB3, _sized(value.encode("ascii"))
        case str():
            return 0xB1, _sized(value.encode())
        case bytes():
            return 0xB0, _sized(value)
        case UUID():
            return 0x98, value.bytes
        case Array():
            return 0xF0, _array(value)
        case list():
            return 0xD0, _compound(value)
        case dict():
            return 0xD1, _compound([part for pair in value.items() for part in pair])
    raise MalformedError(f"AMQP has no type for {type(value).__name__}.")


def _sized(content: bytes) -> bytes:
    return _UINT32.pack(len(content)) + content


def _compound(values: list[Any]) -> bytes:
    return _sized(_UINT32.pack(len(values)) + b"".join(map(encode, values)))


def _array(values: Array) -> bytes:
    parts = [_encode(value) for value in values]
    codes = {code for code, _ in parts} or {0x40}
    if len(codes) > 1:
        raise MalformedError("The values of an array are of one type.")
    elements = b"".join(content for _, content in parts)
    return _sized(_UINT32.pack(len(values)) + bytes(codes) + elements)


_FIXED: dict[int, tuple[Callable[[Any], Any], struct.Struct]] = {
    **{code: (kind, layout) for kind, (code, layout) in _NUMBERS.items() if kind is not int},
    0x52: (Uint, struct.Struct(">B")),
    0x53: (Ulong, struct.Struct(">B")),
    0x54: (Int, struct.Struct(">b")),
    0x55: (Long, struct.Struct(">b")),
    0x56: (bool, struct.Struct(">B")),
    0x72: (float, struct.Struct(">f")),
}
_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: Uint(0), 0x44: Ulong(0)}
_VARIABLE: dict[int, Callable[[bytes], Any]] = {
    0xA0: bytes,
    0xB0: bytes,
    0xA1: bytes.decode,
    0xB1: bytes.decode,
    0xA3: lambda content: Symbol(content.decode("ascii")),
    0xB3: lambda content: Symbol(content.decode("ascii")),
}


class Reader:
    """Reads values from bytes, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.position >= len(self._content)

    def slice(self, start: int) -> bytes:
        """What was read from `start` on."""
        return self._content[start : self.position]

    def rest(self) -> bytes:
        """What was not read."""
        return self._content[self.position :]

    def read(self) -> Any:
        """The next value. Raises MalformedError."""
        try:
            return self._read(self._byte())
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise MalformedError(f"No AMQP value at byte {self.position}: {error}") from error

    def _read(self, code: int) -> Any:
        if code == 0x00:
            descriptor = self.read()
            if not isinstance(descriptor, Ulong | Symbol):
                raise MalformedError(f"{descriptor!r} is no descriptor.")
            return Described(descriptor, self.read())
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _FIXED:
            kind, layout = _FIXED[code]
            return kind(layout.unpack(self._bytes(layout.size))[0])
        if code == 0x98:
            return UUID(bytes=self._bytes(16))
        if code == 0x45:
            return []
        wide = bool(code & 0x10)  # 0xA., 0xC. and 0xE. count with one byte, the others with four
        if code in _VARIABLE:
            return _VARIABLE[code](self._bytes(self._length(wide)))
        if code in (0xC0, 0xD0, 0xC1, 0xD1, 0xE0, 0xF0):
            self._length(wide)
            return self._read_compound(code, self._length(wide))
        raise MalformedError(f"No AMQP type has the format code {code:#04x}.")

    def _read_compound(self, code: int, count: int) -> Any:
        if code in (0xE0, 0xF0):
            element = self._byte()
            return Array(self._read(element) for _ in range(count))
        values = [self.read() for _ in range(count)]
        if code in (0xC0, 0xD0):
            return values
        return dict(zip(values[::2], values[1::2], strict=True))

    def _length(self, wide: bool) -> int:
        return cast("int", _UINT32.unpack(self._bytes(4))[0]) if wide else self._byte()

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self._content):
            raise MalformedError("The value is longer than what was sent.")
        return self._content[start : self.position]


def decode(content: bytes) -> Any:
    """The one value that `content` is. Raises MalformedError."""
    reader = Reader(content)
    value = reader.read()
    if not reader.at_end:
        raise MalformedError("There is more than one value.")
    return value
