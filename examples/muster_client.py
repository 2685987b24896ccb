"""A client of Muster's access API: what may this user do, and a copy of everybody's access that
misses no change. One file and httpx, to be taken as it is.

    MUSTER_CREDENTIAL=… python -m examples.muster_client http://127.0.0.1:7071 [TENANT …]

prints what everybody may do, and then every change. The credential is a tenant's own token of kind
`access`; or, with the names of tenants, one of the deployment.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

MOST = 1_000
"""Users that can be asked for at once."""
MOST_DECISIONS = 100
"""Decisions that can be asked for at once."""
WAIT_SECONDS = 30
"""How long Muster is to wait for a change before it answers that there is none."""
AGAIN_SECONDS = 1.0
"""When to ask again for users whose record lags behind, or a server that did not answer."""


@dataclass(frozen=True, slots=True)
class User:
    """What a user may do."""

    tenant: str
    """Empty where the credential is the tenant's own."""
    id: str
    version: int
    """Grows with every change."""
    enabled: bool
    grants: frozenset[str]
    """`kind:key` of each."""
    pending: bool = False
    """Muster is about to compute this user's access; until then nobody is let in too much."""


@dataclass(slots=True)
class Copy:
    """Everybody's access, and how far the changes are applied. A real application keeps both in its
    database, in one transaction."""

    position: str | None = None
    users: dict[tuple[str, str], User] = field(default_factory=dict)
    """By tenant and id."""

    def put(self, user: User) -> bool:
        """Keep a user, unless what is known is newer; whether anything changed."""
        known = self.users.get((user.tenant, user.id))
        if known and (known.version, not known.pending) > (user.version, not user.pending):
            return False
        self.users[user.tenant, user.id] = user
        return known != user

    def remove(self, tenant: str, id: str, version: int) -> bool:
        """Forget a user who was deleted; whether there was one."""
        known = self.users.get((tenant, id))
        if known is None or known.version > version:
            return False
        del self.users[tenant, id]
        return True


class Access:
    """The access API at a URL (scheme and host). `tenants`: whom a credential of the deployment is
    used for; without any, the credential is a tenant's own. Every method raises httpx.HTTPError."""

    def __init__(
        self,
        url: str,
        credential: str,
        tenants: Sequence[str] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._tenants = tuple(tenants)
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
        await self._http.aclose()

    async def user(self, id: str, tenant: str = "") -> User | None:
        """What one user may do at this moment; None where there is no such user."""
        answer = await self._http.get(f"{_below(tenant)}/users/{id}")
        return None if answer.status_code == 404 else _user(tenant, _content(answer))

    async def users(self, tenant: str = "", **filters: str) -> AsyncIterator[User]:
        """Everybody, or whom the filters (`enabled`, `grant`, `changedSince`) leave."""
        async for page in self._pages(tenant, filters):
            for user in page["users"]:
                yield _user(tenant, user)

    async def several(self, ids: Sequence[str], tenant: str = "") -> dict[str, User | None]:
        """What some users may do, by id; None for those whom nobody knows."""
        found: dict[str, User | None] = {}
        for start in range(0, len(ids), MOST):
            body = {"ids": list(ids[start : start + MOST])}
            answer = _content(await self._http.post(f"{_below(tenant)}/users/query", json=body))
            found |= dict.fromkeys(answer["missing"])
            found |= {user["id"]: _user(tenant, user) for user in answer["users"]}
        return found

    async def decide(self, user: str, grants: Sequence[str], tenant: str = "") -> dict[str, bool]:
        """Whether a user (SCIM id, externalId or userName) holds each of these (`kind:key`) at this
        moment, as OpenID AuthZEN asks it. Nobody who is disabled or unknown holds anything."""
        asked = {"subject": {"type": "user", "id": user}, "action": {"name": "hold"}}
        held: dict[str, bool] = {}
        for start in range(0, len(grants), MOST_DECISIONS):
            some = grants[start : start + MOST_DECISIONS]
            pairs = [grant.split(":", 1) for grant in some]
            questions = [{"resource": {"type": kind, "id": key}} for kind, key in pairs]
            body = {**asked, "evaluations": questions}
            answer = _content(await self._http.post(f"{_below(tenant)}/evaluations", json=body))
            decisions = [each["decision"] for each in answer["evaluations"]]
            held |= dict(zip(some, decisions, strict=True))
        return held

    async def snapshot(self) -> Copy:
        """Everybody, with the position of the feed from which on changes are still to be applied:
        where it was when the first list began."""
        copy = Copy()
        for tenant in self._tenants or ("",):
            async for page in self._pages(tenant, {}):
                copy.position = copy.position or page["feedPosition"]
                for user in page["users"]:
                    copy.put(_user(tenant, user))
        return copy

    async def follow(self, copy: Copy) -> AsyncIterator[list[tuple[str, str]]]:
        """Keep a copy up to date for ever, beginning with a snapshot where it has no position, or
        one that is too old. Yields whose access changed, by tenant and id, whenever `copy.position`
        has moved past it: save that position together with these users, and nothing is missed
        whenever the program dies. Where nobody answers, it goes on trying."""
        while True:
            try:
                if copy.position is None:
                    yield await self._begin(copy)
                yield [*await self._apply(copy), *await self._ask_again(copy)]
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if not _passes(error):
                    raise
                await asyncio.sleep(_pause(error))

    async def _begin(self, copy: Copy) -> list[tuple[str, str]]:
        fresh, before = await self.snapshot(), copy.users
        copy.users, copy.position = fresh.users, fresh.position
        return [key for key in {**before, **fresh.users} if before.get(key) != fresh.users.get(key)]

    async def _apply(self, copy: Copy) -> list[tuple[str, str]]:
        """One page of changes."""
        waiting = AGAIN_SECONDS if _lagging(copy) else WAIT_SECONDS
        query = {"after": str(copy.position), "limit": str(MOST), "wait": f"{waiting:.0f}"}
        answer = await self._http.get("/changes", params=query)
        if answer.status_code == 410:  # too old: some would be missed
            copy.position = None
            return []
        page = _content(answer)
        changed = []
        for change in page["changes"]:
            tenant, id = (change["tenant"] if self._tenants else ""), change["userId"]
            if not change["complete"]:
                user = await self.user(id, tenant) if id else None
                differs = copy.put(user) if user else copy.remove(tenant, id, sys.maxsize)
            elif change["after"] is None:
                differs = copy.remove(tenant, id, change["version"])
            else:
                differs = copy.put(_state(tenant, id, change["version"], change["after"]))
            if differs:
                changed.append((tenant, id))
        copy.position = page["position"]
        if not page["changes"] and answer.elapsed.total_seconds() < waiting:
            await asyncio.sleep(AGAIN_SECONDS)  # too many readers wait already
        return changed

    async def _ask_again(self, copy: Copy) -> list[tuple[str, str]]:
        """That a record has caught up is no change of its own."""
        changed, lagging = [], _lagging(copy)
        for tenant in {tenant for tenant, _ in lagging}:
            ids = [id for of, id in lagging if of == tenant]
            for id, user in (await self.several(ids, tenant)).items():
                if copy.put(user) if user else copy.remove(tenant, id, sys.maxsize):
                    changed.append((tenant, id))
        return changed

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


def _below(tenant: str) -> str:
    return f"/tenants/{tenant}" if tenant else ""


def _content(answer: httpx.Response) -> dict[str, Any]:
    """Raises HTTPStatusError."""
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


def _user(tenant: str, user: Mapping[str, Any]) -> User:
    return _state(tenant, user["id"], user["version"], user, pending=user["pending"])


def _state(
    tenant: str, id: str, version: int, state: Mapping[str, Any], *, pending: bool = False
) -> User:
    grants = frozenset(f"{grant['kind']}:{grant['key']}" for grant in state["grants"])
    return User(tenant, id, version, state["enabled"], grants, pending)


def _lagging(copy: Copy) -> list[tuple[str, str]]:
    return [key for key, user in copy.users.items() if user.pending]


def _passes(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    """Whether to try again: nobody answered, or asked for patience."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return True


def _pause(error: httpx.TransportError | httpx.HTTPStatusError) -> float:
    if isinstance(error, httpx.HTTPStatusError):
        return float(error.response.headers.get("Retry-After", AGAIN_SECONDS))
    return AGAIN_SECONDS


async def main(url: str, *tenants: str) -> None:
    """Until Ctrl+C."""
    copy = Copy()
    async with Access(url, os.environ["MUSTER_CREDENTIAL"], tenants) as access:
        async for changed in access.follow(copy):
            for key in changed:
                sys.stdout.write(f"{' '.join(key)} {_told(copy.users.get(key))}\n")
            sys.stdout.flush()


def _told(user: User | None) -> str:
    if user is None:
        return "deleted"
    state = "enabled" if user.enabled else "disabled"
    return f"version {user.version}: {state}, {', '.join(sorted(user.grants)) or 'no grants'}"


if __name__ == "__main__":
    try:
        asyncio.run(main(*(sys.argv[1:] or ["http://127.0.0.1:7071"])))
    except KeyboardInterrupt:
        sys.exit(0)
