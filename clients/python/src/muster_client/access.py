"""The access API: one user, everybody, decisions, and the changes that keep a copy up to date."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from muster_client.copy import Change, Copy, User

MOST = 1_000
"""The most users in one request."""
MOST_DECISIONS = 100
"""The most decisions in one request."""
WAIT_SECONDS = 30
"""How long Muster waits for a change before it answers that there is none."""
AGAIN_SECONDS = 1.0
"""The pause before asking again for users whose record lags behind, or after a server did not
answer."""
PATIENCE_SECONDS = 300.0
"""The longest pause, even if the server asks for more."""


class Access:
    """The access API at a URL such as `https://eu.muster.example.com`. With a credential of the
    deployment, `tenant` is the default tenant of calls, and `follow` keeps one copy of all
    `tenants` (by default of that tenant). With a tenant's own token, leave out both. Every method
    raises httpx.HTTPError; the error's notes have Muster's explanation."""

    def __init__(
        self,
        url: str,
        credential: str,
        tenant: str | None = None,
        *,
        tenants: Sequence[str] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._tenant = tenant or ""
        self._tenants = tuple(tenants) or (self._tenant,)
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/access/v1",
            headers={"Authorization": f"Bearer {credential}"},
            timeout=WAIT_SECONDS + 30,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; `async with` does it."""
        await self._http.aclose()

    async def user(
        self,
        id: str | None = None,
        tenant: str | None = None,
        *,
        user_name: str | None = None,
        external_id: str | None = None,
    ) -> User | None:
        """What one user may do at this moment, by SCIM id, userName (in any case) or externalId;
        None where there is no such user. Raises ValueError unless one of the three is given."""
        names = {"userName": user_name, "externalId": external_id}
        query = {name: value for name, value in names.items() if value}
        if len(query) + bool(id) != 1:
            raise ValueError("Name the user by one of id, user_name and external_id.")
        path = f"/users/{quote(id, safe='')}" if id else "/users"
        answer = await self._http.get(self._below(tenant) + path, params=query)
        return None if answer.status_code == 404 else _user(self._named(tenant), _content(answer))

    async def users(self, tenant: str | None = None, **filters: str) -> AsyncIterator[User]:
        """Every user, or those who pass the filters (`enabled`, `grant`, `changedSince`)."""
        async for page in self._pages(self._named(tenant), filters):
            for user in page["users"]:
                yield _user(self._named(tenant), user)

    async def several(
        self, ids: Sequence[str], tenant: str | None = None
    ) -> dict[str, User | None]:
        """What some users may do, by SCIM id; None for unknown ids."""
        found: dict[str, User | None] = {}
        for start in range(0, len(ids), MOST):
            body = {"ids": list(ids[start : start + MOST])}
            path = f"{self._below(tenant)}/users/query"
            answer = _content(await self._http.post(path, json=body))
            found |= dict.fromkeys(answer["missing"])
            found |= {user["id"]: _user(self._named(tenant), user) for user in answer["users"]}
        return found

    async def decide(
        self, user: str, grants: Sequence[str], tenant: str | None = None
    ) -> dict[str, bool]:
        """Whether a user (SCIM id, externalId or userName) holds each of these grants (`kind:key`,
        such as `role:owner`) at this moment, by OpenID AuthZEN. A disabled or unknown user holds
        nothing."""
        asked = {"subject": {"type": "user", "id": user}, "action": {"name": "hold"}}
        held: dict[str, bool] = {}
        for start in range(0, len(grants), MOST_DECISIONS):
            some = grants[start : start + MOST_DECISIONS]
            pairs = [grant.split(":", 1) for grant in some]
            questions = [{"resource": {"type": kind, "id": key}} for kind, key in pairs]
            body = {**asked, "evaluations": questions}
            path = f"{self._below(tenant)}/evaluations"
            answer = _content(await self._http.post(path, json=body))
            decisions = [each["decision"] for each in answer["evaluations"]]
            held |= dict(zip(some, decisions, strict=True))
        return held

    async def snapshot(self) -> Copy:
        """A copy of everybody's access, with the position of the feed when the first list began:
        the changes after it are still to be applied."""
        copy = Copy()
        for tenant in self._tenants:
            async for page in self._pages(tenant, {}):
                copy.position = copy.position or page["feedPosition"]
                for user in page["users"]:
                    copy.put(_user(tenant, user))
        return copy

    async def follow(self, copy: Copy) -> AsyncIterator[list[Change]]:
        """Keep a copy up to date for ever; it begins with a snapshot if the copy has no position,
        or one that is too old. Whenever `copy.position` has moved on, it yields what changed, which
        may be nothing: save the position together with these users, and nothing is missed whenever
        the program dies. While Muster does not answer, it goes on trying. To follow other tenants
        than before, begin without a position."""
        while True:
            try:
                if copy.position is None:
                    yield copy.replaced_by(await self.snapshot())
                yield [*await self._apply(copy), *await self._ask_again(copy)]
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if not _passes(error):
                    raise
                await asyncio.sleep(_pause(error))

    async def hear(self, copy: Copy, message: Mapping[str, Any]) -> list[Change]:
        """Apply a webhook's message (see verify_webhook) to a copy that `follow` keeps, so that the
        copy changes sooner. A message may come days late, and must not bring back a deleted user:
        so Muster is asked for a user whom the copy does not have."""
        told = message["data"]
        if message["type"] != "access.changed":
            return []
        tenant, id = (told["tenantId"] if self._tenants[0] else ""), told["userId"]
        if tenant not in self._tenants:
            return []
        if told["complete"] and (tenant, id) in copy.users:
            return _applied(copy, tenant, told)
        user = await self.user(id, tenant)
        # `follow` may have heard meanwhile that the user is deleted; it asks again for who is
        # pending.
        return copy.put(replace(user, pending=True)) if user else copy.set(tenant, id, None)

    async def _apply(self, copy: Copy) -> list[Change]:
        """One page of changes."""
        waiting = AGAIN_SECONDS if _lagging(copy) else WAIT_SECONDS
        query = {"after": str(copy.position), "limit": str(MOST), "wait": f"{waiting:.0f}"}
        # several tenants are read from the feed of all; for one, Muster leaves out the others
        whose = _below(self._tenants[0]) if len(self._tenants) == 1 else ""
        answer = await self._http.get(f"{whose}/changes", params=query)
        if answer.status_code == 410:  # the position is too old: changes would be missed
            copy.position = None
            return []
        page = _content(answer)
        changes = [change for told in page["changes"] for change in await self._told(copy, told)]
        copy.position = page["position"]
        if not page["changes"] and answer.elapsed.total_seconds() < waiting:
            await asyncio.sleep(AGAIN_SECONDS)  # too many readers wait already
        return changes

    async def _told(self, copy: Copy, told: Mapping[str, Any]) -> list[Change]:
        """One change of the feed."""
        tenant, id = (told["tenant"] if self._tenants[0] else ""), told["userId"]
        if tenant not in self._tenants or id is None:
            return []
        if not told["complete"]:
            user = await self.user(id, tenant)
            return copy.put(user) if user else copy.set(tenant, id, None)
        return _applied(copy, tenant, told)

    async def _ask_again(self, copy: Copy) -> list[Change]:
        """Ask for pending users again: the feed has no change for a record that has caught up."""
        changes, lagging = [], _lagging(copy)
        for tenant in {user.tenant for user in lagging}:
            ids = [user.id for user in lagging if user.tenant == tenant]
            for id, user in (await self.several(ids, tenant)).items():
                changes += copy.put(user) if user else copy.set(tenant, id, None)
        return changes

    async def _pages(
        self, tenant: str, filters: Mapping[str, str]
    ) -> AsyncIterator[dict[str, Any]]:
        query = {**filters, "limit": str(MOST)}
        while True:
            page = _content(await self._http.get(f"{_below(tenant)}/users", params=query))
            yield page
            if "nextCursor" not in page:
                return
            query["cursor"] = page["nextCursor"]

    def _named(self, tenant: str | None) -> str:
        return self._tenant if tenant is None else tenant

    def _below(self, tenant: str | None) -> str:
        return _below(self._named(tenant))


def _below(tenant: str) -> str:
    return f"/tenants/{quote(tenant, safe='')}" if tenant else ""


def _content(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer. Raises HTTPStatusError, with Muster's explanation as its note."""
    try:
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        error.add_note(answer.text[:1_000])
        raise
    content: dict[str, Any] = answer.json()
    return content


def _user(tenant: str, user: Mapping[str, Any]) -> User:
    found = _state(tenant, user["id"], user["version"], user)
    names = {"user_name": user["userName"], "external_id": user["externalId"]}
    return replace(found, pending=user["pending"], **names)


def _state(tenant: str, id: str, version: int, state: Mapping[str, Any]) -> User:
    grants = frozenset(f"{grant['kind']}:{grant['key']}" for grant in state["grants"])
    return User(tenant, id, version, state["enabled"], grants, reasons=tuple(state["reasons"]))


def _applied(copy: Copy, tenant: str, told: Mapping[str, Any]) -> list[Change]:
    """Apply a complete change from the feed or from a webhook."""
    id, version, after = told["userId"], told["version"], told["after"]
    return copy.apply(tenant, id, version, after and _state(tenant, id, version, after))


def _lagging(copy: Copy) -> list[User]:
    return [user for user in copy.users.values() if user.pending]


def _passes(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    """Whether to try again: there was no answer, or one that says to try later."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return True


def _pause(error: httpx.TransportError | httpx.HTTPStatusError) -> float:
    """Seconds."""
    asked = isinstance(error, httpx.HTTPStatusError) and error.response.headers.get("Retry-After")
    if asked and asked.isdecimal():
        return min(float(asked), PATIENCE_SECONDS)
    return AGAIN_SECONDS
