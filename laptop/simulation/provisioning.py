"""The requests of Entra ID's provisioning service: test connection, match, create, update, members.

It maps and matches by the schema of its job, or without one as in docs/entra.md: users by
externalId first and by work e-mail second, groups by externalId. It speaks Entra ID's two dialects
(https://learn.microsoft.com/entra/identity/app-provisioning/
application-provisioning-config-problem-scim-compatibility): the default, that of the flag
`aadOptscim062020`, or both in turn, because one server gets both: on-demand provisioning ignores
the flag in the Tenant URL.
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
CONCURRENCY = 8
"""How many requests are sent at a time."""
RETRIES = 5
"""How often a request is sent while the answer is 429 or 503."""
ATTEMPTS = 7
"""How often a request is sent while there is no answer."""
PAUSE = 0.25
"""Seconds before a request without an answer is repeated; doubles each time, so that a server has a
quarter of a minute to start again."""


type Dialect = Literal["both", "default", "flag"]
DIALECTS: dict[Dialect, tuple[bool, ...]] = {
    "both": (False, True),
    "default": (False,),
    "flag": (True,),
}
"""Dialect → whether requests use the flag's form, in turn."""


class ProvisioningError(Exception):
    """An answer of the server that stops a provisioning job; the text is for its operator."""


@dataclass
class Measured:
    """Seconds of each request, by kind of request."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """Add a request."""
        self.seconds.setdefault(what, []).append(seconds)


class Provisioning:
    """One provisioning job against one Tenant URL. `links` maps object ids to SCIM ids, as in Entra
    ID; `adopted` has the object ids of users who existed before and were found by work e-mail."""

    def __init__(
        self,
        tenant_url: str,
        token: str,
        dialect: Dialect = "both",
        mappings: Mappings = CUSTOMARY,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.links: dict[str, str] = {}
        self.adopted: set[str] = set()
        self.measured = Measured()
        self.mappings = mappings
        self._exported: dict[str, dict[str, Any]] = {}
        """Object id → the values that were last sent or found, by target path."""
        self._url = tenant_url.partition("?")[0].rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            timeout=30,
            limits=httpx.Limits(max_connections=CONCURRENCY),
            transport=transport,
        )
        self._requests = asyncio.Semaphore(CONCURRENCY)
        self._dialects = itertools.cycle(DIALECTS[dialect])

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def test_connection(self) -> None:
        """Search for a user and a group that cannot exist: the answer must be 200 and an empty
        list. Makes one attempt. Raises ProvisioningError, httpx.TransportError."""
        for mapping in (self.mappings.user, self.mappings.group):
            nobody = str(uuid.uuid4())
            attribute = mapping.matched_by[0].target
            if await self._find("test connection", mapping, attribute, nobody, attempts=1):
                raise ProvisioningError("Test connection: a random GUID matched something.")

    async def provision_user(self, person: Person) -> None:
        """Match by externalId, then by work e-mail; update an existing user, or create one."""
        await self.provision(self.mappings.user, source_of_person(person))

    async def update_user(self, person: Person) -> None:
        """Send the changes of a person who was provisioned before."""
        await self.update(self.mappings.user, source_of_person(person))

    async def provision_group(self, team: Team) -> None:
        """Match by externalId; a new group is created without members."""
        await self.provision(self.mappings.group, source_of_team(team))

    async def provision(self, mapping: ObjectMapping, source: Source) -> bool:
        """Match, then update an existing object, or create one; whether anything was written."""
        if await self._matched(mapping, source):
            return await self.update(mapping, source)
        what = f"create {mapping.resource.lower()}"
        body = mapping.resource_of(source)
        created = await self._send(what, "POST", f"/{mapping.resource}s", body, 201, 409)
        if created.status_code == 201:
            self.links[source["objectId"]] = created.json()["id"]
            self._exported[source["objectId"]] = mapping.values(source)
        # A conflict may be with the same object, if an earlier request created it and its answer
        # was lost.
        elif not await self._matched(mapping, source):
            raise _refused(what, created)
        return True

    async def update(self, mapping: ObjectMapping, source: Source) -> bool:
        """Send the values that differ from those last sent or found; whether any did."""
        object_id = source["objectId"]
        values, before = mapping.values(source), self._exported[object_id]
        changed = {path: one for path, one in values.items() if before.get(path) != one}
        if not changed:
            return False
        # A user found by another attribute is adopted by writing externalId.
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
        """Delete a group that is no longer assigned; it may be gone already."""
        await self._send(
            "delete group", "DELETE", f"/Groups/{self.links[object_id]}", None, 204, 404
        )
        self.forget(object_id)

    def take_over(self, earlier: "Provisioning") -> None:
        """Take over the links and sent values of another connection of the same job."""
        self.links, self.adopted = earlier.links, earlier.adopted
        self.measured = earlier.measured
        self._exported = earlier._exported

    def forget_all(self) -> None:
        """Forget all objects: they are matched anew."""
        self.links.clear()
        self._exported.clear()

    def forget(self, object_id: str) -> None:
        """Forget an object: it is matched anew."""
        self.links.pop(object_id, None)
        self._exported.pop(object_id, None)

    async def add_members(self, team: Team, people: Sequence[Person]) -> None:
        """Send added memberships, many in one request."""
        await self._members(team, people, added=True)

    async def remove_members(self, team: Team, people: Sequence[Person]) -> None:
        """Send removed memberships, many in one request."""
        await self._members(team, people, added=False)

    async def _members(self, team: Team, people: Sequence[Person], *, added: bool) -> None:
        await self.change_members(team.object_id, [one.object_id for one in people], added=added)

    async def change_members(self, group: str, members: Sequence[str], *, added: bool) -> None:
        """Send added or removed memberships, by object ids."""
        path = f"/Groups/{self.links[group]}"
        ids = [self.links[member] for member in members]
        for start in range(0, len(ids), MEMBERS_PER_REQUEST):
            chosen = ids[start : start + MEMBERS_PER_REQUEST]
            operations = _member_operations(chosen, added=added, flag=next(self._dialects))
            what = "add members" if added else "remove members"
            await self._send(what, "PATCH", path, _patch(operations), 200, 204)

    async def _matched(self, mapping: ObjectMapping, source: Source) -> bool:
        """Link an existing object, found by the first matching attribute that finds one; whether
        there is one."""
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
        """Send one request, see `answer_to`. Raises ProvisioningError for a status that is not
        expected, httpx.TransportError where there is no answer."""
        request = partial(self._request, what, method, self._url + path, body)
        response = await answer_to(request, attempts)
        if response.status_code not in expected:
            raise _refused(what, response)
        return response

    async def _request(
        self, what: str, method: str, url: str, body: dict[str, Any] | None
    ) -> httpx.Response:
        async with self._requests:
            started = time.perf_counter()
            response = await self._client.request(method, url, json=body)
            self.measured.add(what, time.perf_counter() - started)
            return response


async def answer_to(
    request: Callable[[], Awaitable[httpx.Response]], attempts: int = ATTEMPTS
) -> httpx.Response:
    """The answer to a request, which is repeated while the answer is 429 or 503, and while there is
    none, because the server is starting. Raises httpx.TransportError after `attempts` without an
    answer."""
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
    """The flag's form: one object with dotted and URN keys; paths with filters separately."""
    alone = [path for path in values if "[" in path]
    together = {path: value for path, value in values.items() if "[" not in path}
    operations: list[dict[str, Any]]
    operations = [{"op": "replace", "path": path, "value": values[path]} for path in alone]
    return [*operations, {"op": "replace", "value": together}] if together else operations


def _one_by_one(values: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """The default form: one operation per attribute, and booleans as texts."""
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
