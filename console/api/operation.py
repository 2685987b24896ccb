"""One request of the API, in the form that operations receive."""

from collections.abc import Mapping
from dataclasses import dataclass

from administration.deployment import Deployment
from administration.events import Administration
from administration.reading.previews import Previewed, preview_cursor
from console.api.models import Counts, Effect, PreviewAnswer, WouldKeep, named
from directory.documents import Actor
from directory.store import Store
from directory.tenants import Tenant
from reconciler.questions.preview import PreviewCursor
from web.cursor import Pages

PATH = "/console/api"


@dataclass(frozen=True, slots=True)
class Call[Q, B]:
    """One request of an authenticated caller, parsed as the operation defines."""

    tenant: Tenant
    """The verified token's tenant, as it is now; operations know no other."""
    actor: Actor
    """Who is logged for changes."""
    deployment: Deployment
    origin: str
    """Scheme and host that clients see."""
    path: Mapping[str, str]
    query: Q
    body: B
    content: bytes
    """The raw body."""
    if_match: str | None
    pages: Pages
    """The pages of the list, or the preview, that the request asks for."""

    @property
    def store(self) -> Store:
        """The store."""
        return self.deployment.service.store

    @property
    def tenant_id(self) -> str:
        """The tenant of the verified token."""
        return self.tenant.tenant_id

    def changing[A: Administration](self, subject: type[A]) -> A:
        """A use case that changes the tenant in this caller's name."""
        return subject(self.deployment.service, self.tenant_id, self.actor)

    def preview_cursor(self, cursor: str | None) -> PreviewCursor | None:
        """Where a preview goes on. Raises BadContinuation."""
        return preview_cursor(self.pages.continuation(cursor) or "")

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
            kept=tuple(WouldKeep.model_validate(one) for one in page.kept),
            next_cursor=self.pages.cursor(page.cursor.model_dump_json() if page.cursor else None),
        )
