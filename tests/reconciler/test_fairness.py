"""A large event of one tenant lets everybody else go first, piece by piece."""

from dataclasses import replace
from typing import Any

from directory.access import access_id
from directory.documents import Event
from directory.store import Create
from directory.tenants import Tenant
from tests.reconciler.world import TENANT, World

SMALL = "fabrikam"
CROWD = 240


async def small_tenant(world: World) -> str:
    """Another customer in the same store, of whom one user has just changed; its event."""
    tenant = Tenant(tenant_id=SMALL, name="Fabrikam").to_document()
    user = (await world.store.read(TENANT, "user:u0")).document | {"tenantId": SMALL}
    event = Event.from_document(await world.event("e0001")).model_copy(
        update={"tenant_id": SMALL, "state": "pending", "ttl": None, "done_at": None}
    )
    documents = [tenant, user, event.to_document()]
    await world.store.batch(SMALL, [Create(document) for document in documents])
    return event.event_id


async def test_another_tenant_waits_for_one_piece_of_a_large_event(world: World) -> None:
    world.portions = replace(world.portions, pages_per_message=1)
    await world.put_group("everybody")
    crowd = [f"u{number}" for number in range(CROWD)]
    for user in crowd:
        await world.put_user(user)
    await world.change_members("everybody", crowd[:80])
    for start in range(80, CROWD, 80):
        await world.change_members("everybody", crowd[start : start + 80])
    await world.drain()
    await world.put_mapping("everybody", ["role:Owner"])
    queue: list[tuple[str, str, dict[str, Any] | None]] = [(TENANT, *world.queue.pop())]

    async def submit(*message: Any) -> None:
        queue.append(message)

    reconciler = world.reconciler(submit=submit)
    await reconciler.handle(*queue.pop(0))
    queue.append((SMALL, await small_tenant(world), None))
    handled = 0
    while not await world.store.read_many(SMALL, [access_id("u0")]):
        await reconciler.handle(*queue.pop(0))
        handled += 1
    assert handled == 2, "the piece that was there before, and the small tenant's own event"
    done = sum(bool(grants) for _, grants in (await world.held()).values())
    assert done == 2 * world.portions.users_per_batch < CROWD
    while queue:
        await reconciler.handle(*queue.pop(0))
    await world.settled()
