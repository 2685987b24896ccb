"""The server that the recorded requests are played against: all of them in this process on SQLite,
and through the other transports what these can decide."""

import httpx
import pytest

from tests.recorded.scenario import Scenario
from tests.transports import Muster, leave_out

THROUGH_FUNCTIONS = ("01", "02", "11")
"""Topics that begin so are about what HTTP does to a request."""
ON_THE_WIRE = ("03", "07", "09")
"""Topics about what is found, about memberships, and about whole cycles."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the transport does not matter to."""
    leave_out(config, items, "recorded", _is_left_out)


def _is_left_out(item: pytest.Item, transport: str) -> bool:
    topics = {"functions": THROUGH_FUNCTIONS, "wire": ON_THE_WIRE}.get(transport, ("",))
    callspec = getattr(item, "callspec", None)
    scenario = callspec.params.get("scenario") if callspec else None
    return scenario is not None and not scenario.title.startswith(topics)


@pytest.fixture
async def scim(muster: Muster, scenario: Scenario) -> httpx.AsyncClient:
    """A client of a tenant of its own, with the scenario's policy."""
    return (await muster.tenant(scenario.policy)).scim
