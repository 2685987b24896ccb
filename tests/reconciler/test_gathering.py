"""Recomputations that are done together: each is answered by work that began after it was asked
for, and one that fails fails alone."""

import asyncio

import pytest

from directory.store import TooLarge, Unavailable
from reconciler.gathering import Causes, Gathering


class Recorder:
    """Recomputes nothing, and remembers the pages; holds them up while `open` is not set."""

    def __init__(self) -> None:
        self.pages: list[tuple[str, dict[str, str]]] = []
        self.open = asyncio.Event()
        self.failures: dict[str, Exception] = {}

    async def __call__(self, tenant_id: str, causes: Causes) -> set[str]:
        """One page; answers its users."""
        self.pages.append((tenant_id, dict(causes)))
        await self.open.wait()
        for user in causes:
            if user in self.failures:
                raise self.failures[user]
        return {*causes}


async def test_what_is_asked_meanwhile_makes_the_next_page() -> None:
    recorder = Recorder()
    gathering = Gathering(recorder, page=3)
    asked = [asyncio.create_task(gathering.ask("t", {f"u{n}": f"e{n}"})) for n in range(5)]
    other = asyncio.create_task(gathering.ask("other", {"u": "e"}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    again = asyncio.create_task(gathering.ask("t", {"u0": "later"}))
    await asyncio.sleep(0)
    assert not any(task.done() for task in (*asked, other, again))
    recorder.open.set()
    answers = await asyncio.gather(*asked, other, again)
    first, second = {"u0", "u1", "u2"}, {"u3", "u4", "u0"}
    assert answers == [first, first, first, second, second, {"u"}, second]
    # u0's first page began before it was asked for again, so it is in a later one, too.
    assert [causes for tenant, causes in recorder.pages if tenant == "t"] == [
        {"u0": "e0", "u1": "e1", "u2": "e2"},
        {"u3": "e3", "u4": "e4", "u0": "later"},
    ]
    assert ("other", {"u": "e"}) in recorder.pages[:2]


async def test_a_request_is_not_divided() -> None:
    recorder = Recorder()
    recorder.open.set()
    gathering = Gathering(recorder, page=4)
    requests: list[Causes] = [{"a": "1"}, {"b": "2", "c": "2"}, {"d": "3", "e": "3"}]
    await asyncio.gather(*(gathering.ask("t", causes) for causes in requests))
    assert [[*causes] for _, causes in recorder.pages] == [["a", "b", "c"], ["d", "e"]]


@pytest.mark.parametrize(
    ("error", "failed"),
    [(TooLarge("x"), [False, False, True, False]), (Unavailable("x"), [True] * 4)],
)
async def test_one_that_fails_fails_alone(error: Exception, failed: list[bool]) -> None:
    """Unless it is the store that asks for patience."""
    recorder = Recorder()
    recorder.open.set()
    recorder.failures["u2"] = error
    gathering = Gathering(recorder, page=10)
    outcomes = await asyncio.gather(
        *(gathering.ask("t", {f"u{n}": "e"}) for n in range(4)), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == failed
    await gathering.ask("t", {"u9": "e"})  # and it goes on


async def test_nobody_waits_for_work_that_is_gone_and_the_next_begins_anew() -> None:
    recorder = Recorder()
    gathering = Gathering(recorder, page=1)
    asked = [asyncio.create_task(gathering.ask("t", {f"u{n}": "e"})) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (work,) = gathering._working
    work.cancel()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
    recorder.open.set()
    await gathering.ask("t", {"u": "e"})
    assert recorder.pages[-1] == ("t", {"u": "e"})
