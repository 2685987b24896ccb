"""The topic hears of every change of access that the application can see, whatever fails."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest

from directory.access import AccessChange, AccessState, Grant
from directory.store import Delete
from queues.port import BODY_BYTES, Message, QueueError
from reconciler.publishing import Publisher, message_of, published
from reconciler.worker import Reconciler
from tests.reconciler.world import TENANT, Hooked, World


class Topic:
    """Keeps what it is sent, unless it is `down`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.properties: list[dict[str, Any]] = []
        self.down = False

    async def send(self, messages: Sequence[Message]) -> None:
        if self.down:
            raise QueueError("The topic is down.")
        self.messages += [orjson.loads(message.body) for message in messages]
        self.ids += [message.id for message in messages]
        self.properties += [{**message.properties} for message in messages]

    async def close(self) -> None:
        """Nothing is held."""


async def sales(world: World, publisher: Publisher) -> Reconciler:
    """A user in a group that is about to be mapped."""
    reconciler = world.reconciler(publish=publisher.publish)
    await world.put_user("u1")
    await world.put_group("sales")
    await world.change_members("sales", ["u1"])
    await world.drain(reconciler)
    return reconciler


async def rows(world: World) -> int:
    return len(await world.documents("Publication"))


async def test_the_application_hears_what_was_and_what_is(world: World) -> None:
    topic = Topic()
    publisher = Publisher(topic, world.store, world.now)
    reconciler = await sales(world, publisher)
    topic.messages.clear()
    topic.properties.clear()
    await world.put_mapping("sales", ["role:Owner"])
    cause = world.queue[0][0]
    await world.drain(reconciler)
    await world.put_mapping("sales", ["role:Owner"])  # another version of the same
    await world.drain(reconciler)
    await world.put_user("u1", active=False)
    await world.drain(reconciler)
    await world.delete_user("u1")
    await world.drain(reconciler)
    nothing: dict[str, Any] = {"enabled": True, "reasons": [], "grants": []}
    owner = {**nothing, "grants": [{"kind": "role", "key": "Owner"}]}
    inactive = {**nothing, "enabled": False, "reasons": ["inactive"]}
    heard = [(m["before"], m["after"]) for m in topic.messages]
    assert heard == [(nothing, owner), (owner, inactive), (inactive, None)]
    assert topic.properties == [
        {"tenant": TENANT, "enabled": True, "gained": "/role/"},
        {"tenant": TENANT, "enabled": False, "lost": "/role/"},
        {"tenant": TENANT, "enabled": False},
    ]
    first = topic.messages[0]
    assert (first["tenantId"], first["userId"], first["eventId"]) == (TENANT, "u1", cause)
    assert [m["version"] for m in topic.messages] == sorted({m["version"] for m in topic.messages})
    assert await rows(world) == 0


async def test_a_topic_that_is_down_stops_nobody_and_hears_of_it_later(world: World) -> None:
    topic = Topic()
    publisher = Publisher(topic, world.store, world.now)
    topic.down = True
    await sales(world, publisher)
    assert (await world.held())["u1"] == (True, frozenset())
    left = await rows(world)
    assert left > 0
    with pytest.raises(QueueError):
        await publisher.resend_pending(0)
    topic.down = False
    assert await publisher.resend_pending(3600) == 0, "they are not so old yet"
    world.now.moment += timedelta(hours=2)
    assert await publisher.resend_pending(3600) == len(topic.ids) == left
    assert await rows(world) == 0
    await world.settled_but_for_the_topic()


async def test_a_death_between_sending_and_noting_it_sends_the_same_message_again(
    world: World,
) -> None:
    topic = Topic()

    async def die(method: str, asked: tuple[Any, ...]) -> None:
        if method == "batch" and all(isinstance(operation, Delete) for operation in asked[1]):
            raise RuntimeError

    dying = Publisher(topic, Hooked(world.store, die), world.now)
    with pytest.raises(RuntimeError):
        await sales(world, dying)
    assert await rows(world) == 1
    await Publisher(topic, world.store, world.now).resend_pending(-60)
    assert await rows(world) == 0
    assert topic.ids[0] == topic.ids[1]
    assert topic.messages[0] == topic.messages[1]
    world.queue.insert(0, ("e0000", None))  # the message comes again
    await world.drain()
    await world.settled_but_for_the_topic()
    assert len(topic.ids) == 2


def test_more_grants_than_a_message_holds_are_left_to_the_access_api(world: World) -> None:
    grants = tuple(Grant(kind="role", key=f"{n:0100}", sources=()) for n in range(3000))
    change = AccessChange(
        tenant_id=TENANT,
        change_id="c",
        user_id="u",
        version=1,
        at=world.now(),
        event_id="e",
        after=AccessState(enabled=True, grants=grants),
        ttl=1,
    )
    message = message_of(change)
    assert len(message.body) < BODY_BYTES
    told = orjson.loads(message.body)
    assert (told["complete"], told["after"]) == (False, {"enabled": True, "reasons": []})


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"tenantId": ""}', b'{"tenantId": 1}'])
def test_a_message_of_somebody_else_s_names_no_tenant(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"tenantId|Input"):
        published(body)
    assert published(b'{"tenantId": "contoso"}') == "contoso"
