"""Making the container of the emulator, through the unmodified SDK."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from directory.cosmos.creation import create_container
from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.store import Create, Unavailable
from tests.contract.store_query_contract import document
from tests.emulators.cosmos import CONTAINER, DATABASE, Facade, Fault, serving
from tests.emulators.cosmos_container import Container

KEY = "Zm9yIHRlc3Rz"


create_in_haste = partial(create_container, wait_seconds=0.01)


@asynccontextmanager
async def account(missing: set[str]) -> AsyncIterator[Facade]:
    async with serving(Facade(Container(indexing_policy()), missing=missing)) as facade:
        yield facade


async def test_what_is_missing_is_made_as_bicep_makes_it_and_can_be_used() -> None:
    async with account({DATABASE, CONTAINER}) as facade:
        await create_in_haste(facade.endpoint, KEY, DATABASE, CONTAINER)
        database, container = facade.made
        assert database == {"id": DATABASE}
        assert container["partitionKey"]["paths"] == ["/tenantId"]
        assert (container["defaultTtl"], container["indexingPolicy"]) == (-1, indexing_policy())
        store = CosmosStore(facade.endpoint, KEY)
        await store.batch("acme", [Create(document("acme", "a"))])
        await store.close()


async def test_what_is_there_stays_as_it_is() -> None:
    async with account(set()) as facade:
        await create_in_haste(facade.endpoint, KEY, DATABASE, CONTAINER)
        assert facade.made == []


async def test_an_account_that_is_starting_is_waited_for() -> None:
    async with account({CONTAINER}) as facade:
        facade.faults += [Fault("account", "refuse", 503, times=2), Fault("container", "drop")]
        await create_in_haste(facade.endpoint, KEY, DATABASE, CONTAINER)
        assert [made["id"] for made in facade.made] == [CONTAINER]


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(Unavailable, match=endpoint):
        await create_in_haste(endpoint, KEY, DATABASE, CONTAINER, patience_seconds=0)
