"""One operation of the API: how it is called, what it takes and what it answers. The routes and
the OpenAPI document are both made of this."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from administration.events import Administration
from administration.reading.previews import Previewed, preview_place
from console.api.models import (
    Answer,
    Body,
    Counts,
    Effect,
    Parameters,
    PreviewAnswer,
    named,
)
from console.visit import Deployment
from directory.documents import Actor, Model
from directory.store import Store
from directory.tenants import Tenant
from reconciler.questions.preview import PreviewCursor
from trust.signing import Keys
from web.cursor import Cursor

PATH = "/console/api"


@dataclass(frozen=True, slots=True)
class Call[Q, B]:
    """One request of a proven caller, read as the operation says."""

    tenant: Tenant
    """As it is now. It is the verified token's, and operations know no other."""
    actor: Actor
    """Whom the log names for what is changed."""
    deployment: Deployment
    origin: str
    """Scheme and host that clients see."""
    path: Mapping[str, str]
    query: Q
    body: B
    content: bytes
    """The body as it came."""
    if_match: str | None
    asked: str
    """The tenant and all that was asked but for the cursor, which counts for nothing else."""
    cursor_keys: Keys

    @property
    def store(self) -> Store:
        """What is stored."""
        return self.deployment.service.store

    @property
    def tenant_id(self) -> str:
        """The tenant of the verified token."""
        return self.tenant.tenant_id

    def changing[A: Administration](self, subject: type[A]) -> A:
        """What changes the tenant in this caller's name."""
        return subject(self.deployment.service, self.tenant_id, self.actor)

    def place(self, cursor: str | None) -> str | None:
        """Where the list goes on. Raises BadContinuation for a cursor that is not of this list."""
        if cursor is None:
            return None
        return Cursor.read(cursor, self.asked, self.cursor_keys).continuation

    def next(self, continuation: str | None) -> str | None:
        """The cursor of the next page, signed for this list alone."""
        if continuation is None:
            return None
        return Cursor(continuation, 0).write(self.asked, self.cursor_keys)

    def preview_place(self, cursor: str | None) -> PreviewCursor | None:
        """Where a preview goes on. Raises BadContinuation."""
        return preview_place(self.place(cursor) or "")

    def previewed(self, page: Previewed) -> PreviewAnswer:
        """A page of a preview."""
        effects = [
            Effect(
                user_id=one.user_id,
                user_name=one.user_name,
                display_name=one.display_name,
                enabled=one.after.enabled,
                reasons=one.after.reasons,
                gained=named(one.gained, page.names),
                lost=named(one.lost, page.names),
            )
            for one in page.effects
        ]
        return PreviewAnswer(
            effects=tuple(effects),
            counts=Counts(complete=page.counting is None, **dict(page.counts)),
            no_owner=page.no_owner,
            next_cursor=self.next(page.cursor.model_dump_json() if page.cursor else None),
        )


type Handler = Callable[[Call[Any, Any]], Awaitable[Answer | str | None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is below PATH. The handler's docstring is the operation's description."""

    method: str
    path: str
    handler: Handler
    answer: type[Answer | str] | None
    """str: CSV. None: 204, without a body."""
    query: type[Parameters] = Parameters
    body: type[Body] | None = None
    file: type[Model] | None = None
    """A file that the handler reads itself: JSON of this model, or CSV."""
    status: int = 200
    conditional: bool = False
    """Whether If-Match counts."""

    @property
    def name(self) -> str:
        """Its operationId."""
        return "".join(part.title() if n else part for n, part in enumerate(self._words))

    @property
    def _words(self) -> list[str]:
        return self.handler.__name__.strip("_").split("_")

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.path.split("/")[1].removesuffix(".csv")

    @property
    def description(self) -> str:
        """What it does."""
        return " ".join((inspect.getdoc(self.handler) or "").split())
