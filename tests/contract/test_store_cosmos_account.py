"""The Cosmos DB store on the account that the environment names: official emulator, or live.

MUSTER_TEST_COSMOS_ENDPOINT and MUSTER_TEST_COSMOS_KEY say which; its database
MUSTER_TEST_COSMOS_DATABASE (`muster-test`) gets the container `directory` where it lacks it.
"""

import os
from collections.abc import AsyncIterator

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from tests.contract.store_contract import Clock, StoreContract

ENDPOINT = os.environ.get("MUSTER_TEST_COSMOS_ENDPOINT", "")
KEY = os.environ.get("MUSTER_TEST_COSMOS_KEY", "")
DATABASE = os.environ.get("MUSTER_TEST_COSMOS_DATABASE", "muster-test")

if not (ENDPOINT and KEY):
    pytest.skip(
        "MUSTER_TEST_COSMOS_ENDPOINT and MUSTER_TEST_COSMOS_KEY name no account",
        allow_module_level=True,
    )

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


class TestOnAnAccount(StoreContract):
    """The contract, but for tests that move time."""

    @pytest.fixture
    def clock(self) -> Clock:
        pytest.skip("the time of an account cannot be moved")

    @pytest.fixture
    async def store(self) -> AsyncIterator[CosmosStore]:
        async with CosmosClient(ENDPOINT, KEY, enable_endpoint_discovery=False) as client:
            database = await client.create_database_if_not_exists(DATABASE)
            await database.create_container_if_not_exists(
                "directory",
                PartitionKey("/tenantId"),
                indexing_policy=indexing_policy(),
                default_ttl=-1,
            )
        store = CosmosStore(ENDPOINT, KEY, DATABASE)
        yield store
        await store.close()
