"""Published keys: remembered, renewed, rotated, and what an issuer that is down costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from starlette.responses import RedirectResponse, Response

from tests.environment import Environment
from tests.trust.issuer import DIRECTORY, Issuer, private_key, published
from trust.keysets import KeySets, parse_key_set
from trust.published import (
    ANSWER_BYTES,
    FRESH_SECONDS,
    KEPT_SECONDS,
    LOOK_AGAIN_SECONDS,
    RETRY_SECONDS,
    Published,
)
from trust.refusal import KeysUnavailable


@dataclass
class Asking:
    """Key sets on a clock that a test moves."""

    issuer: Issuer
    key_sets: KeySets
    seconds: float = 0.0

    async def finds(self, name: str) -> bool:
        """Whether a key is found, and is the right one."""
        key = await self.key_sets.key(f"{self.issuer.url}/keys", name)
        if key is not None:
            right = private_key(name).public_key().public_numbers()
            assert key.public_numbers() == right
        return key is not None

    @property
    def fetching(self) -> asyncio.Task[None] | None:
        """The fetch under way."""
        return self.key_sets.published.document(f"{self.issuer.url}/keys", parse_key_set).fetching

    async def is_unavailable(self, name: str = "first") -> bool:
        """Whether it cannot be told if there is such a key."""
        try:
            await self.finds(name)
        except KeysUnavailable:
            return True
        return False


@pytest.fixture
async def asking(issuer: Issuer) -> AsyncIterator[Asking]:
    made = Asking(issuer, KeySets(Published(lambda: made.seconds)))
    yield made
    await made.key_sets.close()


async def test_a_set_is_fetched_once_however_many_ask(asking: Asking) -> None:
    assert await asyncio.gather(*(asking.finds("first") for _ in range(20))) == [True] * 20
    asking.seconds = FRESH_SECONDS - 1
    assert await asking.finds("first")
    assert len(asking.issuer.asked) == 1


async def test_a_new_key_is_found_at_once_by_all_who_bring_it(asking: Asking) -> None:
    assert await asking.finds("first")
    asking.issuer.keys = [published("first"), published("second")]
    assert await asyncio.gather(*(asking.finds("second") for _ in range(20))) == [True] * 20
    assert len(asking.issuer.asked) == 2


async def test_unknown_keys_cost_the_issuer_one_request_a_minute(asking: Asking) -> None:
    assert await asking.finds("first")
    for number in range(50):
        assert not await asking.finds(f"forged-{number}")
    assert len(asking.issuer.asked) == 2
    asking.seconds += LOOK_AGAIN_SECONDS - 1
    assert not await asking.finds("forged")
    assert len(asking.issuer.asked) == 2
    asking.seconds += 1
    asking.issuer.keys = [published("second")]
    assert await asking.finds("second")
    assert len(asking.issuer.asked) == 3


async def test_a_forged_first_key_id_is_one_request(asking: Asking) -> None:
    assert not await asking.finds("forged")
    assert len(asking.issuer.asked) == 1


async def test_a_withdrawn_key_counts_for_an_hour_at_most(asking: Asking) -> None:
    assert await asking.finds("first")
    asking.issuer.keys = [published("second")]
    asking.seconds = FRESH_SECONDS
    assert await asking.finds("first"), "renewed beside the request"
    await until(lambda: len(asking.issuer.asked) == 2)
    await until(lambda: asking.fetching is None)
    assert not await asking.finds("first")
    assert await asking.finds("second")


async def test_an_outage_is_served_from_what_is_known(asking: Asking) -> None:
    assert await asking.finds("first")
    asking.issuer.answer = Response(status_code=503)
    asking.seconds = KEPT_SECONDS - 1
    assert await asking.finds("first")
    assert await asking.is_unavailable("second"), "nobody can tell whether there is such a key"
    asking.seconds = KEPT_SECONDS
    assert await asking.is_unavailable("first"), "no key counts for ever"
    asking.issuer.answer = None
    asking.seconds += RETRY_SECONDS
    assert await asking.finds("first")


async def test_an_issuer_that_is_down_is_asked_every_few_seconds_only(asking: Asking) -> None:
    asking.issuer.answer = Response(status_code=500)
    for _ in range(10):
        assert await asking.is_unavailable()
    assert len(asking.issuer.asked) == 1
    asking.seconds = RETRY_SECONDS
    assert await asking.is_unavailable()
    assert len(asking.issuer.asked) == 2


GOOD = json.dumps({"keys": [published("first")]})


@pytest.mark.parametrize(
    "answer",
    [
        RedirectResponse("/elsewhere"),
        Response("<html>", media_type="text/html"),
        Response('{"keys": []}'),
        Response(GOOD, 404),
        Response(GOOD + " " * ANSWER_BYTES),
    ],
    ids=["redirect", "a page", "no keys", "not found", "too large"],
)
async def test_what_is_no_key_set_changes_nothing(asking: Asking, answer: Response) -> None:
    assert await asking.finds("first")
    asking.issuer.answer = answer
    assert await asking.is_unavailable("second")
    assert await asking.finds("first")
    assert set(asking.issuer.asked) == {"/keys"}


async def test_nobody_there(asking: Asking) -> None:
    asking.issuer.url = "http://127.0.0.1:9"
    assert await asking.is_unavailable()


async def test_an_issuer_that_does_not_answer_is_given_up(asking: Asking) -> None:
    asking.key_sets.published.fetch_seconds = 0.05
    asking.issuer.pause = asyncio.Event()
    assert await asking.is_unavailable()


async def test_who_gives_up_waiting_leaves_the_fetch_to_others(asking: Asking) -> None:
    asking.issuer.pause = asyncio.Event()
    impatient = asyncio.create_task(asking.finds("first"))
    patient = asyncio.create_task(asking.finds("first"))
    await until(lambda: bool(asking.issuer.asked))
    impatient.cancel()
    asking.issuer.pause.set()
    assert await patient
    assert len(asking.issuer.asked) == 1


class TestTraffic:
    """What Entra ID's requests get meanwhile."""

    async def test_keys_rotate_without_a_refused_request(
        self, muster: Environment, issuer: Issuer
    ) -> None:
        statuses: list[int] = []
        token = issuer.token()
        rotated = asyncio.Event()

        async def entra() -> None:
            while True:
                headers = {"Authorization": f"Bearer {token}"}
                statuses.append((await muster.client.get("/Users", headers=headers)).status_code)
                if rotated.is_set():
                    return
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(entra())
            await until(lambda: len(statuses) > 20)
            issuer.keys = [published("first"), published("second")]
            token = issuer.token(key="second")
            before = len(statuses)
            await until(lambda: len(statuses) > before + 20)
            rotated.set()
        assert set(statuses) == {200}
        assert len(issuer.asked) == 2

    async def test_an_outage_is_no_401(self, muster: Environment, issuer: Issuer) -> None:
        """A 401 would put Entra ID's job in quarantine."""
        issuer.answer = Response(status_code=503)
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        answer = await muster.client.get("/Users", headers=headers)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert DIRECTORY not in answer.text


async def until(condition: Callable[[], bool]) -> None:
    """Give way to others until something has come about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
