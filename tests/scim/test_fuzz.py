"""Whatever a client sends gets a SCIM answer, and what is refused changes nothing (invariant 7).

Only in this process: the other transport adds nothing but time. Every answer is held against
`tests.recorded.protocol` by the client itself: no 5xx, a SCIM error body, `status` as a string.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scim.messages import (
    ENTERPRISE,
    GROUP,
    NOBODY,
    USER,
    Body,
    create_group,
    create_user,
    group,
    operation,
    patch,
    user,
)
from tests.transports import Tenant

pytestmark = pytest.mark.parametrize("muster", ["asgi"], indirect=True)


def examples(count: int) -> settings:
    """So many examples against one tenant, whose contents grow with what is accepted."""
    return settings(
        max_examples=count,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


NAMES = [
    "schemas",
    "id",
    "externalId",
    "userName",
    "name",
    "givenName",
    "emails",
    "value",
    "type",
    "primary",
    "display",
    "$ref",
    "active",
    "password",
    "x509Certificates",
    "groups",
    "meta",
    "created",
    "manager",
    "displayName",
    "members",
    "roles",
    USER,
    GROUP,
    ENTERPRISE,
    f"{ENTERPRISE}:department",
    "name.givenName",
    "Operations",
    "op",
    "path",
]
texts = st.one_of(
    st.sampled_from(
        [*NAMES, "", "ada@example.com", "True", "2026-01-31T08:00:00Z", "\0", "\ud800", NOBODY]
    ),
    st.text(max_size=12),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=12,
)

KNOWN = [
    "id",
    "externalId",
    "userName",
    "displayName",
    "active",
    "name.givenName",
    "emails",
    "emails.value",
    "meta.created",
    "members",
    "members.value",
    "groups.value",
    "manager",
    f"{ENTERPRISE}:department",
    f"{USER}:roles.primary",
]
urns = st.sampled_from(["", "", "", f"{USER}:", f"{ENTERPRISE}:", f"{GROUP}:", "urn:x:", ":"])
attributes = st.sampled_from(KNOWN) | st.builds(
    "{}{}{}".format,
    urns,
    st.sampled_from(NAMES) | st.text(max_size=6),
    st.sampled_from(["", "", ".value", ".givenName", ".", ".x.y", "[0]"]),
)
operators = st.sampled_from(
    ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "EQ", "pr", "is", ""]
)
literals = st.one_of(
    texts.map(json.dumps),
    scalars.map(json.dumps),
    st.text(max_size=8),
    st.sampled_from(["True", '"x', "'x'", "1e999"]),
)
comparisons = st.builds("{} {} {}".format, attributes, operators, literals)
filters = st.recursive(
    comparisons | attributes.map("{} pr".format) | st.text(max_size=20),
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        inner.map("({})".format),
        inner.map("not ({})".format),
        st.builds("{}[{}]".format, attributes, inner),
        st.builds('{}[{}].value eq "x"'.format, attributes, inner),
    ),
    max_leaves=6,
)
paths = st.one_of(
    attributes,
    st.builds("{}[{}]".format, attributes, filters),
    st.builds("{}[{}].{}".format, attributes, filters, st.sampled_from(NAMES)),
    st.text(max_size=12),
)
operations = st.builds(
    lambda op, path, value: {
        name: part for name, part in (("op", op), ("path", path), ("value", value)) if part != "-"
    },
    st.sampled_from(["add", "replace", "remove", "Add", "REMOVE", "-", ""]),
    paths | st.just("-"),
    anything | st.just("-"),
)
patches = st.lists(operations, max_size=4).map(lambda found: patch(*found)) | anything
FULL = user(
    "ada",
    schemas=[USER, ENTERPRISE],
    externalId="A-1",
    roles=[{"value": "Admin", "primary": True}],
    addresses=[{"type": "work", "locality": "London"}],
    x509Certificates=[{"value": "QQ=="}],
    **{ENTERPRISE: {"department": "Engines", "manager": {"value": NOBODY}}},
)
SALES = group("Sales", [NOBODY], externalId="S-1")
CHANGE = patch(
    operation("replace", 'emails[type eq "work"].value', "x@example.com"),
    operation("add", None, {"name.givenName": "A", f"{ENTERPRISE}:department": "B"}),
)
MEMBERS = patch(
    operation("add", "members", [{"value": NOBODY}]),
    operation("remove", f'members[value eq "{NOBODY}"]'),
    operation("replace", "displayName", "Sold"),
)


@st.composite
def mutated(draw: st.DrawFn, valid: Body) -> Any:
    """A valid body in which some parts are replaced, renamed, doubled or gone."""
    body = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(body))
        if not places:
            break
        part, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "remove", "rename", "double"]))
        if what == "replace":
            part[key] = draw(anything)
        elif what == "double":
            part[key] = [part[key], part[key]]
        elif what == "rename" and isinstance(part, dict):
            part[draw(texts)] = part.pop(key)
        else:
            del part[key]
    return body


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or array in a body, with every key or index of it."""
    keys = part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield part, key
        yield from _places(part[key])


segments = st.one_of(
    st.text(max_size=8).map(lambda text: quote(text, safe="")),
    st.sampled_from(
        ["%2F", "..%2F", "%00", "%ff", "%25", "%E2%80%AE", NOBODY, ".search", "..", "%2e%2e", ";"]
    ),
)
parameters = st.dictionaries(
    st.sampled_from(
        [
            "filter",
            "sortBy",
            "sortOrder",
            "startIndex",
            "count",
            "attributes",
            "excludedAttributes",
            "cursor",
        ]
    ),
    st.one_of(filters, attributes, st.integers().map(str), st.text(max_size=12)),
    max_size=4,
)


@pytest.fixture
async def known(tenant: Tenant) -> dict[str, str]:
    """The paths of a user and of a group."""
    ada = (await tenant.scim.post("/Users", json=FULL)).json()["id"]
    sales = await create_group(
        tenant.scim, "Admins", [ada, await create_user(tenant.scim, "grace")]
    )
    return {"user": f"/Users/{ada}", "group": f"/Groups/{sales}"}


def content(body: Any) -> bytes:
    """The body, in which half of a surrogate pair is an escape."""
    return json.dumps(body).encode()


async def write(tenant: Tenant, method: str, path: str, body: Any) -> httpx.Response:
    """Send a write and check what it left behind."""
    before = await tenant.contents()
    answer = await tenant.scim.request(method, path, content=content(body))
    after = await tenant.contents()
    if not answer.is_success:
        assert after == before, answer.text
        return answer
    events = {id for id in after.keys() - before.keys() if id.startswith("event:")}
    assert len(events) == 1
    id = answer.json()["id"] if answer.status_code == 201 else path.rpartition("/")[2]
    changed = {id for id, etag in after.items() if before.get(id) != etag} | before.keys() - after
    for each in changed - events:
        assert each.startswith("key:") or id in each.split(":"), (id, each)
    return answer


WRITES = {
    ("POST", "/Users"): FULL,
    ("PUT", "{user}"): FULL,
    ("PATCH", "{user}"): CHANGE,
    ("POST", "/Groups"): SALES,
    ("PUT", "{group}"): SALES,
    ("PATCH", "{group}"): MEMBERS,
}
writes = st.sampled_from(list(WRITES)).flatmap(
    lambda write: st.tuples(st.just(write), mutated(WRITES[write]) | anything)
)


@examples(250)
@given(writes)
async def test_any_body(
    tenant: Tenant, known: dict[str, str], written: tuple[tuple[str, str], Any]
) -> None:
    """RFC 7644 sections 3.3 to 3.5: accepted whole with one event, or refused and nothing."""
    (method, path), body = written
    await write(tenant, method, path.format(**known), body)


@examples(200)
@given(st.sampled_from(["user", "group"]), patches)
async def test_any_patch(tenant: Tenant, known: dict[str, str], kind: str, body: Any) -> None:
    """RFC 7644 section 3.5.2, and what is shown afterwards is taken back as it is."""
    answer = await write(tenant, "PATCH", known[kind], body)
    if answer.is_success:
        shown = (await tenant.scim.get(known[kind])).json()
        again = await tenant.scim.put(known[kind], json=shown)
        assert again.status_code == 200, (shown, again.text)
        assert again.json() == shown


@examples(200)
@given(st.sampled_from(["/Users", "/Groups"]), parameters)
async def test_any_query(
    tenant: Tenant, known: dict[str, str], path: str, query: dict[str, str]
) -> None:
    """RFC 7644 section 3.4.2: an answer or a 400, and the same in a URL and in a body."""
    answer = await tenant.scim.get(path, params=query)
    assert answer.status_code in (200, 400)
    texts = {"filter", "sortBy", "sortOrder", "cursor"}
    search: dict[str, Any] = {name: value for name, value in query.items() if name in texts}
    for name in query.keys() & {"attributes", "excludedAttributes"}:
        search[name] = query[name].split(",")
    if query.keys() == search.keys():
        searched = await tenant.scim.post(f"{path}/.search", content=content(search))
        assert searched.status_code == answer.status_code
        assert searched.json() == answer.json()


@examples(200)
@given(st.sampled_from(["/Users", "/Groups"]), filters)
async def test_any_filter_or_its_opposite_holds(
    tenant: Tenant, known: dict[str, str], path: str, filter: str
) -> None:
    """RFC 7644 section 3.4.2.2: `not` turns every answer around."""
    found = await tenant.scim.get(path, params={"filter": filter, "attributes": "id"})
    if found.status_code == 400:
        assert found.json()["scimType"] in ("invalidFilter", "invalidValue")
        return
    others = await tenant.scim.get(path, params={"filter": f"not ({filter})", "attributes": "id"})
    everybody = await tenant.scim.get(path, params={"attributes": "id"})
    if others.status_code == 200:
        total = found.json()["totalResults"] + others.json()["totalResults"]
        assert total == everybody.json()["totalResults"]


@examples(150)
@given(
    st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "POST"]),
    st.sampled_from(["/Users", "/Groups", "/Schemas", "/ResourceTypes", "/Bulk", ""]),
    st.lists(segments, min_size=1, max_size=3),
)
async def test_any_path(
    tenant: Tenant, known: dict[str, str], method: str, root: str, rest: list[str]
) -> None:
    """RFC 7644 section 3.2: nothing is written through a path that leads nowhere."""
    before = await tenant.contents()
    url = httpx.URL(str(tenant.scim.base_url).rstrip("/") + root + "/" + "/".join(rest))
    body = None if method in ("GET", "DELETE") else patch(operation("add", "displayName", "x"))
    answer = await tenant.scim.request(method, url, json=body)
    if not answer.is_success:
        assert answer.status_code in (400, 404, 405)
    assert await tenant.contents() == before


headers = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)


@examples(100)
@given(
    st.sampled_from(["If-Match", "If-None-Match", "Authorization", "X-Request-Id", "Content-Type"]),
    headers,
)
async def test_any_header(tenant: Tenant, known: dict[str, str], name: str, value: str) -> None:
    """RFC 9110: no header is a fault of the server."""
    before = await tenant.contents()
    read = await tenant.scim.get(known["user"], headers={name: value})
    assert read.status_code in (200, 304, 401)
    assert await tenant.contents() == before
    change = patch(operation("add", "title", value or "x"))
    written = await tenant.scim.patch(known["user"], json=change, headers={name: value})
    assert written.status_code in (200, 401, 412)
    assert written.is_success or await tenant.contents() == before
