"""The example consumer, on both topics that there are."""

import time
from pathlib import Path

import orjson
import pytest

from examples.access_changes import SUBSCRIPTION, TOPIC, Copy, from_laptop, from_service_bus
from queues.port import Message
from queues.servicebus.sender import ServiceBusNamespace, ServiceBusSender
from queues.sqlite.topic import SqliteTopic
from tests.emulators.servicebus import ServiceBusStandIn


def change(version: int, *grants: str, user: str = "u", enabled: bool = True) -> Message:
    held = [{"kind": "role", "key": key} for key in grants]
    reasons = [] if enabled else ["inactive"]
    after = {"enabled": enabled, "reasons": reasons, "grants": held}
    body = {"userId": user, "version": version, "after": after, "complete": True}
    return Message(f"{user}{version}", orjson.dumps(body))


MESSAGES = (change(1, "a"), change(3, enabled=False), change(2, "a", "b"), change(1, user="v"))
SHOWN = [
    "u version 1: enabled, role a",
    "u version 3: disabled (inactive), no grants",
    "u version 2: known already",
    "v version 1: enabled, no grants",
]


async def test_on_service_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entity = f"{TOPIC}/Subscriptions/{SUBSCRIPTION}"
    async with ServiceBusStandIn(tmp_path, time.time, [entity]) as stand_in:
        monkeypatch.setenv("ServiceBusConnection", stand_in.connection_string)
        sender = ServiceBusSender(ServiceBusNamespace(stand_in.connection_string), entity)
        await sender.send(MESSAGES)
        copy = Copy()
        await from_service_bus(copy, seconds=1)
        await sender.close()
    assert capsys.readouterr().out.splitlines() == SHOWN
    assert copy.known["u"]["version"] == 3


async def test_on_the_embedded_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic = SqliteTopic(tmp_path / "muster.sqlite")
    await (await topic.subscribe(SUBSCRIPTION)).close()
    await topic.send(MESSAGES)
    await from_laptop(Copy(), tmp_path, seconds=0.1)
    await topic.close()
    assert capsys.readouterr().out.splitlines() == SHOWN
