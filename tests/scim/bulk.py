"""What a client sends to /Bulk, and what it owes to say (RFC 7644 section 3.7)."""

from typing import Any

import httpx

from tests.scim.messages import MESSAGES, Body

BULK_REQUEST, BULK_RESPONSE = f"{MESSAGES}BulkRequest", f"{MESSAGES}BulkResponse"


def bulk(*operations: Any, **more: Any) -> Body:
    """A bulk request of these operations."""
    return {"schemas": [BULK_REQUEST], "Operations": list(operations), **more}


def post(path: str, bulk_id: Any, data: Any) -> Body:
    """A POST in a bulk request."""
    return {"method": "POST", "path": path, "bulkId": bulk_id, "data": data}


def change(method: str, path: str, data: Any = None, **more: Any) -> Body:
    """Any other operation of a bulk request; without `data` where it is None."""
    body = {"method": method, "path": path, **more}
    return body if data is None else body | {"data": data}


async def process(scim: httpx.AsyncClient, *operations: Body, **more: Any) -> list[Body]:
    """What came of each operation that was processed."""
    answer = await scim.post("/Bulk", json=bulk(*operations, **more))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["schemas"] == [BULK_RESPONSE]
    results: list[Body] = body["Operations"]
    for result in results:
        _check(result)
    return results


def _check(result: Body) -> None:
    """RFC 7644 section 3.7.3: what the result of an operation owes."""
    assert isinstance(result["status"], str)
    succeeded = result["status"].startswith("2")
    assert ("response" in result) == (not succeeded)
    if succeeded:
        assert "location" in result
        assert ("version" in result) == (result["method"] != "DELETE")
    else:
        assert result["response"]["schemas"] == [f"{MESSAGES}Error"]
        assert result["response"]["status"] == result["status"]
        assert result["response"]["detail"]


def statuses(results: list[Body]) -> list[str]:
    """The status of each operation."""
    return [result["status"] for result in results]


def id_of(result: Body) -> str:
    """The id in a location."""
    return str(result["location"].rpartition("/")[2])
