"""The way in: a provider's sign-in, or a one-time link on a laptop."""

from collections.abc import Awaitable, Callable, Iterator

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.one_time import is_loopback, redeem
from console.provider import Provider, SignInRefused
from console.rendering import render
from console.session import PATH, ROLES, Cookies
from scim.writing import Service
from trust.authenticator import Home
from trust.tenants import Tenants

LAPTOP_NAME = "you@this-machine"
"""Whom the log names for a session that a one-time link began."""


class SignInPages:
    """The pages that need no session. `provider` is None where none is set up; `one_time` says
    whether links of `console.one_time` work."""

    def __init__(
        self,
        service: Service,
        cookies: Cookies,
        provider: Provider | None,
        home: Home,
        *,
        public_url: str = "",
        one_time: bool = False,
    ) -> None:
        self._service = service
        self._cookies = cookies
        self._provider = provider
        self._home = home
        self._tenants = Tenants(service.store, service.now, remember=0)
        self._public_url = public_url.rstrip("/")
        self._one_time = one_time

    def routes(self) -> Iterator[tuple[str, Callable[[Request], Awaitable[Response]]]]:
        """Paths below /console."""
        yield "/sign-in", self._begin
        yield "/sign-in/callback", self._finish
        yield "/sign-in/once", self._once

    async def _begin(self, request: Request) -> Response:
        if self._provider is None:
            way = _LINK if self._one_time else _ASK
            return self._refused(f"{_NO_PROVIDER} {way}", 503)
        path = local_path(request.query_params.get("path", ""))
        try:
            url, begun = await self._provider.begin(self._callback(request), path)
        except SignInRefused as refusal:
            return self._refused(str(refusal), 503)
        response = RedirectResponse(url, 303)
        self._cookies.remember(response, begun, secure=self._secure(request))
        return response

    async def _finish(self, request: Request) -> Response:
        begun = self._cookies.begun(request.cookies)
        asked = request.query_params
        if self._provider is None or begun is None or asked.get("state") != begun.state:
            return self._refused(_NOT_BEGUN, 400)
        if "code" not in asked:
            return self._refused("The provider did not sign you in, or you cancelled it.", 403)
        try:
            person = await self._provider.finish(asked["code"], self._callback(request), begun)
        except SignInRefused as refusal:
            return self._refused(str(refusal), 403)
        tenant = await self._tenants.of_directory(person.directory_id)
        if tenant is None:
            return self._refused(_NO_TENANT, 403)
        if tenant.region != self._home.region:
            url = self._home.urls.get(tenant.region, "").rstrip("/")
            there = f"{url}{PATH}" if url else "at the address that the operator gave you"
            return self._refused(f"Your organisation's console is in another region: {there}.", 403)
        response = RedirectResponse(begun.path, 303)
        self._cookies.sign_in(
            response, tenant.tenant_id, person.name, person.roles, secure=self._secure(request)
        )
        return response

    async def _once(self, request: Request) -> Response:
        if not (self._one_time and is_loopback(request.url.hostname)):
            return self._refused("One-time links work on the machine that runs Muster only.", 403)
        tenant = request.query_params.get("tenant", "")
        key = request.query_params.get("key", "")
        if not await redeem(self._service.store, tenant, key, self._service.now):
            return self._refused(_USED if self.offered else f"{_USED} {_LINK}", 403)
        response = RedirectResponse(PATH, 303)
        self._cookies.sign_in(
            response, tenant, LAPTOP_NAME, ROLES[:1], secure=self._secure(request)
        )
        return response

    @property
    def offered(self) -> bool:
        """Whether there is a provider to sign in at."""
        return self._provider is not None

    def _refused(self, text: str, status: int) -> Response:
        return HTMLResponse(render("sign_in_refused.html", text=text, offered=self.offered), status)

    def _callback(self, request: Request) -> str:
        origin = self._public_url or f"{request.url.scheme}://{request.url.netloc}"
        return f"{origin}{PATH}/sign-in/callback"

    def _secure(self, request: Request) -> bool:
        """Cookies are Secure, except where the console is addressed without TLS on loopback."""
        return not (request.url.scheme == "http" and is_loopback(request.url.hostname))


_NOT_BEGUN = "This sign-in was not begun in this browser, or too long ago."
_NO_PROVIDER = "Sign-in with Microsoft Entra ID is not set up for this deployment."
_ASK = "Ask the operator to set it up."
_LINK = "On this machine a one-time link signs you in. Make one: manage.py console link demo."
_NO_TENANT = (
    "Your directory is not registered in Muster. Ask the operator to register its directory id for "
    "your organisation."
)
_USED = "This link was used already, or it is too old."


def local_path(path: str) -> str:
    """A path of the console to return to; the overview where it is anything else."""
    inside = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    plain = "\\" not in path and path.isprintable() and path.isascii()
    return path if inside and plain else PATH
