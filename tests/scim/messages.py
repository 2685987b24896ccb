"""What a client sends, and short ways to send it."""

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Any

import httpx

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
USER, GROUP = f"{CORE}User", f"{CORE}Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
PATCH_OP, SEARCH_REQUEST = f"{MESSAGES}PatchOp", f"{MESSAGES}SearchRequest"
NOBODY = "01jqzzzzzzzzzzzzzzzzzzzzzz"
"""An id as the server could give it, and has not."""

type Body = dict[str, Any]


def user(name: str, /, **more: Any) -> Body:
    """A complete user."""
    return {
        "schemas": [USER],
        "userName": f"{name}@example.com",
        "name": {"givenName": name.title(), "familyName": "Example"},
        "emails": [{"type": "work", "value": f"{name}@example.com", "primary": True}],
        "active": True,
        **more,
    }


def group(name: str, members: Iterable[str] = (), /, **more: Any) -> Body:
    """A group with these ids as members."""
    body = {"schemas": [GROUP], "displayName": name, **more}
    return body | ({"members": values(members)} if members else {})


def values(ids: Iterable[str]) -> list[Body]:
    """Ids as the elements of `members`."""
    return [{"value": id} for id in ids]


def patch(*operations: Body) -> Body:
    """A PATCH of these operations."""
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


def operation(op: str, path: str | None = None, value: Any = None) -> Body:
    """One operation; what is None is left out."""
    parts = {"op": op, "path": path, "value": value}
    return {name: part for name, part in parts.items() if part is not None}


def add(ids: Iterable[str]) -> Body:
    """A PATCH that adds members."""
    return patch(operation("add", "members", values(ids)))


def remove(ids: Iterable[str]) -> Body:
    """A PATCH that removes members, in the way of Entra ID."""
    return patch(operation("remove", "members", values(ids)))


async def create(scim: httpx.AsyncClient, path: str, body: Body) -> Body:
    """The resource that a POST creates."""
    answer = await scim.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def create_user(scim: httpx.AsyncClient, name: str, /, **more: Any) -> str:
    """The id of a new user."""
    return str((await create(scim, "/Users", user(name, **more)))["id"])


async def create_users(scim: httpx.AsyncClient, how_many: int) -> list[str]:
    """The ids of so many new users, created at the same time, in the order of a list."""
    names = [f"user{next(_numbers)}" for _ in range(how_many)]
    return sorted(await asyncio.gather(*(create_user(scim, name) for name in names)))


async def create_group(
    scim: httpx.AsyncClient, name: str, members: Iterable[str] = (), /, **more: Any
) -> str:
    """The id of a new group."""
    return str((await create(scim, "/Groups", group(name, members, **more)))["id"])


async def members(scim: httpx.AsyncClient, id: str) -> list[str]:
    """The ids of a group's members, as the group shows them."""
    answer = await scim.get(f"/Groups/{id}?attributes=members")
    assert answer.status_code == 200, answer.text
    return [member["value"] for member in answer.json().get("members", [])]


def ids(answer: httpx.Response) -> list[str]:
    """The ids in a list, in its order."""
    assert answer.status_code == 200, answer.text
    return [resource["id"] for resource in answer.json()["Resources"]]


_numbers = count(1)
