"""An access API with other bounds than a deployment's."""

import httpx

from access.following import Feed
from access.http import access_application
from access.reading import AccessReader
from tests.environment import client_of
from tests.transports import Muster, Tenant
from trust.rate import RateLimit


def access_client(
    muster: Muster, tenant: Tenant, *, feed: Feed | None = None, **bounds: int
) -> httpx.AsyncClient:
    """A client of it, with the tenant's token; `bounds` are those of the reader."""
    application = muster.application
    reader = AccessReader(application.store, application.service.resource_types["User"], **bounds)
    surface = access_application(
        reader, feed or application.feed, application.authenticator, RateLimit(0)
    )
    return client_of(surface, "/access/v1", tenant.access_token)
