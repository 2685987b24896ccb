"""Small pieces of work that are requested at the same time and done together: recomputations of a
few users each, and the ends of events.

Most events touch one user, and a page of users costs little more than one user. So requests that
come while a page of the tenant is being written gather and make the next page. A request is only
answered by a page that was read after the request came, which is all that level-triggered work
needs. Likewise, events that end while a batch marks others done are marked by the next batch.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from directory.store import Throttled, Unavailable

type Causes = Mapping[str, str]
"""Users (SCIM ids) to recompute → the event (ULID) that causes it."""
type Work[T] = Callable[[str, Mapping[str, T]], Awaitable[None]]
"""Does the requested work of one tenant: id → what is to be done with it."""


@dataclass(frozen=True, slots=True)
class _Request[T]:
    asked: Mapping[str, T]
    done: asyncio.Future[None]


class Gathering[T]:
    """Hands gathered requests to `work`, at most `page` ids at once (a request is never divided),
    one page of a tenant after the other."""

    def __init__(self, work: Work[T], page: int) -> None:
        self._do = work
        self._page = page
        self._waiting: dict[str, deque[_Request[T]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, tenant_id: str, asked: Mapping[str, T]) -> None:
        """Have this done, and wait for it. Raises what `work` raises."""
        loop = asyncio.get_running_loop()
        request = _Request(asked, loop.create_future())
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
        requests: list[_Request[T]] = []
        try:
            while waiting:
                requests = [waiting.popleft()]
                page = dict(requests[0].asked)
                while waiting and len(page) + len(waiting[0].asked) <= self._page:
                    requests.append(waiting.popleft())
                    page |= {**requests[-1].asked, **page}
                await self._settle(tenant_id, requests, page)
        finally:
            del self._waiting[tenant_id]
            for request in (*requests, *waiting):  # where the work was cancelled, so are they
                request.done.cancel()

    async def _settle(
        self, tenant_id: str, requests: list[_Request[T]], page: Mapping[str, T]
    ) -> None:
        """Answer requests; where the page fails because of one, each by a page for itself."""
        failure: Exception | None = None
        try:
            await self._do(tenant_id, page)
        except (Throttled, Unavailable) as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the caller of `ask` gets it
            if len(requests) > 1:
                for request in requests:
                    await self._settle(tenant_id, [request], request.asked)
                return
            failure = error
        for request in requests:
            if request.done.done():  # nobody waits for it any more
                continue
            if failure is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(failure)
