"""What Entra ID's provisioning service does: test connection, match, create, update, members.

It speaks both of Entra ID's dialects (https://learn.microsoft.com/entra/identity/app-provisioning/
application-provisioning-config-problem-scim-compatibility), in turn, because both arrive at one
server: on-demand provisioning ignores the flag in the Tenant URL.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from simulation.organisation import Person, Team

CORE = "urn:ietf:params:scim:schemas:core:2.0"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MEDIA_TYPE = "application/scim+json"
MEMBERS_PER_REQUEST = 50
RETRIES = 5


class ProvisioningError(Exception):
    """The server answered what stops a provisioning job; the text is for its operator."""


@dataclass
class Measured:
    """Seconds per request, by what was asked."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """One more request."""
        self.seconds.setdefault(what, []).append(seconds)


class Provisioning:
    """One provisioning job against one Tenant URL. `links` maps object ids to SCIM ids, as Entra
    ID keeps them."""

    def __init__(self, tenant_url: str, token: str, concurrency: int = 8) -> None:
        self.links: dict[str, str] = {}
        self.measured = Measured()
        self._url = tenant_url.rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            timeout=30,
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._places = asyncio.Semaphore(concurrency)
        self._dialects = itertools.cycle((False, True))

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def test_connection(self) -> None:
        """Ask for a user and a group that cannot exist: 200 and an empty list is right."""
        for path, attribute in (("Users", "userName"), ("Groups", "displayName")):
            found = await self._find(path, attribute, str(uuid.uuid4()), "test connection")
            if found:
                raise ProvisioningError("Test connection: a random GUID matched something.")

    async def provision_user(self, person: Person) -> None:
        """Match by externalId, then by userName; update what is there, or create."""
        found = await self._find("Users", "externalId", person.object_id, "match user")
        found = found or await self._find("Users", "userName", person.user_name, "match user")
        if found:
            self.links[person.object_id] = found[0]["id"]
            await self.update_user(person)
            return
        created = await self._send("create user", "POST", "/Users", _user(person), 201)
        self.links[person.object_id] = created["id"]

    async def update_user(self, person: Person) -> None:
        """Send active, as `accountEnabled` is mapped."""
        operation: dict[str, Any] = {"op": "Replace", "path": "active", "value": str(person.active)}
        if next(self._dialects):
            operation = {"op": "replace", "value": {"active": person.active}}
        path = f"/Users/{self.links[person.object_id]}"
        await self._send("update user", "PATCH", path, _patch([operation]), 200, 204)

    async def provision_group(self, team: Team) -> None:
        """Match by displayName; a new group is created without members."""
        found = await self._find("Groups", "displayName", team.display_name, "match group")
        if found:
            self.links[team.object_id] = found[0]["id"]
            return
        created = await self._send("create group", "POST", "/Groups", _group(team), 201)
        self.links[team.object_id] = created["id"]

    async def add_members(self, team: Team, people: Sequence[Person]) -> None:
        """Memberships that came, many in one request."""
        await self._members(team, people, added=True)

    async def remove_members(self, team: Team, people: Sequence[Person]) -> None:
        """Memberships that went."""
        await self._members(team, people, added=False)

    async def _members(self, team: Team, people: Sequence[Person], *, added: bool) -> None:
        path = f"/Groups/{self.links[team.object_id]}"
        ids = [self.links[person.object_id] for person in people]
        for start in range(0, len(ids), MEMBERS_PER_REQUEST):
            chosen = ids[start : start + MEMBERS_PER_REQUEST]
            operations = _member_operations(chosen, added=added, flag=next(self._dialects))
            what = "add members" if added else "remove members"
            await self._send(what, "PATCH", path, _patch(operations), 200, 204)

    async def _find(self, path: str, attribute: str, value: str, what: str) -> list[dict[str, Any]]:
        excluded = {"excludedAttributes": "members"} if path == "Groups" else {}
        parameters = httpx.QueryParams({**excluded, "filter": f'{attribute} eq "{value}"'})
        answer = await self._send(what, "GET", f"/{path}?{parameters}", None, 200)
        found: list[dict[str, Any]] = answer["Resources"]
        return found

    async def _send(
        self, what: str, method: str, path: str, body: dict[str, Any] | None, *expected: int
    ) -> dict[str, Any]:
        """One request, repeated while the server asks for patience."""
        for attempt in range(RETRIES):
            async with self._places:
                started = time.perf_counter()
                response = await self._client.request(method, self._url + path, json=body)
                self.measured.add(what, time.perf_counter() - started)
            if response.status_code not in (429, 503):
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)) * (attempt + 1))
        if response.status_code not in expected:
            raise ProvisioningError(
                f"{what}: {method} answered {response.status_code}: {response.text[:500]}"
            )
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


def _user(person: Person) -> dict[str, Any]:
    return {
        "schemas": [f"{CORE}:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": person.object_id,
        "userName": person.user_name,
        "active": person.active,
        "displayName": person.display_name,
        "emails": [{"primary": True, "type": "work", "value": person.user_name}],
        "meta": {"resourceType": "User"},
        "name": {"givenName": person.given_name, "familyName": person.family_name},
        "roles": [],
    }


def _group(team: Team) -> dict[str, Any]:
    return {
        "schemas": [
            f"{CORE}:Group",
            "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group",
        ],
        "externalId": team.object_id,
        "displayName": team.display_name,
        "meta": {"resourceType": "Group"},
    }


def _patch(operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": operations}


def _member_operations(ids: list[str], *, added: bool, flag: bool) -> list[dict[str, Any]]:
    if added:
        value = [{"$ref": None, "value": member} for member in ids]
        return [{"op": "add" if flag else "Add", "path": "members", "value": value}]
    if flag:
        return [{"op": "remove", "path": f'members[value eq "{member}"]'} for member in ids]
    value = [{"value": member} for member in ids]
    return [{"op": "Remove", "path": "members", "value": value}]
