"""What the reconciler's tests share: a real store, and a tenant in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from directory.sqlite import SqliteStore
from tests.reconciler.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = SqliteStore(tmp_path / "directory.db")
    world = World(store)
    await world.begin()
    yield world
    await store.close()
