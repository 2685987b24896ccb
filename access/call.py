"""One request of the access API, in the form that operations receive."""

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
    """One request of an authenticated caller, parsed as the operation defines."""

    tenant: Tenant | None
    """None: all tenants, which only the feed of changes supports."""
    path: Mapping[str, str]
    query: Q
    body: B
    reader: AccessReader
    feed: Feed

    @property
    def known_tenant(self) -> Tenant:
        """The tenant. Raises ValueError without one, which the routes exclude for operations that
        need it."""
        if self.tenant is None:
            raise ValueError("no tenant")
        return self.tenant
