"""How sessions at the console end: at once, for every copy of their cookie."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from administration.directories import Directories
from administration.tenants import Tenancy
from console.one_time import one_time_link
from directory.store import Delete
from directory.tenants import TENANT_ID
from tests.administration.operating import Operator
from tests.console.conftest import BASE, DIRECTORY, client, redeem
from tests.console.organisation import Form
from tests.environment import TENANT, Environment, change_tenant
from wiring import utc_now

ANOTHER_DIRECTORY = "11111111-2222-3333-4444-666666666666"


async def signed_in(environment: Environment, browser: httpx.AsyncClient) -> None:
    link = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
    assert (await redeem(browser, link)).status_code == 303


async def is_in(browser: httpx.AsyncClient) -> bool:
    """Whether a page answers, or leads to the sign-in."""
    answer = await browser.get("/console")
    assert answer.status_code in (200, 303)
    return answer.status_code == 200


async def sign_out(browser: httpx.AsyncClient) -> httpx.Response:
    page = await browser.get("/console")
    (csrf, *_) = re.findall(r'name="csrf" value="([^"]+)"', page.text)
    return await browser.post("/console/sign-out", data={"csrf": csrf})


@pytest.fixture
async def copy(
    environment: Environment, owner: httpx.AsyncClient
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has a copy of the owner's cookies."""
    async with client(environment) as copy:
        copy.cookies.update(owner.cookies)
        yield copy


@pytest.fixture
async def colleague(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """Another session of the organisation."""
    async with client(environment) as colleague:
        await signed_in(environment, colleague)
        yield colleague


async def test_signing_out_ends_every_copy_of_the_session_and_no_other(
    owner: httpx.AsyncClient, copy: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    assert await is_in(copy)
    assert (await sign_out(owner)).status_code == 200
    assert not await is_in(owner)
    assert not await is_in(copy)
    assert await is_in(colleague)


async def test_signing_in_and_out_is_in_the_log(
    environment: Environment, browser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "muster.console")
    await signed_in(environment, browser)
    await sign_out(browser)
    told = [record.getMessage() for record in caplog.records if "signed" in record.getMessage()]
    began, ended = (re.fullmatch(r"(.*) session ([0-9a-f]{32})", text) for text in told)
    assert began is not None
    assert ended is not None
    assert (began[1], ended[1]) == (
        f"signed in: a one-time link at {TENANT},",
        f"signed out: {TENANT},",
    )
    assert began[2] == ended[2]


async def test_signing_in_again_ends_the_session_before(
    environment: Environment, owner: httpx.AsyncClient, copy: httpx.AsyncClient
) -> None:
    await signed_in(environment, owner)
    assert await is_in(owner)
    assert not await is_in(copy)


async def test_an_operator_ends_all_of_an_organisation_at_once(
    environment: Environment, tmp_path: Path, owner: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    told = await asyncio.to_thread(Operator(tmp_path).does, "console", "end", TENANT)
    assert told == {"tenant": TENANT, "sessions": "ended"}
    assert not await is_in(owner)
    assert not await is_in(colleague)
    await signed_in(environment, owner)
    assert await is_in(owner)
    log = await owner.get("/console/log")
    assert "Console sessions ended" in log.text


async def test_an_administrator_ends_all_of_the_organisation_at_once(
    environment: Environment, owner: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    """A colleague whose account is gone, or somebody with a copy of a cookie, is out."""
    page = await owner.get("/console")
    await Form(page, "/sessions").send(owner, do="another")
    assert await is_in(colleague)
    assert (await Form(page, "/sessions").send(owner, do="end")).status_code == 303
    assert not await is_in(owner)
    assert not await is_in(colleague)
    await signed_in(environment, colleague)
    assert "Console sessions ended" in (await colleague.get("/console/log")).text


async def test_a_change_of_region_ends_them_for_good(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    tenancy = environment.changing(Tenancy)
    await tenancy.set_region("eu")
    assert await is_in(owner), "it was there before"
    await tenancy.set_region("us")
    assert not await is_in(owner)
    link = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
    refused = await redeem(owner, link)
    assert (refused.status_code, "another region" in refused.text) == (403, True)
    await tenancy.set_region("eu")
    assert not await is_in(owner)


async def test_pages_of_an_organisation_of_another_region_do_not_answer(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    """However its home changed."""
    store = environment.application.store
    await change_tenant(store, TENANT, lambda t: t.model_copy(update={"region": "us"}))
    for path in ("", "/users", "/policy"):
        answer = await owner.get(f"/console{path}")
        assert (answer.status_code, "another region" in answer.text) == (403, True)


async def test_another_directory_ends_them(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    directories = environment.changing(Directories)
    await directories.register(DIRECTORY)
    assert await is_in(owner), "it was registered before"
    await directories.register(ANOTHER_DIRECTORY)
    assert not await is_in(owner)


async def test_a_session_of_an_organisation_that_is_gone_opens_nothing(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    await environment.application.store.batch(TENANT, [Delete(TENANT_ID)])
    assert not await is_in(owner)


async def test_rolling_the_key_ends_no_session_but_where_it_leaked(
    environment: Environment, tmp_path: Path, owner: httpx.AsyncClient
) -> None:
    async def roll(*options: str) -> None:
        await asyncio.to_thread(Operator(tmp_path).does, "store", "roll-key", *options)
        # As after a minute: the console is built again and reads the key.
        del environment.application.console_pages

    await roll()
    assert await is_in(owner)
    await roll("--at-once")
    assert not await is_in(owner)


async def test_the_cookie_of_a_session_opens_no_api(owner: httpx.AsyncClient) -> None:
    for path in ("/groups", "/users", "/log"):
        assert (await owner.get(f"/console/api{path}")).status_code == 401


async def test_what_a_client_sends_is_text_on_a_page(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    script = "<img src=x onerror=alert(1)>\"'"
    await environment.client.post("/Groups", json={"displayName": script})
    page = await owner.get("/console/groups")
    assert "onerror=alert(1)" in page.text
    assert "<img" not in page.text
