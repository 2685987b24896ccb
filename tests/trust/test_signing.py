"""The deployment's keys: one secret, whoever makes it first, and how it is rolled."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.sqlite.store import SqliteStore
from directory.store import Create
from trust.signing import (
    AHEAD,
    DOCUMENT,
    OLD,
    PARTITION,
    REMEMBER_SECONDS,
    Secret,
    SigningKeys,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Deployment:
    """Instances on one store and one clock."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.passed = 0.0

    def instance(self) -> SigningKeys:
        """Another one."""
        return SigningKeys(self.store, self.now, lambda: self.passed)

    def now(self) -> datetime:
        """The time."""
        return NOON + timedelta(seconds=self.passed)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "keys.sqlite")
    yield store
    await store.close()


@pytest.fixture
def deployment(store: SqliteStore) -> Deployment:
    return Deployment(store)


async def test_instances_that_start_at_once_agree(deployment: Deployment) -> None:
    keys = await asyncio.gather(*(deployment.instance().keys("cursors") for _ in range(20)))
    assert len(set(keys)) == 1
    assert await deployment.instance().keys("cursors") == keys[0]
    assert [len(key) for key in keys[0]] == [32]


async def test_every_purpose_has_a_key_of_its_own(deployment: Deployment, tmp_path: Path) -> None:
    keys = deployment.instance()
    assert await keys.keys("cursors") != await keys.keys("tokens")
    elsewhere = SqliteStore(tmp_path / "another.sqlite")
    assert await Deployment(elsewhere).instance().keys("cursors") != await keys.keys("cursors")
    await elsewhere.close()


async def test_the_secret_of_an_older_version_is_the_same(deployment: Deployment) -> None:
    value = base64.b64encode(bytes(range(32))).decode()
    old = {"id": DOCUMENT, "tenantId": PARTITION, "type": "Secret", "value": value}
    await deployment.store.batch(PARTITION, [Create(old)])
    (key,) = await deployment.instance().keys("console")
    assert key == hmac.digest(bytes(range(32)), b"console", "sha256")


async def test_whatever_one_instance_signs_counts_at_every_other_while_it_is_rolled(
    deployment: Deployment,
) -> None:
    """One read the secret just before it was rolled, another one never knew the old one."""
    early = deployment.instance()
    (old,) = await early.keys("console")
    signs_from = await deployment.instance().roll()
    assert signs_from == NOON + AHEAD
    late = deployment.instance()
    signing: list[bytes] = []
    while deployment.now() < signs_from + timedelta(seconds=2 * REMEMBER_SECONDS):
        keys = [await each.keys("console") for each in (early, late)]
        for each in keys:
            assert each[0] in keys[0]
            assert each[0] in keys[1]
        signing.append(keys[1][0])
        deployment.passed += 7
    assert signing[0] == old
    assert signing[-1] != old
    assert old in await early.keys("console")
    deployment.passed = (AHEAD + OLD).total_seconds()
    assert await early.keys("console") == (signing[-1],)


async def test_a_secret_that_leaked_counts_for_a_minute_at_most(deployment: Deployment) -> None:
    running = deployment.instance()
    (leaked,) = await running.keys("console")
    await deployment.instance().roll()
    await deployment.instance().roll(at_once=True)
    deployment.passed = REMEMBER_SECONDS
    (key,) = await running.keys("console")
    assert key != leaked
    assert await deployment.instance().keys("console") == (key,)


@given(st.lists(st.integers(0, 200_000), max_size=8))
def test_there_is_always_one_that_signs_and_a_new_one_waits(waits: list[int]) -> None:
    secret, now = Secret(tenant_id=PARTITION, value="AA=="), NOON
    for wait in waits:
        now += timedelta(seconds=wait)
        before = secret.counting(now)
        secret = secret.rolling(now)
        after = secret.counting(now)
        assert after[0] == before[0]
        assert set(before) < set(after)
        ahead = secret.counting(now + AHEAD)
        assert ahead[0] not in before
        assert before[0] in ahead
