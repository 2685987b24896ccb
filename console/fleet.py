"""Every tenant at a glance, for the vendor's operators, who can open a tenant's pages from there to
read them. Operators sign in with the vendor's own directory, or with a one-time link on a laptop;
nothing in a tenant can make anybody an operator. Before a tenant's pages are shown, its log gets an
entry that says so."""

from collections.abc import Awaitable, Callable, Iterator

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from administration.deployment import Deployment
from administration.errors import Absent
from administration.fleet import list_fleet
from administration.tenants import Tenancy, read_tenant
from console import session as sessions
from console.answers import FORGED, problem, to_sign_in
from console.rendering import render
from console.session import FLEET as PATH
from console.session import Cookies, Session
from directory.documents import Actor
from trust.rate import RateLimit
from trust.signing import PARTITION
from web.surface import at
from web.trouble import too_many_requests

PAGE = 100
"""Tenants on one page."""
SEARCHED = 200
"""The longest text to search for, in characters."""

type Handler = Callable[[Request, Session], Awaitable[Response]]


class FleetPages:
    """The pages of operators."""

    def __init__(self, deployment: Deployment, cookies: Cookies, rate: RateLimit) -> None:
        self._service = deployment.service
        self._cookies = cookies
        self._rate = rate

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield at(PATH, self._for_operators(self._list), ("GET",))
        yield at(f"{PATH}/look", self._for_operators(self._look), ("POST",))

    def _for_operators(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            session = await self._cookies.session(request)
            if session is None:
                return to_sign_in(request)
            if not session.operator:
                return problem(403, *_NO_OPERATOR, session=session)
            if wait := self._rate.take(PARTITION):
                raise too_many_requests(wait)
            if await sessions.has_ended(self._service.store, session):
                return to_sign_in(request)
            return await handler(request, session)

        return endpoint

    async def _list(self, request: Request, session: Session) -> Response:
        """A page of the tenants, those in the worst trouble first."""
        text = request.query_params.get("q", "").strip()[:SEARCHED]
        after = request.query_params.get("after")
        page = await list_fleet(self._service.store, text, after or None, PAGE)
        shown = render(
            "fleet.html",
            session=session,
            tenant=None,
            here="/fleet",
            told="",
            now=self._service.now(),
            q=text,
            page=page,
        )
        return HTMLResponse(shown)

    async def _look(self, request: Request, session: Session) -> Response:
        """Open the pages of a tenant, read-only."""
        form = await request.form(max_files=0, max_fields=10, max_part_size=1000)
        if not session.sent(str(form.get("csrf", ""))):
            return problem(403, *FORGED, session=session)
        try:
            tenant = await read_tenant(self._service.store, str(form.get("tenant", "")))
        except Absent as error:
            return problem(404, "No such tenant", str(error), session=session)
        actor = Actor(type="operator", id=session.name)
        await Tenancy(self._service, tenant.tenant_id, actor).note_look()
        response = RedirectResponse(sessions.PATH, 303)
        await self._cookies.look_at(request, response, session, tenant)
        return response


_NO_OPERATOR = (
    "For operators",
    (
        "This page shows every organisation to those who operate Muster. Sign in with an account "
        "of the operator's own directory that has the app role Operator."
    ),
)
