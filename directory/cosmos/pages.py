"""Pages of a Cosmos DB query: continuations, and the orders that no index serves.

The service sorts a page ordered by `id` alone. This module makes any other order, from the sort
keys of everything that the query selects: the service would need a composite index per order (and
charge every write for it), and sorts documents without a value differently from the store port.
Muster's continuations name the last document's place in the order, so they stay valid when
partitions split and in other processes.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from directory.condition import Path
from directory.cosmos.query import sort_key
from directory.store import BadContinuation, Order, Query

type Place = tuple[tuple[Any, ...], str, str]
"""Where a document is in a query's order: its values at the sort paths (None where there is no
scalar), its id, its tenant."""


def place(query: Query, row: Mapping[str, Any]) -> Place:
    """The place of a row of `select_keys`."""
    values = (row.get(sort_key(n)) for n in range(len(query.order)))
    return tuple(map(_scalar, values)), row["id"], row["tenant"]


def in_order(query: Query, places: Iterable[Place]) -> list[Place]:
    """The places of the page behind the query's continuation, and one more. Raises
    BadContinuation."""
    after = resume(query)
    found = list(places) if after is None else [p for p in places if p != after]
    if after is not None:
        found.append(after)
    ordered = _sorted(query.order, found)
    start = query.offset if after is None else ordered.index(after) + 1 + query.offset
    return ordered[start : start + query.limit + 1]


def continuation(query: Query, last: Place) -> str:
    """URL-safe text that names the query's order and the place of a page's last document."""
    return base64.urlsafe_b64encode(orjson.dumps([_order(query), *last])).decode()


def resume(query: Query) -> Place | None:
    """The place that the query's continuation names, None where it has none. Raises
    BadContinuation."""
    if query.continuation is None:
        return None
    try:
        order, values, id, tenant = orjson.loads(base64.urlsafe_b64decode(query.continuation))
        valid = order == _order(query) and isinstance(id, str) and isinstance(tenant, str)
        if valid and len(values) == len(query.order):
            return tuple(map(_scalar, values)), id, tenant
    except (ValueError, TypeError):
        pass
    raise BadContinuation


def _sorted(order: Sequence[Order], places: list[Place]) -> list[Place]:
    """Sorting is stable, so the first key is sorted by last."""
    places = sorted(places, key=lambda place: place[1:])
    for n, by in reversed([*enumerate(order)]):
        places.sort(key=lambda place, n=n: _rank(place[0][n]), reverse=by.descending)  # type: ignore[misc]
    return places


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers and booleans, then strings, then what has no value."""
    if value is None:
        return 2, 0
    return int(isinstance(value, str)), value


def _order(query: Query) -> str:
    paths: tuple[tuple[Path, bool], ...] = tuple((o.path, o.descending) for o in query.order)
    order = repr((query.type, paths))
    return hashlib.sha256(order.encode("utf-8", "surrogatepass")).hexdigest()[:16]
