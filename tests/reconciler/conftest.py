"""What the reconciler's tests share: a tenant in a real store."""

from collections.abc import AsyncIterator

import pytest

from tests.reconciler.places import PLACES
from tests.reconciler.world import World, tenant


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Every test runs on both stores."""
    found: str = request.param
    return found


@pytest.fixture
async def world(place: str) -> AsyncIterator[World]:
    async with tenant(place) as world:
        yield world
