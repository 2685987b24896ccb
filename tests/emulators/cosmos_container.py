"""A Cosmos DB container in memory: logical partitions, ETags, TTL, patches, atomic batches.

It checks everything itself and shares no code with the adapter that is tested against it.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

type Item = dict[str, Any]

ITEM_BYTES = 2 * 1024 * 1024
BATCH_OPERATIONS = 100
PATCHES = 10
RID = "facadeRid="


class Refused(Exception):
    """The service answers with an error status."""

    def __init__(self, status: int, message: str, sub_status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.sub_status = sub_status


@dataclass
class _Version:
    item: Item
    number: int
    """Sorts by creation, for queries without an order."""
    expires: float


@dataclass
class Container:
    """Items by the value of `/tenantId` and `id`. `now` is the clock of TTL."""

    indexing_policy: dict[str, Any]
    now: Callable[[], float] = time.time
    partitions: dict[str, dict[str, _Version]] = field(default_factory=dict)
    lag: float = 0.0
    """Seconds by which a write becomes readable after the moment that its `_ts` tells."""
    _numbers: Iterator[int] = field(default_factory=count)

    def copy(self) -> "Container":
        """The same items in a container of their own."""
        return replace(self, partitions={name: {**p} for name, p in self.partitions.items()})

    def read(self, partition: str, id: str) -> Item:
        """Raises Refused 404."""
        return self._found(self._living(partition), id).item

    def items(self, partition: str | None) -> list[Item]:
        """What is alive in one partition, or in all of them, oldest first."""
        names = [*self.partitions] if partition is None else [partition]
        versions = [v for name in names for v in self._living(name).values()]
        return [v.item for v in sorted(versions, key=lambda version: version.number)]

    def execute(self, partition: str, operations: list[Any]) -> list[dict[str, Any]]:
        """All or nothing: one result per operation, as a transactional batch answers. Raises
        Refused 400 for what is no batch."""
        if not 0 < len(operations) <= BATCH_OPERATIONS:
            raise Refused(400, f"a batch of {len(operations)} operations")
        before = self._living(partition)
        after = dict(before)
        results: list[dict[str, Any]] = []
        for operation in operations:
            try:
                results.append(self._apply(partition, after, operation))
            except Refused as refused:
                failed = {"statusCode": refused.status, "requestCharge": 1.0}
                rest = len(operations) - len(results) - 1
                victim = {"statusCode": 424, "requestCharge": 0.0}
                return [victim] * len(results) + [failed] + [victim] * rest
        self.partitions[partition] = after
        return results

    def _living(self, partition: str) -> dict[str, _Version]:
        found = self.partitions.get(partition, {})
        now = self.now()
        return {id: version for id, version in found.items() if version.expires > now}

    def _found(self, versions: dict[str, _Version], id: Any) -> _Version:
        if id not in versions:
            raise Refused(404, f"no item {id}")
        return versions[id]

    def _apply(
        self, partition: str, versions: dict[str, _Version], operation: dict[str, Any]
    ) -> dict[str, Any]:
        kind = operation["operationType"]
        body: Item = operation.get("resourceBody") or {}
        unknown = operation.keys() - {"operationType", "id", "resourceBody", "ifMatch"}
        if unknown:
            raise Refused(400, f"unknown members {unknown}")
        if kind in ("Create", "Upsert"):
            id = _checked(partition, body)["id"]
            if kind == "Create" and id in versions:
                raise Refused(409, f"{id} exists")
            return self._write(versions, body, 200 if id in versions else 201)
        id = operation["id"]
        current = self._found(versions, id)
        if operation.get("ifMatch", current.item["_etag"]) != current.item["_etag"]:
            raise Refused(412, f"{id} changed")
        if kind == "Read":
            return {
                "statusCode": 200,
                "requestCharge": 1.0,
                "eTag": current.item["_etag"],
                "resourceBody": copy.deepcopy(current.item),
            }
        if kind == "Delete":
            del versions[id]
            return {"statusCode": 204, "requestCharge": 5.0}
        if kind == "Patch":
            body = _patched(current.item, body)
        elif kind != "Replace":
            raise Refused(400, f"operation {kind}")
        if _checked(partition, body)["id"] != id:
            raise Refused(400, "the id of an item cannot change")
        return self._write(versions, body, 200)

    def _write(self, versions: dict[str, _Version], body: Item, status: int) -> dict[str, Any]:
        number, now = next(self._numbers), self.now()
        item = copy.deepcopy(body) | {
            "_rid": f"{RID}{number}",
            "_self": f"dbs/x/colls/x/docs/{number}",
            "_etag": f'"00000000-0000-0000-0000-{number:012x}"',
            "_attachments": "attachments/",
            "_ts": int(now - self.lag),
        }
        size = len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
        if size > ITEM_BYTES:
            raise Refused(413, f"an item of {size} bytes")
        ttl = body.get("ttl", -1)
        old = versions.get(item["id"])
        expires = float("inf") if ttl == -1 else now + ttl
        versions[item["id"]] = _Version(item, old.number if old else number, expires)
        return {
            "statusCode": status,
            "requestCharge": 5.0 + size // 1024,
            "eTag": item["_etag"],
            "resourceBody": item,
        }


def _checked(partition: str, body: Any) -> Item:
    """Raises Refused 400 for what is no item of the partition."""
    id = body.get("id") if isinstance(body, dict) else None
    if not isinstance(id, str) or not id or set(id) & set("/\\?#"):
        raise Refused(400, f"id {id!r}")
    if len(id.encode()) > 1023:
        raise Refused(400, "the id is longer than 1,023 bytes")
    if body.get("tenantId") != partition:
        raise Refused(400, "the partition key is not that of the header", 1001)
    ttl = body.get("ttl", -1)
    if not isinstance(ttl, int) or isinstance(ttl, bool) or ttl == 0 or ttl < -1:
        raise Refused(400, f"ttl {ttl!r}")
    return dict(body)


def _patched(item: Item, body: Any) -> Item:
    """https://learn.microsoft.com/azure/cosmos-db/partial-document-update"""
    patches = body["operations"]
    if body.keys() != {"operations"} or not 0 < len(patches) <= PATCHES:
        raise Refused(400, "no patch")
    changed: Item = copy.deepcopy(item)
    for patch in patches:
        keys = [k.replace("~1", "/").replace("~0", "~") for k in patch["path"].split("/")[1:]]
        if not keys or keys[0] in ("id", "tenantId") or keys[0].startswith("_"):
            raise Refused(400, f"path {patch['path']}")
        parent: Any = changed
        for key in keys[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):  # elements of arrays: Muster never patches them
            raise Refused(400, f"no object above {patch['path']}")
        _patch(parent, keys[-1], patch)
    return changed


def _patch(parent: Item, key: str, patch: dict[str, Any]) -> None:
    match patch["op"]:
        case "set":
            parent[key] = copy.deepcopy(patch["value"])
        case "remove" if key in parent:
            del parent[key]
        case "incr":
            old = parent.get(key, 0)
            if isinstance(old, bool) or not isinstance(old, int | float):
                raise Refused(400, f"{patch['path']} is no number")
            parent[key] = old + patch["value"]
        case operation:
            raise Refused(400, f"{operation} {patch['path']}")
