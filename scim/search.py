"""Queries on the server's root: users and groups together (RFC 7644 sections 3.4.2.1 and 3.4.3).

In filters and sorting, an attribute that a resource type lacks counts as one without a value.
Without `sortBy`, users come first, then groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from directory.condition import Path
from directory.reading import read_all, readable
from directory.resources import StoredResource
from directory.store import Document, Query
from scim.exchange import Answer, Request
from scim.protocol.errors import InvalidValue, TooMany
from scim.protocol.projection import Projection
from scim.protocol.representation import list_response
from scim.resources import Resources
from scim.selection import Selection

REACH = 10_000
"""Results that can be read when several resource types are sorted together."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The results of one resource type: the query that reads them from the first, and how many."""

    resources: Resources
    projection: Projection
    query: Query
    total: int


class Root:
    """Searches over all resource types at once."""

    def __init__(self, resources: Sequence[Resources]) -> None:
        self._resources = resources

    async def search(self, request: Request) -> Answer:
        """A page of the resources that a filter selects (RFC 7644 section 3.4.2)."""
        projections = [each.projection(request) for each in self._resources]
        selections = self._selections(request.parameters)
        parts = [
            await _part(request, *each)
            for each in zip(self._resources, projections, selections, strict=True)
        ]
        selection = selections[0]
        offset, missing = selection.start_index - 1, selection.count
        page: list[StoredResource] = []
        for stretch in _stretches([part for part in parts if part.total]):
            page += await _read(request.tenant.tenant_id, stretch, offset, missing - len(page))
            offset = max(0, offset - sum(part.total for part in stretch))
        resources = await _present(request, parts, page)
        total = sum(part.total for part in parts)
        return Answer(200, list_response(resources, total, selection.start_index))

    def _selections(self, parameters: Mapping[str, str]) -> list[Selection]:
        """A selection for each resource type; a type that cannot be sorted by `sortBy` is not
        sorted. Raises InvalidFilter, and InvalidValue, also where no type can be sorted so."""
        if "cursor" in parameters:
            raise InvalidValue(
                "Several resource types together are paged by startIndex and count, not by "
                "cursor. Leave it out, or page /Users and /Groups one by one."
            )
        unsorted = {name: value for name, value in parameters.items() if name != "sortBy"}
        selections: list[Selection] = []
        refusals: list[str] = []
        for each in self._resources:
            try:
                selection = Selection.parse(each.type, parameters, unknown="nothing")
            except InvalidValue as error:
                selection = Selection.parse(each.type, unsorted, unknown="nothing")
                refusals.append(error.detail)
            selections.append(selection)
        if len(refusals) == len(self._resources):
            raise InvalidValue(" ".join(dict.fromkeys(refusals)))
        return selections


async def _part(
    request: Request, resources: Resources, projection: Projection, selection: Selection
) -> _Part:
    tenant_id = request.tenant.tenant_id
    condition = await resources.related(tenant_id, selection)
    query = replace(selection.query(resources.type.name, condition), offset=0)
    total = await resources.service.store.count(tenant_id, resources.type.name, condition)
    return _Part(resources, projection, query, total)


def _stretches(parts: Sequence[_Part]) -> list[list[_Part]]:
    """The parts in the order of the results; parts that are merged form one stretch. Types without
    a value to sort by come last, or first when descending (RFC 7644 section 3.4.2.3)."""
    merged = [part for part in parts if part.query.order]
    stretches = [[part] for part in parts if not part.query.order]
    if not merged:
        return stretches
    return [*stretches, merged] if merged[0].query.order[0].descending else [merged, *stretches]


async def _read(
    tenant_id: str, parts: Sequence[_Part], offset: int, count: int
) -> Sequence[StoredResource]:
    """`count` results of a stretch, after the first `offset`. Raises TooMany."""
    if not count or offset >= sum(part.total for part in parts):
        return ()
    if len(parts) == 1:
        query = replace(parts[0].query, offset=offset, limit=count)
        page = await parts[0].resources.service.store.query(tenant_id, query)
        return [StoredResource.of(one) for one in page.items]
    if offset + count > REACH:
        raise TooMany(
            f"Sorted over several resource types, only the first {REACH:,} results can be read. "
            "Sort /Users and /Groups one by one, or narrow the filter."
        )
    return await _read_merged(tenant_id, parts, offset, count)


async def _read_merged(
    tenant_id: str, parts: Sequence[_Part], offset: int, count: int
) -> list[StoredResource]:
    """Like `_read`, for several sorted parts; equal results are in order of the parts. Reads all
    results before the page, too, but keeps only their ranks."""
    store = parts[0].resources.service.store
    ranked: list[tuple[_Rank, str]] = []
    for part in parts:
        path = part.query.order[0].path
        query = replace(part.query, fields=path[:1], limit=offset + count)
        results = (await store.query(tenant_id, query)).items
        ranked += [(_rank(result.document, path), result.document["id"]) for result in results]
    ranked.sort(key=lambda each: each[0], reverse=parts[0].query.order[0].descending)
    ids = [document_id for _, document_id in ranked[offset : offset + count]]
    found = readable(await read_all(store, tenant_id, ids))
    return [StoredResource.of(found[id]) for id in ids if id in found]


type _Rank = tuple[bool, bool, Any]


def _rank(document: Document, path: Path) -> _Rank:
    """A sort key in the order of a store: no value after any value, texts after numbers."""
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value is None, isinstance(value, str), 0 if value is None else value


async def _present(
    request: Request, parts: Sequence[_Part], page: Sequence[StoredResource]
) -> list[dict[str, Any]]:
    """The resources of a page in the form that this request asks for."""
    shown: dict[str, dict[str, Any]] = {}
    for part in parts:
        items = [stored for stored in page if stored.document["type"] == part.resources.type.name]
        presented = await part.resources.present(request, items, part.projection)
        shown |= {
            stored.document["id"]: one.body for stored, one in zip(items, presented, strict=True)
        }
    return [shown[stored.document["id"]] for stored in page]
