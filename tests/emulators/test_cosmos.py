"""The façade as the unmodified SDK finds it, where Muster's adapter does not look."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from azure.core import MatchConditions
from azure.cosmos import exceptions
from azure.cosmos.aio import ContainerProxy, CosmosClient

from directory.cosmos.indexing import indexing_policy
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container

KEY = "Zm9yIHRlc3Rz"
ITEM = {"id": "a", "tenantId": "acme", "n": 1}
Failed = exceptions.CosmosHttpResponseError


@pytest.fixture
async def facade() -> AsyncIterator[Facade]:
    async with serving(Facade(Container(indexing_policy()))) as facade:
        yield facade


@pytest.fixture
async def container(facade: Facade) -> AsyncIterator[ContainerProxy]:
    async with CosmosClient(facade.endpoint, KEY) as client:
        yield client.get_database_client("muster").get_container_client("directory")


async def rows(container: ContainerProxy, sql: str, **scope: Any) -> list[Any]:
    return [row async for row in container.query_items(sql, **scope)]


async def test_items_one_by_one(container: ContainerProxy) -> None:
    created = await container.create_item(ITEM)
    with pytest.raises(exceptions.CosmosResourceExistsError):
        await container.create_item(ITEM)
    replaced = await container.replace_item(
        "a", ITEM | {"n": 2}, etag=created["_etag"], match_condition=MatchConditions.IfNotModified
    )
    with pytest.raises(exceptions.CosmosAccessConditionFailedError):
        await container.replace_item(
            "a", ITEM, etag=created["_etag"], match_condition=MatchConditions.IfNotModified
        )
    assert (await container.read_item("a", "acme"))["_etag"] == replaced["_etag"]
    patched = await container.patch_item("a", "acme", [{"op": "incr", "path": "/n", "value": 3}])
    assert patched["n"] == 5
    assert (await container.upsert_item(ITEM))["n"] == 1
    await container.delete_item("a", "acme")
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        await container.read_item("a", "acme")


async def test_partitions_are_apart(container: ContainerProxy) -> None:
    await container.create_item(ITEM)
    await container.create_item(ITEM | {"tenantId": "other", "n": 2})
    assert (await container.read_item("a", "other"))["n"] == 2
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        await container.read_item("a", "nobody")
    every = "SELECT * FROM c"
    assert [row["n"] for row in await rows(container, every, partition_key="acme")] == [1]
    assert [row["n"] for row in await rows(container, every)] == [1, 2]
    with pytest.raises(exceptions.CosmosBatchOperationError) as error:
        await container.execute_item_batch([("create", (ITEM | {"id": "b"},))], "other")
    assert error.value.status_code == 400


async def test_a_batch_is_whole_or_not_at_all(container: ContainerProxy) -> None:
    await container.create_item(ITEM)
    batch: list[Any] = [("create", (ITEM | {"id": "b"},)), ("create", (ITEM,)), ("delete", ("a",))]
    with pytest.raises(exceptions.CosmosBatchOperationError) as error:
        await container.execute_item_batch(batch, "acme")
    responses = error.value.operation_responses or []
    assert [response["statusCode"] for response in responses] == [424, 409, 424]
    assert [row["id"] for row in await rows(container, "SELECT * FROM c")] == ["a"]
    with pytest.raises(Failed, match="101 operations"):
        await container.execute_item_batch([("delete", ("a",))] * 101, "acme")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_two_megabytes(container: ContainerProxy) -> None:
    with pytest.raises(Failed) as error:
        await container.create_item(ITEM | {"x": "x" * 2 * 1024 * 1024})
    assert error.value.status_code == 413
    await container.create_item(ITEM | {"x": "x" * 2 * 1024 * 1000})
    grow = [{"op": "set", "path": "/y", "value": "y" * 60_000}]
    with pytest.raises(Failed) as error:
        await container.patch_item("a", "acme", grow)
    assert error.value.status_code == 413


@pytest.mark.parametrize(
    ("sql", "scope", "status"),
    [
        ("SELECT * FROM c ORDER BY c.n", {"partition_key": "acme"}, 400),
        ("SELECT * FROM c ORDER BY c.id, c.type", {"partition_key": "acme"}, 400),
        ("SELECT * FROM c ORDER BY c.id", {}, 405),
        ("SELECT VALUE COUNT(1) FROM c", {}, 405),
        ("SELECT LOWER(c.id) FROM c", {"partition_key": "acme"}, 405),
    ],
)
async def test_queries_that_it_refuses(
    container: ContainerProxy, sql: str, scope: Any, status: int
) -> None:
    with pytest.raises(Failed) as error:
        await rows(container, sql, **scope)
    assert error.value.status_code == status


async def test_a_query_comes_in_pages(container: ContainerProxy, facade: Facade) -> None:
    for n in range(5):
        await container.create_item({"id": f"{n}", "tenantId": "acme"})
    facade.page_items = 2
    facade.requests.clear()
    found = await rows(container, "SELECT * FROM c ORDER BY c.id DESC", partition_key="acme")
    assert [row["id"] for row in found] == ["4", "3", "2", "1", "0"]
    assert facade.requests == ["query"] * 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer x"}, 401),
        ({"authorization": "type%3Dmaster%26ver%3D1.0%26sig%3Dx"}, 400),
    ],
)
async def test_requests_that_no_sdk_sends(
    facade: Facade, headers: dict[str, str], status: int
) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{facade.endpoint}dbs/muster/colls/directory/docs/a"
        async with session.get(url, headers=headers) as response:
            assert response.status == status


async def test_the_feed_of_ranges_ends_with_304(container: ContainerProxy, facade: Facade) -> None:
    ranges = [json.dumps(found) async for found in container.read_feed_ranges()]
    assert len(ranges) == 1
    assert facade.requests.count("ranges") == 2
