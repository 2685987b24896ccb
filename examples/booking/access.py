"""The application's copy of everybody's access, kept up to date by the feed, and sooner by
webhooks.

This is all that an application needs of Muster. The copy is in memory here, together with the
feed's position; a real application keeps both in its database.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import httpx

from muster_client import Access, Copy, User, verify_webhook
from muster_client import Change as Known

type Source = Literal["feed", "webhook"]

KEPT_CHANGES = 200
ASKED_AT_ONCE = 1_000
"""The most users in one request."""


class NotReady(Exception):
    """The copy is not loaded yet."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a user could do before, and can do now; None: there is no such user."""

    number: int
    """The number of the change in this process."""
    user_id: str
    at: datetime
    """When the application received it."""
    source: Source
    before: User | None
    after: User | None


class EverybodysAccess:
    """The copy of one tenant's access. `secrets` are those that sign webhooks."""

    def __init__(self, url: str, credential: str, tenant: str, secrets: Sequence[str]) -> None:
        self.tenant = tenant
        self.users: dict[str, User] = {}
        """SCIM id → the user as the page shows it."""
        self.changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self.number = 0
        """The number of the last change."""
        self.names: dict[str, str] = {}
        """Display names: of users by id, and of grants by `kind:key`."""
        self.ready = False
        self._secrets = secrets
        self._copy = Copy()
        self._moved = asyncio.Event()
        self._access = Access(url, credential, tenant)
        self._http = httpx.AsyncClient(
            base_url=f"{url}/access/v1/tenants/{tenant}",
            headers={"Authorization": f"Bearer {credential}"},
        )

    async def close(self) -> None:
        """Close the connections to Muster."""
        await self._access.aclose()
        await self._http.aclose()

    async def follow(self) -> None:
        """Keep the copy up to date for ever. Raises httpx.HTTPStatusError for a credential that
        Muster does not know."""
        async for changes in self._access.follow(self._copy):
            await self._tell(changes, "feed")

    async def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Apply one webhook message, unless the copy is newer. Raises InvalidWebhook, NotReady and
        httpx.HTTPError; then Muster sends it again."""
        message = verify_webhook(headers, body, self._secrets)
        if not self.ready:
            raise NotReady
        await self._tell(await self._access.hear(self._copy, message), "webhook")

    async def decide(self, user_id: str, grants: Sequence[str]) -> dict[str, bool]:
        """Muster's decisions at this moment, independent of the copy. Raises httpx.HTTPError."""
        return await self._access.decide(user_id, grants, self.tenant)

    async def after(self, number: int) -> list[Change] | None:
        """Wait for changes after this number and return them; None if they are no longer kept."""
        while self.number == number:
            await self._moved.wait()
        if not self.changes or self.changes[0].number > number + 1:
            return None
        return [change for change in self.changes if change.number > number]

    async def _tell(self, changes: Sequence[Known], source: Source) -> None:
        """Publish what the copy now has of these users."""
        ids = [change.id for change in changes]
        await self._learn_names(ids)
        for id in ids:
            before, after = self.users.pop(id, None), self._copy.users.get((self.tenant, id))
            if after:
                self.users[id] = after
            if self.ready and before != after:
                self.number += 1
                moment = datetime.now(UTC)
                self.changes.append(Change(self.number, id, moment, source, before, after))
        if not self.ready:
            self.ready = True
            self.number += 1  # not a change: pages reload everything
        self._moved.set()
        self._moved = asyncio.Event()

    async def _learn_names(self, ids: Sequence[str]) -> None:
        """Ask for the names of changed users, because changes carry no personal data. Without an
        answer, the page shows the id or the previous name. A new name alone is not a change."""
        there = [id for id in ids if (self.tenant, id) in self._copy.users]
        try:
            for start in range(0, len(there), ASKED_AT_ONCE):
                body = {"ids": there[start : start + ASKED_AT_ONCE]}
                answer = await self._http.post("/users/query", json=body)
                for user in answer.raise_for_status().json()["users"]:
                    self.names[user["id"]] = user["userName"]
                    for grant in user["grants"]:
                        self.names[f"{grant['kind']}:{grant['key']}"] = grant["displayName"]
        except httpx.HTTPError:
            return
