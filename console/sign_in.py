"""The ways to sign in: at a provider, by a set-up link, or by a one-time link on a laptop. Requests
here are not authenticated yet. So all of them share one rate limit per process, and each sign-in
makes at most one request to the provider."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from administration.invitations import PATH as INVITATION_PATH
from administration.invitations import invited, note_opening
from administration.tenants import read_tenant
from console.one_time import is_loopback, is_open, redeem
from console.provider import Provider, ProviderUnavailable, SignInRefused
from console.rendering import render
from console.session import FLEET, PATH, ROLES, SIGN_IN_LIFE, Cookies, SignIn, end
from directory.tenants import Tenant
from scim.writing import Service
from trust.authenticator import Home
from trust.rate import RateLimit
from trust.signing import PARTITION
from trust.tenants import Tenants
from web.reading import origin_of

SIGN_INS_PER_SECOND = 10.0
"""The rate limit of each of these pages, over all clients, per process."""
SET_UP = f"{PATH}/set-up"
LINK = INVITATION_PATH.removeprefix(PATH)
REDEEMED = 10_000
"""How many redeemed sign-ins are remembered: more than the rate limit admits within their
lifetime."""
RETRY_SECONDS = 5
OPERATOR_ROLE = "Operator"
"""The app role of operators, in the vendor's own directory."""
LAPTOP_NAME = "you@this-machine"
"""The name in the log for a session that a one-time link began."""

log = logging.getLogger("muster.console")


class Redeemed:
    """The sign-ins of the last minutes whose callback has come. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        """State → when it can be forgotten; the oldest first."""

    def first(self, state: str) -> bool:
        """Whether this is the first callback of a sign-in; records it. False, too, where there is
        no room to record it."""
        now = self._clock()
        while self._until and (oldest := next(iter(self._until.items())))[1] <= now:
            del self._until[oldest[0]]
        if state in self._until or len(self._until) >= REDEEMED:
            return False
        self._until[state] = now + SIGN_IN_LIFE.total_seconds()
        return True


class SignInPages:
    """The pages that need no session. `provider` is None where none is set up; `one_time` says
    whether links of `console.one_time` work; `operators` is the one directory whose app role
    Operator counts (empty: none), since every directory can define such a role."""

    def __init__(
        self,
        service: Service,
        cookies: Cookies,
        provider: Provider | None,
        home: Home,
        *,
        public_url: str = "",
        one_time: bool = False,
        operators: str = "",
    ) -> None:
        self._service = service
        self._cookies = cookies
        self._provider = provider
        self._home = home
        self._tenants = Tenants(service.store, remember=0)
        self._public_url = public_url
        self._one_time = one_time
        self._operators = operators
        self._redeemed = Redeemed()
        self._rate = RateLimit(SIGN_INS_PER_SECOND)

    def routes(self) -> Iterator[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Methods and paths below /console."""
        for method, path, page in (
            ("GET", "/sign-in", self._begin),
            ("GET", "/sign-in/callback", self._finish),
            ("GET", "/sign-in/once", self._offer),
            ("POST", "/sign-in/once", self._once),
            ("GET", LINK, self._offer_set_up),
            ("POST", LINK, self._begin_set_up),
        ):
            yield method, path, self._limited(path, page)

    def _limited(
        self, path: str, page: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def limited(request: Request) -> Response:
            if wait := self._rate.take(path):
                return self._later(_MANY, 429, wait)
            return await page(request)

        return limited

    async def _begin(self, request: Request) -> Response:
        if self._provider is None:
            way = _LINK if self._one_time else _ASK
            return self._refused(f"{_NO_PROVIDER} {way}", 503)
        path = local_path(request.query_params.get("path", ""))
        try:
            url, begun = await self._provider.begin(self._callback(request), path)
        except ProviderUnavailable as refusal:
            return self._later(str(refusal), 503, RETRY_SECONDS)
        response = RedirectResponse(url, 303)
        await self._cookies.remember(request, response, begun)
        return response

    async def _finish(self, request: Request) -> Response:
        begun = await self._cookies.begun(request)
        if self._provider is None or begun is None:
            return self._refused(_NOT_BEGUN, 400)
        if request.query_params.get("state") != begun.state:
            return self._refused(_NOT_BEGUN, 400)
        first = self._redeemed.first(begun.state)
        response = (
            await self._redeem(self._provider, begun, request)
            if first
            else self._refused(_REDEEMED, 400)
        )
        self._cookies.forget(request, response)
        return response

    async def _redeem(self, provider: Provider, begun: SignIn, request: Request) -> Response:
        """The answer to the callback of a sign-in that this browser began."""
        code = request.query_params.get("code")
        if code is None:
            return self._refused("The provider did not sign you in, or you cancelled it.", 403)
        try:
            person = await provider.finish(code, self._callback(request), begun)
        except ProviderUnavailable as refusal:
            return self._later(str(refusal), 503, RETRY_SECONDS)
        except SignInRefused as refusal:
            return self._refused(str(refusal), 403)
        if self._operators == person.directory_id and OPERATOR_ROLE in person.roles:
            return await self._operator_signed_in(request, person.name, person.object_id)
        tenant = await self._tenants.of_directory(person.directory_id)
        if tenant is None:
            log.info("not signed in: %s of %s", person.object_id, person.directory_id)
            return self._refused(_NO_TENANT, 403)
        return await self._signed_in(
            request, tenant, begun.path, person.name, person.roles, person.object_id
        )

    async def _signed_in(
        self,
        request: Request,
        tenant: Tenant,
        path: str,
        name: str,
        roles: Sequence[str],
        who: str,
        invitation_id: str = "",
    ) -> Response:
        """Begin a session; it replaces the one that this browser had. `who` is for the log, and not
        a name."""
        if (elsewhere := self.elsewhere(tenant)) is not None:
            return elsewhere
        if (before := await self._cookies.session(request)) is not None:
            await end(self._service.store, before)
        response = RedirectResponse(path, 303)
        session_id = await self._cookies.sign_in(
            request, response, tenant, name, roles, invitation_id
        )
        log.info("signed in: %s at %s, session %s", who, tenant.tenant_id, session_id)
        return response

    async def _operator_signed_in(self, request: Request, name: str, who: str) -> Response:
        """Begin an operator's session; it replaces the one that this browser had."""
        if (before := await self._cookies.session(request)) is not None:
            await end(self._service.store, before)
        response = RedirectResponse(FLEET, 303)
        session_id = await self._cookies.sign_in_operator(request, response, name)
        log.info("signed in: %s as an operator, session %s", who, session_id)
        return response

    def elsewhere(self, tenant: Tenant) -> Response | None:
        """The message for members of an organisation whose home is another region; None where it is
        this one."""
        if tenant.region == self._home.region:
            return None
        url = self._home.urls.get(tenant.region, "").rstrip("/")
        there = f"{url}{PATH}" if url else "at the address that the operator gave you"
        return self._refused(f"Your organisation's console is in another region: {there}.", 403)

    async def _offer(self, request: Request) -> Response:
        """The page that a one-time link opens."""
        if not self._may_be_once(request):
            return self._refused(_HERE_ONLY, 403)
        tenant_id = request.query_params.get("tenant", "")
        key = request.query_params.get("key", "")
        if not await is_open(self._service.store, tenant_id, key, self._service.now()):
            return self._used()
        name = "every tenant, as an operator"
        if tenant_id != PARTITION:
            name = (await read_tenant(self._service.store, tenant_id)).name
        return HTMLResponse(render("sign_in_once.html", name=name, tenant_id=tenant_id, key=key))

    async def _once(self, request: Request) -> Response:
        if not self._may_be_once(request):
            return self._refused(_HERE_ONLY, 403)
        form = await request.form(max_files=0, max_fields=10, max_part_size=1000)
        tenant_id, key = str(form.get("tenant", "")), str(form.get("key", ""))
        if not await redeem(self._service.store, tenant_id, key, self._service.now):
            return self._used()
        if tenant_id == PARTITION:
            return await self._operator_signed_in(request, LAPTOP_NAME, "a one-time link")
        tenant = await read_tenant(self._service.store, tenant_id)
        return await self._signed_in(
            request, tenant, PATH, LAPTOP_NAME, ROLES[:1], "a one-time link"
        )

    async def _offer_set_up(self, request: Request) -> Response:
        """The page that a set-up link opens. It begins no session yet, because mail scanners follow
        links."""
        key = request.query_params.get("key", "")
        found = await invited(self._service.store, key, self._service.now())
        if found is None:
            return self._refused(_NOT_INVITED, 403)
        return HTMLResponse(render("sign_in_set_up.html", name=found[0].name, key=key, path=LINK))

    async def _begin_set_up(self, request: Request) -> Response:
        # a page of another site could put the user into somebody else's session
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return self._refused(_FROM_ELSEWHERE, 403)
        form = await request.form(max_files=0, max_fields=10, max_part_size=1000)
        store, now = self._service.store, self._service.now()
        found = await invited(store, str(form.get("key", "")), now)
        if found is None:
            return self._refused(_NOT_INVITED, 403)
        tenant, id = found
        name = f"set-up link {id}"
        await note_opening(store, tenant.tenant_id, id, now)
        return await self._signed_in(request, tenant, SET_UP, name, (), name, id)

    def _may_be_once(self, request: Request) -> bool:
        return self._one_time and is_loopback(request.url.hostname)

    def _used(self) -> Response:
        return self._refused(_USED if self.offered else f"{_USED} {_LINK}", 403)

    @property
    def offered(self) -> bool:
        """Whether there is a provider to sign in at."""
        return self._provider is not None

    def _refused(self, text: str, status: int) -> Response:
        return HTMLResponse(render("sign_in_refused.html", text=text, offered=self.offered), status)

    def _later(self, text: str, status: int, seconds: float) -> Response:
        response = self._refused(text, status)
        response.headers["retry-after"] = str(max(1, math.ceil(seconds)))
        return response

    def _callback(self, request: Request) -> str:
        return f"{origin_of(request, self._public_url)}{PATH}/sign-in/callback"


_NOT_BEGUN = "This sign-in was not begun in this browser, or too long ago."
_REDEEMED = "This sign-in was used already. Sign in again."
_MANY = "Too many people are signing in at the moment. Try again in a few seconds."
_NO_PROVIDER = "Sign-in with Microsoft Entra ID is not set up for this deployment."
_ASK = "Ask the operator to set it up."
_LINK = "On this machine a one-time link signs you in. Make one: manage.py console link demo."
_NO_TENANT = (
    "Your directory is not registered in Muster. Ask the operator to register its directory id for "
    "your organisation."
)
_HERE_ONLY = "One-time links work only on the machine that runs Muster."
_NOT_INVITED = (
    "This set-up link has expired, was revoked, or is not complete. Ask the person who "
    "gave it to you for another one."
)
_FROM_ELSEWHERE = "Open the set-up link again and press the button on its page."
_USED = "This link was used already, or it is too old."


def local_path(path: str) -> str:
    """The path to return to: this one if it is a path of the console, else the overview."""
    inside = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    plain = "\\" not in path and path.isprintable() and path.isascii()
    return path if inside and plain else PATH
