"""What a client is told where the store fails, and what becomes of its request."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from directory.cosmos import store as cosmos
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.portions import Portions
from tests.consistency import assert_consistent
from tests.emulators.cosmos import Facade, Fault, serving
from tests.emulators.cosmos_container import Container
from tests.environment import TENANT, Environment, running
from tests.scim.messages import add, create_group, create_users, members

SERVED = 10_000
"""More requests than a test sends."""


@pytest.fixture
async def facade() -> AsyncIterator[Facade]:
    async with serving(Facade(Container(indexing_policy()))) as facade:
        yield facade


@pytest.fixture
async def muster(
    facade: Facade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Environment]:
    """On Cosmos DB's wire protocol; four memberships are more than a batch holds."""
    impatient = partial(CosmosStore, pauses=(0.0,), throttle_retries=2)
    monkeypatch.setattr(cosmos, "CosmosStore", impatient)
    store: dict[str, Any] = {"cosmos_endpoint": facade.endpoint, "cosmos_key": "Zm9v"}
    few = Portions(edges_beside_group=3, edges_per_batch=2)
    async with running(tmp_path, portions=few, **store) as environment:
        yield environment


@pytest.mark.parametrize(("answered", "status"), [(429, 429), (500, 503)])
@pytest.mark.parametrize("committed", [False, True])
async def test_a_large_change_that_the_store_interrupts(
    muster: Environment, facade: Facade, committed: bool, answered: int, status: int
) -> None:
    users = await create_users(muster.client, 6)
    sales = await create_group(muster.client, "Sales")
    await muster.settle()
    storm = Fault("batch", "refuse", answered, retry_after_ms=1, times=SERVED, skip=2 * committed)
    facade.faults.append(storm)
    answer = await muster.client.patch(f"/Groups/{sales}", json=add(users))
    facade.faults.clear()
    assert answer.status_code == status
    assert int(answer.headers["Retry-After"]) >= 1
    assert ("is accepted and partly written" in answer.json()["detail"]) is committed
    assert await members(muster.client, sales) == (users[:2] if committed else [])
    await muster.settle()
    assert await members(muster.client, sales) == (users if committed else [])
    await assert_consistent(muster.application.store, TENANT)
    repeated = await muster.client.patch(f"/Groups/{sales}", json=add(users))
    assert repeated.status_code == 204
    assert await members(muster.client, sales) == users
    await muster.settle()
    await assert_consistent(muster.application.store, TENANT)
