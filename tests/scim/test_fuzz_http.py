"""Whatever arrives over HTTP is answered, on every surface: bytes that are no text, methods that
are none, bodies that are no JSON or too much of it (invariant 7), and nothing of another tenant
changes.

Requests are given to the ASGI applications directly, as no client would let them through.
"""

import json
from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scim.messages import NOBODY, create_group, create_user, operation, patch, user
from tests.scim.test_fuzz import examples
from tests.scim.test_isolation import surfaces
from tests.transports import ADMINISTERED, Muster, Tenant
from web import function
from web.surface import HEADERS, Surface

pytestmark = pytest.mark.parametrize("muster", ["asgi"], indirect=True)

QUESTION = {
    "subject": {"type": "user", "id": "\0\u202e"},
    "action": {"name": "hold"},
    "resource": {"type": "role", "id": "owner"},
}
JSON_BODIES = [
    user("fuzz"),
    patch(operation("add", "title", "x")),
    {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "count": 10**400},
    {"Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": user("bulk")}]},
    {"ids": [NOBODY, "\0", "x" * 200]},
    QUESTION,
    {**QUESTION, "evaluations": [{}, {"subject": 7}, {"resource": {"id": "\ud800"}}, QUESTION]},
    {**QUESTION, "page": {"token": "\0.\0", "limit": 10**400}},
    {**QUESTION, "page": {"limit": 5}},
    {"userName": "\0", "externalId": "\ud800", "active": 10**400, "title": "\u202e"},
]
HOSTILE_BODIES = [
    b"",
    b"\0",
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"userName": 1e999, "x": -' + b"9" * 5_000 + b"}",
    b'{"userName": "\\ud800", "userName": "\\u0000"}',
    b'{"userName": "\xff\xfe"}',
    b'{"userName": NaN, "active": Infinity}',
    json.dumps(user("ada")).encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"\x1f\x8b\x08\x00{}",
    b'{"Operations": [' + b"{}," * 2_000 + b"{}]}",
    b'{"schemas": [' + b'"urn:x",' * 5_000 + b'"urn:x"]}',
]
bodies = st.one_of(
    st.sampled_from([json.dumps(body).encode() for body in JSON_BODIES]),
    st.sampled_from(HOSTILE_BODIES),
    st.binary(max_size=40),
)
methods = st.sampled_from(
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "get",
        "X" * 99,
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b'W/""',
            b"*",
            b"Bearer ",
            b"Bearer \xff",
            b"Basic Og==",
            b"gzip",
            b"9" * 400,
            b"-1",
            b"chunked",
            b"application/xml",
            b"x" * 9_000,
        ]
    ),
)
names = st.sampled_from(
    [
        b"authorization",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"host",
        b"if-match",
        b"if-none-match",
        b"x-request-id",
        b"client-request-id",
        b"x-forwarded-host",
        b"x-http-method-override",
        b"accept",
        b"range",
        b"expect",
    ]
) | st.binary(min_size=1, max_size=8).map(bytes.lower)
queries = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"filter=%ff%00",
            b"filter=" + b"(" * 3_000,
            b"count=" + b"9" * 5_000,
            b"startIndex=-1e999&count=\xff",
            b"attributes=" + b"a," * 4_000,
            b"cursor=%F0%9F%92%A9",
            b"userName=%00&externalId=%00",
            b"userName=" + b"%ED%A0%80",
            b"&" * 2_000,
            b"limit=1&enabled=true&grant=role%3A%00&changedSince=2026-01-01",
            b"limit=1000&ids=" + b"x," * 900,
            b"after=" + b"9" * 3_000,
            b"after=1~1&limit=5",
        ]
    ),
)
pieces = st.one_of(
    st.sampled_from([".", "..", "", "\0", "%2F", "ä", "\u202e", "💩", "x" * 3_000, NOBODY]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A route of any surface, with anything in place of its parameter, or anything at all."""
    template = draw(st.sampled_from(sorted(_TEMPLATES)) | pieces.map("/{}".format))
    named = {"{tenant}": "{whose}"}
    return "/".join(
        draw(pieces | st.just(named.get(p, "{known}"))) if "{" in p else p
        for p in template.split("/")
    )


_TEMPLATES: set[str] = set()


@pytest.fixture
async def victim(muster: Muster) -> Tenant:
    """Another organisation, with somebody in it."""
    tenant = await muster.tenant()
    await create_group(tenant.scim, "Sales", [await create_user(tenant.scim, "ada")])
    return tenant


@pytest.fixture
async def vendor(muster: Muster) -> str:
    """The secret of a credential of the deployment."""
    return str((await muster.vendor()).headers["Authorization"]).removeprefix("Bearer ")


@pytest.fixture
async def operator(muster: Muster) -> str:
    """The secret of an operator's credential."""
    return str((await muster.operator()).headers["Authorization"]).removeprefix("Bearer ")


@pytest.fixture
async def known(muster: Muster, tenant: Tenant) -> str:
    """A user of the tenant; the templates are those of the application."""
    for name, surface in surfaces(muster).items():
        _TEMPLATES.update(f"/scim{path}" if name == "scim" else path for path in surface.routes)
    return await create_user(tenant.scim, "grace")


class Client:
    """Runs one request on a surface, and keeps what it answers."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body[: len(body) // 2], body[len(body) // 2 :]]
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def receive(self) -> dict[str, Any]:
        """The body in two parts."""
        part = self._parts.pop(0) if self._parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """One head, then the body."""
        if message["type"] == "http.response.start":
            assert not self.status, "a second head"
            self.status = message["status"]
            pairs = [(n.decode("ascii"), v.decode("latin-1")) for n, v in message["headers"]]
            self.headers = dict(pairs)
            assert len(pairs) == len(self.headers), "a header twice"
        else:
            self.body += message["body"]


async def answered(surface: Surface, scope: MutableMapping[str, Any], body: bytes) -> Client:
    """The answer, which must be one whatever it says."""
    client = Client(body)
    await surface(scope, client.receive, client.send)
    assert client.status == 501 or 200 <= client.status < 500, client.body
    assert HEADERS.items() <= client.headers.items()
    assert client.headers["x-request-id"]
    if client.body:
        assert int(client.headers["content-length"]) == len(client.body)
        content = json.loads(client.body)
        if client.status >= 400 and surface.name == "oauth":
            assert content["error"]
            assert content["error_description"]
        elif client.status >= 400:
            assert int(content["status"]) == client.status
            assert content["detail"]
    return client


@examples(250)
@given(
    data=st.data(),
    method=methods,
    query=queries,
    more=st.lists(st.tuples(names, values), max_size=4),
    body=bodies,
    proven=st.sampled_from(["scim", "scim", "access", "vendor", "console", "operator", ""]),
)
async def test_whatever_arrives_is_answered(
    muster: Muster,
    tenant: Tenant,
    victim: Tenant,
    vendor: str,
    operator: str,
    known: str,
    data: st.DataObject,
    method: str,
    query: bytes,
    more: list[tuple[bytes, bytes]],
    body: bytes,
    proven: str,
) -> None:
    path = data.draw(paths()).replace("{known}", known).replace("{whose}", tenant.tenant_id)
    headers = [(b"host", b"h"), *more]
    if proven:
        token = {
            "scim": tenant.token,
            "access": tenant.access_token,
            "vendor": vendor,
            "console": tenant.api_token,
            "operator": operator,
        }[proven]
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "http_version": "1.1",
        "headers": headers,
        "server": None,
        "client": None,
    }
    before = await victim.contents(*ADMINISTERED)
    for surface in surfaces(muster).values():
        await answered(surface, dict(scope), body)
    assert await victim.contents(*ADMINISTERED) == before


@examples(100)
@given(
    method=methods,
    url=st.one_of(
        st.text(max_size=30),
        st.text(max_size=20).map("http://h/scim/{}".format),
        st.sampled_from(["http://h/scim/Users/%ED%A0%80", "//", "http://h:x/scim", "\0"]),
    ),
)
async def test_any_url_that_the_host_hands_over_is_one_or_is_refused(
    muster: Muster, method: str, url: str
) -> None:
    """What is no URL is a 400 on every surface."""
    request = SimpleNamespace(method=method, url=url, headers={}, get_body=lambda: b"")
    scope = function.scope_of(request)
    for surface in surfaces(muster).values():
        await answered(surface, dict(scope), b"")
