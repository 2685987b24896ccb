"""Two workers on one user, and a change between any two steps of one worker."""

import asyncio
from typing import Any

import pytest

from directory.access import access_id
from directory.documents import membership_id
from directory.store import NotFound
from tests.reconciler.world import TENANT, Hooked, World


class Pause:
    """Stops the first call of a method until `go`; `reached` tells that it is there."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.reached = asyncio.Event()
        self._gate = asyncio.Event()

    async def __call__(self, method: str, *_: Any) -> None:
        if method == self._method and not self.reached.is_set():
            self.reached.set()
            await self._gate.wait()

    def go(self) -> None:
        self._gate.set()


async def member(world: World) -> None:
    await world.put_user("u0")
    await world.put_group("staff")
    await world.put_mapping("staff", ["role:Reader"])
    await world.change_members("staff", ["u0"])
    await world.drain()
    await world.settled()


async def test_a_stale_write_fails_even_where_the_newer_truth_changed_nothing(
    world: World,
) -> None:
    """A reads the record and the truth "removed" and waits before its write. The member is added
    again; B reads the same record and finds nothing to change. A's write must not stay."""
    await member(world)
    pause = Pause("batch")
    await world.change_members("staff", removed=["u0"])
    a = asyncio.create_task(world.recompute(["u0"], "a", Hooked(world.store, before=pause)))
    await pause.reached.wait()
    await world.change_members("staff", ["u0"])
    await world.recompute(["u0"], "b")
    pause.go()
    await a
    assert await world.held() == {"u0": (True, frozenset({"role:Reader"}))}
    assert (await world.access("u0")).version > 3
    await world.drain()
    await world.settled()


async def test_a_user_deleted_while_the_first_record_is_written_leaves_none(
    world: World,
) -> None:
    """The deletion's worker finds no record to delete; the record that A then creates must not
    outlive A."""
    await world.put_user("u0")
    pause = Pause("batch")
    a = asyncio.create_task(world.recompute(["u0"], "a", Hooked(world.store, before=pause)))
    await pause.reached.wait()
    await world.delete_user("u0")
    await world.drain()
    pause.go()
    await a
    with pytest.raises(NotFound):
        await world.store.read(TENANT, access_id("u0"))
    await world.settled()


async def test_any_change_between_any_two_steps_ends_right(world: World) -> None:
    """One worker stops before its k-th call, whatever that is, while another change is made and
    reconciled."""
    for step in range(1, 40):
        await member(world)
        calls = 0
        stopped = asyncio.Event()
        go = asyncio.Event()

        async def stop(method: str, asked: tuple[Any, ...], at: int = step) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                stopped.set()  # noqa: B023 (used within its round)
                await go.wait()  # noqa: B023

        await world.change_members("staff", removed=["u0"])
        event = world.queue.pop(0)[0]
        reconciler = world.reconciler(Hooked(world.store, before=stop))
        a = asyncio.create_task(reconciler.handle(TENANT, event))
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([a, waiting], return_when=asyncio.FIRST_COMPLETED)
        await world.change_members("staff", ["u0"])
        await world.drain()
        go.set()
        await a
        waiting.cancel()
        await world.settled()
        if not stopped.is_set():
            break
        await world.delete_user("u0")
        await world.delete_group("staff")
        await world.drain()
    assert 5 < step < 39


async def test_many_workers_on_the_same_users(world: World) -> None:
    users = [f"u{number}" for number in range(20)]
    await world.put_group("staff")
    await world.put_mapping("staff", ["role:Reader"])
    for user in users:
        await world.put_user(user)
    await world.change_members("staff", users)

    async def elsewhere(method: str, asked: tuple[Any, ...]) -> None:
        await asyncio.sleep(0)

    store = Hooked(world.store, elsewhere, elsewhere)
    await asyncio.gather(*(world.recompute(users, "e", store) for _ in range(4)))
    await world.drain()
    await world.settled()
    assert membership_id("staff", "u0") in {d["id"] for d in await world.documents("Membership")}
