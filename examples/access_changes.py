"""What an application does with the topic `access-changes`: keep its own copy of who may do what.

    python -m examples.access_changes

Where ServiceBusConnection or ServiceBusConnection__fullyQualifiedNamespace names a Service Bus
namespace, it receives from the subscription `application`; without, from the embedded topic of a
`make run` on this machine (MUSTER_DATA).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from azure.identity.aio import DefaultAzureCredential
from azure.servicebus.aio import ServiceBusClient

from queues.sqlite.topic import SqliteTopic

TOPIC, SUBSCRIPTION = "access-changes", "application"


class Copy:
    """The application's own copy. Messages may come twice and out of order: a message counts only
    if its version is newer than the copy's, so an older message never undoes a newer one."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        """User id → the newest change received; a database table in a real application."""

    def take(self, body: bytes) -> str:
        """Apply one message; returns a line that says what it did. Applying it again changes
        nothing."""
        change = json.loads(body)
        user, version, after = change["userId"], change["version"], change["after"]
        if user in self.known and self.known[user]["version"] >= version:
            return f"{user} version {version}: known already"
        self.known[user] = change
        if after is None:
            return f"{user} version {version}: deleted"
        if not change["complete"]:
            return f"{user} version {version}: ask /access/v1/users/{user} for the grants"
        grants = ", ".join(f"{grant['kind']} {grant['key']}" for grant in after["grants"])
        state = "enabled" if after["enabled"] else f"disabled ({', '.join(after['reasons'])})"
        return f"{user} version {version}: {state}, {grants or 'no grants'}"


@asynccontextmanager
async def service_bus() -> AsyncIterator[ServiceBusClient]:
    """A Service Bus client with the settings of Muster's Functions."""
    connection = os.environ.get("ServiceBusConnection", "")  # noqa: SIM112 - as Azure spells it
    host = os.environ.get("ServiceBusConnection__fullyQualifiedNamespace", "")  # noqa: SIM112
    async with AsyncExitStack() as stack:
        if connection:
            client = ServiceBusClient.from_connection_string(connection)
        else:
            credential = await stack.enter_async_context(DefaultAzureCredential())
            client = ServiceBusClient(host, credential)
        yield await stack.enter_async_context(client)


async def from_service_bus(copy: Copy, seconds: float | None = None) -> None:
    """Receive messages until none came for `seconds` (None: for ever). A message is completed after
    it was applied; if the program dies in between, it comes again."""
    async with (
        service_bus() as client,
        client.get_subscription_receiver(TOPIC, SUBSCRIPTION, max_wait_time=seconds) as receiver,
    ):
        async for message in receiver:
            show(copy.take(b"".join(message.body)))
            await receiver.complete_message(message)


async def from_laptop(copy: Copy, folder: Path, seconds: float | None = None) -> None:
    """Receive messages from the embedded topic."""
    topic = SqliteTopic(folder / "muster.sqlite")
    queue = await topic.subscribe(SUBSCRIPTION)
    try:
        while True:
            messages = await queue.receive(10, 60 if seconds is None else seconds)
            for message in messages:
                show(copy.take(message.body))
                await queue.complete(message)
            if not messages and seconds is not None:
                return
    finally:
        await queue.close()
        await topic.close()


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Until Ctrl+C."""
    if any(name.startswith("ServiceBusConnection") for name in os.environ):
        asyncio.run(from_service_bus(Copy()))
    else:
        folder = Path(os.environ.get("MUSTER_DATA", ".muster"))
        show(f"Waiting for changes of access in {folder}")
        asyncio.run(from_laptop(Copy(), folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
