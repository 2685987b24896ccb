"""Making the database and the container of an account that is reached with its key: the emulator.

On Azure, Bicep makes them (infra/modules/cosmos.bicep), because a managed identity may not.
"""

import asyncio
import time

from azure.core.exceptions import AzureError
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from directory.cosmos.indexing import PARTITION_KEY, indexing_policy
from directory.store import Unavailable

WAIT_SECONDS = 2.0


async def create_container(
    endpoint: str,
    key: str,
    database: str,
    container: str,
    patience_seconds: float = 120,
    *,
    wait_seconds: float = WAIT_SECONDS,
) -> None:
    """Make the database and the container where they are missing. An account that does not answer
    is tried for `patience_seconds`, `wait_seconds` apart: the emulator takes a while to start.
    Raises Unavailable."""
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            await _create(endpoint, key, database, container)
        except AzureError as error:
            if time.monotonic() > give_up:
                raise Unavailable(f"{endpoint} makes no container: {error}") from error
            await asyncio.sleep(wait_seconds)
        else:
            return


async def _create(endpoint: str, key: str, database: str, container: str) -> None:
    client = CosmosClient(endpoint, key, enable_endpoint_discovery=False)
    try:
        await client.__aenter__()
        found = await client.create_database_if_not_exists(database)
        await found.create_container_if_not_exists(
            container,
            PartitionKey("/" + "/".join(PARTITION_KEY)),
            indexing_policy=indexing_policy(),
            default_ttl=-1,
        )
    finally:
        await client.close()
