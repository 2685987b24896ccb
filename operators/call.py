"""One request of an operator, in the form that operations receive."""

from collections.abc import Mapping
from dataclasses import dataclass

from administration.deployment import Deployment
from administration.events import Administration
from administration.tenants import read_tenant
from directory.documents import Actor
from directory.store import Store
from directory.tenants import Tenant
from web.cursor import Pages

PATH = "/operator/v1"
OF_TENANT = "/tenants/{tenant}"


@dataclass(frozen=True, slots=True)
class Call[Q, B]:
    """One request of an authenticated operator, parsed as the operation defines."""

    deployment: Deployment
    actor: Actor
    """Who is logged for changes in a tenant."""
    origin: str
    """Scheme and host that clients see."""
    path: Mapping[str, str]
    query: Q
    body: B
    content: bytes
    """The raw body."""
    if_match: str
    """The request's If-Match, unparsed; empty: none."""
    pages: Pages
    """The pages of the list that the request asks for."""

    @property
    def store(self) -> Store:
        """The store."""
        return self.deployment.service.store

    @property
    def tenant_id(self) -> str:
        """The tenant that the path names; the credential was verified before."""
        return self.path["tenant"]

    async def tenant(self) -> Tenant:
        """The tenant as it is now. Raises Absent."""
        return await read_tenant(self.store, self.tenant_id)

    def changing[A: Administration](self, subject: type[A]) -> A:
        """A use case that changes the tenant in this operator's name."""
        return subject(self.deployment.service, self.tenant_id, self.actor)
