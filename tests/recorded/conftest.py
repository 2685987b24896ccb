"""The server that the recorded requests are played against: in this process, through ASGI."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.environment import running
from tests.recorded.scenario import Scenario


@pytest.fixture
async def scim(tmp_path: Path, scenario: Scenario) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a tenant of its own, with the scenario's policy."""
    async with running(tmp_path, scenario.policy) as environment:
        yield environment.client
