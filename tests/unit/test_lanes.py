"""Threads for long work: one per tenant at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from directory.lanes import Lanes


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    lanes = Lanes(2, "test")
    yield lanes
    await lanes.close()


async def test_a_tenant_with_many_jobs_leaves_a_thread_to_others(lanes: Lanes) -> None:
    release = threading.Event()
    order: list[str] = []

    def held() -> None:
        assert release.wait(10)
        order.append("acme")

    acme = [asyncio.create_task(lanes.run("acme", held)) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.wait_for(lanes.run("other", lambda: order.append("other")), 5)
    assert order == ["other"]
    release.set()
    await asyncio.gather(*acme)
    assert order == ["other", *["acme"] * 5]


async def test_jobs_of_a_tenant_run_one_after_the_other(lanes: Lanes) -> None:
    running = threading.Semaphore(1)

    def alone() -> bool:
        first = running.acquire(blocking=False)
        threading.Event().wait(0.01)
        if first:
            running.release()
        return first

    assert all(await asyncio.gather(*(lanes.run("acme", alone) for _ in range(5))))


async def test_a_job_raises_where_it_is_awaited_and_the_next_one_runs(lanes: Lanes) -> None:
    with pytest.raises(ZeroDivisionError):
        await lanes.run("acme", lambda: 1 // 0)
    assert await lanes.run("acme", lambda: 2) == 2


async def test_a_job_that_nobody_awaits_keeps_its_turn_until_it_ends(lanes: Lanes) -> None:
    release, ended = threading.Event(), threading.Event()

    def held() -> None:
        assert release.wait(10)
        ended.set()

    abandoned = asyncio.create_task(lanes.run("acme", held))
    await asyncio.sleep(0.05)
    abandoned.cancel()
    next_one = asyncio.create_task(lanes.run("acme", ended.is_set))
    await asyncio.sleep(0.05)
    assert not next_one.done()
    release.set()
    assert await next_one is True
