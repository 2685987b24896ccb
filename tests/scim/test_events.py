"""The provisioning log: every accepted write leaves exactly one event, and a refused one none
(product section 6, invariant 1)."""

from typing import Any

import pytest

from directory.documents import Event
from tests.scim.messages import (
    ENTERPRISE,
    NOBODY,
    USER,
    add,
    create_group,
    create_user,
    create_users,
    group,
    operation,
    patch,
    remove,
    user,
)
from tests.transports import Tenant

DEPARTMENT = f"{ENTERPRISE}:department"
SECRET = "personal"
"""A value, which no event may hold."""


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        (
            "POST",
            "/Users",
            user("grace", shoeSize=SECRET, **{ENTERPRISE: {"department": SECRET, "rank": "x"}}),
            {
                "operation": "create",
                "resource_type": "User",
                "attributes": ("userName", "name", "emails", "active", DEPARTMENT),
                "ignored": ("shoeSize", f"{ENTERPRISE}:rank"),
                "scope": "user",
            },
        ),
        (
            "PUT",
            "/Users/{user}",
            user("ada", userName=SECRET, shoeSize=SECRET),
            {
                "operation": "replace",
                "resource_type": "User",
                "attributes": ("userName", "title"),
                "ignored": ("shoeSize",),
                "scope": "user",
            },
        ),
        (
            "PATCH",
            "/Users/{user}",
            patch(
                operation("replace", "active", "False"),
                operation("add", DEPARTMENT, SECRET),
                operation("replace", "title", SECRET),
                operation("add", "shoeSize", SECRET),
            ),
            {
                "operation": "patch",
                "resource_type": "User",
                "attributes": ("active", DEPARTMENT),
                "ignored": ("shoeSize",),
                "scope": "user",
            },
        ),
        (
            "PATCH",
            "/Users/{user}",
            patch(operation("replace", "title", SECRET)),
            {
                "operation": "patch",
                "resource_type": "User",
                "attributes": (),
                "scope": "none",
                "state": "done",
            },
        ),
        (
            "DELETE",
            "/Users/{user}",
            None,
            {"operation": "delete", "resource_type": "User", "attributes": (), "scope": "user"},
        ),
        (
            "POST",
            "/Groups",
            group("Staff", ["{user}", NOBODY], colour=SECRET),
            {
                "operation": "create",
                "resource_type": "Group",
                "attributes": ("displayName", "members"),
                "ignored": ("colour", f'members[value eq "{NOBODY}"]'),
                "scope": "members",
            },
        ),
        (
            "POST",
            "/Groups",
            group("Staff"),
            {
                "operation": "create",
                "resource_type": "Group",
                "attributes": ("displayName",),
                "scope": "none",
                "state": "done",
            },
        ),
        (
            "PUT",
            "/Groups/{group}",
            group(SECRET),
            {
                "operation": "replace",
                "resource_type": "Group",
                "attributes": ("displayName", "members"),
                "scope": "members",
            },
        ),
        (
            "PATCH",
            "/Groups/{group}",
            remove(["{user}"]),
            {
                "operation": "patch",
                "resource_type": "Group",
                "attributes": ("members",),
                "scope": "members",
            },
        ),
        (
            "PATCH",
            "/Groups/{group}",
            add(["{user}"]),
            {
                "operation": "patch",
                "resource_type": "Group",
                "attributes": (),
                "scope": "none",
                "state": "done",
            },
        ),
        (
            "DELETE",
            "/Groups/{group}",
            None,
            {"operation": "delete", "resource_type": "Group", "attributes": (), "scope": "group"},
        ),
    ],
)
async def test_an_accepted_write_leaves_one_event(
    tenant: Tenant, method: str, path: str, body: Any, expected: dict[str, Any]
) -> None:
    """Who, what, when, which attributes, which request; names and never values."""
    ada = await create_user(tenant.scim, "ada", title=SECRET)
    sales = await create_group(tenant.scim, "Sales", [ada])
    before = {event.event_id for event in await tenant.events()}
    known = {"user": ada, "group": sales}
    answer = await tenant.scim.request(
        method,
        path.format(**known),
        json=_filled(body, known),
        headers={"x-request-id": "request-1"},
    )
    assert answer.is_success, answer.text
    (event,) = [event for event in await tenant.events() if event.event_id not in before]
    found = {name: getattr(event, name) for name in expected}
    assert found == expected
    assert event.ignored == expected.get("ignored", ())
    assert (event.actor.type, event.actor.id) == ("connection", "entra")
    assert event.request_id == "request-1"
    created = answer.json()["id"] if answer.status_code == 201 else None
    assert event.resource_id == (created or known[path[2:].partition("{")[2].rstrip("}")])
    assert SECRET not in event.model_dump_json()


def _filled(part: Any, known: dict[str, str]) -> Any:
    """The body with the ids that it names in braces."""
    if isinstance(part, str):
        return part.format(**known) if part in ("{user}", "{group}") else part
    if isinstance(part, dict):
        return {name: _filled(value, known) for name, value in part.items()}
    return [_filled(each, known) for each in part] if isinstance(part, list) else part


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/Users", user("ada"), 409),
        ("POST", "/Users", {"schemas": [USER], "userName": "x"}, 400),
        ("POST", "/Users", user("grace", active=[1, 2]), 400),
        ("PUT", "/Users/{user}", user("ada", userName=None), 400),
        ("PATCH", "/Users/{user}", patch(operation("remove", "userName")), 400),
        ("PATCH", "/Users/{user}", patch(operation("add", "title", "x"), {"op": "x"}), 400),
        ("PATCH", f"/Users/{NOBODY}", patch(operation("add", "title", "x")), 404),
        ("DELETE", f"/Users/{NOBODY}", None, 404),
        ("POST", "/Groups", group("sales"), 409),
        ("POST", "/Groups", {}, 400),
        ("PATCH", "/Groups/{group}", patch(operation("remove", "displayName")), 400),
        ("PATCH", "/Groups/{group}", patch(operation("add", "members", [7])), 400),
        ("DELETE", "/Users", None, 405),
    ],
)
async def test_a_refused_write_leaves_nothing(
    tenant: Tenant, method: str, path: str, body: Any, status: int
) -> None:
    """Invariants 1 and 7."""
    ada = await create_user(tenant.scim, "ada")
    sales = await create_group(tenant.scim, "Sales", [ada])
    before = await tenant.contents()
    answer = await tenant.scim.request(method, path.format(user=ada, group=sales), json=body)
    assert answer.status_code == status
    assert await tenant.contents() == before


async def test_a_change_of_members_says_who_came_and_went(tenant: Tenant) -> None:
    """The event lists ids, in one piece where it fits a batch and as an intent where not."""
    people = await create_users(tenant.scim, 130)
    sales = await create_group(tenant.scim, "Sales", people[:2])
    replaced = group("Sales", people[1:])
    assert (await tenant.scim.put(f"/Groups/{sales}", json=replaced)).status_code == 200
    event = (await tenant.events())[-1]
    assert event.membership is not None
    assert set(event.membership.added) == {f"user:{id}" for id in people[2:]}
    assert event.membership.removed == (f"user:{people[0]}",)
    assert event.membership.applied == 129
    await tenant.settle()
    events = await tenant.events()
    assert {event.state for event in events} == {"done"}
    assert all(_is_finished(event) for event in events)


def _is_finished(event: Event) -> bool:
    """An event that is done says since when, and expires."""
    return event.done_at is not None and event.ttl is not None


async def test_many_ignored_names_are_cut_and_not_the_request(tenant: Tenant) -> None:
    """A client cannot make an event grow without end."""
    unknown = {f"unknown{number}" + "x" * 300: 1 for number in range(300)}
    await create_user(tenant.scim, "ada", **unknown)
    (event,) = await tenant.events()
    assert len(event.ignored) == 100
    assert max(map(len, event.ignored)) <= 200
