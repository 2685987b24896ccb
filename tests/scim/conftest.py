"""A tenant per test, through every transport."""

import httpx
import pytest

from tests.transports import Muster, Tenant, leave_out

THROUGH_FUNCTIONS = (
    "test_access test_authentication test_client_credentials test_concurrency test_isolation "
    "test_requests test_scim2_tester test_surface"
).split()
"""Modules whose tests the way through the Functions runtime can decide. All others are about what
a use case does once it has its request: in this process, on both stores."""
WITHOUT_A_STORE = (
    "test_bulk test_discovery test_extensions test_projection test_replace test_requests "
    "test_root_search test_versions"
).split()
"""Modules about requests and answers, for which one store is as good as the other: that they store
and find alike is the contract suites' (`tests/contract`)."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the transport does not matter to."""
    leave_out(config, items, "scim", _is_left_out)


def _is_left_out(item: pytest.Item, transport: str) -> bool:
    if transport == "functions":
        return item.path.stem not in THROUGH_FUNCTIONS
    return transport == "wire" and item.path.stem in WITHOUT_A_STORE


@pytest.fixture
async def tenant(muster: Muster) -> Tenant:
    """A tenant with provisioning enabled and the default policy."""
    return await muster.tenant()


@pytest.fixture
async def scim(tenant: Tenant) -> httpx.AsyncClient:
    """A SCIM client of the tenant; an answer that is not as SCIM has it fails the test."""
    return tenant.scim
