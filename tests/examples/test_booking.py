"""The example application, as a process beside a running Muster: what its page is told, live."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from administration.demo import Demo
from delivery.signing import headers, shown
from examples.booking.access import EverybodysAccess
from examples.booking.laptop import CATALOG
from examples.booking.web import application
from laptop.devhost.server import served
from tests.administration.operating import Operator
from tests.hosting import ROOT, Host, running_host
from tests.scim.messages import add, create_group, create_user, operation, patch

ADMIN = "role:resourceAdministrator"
KEY = b"k" * 32
GIVEN = {ADMIN, "receptionAssignment:front"}


@pytest.fixture(scope="module")
def muster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """As `make run` starts it."""
    folder = tmp_path_factory.mktemp("booking") / "data"
    with running_host(folder, MUSTER_WEBHOOK_PRIVATE="true") as host:
        yield host


@dataclass
class Page:
    """What the page's script knows, from one stream of events that is never opened again."""

    lines: AsyncIterator[str]
    people: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    ready: bool = False

    async def take(self) -> None:
        """The next event."""
        while not (kind := await anext(self.lines)):
            """The empty line behind the event before."""
        told = json.loads((await anext(self.lines)).removeprefix("data: "))
        if kind == "event: everything":
            self.ready = told["ready"]
            self.people = {person["id"]: person for person in told["people"]}
        else:
            for change in told:
                self.last, self.people[change["userId"]] = change, change["after"]

    def grants(self, user: str) -> set[str]:
        """What somebody may do, as the page shows it."""
        return {grant["grant"] for grant in self.people.get(user, {"grants": []})["grants"]}


@asynccontextmanager
async def open_page(browser: httpx.AsyncClient) -> AsyncIterator[Page]:
    """The page, once it shows everybody."""
    async with asyncio.timeout(60), browser.stream("GET", "/events") as events:
        page = Page(events.aiter_lines())
        while not page.ready:
            await page.take()
        yield page


def mapped(operator: Operator, file: Path, group: str) -> None:
    """Let a group give GIVEN."""
    operator.does("catalog", "import", "demo", str(CATALOG))
    entitlements = [dict(zip(("kind", "key"), each.split(":"), strict=True)) for each in GIVEN]
    file.write_text(json.dumps({"mappings": [{"groupId": group, "entitlements": entitlements}]}))
    operator.does("mapping", "load", "demo", str(file))


async def ended(task: asyncio.Task[None]) -> None:
    """Stop a task."""
    task.cancel()
    await asyncio.wait([task])


async def test_a_joiner_appears_and_a_leaver_loses_the_areas(muster: Host) -> None:
    """On two copies: one hears of changes from the feed alone, one from webhooks alone."""
    demo = Demo.read(muster.folder)
    assert demo
    operator = Operator(muster.folder, MUSTER_WEBHOOK_PRIVATE="true")

    async def does(*arguments: str) -> Any:  # in a thread, because commands have their own loop
        return await asyncio.to_thread(operator.does, *arguments)

    credential = (await does("credential", "create", "--kind", "application"))["secret"]
    async with AsyncExitStack() as ends:
        open = ends.enter_async_context
        bearer = {"Authorization": f"Bearer {demo.scim_token}"}
        scim = await open(httpx.AsyncClient(base_url=f"{muster.url}/scim", headers=bearer))
        ada = await create_user(scim, "ada")
        group = await create_group(scim, "Facilities")
        await asyncio.to_thread(mapped, operator, muster.folder / "mappings.json", group)

        pages = {}
        for source in ("feed", "webhook"):
            secrets: list[str] = []
            copy = EverybodysAccess(muster.url, credential, "demo", secrets)
            ends.push_async_callback(copy.close)
            url = await open(served(application(copy)))
            browser = await open(httpx.AsyncClient(base_url=url, timeout=20))
            following = asyncio.create_task(copy.follow())
            ends.push_async_callback(ended, following)
            pages[source] = await open(open_page(browser))
            if source == "webhook":
                await ended(following)  # it has begun, and hears no more of the feed
                made = await does("webhook", "create", f"{url}/webhooks")
                secrets += made["secrets"]

        await scim.patch(f"/Groups/{group}", json=add([ada]))
        for source, page in pages.items():
            while page.grants(ada) != GIVEN:
                await page.take()
            assert page.people[ada]["name"] == "ada@example.com"
            assert (page.last["source"], page.last["after"]["enabled"]) == (source, True)

        grace = await create_user(scim, "grace")
        while grace not in pages["feed"].people:
            await pages["feed"].take()
        assert not pages["feed"].people[grace]["enabled"], "no group yet"

        for answer, user in ((404, "nobody"), (303, ada)):
            assert (await browser.get("/admin")).status_code == 401
            assert (await browser.post("/sign-in", data={"user": user})).status_code == answer
        areas = (await browser.get("/admin")).raise_for_status().json()["areas"]
        assert [area["grant"] for area in areas if area["open"]] == [ADMIN]

        await scim.patch(f"/Users/{ada}", json=patch(operation("replace", "active", False)))
        asked = await browser.get("/admin")
        assert asked.status_code == 403, "at once, whether or not the page was told"
        for source, page in pages.items():
            while page.people[ada]["enabled"]:
                await page.take()
            assert page.grants(ada) == set()
            assert {grant["grant"] for grant in page.last["before"]["grants"]} == GIVEN
            assert page.last["source"] == source

        change = {"userId": "gone", "version": 1, "after": {"enabled": True, "grants": []}}
        told = change | {"tenantId": "demo", "complete": True}
        body = json.dumps({"type": "access.changed", "data": told}).encode()
        secret = base64.b64decode(secrets[0].removeprefix("whsec_"))
        late = headers("1", datetime.now(UTC), body, [secret])
        sent = await browser.post("/webhooks", content=body, headers=late)
        assert (sent.status_code, "gone" in copy.users) == (204, False), "it brings back nobody"


async def test_nobody_else_is_believed() -> None:
    copy = EverybodysAccess("http://muster.test", "credential", "demo", [shown(KEY)])
    transport = httpx.ASGITransport(application(copy))
    body = json.dumps({"type": "access.changed", "data": {"tenantId": "demo"}}).encode()
    now = datetime.now(UTC)
    async with httpx.AsyncClient(base_url="http://localhost", transport=transport) as sender:
        for secret, moment, answer in (
            (bytes(32), now, 401),
            (KEY, now - timedelta(minutes=6), 401),
            (KEY, now, 503),  # the copy has not begun: it is sent again
        ):
            signed = headers("1", moment, body, [secret])
            sent = await sender.post("/webhooks", headers=signed, content=body)
            assert sent.status_code == answer
        assert (await sender.post("/webhooks", content=bytes(70_000))).status_code == 413
        page = await sender.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        elsewhere = await sender.get("/", headers={"Host": "elsewhere.example"})
        assert elsewhere.status_code == 400
    await copy.close()


def test_the_program_sets_itself_up(muster: Host) -> None:
    """As `make example` starts it."""
    settings = {"MUSTER_DATA": str(muster.folder), "MUSTER_URL": muster.url, "BOOKING_PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "examples.booking"],
        cwd=ROOT,
        env=os.environ | settings | {"PYTHONPATH": "clients/python/src"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            url = re.search(r"http://\S+", said)
            assert url, said
            with httpx.stream("GET", f"{url[0]}/events", timeout=20) as events:
                assert any('"ready": true' in line for line in events.iter_lines())
        finally:
            process.kill()
    (kept,) = muster.folder.glob("booking-*.json")
    assert kept.stat().st_mode & 0o077 == 0
    endpoints = Operator(muster.folder).does("webhook", "list")
    assert f"{url[0]}/webhooks" in {endpoint["url"] for endpoint in endpoints}
