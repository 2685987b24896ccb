"""The deployment's keys: one secret, however many instances make it at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from directory.sqlite import SqliteStore
from trust.signing import SigningKeys


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "keys.sqlite")
    yield store
    await store.close()


async def test_instances_that_start_at_once_agree(store: SqliteStore) -> None:
    keys = await asyncio.gather(*(SigningKeys(store).key("cursors") for _ in range(20)))
    assert len(set(keys)) == 1
    assert await SigningKeys(store).key("cursors") == keys[0]
    assert len(keys[0]) == 32


async def test_every_purpose_has_a_key_of_its_own(store: SqliteStore, tmp_path: Path) -> None:
    keys = SigningKeys(store)
    assert await keys.key("cursors") != await keys.key("tokens")
    elsewhere = SqliteStore(tmp_path / "another.sqlite")
    assert await SigningKeys(elsewhere).key("cursors") != await keys.key("cursors")
    await elsewhere.close()
