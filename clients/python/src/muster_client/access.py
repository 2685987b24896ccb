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
"""Users that can be asked for at once."""
MOST_DECISIONS = 100
"""Decisions that can be asked for at once."""
WAIT_SECONDS = 30
"""How long Muster is to wait for a change before it answers that there is none."""
AGAIN_SECONDS = 1.0
"""When to ask again for users whose record lags behind, or a server that did not answer."""
PATIENCE_SECONDS = 300.0
"""The longest pause, whatever the server asks for."""


class Access:
    """The access API at a URL (scheme and host). With a credential of the deployment, `tenant` is
    whom a call means that names nobody, and `tenants` are those whom `follow` keeps one copy of (by
    default that tenant). With a tenant's own token, leave out both. Every method raises
    httpx.HTTPError; what Muster says about it is in the error's notes."""

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
        """Everybody, or whom the filters (`enabled`, `grant`, `changedSince`) leave."""
        async for page in self._pages(self._named(tenant), filters):
            for user in page["users"]:
                yield _user(self._named(tenant), user)

    async def several(
        self, ids: Sequence[str], tenant: str | None = None
    ) -> dict[str, User | None]:
        """What some users may do, by id; None for those whom nobody knows."""
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
        """Whether a user (SCIM id, externalId or userName) holds each of these (`kind:key`) at this
        moment, as OpenID AuthZEN asks it. Nobody who is disabled or unknown holds anything."""
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
        """Everybody, with the position of the feed from which on changes are still to be applied:
        where it was when the first list began."""
        copy = Copy()
        for tenant in self._tenants:
            async for page in self._pages(tenant, {}):
                copy.position = copy.position or page["feedPosition"]
                for user in page["users"]:
                    copy.put(_user(tenant, user))
        return copy

    async def follow(self, copy: Copy) -> AsyncIterator[list[Change]]:
        """Keep a copy up to date for ever, beginning with a snapshot where it has no position, or
        one that is too old. Yields what changed, which may be nothing, whenever `copy.position` has
        moved past it: save that position together with these users, and nothing is missed whenever
        the program dies. Where nobody answers, it goes on trying. To follow other tenants than
        before, begin without a position."""
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
        """Apply a webhook (see verify_webhook) to a copy that `follow` keeps, so that it knows
        sooner. It may come days late, and must not bring back who was deleted: for whom the copy
        does not have, Muster is asked."""
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
        # Those of all tenants are told as one feed; of one, Muster leaves out the others.
        whose = _below(self._tenants[0]) if len(self._tenants) == 1 else ""
        answer = await self._http.get(f"{whose}/changes", params=query)
        if answer.status_code == 410:  # too old: some would be missed
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
        """That a record has caught up is no change of its own."""
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
    """Raises HTTPStatusError, with what Muster said as its note."""
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
    """A complete change, of the feed or of a webhook."""
    id, version, after = told["userId"], told["version"], told["after"]
    return copy.apply(tenant, id, version, after and _state(tenant, id, version, after))


def _lagging(copy: Copy) -> list[User]:
    return [user for user in copy.users.values() if user.pending]


def _passes(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    """Whether to try again: nobody answered, or asked for patience."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return True


def _pause(error: httpx.TransportError | httpx.HTTPStatusError) -> float:
    """Seconds."""
    asked = isinstance(error, httpx.HTTPStatusError) and error.response.headers.get("Retry-After")
    if asked and asked.isdecimal():
        return min(float(asked), PATIENCE_SECONDS)
    return AGAIN_SECONDS
