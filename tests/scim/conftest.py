"""A tenant per test, through both transports."""

import httpx
import pytest

from tests.transports import Muster, Tenant


@pytest.fixture
async def tenant(muster: Muster) -> Tenant:
    """A tenant with provisioning enabled and the default policy."""
    return await muster.tenant()


@pytest.fixture
async def scim(tenant: Tenant) -> httpx.AsyncClient:
    """A SCIM client of the tenant; an answer that is not as SCIM has it fails the test."""
    return tenant.scim
