"""Whose a resource is: tenants see nothing of each other, and a group has one connection that
writes it (product section 2, invariant 5)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from typing import Any

import httpx
import pytest

from access import searching
from access.metadata import WELL_KNOWN
from administration.clients import Clients
from administration.connections import Connections
from administration.tokens import Tokens
from operators.call import PATH as OPERATOR
from operators.http import DOCUMENT, OPERATIONS
from tests.scim.messages import (
    ENTERPRISE,
    NOBODY,
    SEARCH_REQUEST,
    add,
    create_group,
    create_user,
    create_users,
    group,
    members,
    operation,
    patch,
    remove,
    user,
)
from tests.transports import ADMINISTERED, Muster, Tenant
from web.operation import Operation
from web.surface import Surface
from wiring import Application


@dataclass(frozen=True)
class Known:
    """What can be known of a tenant's directory: ids, values, versions, cursors, events."""

    user: str
    group: str
    event: str
    name: str
    external_id: str
    etag: str
    cursor: str
    client: str
    token: str
    api_cursor: str
    tenant: str
    position: str

    @classmethod
    async def of(cls, tenant: Tenant) -> "Known":
        """Of a tenant with two users, one of them in a group."""
        ada = await create_user(tenant.scim, "ada", externalId="ext-ada-1")
        await create_user(tenant.scim, "grace")
        sales = await create_group(tenant.scim, "Sales", [ada])
        await tenant.settle()
        page = (await tenant.scim.get("/Users", params={"cursor": "", "count": 1})).json()
        etag = (await tenant.scim.get(f"/Users/{ada}")).headers["ETag"]
        event = (await tenant.events())[0].event_id
        client, _ = await tenant.changing(Clients).add_secret("entra", timedelta(days=1))
        cursor = page["nextCursor"]
        users = (await tenant.api.get("/users", params={"limit": 1})).json()
        return cls(
            user=ada,
            group=sales,
            event=event,
            name="ada@example.com",
            external_id="ext-ada-1",
            etag=etag,
            cursor=cursor,
            client=client,
            token=tenant.access_token.split("_")[3],
            api_cursor=users["nextCursor"],
            tenant=tenant.tenant_id,
            position=(await tenant.access.get("/users")).json()["feedPosition"],
        )


def unknown_like(known: Known) -> Known:
    """The same, of what never existed; every value as long as the other."""
    return Known(
        user=NOBODY,
        group=NOBODY[:-1] + "y",
        event=NOBODY[:-1] + "x",
        name="zoe@example.com",
        external_id="ext-zoe-1",
        etag='W/"' + "0" * (len(known.etag) - 4) + '"',
        cursor="A" * len(known.cursor),
        client=f"muster_client_t-{NOBODY}_00000000",
        token="0" * 8,
        api_cursor="A" * len(known.api_cursor),
        tenant=f"t-{NOBODY}",
        position=re.sub(r"\d(?=[^~]*$)", "0", known.position),
    )


@dataclass(frozen=True)
class Asked:
    """One request, and what its answer must be: `absent` (404 or 401), `nothing` (an empty list),
    or `alike` (whatever it is, that of the unknown)."""

    method: str
    path: str
    expected: str = "alike"
    json: Any = None
    params: dict[str, str] | None = None
    headers: dict[str, str] | None = None
    form: dict[str, str] | None = None


type Case = Callable[[Known, str], Iterator[Asked]]
"""The requests about what is known; the text is the id of a group of the tenant that asks."""


def resource(path: str, id_of: Callable[[Known], str], body: dict[str, Any]) -> dict[str, Case]:
    """GET, PUT, PATCH and DELETE of a resource by its id, with its version and without."""

    def asked(method: str, sent: Any) -> Case:
        def case(known: Known, _: str) -> Iterator[Asked]:
            for headers in (None, {"If-Match": known.etag}, {"If-None-Match": known.etag}):
                at = f"{path}/{id_of(known)}"
                yield Asked(method, at, "absent", sent, headers=headers)
            yield Asked(method, f"{path}/event:{known.event}", "absent", sent)

        return case

    change = patch(operation("replace", "displayName", "x"))
    sent = {"GET": None, "PUT": body, "PATCH": change, "DELETE": None}
    return {method: asked(method, each) for method, each in sent.items()}


def _filters(known: Known) -> list[str]:
    return [
        f'id eq "{known.user}"',
        f'id eq "{known.group}"',
        f'id eq "{known.event}"',
        f'userName eq "{known.name}"',
        f'userName sw "{known.name[:3]}"',
        f'externalId eq "{known.external_id}"',
        f'emails[type eq "work"].value eq "{known.name}"',
        f"meta.version eq {json.dumps(known.etag)}",
        f'groups.value eq "{known.group}"',
        f'groups[value eq "{known.group}"]',
        f'members.value eq "{known.user}"',
        f'members[value eq "{known.user}" and type eq "User"]',
        f'{ENTERPRISE}:manager.value eq "{known.user}"',
    ]


def listed(path: str, method: str = "GET") -> Case:
    """Lists and searches by everything that is known, and pages behind its cursor."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        queries = [{"filter": filter} for filter in _filters(known)]
        queries += [{"cursor": known.cursor}, {"cursor": known.cursor, "count": "1"}]
        for query in queries:
            if method == "GET":
                yield Asked("GET", path, "nothing", params=query)
            else:
                count = {"count": int(query["count"])} if "count" in query else {}
                body = {"schemas": [SEARCH_REQUEST], **query, **count}
                yield Asked("POST", path, "nothing", body)

    return case


def _created_users(known: Known, _: str) -> Iterator[Asked]:
    manager = {ENTERPRISE: {"manager": {"value": known.user}}}
    same = {"userName": known.name, "externalId": known.external_id}
    yield Asked("POST", "/Users", json=user("same", **same, **manager))
    yield Asked("POST", "/Users", json=user("own", id=known.user, groups=[{"value": known.group}]))
    yield Asked("POST", "/Users", json=user("next"), headers={"If-Match": known.etag})


def _created_groups(known: Known, _: str) -> Iterator[Asked]:
    ids = [known.user, known.group, known.event]
    yield Asked("POST", "/Groups", json=group("Sales", ids, externalId=known.external_id))
    yield Asked("POST", "/Groups", json=group("Own", ids, id=known.group))


def _members(known: Known, own: str) -> Iterator[Asked]:
    """A group of one's own, with members that are not."""
    ids = [known.user, known.group]
    yield Asked("PATCH", f"/Groups/{own}", json=add(ids))
    yield Asked("PATCH", f"/Groups/{own}", json=remove(ids))
    where = operation("remove", f'members[value eq "{known.user}"]')
    yield Asked("PATCH", f"/Groups/{own}", json=patch(where))
    yield Asked("PUT", f"/Groups/{own}", json=group("Ours", ids))
    yield Asked("GET", f"/Groups/{own}", params={"attributes": "members"})


def _bulk(known: Known, own: str) -> Iterator[Asked]:
    change = patch(operation("replace", "displayName", "x"))
    operations = [
        {"method": method, "path": f"{path}/{id}", "version": version, "data": data}
        for path, id in (("/Users", known.user), ("/Groups", known.group))
        for version in (known.etag, None)
        for method, data in (("PATCH", change), ("PUT", user("own")), ("DELETE", None))
    ]
    creates = {"method": "POST", "path": "/Groups", "bulkId": "g"}
    operations += [
        {**creates, "data": group("Bulk", [known.user, known.group])},
        {"method": "PATCH", "path": f"/Groups/{own}", "data": add([known.user])},
        {"method": "PATCH", "path": f"/Users/bulkId:{known.user}", "data": change},
    ]
    yield Asked("POST", "/Bulk", json={"Operations": operations})


def fixed(path: str, method: str = "GET") -> Case:
    """What is the same for everybody, whatever is known."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        yield Asked(method, path, json=None if method == "GET" else user("x", id=known.user))
        yield Asked(method, path, params={"id": known.user}, json={} if method != "GET" else None)

    return case


def _named(path: str) -> Case:
    def case(known: Known, _: str) -> Iterator[Asked]:
        for name in (known.user, known.name, known.event):
            yield Asked("GET", f"{path}/{name}", "absent")

    return case


def _access_by_value(known: Known, _: str) -> Iterator[Asked]:
    for name, value in (("userName", known.name), ("externalId", known.external_id)):
        yield Asked("GET", "/access/v1/users", "absent", params={name: value})
    yield Asked("GET", "/access/v1/users", params={"id": known.user})


def _access_lists(known: Known, _: str) -> Iterator[Asked]:
    """Everybody behind another's user; some, by another's ids."""
    path = "/access/v1/users"
    yield Asked("GET", path, params={"cursor": known.user})
    yield Asked("GET", path, params={"ids": f"{known.user},{known.group},{known.event}"})
    for enabled in ("true", "false"):
        yield Asked("GET", path, params={"enabled": enabled, "limit": "1"})


def _access_query(known: Known, _: str) -> Iterator[Asked]:
    yield Asked("POST", "/access/v1/users/query", json={"ids": [known.user, known.group]})


def _access_changes(known: Known, _: str) -> Iterator[Asked]:
    """From another's position on."""
    yield Asked("GET", "/access/v1/changes")
    yield Asked("GET", "/access/v1/changes", params={"after": known.position})


def _access_by_id(known: Known, _: str) -> Iterator[Asked]:
    for id in (known.user, known.group, known.event, f"user:{known.user}"):
        yield Asked("GET", f"/access/v1/users/{id}", "absent")


def _questions(known: Known) -> dict[str, list[dict[str, Any]]]:
    """AuthZEN's requests about all that is known, by path."""
    owner, hold = {"type": "role", "id": "owner"}, {"name": "hold"}
    names = (known.user, known.external_id, known.name, known.event, known.group)
    subjects = [{"type": "user", "id": name} for name in names]
    asked = [{"subject": one, "action": hold, "resource": owner} for one in subjects]
    place = f"{searching._mark(['subject', *owner.values()])}.{known.user}"
    return {
        "/evaluation": asked,
        "/evaluations": [{"evaluations": asked}],
        "/search/resource": [{**one, "resource": {"type": "role"}} for one in asked],
        "/search/action": asked,
        "/search/subject": [{**asked[0], "page": {"token": token}} for token in ("", place)],
    }


def asking(path: str) -> Case:
    """A question about what is another's."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        for question in _questions(known)[path]:
            yield Asked("POST", f"/access/v1{path}", json=question)

    return case


def _discovered(below: str) -> Case:
    """Metadata, which is the same whether or not there is such an organisation."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        yield Asked("GET", WELL_KNOWN + below.format(tenant=known.tenant))

    return case


_TENANTS = "/access/v1/tenants/{tenant}"
_POINTS = ("", "/access/v1", _TENANTS)
_ASKED = (
    "/evaluation",
    "/evaluations",
    "/search/subject",
    "/search/resource",
    "/search/action",
)


def of_the_deployment(below: str, method: str = "GET") -> Case:
    """What only a credential of the deployment may name: no organisation's token opens it, whatever
    the path says; of another's name nothing is told, not even that it exists."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        for named in (known.tenant, f"x{known.tenant}"):
            path = f"/access/v1/tenants/{named}{below.format(user=known.user)}"
            questions = {**_questions(known), "/users/query": [{"ids": [known.user]}]}
            sent = questions[below][0] if method == "POST" else None
            yield Asked(method, path, "absent", sent, params={"userName": known.name})

    return case


def _tokens(known: Known, _: str) -> Iterator[Asked]:
    """A client's id is no secret; whose it is, or that it exists, is told to nobody."""
    form = {"grant_type": "client_credentials", "client_id": known.client}
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    secret = f"muster_secret_{known.client.split('_')[2]}_00000000_{'0' * 64}"
    for shown in (
        {"client_secret": secret},
        {"client_secret": "guess"},
        {"client_assertion_type": kind, "client_assertion": "e30.e30.e30"},
    ):
        yield Asked("POST", "/oauth/token", "absent", form={**form, **shown})


def operated(operation: Operation) -> Case:
    """What only an operator may: no organisation's token opens it, and of another's name nothing
    is told."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        for named in (known.tenant, f"x{known.tenant}"):
            path = operation.path.replace("{tenant}", named)
            path = re.sub(r"\{\w+\}", known.event, path)
            yield Asked(operation.method, path, "absent", {})

    return case


def operating() -> dict[str, dict[str, Case]]:
    """All that operators do, and their interface's document."""
    cases: dict[str, dict[str, Case]] = {DOCUMENT: {"GET": fixed("/openapi.json")}}
    for each in OPERATIONS:
        cases.setdefault(OPERATOR + each.path, {})[each.method] = operated(each)
    return cases


def chained(*cases: Case) -> Case:
    """One after the other."""

    def case(known: Known, own: str) -> Iterator[Asked]:
        for each in cases:
            yield from each(known, own)

    return case


_OWNER = {"kind": "role", "key": "owner"}
_RULES = {
    "strict": False,
    "acceptIncompleteUsers": False,
    "disableWhen": ["noGroup"],
    "costCenterFromAttribute": False,
}
_WORKLOAD = {
    "issuer": "https://login.microsoftonline.com/5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01/v2.0",
    "subject": "s",
    "audience": "a",
}
_CLIENT = "/console/api/clients/{connectionId}"
_PEOPLE = "/console/api/users/{userId}"
_GROUPS = "/console/api/groups/{groupId}"
_REMEMBERED = "/console/api/remembered-mappings/{groupId}"
_DEAD_LETTER = "/console/api/dead-letters/{messageId}"
_FAILED = "/console/api/failed/{eventId}"


def named_in(
    template: str, method: str, body: Any = None, params: dict[str, str] | None = None
) -> Case:
    """An operation of the console's API on what the path names, by every id that is known."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        for id in (known.user, known.group, known.event, known.token, f"user:{known.user}"):
            path = re.sub(r"\{\w+\}", id, template)
            yield Asked(method, path, "absent", body, params)

    return case


def searched(path: str, *names: str) -> Case:
    """A list of the console's API by everything that is known."""

    def case(known: Known, _: str) -> Iterator[Asked]:
        yield Asked("GET", path)
        yield Asked("GET", path, params={"cursor": known.api_cursor, "limit": "1"})
        for name in names:
            for value in (known.user, known.group, known.name, known.external_id):
                yield Asked("GET", path, params={name: value})

    return case


def told_to(path: str, method: str, *bodies: Any) -> Case:
    """What an organisation changes of its own."""

    def case(_: Known, __: str) -> Iterator[Asked]:
        for body in bodies:
            yield Asked(method, path, json=body)

    return case


def _made_by_hand(known: Known, _: str) -> Iterator[Asked]:
    names = {"givenName": "A", "familyName": "B", "workEmail": known.name}
    yield Asked("POST", "/console/api/users", json={"userName": f"x{known.name}", **names})


def _imported(known: Known, _: str) -> Iterator[Asked]:
    entry = {"externalId": known.external_id, "displayName": "Sales"}
    yield Asked("POST", "/console/api/groups/import", json={"groups": [entry]})


def _removed(known: Known, _: str) -> Iterator[Asked]:
    for key in ("visitorsAdministrator", known.external_id):
        yield Asked("DELETE", "/console/api/catalog", params={"kind": "role", "key": key})


def _mapped(known: Known, own: str) -> Iterator[Asked]:
    """A group of one's own, at the place of another's preview."""
    body = {"entitlements": [_OWNER], "cursor": known.api_cursor}
    yield Asked("POST", f"/console/api/groups/{own}/mapping/preview", json=body)


_mapping = {"entitlements": [_OWNER], "version": 0}
API_CASES: dict[str, dict[str, Case]] = {
    "/console/api/openapi.json": {"GET": told_to("/console/api/openapi.json", "GET", None)},
    "/console/api/overview": {"GET": searched("/console/api/overview")},
    "/console/api/provisioning": {
        "PUT": told_to("/console/api/provisioning", "PUT", {"state": "enabled"})
    },
    "/console/api/tokens": {
        "GET": searched("/console/api/tokens"),
        "POST": told_to("/console/api/tokens", "POST", {"kind": "access"}),
    },
    "/console/api/tokens/{tokenId}": {
        "DELETE": named_in("/console/api/tokens/{tokenId}", "DELETE")
    },
    "/console/api/tokens/{tokenId}/rotate": {
        "POST": named_in("/console/api/tokens/{tokenId}/rotate", "POST", {})
    },
    "/console/api/clients": {"GET": searched("/console/api/clients")},
    _CLIENT: {"DELETE": named_in(_CLIENT, "DELETE")},
    f"{_CLIENT}/secrets": {"POST": named_in(f"{_CLIENT}/secrets", "POST", {})},
    f"{_CLIENT}/secrets/{{secretId}}": {
        "DELETE": named_in(f"{_CLIENT}/secrets/{{secretId}}", "DELETE")
    },
    f"{_CLIENT}/federation": {"PUT": named_in(f"{_CLIENT}/federation", "PUT", _WORKLOAD)},
    "/console/api/groups": {"GET": searched("/console/api/groups", "q")},
    "/console/api/groups/import": {"POST": _imported},
    "/console/api/remembered-mappings": {"GET": searched("/console/api/remembered-mappings")},
    _REMEMBERED: {"DELETE": named_in(_REMEMBERED, "DELETE")},
    _GROUPS: {"GET": named_in(_GROUPS, "GET")},
    f"{_GROUPS}/members": {"GET": named_in(f"{_GROUPS}/members", "GET")},
    f"{_GROUPS}/mapping": {
        "GET": named_in(f"{_GROUPS}/mapping", "GET"),
        "PUT": named_in(f"{_GROUPS}/mapping", "PUT", _mapping),
    },
    f"{_GROUPS}/mapping/preview": {
        "POST": chained(
            named_in(f"{_GROUPS}/mapping/preview", "POST", {"entitlements": [_OWNER]}), _mapped
        )
    },
    "/console/api/users": {
        "GET": searched("/console/api/users", "q"),
        "POST": _made_by_hand,
    },
    _PEOPLE: {
        "GET": named_in(_PEOPLE, "GET"),
        "PATCH": named_in(_PEOPLE, "PATCH", {"displayName": "x"}),
        "DELETE": named_in(_PEOPLE, "DELETE"),
    },
    f"{_PEOPLE}/why": {"GET": named_in(f"{_PEOPLE}/why", "GET", params=_OWNER)},
    f"{_PEOPLE}/changes": {"GET": named_in(f"{_PEOPLE}/changes", "GET")},
    f"{_PEOPLE}/past-access": {
        "GET": named_in(f"{_PEOPLE}/past-access", "GET", params={"at": "2026-01-01T00:00:00Z"})
    },
    f"{_PEOPLE}/given-grants": {
        "GET": named_in(f"{_PEOPLE}/given-grants", "GET"),
        "PUT": named_in(f"{_PEOPLE}/given-grants", "PUT", {"grants": [_OWNER]}),
    },
    f"{_PEOPLE}/let-go": {"POST": named_in(f"{_PEOPLE}/let-go", "POST", _OWNER)},
    "/console/api/log": {"GET": searched("/console/api/log", "resource")},
    "/console/api/log.csv": {"GET": searched("/console/api/log.csv", "resource")},
    "/console/api/log/{eventId}": {"GET": named_in("/console/api/log/{eventId}", "GET")},
    "/console/api/checklist": {"GET": searched("/console/api/checklist")},
    "/console/api/refusals": {"GET": searched("/console/api/refusals", "resource")},
    "/console/api/refusals.csv": {"GET": searched("/console/api/refusals.csv", "resource")},
    "/console/api/failed": {"GET": searched("/console/api/failed")},
    "/console/api/failed/replay": {"POST": told_to("/console/api/failed/replay", "POST", {})},
    _FAILED: {"GET": named_in(_FAILED, "GET")},
    f"{_FAILED}/replay": {"POST": named_in(f"{_FAILED}/replay", "POST", {})},
    _DEAD_LETTER: {"DELETE": named_in(_DEAD_LETTER, "DELETE")},
    "/console/api/catalog": {
        "GET": searched("/console/api/catalog"),
        "DELETE": _removed,
    },
    "/console/api/catalog.csv": {"GET": searched("/console/api/catalog.csv")},
    "/console/api/catalog/import": {
        "POST": told_to("/console/api/catalog/import", "POST", {"entitlements": []})
    },
    "/console/api/policy": {
        "GET": searched("/console/api/policy"),
        "PUT": told_to("/console/api/policy", "PUT", {**_RULES, "confirmed": True}),
    },
    "/console/api/policy/preview": {"POST": told_to("/console/api/policy/preview", "POST", _RULES)},
}
_users = resource("/Users", lambda known: known.user, user("ada"))
_groups = resource("/Groups", lambda known: known.group, group("Sales"))
CASES: dict[str, dict[str, dict[str, Case]]] = {
    "scim": {
        "/Users": {"GET": listed("/Users"), "POST": _created_users},
        "/Users/.search": {"POST": listed("/Users/.search", "POST")},
        "/Users/{id}": _users,
        "/Groups": {"GET": listed("/Groups"), "POST": _created_groups},
        "/Groups/.search": {"POST": listed("/Groups/.search", "POST")},
        "/Groups/{id}": {**_groups, "PATCH": chained(_groups["PATCH"], _members)},
        "/": {"GET": listed("/")},
        "/.search": {"POST": listed("/.search", "POST")},
        "/Bulk": {"POST": _bulk},
        "/Me": {each: fixed("/Me", each) for each in ("GET", "POST", "PUT", "PATCH", "DELETE")},
        "/ServiceProviderConfig": {"GET": fixed("/ServiceProviderConfig")},
        "/ResourceTypes": {"GET": fixed("/ResourceTypes")},
        "/ResourceTypes/{name}": {"GET": _named("/ResourceTypes")},
        "/Schemas": {"GET": fixed("/Schemas")},
        "/Schemas/{urn}": {"GET": _named("/Schemas")},
    },
    "access": {
        "/access/v1/openapi.json": {"GET": fixed("/access/v1/openapi.json")},
        "/access/v1/users": {"GET": chained(_access_by_value, _access_lists)},
        "/access/v1/users/query": {"POST": _access_query},
        "/access/v1/changes": {"GET": _access_changes},
        "/access/v1/users/{id}": {"GET": _access_by_id},
        f"{_TENANTS}/users": {"GET": of_the_deployment("/users")},
        f"{_TENANTS}/users/query": {"POST": of_the_deployment("/users/query", "POST")},
        f"{_TENANTS}/users/{{id}}": {"GET": of_the_deployment("/users/{user}")},
        f"{_TENANTS}/changes": {"GET": of_the_deployment("/changes")},
        **{f"/access/v1{path}": {"POST": asking(path)} for path in _ASKED},
        **{f"{_TENANTS}{path}": {"POST": of_the_deployment(path, "POST")} for path in _ASKED},
        **{f"{WELL_KNOWN}{below}": {"GET": _discovered(below)} for below in _POINTS},
    },
    "console-api": API_CASES,
    "operator": operating(),
    "oauth": {"/oauth/token": {"POST": _tokens}},
    "health": {"/health": {each: fixed("/health", each) for each in ("GET", "HEAD")}},
}
"""By surface, route and method. A new route fails the first test until it has its case."""


def surfaces(muster: Muster) -> dict[str, Surface]:
    """Every HTTP surface of the application by name, but the console's pages, which have a walk
    of their own."""
    parts = [name for name, part in vars(Application).items() if isinstance(part, cached_property)]
    found = [getattr(muster.application, name) for name in parts if name[0] != "_"]
    return {e.name: e for e in found if isinstance(e, Surface) and e.name != "console"}


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_every_route_of_every_surface_has_its_case(muster: Muster) -> None:
    routes = {
        name: {path: set(methods) for path, methods in surface.routes.items()}
        for name, surface in surfaces(muster).items()
    }
    cases = {
        name: {path: set(methods) for path, methods in routes.items()}
        for name, routes in CASES.items()
    }
    assert routes == cases


_GENERATED = [
    (re.compile(r"muster_[a-z]+_<own>_[0-9a-f_]+"), "<secret>"),
    (re.compile(r'"(lastUsed|lastRequest)":(null|"[^"]+")'), "<used>"),
    (re.compile(r'"requests":\d+,"errors":\d+'), "<counted>"),
    (
        re.compile(
            r'"key":"(?:usersSought|credential|group|members)","title":"[^"]*",'
            r'"state":"[^"]*","says":"[^"]*","at":(?:null|"[^"]*")'
        ),
        "<seen>",
    ),
    (re.compile(r'"nextCursor":"[^"]+"'), "<cursor>"),
    (re.compile(r'"(feedPosition|position)":"[^"]+"'), "<position>"),
    (re.compile(r'"tokenId":"[0-9a-f]{8}"'), "<token>"),
    (re.compile(r"\b(scim|access|console|token) [0-9a-f]{8}\b"), "<named token>"),
    (re.compile(r"\b[0-9a-zA-Z]{26}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)"), "<time>"),
    (re.compile(r'W/\\?"[^"\\]+\\?"'), "<etag>"),
]


def told(answer: httpx.Response, asking: Tenant, known: Known, unknown: Known) -> tuple[Any, ...]:
    """Status, headers and body, as if it had been asked of the unknown; what the server generated
    for the tenant that asks is only called that."""
    parts = [answer.text, *(f"{n}: {v}" for n, v in answer.headers.items() if n not in _OWN)]
    for n, part in enumerate(parts):
        part = part.replace(asking.tenant_id, "<own>")
        for field in fields(Known):
            part = part.replace(getattr(known, field.name), getattr(unknown, field.name))
            escaped = getattr(known, field.name).replace('"', '\\"')
            part = part.replace(escaped, getattr(unknown, field.name).replace('"', '\\"'))
        if answer.status_code in (200, 201):
            for pattern, name in _GENERATED:
                part = pattern.sub(name, part)
        parts[n] = part
    return (answer.status_code, *parts)


_OWN = {"x-request-id", "date", "etag", "location", "content-length"}
"""The length follows from the body, which is compared; its last uses and counts come beside the
requests."""


AT_FIRST = ("/checklist", "/refusals", "/refusals.csv")


def in_order() -> list[tuple[str, Case]]:
    """All cases with their surface; what finds something comes before what makes something, and
    what was refused and seen before the other cases, which are."""
    cases = [
        (path.endswith(AT_FIRST), path.endswith(".search") or method == "GET", surface, case)
        for surface, routes in CASES.items()
        for path, methods in routes.items()
        for method, case in methods.items()
    ]
    ordered = sorted(cases, key=lambda each: each[:2], reverse=True)
    return [(surface, case) for *_, surface, case in ordered]


async def test_anothers_is_what_never_was(muster: Muster, tenant: Tenant) -> None:
    """Invariant 5, on every route: to the letter the answer of what never existed, and nothing of
    the other tenant changes."""
    known = await Known.of(tenant)
    unknown = unknown_like(known)
    assert (await tenant.scim.patch(f"/Users/{known.user}", json={})).status_code == 400
    before = await tenant.contents(*ADMINISTERED)
    asking = [await muster.tenant(), await muster.tenant()]
    own = [await create_group(each.scim, "Ours") for each in asking]
    for surface, case in in_order():
        for foreign, never in zip(case(known, own[0]), case(unknown, own[1]), strict=True):
            answer = await send(asking[0], surface, foreign)
            expected = await send(asking[1], surface, never)
            assert told(answer, asking[0], known, unknown) == told(
                expected, asking[1], known, unknown
            ), foreign
            if foreign.expected == "absent":
                assert answer.status_code in (401, 404), foreign
            if foreign.expected == "nothing" and answer.status_code == 200:
                assert answer.json()["totalResults"] == 0, foreign
    assert await tenant.contents(*ADMINISTERED) == before
    for each, group_id in zip(asking, own, strict=True):
        assert await members(each.scim, group_id) == []


async def send(tenant: Tenant, surface: str, asked: Asked) -> httpx.Response:
    """Ask as this tenant."""
    if surface == "oauth":
        async with tenant.muster.connect("/oauth", None) as oauth:
            return await oauth.post(asked.path.removeprefix("/oauth"), data=asked.form)
    if surface == "health":
        async with tenant.muster.connect("/health", None) as health:
            return await health.request(asked.method, "", params=asked.params)
    if asked.path.startswith(WELL_KNOWN):
        async with tenant.muster.connect(WELL_KNOWN, None) as strangers:
            return await strangers.get(asked.path.removeprefix(WELL_KNOWN))
    if surface == "operator":
        async with tenant.muster.connect("/operator/v1", tenant.api_token) as api:
            return await api.request(asked.method, asked.path, json=asked.json)
    clients = {"scim": tenant.scim, "access": tenant.access, "console-api": tenant.api}
    client = clients[surface]
    path = asked.path.removeprefix("/access/v1").removeprefix("/console/api")
    return await client.request(
        asked.method, path, json=asked.json, params=asked.params, headers=asked.headers
    )


@pytest.fixture
async def other(muster: Muster) -> Tenant:
    """Another organisation."""
    return await muster.tenant()


async def test_two_tenants_may_use_the_same_values(tenant: Tenant, other: Tenant) -> None:
    """Uniqueness ends at the organisation."""
    for each in (tenant, other):
        await create_user(each.scim, "ada", externalId="A-1")
        await create_group(each.scim, "Sales")
    for each in (tenant, other):
        assert (await each.scim.get("/Users")).json()["totalResults"] == 1
        assert (await each.scim.post("/Users", json=user("ada"))).status_code == 409


async def second_connection(tenant: Tenant) -> httpx.AsyncClient:
    """A client of another Enterprise Application of the same organisation. Call it before the
    tenant's first request: a server remembers tenants for seconds."""
    await tenant.changing(Connections).create("second", "Second application")
    token = await tenant.changing(Tokens).create("scim", connection_id="second")
    return await tenant.muster.scim(token)


GROUP_WRITES: list[tuple[str, dict[str, Any] | None]] = [
    ("PUT", group("Renamed")),
    ("PATCH", patch(operation("replace", "displayName", "Renamed"))),
    ("PATCH", patch(operation("remove", "members"))),
    ("PATCH", patch(operation("replace", "displayName", "Sales"))),
    ("DELETE", None),
]


async def test_a_group_is_written_by_the_connection_that_brought_it(tenant: Tenant) -> None:
    """Product section 2: 403 that names the owner; everybody may read it."""
    second = await second_connection(tenant)
    ada = await create_user(tenant.scim, "ada")
    sales = await create_group(tenant.scim, "Sales", [ada])
    before = await tenant.contents(*ADMINISTERED)
    for method, body in GROUP_WRITES:
        answer = await second.request(method, f"/Groups/{sales}", json=body)
        assert answer.status_code == 403, (method, body)
        assert '"Microsoft Entra ID"' in answer.json()["detail"]
    answer = await second.patch(f"/Groups/{sales}", json=add([ada]), headers={"If-Match": '"x"'})
    assert answer.status_code == 403
    assert await tenant.contents(*ADMINISTERED) == before
    assert (await second.get(f"/Groups/{sales}")).json()["displayName"] == "Sales"
    for method, body in GROUP_WRITES:
        assert (await tenant.scim.request(method, f"/Groups/{sales}", json=body)).is_success


async def test_connections_share_users_and_the_names_of_groups(tenant: Tenant) -> None:
    """A person is one user, whoever provisions; the event names the connection."""
    second = await second_connection(tenant)
    ada = await create_user(tenant.scim, "ada")
    body = patch(operation("replace", "title", "Countess"))
    assert (await second.patch(f"/Users/{ada}", json=body)).status_code == 200
    assert (await second.post("/Users", json=user("ada"))).status_code == 409
    own = await create_group(second, "Own", [ada])
    assert (await tenant.scim.post("/Groups", json=group("OWN"))).status_code == 409
    assert (await tenant.scim.patch(f"/Groups/{own}", json=remove([ada]))).status_code == 403
    assert (await second.patch(f"/Groups/{own}", json=remove([ada]))).status_code == 204
    events = await tenant.events()
    actors = [event.actor.id for event in events if event.actor.type == "connection"]
    assert actors == ["entra", "second", "second", "second"]


async def test_large_changes_by_another_connection_are_refused_before_anything_is_written(
    tenant: Tenant,
) -> None:
    """Product section 9: never a partial write."""
    second = await second_connection(tenant)
    people = await create_users(tenant.scim, 110)
    sales = await create_group(tenant.scim, "Sales", people[:1])
    before = await tenant.contents(*ADMINISTERED)
    assert (await second.patch(f"/Groups/{sales}", json=add(people))).status_code == 403
    assert (await second.put(f"/Groups/{sales}", json=group("Sales", people))).status_code == 403
    assert await tenant.contents(*ADMINISTERED) == before
