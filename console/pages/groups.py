"""Groups: the list, one group, and its mapping: edited, previewed, saved."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import HTMLResponse, Response

from administration.catalog import list_catalog
from administration.errors import Overtaken
from administration.mappings import Mappings, refuse_too_many, takes_any
from administration.reading.groups import GroupOverview, list_groups, read_group
from administration.reading.log import Filter, list_entries, read_entry
from administration.reading.members import list_members
from administration.reading.naming import entitlement_names
from administration.reading.previews import preview_cursor, read_preview
from administration.remembered import NotRemembered, RememberedMappings, list_remembered
from console.pages.editing import choice_value, choices, chosen_from, chosen_in
from console.rendering import render
from console.visit import NoSuchPage, Page, Visit
from directory.documents import EntitlementKey
from reconciler.questions.proposal import MappingProposal

GROUPS = 25
HISTORY = 10


async def groups(visit: Visit) -> Response:
    """The list."""
    text = visit.asked.get("q", "").strip()
    page = await list_groups(visit.store, visit.tenant_id, text, visit.asked.get("after"), GROUPS)
    after = visit.asked.get("deleted")
    remembered = await list_remembered(visit.store, visit.tenant_id, after, GROUPS)
    return visit.page("groups.html", page=page, q=text, remembered=remembered)


async def forget(visit: Visit) -> Response:
    """Forget what a deleted group gave."""
    try:
        await visit.changing(RememberedMappings).forget(visit.given("group"))
    except NotRemembered as gone:
        raise NoSuchPage(str(gone)) from None
    return visit.go("/groups", told="mapping-forgotten")


async def group(visit: Visit) -> Response:
    """One group."""
    found = await _read(visit)
    return await _editor(visit, found, found.gives)


async def status(visit: Visit) -> Response:
    """How far the group's changes are applied: the part of its page that reloads itself."""
    found = await _read(visit)
    return HTMLResponse(render("status.html", group=found))


async def preview(visit: Visit) -> Response:
    """Who would gain and lose what, before anything is saved."""
    found = await _read(visit)
    wanted = chosen_in(visit)
    if found.version is not None and {*wanted} == {*found.gives}:
        return await _editor(visit, found, wanted, "This is what the group gives already.")
    await refuse_too_many(visit.store, visit.tenant_id, found.group_id, wanted)
    cursor = visit.given("cursor")
    page = await read_preview(
        visit.store,
        visit.tenant_id,
        MappingProposal({found.group_id: wanted}),
        preview_cursor(cursor),
        wanted=wanted,
        takes=takes_any(found.gives, wanted),
    )
    return visit.page(
        "preview.html",
        group=found,
        wanted=[(page.names[one], one.kind) for one in wanted],
        fields=[
            ("version", visit.given("version")),
            *(("entitlement", choice_value(one)) for one in wanted),
            *(("was", value) for value in visit.all_given("was")),
        ],
        effects=page.effects,
        counts=page.counts,
        cursor=page.cursor.model_dump_json() if page.cursor else None,
        counting=page.counting.model_dump_json() if page.counting else None,
        names=page.names,
        no_owner=page.no_owner,
        kept=page.kept,
    )


async def save(visit: Visit) -> Response:
    """Save the mapping that was previewed; the reconciler applies it."""
    found = await _read(visit)
    version = visit.given("version")
    if version != str(found.version or 0):  # the preview was of another version
        return await _overtaken(visit)
    try:
        await visit.changing(Mappings).edit(
            found.group_id,
            found.gives,
            chosen_in(visit),
            int(version),
            confirmed=visit.given("confirmed") == "yes",
        )
    except Overtaken:
        return await _overtaken(visit)
    return visit.go(f"/groups/{found.group_id}", told="mapping-saved")


async def _overtaken(visit: Visit) -> Response:
    """The editor again, after somebody else saved meanwhile: with the administrator's choice, and
    what the other change was."""
    found = await _read(visit)
    was = chosen_from(visit.all_given("was"))
    now = found.gives
    names = await entitlement_names(visit.store, visit.tenant_id, [*was, *now])
    saved = None
    if found.mapping_event_id:
        saved = await read_entry(visit.store, visit.tenant_id, found.mapping_event_id)
    conflict = {
        "by": saved.event.actor.id if saved else None,
        "at": saved.event.at if saved else None,
        "added": [names[one] for one in sorted({*now} - {*was})],
        "removed": [names[one] for one in sorted({*was} - {*now})],
    }
    return await _editor(visit, found, chosen_in(visit), conflict=conflict)


async def _read(visit: Visit) -> GroupOverview:
    found = await read_group(visit.store, visit.tenant_id, visit.path("id"))
    if found is None:
        raise NoSuchPage(_GONE)
    return found


_GONE = "There is no such group in this organisation. It may have been deleted in Entra ID."


async def _editor(
    visit: Visit,
    found: GroupOverview,
    chosen: Sequence[EntitlementKey],
    error: str = "",
    conflict: Mapping[str, Any] | None = None,
) -> Response:
    members = await list_members(
        visit.store,
        visit.tenant_id,
        found.group_id,
        visit.tenant.policy,
        visit.asked.get("after"),
    )
    catalog = await list_catalog(visit.store, visit.tenant_id)
    history = await list_entries(
        visit.store, visit.tenant_id, Filter(resources=(found.group_id,)), limit=HISTORY
    )
    return visit.page(
        "group.html",
        409 if conflict else 400 if error else 200,
        was=[choice_value(one) for one in found.gives],
        conflict=conflict,
        group=found,
        members=members,
        editor=choices(visit.deployment.kinds, catalog, chosen),
        history=history,
        error=error,
    )


PAGES = (
    Page("/groups", groups),
    Page("/groups/forget", forget, "POST"),
    Page("/groups/{id}", group),
    Page("/groups/{id}/status", status),
    Page("/groups/{id}/preview", preview, "POST"),
    Page("/groups/{id}/mapping", save, "POST"),
)
