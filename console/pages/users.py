"""Users: the list, and one user with all about the access, now and in the past."""

import json
from datetime import timedelta

from starlette.responses import Response

from administration.catalog import list_catalog
from administration.reading.log import Filter, list_entries
from administration.reading.naming import entitlement_names, group_names
from administration.reading.refusals import refusals_about
from administration.reading.users import UserDetail, held, list_users, read_user
from console.pages.editing import choice_value, chosen_from
from console.pages.words import in_words
from console.visit import NoSuchPage, Page, Visit
from directory.documents import EntitlementKey
from directory.reasons import REASON_TEXTS
from reconciler.questions.history import access_at, timeline
from reconciler.questions.why import why
from web.moments import moment
from web.trouble import malformed

HISTORY = 10


async def users(visit: Visit) -> Response:
    """The list."""
    text = visit.asked.get("q", "").strip()
    page = await list_users(
        visit.store, visit.tenant_id, visit.tenant.policy, text, visit.asked.get("after")
    )
    return visit.page("users.html", page=page, q=text)


async def user(visit: Visit) -> Response:
    """One user."""
    found = await user_of(visit)
    changes = await timeline(
        visit.store, visit.tenant_id, found.id, visit.asked.get("after"), HISTORY
    )
    names = await entitlement_names(
        visit.store, visit.tenant_id, [one for c in changes.changes for one in (*c.gained, *c.lost)]
    )
    history = await list_entries(
        visit.store, visit.tenant_id, Filter(resources=(found.id,)), limit=HISTORY
    )
    refused = await refusals_about(
        visit.store, visit.tenant_id, found.id, found.external_id, found.user_name
    )
    catalog = await list_catalog(visit.store, visit.tenant_id)
    return visit.page(
        "user.html",
        refused=refused,
        user=found,
        advice={reason: REASON_TEXTS[reason].remedy for reason in REASON_TEXTS},
        choice=lambda one: choice_value(EntitlementKey(one.kind, one.key)),
        catalog=catalog,
        timeline=[(c, in_words(c.change, names)) for c in changes.changes],
        older=changes.continuation,
        history=history,
        today=f"{visit.now:%Y-%m-%dT%H:%M}",
        attributes=json.dumps(found.resource, indent=2, ensure_ascii=False),
    )


async def reasons(visit: Visit) -> Response:
    """Why the user holds an entitlement, or what is missing."""
    found = await user_of(visit)
    chosen = chosen_from([visit.asked.get("entitlement", "")])
    answer = await why(visit.store, visit.tenant_id, found.id, chosen[0])
    if answer is None:
        raise NoSuchPage(_GONE)
    paths = [group for chain in answer.chains for group in chain.source.path]
    names = await group_names(visit.store, visit.tenant_id, paths)
    return visit.page("why.html", user=found, why=answer, names=names)


async def past(visit: Visit) -> Response:
    """What the access was at a moment."""
    found = await user_of(visit)
    try:
        at = min(moment(visit.asked.get("at", "")), visit.now)
    except ValueError as error:
        raise malformed(str(error)) from None
    oldest = visit.now - timedelta(seconds=visit.service.retention)
    answer = await access_at(visit.store, visit.tenant_id, found.id, at, oldest)
    grants = answer.state.grants if answer.state else ()
    paths = [group for grant in grants for source in grant.sources for group in source.path]
    names = await group_names(visit.store, visit.tenant_id, paths)
    shown = await held(visit.store, visit.tenant_id, grants, names)
    return visit.page("past.html", user=found, at=at, past=answer, grants=shown)


async def user_of(visit: Visit) -> UserDetail:
    """The user whom the path names."""
    found = await read_user(visit.store, visit.tenant_id, visit.tenant.policy, visit.path("id"))
    if found is None:
        raise NoSuchPage(_GONE)
    return found


_GONE = "There is no such user in this organisation. Entra ID may have deleted it."

PAGES = (
    Page("/users", users),
    Page("/users/{id}", user),
    Page("/users/{id}/why", reasons),
    Page("/users/{id}/past", past),
)
