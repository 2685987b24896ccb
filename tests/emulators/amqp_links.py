"""Sessions, links and what they lead to: the part of AMQP 1.0 that is about messages.

Source: OASIS AMQP 1.0, part 2 "Transport", from 2.5 on. What lies behind a link is a `Terminus`;
the broker chooses one for each link that a client attaches. Left out, because a client of a
broker in a test does not come near them: the windows of a session and resuming a link.
"""

# ruff: noqa: ARG002 - what a terminus refuses, it does not look at

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from tests.emulators.amqp_types import Described, Symbol, Uint, Ulong

if TYPE_CHECKING:
    from tests.emulators.amqp import Connection

ERROR = 0x1D
WINDOW = 0x7FFF_FFFF

NOT_IMPLEMENTED = "amqp:not-implemented"
_CREDIT = 1_000
"""How many messages a client may send before it hears of more."""


class Performative(IntEnum):
    """What a frame does, by its descriptor."""

    OPEN = 0x10
    BEGIN = 0x11
    ATTACH = 0x12
    FLOW = 0x13
    TRANSFER = 0x14
    DISPOSITION = 0x15
    DETACH = 0x16
    END = 0x17
    CLOSE = 0x18


class Outcome(IntEnum):
    """What became of a message, by its descriptor."""

    ACCEPTED = 0x24
    REJECTED = 0x25
    RELEASED = 0x26
    MODIFIED = 0x27


@dataclass(frozen=True, slots=True)
class Error:
    """Why a link ended or a message was refused."""

    condition: str
    description: str

    @property
    def described(self) -> Described:
        """With a map of details, which clients of Service Bus expect."""
        details = {Symbol("detail"): self.description}
        return Described(ERROR, [Symbol(self.condition), self.description, details])


class LinkError(Exception):
    """The link cannot be attached, or not be kept."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(description)
        self.error = Error(condition, description)


class ConnectionDropped(Exception):
    """The connection ends here, without a word to the client."""


def accepted() -> Described:
    """The outcome of a message that was taken."""
    return Described(Outcome.ACCEPTED, [])


def rejected(error: Error | None) -> Described:
    """The outcome of a message that was refused, or that was dead-lettered (no error)."""
    return Described(Outcome.REJECTED, [error.described if error else None])


class Terminus:
    """What a link leads to. A terminus does what its kind of link needs; the rest it refuses."""

    def properties(self) -> dict[Any, Any]:
        """What the attach frame tells of it."""
        return {}

    def max_message_size(self) -> int:
        """In bytes; 0 for no limit."""
        return 0

    async def receive(self, payload: bytes, message_format: int) -> Described:
        """Take a message from the client; returns its outcome. Raises LinkError to detach and
        ConnectionDropped."""
        raise LinkError(NOT_IMPLEMENTED, "Nothing is sent to this address.")

    async def settle(self, tag: bytes, outcome: Described) -> Described:
        """Do what the client decided about a message that it was given; returns what was done."""
        return rejected(Error(NOT_IMPLEMENTED, "Nothing is settled at this address."))

    async def credit_changed(self, drain: bool) -> None:
        """The client said how many messages it is ready for: `link.credit`."""

    async def close(self) -> None:
        """The link is gone."""


class Broker(Protocol):
    """Knows what is at which address."""

    def terminus(self, link: "Link") -> Terminus:
        """Where this link leads. Raises LinkError."""
        ...


@dataclass(eq=False)
class Link:
    """One end of a link. `incoming` where the client sends."""

    session: "Session"
    name: str
    handle: int
    address: str
    incoming: bool
    presettled: bool
    """Whether the client takes a message as settled when it comes (receive and delete)."""
    terminus: Terminus = field(default_factory=Terminus)
    credit: int = 0
    delivery_count: int = 0
    attached: bool = True
    parts: bytearray = field(default_factory=bytearray)
    """Of an incoming message that takes several frames."""
    message_format: int = 0
    delivery_id: int = 0

    def grant(self) -> None:
        """Let the client send on."""
        self.session.flow(self, _CREDIT)

    def send(self, payload: bytes, tag: bytes, settled: bool = False) -> None:
        """Give the client a message; it is to settle it unless it is settled already."""
        session = self.session
        delivery_id = session.next_delivery_id
        session.next_delivery_id += 1
        if not settled:
            session.unsettled[delivery_id] = (self, tag)
        self.credit -= 1
        self.delivery_count += 1
        room = session.connection.frame_size - 256  # for the frame's header and the performative
        for start in range(0, max(len(payload), 1), room):
            part = payload[start : start + room]
            more = start + room < len(payload)
            fields = [Uint(self.handle), Uint(delivery_id), tag, Uint(0), settled, more]
            session.write(Performative.TRANSFER, fields, part)

    def drained(self) -> None:
        """Tell the client that there is nothing more for its credit."""
        self.delivery_count += self.credit
        self.credit = 0
        self.session.flow(self, 0, drain=True)

    async def detach(self, error: Error) -> None:
        """End the link, saying why."""
        if self.attached:
            self.attached = False
            self.session.links.pop(self.handle, None)
            self.session.write(Performative.DETACH, [Uint(self.handle), True, error.described])
            await self.terminus.close()


class Session:
    """Links of one client, and the deliveries that it has not settled."""

    def __init__(self, connection: "Connection", channel: int) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.unsettled: dict[int, tuple[Link, bytes]] = {}
        self.next_delivery_id = 0

    def write(self, performative: int, fields: list[Any], payload: bytes = b"") -> None:
        self.connection.write(self.channel, performative, fields, payload)

    def flow(self, link: Link, credit: int, drain: bool = False) -> None:
        window = [Uint(0), Uint(WINDOW), Uint(self.next_delivery_id), Uint(WINDOW)]
        of_link = [Uint(link.handle), Uint(link.delivery_count), Uint(credit), None, drain]
        self.write(Performative.FLOW, window + of_link)

    async def attach(self, fields: list[Any]) -> None:
        name, handle, role, settle_mode = fields[0], fields[1], fields[2], fields[3]
        incoming = not role
        end = fields[6] if incoming else fields[5]
        address = end.value[0] if isinstance(end, Described) and end.value else None
        link = Link(self, name, handle, str(address or ""), incoming, settle_mode == 1)
        answer = [name, Uint(handle), not role, fields[3], fields[4]]
        try:
            terminus = self.connection.broker.terminus(link)
        except LinkError as refusal:
            # Part 2, 2.6.3: an attach without source and target says that a detach follows.
            initial = None if incoming else Uint(0)
            self.write(Performative.ATTACH, [*answer, None, None, None, None, initial])
            self.write(Performative.DETACH, [Uint(handle), True, refusal.error.described])
            return
        link.terminus = terminus
        self.links[handle] = link
        initial = None if incoming else Uint(0)
        size = Ulong(terminus.max_message_size())
        answer += [fields[5], fields[6], None, None, initial, size, None, None]
        self.write(Performative.ATTACH, [*answer, terminus.properties()])
        if incoming:
            link.grant()

    async def handle_flow(self, fields: list[Any]) -> None:
        link = self.links.get(fields[4]) if fields[4] is not None else None
        if link is None or link.incoming:
            return
        link.credit = max(0, (fields[5] or 0) + (fields[6] or 0) - link.delivery_count)
        await link.terminus.credit_changed(bool(fields[8]))

    async def transfer(self, fields: list[Any], payload: bytes) -> None:
        link = self.links.get(fields[0])
        if link is None:
            return  # sent before the client heard of the detach
        if not link.parts:
            link.delivery_id = fields[1]
            link.message_format = fields[3] or 0
        link.parts += payload
        if fields[5]:  # more
            return
        message, link.parts = bytes(link.parts), bytearray()
        link.delivery_count += 1
        try:
            outcome = await link.terminus.receive(message, link.message_format)
        except LinkError as reason:
            await link.detach(reason.error)
            return
        if not fields[4]:  # settled
            self.disposition(False, link.delivery_id, outcome)
        if link.delivery_count % (_CREDIT // 2) == 0:
            link.grant()

    def disposition(self, as_sender: bool, delivery_id: int, outcome: Described) -> None:
        number = Uint(delivery_id)
        self.write(Performative.DISPOSITION, [not as_sender, number, number, True, outcome])

    async def settle(self, fields: list[Any]) -> None:
        role, first, last, outcome = fields[0], fields[1], fields[2], fields[4]
        if not role:
            return  # of a message that the client sent, and that it need not settle
        for delivery_id in range(first, (first if last is None else last) + 1):
            link, tag = self.unsettled.pop(delivery_id, (None, b""))
            if link is not None:
                done = await link.terminus.settle(tag, outcome)
                if not fields[3]:
                    self.disposition(True, delivery_id, done)

    async def detach(self, fields: list[Any]) -> None:
        link = self.links.pop(fields[0], None)
        if link is not None:
            link.attached = False
            await link.terminus.close()
            self.write(Performative.DETACH, [Uint(link.handle), bool(fields[1])])

    async def close(self) -> None:
        for link in [*self.links.values()]:
            link.attached = False
            await link.terminus.close()
        self.links.clear()
