"""What an administrator does, in a real browser."""

import re
import time
from collections.abc import Callable

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Tenant, until


def test_from_the_first_sign_in_to_the_first_mapped_group(page: Page, new_tenant: Tenant) -> None:
    new_tenant.sign_in(page)
    page.get_by_role("link", name="Set up Entra ID").click()
    expect(page.get_by_role("heading", name="Set-up")).to_be_visible()
    tenant_url = page.get_by_label("Tenant URL").input_value()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == tenant_url
    page.get_by_label("Note").fill("Entra ID")
    page.get_by_role("button", name="Create token").click()
    token = page.get_by_label("Your new token").input_value()
    page.get_by_role("link", name="Set-up").first.click()
    assert token not in page.content()

    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30) as entra:
        new_tenant.scim, base = entra, tenant_url
        test_connection = entra.get(f"{base}/Users", params={"filter": 'userName eq "nobody"'})
        assert test_connection.json()["totalResults"] == 0
        refused = entra.post(f"{base}/Groups", json={"displayName": "Sales"})
        assert refused.status_code == 403
        page.get_by_role("button", name="Enable provisioning").click()
        expect(page.get_by_text("Provisioning is enabled. Entra ID writes")).to_be_visible()
        entra.base_url = httpx.URL(base)
        until(lambda: entra.get("/Users").status_code == 200)
        ada = until_created(lambda: new_tenant.user("Ada"))
        carl = new_tenant.user("Carl", active=False)
        new_tenant.group("Sales", ada, carl)

    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("Last request:")).to_be_visible()
    page.get_by_role("link", name="Groups").first.click()
    expect(page.get_by_text("New", exact=True)).to_be_visible()
    page.get_by_role("link", name="Sales").click()
    page.get_by_text("Roles").first.click()
    page.get_by_placeholder("Filter").fill("visit")
    expect(page.get_by_label("Owner")).to_be_hidden()
    page.get_by_label("Visitors Administrator").check()
    page.get_by_role("button", name="Preview the change").click()
    people = page.get_by_role("region", name="Who gains and loses what")
    (row,) = people.locator("tbody tr").all()
    assert row.locator("td").all_inner_texts() == [
        "Ada Example\nada@acme.example",
        "stays enabled",
        "+ Visitors Administrator",
        "–",
    ]
    page.get_by_role("button", name="Save the mapping").click()
    expect(page.locator("#status")).to_contain_text("Active", timeout=15_000)  # by itself
    held = new_tenant.access.get(f"/users/{ada}").json()["grants"]
    assert [grant["key"] for grant in held] == ["visitorsAdministrator"]
    assert new_tenant.access.get(f"/users/{carl}").json()["grants"] == []


def test_a_token_is_rotated_and_provisioning_disabled(page: Page, tenant: Tenant) -> None:
    tenant.sign_in(page)
    page.get_by_role("link", name="Set-up").first.click()
    row = page.get_by_role("row", name=re.compile("Live"))
    row.get_by_role("button", name=re.compile("^Rotate")).click()
    expect(page.get_by_text("still works for 7 days")).to_be_visible()
    new = page.get_by_label("Your new token").input_value()
    page.get_by_role("link", name="Overview").click()
    assert new not in page.content()
    authorization = {"Authorization": f"Bearer {new}"}
    until(lambda: tenant.scim.get("/Users", headers=authorization).status_code == 200)
    assert tenant.scim.get("/Users").status_code == 200, "the old one works for a while"

    page.get_by_role("button", name="Disable provisioning").click()
    expect(page.get_by_text("Provisioning is disabled. Reads go on")).to_be_visible()
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Sales"}
    until(lambda: tenant.scim.post("/Groups", json=group).status_code == 403)
    assert tenant.scim.get("/Groups").status_code == 200
    page.get_by_role("link", name="Provisioning log").click()
    entries = page.locator("tbody")
    expect(entries.get_by_text("Provisioning disabled")).to_be_visible()
    expect(entries.get_by_text("Token rotated")).to_be_visible()
    expect(entries.get_by_text("you@this-machine").first).to_be_visible()


def test_what_cannot_be_undone_is_asked_about(page: Page, tenant: Tenant) -> None:
    tenant.sign_in(page)
    row = page.get_by_role("row", name=re.compile("Access API"))
    revoke = row.get_by_role("button", name=re.compile("^Revoke"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    revoke.click()
    page.reload()
    page.once("dialog", lambda dialog: dialog.accept())
    revoke.click()
    expect(page.get_by_text("The token is revoked")).to_be_visible()
    expect(row).to_have_count(0)


def test_on_a_phone_the_current_page_is_among_the_tabs(page: Page, tenant: Tenant) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    tenant.sign_in(page)
    for label in ("Policy", "Overview"):
        page.get_by_role("link", name=label, exact=True).click()
        tab = page.get_by_label("Console").get_by_role("link", name=label)
        expect(tab).to_be_in_viewport(ratio=0.9)


def until_created(create: Callable[[], str]) -> str:
    """Until the host knows that provisioning is enabled."""
    for _ in range(100):
        try:
            return create()
        except AssertionError:
            time.sleep(0.1)
    return create()


def test_signing_in_at_the_provider_and_out_again(
    page: Page, registered: Tenant, authority: str
) -> None:
    page.goto(f"{registered.host.url}/console/groups")
    assert page.url.startswith(authority)
    page.get_by_role("button", name="olga").click()
    expect(page.get_by_role("heading", name="Groups")).to_be_visible()
    expect(page.get_by_text("olga@acme.example")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()

    page.goto(f"{registered.host.url}/console")
    page.get_by_role("button", name="paul").click()
    expect(page.get_by_role("heading", name="You have no role here")).to_be_visible()


def test_another_sites_form_reaches_nothing(page: Page, tenant: Tenant) -> None:
    tenant.sign_in(page)
    elsewhere = tenant.host.url.replace("127.0.0.1", "localhost")
    page.route(
        f"{elsewhere}/evil",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{tenant.host.url}/console/provisioning">'
            '<button name="state" value="disabled">Win</button></form>',
        ),
    )
    page.goto(f"{elsewhere}/evil")
    page.get_by_role("button", name="Win").click()
    page.goto(f"{tenant.host.url}/console")
    expect(page.get_by_text("Provisioning enabled")).to_be_visible()


def test_the_keyboard_is_enough(page: Page, tenant: Tenant) -> None:
    tenant.group("Sales", tenant.user("Ada"))
    tenant.sign_in(page)
    press = page.keyboard.press

    def reach(selector: str) -> None:
        """Tab to an element, which must then show that it has the focus."""
        for _ in range(60):
            press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", selector
                return
        raise AssertionError(f"{selector} is not reached")

    def follow() -> None:
        with page.expect_navigation():
            press("Enter")

    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(f"{tenant.host.url}/console")
    reach("a[href='/console/groups']")
    follow()
    reach("tbody a")
    follow()
    reach("summary")
    press("Enter")
    reach("input[value='role:owner']")
    press("Space")
    reach("form[action$='/preview'] button")
    follow()
    reach("form[action$='/mapping'] button")
    follow()
    expect(page.get_by_text("The mapping is saved")).to_be_visible()


def test_pages_are_readable_without_scripts(chromium: Browser, tenant: Tenant) -> None:
    sales = tenant.group("Sales", tenant.user("Ada"))
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    tenant.sign_in(page)
    page.goto(f"{tenant.host.url}/console/groups/{sales}")
    expect(page.get_by_role("link", name="Ada Example")).to_be_visible()
    page.get_by_text("Roles").first.click()
    page.get_by_label("Owner").check()
    page.get_by_role("button", name="Preview the change").click()
    expect(page.get_by_text("+ Owner")).to_be_visible()
    context.close()
