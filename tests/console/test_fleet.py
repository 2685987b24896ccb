"""Operators: they see every tenant, look at the pages of one and change nothing, and that tenant's
log says so."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from administration.tenants import create_tenant
from administration.tokens import Tokens
from console.one_time import one_time_link
from console.pages import PAGES
from directory.documents import Event
from directory.reading import every
from directory.store import Query
from tests.administration.operating import Operator
from tests.console.conftest import BASE, client, redeem
from tests.console.organisation import Organisation, organisation
from tests.console.test_sign_in import sign_in
from tests.console.test_walk import GIVEN, contents
from tests.environment import TENANT, Environment
from wiring import utc_now

FORM = re.compile(r'<form[^>]*method="post" action="([^"]+)"')


@pytest.fixture
async def vera(environment: Environment, browser: httpx.AsyncClient) -> httpx.AsyncClient:
    """The browser of an operator."""
    landed = await sign_in(browser, "vera", "/console/users")
    assert (landed.status_code, landed.headers["location"]) == (303, "/console/fleet")
    return browser


async def look(browser: httpx.AsyncClient, tenant: str, **changes: str) -> httpx.Response:
    """Press the tenant's button on the page of all tenants."""
    (csrf, *_) = re.findall(
        r'name="csrf" value="([^"]+)"', (await browser.get("/console/fleet")).text
    )
    return await browser.post(
        "/console/fleet/look", data={"csrf": csrf, "tenant": tenant, **changes}
    )


async def looks(environment: Environment) -> list[str]:
    """Who looked, as the tenant's log has it."""
    store = environment.application.store
    found = [
        Event.from_document(one.document) async for one in every(store, TENANT, Query("Event"))
    ]
    return [f"{one.actor.type} {one.actor.id}" for one in found if one.operation == "look"]


async def test_all_tenants_the_worst_first(
    environment: Environment, vera: httpx.AsyncClient
) -> None:
    application = environment.application
    for n in range(2):
        await create_tenant(application.store, f"quiet{n}", f"Quiet <{n}>", "us")
    soon = utc_now() + timedelta(days=2)
    await environment.changing(Tokens).create("console", expires=soon)
    await application.fleet.refresh()
    page = await vera.get("/console/fleet")
    assert re.findall(r'name="tenant" value="(\w+)"', page.text) == [TENANT, "quiet0", "quiet1"]
    assert "Secret ends" in page.text
    assert "Quiet &lt;0&gt;" in page.text
    found = await vera.get("/console/fleet", params={"q": "QUIET <1"})
    assert re.findall(r'name="tenant" value="(\w+)"', found.text) == ["quiet1"]
    assert "No tenant" in (await vera.get("/console/fleet", params={"q": "nobody"})).text
    assert (await vera.get("/console/fleet", params={"after": "x"})).status_code == 400


async def test_an_operator_reads_every_page_and_sends_no_form(
    environment: Environment, vera: httpx.AsyncClient
) -> None:
    acme: Organisation = await organisation(environment)
    assert (await vera.get("/console/users")).headers["location"] == "/console/fleet"
    assert (await look(vera, TENANT)).headers["location"] == "/console"
    assert await looks(environment) == ["operator vera@acme.example"]
    before = await contents(environment.application.store, TENANT)
    events = (await environment.application.store.query(TENANT, Query("Event"))).items
    ids = {"users": acme.ada, "groups": acme.sales, "log": events[0].document["eventId"]}
    read = 0
    for page in PAGES:
        kind = page.path.partition("/{")[0].rpartition("/")[2]
        path = re.sub(r"\{\w+\}", ids.get(kind, "x"), page.path)
        answer = await vera.request(
            page.method, f"/console{path}", params=GIVEN if page.method == "GET" else None
        )
        if page.method == "POST":
            assert (answer.status_code, "Operators only look" in answer.text) == (403, True), page
        elif answer.headers.get("content-type", "").startswith("text/html"):
            assert {*FORM.findall(answer.text)} <= {"/console/sign-out"}, page
            read += answer.status_code == 200
    assert read > 10
    assert "as an operator" in (await vera.get("/console")).text
    assert await contents(environment.application.store, TENANT) == before


async def test_the_way_in_is_the_vendor_s_directory_alone(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    """A customer's directory can give its people any role of the application."""
    await sign_in(browser, "mal")
    assert (await browser.get("/console/fleet")).status_code == 403
    assert (await browser.post("/console/fleet/look", data={"tenant": TENANT})).status_code == 403
    assert (await browser.get("/console")).status_code == 403
    async with client(environment) as other:
        refused = await sign_in(other, "vic")
        assert (refused.status_code, "not registered" in refused.text) == (403, True)
        assert (await other.get("/console/fleet")).status_code == 303
    assert await looks(environment) == []


async def test_administrators_are_no_operators(owner: httpx.AsyncClient) -> None:
    answer = await owner.get("/console/fleet")
    assert (answer.status_code, "For operators" in answer.text) == (403, True)


async def test_looking_takes_a_form_of_the_session_and_a_tenant(
    environment: Environment, vera: httpx.AsyncClient
) -> None:
    assert (await look(vera, TENANT, csrf="x" * 32)).status_code == 403
    for nobody in ("nobody", "_deployment", "no/body", ""):
        assert (await look(vera, nobody)).status_code == 404
    assert await looks(environment) == []


async def test_it_is_one_session_that_ends_for_every_tenant(
    environment: Environment, vera: httpx.AsyncClient
) -> None:
    """Looking at another tenant makes it no longer; whoever copied a cookie has it no more."""
    until = {cookie.name: cookie.expires for cookie in vera.cookies.jar}["muster_console"] or 0
    async with client(environment) as copy:
        copy.cookies.update(vera.cookies)
        await look(vera, TENANT)
        now = {cookie.name: cookie.expires for cookie in vera.cookies.jar}["muster_console"] or 0
        assert until - 1 <= now <= until
        page = await copy.get("/console/fleet")
        assert page.status_code == 200
        (csrf, *_) = re.findall(r'name="csrf" value="([^"]+)"', page.text)
        await vera.post("/console/sign-out", data={"csrf": csrf})
        assert (await copy.get("/console/fleet")).headers["location"].startswith("/console/sign-in")
        assert (await copy.get("/console")).headers["location"] == "/console/fleet"


async def test_on_a_laptop_a_link_signs_an_operator_in(
    environment: Environment, browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    link = (await asyncio.to_thread(Operator(tmp_path).does, "console", "operator"))["link"]
    assert link.startswith(f"{BASE}/console/sign-in/once?tenant=_deployment&key=")
    assert (await redeem(browser, link)).headers["location"] == "/console/fleet"
    assert (await browser.get("/console/fleet")).status_code == 200
    assert (await browser.get(link)).status_code == 403
    cosmos = Operator(tmp_path, MUSTER_COSMOS_ENDPOINT="https://muster.documents.azure.com")
    assert "app role Operator" in await asyncio.to_thread(cosmos.fails, "console", "operator")
    tenants = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
    forged = tenants.replace(f"tenant={TENANT}", "tenant=_deployment")
    assert (await browser.get(forged)).status_code == 403
