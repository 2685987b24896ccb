"""The embedded topic: every subscription gets what is sent from its beginning on."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queues.port import Message
from queues.sqlite.topic import SqliteTopic


@pytest.fixture
async def topic(tmp_path: Path) -> AsyncIterator[SqliteTopic]:
    topic = SqliteTopic(tmp_path / "muster.sqlite")
    yield topic
    await topic.close()


async def received(topic: SqliteTopic, name: str) -> list[str]:
    """Take everything that a subscription holds."""
    queue = await topic.subscribe(name)
    messages = await queue.receive(100)
    for message in messages:
        await queue.complete(message)
    await queue.close()
    return [message.id for message in messages]


async def test_each_subscription_gets_everything_once(topic: SqliteTopic) -> None:
    for name in ("a", "b"):
        assert await received(topic, name) == []
    await topic.send([Message("1", b"{}"), Message("2", b"{}")])
    await topic.send([Message("2", b"{}"), Message("3", b"{}")])
    assert await received(topic, "a") == ["1", "2", "3"]
    assert await received(topic, "a") == []
    assert await received(topic, "b") == ["1", "2", "3"]


async def test_what_nobody_subscribed_to_is_gone(topic: SqliteTopic) -> None:
    await topic.send([Message("1", b"{}")])
    assert await received(topic, "a") == []
    with pytest.raises(ValueError, match="message id"):
        await topic.send([Message("", b"{}")])


async def test_a_message_keeps_its_properties_in_a_file_of_an_earlier_version(
    topic: SqliteTopic, tmp_path: Path
) -> None:
    queue = await topic.subscribe("a")
    with sqlite3.connect(tmp_path / "muster.sqlite") as earlier:
        for table in ("queue_message", "queue_dead_letter"):
            earlier.execute(f"ALTER TABLE {table} DROP COLUMN properties")
    earlier.close()
    later = SqliteTopic(tmp_path / "muster.sqlite")
    properties: dict[str, str | bool] = {"tenant": "contoso", "enabled": True}
    await later.send([Message("1", b"{}", properties=properties), Message("2", b"{}")])
    first, second = await queue.receive(2)
    assert ({**first.properties}, {**second.properties}) == (properties, {})
    await queue.dead_letter(first, "Test")
    await queue.resubmit()
    (again,) = await queue.receive()
    assert {**again.properties} == properties
    await queue.close()
    await later.close()
