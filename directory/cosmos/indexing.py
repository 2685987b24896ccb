"""The indexing policy of the container `directory`: one source for Bicep and for the tests.

Cosmos DB charges each write for every indexed path, so only these are indexed. A filter on any
other path gives the right answer, but reads the tenant's documents of that type; an ORDER BY on one
is refused by the service, which is why `directory.cosmos.store` sorts by such paths itself.
"""

import json
import sys
from typing import Any

from directory.condition import Path
from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES

PARTITION_KEY = ("tenantId",)
PAGE_ORDER: tuple[Path, ...] = (("type",), ("id",))
"""The order of a page: ORDER BY on two paths needs a composite index of both, which also answers
`type = … AND id > …`."""

FEED_ORDER: tuple[Path, ...] = (("type",), ("_ts",), ("version",), ("id",))
"""The order of the feed (`directory.cosmos.feed`)."""


def indexing_policy() -> dict[str, Any]:
    """As JSON for the container's `indexingPolicy`
    (https://learn.microsoft.com/azure/cosmos-db/index-policy)."""
    scalars = [path for paths in SCALAR_INDEXES.values() for path in paths]
    elements = [
        (*array, "[]", *inner) for pairs in ELEMENT_INDEXES.values() for array, inner in pairs
    ]
    included = sorted({PARTITION_KEY, ("type",), *scalars, *elements})
    return {
        "indexingMode": "consistent",
        "automatic": True,
        "includedPaths": [{"path": f"{_pointer(path)}/?"} for path in included],
        "excludedPaths": [{"path": "/*"}, {"path": '/"_etag"/?'}],
        "compositeIndexes": [
            [{"path": _pointer(path), "order": "ascending"} for path in order]
            for order in (PAGE_ORDER, FEED_ORDER)
        ],
    }


def _pointer(path: Path) -> str:
    return "".join(f"/{key}" if key.isidentifier() or key == "[]" else f'/"{key}"' for key in path)


if __name__ == "__main__":  # for the file that Bicep loads
    sys.stdout.write(json.dumps(indexing_policy(), indent=2) + "\n")
