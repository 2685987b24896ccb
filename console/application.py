"""The ASGI application for /console: routes, who may use them, and what every answer carries.

A page is reached only through `_page`, which lets in a signed-in administrator of an existing
tenant and takes a form only from that session's own pages. What is open to everybody is listed
in `_open`: the way in, the way out, and the static files.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from administration.tenants import AdministrationError
from console.pages import PAGES
from console.rendering import MEDIA_TYPES, render, static_files
from console.session import PATH, Cookies, Session, end, tenant_of
from console.sign_in import SignInPages
from console.visit import Deployment, NoSuchPage, Page, Visit
from directory.store import Throttled, Unavailable
from scim.protocol.errors import ScimError
from scim.rate import RateLimit
from scim.surface import request_id, route
from telemetry.logs import place
from telemetry.observation import current

FORM_BYTES = 1_000_000
FORM_FIELDS = 10_000
SAFE = ("GET", "HEAD")

log = logging.getLogger("muster.console")

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
    """The console over one store. Without a `sign_in` at a provider only one-time links work."""

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
        application = Starlette(
            routes=[*self._open(), *map(self._page, PAGES)],
            exception_handlers={HTTPException: _no_route},
        )
        application.router.redirect_slashes = False
        self._application: ASGIApp = application
        self.routes: dict[str, set[str]] = {}
        """The methods that it knows, by path."""
        for each in application.routes:
            if isinstance(each, Route):
                self.routes.setdefault(each.path, set()).update(each.methods or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; every answer carries HEADERS."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ENCODED]
            await send(message)

        await self._application(scope, receive, with_headers)

    def _open(self) -> Iterator[Route]:
        """What needs no session."""
        yield Route(f"{PATH}/static/{{name}}", _static, methods=["GET"])
        for method, path, endpoint in self._sign_in.routes():
            yield Route(PATH + path, _caught(PATH + path, endpoint), methods=[method])
        path = f"{PATH}/sign-out"
        yield Route(path, _caught(path, self._sign_out), methods=["POST"])

    def _page(self, page: Page) -> Route:
        """What needs one."""

        async def endpoint(request: Request) -> Response:
            session = await self._cookies.session(request)
            if session is None:
                return _to_sign_in(request)
            current().tenant_id = session.tenant_id
            if wait := self._rate.take(session.tenant_id):
                return _too_many(wait)
            tenant = await tenant_of(self._deployment.service.store, session)
            if tenant is None:
                return _to_sign_in(request)
            if (elsewhere := self._sign_in.elsewhere(tenant)) is not None:
                return elsewhere
            if not session.may_administer:
                return problem(403, *_NO_ROLE, session=session)
            visit = Visit(request, session, tenant, self._deployment)
            if request.method not in SAFE:
                form = await request.form(
                    max_fields=FORM_FIELDS, max_part_size=FORM_BYTES, max_files=1
                )
                if not session.sent(str(form.get("csrf", ""))):
                    return problem(403, *_FORGED, session=session)
                visit = replace(visit, form=form)
            return await page.handler(visit)

        # An empty path is the overview, at /console and at /console/.
        path = PATH + page.path
        return Route(path, _caught(path, endpoint), methods=[page.method])

    async def _sign_out(self, request: Request) -> Response:
        session = await self._cookies.session(request)
        if session is not None:
            if not session.sent(str((await request.form()).get("csrf", ""))):
                return problem(403, *_FORGED, session=session)
            await end(self._deployment.service.store, session)
            log.info("signed out: %s, session %s", session.tenant_id, session.session_id)
        response = HTMLResponse(render("signed_out.html", offered=self._sign_in.offered))
        self._cookies.sign_out(request, response)
        # Not its cookies: they would be those of every application under the same domain.
        response.headers["clear-site-data"] = '"cache", "storage"'
        return response


_NO_ROLE = (
    "You have no role here",
    (
        "Your account is known, but it has neither of the app roles Owner and "
        "IntegrationAdministrator in this application. Ask whoever administers Entra ID in your "
        "organisation to assign one of them to you under Enterprise applications, Users and "
        "groups; then sign out and in again."
    ),
)
_FORGED = (
    "This form is no longer valid",
    (
        "It came from another page or from a session that has ended, so nothing was changed. Go "
        "back, reload the page and send it again."
    ),
)


def refused(error: ScimError) -> Response:
    """What Muster itself ends a request with."""
    return problem(error.status, "Not answered", error.detail)


def _caught(
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint with everything that can go wrong turned into a page that says so."""

    async def caught(request: Request) -> Response:
        route(request.scope, path)
        try:
            return await endpoint(request)
        except NoSuchPage as error:
            return problem(404, "Not found", str(error))
        except AdministrationError as error:
            return problem(400, "That cannot be done", str(error))
        except MultiPartException:
            return problem(400, "The form cannot be read", "Go back, reload the page, try again.")
        except Throttled as error:
            return _busy(error.retry_after)
        except Unavailable:
            return _busy(5)
        except Exception as error:  # noqa: BLE001 - its text may hold a person's data
            log.error("request %s failed: %s", request_id(), place(error))
            return problem(
                500,
                "Something went wrong here",
                "The fault is Muster's. Try again in a minute; if it happens again, tell the "
                f"operator the request id {request_id()}.",
            )

    return caught


def problem(status: int, title: str, text: str, session: Session | None = None) -> HTMLResponse:
    """A page that says what is wrong and what to do."""
    return HTMLResponse(render("problem.html", title=title, text=text, session=session), status)


def _busy(seconds: float) -> Response:
    return _later(503, "The directory is busy", seconds)


def _too_many(seconds: float) -> Response:
    return _later(429, "Too many requests", seconds)


def _later(status: int, title: str, seconds: float) -> Response:
    response = problem(status, title, "Reload the page in a few seconds.")
    response.headers["retry-after"] = str(max(1, math.ceil(seconds)))
    return response


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return problem(status, "Not found", "There is no such page in the console.")


def _to_sign_in(request: Request) -> Response:
    """To the sign-in page and back again; a fragment's request takes the whole page along."""
    path = request.url.path if request.method in SAFE else PATH
    query = f"?{request.url.query}" if request.url.query and request.method in SAFE else ""
    target = f"{PATH}/sign-in?path={quote(path + query, safe='')}"
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": f"{PATH}/sign-in"})
    return RedirectResponse(target, 303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        return problem(404, "Not found", "There is no such file.")
    kept: Mapping[str, str] = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(content, headers=kept, media_type=MEDIA_TYPES[name[name.rindex(".") :]])
