"""What the reconciler's tests share: a tenant in a real store."""

from collections.abc import AsyncIterator

import pytest

from tests.reconciler.world import World, tenant


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with tenant() as world:
        yield world
