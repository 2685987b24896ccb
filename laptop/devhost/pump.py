"""The queue trigger of the Functions host, on the embedded queue.

Receives under a lock, keeps the lock while the function runs, completes the message when it
returns and abandons it when it raises
(https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger).
"""

import asyncio
import logging
from datetime import UTC, datetime

from laptop.devhost.hostfile import HostFile
from laptop.devhost.runtime import Function, FunctionApp, InvocationFailed
from queues.port import QueueError
from queues.sqlite.queue import LockLost, ReceivedMessage, SqliteQueue

WAIT_SECONDS = 0.5
"""How long one receive waits; it may take as long to notice `stop`."""

log = logging.getLogger(__name__)


class QueuePump:
    """Feeds one queue-triggered function; host.json says how many messages at a time, and how long
    each stays locked."""

    def __init__(
        self, app: FunctionApp, function: Function, queue: SqliteQueue, host: HostFile
    ) -> None:
        self._app = app
        self._function = function
        self._queue = queue
        self._concurrency = host.max_concurrent_calls
        self._lock_renewal = host.max_auto_lock_renewal

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; running invocations are finished first."""
        running: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            if len(running) == self._concurrency:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running = {task for task in running if not task.done()}
            for message in await self._receive(self._concurrency - len(running)):
                running.add(asyncio.create_task(self._deliver(message)))
        if running:
            await asyncio.wait(running)

    async def _receive(self, most: int) -> list[ReceivedMessage]:
        try:
            return await self._queue.receive(most, WAIT_SECONDS)
        except QueueError:
            log.exception("Nothing could be received; trying again")
            await asyncio.sleep(WAIT_SECONDS)
            return []

    async def _deliver(self, message: ReceivedMessage) -> None:
        # Most functions return long before their lock must be renewed: no task for those.
        renewing: set[asyncio.Task[None]] = set()
        renewal = asyncio.get_running_loop().call_later(
            _half_of_rest(message.locked_until),
            lambda: renewing.add(asyncio.create_task(self._keep_locked(message))),
        )
        try:
            await self._app.invoke_queue(
                self._function,
                message.body,
                message_id=message.id,
                delivery_count=message.delivery_count,
            )
            settle = self._queue.complete
        except InvocationFailed as failure:
            attempt = f"message {message.id}, delivery {message.delivery_count}"
            log.error("%s (%s)\n%s", failure, attempt, failure.stack_trace)
            settle = self._queue.abandon
        finally:
            renewal.cancel()
            for task in renewing:
                task.cancel()
        try:
            await settle(message)
        except (LockLost, QueueError) as error:
            log.warning(
                "Message %s could not be settled, it will come again: %s", message.id, error
            )

    async def _keep_locked(self, message: ReceivedMessage) -> None:
        """Renew the lock, from half-way through the first lock until the longest renewal."""
        rest = self._lock_renewal - _half_of_rest(message.locked_until)
        try:
            async with asyncio.timeout(rest):
                while rest > 0:
                    until = await self._queue.renew(message)
                    await asyncio.sleep(_half_of_rest(until))
        except (TimeoutError, LockLost, QueueError) as error:
            log.warning("Message %s is no longer locked, it will come again: %r", message.id, error)


def _half_of_rest(until: datetime) -> float:
    """Half of the time until then, in seconds."""
    return (until - datetime.now(UTC)).total_seconds() / 2
