"""What every page looks like: accessible in light and dark, and no wider than a phone.

Screenshots are left in `test-artefacts`: NAME.png and NAME-phone.png.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, ViewportSize, expect

from administration.grants import Grants
from administration.manual_users import ManualUsers
from administration.mappings import Mappings
from directory.condition import Compare
from directory.documents import EntitlementKey, Event, event_id
from directory.store import Assign, Query, Update
from queues.port import DIRECTORY_EVENTS, Message
from queues.relay import message_for
from queues.sqlite.queue import MAX_DELIVERY_COUNT_EXCEEDED
from tests.browser.conftest import Tenant, on_state, until
from wiring import Application

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
OWNER = EntitlementKey(kind="role", key="owner")
VISITORS = EntitlementKey(kind="role", key="visitorsAdministrator")
WIDE: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}


class Viewer:
    """A signed-in administrator who looks closely at each page."""

    def __init__(self, chromium: Browser, tenant: Tenant) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        self.tenant = tenant
        self._context = chromium.new_context(color_scheme="light", viewport=WIDE)
        self.page = page = self._context.new_page()
        tenant.sign_in(page)

    def visit(self, name: str, path: str) -> None:
        """Go to a page and look at it."""
        self.go(path)
        self.look(name)

    def go(self, path: str) -> None:
        """Go to a page."""
        self.page.goto(f"{self.tenant.host.url}/console{path}")

    def press(self, button: str) -> None:
        """Send a form."""
        self.page.get_by_role("button", name=button).first.click()

    def choose(self, *names: str) -> None:
        """Choose roles in the editor, and no others."""
        roles = self.page.locator("details").filter(has_text="Roles")
        if roles.get_attribute("open") is None:
            roles.locator("summary").click()
        for box in roles.locator("input:checked").all():
            box.uncheck()
        for name in names:
            roles.get_by_label(name, exact=True).check()

    def look(self, name: str) -> None:
        """Check the page and keep what it looks like. Dark differs in its colours only, and a
        phone in its width."""
        page = self.page
        page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
        page.evaluate(AXE_SCRIPT)
        self._accessible(name, {"resultTypes": ["violations"]})
        page.emulate_media(color_scheme="dark")
        self._accessible(f"{name}, dark", {"runOnly": ["color-contrast"]})
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        page.screenshot(path=ARTEFACTS / f"{name}-phone.png", full_page=True)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE["width"], f"{name} is {width} wide on a phone"
        page.set_viewport_size(WIDE)

    def close(self) -> None:
        """Close the browser's window."""
        self._context.close()

    def _accessible(self, name: str, options: dict[str, list[str]]) -> None:
        run = "options => axe.run(options).then(found => ({violations: found.violations}))"
        found = AxeResults(self.page.evaluate(run, options))
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"


@pytest.fixture
def viewer(chromium: Browser, tenant: Tenant) -> Iterator[Viewer]:
    """At the overview."""
    viewer = Viewer(chromium, tenant)
    yield viewer
    viewer.close()


@pytest.fixture
def new_viewer(chromium: Browser, new_tenant: Tenant) -> Iterator[Viewer]:
    """At the overview of a tenant that nobody has set up."""
    viewer = Viewer(chromium, new_tenant)
    yield viewer
    viewer.close()


@dataclass(frozen=True)
class Organisation:
    """Ids. Ada and Carl, who is inactive, are in Sales; Bo and Sales are in Staff, which makes them
    administrators of visitors. Eve was made by hand and given the same. A request about Bo failed,
    and the message of an event that is gone was left behind."""

    ada: str
    bo: str
    carl: str
    eve: str
    sales: str
    staff: str
    failed: str


@pytest.fixture
def organisation(tenant: Tenant) -> Organisation:
    """Provisioned, mapped and reconciled."""
    ada, bo, carl = tenant.user("Ada"), tenant.user("Bo"), tenant.user("Carl", active=False)
    sales = tenant.group("Sales", ada, carl)
    staff = tenant.group("Staff", sales, bo)

    async def by_hand(application: Application) -> str:
        service = application.service
        await Mappings(service, tenant.tenant_id).save(staff, (VISITORS,))
        eve = {
            "userName": "eve@partner.example",
            "name.givenName": "Eve",
            "name.familyName": "Extern",
            'emails[type eq "work"].value': "eve@partner.example",
        }
        id = await ManualUsers(service, tenant.tenant_id).create(eve)
        await Grants(service, tenant.tenant_id).give(id, (VISITORS,))
        return id

    eve = on_state(tenant.host, by_hand)

    def held(user: str) -> bool:
        return bool(tenant.access.get(f"/users/{user}").json()["grants"])

    until(lambda: all(map(held, (ada, bo, eve))))

    async def fail(application: Application) -> str:
        """As the reconciler leaves an event that it cannot apply."""
        created = Compare(("resourceId",), "eq", bo)
        page = await application.store.query(tenant.tenant_id, Query("Event", created))
        event = Event.from_document(page.items[0].document).event_id
        why = (Assign(("state",), "failed"), Assign(("reason",), "TooLarge"))
        await application.store.batch(tenant.tenant_id, [Update(event_id(event), why)])
        await leave_behind(application, message_for(tenant.tenant_id, "01j0000000000000000000gone"))
        return event

    return Organisation(ada, bo, carl, eve, sales, staff, on_state(tenant.host, fail))


async def leave_behind(application: Application, message: Message) -> None:
    """A dead letter, without the host's taking the message before."""
    database = application.settings.database
    with closing(sqlite3.connect(database, autocommit=True)) as connection:
        connection.execute(
            "INSERT INTO queue_dead_letter (queue, id, body, enqueued_at, delivery_count,"
            " dead_lettered_at, reason, description) VALUES (?, ?, ?, ?, 10, ?, ?, '')",
            (
                DIRECTORY_EVENTS,
                message.id,
                message.body,
                *(time.time(), time.time(), MAX_DELIVERY_COUNT_EXCEEDED),
            ),
        )


def test_lists_and_settings(viewer: Viewer, organisation: Organisation) -> None:
    acme = organisation
    for name, path in {
        "overview": "",
        "set-up": "/set-up",
        "groups": "/groups",
        "groups-none-found": "/groups?q=nothing",
        "group": f"/groups/{acme.staff}",
        "group-new": f"/groups/{acme.sales}",
        "log": "/log",
        "log-none-found": "/log?operation=delete",
        "log-time-wrong": "/log?since=yesterday",
        "log-entry-failed": f"/log/{acme.failed}",
        "failed": "/failed",
        "catalog": "/catalog",
        "policy": "/policy",
    }.items():
        viewer.visit(name, path)
    viewer.go("/log?operation=mapping")
    viewer.page.locator("tbody a").first.click()
    viewer.look("log-entry")


def test_people(viewer: Viewer, organisation: Organisation) -> None:
    ada, carl, eve = (
        f"/users/{each}" for each in (organisation.ada, organisation.carl, organisation.eve)
    )
    visitors = "entitlement=role:visitorsAdministrator"
    for name, path in {
        "users": "/users",
        "users-none-found": "/users?q=nobody",
        "user": ada,
        "user-disabled": carl,
        "user-by-hand": eve,
        "user-edit": f"{eve}/edit",
        "user-grants": f"{eve}/grants",
        "user-grants-none": f"{ada}/grants",
        "why": f"{ada}/why?{visitors}",
        "why-by-hand": f"{eve}/why?{visitors}",
        "why-not": f"{carl}/why?{visitors}",
        "why-not-mapped": f"{ada}/why?entitlement=role:owner",
        "past": f"{ada}/past?at=2100-01-01T00:00",
        "past-before": f"{ada}/past?at=2026-01-01T00:00",
        "past-unknown": f"{ada}/past?at=2001-01-01T00:00",
    }.items():
        viewer.visit(name, path)


def test_what_is_changed(viewer: Viewer, organisation: Organisation) -> None:
    page, acme = viewer.page, organisation
    viewer.press("Create token")
    viewer.look("token-created")
    viewer.press("Create token")
    viewer.look("token-refused")

    viewer.go(f"/groups/{acme.staff}")
    viewer.press("Preview the change")
    viewer.look("group-unchanged")
    viewer.choose("Owner")
    viewer.press("Preview the change")
    viewer.look("preview")

    async def save(application: Application) -> None:
        tenant_id = viewer.tenant.tenant_id
        await Mappings(application.service, tenant_id).save(acme.staff, (OWNER, VISITORS))

    on_state(viewer.tenant.host, save)
    viewer.press("Save the mapping")
    viewer.look("group-conflict")
    viewer.choose()
    viewer.press("Preview the change")
    viewer.look("preview-no-owner")
    page.get_by_label("Yes, leave nobody").check()
    viewer.press("Save the mapping")
    kept = page.get_by_text("is kept for")

    def shown() -> bool:
        viewer.go("")
        return kept.count() > 0

    until(shown)
    viewer.look("overview-kept")
    kept.get_by_role("link").first.click()
    viewer.look("user-kept")

    viewer.visit("user-new", "/users/new")
    page.get_by_label("User name").fill("ada@acme.example")
    page.get_by_label("Given name").fill("Ada")
    page.get_by_label("Family name").fill("Example")
    page.get_by_label("Work e-mail").fill("ada@acme.example")
    viewer.press("Create")
    viewer.look("user-refused")

    viewer.go("/catalog")
    viewer.press("Dry run")
    viewer.look("catalog-refused")
    content = "kind,key,displayName\ncostCenterMembership,cc-1,Head office\nrole,owner,The owner\n"
    content += "role,visitorsAdministrator,Visitors Administrator\n"
    page.get_by_label("Or its content").fill(content)
    page.get_by_label("Remove entries").check()
    viewer.press("Dry run")
    viewer.look("catalog-dry-run")

    viewer.go("/policy")
    viewer.press("Preview the change")
    viewer.look("policy-unchanged")
    page.get_by_label("Inactive in Entra ID").uncheck()
    viewer.press("Preview the change")
    viewer.look("policy-preview")


def test_an_organisation_without_anything_and_the_way_out(
    new_viewer: Viewer,
) -> None:
    viewer = new_viewer
    for path in ("", "/groups", "/users", "/log", "/failed"):
        viewer.visit(f"empty{path.replace('/', '-') or '-overview'}", path)
    viewer.visit("no-such-page", "/nothing")
    viewer.visit("no-such-user", "/users/nobody")
    viewer.go("")
    viewer.page.evaluate("for (const each of document.getElementsByName('csrf')) each.value = 'x'")
    viewer.press("Enable provisioning")
    expect(viewer.page.get_by_role("heading", name="no longer valid")).to_be_visible()
    viewer.look("forged")
    viewer.go("")
    expect(viewer.page.get_by_text("Provisioning disabled")).to_be_visible()
    viewer.press("Make a set-up link")
    viewer.look("set-up-link-made")
    link = viewer.page.get_by_label("The new set-up link").input_value()
    viewer.press("Sign out")
    viewer.look("signed-out")
    viewer.page.goto(link)
    viewer.look("set-up-link")
    viewer.press("Open the set-up page")
    viewer.press("New secret")
    viewer.look("set-up-by-link")
    viewer.visit("set-up-closed", "/users")
    viewer.page.goto(viewer.tenant.link())
    viewer.look("link")
    viewer.visit("link-used", "/sign-in/once?tenant=demo&key=used")


def test_all_tenants_and_one_that_an_operator_looks_at(new_viewer: Viewer) -> None:
    viewer, tenant = new_viewer, new_viewer.tenant
    tenant.sign_in(viewer.page, operator=True)
    on_state(tenant.host, lambda application: application.fleet.refresh())
    viewer.visit("fleet", f"/fleet?q={tenant.tenant_id}")
    viewer.press("Look")
    expect(viewer.page.get_by_text("as an operator")).to_be_visible()
    viewer.look("looked-at")
