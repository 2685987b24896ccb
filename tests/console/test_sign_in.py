"""Who gets in: at a real OpenID provider, and by a one-time link."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.application import HEADERS
from console.one_time import one_time_link
from console.pages import PAGES
from console.session import Cookies
from console.sign_in import SignInPages, local_path
from directory.tenants import Tenant
from tests.console.conftest import BASE, client, redeem
from tests.environment import TENANT, Environment, change_tenant
from trust.authenticator import Home
from trust.signing import Keys
from wiring import utc_now


async def consent(browser: httpx.AsyncClient, who: str, path: str = "/console") -> str:
    """Sign in at the provider; where it sends the browser back to."""
    begun = await browser.get("/console/sign-in", params={"path": path})
    assert begun.status_code == 303
    async with httpx.AsyncClient() as provider:
        answer = await provider.post(begun.headers["location"], data={"sub": who})
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


async def sign_in(browser: httpx.AsyncClient, who: str, path: str = "/console") -> httpx.Response:
    return await browser.get(await consent(browser, who, path))


@pytest.mark.parametrize("who", ["olga", "ines"])
async def test_either_role_opens_the_console(browser: httpx.AsyncClient, who: str) -> None:
    landed = await sign_in(browser, who, "/console/users?q=ada")
    assert (landed.status_code, landed.headers["location"]) == (303, "/console/users?q=ada")
    page = await browser.get("/console")
    assert page.status_code == 200
    assert f"{who}@acme.example" in page.text


@pytest.mark.parametrize("who", ["paul", "nora"])
async def test_any_other_role_opens_nothing(browser: httpx.AsyncClient, who: str) -> None:
    await sign_in(browser, who)
    for page in PAGES:
        path = re.sub(r"{\w+}", "x", page.path)
        answer = await browser.request(page.method, f"/console{path}")
        assert answer.status_code == 403, page
        assert "You have no role here" in answer.text


@pytest.mark.parametrize("who", ["eve", "home"])
async def test_a_directory_without_a_tenant_signs_nobody_in(
    browser: httpx.AsyncClient, who: str
) -> None:
    refused = await sign_in(browser, who)
    assert refused.status_code == 403
    assert "muster_console" not in browser.cookies


async def test_an_organisation_of_another_region_is_sent_there(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    store = environment.application.store
    await change_tenant(store, TENANT, lambda t: t.model_copy(update={"region": "us"}))
    refused = await sign_in(browser, "olga")
    assert refused.status_code == 403
    assert "another region" in refused.text
    assert "muster_console" not in browser.cookies


async def test_nothing_is_open_without_a_session(browser: httpx.AsyncClient) -> None:
    for page in PAGES:
        path = re.sub(r"{\w+}", "x", page.path)
        answer = await browser.request(page.method, f"/console{path}")
        assert answer.status_code == 303, page
        assert answer.headers["location"].startswith("/console/sign-in?")


async def test_the_request_carries_pkce_and_the_code_is_bound_to_this_browser(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    begun = await browser.get("/console/sign-in")
    asked = {name: value for name, (value,) in query_of(begun.headers["location"]).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    kept = jwt.decode(browser.cookies["muster_sign_in"], options={"verify_signature": False})
    digest = hashlib.sha256(kept["verifier"].encode()).digest()
    assert base64.urlsafe_b64decode(asked["code_challenge"] + "=") == digest
    callback = await consent(browser, "olga")
    async with client(environment) as another:
        assert (await another.get(callback)).status_code == 400
    forged = await browser.get(callback.replace("state=", "state=x"))
    assert forged.status_code == 400


async def test_a_code_works_once_and_a_nonce_must_be_its_own(browser: httpx.AsyncClient) -> None:
    first = await consent(browser, "olga")
    assert (await browser.get(first)).status_code == 303
    assert (await browser.get(first)).status_code == 400
    stale = query_of(await consent(browser, "olga"))["code"][0]
    begun = await browser.get("/console/sign-in")  # another sign-in, with another nonce
    state = query_of(begun.headers["location"])["state"][0]
    mixed = await browser.get("/console/sign-in/callback", params={"code": stale, "state": state})
    assert mixed.status_code == 403
    assert "could not be verified" in mixed.text


async def test_a_one_time_link_works_once_within_minutes_on_this_machine(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    store = environment.application.store
    link = await one_time_link(store, TENANT, BASE, utc_now())
    for changed in (link.replace("key=", "key=x"), link.replace(TENANT, "other")):
        assert (await browser.get(changed)).status_code == 403
    elsewhere = link.replace("127.0.0.1", "muster.example")
    assert (await browser.get(elsewhere)).status_code == 403
    for _ in range(2):
        assert (await browser.head(link)).status_code == 200
        assert (await browser.get(link)).status_code == 200
    assert "muster_console" not in browser.cookies, "to open it signs nobody in"
    assert (await redeem(browser, link)).status_code == 303
    assert (await browser.get(link)).status_code == 403
    asked = {name: value for name, (value,) in query_of(link).items()}
    assert (await browser.post("/console/sign-in/once", data=asked)).status_code == 403
    there = elsewhere.partition("?")[0]
    assert (await browser.post(there, data=asked)).status_code == 403
    old = await one_time_link(store, TENANT, BASE, utc_now() - timedelta(minutes=11))
    assert (await browser.get(old)).status_code == 403


async def refusal(pages: SignInPages, path: str) -> str:
    """What a page of the way in says."""
    routes = [Route(at, handler, methods=[method]) for method, at, handler in pages.routes()]
    transport = httpx.ASGITransport(app=Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
        return (await browser.get(path)).text


async def test_the_command_line_is_named_where_there_is_no_other_way_in(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    service = environment.application.service
    cookies, home = Cookies(keys_of(b"k" * 32), service.now), Home("eu", {})
    laptop = SignInPages(service, cookies, None, home, one_time=True)
    for path in ("/sign-in", "/sign-in/once?tenant=demo&key=used"):
        assert "manage.py console link" in await refusal(laptop, path)
    deployed = await refusal(SignInPages(service, cookies, None, home), "/sign-in")
    assert "Ask the operator" in deployed
    assert "manage.py" not in deployed
    used = (await browser.get("/console/sign-in/once?tenant=demo&key=used")).text
    assert "used already" in used
    assert "manage.py" not in used, "one can sign in with Entra ID"


def keys_of(*keys: bytes) -> Callable[[], Awaitable[Keys]]:
    """These keys, of which the first signs."""

    async def answer() -> Keys:
        return keys

    return answer


def asking(cookie: str) -> Request:
    """A request with this cookie, on loopback."""
    headers = [(b"host", b"127.0.0.1"), (b"cookie", cookie.encode())]
    return Request({"type": "http", "scheme": "http", "path": "/", "headers": headers})


async def test_a_cookie_of_another_key_purpose_or_time_is_no_session() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    moments = [now]
    cookies = Cookies(keys_of(b"k" * 32), lambda: moments[0])
    tenant = Tenant(tenant_id=TENANT, name="Acme")
    answer = Response()
    await cookies.sign_in(asking(""), answer, tenant, "ada", ("Owner",))
    kept = answer.headers["set-cookie"].partition(";")[0]
    held = asking(kept)
    assert await cookies.session(held) is not None
    rolled = Cookies(keys_of(b"x" * 32, b"k" * 32), lambda: now)
    assert await rolled.session(held) == await cookies.session(held)
    assert await Cookies(keys_of(b"x" * 32), lambda: now).session(held) is None
    assert await cookies.begun(asking(kept.replace("console", "sign_in"))) is None
    moments[0] = now + timedelta(minutes=61)
    assert await cookies.session(held) is None


async def test_cookies_are_locked_down_and_every_answer_carries_the_headers(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    for path in ("/console", "/console/nothing", "/console/static/console.css", "/console/sign-in"):
        answer = await owner.get(path)
        assert HEADERS.items() <= dict(answer.headers).items(), path
    link = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
    (cookie,) = (await redeem(owner, link)).headers.get_list("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    secure = await owner.get(f"{BASE.replace('http', 'https')}/console/sign-in")
    kept = secure.headers["set-cookie"]
    assert kept.startswith("__Host-muster_sign_in=")
    assert re.search("; Path=/; SameSite=lax; Secure$", kept)
    assert "strict-transport-security" in secure.headers


async def test_over_tls_no_cookie_counts_that_another_host_could_have_set(
    environment: Environment,
) -> None:
    https = BASE.replace("http", "https")
    link = await one_time_link(environment.application.store, TENANT, https, utc_now())
    async with client(environment) as browser:
        assert (await redeem(browser, link)).status_code == 303
        assert (await browser.get(f"{https}/console")).status_code == 200
        kept = browser.cookies["__Host-muster_console"]
    async with client(environment) as browser:
        for cookies, status in (
            ({"muster_console": kept}, 303),
            ({"__Host-muster_console": kept}, 200),
        ):
            header = "; ".join(f"{name}={value}" for name, value in cookies.items())
            page = await browser.get(f"{https}/console", headers={"cookie": header})
            assert page.status_code == status


async def test_a_form_of_another_page_changes_nothing(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    for csrf in ({}, {"csrf": ""}, {"csrf": "x" * 32}):
        for page in PAGES:
            if page.method == "POST":
                path = re.sub(r"{\w+}", "x", page.path)
                answer = await owner.post(f"/console{path}", data={"state": "disabled", **csrf})
                assert answer.status_code == 403, page
    assert (await owner.post("/console/sign-out", data={"csrf": "x"})).status_code == 403
    assert "Provisioning enabled" in (await owner.get("/console")).text


async def test_signing_out_ends_the_session(owner: httpx.AsyncClient) -> None:
    page = await owner.get("/console")
    (csrf, *_) = re.findall(r'name="csrf" value="([^"]+)"', page.text)
    out = await owner.post("/console/sign-out", data={"csrf": csrf})
    assert (out.status_code, out.headers["clear-site-data"]) == (200, '"cache", "storage"')
    assert (await owner.get("/console")).status_code == 303


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/console/groups?q=a", "/console/groups?q=a"),
        ("/console", "/console"),
        ("https://evil.example/console", "/console"),
        ("//evil.example", "/console"),
        ("/consolex", "/console"),
        ("/console/\\evil", "/console"),
        ("/console/\r\nx: y", "/console"),
        ("", "/console"),
    ],
)
def test_a_sign_in_returns_to_the_console_only(asked: str, path: str) -> None:
    assert local_path(asked) == path


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)
