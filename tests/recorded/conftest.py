"""The server that the recorded requests are played against, through both transports."""

import httpx
import pytest

from tests.recorded.scenario import Scenario
from tests.transports import Muster


@pytest.fixture
async def scim(muster: Muster, scenario: Scenario) -> httpx.AsyncClient:
    """A client of a tenant of its own, with the scenario's policy."""
    return (await muster.tenant(scenario.policy)).scim
