"""The sign-in service: what anybody can make Muster ask of it, and which of its words count."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from administration.directories import Directories
from console.one_time import one_time_link
from console.provider import REDEMPTIONS, parse_metadata
from console.session import LIFE, SIGN_IN_LIFE
from console.sign_in import REDEEMED, SIGN_INS_PER_SECOND, Redeemed
from tests.console.conftest import BASE, CLIENT, client, redeem
from tests.environment import TENANT, Environment, add_console_token, client_of, running
from tests.trust.issuer import DIRECTORY, Issuer, published, publishing, signed
from trust.published import Published
from trust.rate import BURST_SECONDS
from wiring import utc_now


def reader_of(environment: Environment) -> Published:
    """What reads the service's documents, and asks for its tokens."""
    return environment.application.authenticator.signed().key_sets.published


class SignInService(Issuer):
    """An OpenID provider that counts what it is asked, and answers what a test wants."""

    nonce = ""
    token_answer: Response | None = None
    token_pause: asyncio.Event | None = None

    async def serve(self, request: Request) -> Response:
        """Metadata, keys and tokens."""
        path = request.url.path
        if path == "/keys":
            return await super().serve(request)
        self.asked.append(path)
        if path == "/token":
            if self.token_pause is not None:
                await self.token_pause.wait()
            return self.token_answer or Response(orjson.dumps({"id_token": self.id_token()}))
        if self.pause is not None:
            await self.pause.wait()
        return self.answer or Response(orjson.dumps(self.metadata()))

    def metadata(self, **changes: object) -> dict[str, object]:
        """What it says of itself, as the authority `organizations` does."""
        endpoints = {
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return {"issuer": self.url + "/{tenantid}/v2.0", **endpoints, **changes}

    def id_token(self, **changes: object) -> str:
        """Olga's."""
        claims = self.claims("2.0", aud=CLIENT, nonce=self.nonce, azp=None, roles=["Owner"])
        return signed({**claims, "preferred_username": "olga@acme.example", **changes})


@pytest.fixture
async def service() -> AsyncIterator[SignInService]:
    """A sign-in service."""
    async with publishing(SignInService()) as service:
        assert isinstance(service, SignInService)
        yield service


@pytest.fixture
async def environment(tmp_path: Path, service: SignInService) -> AsyncIterator[Environment]:
    """A Muster whose administrators sign in there."""
    async with running(
        tmp_path, console_authority=service.url, console_client_id=CLIENT
    ) as environment:
        await environment.changing(Directories).register(DIRECTORY)
        yield environment


@pytest.fixture
async def browser(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has not signed in."""
    async with client(environment) as browser:
        yield browser


async def begin(browser: httpx.AsyncClient, service: SignInService) -> str:
    """Begin a sign-in; the callback of it."""
    begun = await browser.get("/console/sign-in")
    assert begun.status_code == 303
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    (service.nonce,) = asked["nonce"]
    return f"/console/sign-in/callback?code=c&state={asked['state'][0]}"


async def test_a_sign_in_begun_is_one_request_however_often_it_comes_back(
    environment: Environment, browser: httpx.AsyncClient, service: SignInService
) -> None:
    callback = await begin(browser, service)
    copied = dict(browser.cookies)

    async def come_back() -> int:
        async with client(environment) as another:
            another.cookies.update(copied)
            return (await another.get(callback)).status_code

    statuses = await asyncio.gather(*(come_back() for _ in range(15)))
    assert sorted(statuses) == [303, *[400] * 14]
    assert service.asked.count("/token") == 1


async def test_the_first_callback_ends_the_cookie_whatever_comes_of_it(
    browser: httpx.AsyncClient, service: SignInService
) -> None:
    service.token_answer = Response(b'{"error": "invalid_grant"}', 400)
    for ending in ("", "&error=access_denied"):
        callback = await begin(browser, service)
        if ending:
            callback = callback.replace("code=c&", "") + ending
        assert "muster_sign_in" in browser.cookies
        assert (await browser.get(callback)).status_code == 403
        assert "muster_sign_in" not in browser.cookies


async def test_a_forged_callback_does_not_disturb_a_sign_in(
    browser: httpx.AsyncClient, service: SignInService
) -> None:
    callback = await begin(browser, service)
    assert (await browser.get("/console/sign-in/callback?code=c&state=x")).status_code == 400
    assert (await browser.get(callback)).status_code == 303


async def test_a_service_that_hangs_costs_one_connection(
    environment: Environment, browser: httpx.AsyncClient, service: SignInService
) -> None:
    reader_of(environment).fetch_seconds = 0.2
    service.pause = asyncio.Event()
    answers = await asyncio.gather(*(browser.get("/console/sign-in") for _ in range(15)))
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert len(service.asked) == 1
    assert (await browser.get("/console/sign-in")).status_code == 503
    assert len(service.asked) == 1, "it is left alone for a moment"


async def test_a_token_endpoint_that_hangs_is_asked_a_few_times_only(
    environment: Environment, service: SignInService
) -> None:
    reader_of(environment).fetch_seconds = 0.2
    service.token_pause = asyncio.Event()
    browsers = [client(environment) for _ in range(3 * REDEMPTIONS)]
    callbacks = [await begin(browser, service) for browser in browsers]
    answers = await asyncio.gather(
        *(browser.get(callback) for browser, callback in zip(browsers, callbacks, strict=True))
    )
    service.token_pause.set()
    assert {answer.status_code for answer in answers} == {503}
    assert service.asked.count("/token") == REDEMPTIONS
    for browser in browsers:
        await browser.aclose()


@pytest.mark.parametrize("path", ["", "/callback", "/once"])
async def test_the_way_in_has_a_rate(browser: httpx.AsyncClient, path: str) -> None:
    burst = int(SIGN_INS_PER_SECOND * BURST_SECONDS)
    answers = [await browser.get(f"/console/sign-in{path}") for _ in range(2 * burst)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) > 0
    assert not any(answer.status_code == 429 for answer in answers[:burst])


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": [CLIENT, "another"]},
        {"aud": "another"},
        {"azp": "another"},
        {"iss": "https://login.example/v2.0"},
        {"exp": 1},
        {"tid": "11111111-2222-3333-4444-555555555555"},
    ],
    ids=str,
)
async def test_what_an_id_token_must_be(
    browser: httpx.AsyncClient, service: SignInService, changes: dict[str, object]
) -> None:
    callback = await begin(browser, service)
    service.token_answer = Response(orjson.dumps({"id_token": service.id_token(**changes)}))
    assert (await browser.get(callback)).status_code == 403
    assert "muster_console" not in browser.cookies


async def test_an_audience_may_be_a_list_of_one(
    browser: httpx.AsyncClient, service: SignInService
) -> None:
    callback = await begin(browser, service)
    service.token_answer = Response(orjson.dumps({"id_token": service.id_token(aud=[CLIENT])}))
    assert (await browser.get(callback)).status_code == 303


async def test_a_new_key_of_the_provider_is_found(
    browser: httpx.AsyncClient, service: SignInService
) -> None:
    assert (await browser.get(await begin(browser, service))).status_code == 303
    service.keys = [published("second")]
    callback = await begin(browser, service)
    claims = service.claims("2.0", aud=CLIENT, nonce=service.nonce, azp=None)
    service.token_answer = Response(orjson.dumps({"id_token": signed(claims, "second")}))
    assert (await browser.get(callback)).status_code == 303


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b"<html>",
        orjson.dumps(SignInService().metadata()),
        b'{"issuer": 1}',
    ],
)
def test_what_is_no_metadata_is_not_taken(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_metadata(content)


def test_what_is_redeemed_is_remembered_as_long_as_its_cookie_lives() -> None:
    clock = 0.0
    redeemed = Redeemed(lambda: clock)
    assert redeemed.first("a")
    clock = SIGN_IN_LIFE.total_seconds() - 1
    assert not redeemed.first("a")
    assert redeemed.first("b")
    clock += 1
    assert redeemed.first("a"), "its cookie has ended"
    assert not redeemed.first("b")


def test_what_cannot_be_remembered_is_not_redeemed() -> None:
    clock = 0.0
    redeemed = Redeemed(lambda: clock)
    assert all(redeemed.first(str(number)) for number in range(REDEEMED))
    assert not redeemed.first("one more")
    assert not redeemed.first("0")
    assert SIGN_INS_PER_SECOND * (SIGN_IN_LIFE.total_seconds() + BURST_SECONDS) < REDEEMED
    clock = SIGN_IN_LIFE.total_seconds()
    assert redeemed.first("one more")


async def test_a_flood_of_one_organisations_pages_is_slowed_down(tmp_path: Path) -> None:
    async with running(tmp_path, requests_per_second=1.0) as environment, client(environment) as me:
        link = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
        await redeem(me, link)
        statuses = [(await me.get("/console/catalog")).status_code for _ in range(4)]
        assert (statuses[0], statuses[-1]) == (200, 429)


async def test_a_flood_of_the_api_is_slowed_down(tmp_path: Path) -> None:
    async with running(tmp_path, requests_per_second=1.0) as environment:
        console = environment.application.console
        token = await add_console_token(environment.application.store, TENANT)
        async with client_of(console, "/console/api", token) as api:
            statuses = [(await api.get("/catalog")).status_code for _ in range(4)]
        assert (statuses[0], statuses[-1]) == (200, 429)


async def test_a_role_that_was_lost_opens_nothing_after_an_hour(
    tmp_path: Path, service: SignInService
) -> None:
    passed = timedelta()
    async with (
        running(
            tmp_path,
            now=lambda: utc_now() + passed,
            console_authority=service.url,
            console_client_id=CLIENT,
        ) as environment,
        client(environment) as browser,
    ):
        await environment.changing(Directories).register(DIRECTORY)
        await browser.get(await begin(browser, service))
        passed = LIFE - timedelta(minutes=1)
        assert (await browser.get("/console")).status_code == 200, "and this does not prolong it"
        passed = LIFE + timedelta(seconds=1)
        ended = await browser.get("/console")
        assert ended.headers["location"].startswith("/console/sign-in?")
        callback = await begin(browser, service)
        service.token_answer = Response(orjson.dumps({"id_token": service.id_token(roles=[])}))
        await browser.get(callback)
        assert (await browser.get("/console")).status_code == 403
