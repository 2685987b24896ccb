"""What Entra ID's provisioning service does: test connection, match, create, update, members.

It maps and matches as the schema of its job says; where there is none, as docs/entra.md sets it up:
users by externalId first and by work e-mail second, groups by externalId. It speaks Entra ID's two
dialects (https://learn.microsoft.com/entra/identity/app-provisioning/
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

from laptop.simulation.mapping import (
    CUSTOMARY,
    Mappings,
    ObjectMapping,
    Source,
    read,
    source_of_person,
    source_of_team,
)
from laptop.simulation.organisation import Person, Team

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
        self,
        tenant_url: str,
        token: str,
        concurrency: int = 8,
        dialect: Dialect = "both",
        mappings: Mappings = CUSTOMARY,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.links: dict[str, str] = {}
        self.adopted: set[str] = set()
        self.measured = Measured()
        self.mappings = mappings
        self._exported: dict[str, dict[str, Any]] = {}
        """What was last sent or found of an object, by target path."""
        self._url = tenant_url.partition("?")[0].rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            timeout=30,
            limits=httpx.Limits(max_connections=concurrency),
            transport=transport,
        )
        self._places = asyncio.Semaphore(concurrency)
        self._dialects = itertools.cycle(DIALECTS[dialect])

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def test_connection(self) -> None:
        """Ask for a user and a group that cannot exist: 200 and an empty list is right. A server
        that gives no answer is not asked again. Raises httpx.TransportError."""
        for mapping in (self.mappings.user, self.mappings.group):
            nobody = str(uuid.uuid4())
            attribute = mapping.matched_by[0].target
            if await self._find("test connection", mapping, attribute, nobody, attempts=1):
                raise ProvisioningError("Test connection: a random GUID matched something.")

    async def provision_user(self, person: Person) -> None:
        """Match by externalId, then by work e-mail; update what is there, or create."""
        await self.provision(self.mappings.user, source_of_person(person))

    async def update_user(self, person: Person) -> None:
        """Send what changed of a person who was provisioned before."""
        await self.update(self.mappings.user, source_of_person(person))

    async def provision_group(self, team: Team) -> None:
        """Match by externalId; a new group is created without members."""
        await self.provision(self.mappings.group, source_of_team(team))

    async def provision(self, mapping: ObjectMapping, source: Source) -> bool:
        """Match, then update what is there, or create. Whether anything was written."""
        if await self._matched(mapping, source):
            return await self.update(mapping, source)
        what = f"create {mapping.resource.lower()}"
        body = mapping.resource_of(source)
        created = await self._send(what, "POST", f"/{mapping.resource}s", body, 201, 409)
        if created.status_code == 201:
            self.links[source["objectId"]] = created.json()["id"]
            self._exported[source["objectId"]] = mapping.values(source)
        # What conflicts may be that very object: an earlier request did create it, and its answer
        # was lost.
        elif not await self._matched(mapping, source):
            raise _refused(what, created)
        return True

    async def update(self, mapping: ObjectMapping, source: Source) -> bool:
        """Send what differs from what was last sent or found. Whether anything did."""
        object_id = source["objectId"]
        values, before = mapping.values(source), self._exported[object_id]
        changed = {path: one for path, one in values.items() if before.get(path) != one}
        if not changed:
            return False
        # Who was found by something else than externalId is Entra ID's from now on.
        adopts = "externalId" in changed and mapping.resource == "User"
        what = "adopt user" if adopts else f"update {mapping.resource.lower()}"
        if next(self._dialects):
            operations = _in_one_object(changed)
        else:
            operations = _one_by_one(changed, before)
        path = f"/{mapping.resource}s/{self.links[object_id]}"
        await self._send(what, "PATCH", path, _patch(operations), 200, 204)
        self._exported[object_id] = values
        return True

    async def delete_group(self, object_id: str) -> None:
        """A group that is no longer assigned. One that is gone is gone."""
        await self._send(
            "delete group", "DELETE", f"/Groups/{self.links[object_id]}", None, 204, 404
        )
        self.forget(object_id)

    def take_over(self, earlier: "Provisioning") -> None:
        """Know what another connection of the same job linked and sent."""
        self.links, self.adopted = earlier.links, earlier.adopted
        self.measured = earlier.measured
        self._exported = earlier._exported

    def forget_all(self) -> None:
        """Forget everything."""
        self.links.clear()
        self._exported.clear()

    def forget(self, object_id: str) -> None:
        """Forget an object: it is matched anew."""
        self.links.pop(object_id, None)
        self._exported.pop(object_id, None)

    async def add_members(self, team: Team, people: Sequence[Person]) -> None:
        """Memberships that came, many in one request."""
        await self._members(team, people, added=True)

    async def remove_members(self, team: Team, people: Sequence[Person]) -> None:
        """Memberships that went."""
        await self._members(team, people, added=False)

    async def _members(self, team: Team, people: Sequence[Person], *, added: bool) -> None:
        await self.change_members(team.object_id, [one.object_id for one in people], added=added)

    async def change_members(self, group: str, members: Sequence[str], *, added: bool) -> None:
        """The same by object ids."""
        path = f"/Groups/{self.links[group]}"
        ids = [self.links[member] for member in members]
        for start in range(0, len(ids), MEMBERS_PER_REQUEST):
            chosen = ids[start : start + MEMBERS_PER_REQUEST]
            operations = _member_operations(chosen, added=added, flag=next(self._dialects))
            what = "add members" if added else "remove members"
            await self._send(what, "PATCH", path, _patch(operations), 200, 204)

    async def _matched(self, mapping: ObjectMapping, source: Source) -> bool:
        """Link an object that is there, found by the first matching attribute that finds one."""
        values, object_id = mapping.values(source), source["objectId"]
        for attribute in mapping.matched_by:
            if (value := values.get(attribute.target)) is None:
                continue
            what = f"match {mapping.resource.lower()}"
            found = await self._find(what, mapping, attribute.target, str(value))
            if len(found) > 1:
                raise ProvisioningError(
                    f"DuplicateTargetEntries: {attribute.target} finds several."
                )
            if found:
                self.links[object_id] = found[0]["id"]
                there = {path: read(found[0], path) for path in values}
                self._exported[object_id] = there
                if mapping.resource == "User" and there.get("externalId") is None:
                    self.adopted.add(object_id)
                return True
        return False

    async def _find(
        self,
        what: str,
        mapping: ObjectMapping,
        attribute: str,
        value: str,
        *,
        attempts: int = ATTEMPTS,
    ) -> list[dict[str, Any]]:
        excluded = {"excludedAttributes": "members"} if mapping.resource == "Group" else {}
        parameters = httpx.QueryParams({**excluded, "filter": f'{attribute} eq "{value}"'})
        path = f"/{mapping.resource}s?{parameters}"
        answer = await self._send(what, "GET", path, None, 200, attempts=attempts)
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


def _in_one_object(values: dict[str, Any]) -> list[dict[str, Any]]:
    """In the flag's form: one object with dotted and URN keys; paths with filters apart."""
    alone = [path for path in values if "[" in path]
    together = {path: value for path, value in values.items() if "[" not in path}
    operations: list[dict[str, Any]]
    operations = [{"op": "replace", "path": path, "value": values[path]} for path in alone]
    return [*operations, {"op": "replace", "value": together}] if together else operations


def _one_by_one(values: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """In the default form: one operation per attribute, and booleans as texts."""
    return [
        {
            "op": "Add" if before.get(path) is None else "Replace",
            "path": path,
            "value": str(value) if isinstance(value, bool) else value,
        }
        for path, value in values.items()
    ]


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
