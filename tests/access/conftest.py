"""A tenant per test, and a client with a credential of the deployment."""

import httpx
import pytest

from tests.transports import Muster, Tenant


@pytest.fixture
async def tenant(muster: Muster) -> Tenant:
    """A tenant with provisioning enabled and the default policy."""
    return await muster.tenant()


@pytest.fixture
async def vendor(muster: Muster) -> httpx.AsyncClient:
    """The vendor's application, which serves every tenant."""
    return await muster.vendor()
