"""A console in this process, with a real OpenID provider beside it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread

from administration.directories import register_directory
from console.one_time import one_time_link
from tests.environment import TENANT, Environment, running
from wiring import utc_now

BASE = "http://127.0.0.1:7071"
DIRECTORY = "0b1c8a50-6a2e-4f0e-9a44-3d2f6a0f7c11"
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
        tmp_path, console_authority=authority, console_client_id=CLIENT
    ) as environment:
        await register_directory(environment.application.store, TENANT, DIRECTORY)
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
    assert (await browser.get(link)).headers["location"] == "/console"
    return browser


def client(environment: Environment) -> httpx.AsyncClient:
    """A browser of its own."""
    transport = httpx.ASGITransport(app=environment.application.console)
    return httpx.AsyncClient(transport=transport, base_url=BASE)
