"""A small organisation behind a console, and how a page's forms are sent."""

import html
import re
from dataclasses import dataclass

import httpx

from directory.documents import EntitlementKey
from tests.environment import Environment

OWNER = EntitlementKey(kind="role", key="owner")
ADD_IN = EntitlementKey(kind="role", key="addInUser")
VISITORS = EntitlementKey(kind="role", key="visitorsAdministrator")


@dataclass
class Organisation:
    """Sales has Ada and Bo, and Carl who is inactive; Staff has Sales; nobody is in Empty."""

    environment: Environment
    ada: str
    bo: str
    carl: str
    sales: str
    staff: str
    empty: str


async def organisation(environment: Environment) -> Organisation:
    """Provision it and wait until it is reconciled."""
    ada = await _user(environment, "ada", "Ada", "Lovelace")
    bo = await _user(environment, "bo", "Bo", "<Diddley>")
    carl = await _user(environment, "carl", "Carl", "Gauss", active=False)
    sales = await _group(environment, "Sales", ada, bo, carl)
    staff = await _group(environment, "Staff", sales)
    empty = await _group(environment, "Empty")
    await environment.settle()
    return Organisation(environment, ada, bo, carl, sales, staff, empty)


async def _user(
    environment: Environment, name: str, given: str, family: str, *, active: bool = True
) -> str:
    answer = await environment.client.post(
        "/Users",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": f"{name}@acme.example",
            "externalId": f"object-{name}",
            "active": active,
            "name": {"givenName": given, "familyName": family},
            "emails": [{"type": "work", "value": f"{name}@acme.example"}],
            "unheardOf": "x",
        },
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _group(environment: Environment, name: str, *members: str) -> str:
    answer = await environment.client.post(
        "/Groups",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "externalId": f"object-{name}",
            "members": [{"value": member} for member in members],
        },
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


_TEXT = r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>'


class Form:
    """A form of a page, as a browser would send it."""

    def __init__(self, page: httpx.Response, action: str) -> None:
        found = re.search(
            rf'<form method="post" action="/console{re.escape(action)}".*?</form>',
            page.text,
            re.DOTALL,
        )
        assert found, f"{page.url} has no form for {action}: {page.text[-2000:]}"
        self._action = f"/console{action}"
        self.fields: dict[str, list[str]] = {}
        for tag in re.findall(r"<input[^>]*>", found[0]):
            attributes = {
                name: html.unescape(value)
                for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)
            }
            ticked = " checked" in tag or attributes.get("type") not in ("checkbox", "file")
            if ticked and attributes.get("type") != "file" and "name" in attributes:
                name, value = attributes["name"], attributes.get("value", "")
                self.fields.setdefault(name, []).append(value)
        for name, text in re.findall(_TEXT, found[0], re.DOTALL):
            self.fields.setdefault(name, []).append(html.unescape(text))

    async def send(self, browser: httpx.AsyncClient, **changes: object) -> httpx.Response:
        """Send it with some fields changed; a list is sent as several."""
        fields: dict[str, object] = {**self.fields, **changes}
        return await browser.post(self._action, data=fields)


async def shown(browser: httpx.AsyncClient, path: str) -> httpx.Response:
    """A page that must be there."""
    page = await browser.get(f"/console{path}")
    assert page.status_code == 200, (path, page.text[-1500:])
    return page


async def followed(browser: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response:
    """Where a form's answer leads."""
    assert answer.status_code == 303, answer.text[-1500:]
    page = await browser.get(answer.headers["location"])
    assert page.status_code == 200
    return page
