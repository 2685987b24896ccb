"""Requests that were refused: for whom, why, what to do, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from administration.files import as_csv
from administration.reading.log import Filter
from administration.reading.naming import group_names, user_names
from directory.reading import every
from directory.refusals import MOST, Refusal
from directory.store import Order, Query, Store
from scim.protocol.scalars import fold

COLUMNS = (
    "last",
    "first",
    "count",
    "connection",
    "operation",
    "about",
    "externalId",
    "userName",
    "displayName",
    "resourceId",
    "status",
    "scimType",
    "detail",
    "requestId",
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """Refusals with the same text, about any user or group: what was wrong, and what to do."""

    says: str
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, and the name of the user or group that it was about: the present name, or else the
    one in the request; None where it had none."""

    refusal: Refusal
    name: str | None


async def list_refusals(
    store: Store, tenant_id: str, filter: Filter, text: str = ""
) -> list[Refused]:
    """The refusals that fit, the last ones first. The text is also searched in the names that
    requests gave users and groups; `filter` has their ids, their kind and the time of the last
    request."""
    wanted = fold(text)
    found = [one for one in await all_refusals(store, tenant_id) if _fits(one, filter, wanted)]
    return await _named(store, tenant_id, found)


async def refusals_about(
    store: Store, tenant_id: str, resource_id: str, external_id: str | None, user_name: str | None
) -> list[Refused]:
    """The refusals about one user, the last ones first."""
    name = fold(user_name or "")
    found = [
        one
        for one in await all_refusals(store, tenant_id)
        if one.resource_type == "User"
        and (
            one.resource_id == resource_id
            or (external_id and one.external_id == external_id)
            or (name and fold(one.user_name or "") == name)
        )
    ]
    return await _named(store, tenant_id, found)


async def remedies(store: Store, tenant_id: str, since: datetime) -> list[Remedy]:
    """What was refused since a time, without names of people: the most frequent first."""
    found: dict[str, Remedy] = {}
    for one in await all_refusals(store, tenant_id):
        if one.last_at >= since:
            last = found.get(one.detail, Remedy(one.detail, 0, one.last_at))
            found[one.detail] = Remedy(one.detail, last.count + one.count, last.last_at)
    return sorted(found.values(), key=lambda each: each.count, reverse=True)


def refusals_as_csv(found: Sequence[Refused]) -> str:
    """The refusals as CSV, a line for each."""
    return as_csv(COLUMNS, [_cells(one) for one in found])


async def all_refusals(store: Store, tenant_id: str) -> list[Refusal]:
    """All refusals that are kept, the last ones first, without names."""
    query = Query("Refusal", order=(Order(("lastAt",), descending=True),), limit=MOST)
    return [Refusal.from_document(one.document) async for one in every(store, tenant_id, query)]


def _fits(one: Refusal, filter: Filter, text: str) -> bool:
    if filter.resource_type and one.resource_type != filter.resource_type:
        return False
    if (filter.since and one.last_at < filter.since) or (
        filter.until and one.last_at >= filter.until
    ):
        return False
    if filter.resources is None or one.resource_id in filter.resources:
        return True
    said = (one.external_id, one.user_name, one.display_name)
    return any(text in fold(each) for each in said if each)


async def _named(store: Store, tenant_id: str, found: Sequence[Refusal]) -> list[Refused]:
    ids = {
        type: [one.resource_id for one in found if one.resource_id and one.resource_type == type]
        for type in ("User", "Group")
    }
    names = await user_names(store, tenant_id, ids["User"])
    names |= await group_names(store, tenant_id, ids["Group"])
    return [
        Refused(
            one,
            names.get(one.resource_id or "")
            or one.display_name
            or one.user_name
            or one.external_id,
        )
        for one in found
    ]


def _cells(one: Refused) -> list[str]:
    refusal = one.refusal
    return [
        refusal.last_at.isoformat(timespec="seconds"),
        refusal.first_at.isoformat(timespec="seconds"),
        str(refusal.count),
        refusal.connection_id,
        refusal.operation,
        one.name or "",
        refusal.external_id or "",
        refusal.user_name or "",
        refusal.display_name or "",
        refusal.resource_id or "",
        str(refusal.status),
        refusal.scim_type or "",
        refusal.detail,
        refusal.request_id,
    ]
