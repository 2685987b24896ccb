"""The operations of the access API, from which routes and OpenAPI document are made."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from access.call import OF_TENANT, PATH, Call
from access.deciding import evaluation, evaluations
from access.models import (
    ChangesAnswer,
    ChangesQuery,
    Everybody,
    UserAccess,
    UsersAnswer,
    UsersBody,
    UsersQuery,
)
from access.questions import (
    ActionSearch,
    ActionsFound,
    Decision,
    EntitlementsFound,
    Evaluation,
    Evaluations,
    EvaluationsAnswer,
    ResourceSearch,
    SubjectSearch,
    UsersFound,
)
from access.reading import MOST, Wanted
from access.searching import search_action, search_resource, search_subject
from access.subjects import Unique
from directory.documents import EntitlementKey
from web.openapi import Interface
from web.operation import Body, Handler, Operation
from web.trouble import Trouble, malformed


async def users(call: Call[UsersQuery, None]) -> dict[str, Any]:
    """What everybody may do, page by page; or one user, or some. The first page names the position
    of the feed at which the list began: the list, and the changes after that position, are all
    there is."""
    query = call.query
    chosen = [query.user_name, query.external_id, query.ids, query.cursor]
    if sum(each is not None for each in chosen) > 1:
        raise malformed(
            "One at a time: userName or externalId (one user), ids (some), cursor (the next page)."
        )
    if query.user_name is not None:
        return await _by_unique(call, "userName", query.user_name)
    if query.external_id is not None:
        return await _by_unique(call, "externalId", query.external_id)
    if query.ids is not None:
        return await _several(call, query.ids.split(","))
    position = None if query.cursor else await call.feed.position(call.known_tenant.tenant_id)
    kind, _, key = (query.grant or "").partition(":")
    grant = EntitlementKey(kind, key) if query.grant else None
    wanted = Wanted(query.enabled, grant, query.changed_since)
    shown, last = await call.reader.everybody(call.known_tenant, query.cursor, query.limit, wanted)
    answer: dict[str, Any] = {"users": shown}
    if last is not None:
        answer["nextCursor"] = last
    if position is not None:
        answer["feedPosition"] = position
    return answer


async def query_users(call: Call[Any, UsersBody]) -> dict[str, Any]:
    """What some users may do, up to 1,000 at once, in the order in which they are asked for."""
    return await _several(call, call.body.ids)


async def user(call: Call[Any, None]) -> dict[str, Any]:
    """What one user may do, and where each grant comes from."""
    return _found(await call.reader.of_user(call.known_tenant, call.path["id"]))


async def changes(call: Call[ChangesQuery, None]) -> dict[str, Any]:
    """Every change of access after a position, in order, as long as changes are kept. A change may
    come twice, with the same id; none is missed. With a credential of the deployment and without a
    tenant in the path: those of every organisation."""
    query = call.query
    tenant_id = call.tenant.tenant_id if call.tenant else None
    found = await call.feed.read(tenant_id, query.after, query.limit, query.wait)
    return {"changes": found.changes, "position": found.position, "more": found.more}


async def _by_unique(call: Call[Any, Any], attribute: Unique, value: str) -> dict[str, Any]:
    return _found(await call.reader.by_unique(call.known_tenant, attribute, value))


async def _several(call: Call[Any, Any], ids: Any) -> dict[str, Any]:
    if len(ids) > MOST:
        raise malformed(f"{len(ids)} ids; at most {MOST:,} can be asked for at once.")
    shown, missing = await call.reader.several(call.known_tenant, ids)
    return {"users": shown, "missing": missing}


def _found(access: dict[str, Any] | None) -> dict[str, Any]:
    if access is None:
        raise Trouble(404, "There is no such user in this organisation.")
    return access


def _authzen(path: str, handler: Handler, body: type[Body], answer: type[BaseModel]) -> Operation:
    """An operation of AuthZEN, whose test scenario requires a 400 for a body that is not JSON."""
    return Operation("POST", path, handler, answer, body=body, other_media_type=400)


_OPERATIONS = (
    Operation("GET", "/users", users, UsersAnswer, query=UsersQuery, cached=True, refusals=(404,)),
    Operation("POST", "/users/query", query_users, Everybody, body=UsersBody),
    Operation("GET", "/users/{id}", user, UserAccess, cached=True),
    Operation("GET", "/changes", changes, ChangesAnswer, query=ChangesQuery, refusals=(410,)),
    _authzen("/evaluation", evaluation, Evaluation, Decision),
    _authzen("/evaluations", evaluations, Evaluations, EvaluationsAnswer),
    _authzen("/search/subject", search_subject, SubjectSearch, UsersFound),
    _authzen("/search/resource", search_resource, ResourceSearch, EntitlementsFound),
    _authzen("/search/action", search_action, ActionSearch, ActionsFound),
)
OPERATIONS: tuple[Operation, ...] = (
    *_OPERATIONS,
    *(replace(each, path=OF_TENANT + each.path, suffix="OfTenant") for each in _OPERATIONS),
)
INTERFACE = Interface(
    "Muster, the access API",
    "What users may do, and every change of it, for the application; decisions and searches as "
    "OpenID AuthZEN 1.0 has them. Errors are problem details.",
    PATH,
    "A token of kind `access`, of one organisation. Below `/tenants/{tenant}`, and for the changes "
    "of every organisation, a credential of the deployment: its secret, or a token of Entra ID "
    "with the app role Access.Read.All.",
    OPERATIONS,
)
