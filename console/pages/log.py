"""The provisioning log: filtered, exported, and one entry with its effect."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from administration.reading.log import (
    Filter,
    effects,
    export,
    find_resources,
    list_entries,
    read_entry,
)
from administration.reading.naming import entitlement_names
from administration.reading.refusals import Refused, list_refusals, refusals_as_csv
from console.pages.words import in_words
from console.visit import NoSuchPage, Page, Visit
from directory.access import AccessChange
from web.moments import moment
from web.trouble import malformed

REFUSED = "refused"
"""An option of the filter for the state: requests that were refused, and so have no entry."""
FIELDS = ("resource", "type", "operation", "state", "since", "until")


@dataclass(frozen=True, slots=True)
class Said:
    """One user's change of access in words."""

    change: AccessChange
    name: str | None
    says: str


async def log(visit: Visit) -> Response:
    """The list."""
    filter, error = await _filter(visit)
    if filter.state == REFUSED:
        return visit.page(
            "log.html",
            refused=await _refused(visit, filter),
            chosen=_chosen(visit),
            parameters=_parameters(visit),
            error=error,
        )
    page = await list_entries(visit.store, visit.tenant_id, filter, visit.asked.get("after"))
    return visit.page(
        "log.html", page=page, chosen=_chosen(visit), parameters=_parameters(visit), error=error
    )


async def exported(visit: Visit) -> Response:
    """The filtered log as CSV."""
    filter, error = await _filter(visit)
    if error:
        raise malformed(error)
    if filter.state == REFUSED:
        text = refusals_as_csv(await _refused(visit, filter))
        return visit.download(f"refused-requests-{visit.now:%Y%m%dT%H%M%SZ}.csv", text)
    text = await export(visit.store, visit.tenant_id, filter)
    return visit.download(f"provisioning-log-{visit.now:%Y%m%dT%H%M%SZ}.csv", text)


async def entry(visit: Visit) -> Response:
    """One entry."""
    found = await read_entry(visit.store, visit.tenant_id, visit.path("id"))
    if found is None:
        raise NoSuchPage("There is no such entry. Entries are kept for a limited time.")
    page = await effects(visit.store, visit.tenant_id, found.event)
    mentioned = [
        grant
        for row in page.rows
        for state in (row.change.before, row.change.after)
        if state is not None
        for grant in state.grants
    ]
    names = await entitlement_names(visit.store, visit.tenant_id, mentioned)
    said = [Said(row.change, row.name, in_words(row.change, names)) for row in page.rows]
    body = found.event.model_dump(mode="json", by_alias=True, exclude_none=True)
    return visit.page(
        "entry.html",
        entry=found,
        effects={"rows": said, "next": page.next},
        payload=json.dumps(body, indent=2, ensure_ascii=False),
    )


async def _refused(visit: Visit, filter: Filter) -> list[Refused]:
    """The refused requests that the URL asks for."""
    return await list_refusals(visit.store, visit.tenant_id, filter, _chosen(visit)["resource"])


async def _filter(visit: Visit) -> tuple[Filter, str]:
    """The filter in the URL, and an error message where it is invalid."""
    chosen = _chosen(visit)
    resources = await find_resources(visit.store, visit.tenant_id, chosen["resource"])
    try:
        since, until = (moment(chosen[n]) if chosen[n] else None for n in ("since", "until"))
    except ValueError as error:
        return Filter(), f"{error} All entries are shown."
    return (
        Filter(resources, chosen["type"], chosen["operation"], chosen["state"], since, until),
        "",
    )


def _chosen(visit: Visit) -> dict[str, str]:
    return {field: visit.asked.get(field, "").strip() for field in FIELDS}


def _parameters(visit: Visit) -> str:
    return urlencode({field: value for field, value in _chosen(visit).items() if value})


PAGES = (Page("/log", log), Page("/log.csv", exported), Page("/log/{id}", entry))
