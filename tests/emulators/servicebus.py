"""A stand-in for an Azure Service Bus namespace that the unmodified SDK talks to over AMQP 1.0.

It is protocol on top of the embedded queue's engine: peek-lock, delivery counts, dead letters,
scheduled messages and duplicate detection are the engine's, on a file that is thrown away. Time
is whatever clock the test passes in; faults are injected through `faults`.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from itertools import chain
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, Message
from queues.sqlite.queue import LockLost, ReceivedMessage
from tests.emulators.amqp import Connection
from tests.emulators.amqp_links import (
    NOT_IMPLEMENTED,
    ConnectionDropped,
    Error,
    Link,
    LinkError,
    Outcome,
    Terminus,
    accepted,
    rejected,
)
from tests.emulators.amqp_types import Described, Symbol, Ulong
from tests.emulators.servicebus_entity import DEAD_LETTER_QUEUE, DeadLetterQueue, Entity, Topic
from tests.emulators.servicebus_management import (
    LOCK_LOST,
    Reply,
    delay_of,
    delivered,
    manage,
    put_token,
    read_request,
    write_reply,
)
from tests.emulators.servicebus_message import BATCH_FORMAT, read, read_batch

CBS, MANAGEMENT = "$cbs", "$management"
IDLE_SECONDS = 600.0
"""A sender's link that was not used for so long is detached by the service."""
DETACH_FORCED = "amqp:link:detach-forced"
_POLL_SECONDS = 0.02


class SendFault(Enum):
    """What happens to a send instead of being accepted."""

    DETACH = auto()
    """The link is detached; the messages are not taken."""
    DETACH_AFTER = auto()
    """The messages are taken, but the link is detached before the client hears of it."""
    DROP = auto()
    """The connection breaks; the messages are not taken."""
    DROP_AFTER = auto()
    """The messages are taken, but the connection breaks before the client hears of it."""
    BUSY = auto()
    """Rejected because the namespace is throttled."""
    SILENCE = auto()
    """No answer ever comes."""


class ServiceBusStandIn:
    """A namespace with queues and topics on a free port of this machine; use it as a context
    manager. `topics` maps their names to those of their subscriptions.

    The properties of queues and subscriptions are those of `SqliteQueue`; sizes are in bytes and
    by default those of the Premium tier (Standard has 262,144 for both).
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float],
        queues: Iterable[str] = (DIRECTORY_EVENTS,),
        topics: Mapping[str, Iterable[str]] = MappingProxyType({ACCESS_CHANGES: ("application",)}),
        *,
        lock_duration: float = 60.0,
        max_message_size: int = 1024 * 1024,
        max_batch_size: int = 1024 * 1024,
    ) -> None:
        path = folder / "service-bus.sqlite"
        self.now = now
        self.max_message_size = max_message_size
        self.max_batch_size = max_batch_size
        self.entities: dict[str, Entity] = {}
        subscriptions = {
            topic: [f"{topic}/Subscriptions/{name}" for name in names]
            for topic, names in topics.items()
        }
        for name in chain(queues, *subscriptions.values()):
            queue = Entity(path, name, now, lock_duration=lock_duration)
            self.entities[name] = queue
            self.entities[f"{name}/{DEAD_LETTER_QUEUE}"] = DeadLetterQueue(path, queue, now)
        self.topics = {
            topic: Topic([self.entities[name] for name in names])
            for topic, names in subscriptions.items()
        }
        self.faults: deque[SendFault | None] = deque()
        """One for each send to come, None for one that is accepted; so are those after the last."""
        self.refuse_tokens = False
        self.batches: list[int] = []
        """How many messages each send brought."""
        self.attached: Counter[str] = Counter()
        """How many links were attached so far, by address."""
        self.idle_detaches = 0
        self.senders: set[SenderTerminus] = set()
        self._connections: dict[Connection, asyncio.Task[Any] | None] = {}
        self._authorized: set[Connection] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._watch = asyncio.create_task(self._detach_idle())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.cancel()
        self._server.close()
        self.drop_connections()
        tasks = [task for task in self._connections.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._watch, return_exceptions=True)
        await self._server.wait_closed()
        for entity in self.entities.values():
            await entity.close()

    @property
    def connection_string(self) -> str:
        """What the emulator's connection string looks like."""
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
        )

    async def clear(self) -> None:
        """Forget all messages, and which ids there were."""
        for entity in self.entities.values():
            await entity.clear()

    def drop_connections(self) -> None:
        """Break every connection."""
        for connection in self._connections:
            connection.drop()

    def terminus(self, link: Link) -> Terminus:
        address = urlsplit(link.address).path.lstrip("/") if "://" in link.address else link.address
        self.attached[address] += 1
        connection = link.session.connection
        if address == CBS:
            return RequestTerminus(self, link, None) if link.incoming else Terminus()
        if connection not in self._authorized:
            raise LinkError("amqp:unauthorized-access", "No token was put for this connection.")
        name, _, management = address.partition(f"/{MANAGEMENT}")
        if name in self.topics and link.incoming and not management:
            return SenderTerminus(self, link, self.topics[name])
        entity = self.entities.get(name)
        if entity is None:
            raise LinkError("amqp:not-found", f"The messaging entity {name} could not be found.")
        if address != name and not management:
            return RequestTerminus(self, link, entity) if link.incoming else Terminus()
        if link.incoming:
            return SenderTerminus(self, link, entity)
        return ReceiverTerminus(link, entity)

    def put_token(self, connection: Connection, reply: Reply) -> Reply:
        """Whether the connection may do more than authenticate, from here on."""
        if self.refuse_tokens:
            return Reply(401, "InvalidSignature: The token has an invalid signature.")
        if reply.status == 202:
            self._authorized.add(connection)
        return reply

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.run()
        finally:
            self._authorized.discard(connection)
            del self._connections[connection]

    async def _detach_idle(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            for sender in [*self.senders]:
                if self.now() - sender.used_at >= IDLE_SECONDS:
                    self.idle_detaches += 1
                    await sender.link.detach(Error(DETACH_FORCED, "The link is idle."))


class SenderTerminus(Terminus):
    """A queue or a topic, for a client that sends."""

    def __init__(self, namespace: ServiceBusStandIn, link: Link, entity: Entity | Topic) -> None:
        self.link = link
        self.used_at = namespace.now()
        self._namespace = namespace
        self._entity = entity
        namespace.senders.add(self)

    def properties(self) -> dict[Any, Any]:
        size = Ulong(self._namespace.max_batch_size)
        return {Symbol("com.microsoft:max-message-batch-size"): size}

    def max_message_size(self) -> int:
        return self._namespace.max_message_size

    async def receive(self, payload: bytes, message_format: int) -> Described:
        self.used_at = self._namespace.now()
        fault = self._namespace.faults.popleft() if self._namespace.faults else None
        match fault:
            case SendFault.DETACH:
                raise LinkError(DETACH_FORCED, "Detached before the messages were taken.")
            case SendFault.DROP:
                raise ConnectionDropped
            case SendFault.BUSY:
                return rejected(Error("com.microsoft:server-busy", "Too many requests."))
            case SendFault.SILENCE:
                await asyncio.get_running_loop().create_future()
        outcome = await self._take(payload, message_format)
        match fault:
            case SendFault.DETACH_AFTER:
                raise LinkError(DETACH_FORCED, "Detached after the messages were taken.")
            case SendFault.DROP_AFTER:
                raise ConnectionDropped
        return outcome

    async def _take(self, payload: bytes, message_format: int) -> Described:
        if len(payload) > self._namespace.max_message_size:
            description = f"The message has {len(payload)} bytes."
            return rejected(Error("amqp:link:message-size-exceeded", description))
        incoming = read_batch(payload) if message_format == BATCH_FORMAT else [read(payload)]
        now = self._namespace.now()
        await self._entity.send([Message(m.id, m.bare, delay_of(m, now)) for m in incoming])
        self._namespace.batches.append(len(incoming))
        return accepted()

    async def close(self) -> None:
        self._namespace.senders.discard(self)


class ReceiverTerminus(Terminus):
    """A queue, for a client that receives."""

    def __init__(self, link: Link, entity: Entity) -> None:
        self._link = link
        self._entity = entity
        self._drain = False
        self._changed = asyncio.Event()
        self._pump = asyncio.create_task(self._deliver())

    async def credit_changed(self, drain: bool) -> None:
        self._drain = drain
        self._changed.set()

    async def settle(self, tag: bytes, outcome: Described) -> Described:
        try:
            message = self._entity.held(tag.hex().upper())
            return await self._settle(message, outcome)
        except LockLost as error:
            return rejected(Error(LOCK_LOST, str(error)))

    async def close(self) -> None:
        # What it took for the client and did not send in time comes back when its lock expires.
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump

    async def _settle(self, message: ReceivedMessage, outcome: Described) -> Described:
        match outcome.descriptor:
            case Outcome.ACCEPTED:
                await self._entity.complete(message)
            case Outcome.RELEASED:
                await self._entity.release(message)
            case Outcome.MODIFIED if outcome.value[1:2] == [True]:  # undeliverable-here
                await self._entity.defer(message)
            case Outcome.MODIFIED:
                await self._entity.abandon(message)
            case Outcome.REJECTED:
                reason, description = _reason(outcome)
                await self._entity.dead_letter(message, reason, description)
                return rejected(None)
            case _:
                return rejected(Error(NOT_IMPLEMENTED, "The outcome is not known here."))
        return outcome

    async def _deliver(self) -> None:
        """Sends while there is credit. Time may have been moved since: look now and then."""
        link = self._link
        while True:
            if link.credit > 0:
                for message in await self._entity.receive(link.credit):
                    await self._deliver_one(message)
            if self._drain:
                self._drain = False
                link.drained()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._changed.wait()

    async def _deliver_one(self, message: ReceivedMessage) -> None:
        if self._link.credit <= 0:  # the client took it back meanwhile
            await self._entity.release(message)
            return
        if self._link.presettled:
            await self._entity.complete(message)
        tag = bytes.fromhex(message.lock_token)
        self._link.send(delivered(message, self._entity), tag, self._link.presettled)


class RequestTerminus(Terminus):
    """Where requests go. Their replies take the link on the same address, the other way."""

    def __init__(self, namespace: ServiceBusStandIn, link: Link, entity: Entity | None) -> None:
        self._namespace = namespace
        self._link = link
        self._entity = entity

    async def receive(self, payload: bytes, message_format: int) -> Described:  # noqa: ARG002
        request = read_request(payload)
        if self._entity is None:
            reply = self._namespace.put_token(self._link.session.connection, put_token(request))
        else:
            reply = await manage(self._entity, request, self._namespace.now)
        for link in self._link.session.links.values():
            if not link.incoming and link.address == self._link.address:
                link.send(write_reply(request, reply, cbs=self._entity is None), b"reply", True)
        return accepted()


def _reason(outcome: Described) -> tuple[str, str]:
    error = outcome.value[0] if outcome.value else None
    details = error.value[2] if isinstance(error, Described) and len(error.value) > 2 else None
    details = details or {}
    reason = details.get("DeadLetterReason") or ""
    return str(reason), str(details.get("DeadLetterErrorDescription") or "")
