"""The console in a real browser: Chromium, a host in a process of its own, a real OpenID provider.

Without a Chromium in PATH these tests are skipped and say so; `.ci/run` installs one.
"""

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from administration.directories import Directories
from console.one_time import one_time_link
from directory.documents import new_resource_id
from directory.tenants import Policy
from settings import Settings
from tests.environment import add_tenant
from tests.hosting import Host, running_host
from trust.signing import PARTITION
from wiring import Application, utc_now

DIRECTORY = "5e0d2f7e-0000-4000-8000-00000000c0de"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The installed Chromium; of one module and no session, because Playwright's event loop runs as
    long as it is open, and no asynchronous test could run meanwhile."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((found for name in names if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"there is none of {', '.join(names)} in PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*QUIET])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def authority() -> Iterator[str]:
    """An OpenID provider that knows an owner and somebody without a role."""
    people = [
        User(
            sub=name,
            claims={"tid": DIRECTORY, "roles": roles, "preferred_username": f"{name}@acme.example"},
        )
        for name, roles in (("olga", ["Owner"]), ("paul", ["Reader"]))
    ]
    with run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="session")
def console_host(tmp_path_factory: pytest.TempPathFactory, authority: str) -> Iterator[Host]:
    """A host whose administrators sign in there."""
    folder = tmp_path_factory.mktemp("browser") / "data"
    settings = {"MUSTER_CONSOLE_AUTHORITY": authority, "MUSTER_CONSOLE_CLIENT_ID": "console"}
    with running_host(folder, "laptop.devhost", **settings) as host:
        yield host
        host.process.terminate()
        assert host.process.wait(30) == 0
    log = host.log.read_text()
    assert not re.search(r"Traceback|^\S+  ERROR ", log, re.MULTILINE), log


@dataclass
class Tenant:
    """A tenant on the host, and its clients."""

    host: Host
    tenant_id: str
    scim: httpx.Client
    access: httpx.Client

    def link(self, partition: str = "") -> str:
        """A one-time link to its console; of another partition, to what that stands for."""

        async def make(application: Application) -> str:
            url = self.host.url
            whose = partition or self.tenant_id
            return await one_time_link(application.store, whose, url, utc_now())

        return on_state(self.host, make)

    def sign_in(self, page: Page, *, operator: bool = False) -> None:
        """Open a one-time link in a tab, and press its button; as an operator, one of theirs."""
        page.goto(self.link(PARTITION if operator else self.tenant_id))
        with page.expect_navigation():
            page.get_by_role("button", name="Sign in").click()

    def user(self, name: str, *, active: bool = True) -> str:
        """Provision a user."""
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": f"{name.lower()}@acme.example",
            "externalId": f"object-{name}",
            "active": active,
            "displayName": f"{name} Example",
            "name": {"givenName": name, "familyName": "Example"},
            "emails": [{"type": "work", "value": f"{name.lower()}@acme.example"}],
        }
        return self._post("/Users", body)

    def group(self, name: str, *members: str) -> str:
        """Provision a group."""
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "externalId": f"object-{name}",
            "members": [{"value": member} for member in members],
        }
        return self._post("/Groups", body)

    def _post(self, path: str, body: Mapping[str, object]) -> str:
        answer = self.scim.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def on_state[T](host: Host, use: Callable[[Application], Awaitable[T]]) -> T:
    """Run something on the host's state, beside it; in a thread, since Playwright's own loop runs
    in this one."""

    async def run() -> T:
        application = Application(Settings(data=host.folder))
        try:
            return await use(application)
        finally:
            await application.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


def until(done: Callable[[], bool]) -> None:
    """Wait: the host remembers a tenant for seconds."""
    for _ in range(200):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.fixture
def tenant(console_host: Host) -> Iterator[Tenant]:
    """A tenant of its own, with provisioning enabled."""
    yield from made(console_host, enabled=True)


@pytest.fixture
def new_tenant(console_host: Host) -> Iterator[Tenant]:
    """A tenant that nobody has set up."""
    yield from made(console_host, enabled=False)


def made(host: Host, *, enabled: bool) -> Iterator[Tenant]:
    """A tenant and its clients."""
    tenant_id = f"t-{new_resource_id()}"

    async def make(application: Application) -> tuple[str, str]:
        return await add_tenant(application.store, tenant_id, Policy(), enabled=enabled)

    scim, access = ({"Authorization": f"Bearer {token}"} for token in on_state(host, make))
    with (
        httpx.Client(base_url=f"{host.url}/scim", headers=scim, timeout=30) as client,
        httpx.Client(base_url=f"{host.url}/access/v1", headers=access, timeout=30) as reader,
    ):
        yield Tenant(host, tenant_id, client, reader)


@pytest.fixture
def registered(console_host: Host, tenant: Tenant) -> Tenant:
    """The tenant of the provider's people, the only one with their directory."""

    async def register(application: Application) -> None:
        await Directories(application.service, tenant.tenant_id).register(DIRECTORY)

    on_state(console_host, register)
    return tenant


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser without cookies. A script's error, or anything that the content security policy
    refuses, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(20_000)
    complaints: list[str] = []

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )

    context.on("page", listen)
    yield context
    context.close()
    assert not complaints


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    return context.new_page()
