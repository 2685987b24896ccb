"""A tenant per test, through every transport."""

import httpx
import pytest

from tests.transports import Muster, Tenant

THROUGH_FUNCTIONS = (
    "test_access test_authentication test_client_credentials test_concurrency test_isolation "
    "test_requests test_scim2_tester test_surface"
).split()
"""Modules whose tests the way through the Functions runtime can decide. All others are about what
a use case does once it has its request: in this process, on both stores."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the transport does not matter to."""
    left_out = {item for item in items if _is_left_out(item)}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    if item.path.parent.name != "scim" or item.path.stem in THROUGH_FUNCTIONS:
        return False
    callspec = getattr(item, "callspec", None)  # none where nothing is parametrized
    return callspec is not None and callspec.params.get("muster") == "functions"


@pytest.fixture
async def tenant(muster: Muster) -> Tenant:
    """A tenant with provisioning enabled and the default policy."""
    return await muster.tenant()


@pytest.fixture
async def scim(tenant: Tenant) -> httpx.AsyncClient:
    """A SCIM client of the tenant; an answer that is not as SCIM has it fails the test."""
    return tenant.scim
