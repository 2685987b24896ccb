"""The ASGI application for /console: routes, who may use them, and what every answer carries.

A page is reached only through `_page`. It admits signed-in administrators of an existing tenant,
operators who read it and change nothing, and, where the page allows it, sessions that a set-up link
began. It accepts a form only from that session's own pages. `_open` lists what is open to
everybody: sign-in, sign-out, and the static files. Pages for operators are in `console.fleet`.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from administration.deployment import Deployment
from console.answers import FORGED, problem, to_sign_in
from console.fleet import FleetPages
from console.pages import PAGES
from console.refusals import refusal_of
from console.rendering import MEDIA_TYPES, render, static_files
from console.session import FLEET, PATH, Cookies, end, tenant_of
from console.sign_in import SignInPages
from console.visit import Page, Visit
from telemetry.observation import current
from trust.rate import RateLimit
from web.surface import at, routed
from web.trouble import too_many_requests

log = logging.getLogger("muster.console")

FORM_BYTES = 1_000_000
FORM_FIELDS = 10_000
SAFE = ("GET", "HEAD")

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
_ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Console:
    """The console over one store. Without an OpenID provider in `sign_in`, only one-time links
    work."""

    def __init__(
        self,
        deployment: Deployment,
        cookies: Cookies,
        sign_in: SignInPages,
        rate: RateLimit,
    ) -> None:
        self._deployment = deployment
        self._cookies = cookies
        self._sign_in = sign_in
        self._rate = rate
        fleet = FleetPages(deployment, cookies, rate)
        routes = [*self._open(), *fleet.routes(), *map(self._page, PAGES)]
        self._application = routed(routes, "There is no such page in the console.")
        self.routes: dict[str, set[str]] = {}
        """The methods of each path."""
        for each in routes:
            self.routes.setdefault(each.path, set()).update(each.methods or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; every answer carries HEADERS."""
        await _careful(self._application)(scope, receive, send)

    def _open(self) -> Iterator[Route]:
        """Routes that need no session."""
        yield at(f"{PATH}/static/{{name}}", _static, ("GET",))
        for method, path, endpoint in self._sign_in.routes():
            yield at(PATH + path, endpoint, (method,))
        yield at(f"{PATH}/sign-out", self._sign_out, ("POST",))

    def _page(self, page: Page) -> Route:
        """The route of a page that needs a session."""

        async def endpoint(request: Request) -> Response:
            session = await self._cookies.session(request)
            if session is None:
                return to_sign_in(request)
            current().tenant_id = session.tenant_id
            if wait := self._rate.take(session.tenant_id):
                raise too_many_requests(wait)
            service = self._deployment.service
            tenant = await tenant_of(service.store, session, service.now())
            if tenant is None and session.operator:
                return RedirectResponse(FLEET, 303)
            if tenant is None and session.invitation_id:
                return problem(403, *_LINK_ENDED)
            if tenant is None:
                return to_sign_in(request)
            if (elsewhere := self._sign_in.elsewhere(tenant)) is not None:
                return elsewhere
            if session.operator and request.method not in SAFE:
                return problem(403, *_READ_ONLY, session=session)
            opened = session.operator or (session.invitation_id and page.set_up)
            if not session.may_administer and not opened:
                why = _SET_UP_ONLY if session.invitation_id else _NO_ROLE
                return problem(403, *why, session=session)
            visit = Visit(request, session, tenant, self._deployment)
            if request.method not in SAFE:
                form = await request.form(
                    max_fields=FORM_FIELDS, max_part_size=FORM_BYTES, max_files=1
                )
                if not session.sent(str(form.get("csrf", ""))):
                    return problem(403, *FORGED, session=session)
                visit = replace(visit, form=form)
            return await page.handler(visit)

        return at(PATH + page.path, endpoint, (page.method,))

    async def _sign_out(self, request: Request) -> Response:
        session = await self._cookies.session(request)
        if session is not None:
            if not session.sent(str((await request.form()).get("csrf", ""))):
                return problem(403, *FORGED, session=session)
            await end(self._deployment.service.store, session)
            log.info("signed out: %s, session %s", session.tenant_id, session.session_id)
        invited = session is not None and session.invitation_id != ""
        response = HTMLResponse(
            render("signed_out.html", offered=self._sign_in.offered, invited=invited)
        )
        self._cookies.sign_out(request, response)
        # not cookies: that would clear those of every application under the same domain
        response.headers["clear-site-data"] = '"cache", "storage"'
        return response


_NO_ROLE = (
    "You have no role here",
    (
        "Your account is known, but it has neither of the app roles Owner and "
        "IntegrationAdministrator in this application. Ask the administrator of Entra ID in your "
        "organisation to assign one of them to you under Enterprise applications, Users and "
        "groups; then sign out and in again."
    ),
)
_SET_UP_ONLY = (
    "Not with a set-up link",
    (
        "A set-up link opens the page Set-up of its organisation, and nothing else. For this page, "
        "sign out, then sign in with an account that has the app role Owner or "
        "IntegrationAdministrator."
    ),
)
_LINK_ENDED = (
    "This session has ended",
    (
        "You signed out, or the set-up link that began it has expired or was revoked. Open the "
        "link again, or ask the person who gave it to you for another one."
    ),
)
_READ_ONLY = (
    "Operators only look",
    (
        "Nothing was changed. As an operator you see an organisation's pages, and its own "
        "administrators change what is on them; what operators may do themselves is under "
        "/operator/v1 and at the command line."
    ),
)


def refuse(error: Exception) -> ASGIApp:
    """The page for whatever was raised."""
    found = refusal_of(error)
    page = problem(found.status, _TITLES.get(found.status, _TITLES[400]), found.detail)
    page.headers.update(found.headers)
    return _careful(page)


_TITLES = {
    400: "That cannot be read",
    403: "Not here",
    404: "Not found",
    405: "Not found",
    409: "Somebody else was faster",
    413: "Too large",
    422: "That cannot be done",
    429: "The directory is busy",
    500: "Something went wrong here",
    503: "Not answered in time",
}


def _careful(application: ASGIApp) -> ASGIApp:
    """The same application, with HEADERS on every answer."""

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ENCODED]
            await send(message)

        await application(scope, receive, add)

    return with_headers


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        return problem(404, "Not found", "There is no such file.")
    kept: Mapping[str, str] = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(content, headers=kept, media_type=MEDIA_TYPES[name[name.rindex(".") :]])
