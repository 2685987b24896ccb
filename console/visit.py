"""One request of a signed-in administrator, as its page gets it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from administration.deployment import Deployment
from administration.events import Administration
from administration.tenants import read_tenant
from console.rendering import read_only, render
from console.session import PATH, Session
from directory.documents import Actor
from directory.store import Store
from directory.tenants import Tenant
from scim.writing import Service
from web.reading import origin_of
from web.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page: it is signed in, its tenant exists, and a form in it came from this
    session."""

    request: Request
    session: Session
    tenant: Tenant
    deployment: Deployment
    form: FormData = field(default_factory=FormData)

    @property
    def service(self) -> Service:
        """The services that use cases need."""
        return self.deployment.service

    @property
    def store(self) -> Store:
        """The store."""
        return self.service.store

    @property
    def origin(self) -> str:
        """Scheme and host that clients see."""
        return origin_of(self.request, self.deployment.public_url)

    @property
    def tenant_id(self) -> str:
        """The tenant of the verified session; pages know no other."""
        return self.tenant.tenant_id

    @property
    def now(self) -> datetime:
        """The time."""
        return self.service.now()

    @property
    def actor(self) -> Actor:
        """Who is logged for changes made by this request."""
        return Actor(type="administrator", id=self.session.name)

    @property
    def asked(self) -> Mapping[str, str]:
        """The parameters in the URL."""
        return self.request.query_params

    def path(self, name: str) -> str:
        """A parameter of the route."""
        return str(self.request.path_params[name])

    def given(self, name: str) -> str:
        """A field of the form, stripped of white space; empty where it is missing."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def all_given(self, name: str) -> list[str]:
        """Every value of a field of the form."""
        return [value for value in self.form.getlist(name) if isinstance(value, str)]

    def changing[A: Administration](self, subject: type[A]) -> A:
        """A use case that changes the tenant in this administrator's name."""
        return subject(self.service, self.tenant_id, self.actor)

    async def again(self) -> "Visit":
        """The same visit, with the tenant read anew after a change."""
        return replace(self, tenant=await read_tenant(self.store, self.tenant_id))

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """A page of the console."""
        context |= {
            "session": self.session,
            "tenant": self.tenant,
            "here": self.request.url.path.removeprefix(PATH),
            "told": self.asked.get("told", ""),
            "now": self.now,
        }
        page = render(template, **context)
        return HTMLResponse(read_only(page) if self.session.operator else page, status)

    def download(self, name: str, text: str, media_type: str = "text/csv") -> Response:
        """A file of that name."""
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, headers=headers, media_type=f"{media_type}; charset=utf-8")

    def go(self, path: str, told: str = "") -> Response:
        """Redirect to a page of the console, which shows the message TOLD[told]."""
        joiner = "&" if "?" in path else "?"
        return RedirectResponse(PATH + path + (f"{joiner}told={told}" if told else ""), 303)


type Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """A route below /console, for signed-in administrators."""

    path: str
    handler: Handler
    method: str = "GET"
    set_up: bool = False
    """Whether a session that a set-up link began may open it, too."""


class NoSuchPage(Trouble):
    """What the URL names does not exist in this tenant; the text says what."""

    def __init__(self, detail: str) -> None:
        super().__init__(404, detail)
