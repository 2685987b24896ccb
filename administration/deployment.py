"""What surfaces for administrators and operators work with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from administration.replay import Replay
from directory.documents import ENTITLEMENT_KINDS, Actor
from queues.port import DeadLetterQueue, QueueSender
from scim.writing import Service
from trust.authenticator import Home
from trust.cloud import Cloud

if TYPE_CHECKING:
    from administration.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment. `public_url` (such as `https://scim.example.com`) is what clients see; empty:
    the host of each request. `kinds` are the kinds of entitlements. Workload identities of the
    `cloud` may replace a client's secret."""

    service: Service
    sender: QueueSender
    dead_letters: Callable[[], AbstractAsyncContextManager[DeadLetterQueue]]
    webhooks: Callable[[], "Webhooks"]
    kinds: tuple[str, ...] = ENTITLEMENT_KINDS
    public_url: str = ""
    cloud: Cloud = field(default_factory=Cloud)
    home: Home = field(default_factory=Home)

    @asynccontextmanager
    async def replay(self, tenant_id: str | None, actor: Actor) -> AsyncIterator[Replay]:
        """What replays failed events of a tenant or (None) of all of them, in the name of
        `actor`."""
        async with self.dead_letters() as letters:
            yield Replay(self.service.ledger, letters, self.sender, tenant_id, actor)
