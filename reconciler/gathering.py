"""Small pieces of work that are requested at the same time and done together: recomputations of a
few users each, and the ends of events.

Most events touch one user, and a page of users costs little more than one user. So requests that
come while a page of the tenant is being written gather and make the next page. A request is only
answered by a page that was read after the request came, which is all that level-triggered work
needs. Likewise, events that end while a batch marks others done are marked by the next batch.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from directory.store import Throttled, Unavailable

type Causes = Mapping[str, str]
"""Users (SCIM ids) to recompute → the event (ULID) that causes it."""
type Work[T, R] = Callable[[str, Mapping[str, T]], Awaitable[R]]
"""Does the requested work of one tenant: id → what is to be done with it."""


@dataclass(frozen=True, slots=True)
class _Request[T, R]:
    asked: Mapping[str, T]
    done: asyncio.Future[R]


class Gathering[T, R]:
    """Hands gathered requests to `work`, at most `page` ids at once (a request is never divided),
    one page of a tenant after the other."""

    def __init__(self, work: Work[T, R], page: int) -> None:
        self._do = work
        self._page = page
        self._waiting: dict[str, deque[_Request[T, R]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, tenant_id: str, asked: Mapping[str, T]) -> R:
        """Have this done, and wait for it; answers what `work` returned for the page that includes
        it. Raises what `work` raises."""
        loop = asyncio.get_running_loop()
        request: _Request[T, R] = _Request(asked, loop.create_future())
        if tenant_id in self._waiting:
            self._waiting[tenant_id].append(request)
        else:
            self._waiting[tenant_id] = deque([request])
            task = loop.create_task(self._work(tenant_id))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await request.done

    async def _work(self, tenant_id: str) -> None:
        waiting = self._waiting[tenant_id]
        requests: list[_Request[T, R]] = []
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
        self, tenant_id: str, requests: list[_Request[T, R]], page: Mapping[str, T]
    ) -> None:
        """Answer requests; where the page fails because of one, each by a page for itself."""
        try:
            result = await self._do(tenant_id, page)
        except (Throttled, Unavailable) as error:
            _fail(requests, error)
        except Exception as error:  # noqa: BLE001 - the caller of `ask` gets it
            if len(requests) == 1:
                _fail(requests, error)
                return
            for request in requests:
                await self._settle(tenant_id, [request], request.asked)
        else:
            for done in _waited_for(requests):
                done.set_result(result)


def _fail[T, R](requests: Iterable[_Request[T, R]], error: Exception) -> None:
    for done in _waited_for(requests):
        done.set_exception(error)


def _waited_for[T, R](requests: Iterable[_Request[T, R]]) -> Iterator[asyncio.Future[R]]:
    return (request.done for request in requests if not request.done.done())
