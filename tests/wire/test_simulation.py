"""The simulated Entra ID ends with the same access on SQLite and on Azure's wire protocols, on a
bad day of both services."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import MessageLockLostError
from pydantic import SecretStr
from rich.console import Console
from standardwebhooks import Webhook

from delivery import attempts
from delivery.endpoints import ACCESS_CHANGED
from directory.access import AccessChange
from directory.cosmos import store as cosmos
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.reading import every
from directory.store import Document, Query, Store
from laptop.simulation import checking
from laptop.simulation.command import Script, simulate
from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from reconciler import patience
from settings import Settings
from tests.consistency import Directory, assert_consistent
from tests.contract.counting import Counts, counted
from tests.delivery.receiver import Receiver, Reply, receiving
from tests.emulators.cosmos import Facade, Fault, serving
from tests.emulators.cosmos_container import Container
from tests.emulators.servicebus import SendFault, ServiceBusStandIn
from tests.environment import TENANT
from tests.reconciler.world import Hooked
from tests.wire.deployment import Deployment, Invoke, deployed, embedded
from wiring import Application

SEED = 20
LOCK_SECONDS = 2.0
TOO_LATE = (40, 130)
"""Which completions wait until the lock has expired."""
KILLS = 2
SUBSCRIPTION = f"{ACCESS_CHANGES}/Subscriptions/{WEBHOOKS}"


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as the outages are here."""
    monkeypatch.setattr(checking, "POLL_SECONDS", 0.2)
    impatient = partial(CosmosStore, pauses=(0.01, 0.05), throttle_retries=3)
    monkeypatch.setattr(cosmos, "CosmosStore", impatient)
    monkeypatch.setattr(attempts, "PAUSES", (0.0, *[0.1] * 9))
    monkeypatch.setattr(patience, "LONGEST_SECONDS", 0.3)


@pytest.mark.usefixtures("broken")
async def test_the_same_access_on_sqlite_and_on_a_bad_day_on_the_wire(tmp_path: Path) -> None:
    async with deployed(Settings(data=tmp_path), embedded) as laptop:
        worker = laptop.worker()
        expected = await play(laptop)
        await worker.kill()
        await assert_consistent(laptop.store, TENANT)
        expected_access = await effective_access(laptop.store)
    async with (
        receiving(*bad_day_of_the_application()) as receiver,
        on_the_wire(tmp_path) as region,
    ):
        secrets = await region.secrets_of_endpoint(receiver)
        chance = random.Random(SEED)
        region.facade.faults += (faults := bad_day_of_the_store(chance))
        region.bus.faults += (failures := bad_day_of_the_queue())
        async with dying_workers(region):
            found = await play(region.deployment)
            await region.emptied()
        store = region.deployment.store
        await assert_consistent(store, TENANT)
        assert await effective_access(store) == expected_access
        assert found["people"] == expected["people"]
        assert (found["wrong"], expected["wrong"]) == (0, 0)
        visible = await assert_told(store, await region.told())
        assert_posted(receiver, secrets, visible)
        assert len(region.facade.faults) < len(faults) / 4, "the day was too short"
        assert len(region.bus.faults) < len(failures) / 2, "the day was too short"
        assert min(region.trigger.lost, region.trigger.late, region.trigger.abandoned) > 0


async def play(deployment: Deployment) -> dict[str, Any]:
    """A small organisation, and two days of its changes."""
    script = Script(
        tenant_url=f"{deployment.url}/scim",
        access_url=f"{deployment.url}/access/v1",
        scim_token=deployment.token,
        access_token=deployment.access_token,
        users=25,
        groups=5,
        cycles=2,
        changes=15,
        seed=SEED,
    )
    operator = copy(deployment.application)
    operator.store = deployment.store
    summary = await simulate(script, Console(file=StringIO()), (operator, TENANT))
    await deployment.settled()
    return summary


class Sheltered(Hooked):
    """The store without its bad day, for the operator, who would do again what failed, and for the
    test."""

    def __init__(self, store: Store, facade: Facade) -> None:
        super().__init__(store)
        self._facade = facade

    async def _call[T](self, method: Callable[..., Awaitable[T]], *asked: Any) -> T:
        self._facade.calm += 1
        try:
            return await method(*asked)
        finally:
            self._facade.calm -= 1


@dataclass
class Region:
    """A deployment on the façade and the stand-in."""

    deployment: Deployment
    facade: Facade
    bus: ServiceBusStandIn
    trigger: "Trigger"

    async def secrets_of_endpoint(self, receiver: Receiver) -> list[str]:
        """The application asks to be sent every change of access; what it verifies with."""
        webhooks = self.deployment.application.webhooks
        url = f"http://127.0.0.1:{receiver.port}/changes"
        return await webhooks.secrets(await webhooks.create(url, types=[ACCESS_CHANGED]))

    async def emptied(self) -> None:
        """Wait until no queue has anything left, from the first to the last on a message's way;
        none ever gave up on one."""
        async with asyncio.timeout(60):
            for name in (DIRECTORY_EVENTS, SUBSCRIPTION, WEBHOOK_DELIVERIES):
                queue = self.bus.entities[name]
                while (counts := await counted(queue)).active or counts.scheduled:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                assert counts == Counts(active=0, scheduled=0, dead_lettered=0)

    async def told(self) -> list[dict[str, Any]]:
        """What the application hears from its subscription."""
        heard = []
        async with (
            ServiceBusClient.from_connection_string(self.bus.connection_string) as client,
            client.get_subscription_receiver(ACCESS_CHANGES, "application") as receiver,
        ):
            while messages := await receiver.receive_messages(100, 1):
                for message in messages:
                    heard.append(orjson.loads(b"".join(message.body)))
                    await receiver.complete_message(message)
        return heard


@asynccontextmanager
async def on_the_wire(folder: Path) -> AsyncIterator[Region]:
    async with (
        serving(Facade(Container(indexing_policy()))) as facade,
        ServiceBusStandIn(
            folder,
            time.time,
            (DIRECTORY_EVENTS, WEBHOOK_DELIVERIES),
            {ACCESS_CHANGES: ("application", WEBHOOKS)},
            lock_duration=LOCK_SECONDS,
        ) as bus,
        deployed(
            Settings(
                cosmos_endpoint=facade.endpoint,
                cosmos_key=SecretStr("Zm9v"),
                service_bus_connection=SecretStr(bus.connection_string),
                relay_after_seconds=2,
                webhook_private=True,
            ),
            trigger := Trigger(bus.connection_string),
        ) as deployment,
    ):
        deployment.store = Sheltered(deployment.store, facade)
        yield Region(deployment, facade, bus, trigger)


class Trigger:
    """The Service Bus trigger of the Functions host, through the real SDK: peek-lock, complete
    what returns, abandon what raises. Of its settlements some are lost and some too late."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self.completed = 0
        self.lost = 0
        self.late = 0
        self.abandoned = 0

    async def __call__(self, _: Application, invoke: Invoke) -> None:
        async with (
            ServiceBusClient.from_connection_string(self._connection_string) as client,
            client.get_queue_receiver(DIRECTORY_EVENTS) as events,
            client.get_subscription_receiver(ACCESS_CHANGES, WEBHOOKS) as changes,
            client.get_queue_receiver(WEBHOOK_DELIVERIES) as deliveries,
        ):
            await asyncio.gather(
                self._feed(events, DIRECTORY_EVENTS, invoke),
                self._feed(changes, WEBHOOKS, invoke),
                self._feed(deliveries, WEBHOOK_DELIVERIES, invoke),
            )

    async def _feed(self, receiver: ServiceBusReceiver, source: str, invoke: Invoke) -> None:
        while True:
            messages = await receiver.receive_messages(16, 1)
            works = (self._deliver(source, message, invoke) for message in messages)
            for message, ended in zip(messages, await asyncio.gather(*works), strict=True):
                await self._settle(receiver, message, ended)

    async def _deliver(
        self, source: str, message: ServiceBusReceivedMessage, invoke: Invoke
    ) -> bool:
        """Whether the function returned."""
        count = (message.delivery_count or 0) + 1
        try:
            await invoke(source, b"".join(message.body), message.message_id or "", count)
        except Exception:  # noqa: BLE001 (whatever it is, the message must come again)
            return False
        return True

    async def _settle(
        self, receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage, ended: bool
    ) -> None:
        if not ended:
            self.abandoned += 1
            with suppress(MessageLockLostError):
                await receiver.abandon_message(message)
            return
        self.completed += 1
        if self.completed % 9 == 0:
            self.lost += 1
            return  # it comes again when its lock has expired
        if self.completed in TOO_LATE:
            await asyncio.sleep(LOCK_SECONDS)
        try:
            await receiver.complete_message(message)
        except MessageLockLostError:
            self.late += 1


@asynccontextmanager
async def dying_workers(region: Region) -> AsyncIterator[None]:
    """A worker, which is killed at its work and replaced, twice."""
    workers = [region.deployment.worker()]

    async def kill() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(2)
            while not workers[-1].working:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await workers[-1].kill()
            workers.append(region.deployment.worker())

    killing = asyncio.create_task(kill())
    yield
    await killing
    await workers[-1].kill()


def bad_day_of_the_store(chance: random.Random) -> list[Fault]:
    """Two storms of 429, and a fault at every tenth request or so."""
    storms = [
        Fault("batch", "refuse", 429, retry_after_ms=2, times=60, skip=80),
        Fault("query", "refuse", 429, retry_after_ms=2, times=60, skip=250),
        Fault("read", "refuse", 429, retry_after_ms=2, times=60, skip=200),
    ]
    effects: list[Any] = [
        ("lose", 0),
        ("lose", 500),
        ("lose", 503),
        ("drop", 0),
        ("refuse", 500),
        ("refuse", 503),
        ("refuse", 449),
        ("refuse", 429),
    ]
    gusts = []
    for kind, requests in (("batch", 250), ("query", 500), ("read", 350)):
        for _ in range(requests // 10):
            effect, status = chance.choice(effects)
            skip = chance.randrange(requests)
            gusts.append(Fault(kind, effect, status, retry_after_ms=2, skip=skip))  # type: ignore[arg-type]
    return storms + gusts


def bad_day_of_the_queue() -> list[SendFault | None]:
    """Every third send fails, in each way in turn."""
    faults = [fault for fault in SendFault if fault is not SendFault.SILENCE]
    return [fault for one in faults * 3 for fault in (None, None, one)]


def bad_day_of_the_application() -> list[Reply]:
    """Every fifth request fails, in each way in turn."""
    failures = (Reply(500), Reply(429, {"retry-after": "0"}), Reply(302), Reply(503))
    return [reply for failure in failures * 3 for reply in (*[Reply()] * 4, failure)]


async def effective_access(store: Store) -> dict[str, Any]:
    """User name → access with where it comes from, in names instead of ids."""
    found = await Directory.read(store, TENANT)
    names = {
        id: document["resource"].get("userName") or document["resource"]["displayName"]
        for _, id, document in found.resources()
    }
    return {
        names[record["userId"]]: (
            record["enabled"],
            record["reasons"],
            sorted(
                (grant["kind"], grant["key"], names[source["groupId"]], source["mappingVersion"])
                for grant in record["grants"]
                for source in grant["sources"]
            ),
        )
        for record in found.of("Access").values()
    }


type Steps = dict[tuple[str, int], tuple[Document | None, Document | None]]
"""User and version → what the application is told of the state before and after."""


async def assert_told(store: Store, heard: list[dict[str, Any]]) -> Steps:
    """Every user's history leads to the record without a gap, and the application heard of each
    step that it can see, in its very words, and of nothing else. Answers those steps."""
    histories: dict[str, list[Document]] = {}
    async for stored in every(store, TENANT, Query("AccessChange", limit=1000)):
        change = AccessChange.from_document(stored.document)
        histories.setdefault(change.user_id, []).append(
            change.model_dump(by_alias=True, mode="json")
        )
    found = await Directory.read(store, TENANT)
    records = {record["userId"]: told(record) for record in found.of("Access").values()}
    visible: Steps = {}
    for user, history in histories.items():
        history.sort(key=lambda change: int(change["version"]))
        steps = [(told(change.get("before")), told(change.get("after"))) for change in history]
        assert [None, *(after for _, after in steps)] == [*(b for b, _ in steps), records[user]]
        visible |= {
            (user, change["version"]): step
            for change, step in zip(history, steps, strict=True)
            if step[0] != step[1]
        }
    assert histories.keys() == records.keys()
    assert_heard(heard, visible)
    return visible


def assert_posted(receiver: Receiver, secrets: list[str], visible: Steps) -> None:
    """The application's endpoint took each step at least once, signed."""
    bodies = [Webhook(secrets[0]).verify(body, headers) for _, headers, body in receiver.received]
    assert {body["type"] for body in bodies} == {ACCESS_CHANGED}
    assert_heard([body["data"] for body in bodies], visible)
    assert not receiver.replies, "the day was too short"


def assert_heard(heard: list[dict[str, Any]], visible: Steps) -> None:
    for message in heard:
        assert message["complete"]
        step = message["before"], message["after"]
        assert step == visible[message["userId"], message["version"]]
    assert {(message["userId"], message["version"]) for message in heard} == visible.keys()


def told(state: Document | None) -> Document | None:
    """What the application is told of a state."""
    if state is None:
        return None
    grants = [{"kind": grant["kind"], "key": grant["key"]} for grant in state["grants"]]
    return {"enabled": state["enabled"], "reasons": state["reasons"], "grants": grants}
