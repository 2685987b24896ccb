"""What Entra ID's provisioning service does: test connection, match, create, update, members.

It matches as docs/entra.md sets it up: users by externalId first and by work e-mail second, groups
by externalId. It speaks Entra ID's two dialects (https://learn.microsoft.com/entra/identity/app-provisioning/
application-provisioning-config-problem-scim-compatibility): the default, that of the flag
`aadOptscim062020`, or both in turn, because both arrive at one server: on-demand provisioning
ignores the flag in the Tenant URL.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import httpx

from laptop.simulation.organisation import Person, Team

CORE = "urn:ietf:params:scim:schemas:core:2.0"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MEDIA_TYPE = "application/scim+json"
MEMBERS_PER_REQUEST = 50
RETRIES = 5
"""How often a request is sent while the answer asks for patience."""
ATTEMPTS = 7
"""How often a request is sent that gets no answer."""
PAUSE = 0.25
"""Seconds before such a request is repeated; doubles each time, so that a server has a quarter of
a minute to start again."""


type Dialect = Literal["both", "default", "flag"]
DIALECTS: dict[Dialect, tuple[bool, ...]] = {
    "both": (False, True),
    "default": (False,),
    "flag": (True,),
}
"""Whether a request is in the form of the flag, in turn."""


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
    ID keeps them; `adopted` are the object ids of those who were there before, found by their work
    e-mail."""

    def __init__(
        self, tenant_url: str, token: str, concurrency: int = 8, dialect: Dialect = "both"
    ) -> None:
        self.links: dict[str, str] = {}
        self.adopted: set[str] = set()
        self.measured = Measured()
        self._url = tenant_url.rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            timeout=30,
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._places = asyncio.Semaphore(concurrency)
        self._dialects = itertools.cycle(DIALECTS[dialect])

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def test_connection(self) -> None:
        """Ask for a user and a group that cannot exist: 200 and an empty list is right. A server
        that gives no answer is not asked again. Raises httpx.TransportError."""
        for path, attribute in (("Users", "externalId"), ("Groups", "externalId")):
            nobody = str(uuid.uuid4())
            if await self._find("test connection", path, attribute, nobody, attempts=1):
                raise ProvisioningError("Test connection: a random GUID matched something.")

    async def provision_user(self, person: Person) -> None:
        """Match by externalId, then by work e-mail; update what is there, or create."""
        if await self._matched_user(person):
            await self.update_user(person)
            return
        if await self._adopted_user(person):
            return
        created = await self._send("create user", "POST", "/Users", _user(person), 201, 409)
        if created.status_code == 201:
            self.links[person.object_id] = created.json()["id"]
        elif not await self._matched_user(person):
            raise _refused("create user", created)

    async def _adopted_user(self, person: Person) -> bool:
        """Link somebody of that work e-mail who was there before, and write every mapped attribute
        that may differ: externalId is what makes the user Entra ID's."""
        attribute = 'emails[type eq "work"].value'
        found = await self._find("match user", "Users", attribute, person.user_name)
        if not self._linked(person.object_id, found):
            return False
        self.adopted.add(person.object_id)
        values = {
            "externalId": person.object_id,
            "userName": person.user_name,
            "displayName": person.display_name,
            "name.givenName": person.given_name,
            "name.familyName": person.family_name,
        }
        if next(self._dialects):
            operations = [{"op": "replace", "value": {**values, "active": person.active}}]
        else:
            there = found[0]
            operations = [
                {
                    "op": "Replace" if name.partition(".")[0] in there else "Add",
                    "path": name,
                    "value": value,
                }
                for name, value in {**values, "active": str(person.active)}.items()
            ]
        path = f"/Users/{self.links[person.object_id]}"
        await self._send("adopt user", "PATCH", path, _patch(operations), 200, 204)
        return True

    async def update_user(self, person: Person) -> None:
        """Send active, as `accountEnabled` is mapped."""
        operation: dict[str, Any] = {"op": "Replace", "path": "active", "value": str(person.active)}
        if next(self._dialects):
            operation = {"op": "replace", "value": {"active": person.active}}
        path = f"/Users/{self.links[person.object_id]}"
        await self._send("update user", "PATCH", path, _patch([operation]), 200, 204)

    async def provision_group(self, team: Team) -> None:
        """Match by externalId; a new group is created without members."""
        if await self._matched_group(team):
            return
        created = await self._send("create group", "POST", "/Groups", _group(team), 201, 409)
        if created.status_code == 201:
            self.links[team.object_id] = created.json()["id"]
        elif not await self._matched_group(team):
            raise _refused("create group", created)

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

    async def _matched_user(self, person: Person) -> bool:
        """Link a user who is there. What conflicts with a user to be created may be that user: an
        earlier request did create it, and its answer was lost."""
        found = await self._find("match user", "Users", "externalId", person.object_id)
        return self._linked(person.object_id, found)

    async def _matched_group(self, team: Team) -> bool:
        """The same for a group."""
        found = await self._find("match group", "Groups", "externalId", team.object_id)
        return self._linked(team.object_id, found)

    def _linked(self, object_id: str, found: list[dict[str, Any]]) -> bool:
        if found:
            self.links[object_id] = found[0]["id"]
        return bool(found)

    async def _find(
        self, what: str, path: str, attribute: str, value: str, *, attempts: int = ATTEMPTS
    ) -> list[dict[str, Any]]:
        excluded = {"excludedAttributes": "members"} if path == "Groups" else {}
        parameters = httpx.QueryParams({**excluded, "filter": f'{attribute} eq "{value}"'})
        answer = await self._send(
            what, "GET", f"/{path}?{parameters}", None, 200, attempts=attempts
        )
        found: list[dict[str, Any]] = answer.json()["Resources"]
        return found

    async def _send(
        self,
        what: str,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *expected: int,
        attempts: int = ATTEMPTS,
    ) -> httpx.Response:
        """One request, see `answer_to`. Raises ProvisioningError for a status that is not
        expected, httpx.TransportError where there is no answer."""
        request = partial(self._request, what, method, self._url + path, body)
        response = await answer_to(request, attempts)
        if response.status_code not in expected:
            raise _refused(what, response)
        return response

    async def _request(
        self, what: str, method: str, url: str, body: dict[str, Any] | None
    ) -> httpx.Response:
        async with self._places:
            started = time.perf_counter()
            response = await self._client.request(method, url, json=body)
            self.measured.add(what, time.perf_counter() - started)
            return response


async def answer_to(
    request: Callable[[], Awaitable[httpx.Response]], attempts: int = ATTEMPTS
) -> httpx.Response:
    """The answer to a request that is repeated while it asks for patience, and while there is
    none, as while a server starts again. Raises httpx.TransportError after so many attempts."""
    for retry in range(1, RETRIES):
        response = await _any_answer_to(request, attempts)
        if response.status_code not in (429, 503):
            return response
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)) * retry)
    return await _any_answer_to(request, attempts)


async def _any_answer_to(
    request: Callable[[], Awaitable[httpx.Response]], attempts: int
) -> httpx.Response:
    for attempt in range(attempts - 1):
        try:
            return await request()
        except httpx.TransportError:
            await asyncio.sleep(PAUSE * 2**attempt)
    return await request()


def _refused(what: str, response: httpx.Response) -> ProvisioningError:
    return ProvisioningError(
        f"{what}: {response.request.method} answered {response.status_code}: {response.text[:500]}"
    )


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
