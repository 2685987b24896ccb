"""Recomputations of a few users each, requested at the same time and done together.

Most events touch one user, and a page of users costs little more than one user. So requests that
come while a page of the tenant is being written gather and make the next page. A request is only
answered by a page that was read after the request came, which is all that level-triggered work
needs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from directory.store import Throttled, Unavailable

type Causes = Mapping[str, str]
"""Users (SCIM ids) to recompute → the event (ULID) that causes it."""
type Recompute = Callable[[str, Causes], Awaitable[None]]
"""Brings the access records of these users of a tenant up to date."""


@dataclass(frozen=True, slots=True)
class _Request:
    causes: Causes
    done: asyncio.Future[None]


class Gathering:
    """Hands gathered requests to `recompute`, at most `page` users at once (a request is never
    divided), one page of a tenant after the other."""

    def __init__(self, recompute: Recompute, page: int) -> None:
        self._recompute = recompute
        self._page = page
        self._waiting: dict[str, deque[_Request]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, tenant_id: str, causes: Causes) -> None:
        """Have these users recomputed, and wait for it. Raises what `recompute` raises."""
        loop = asyncio.get_running_loop()
        request = _Request(causes, loop.create_future())
        if tenant_id in self._waiting:
            self._waiting[tenant_id].append(request)
        else:
            self._waiting[tenant_id] = deque([request])
            task = loop.create_task(self._work(tenant_id))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        await request.done

    async def _work(self, tenant_id: str) -> None:
        waiting = self._waiting[tenant_id]
        requests: list[_Request] = []
        try:
            while waiting:
                requests = [waiting.popleft()]
                users = dict(requests[0].causes)
                while waiting and len(users) + len(waiting[0].causes) <= self._page:
                    requests.append(waiting.popleft())
                    users |= {**requests[-1].causes, **users}
                await self._settle(tenant_id, requests, users)
        finally:
            del self._waiting[tenant_id]
            for request in (*requests, *waiting):  # where the work was cancelled, so are they
                request.done.cancel()

    async def _settle(self, tenant_id: str, requests: list[_Request], users: Causes) -> None:
        """Answer requests; where the page fails because of one user, each by a page for itself."""
        failure: Exception | None = None
        try:
            await self._recompute(tenant_id, users)
        except (Throttled, Unavailable) as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the caller of `ask` gets it
            if len(requests) > 1:
                for request in requests:
                    await self._settle(tenant_id, [request], request.causes)
                return
            failure = error
        for request in requests:
            if request.done.done():  # nobody waits for it any more
                continue
            if failure is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(failure)
