"""Groups as an administrator sees them, row by row of the product's table."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from administration.reading.groups import GroupOverview, list_groups, read_group
from directory.documents import EntitlementKey, event_id, group_id
from directory.portions import Portions
from directory.store import Assign, BadContinuation, Update
from queues.relay import parse
from tests.environment import TENANT, Environment, running
from tests.reconciler.world import Hooked
from tests.scim.messages import NOBODY, add, create_group, create_users, operation, patch, remove

OWNER = EntitlementKey(kind="role", key="owner")
VISITORS = EntitlementKey(kind="role", key="visitorsAdministrator")


async def seen(environment: Environment, group: str) -> GroupOverview:
    """The group, which looks the same alone and in the list."""
    store = environment.application.store
    alone = await read_group(store, TENANT, group)
    listed = await list_groups(store, TENANT)
    assert alone is not None
    assert alone in listed.rows
    return alone


async def status(environment: Environment, group: str) -> tuple[str, int, int]:
    found = await seen(environment, group)
    return found.status, found.done, found.total


async def deliver(environment: Environment, messages: int) -> None:
    """Let the reconciler handle so many messages."""
    application, queue = environment.application, environment.queue
    for _ in range(messages):
        await application.relay.drain()
        (message,) = await queue.receive(1)
        await application.reconciler.handle_all(parse(message.body), delivery=1, last=False)
        await queue.complete(message)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Environment]:
    """A message's share is two users."""
    async with running(tmp_path, portions=Portions(users_per_batch=2, pages_per_message=1)) as slow:
        yield slow


async def test_a_group_from_its_creation_on(slow: Environment) -> None:
    scim = slow.client
    users = await create_users(scim, 5)
    group = await create_group(scim, "Sales", users)
    assert await status(slow, group) == ("New", 0, 0)
    await slow.settle()
    assert await status(slow, group) == ("New", 0, 0)

    await slow.mappings.save(group, (OWNER,))
    assert await status(slow, group) == ("Applying changes", 0, 5)
    await deliver(slow, 1)
    assert await status(slow, group) == ("Applying changes", 2, 5)
    await slow.mappings.save(group, (VISITORS,))
    assert await status(slow, group) == ("Applying changes", 0, 5)  # the first is over
    await slow.settle()
    found = await seen(slow, group)
    assert (found.status, found.version, found.applied_version) == ("Active", 2, 2)
    assert [one.display_name for one in found.entitlements] == ["Visitors Administrator"]

    await scim.patch(f"/Groups/{group}", json=remove(users[:3]))
    assert await status(slow, group) == ("Applying changes", 0, 3)
    await deliver(slow, 1)
    assert await status(slow, group) == ("Applying changes", 2, 3)
    await scim.patch(f"/Groups/{group}", json=add(users[:1]))
    assert await status(slow, group) == ("Applying changes", 2, 4)
    await slow.settle()
    assert await status(slow, group) == ("Active", 0, 0)
    await scim.patch(f"/Groups/{group}", json=patch(operation("replace", "displayName", "S")))
    assert await status(slow, group) == ("Active", 0, 0)
    assert (await seen(slow, group)).members == 3


async def test_a_change_inside_a_nested_group_shows_there(environment: Environment) -> None:
    (user,) = await create_users(environment.client, 1)
    inner = await create_group(environment.client, "Inner")
    outer = await create_group(environment.client, "Outer", [inner])
    for group in (inner, outer):
        await environment.mappings.save(group, (OWNER,))
    await environment.settle()
    await environment.client.patch(f"/Groups/{inner}", json=add([user]))
    assert await status(environment, inner) == ("Applying changes", 0, 1)
    assert await status(environment, outer) == ("Active", 0, 0)


async def test_what_failed_is_named(environment: Environment) -> None:
    group = await create_group(environment.client, "Sales")
    mapping = await environment.mappings.save(group, (OWNER,))
    failure = Update(event_id(mapping.event_id), (Assign(("state",), "failed"),))
    await environment.application.store.batch(TENANT, [failure])
    found = await seen(environment, group)
    assert (found.status, found.failed) == ("Applying changes", (mapping.event_id,))


async def test_a_list_is_paged_and_reads_what_it_shows(environment: Environment) -> None:
    store = environment.application.store
    for number in range(7):
        await create_group(environment.client, f"Group {number}")
    asked: list[str] = []

    async def note(method: str, _: tuple[Any, ...]) -> None:
        asked.append(method)

    watched = Hooked(store, before=note)
    first = await list_groups(watched, TENANT, limit=4)
    assert [group.display_name for group in first.rows] == [f"Group {n}" for n in range(4)]
    assert sorted(asked) == ["count"] * 4 + ["query"] * 2 + ["read_many"]
    second = await list_groups(store, TENANT, limit=4, after=first.next)
    assert [group.display_name for group in second.rows] == [f"Group {n}" for n in range(4, 7)]
    assert second.next is None
    (found,) = (await list_groups(store, TENANT, "UP 3")).rows
    assert found.display_name == "Group 3"
    with pytest.raises(BadContinuation):
        await list_groups(store, TENANT, after="x")
    assert await read_group(store, TENANT, "nobody") is None
    assert await read_group(store, TENANT, NOBODY) is None


@pytest.mark.parametrize("change", ["nothing new", "displayName", "members", "PUT"])
async def test_the_first_write_of_entra_id_ends_the_wait(
    environment: Environment, change: str
) -> None:
    scim, store = environment.client, environment.application.store
    (user,) = await create_users(scim, 1)
    group = await create_group(scim, "Sales")
    imported = (Assign(("source",), "manual"), Assign(("connectionId",), None))
    await store.batch(TENANT, [Update(group_id(group), imported)])
    assert await status(environment, group) == ("Waiting for sync", 0, 0)
    await scim.get("/Groups", params={"filter": 'displayName eq "Sales"'})
    await scim.get(f"/Groups/{group}")
    assert await status(environment, group) == ("Waiting for sync", 0, 0)
    if change == "PUT":
        body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Sales"}
        answer = await scim.put(f"/Groups/{group}", json=body)
    else:
        message = {
            "nothing new": patch(operation("Replace", "displayName", "Sales")),
            "displayName": patch(operation("Replace", "displayName", "Sales EU")),
            "members": add([user]),
        }
        answer = await scim.patch(f"/Groups/{group}", json=message[change])
    assert answer.is_success, answer.text
    found = await seen(environment, group)
    assert (found.status, found.source, found.connection_id) == ("New", "scim", "entra")
