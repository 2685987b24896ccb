"""Every endpoint has every message in the end, or is disabled and says so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from administration.errors import AdministrationError
from delivery.attempts import PAUSES, Again, Answer, Disable, next_step
from delivery.message import BODY_BYTES, Delivery
from delivery.sending import HttpPoster
from delivery.slots import Slots
from delivery.worker import Deliveries
from directory.notices import Notice
from directory.store import Assign, Query, Unavailable, Update
from tests.contract.counting import counted
from tests.delivery.receiver import receiving
from tests.delivery.world import DAY, TENANT, Fate, World, roots, world
from tests.reconciler.places import PLACES
from tests.reconciler.world import Hooked
from trust.signing import PARTITION

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OK, FAILED, GONE = Answer(204), Answer(500), Answer(410)


@pytest.fixture(params=PLACES)
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, place=request.param) as found:
        yield found


async def told_of_disabling(world: World) -> list[Notice]:
    page = await world.store.query(PARTITION, Query("Notice"))
    notices = [Notice.from_document(stored.document) for stored in page.items]
    return [notice for notice in notices if notice.kind == "endpoint.disabled"]


@pytest.mark.parametrize(
    ("attempt", "answer", "step"),
    [
        (1, Answer(200), None),
        (10, Answer(299), None),
        (1, Answer(301), Again(5.5)),
        (1, Answer(failure="timeout"), Again(5.5)),
        (2, Answer(404), Again(330)),
        (9, Answer(500), Again(95_040)),
        (1, Answer(429, retry_after="120"), Again(120)),
        (3, Answer(503, retry_after="1"), Again(1980)),
        (1, Answer(503, retry_after=format_datetime(NOW + timedelta(minutes=2))), Again(120)),
        (1, Answer(503, retry_after="9" * 30), Again(86_400)),
        (1, Answer(503, retry_after="tomorrow"), Again(5.5)),
        (1, Answer(429, retry_after=format_datetime(NOW - DAY)), Again(5.5)),
        (1, Answer(500, retry_after="120"), Again(5.5)),
        (1, Answer(410), Disable("It answered 410 Gone.")),
    ],
)
def test_what_comes_after_an_attempt(attempt: int, answer: Answer, step: object) -> None:
    assert next_step(attempt, answer, NOW, chance=1.0) == step


def test_after_three_days_an_endpoint_is_given_up() -> None:
    assert sum(PAUSES) > 3 * 86_400
    last = next_step(len(PAUSES), Answer(failure="tls"), NOW, 0)
    assert isinstance(last, Disable)
    assert "10 attempts" in last.reason
    assert "tls" in last.reason


behaviours = st.lists(st.sampled_from([OK, FAILED, Answer(302), Answer(429, retry_after="60")]))
deaths = st.frozensets(st.integers(1, 120), max_size=6)


@settings(max_examples=20, deadline=None)
@given(
    fate=st.builds(Fate, before=deaths, after=deaths),
    first=behaviours,
    finally_=st.sampled_from([OK, FAILED, GONE]),
    changes=st.integers(1, 3),
)
def test_whatever_dies_when_everything_arrives_or_the_endpoint_is_disabled_and_says_so(
    fate: Fate, first: list[Answer], finally_: Answer, changes: int
) -> None:
    """At any call of the store, the queue or the receiver, done or not."""

    async def play(folder: Path) -> None:
        async with world(folder, fate) as found:
            doubtful = await found.endpoint("doubtful", *first[:12], finally_)
            well = await found.endpoint("well")
            sent = {await found.change() for _ in range(changes)}
            await found.settle()
            assert {*found.took(well)} >= sent
            doubtful = await found.webhooks.read(doubtful.endpoint_id)
            notices = await told_of_disabling(found)
            if doubtful.state == "enabled":
                assert {*found.took(doubtful)} >= sent
                assert notices == []
            else:
                (notice,) = notices
                assert doubtful.reason == notice.details["reason"]
                assert notice.notice_id in found.took(well)
            counts = await counted(found.queue)
            assert (counts.active, counts.scheduled, counts.dead_lettered) == (0, 0, 0)

    with TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_every_pause_of_the_specification_is_made_and_then_the_endpoint_is_disabled(
    running: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await running.endpoint("broken", FAILED)
    begin = running.now()
    message = await running.change()
    await running.settle()
    attempts = await running.webhooks.log(broken.endpoint_id, 100)
    assert [one.number for one in attempts] == list(range(10, 0, -1))
    assert {(one.message_id, one.outcome, one.tenant) for one in attempts} == {
        (message, "500", TENANT)
    }
    times = [(one.at - begin).total_seconds() for one in reversed(attempts)]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == pytest.approx([pause * 1.05 for pause in PAUSES[1:]], abs=0.1)
    assert attempts[0].next_at is None
    disabled = await running.webhooks.read(broken.endpoint_id)
    assert (disabled.state, "10 attempts" in disabled.reason) == ("disabled", True)
    assert f"{broken.endpoint_id} is disabled" in caplog.text
    await running.change()
    await running.settle()
    assert running.receivers.requests[broken.url] == 10, "nothing more is sent to it"
    with pytest.raises(AdministrationError, match="disabled"):
        await running.webhooks.resend(broken.endpoint_id, message)
    running.receivers.replies[broken.url] = [OK]
    await running.webhooks.set_state(broken.endpoint_id, "enabled")
    assert await running.webhooks.resend_since(broken.endpoint_id, begin) == 3
    await running.settle()
    told = [body["type"] for body in running.receivers.bodies]
    assert sorted(told) == ["access.changed", "access.changed", "endpoint.disabled"]
    assert running.took(broken)[0] == message, "the same id"
    assert await running.webhooks.log(broken.endpoint_id, 100, failed=True) == attempts


@pytest.mark.parametrize(("year", "sent"), [(1, 1), (900, 1), (9999, 0)])
async def test_what_happened_is_sent_again_since_any_year(
    running: World, year: int, sent: int
) -> None:
    notices = await running.endpoint("notices", types=["endpoint.disabled"])
    await running.endpoint("gone", GONE)
    await running.change()
    await running.settle()
    since = datetime(year, 1, 1, tzinfo=UTC)
    assert await running.webhooks.resend_since(notices.endpoint_id, since) == sent


async def test_an_endpoint_gets_the_types_and_the_tenants_that_it_asks_for(running: World) -> None:
    changes = await running.endpoint("changes", types=["access.changed"], tenants=[TENANT])
    notices = await running.endpoint("notices", types=["endpoint.disabled"], tenants=["other"])
    gone = await running.endpoint("gone", GONE, tenants=["other"])
    mine, other = await running.change(), await running.change("other")
    await running.settle()
    assert running.took(changes) == [mine]
    assert running.took(notices) == [one.notice_id for one in await told_of_disabling(running)]
    assert (running.took(gone), running.receivers.requests[gone.url]) == ([], 1)
    assert await running.webhooks.resend_since(changes.endpoint_id, running.now() - DAY) == 1
    await running.webhooks.resend(changes.endpoint_id, other)
    await running.settle()
    assert sorted(running.took(changes)) == sorted([mine, mine, other])


async def test_a_test_message_comes_once_even_to_a_disabled_endpoint(running: World) -> None:
    tested = await running.endpoint("tested", FAILED)
    other = await running.endpoint("other")
    await running.webhooks.set_state(tested.endpoint_id, "disabled")
    message = await running.webhooks.test(tested.endpoint_id)
    await running.settle()
    (attempt,) = await running.webhooks.log(tested.endpoint_id, 10, message_id=message)
    assert (attempt.kind, attempt.outcome, attempt.next_at) == ("test", "500", None)
    assert running.took(other) == []


async def test_a_slow_endpoint_holds_up_no_other(running: World) -> None:
    slow, quick = await running.endpoint("slow"), await running.endpoint("quick")
    held = asyncio.Event()

    class Slow:
        async def post(self, url: str, *_: object) -> Answer:
            if url == slow.url:
                await held.wait()
            running.receivers.requests[url] += 1
            return OK

    deliveries = Deliveries(
        running.store,
        running.queue,
        Slow(),
        roots,
        running.now,
        slots=Slots(at_once=2, wait=0.01),
    )
    changes = [await running.change() for _ in range(4)]
    waiting = [
        asyncio.create_task(
            deliveries.handle(Delivery(TENANT, f"change:{id}", endpoint.endpoint_id), last=False)
        )
        for endpoint in (slow, quick)
        for id in changes
    ]
    done, pending = await asyncio.wait(waiting, timeout=0.5)
    assert (len(done), len(pending)) == (6, 2)
    assert running.receivers.requests == {quick.url: 4}
    assert (await counted(running.queue)).scheduled == 2, "what found no place comes again"
    held.set()
    await asyncio.gather(*pending)
    assert running.receivers.requests[slow.url] == 2


async def test_a_store_that_is_away_for_long_loses_nothing(running: World) -> None:
    endpoint = await running.endpoint("there")
    away = True

    async def fail(*_: object) -> None:
        if away:
            raise Unavailable("away")

    deliveries = running.deliveries
    deliveries._store = Hooked(running.store, fail)
    deliveries._endpoints._store = deliveries._store
    message = await running.change()
    delivery = Delivery(TENANT, f"change:{message}")
    with pytest.raises(Unavailable):
        await deliveries.handle(delivery, last=False)
    await deliveries.handle(delivery, last=True)
    await deliveries.handle(delivery, last=True)  # the death before it was completed
    assert (await counted(running.queue)).scheduled == 1
    away = False
    await running.settle()
    assert {*running.took(endpoint)} == {message}


async def test_a_change_too_long_for_a_webhook_comes_without_its_grants(running: World) -> None:
    await running.endpoint("there")
    await running.change(keys=[f"{number:0100}" for number in range(300)])
    await running.settle()
    (body,) = running.receivers.bodies
    assert body["data"]["complete"] is False
    assert body["data"]["after"] == {"enabled": True, "reasons": []}
    assert BODY_BYTES == 20_000


async def test_a_change_that_cannot_be_read_is_a_dead_letter_and_stops_no_other(
    running: World,
) -> None:
    endpoint = await running.endpoint("there")
    damaged, whole = await running.change(), await running.change()
    wrong = Update(f"change:{damaged}", (Assign(("userId",), 7),))
    await running.store.batch(TENANT, [wrong])
    await running.settle()
    assert running.took(endpoint) == [whole]
    (letter,) = await running.queue.list_dead_letters()
    assert damaged in letter.id


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"partition": "t"}',
        b'{"partition": "t", "document": "d", "endpoint": 1, "run": ""}',
        b'{"partition": "t", "document": "d", "endpoint": "", "run": "", "attempt": "1"}',
    ],
)
def test_a_message_of_somebody_else_s_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|needs|Input"):
        Delivery.parse(body)


async def test_a_receiver_verifies_messages_with_each_live_secret(running: World) -> None:
    """By the specification's own library, over HTTP."""
    running.webhooks._private = True
    poster = HttpPoster(private=True)
    running.deliveries._poster = poster
    async with receiving() as receiver:
        endpoint = await running.webhooks.create(f"http://127.0.0.1:{receiver.port}/hooks")
        (first,) = await running.webhooks.secrets(endpoint)
        message = await running.change()
        await running.settle()
        endpoint = await running.webhooks.rotate(endpoint.endpoint_id)
        second, again = await running.webhooks.secrets(endpoint)
        assert again == first
        with pytest.raises(AdministrationError, match="two live secrets"):
            await running.webhooks.rotate(endpoint.endpoint_id)
        await running.change()
        await running.settle()
        endpoint = await running.webhooks.rotate(endpoint.endpoint_id, at_once=True)
        (third,) = await running.webhooks.secrets(endpoint)
        await running.change()
        await running.settle()
        running.clock[0] += timedelta(hours=1)
        endpoint = await running.webhooks.rotate(endpoint.endpoint_id)
        running.clock[0] += timedelta(hours=23)
        assert len(await running.webhooks.secrets(endpoint)) == 2
        running.clock[0] += timedelta(hours=2)
        assert len(await running.webhooks.secrets(endpoint)) == 1
    await poster.close()

    def verified(number: int, secret: str) -> bool:
        _, headers, body = receiver.received[number]
        try:
            return bool(Webhook(secret).verify(body.decode(), headers))
        except WebhookVerificationError:
            return False

    by_secret = {
        secret: [verified(number, secret) for number in range(3)]
        for secret in (first, second, third)
    }
    assert by_secret == {
        first: [True, True, False],
        second: [False, True, False],
        third: [False, False, True],
    }
    path, headers, body = receiver.received[0]
    assert (path, headers["webhook-id"]) == ("/hooks", message)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(body.decode() + " ", headers)
