"""Searching for who may hold what (AuthZEN's search for subjects, resources and actions)."""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from access.call import Call
from access.deciding import Holder, decide, holders
from access.questions import (
    ACTION,
    MOST_RESULTS,
    RESULTS,
    SUBJECT,
    Action,
    ActionSearch,
    Evaluation,
    PageWanted,
    ResourceSearch,
    SubjectSearch,
)
from access.reading import Wanted
from directory.documents import is_resource_id
from directory.store import Unreadable
from web.trouble import Trouble, malformed

LOOKED_AT = 250
"""The least number of users that a page of a search looks at."""


async def search_subject(call: Call[Any, SubjectSearch]) -> dict[str, Any]:
    """Who holds an entitlement at this moment, page by page, in the order in which users were made.
    A page examines `limit` users, but 250 at least: it may hold fewer results, even none, and the
    search goes on as long as there is a `next_token`."""
    body = call.body
    if body.subject.type != SUBJECT or body.action.name != ACTION:
        return _page([])
    entitlement = body.resource.entitlement
    question, limit = ["subject", *entitlement], _limit(body.page)
    after = _last(body.page, question)
    if after is not None and not is_resource_id(after):
        raise _wrong_token()
    looked_at, wanted = max(limit, LOOKED_AT), Wanted(grant=entitlement)
    found, last = await call.reader.page(call.known_tenant, after, looked_at, wanted)
    if len(found) > limit:
        found = found[:limit]
        last = found[-1].user.id
    results = [
        {
            "type": SUBJECT,
            "id": one.user.id,
            "properties": {"userName": one.user.user_name, "externalId": one.user.external_id},
        }
        for one in found
    ]
    return _page(results, question, last)


async def search_resource(call: Call[Any, ResourceSearch]) -> dict[str, Any]:
    """What a user holds of a kind at this moment, page by page, in the order of the keys."""
    body = call.body
    holder = await _holder(call)
    if holder is None or body.action.name != ACTION:
        return _page([])
    kind, limit = body.resource.type, _limit(body.page)
    question = ["resource", kind, *body.subject.named]
    after = _last(body.page, question)
    keys = sorted(held.key for held in holder.grants if held.kind == kind)
    left = [key for key in keys if after is None or key > after]
    last = left[limit - 1] if len(left) > limit else None
    return _page([{"type": kind, "id": key} for key in left[:limit]], question, last)


async def search_action(call: Call[Any, ActionSearch]) -> dict[str, Any]:
    """What a user may do with an entitlement at this moment: hold it, or nothing."""
    body, hold = call.body, Action(name=ACTION)
    question = Evaluation(subject=body.subject, action=hold, resource=body.resource)
    held = decide(question, await _holder(call))["decision"]
    return _page([{"name": ACTION}] if held else [])


async def _holder(call: Call[Any, Any]) -> Holder | None:
    """The user that a search is about; None for an unknown user. Raises Unreadable."""
    found = (await holders(call, [call.body])).get(call.body.subject.named)
    if isinstance(found, Unreadable):
        raise found
    return found


def _page(
    results: Sequence[Any], question: Sequence[Any] = (), last: str | None = None
) -> dict[str, Any]:
    token = "" if last is None else f"{_mark(question)}.{last}"
    return {"page": {"next_token": token, "count": len(results)}, "results": results}


def _last(page: PageWanted | None, question: Sequence[Any]) -> str | None:
    """The last user or key of the page before. Raises Trouble for the token of another question."""
    if page is None or not page.token:
        return None
    mark, _, last = page.token.partition(".")
    if mark != _mark(question):
        raise _wrong_token()
    return last


def _wrong_token() -> Trouble:
    return malformed(
        "page.token does not belong to this search. Send the next_token of the page before, and "
        "leave everything else as it was; or begin without a token."
    )


def _limit(page: PageWanted | None) -> int:
    return min((page and page.limit) or RESULTS, MOST_RESULTS)


def _mark(question: Sequence[Any]) -> str:
    """Distinguishes the tokens of a question from those of others. They are not signed, because
    they give access to nothing."""
    return hashlib.sha256(orjson.dumps(question)).hexdigest()[:12]
