"""A console in this process, with a real OpenID provider beside it."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread

from administration.directories import Directories
from console.api.operation import PATH
from console.one_time import one_time_link
from tests.environment import TENANT, Environment, add_console_token, client_of, running
from wiring import utc_now

BASE = "http://127.0.0.1:7071"
DIRECTORY = "0b1c8a50-6a2e-4f0e-9a44-3d2f6a0f7c11"
VENDOR = "7c1d9a20-3b4e-4d5f-8a6b-9c0d1e2f3a4b"
"""The directory of those who operate Muster."""
CLIENT = "console-client"


def _person(name: str, roles: list[str], directory: str | None = DIRECTORY) -> User:
    claims: dict[str, object] = {"preferred_username": f"{name}@acme.example", "roles": roles}
    return User(sub=name, claims=claims | ({"tid": directory} if directory else {}))


PEOPLE = (
    _person("olga", ["Owner"]),
    _person("ines", ["IntegrationAdministrator", "Reader"]),
    _person("paul", ["Reader"]),
    _person("nora", []),
    _person("eve", ["Owner"], "11111111-2222-3333-4444-555555555555"),
    _person("home", ["Owner"], None),
    _person("vera", ["Operator"], VENDOR),
    _person("vic", ["Reader"], VENDOR),
    _person("mal", ["Operator"]),
)


@pytest.fixture(scope="session")
def authority() -> Iterator[str]:
    """The URL of an OpenID provider that knows PEOPLE."""
    with run_server_in_thread(user_claims=PEOPLE, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
async def environment(tmp_path: Path, authority: str) -> AsyncIterator[Environment]:
    """A Muster whose tenant has the directory of most PEOPLE."""
    async with running(
        tmp_path,
        console_authority=authority,
        console_client_id=CLIENT,
        operator_directory=VENDOR,
    ) as environment:
        await environment.changing(Directories).register(DIRECTORY)
        yield environment


@pytest.fixture
async def browser(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's browser at the console, not signed in."""
    async with client(environment) as browser:
        yield browser


@pytest.fixture
async def owner(environment: Environment, browser: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, signed in by a one-time link."""
    link = await one_time_link(environment.application.store, TENANT, BASE, utc_now())
    assert (await redeem(browser, link)).headers["location"] == "/console"
    return browser


async def redeem(browser: httpx.AsyncClient, link: str) -> httpx.Response:
    """Open a one-time link and press the button there; without one, what the link says."""
    page = await browser.get(link)
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page.text))
    if not form:
        return page
    return await browser.post(link.partition("?")[0], data=form)


@pytest.fixture
async def api(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """The API of the console, with a token of its own kind."""
    token = await add_console_token(environment.application.store, TENANT)
    async with client_of(environment.application.console, PATH, token) as client:
        yield client


def client(environment: Environment) -> httpx.AsyncClient:
    """A browser of its own."""
    transport = httpx.ASGITransport(app=environment.application.console)
    return httpx.AsyncClient(transport=transport, base_url=BASE)
