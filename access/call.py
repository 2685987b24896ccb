"""One request of the access API, as its operations get it."""

from collections.abc import Mapping
from dataclasses import dataclass

from access.following import Feed
from access.reading import AccessReader
from directory.tenants import Tenant

PATH = "/access/v1"
OF_TENANT = "/tenants/{tenant}"
DOCUMENT = f"{PATH}/openapi.json"


@dataclass(frozen=True, slots=True)
class Call[Q, B]:
    """One request of a proven caller, read as the operation says."""

    tenant: Tenant | None
    """None: of every tenant, which only the changes can be asked of."""
    path: Mapping[str, str]
    query: Q
    body: B
    reader: AccessReader
    feed: Feed

    @property
    def known_tenant(self) -> Tenant:
        """The tenant; the routes let nobody without one to an operation that needs it."""
        if self.tenant is None:
            raise ValueError("no tenant")
        return self.tenant
