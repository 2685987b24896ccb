"""Routes, methods, bodies and ids that lead nowhere: RFC 7644 sections 3.1, 3.2 and 3.12."""

from collections.abc import AsyncIterator

import httpx
import pytest

from scim.exchange import BODY_BYTES
from tests.scim.messages import (
    GROUP,
    NOBODY,
    SEARCH_REQUEST,
    add,
    create_group,
    create_user,
    group,
    operation,
    patch,
    user,
)
from tests.transports import Tenant

both = pytest.mark.parametrize("kind", ["User", "Group"])
functions_only = pytest.mark.parametrize("muster", ["functions"], indirect=True)

REPLACE_NAME = patch(operation("replace", "displayName", "x"))


@pytest.mark.parametrize(
    "id",
    [
        NOBODY,
        NOBODY.upper(),
        "42",
        "00000000-0000-0000-0000-000000000000",
        "..%2F..%2Ftenant",
        "user:1",
        "a%2Fb",
        "%00",
        "%E2%80%AE",
        "%F0%9F%92%A9",
        "'%20OR%201=1--",
        "x" * 2000,
    ],
)
async def test_an_unknown_id_is_a_404_for_every_method(tenant: Tenant, id: str) -> None:
    """RFC 7644 section 3.12; Entra ID forgets the link, matches again and creates."""
    before = await tenant.contents()
    for path, body in ((f"/Users/{id}", user("ada")), (f"/Groups/{id}", group("Sales"))):
        for method, sent in (
            ("PUT", body),
            ("PATCH", REPLACE_NAME),
            ("GET", None),
            ("DELETE", None),
        ):
            answer = await tenant.scim.request(method, path, json=sent)
            assert answer.status_code == 404, method
    assert await tenant.contents() == before


async def test_an_id_is_found_below_its_own_type_only(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.2."""
    ada, sales = await create_user(scim, "ada"), await create_group(scim, "Sales")
    assert (await scim.get(f"/Users/{sales}")).status_code == 404
    assert (await scim.get(f"/Groups/{ada}")).status_code == 404


@both
async def test_what_is_deleted_is_gone(scim: httpx.AsyncClient, kind: str) -> None:
    """RFC 7644 section 3.6."""
    make = create_user if kind == "User" else create_group
    id = await make(scim, "first")
    answer = await scim.delete(f"/{kind}s/{id}")
    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert (await scim.request(method, f"/{kind}s/{id}")).status_code == 404
    answer = await scim.patch(f"/{kind}s/{id}", json=REPLACE_NAME)
    assert answer.status_code == 404
    assert (await scim.get(f"/{kind}s")).json()["totalResults"] == 0
    assert await make(scim, "first") != id


@pytest.mark.parametrize(
    "path", ["/Devices", "/Users/x/y", "/users", "/Users/x/emails", "/v3/Users", "/%2E%2E"]
)
async def test_an_unknown_endpoint_is_a_404_that_says_what_the_tenant_url_ends_in(
    scim: httpx.AsyncClient, path: str
) -> None:
    """RFC 7644 section 3.2."""
    for method in ("GET", "POST"):
        answer = await scim.request(method, path)
        assert answer.status_code == 404
        assert "/scim" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/Users/", "//Users", "/Users//", "/v2/Users", "/v2//Users/"])
async def test_a_slash_too_many_means_nothing_and_nothing_redirects(
    scim: httpx.AsyncClient, path: str
) -> None:
    """A Tenant URL is pasted with and without a slash at its end."""
    url = httpx.URL(str(scim.base_url).rstrip("/") + path)
    answer = await scim.get(url)
    assert answer.status_code == 200
    assert answer.json()["totalResults"] == 0


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/Users", {"GET", "HEAD", "POST"}),
        ("PUT", "/Groups", {"GET", "HEAD", "POST"}),
        ("PATCH", "/Users", {"GET", "HEAD", "POST"}),
        ("POST", f"/Users/{NOBODY}", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("POST", f"/Groups/{NOBODY}", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("OPTIONS", "/Users", {"GET", "HEAD", "POST"}),
        ("POST", "/ServiceProviderConfig", {"GET", "HEAD"}),
        ("PUT", "/ResourceTypes", {"GET", "HEAD"}),
        ("DELETE", "/ResourceTypes/User", {"GET", "HEAD"}),
        ("PATCH", "/Schemas", {"GET", "HEAD"}),
        ("GET", "/Bulk", {"POST"}),
    ],
)
async def test_an_unknown_method_is_a_405_that_names_the_known_ones(
    scim: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110 section 15.5.6."""
    answer = await scim.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert method in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_an_application_is_no_user(scim: httpx.AsyncClient, method: str) -> None:
    """RFC 7644 section 3.11: 501."""
    answer = await scim.request(method, "/Me", json=None if method == "GET" else {})
    assert answer.status_code == 501
    assert "/Users" in answer.json()["detail"]


NO_OBJECT = [b"[]", b'"ada"', b"7", b"null", b"true", b"[{}]"]
NO_JSON = [
    b"",
    b" ",
    b"{",
    b"{'userName': 'ada'}",
    b'{"a": NaN}',
    b"userName=ada",
    b"\xff\xfe",
    b'{"a":"\xff"}',
]
WRITES = [
    ("POST", "/Users"),
    ("PUT", "/Users/{user}"),
    ("PATCH", "/Users/{user}"),
    ("POST", "/Groups"),
    ("PUT", "/Groups/{group}"),
    ("PATCH", "/Groups/{group}"),
    ("POST", "/Users/.search"),
    ("POST", "/Groups/.search"),
]


@pytest.mark.parametrize("content", NO_OBJECT + NO_JSON + [b'{"a":' * 2000 + b"1" + b"}" * 2000])
async def test_a_body_that_is_no_json_object(tenant: Tenant, content: bytes) -> None:
    """RFC 7644 section 3.12 `invalidSyntax`."""
    places = {
        "user": await create_user(tenant.scim, "ada"),
        "group": await create_group(tenant.scim, "Sales"),
    }
    before = await tenant.contents()
    for method, path in WRITES:
        answer = await tenant.scim.request(method, path.format(**places), content=content)
        assert answer.status_code == 400, path
        assert answer.json()["scimType"] == "invalidSyntax"
        assert "JSON" in answer.json()["detail"]
    assert await tenant.contents() == before


@pytest.mark.parametrize(
    "media_type",
    ["application/scim+json", "application/json; charset=utf-8", "text/plain", "", "nonsense"],
)
async def test_the_body_is_json_whatever_it_is_called(
    scim: httpx.AsyncClient, media_type: str
) -> None:
    """RFC 7644 section 3.1 names two; clients send others."""
    body = httpx.Request("POST", "http://x", json=user("ada")).content
    headers = {"Content-Type": media_type}
    assert (await scim.post("/Users", content=body, headers=headers)).status_code == 201


async def test_a_byte_order_mark_is_skipped(scim: httpx.AsyncClient) -> None:
    """RFC 8259 section 8.1."""
    mark = b"\xef\xbb\xbf"
    body = httpx.Request("POST", "http://x", json=user("ada")).content
    assert (await scim.post("/Users", content=mark + body)).status_code == 201
    for content in (mark, mark + mark + body):
        assert (await scim.post("/Users", content=content)).status_code == 400


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("gzip", 415), ("deflate, br", 415), ("x" * 500, 415), ("Identity", 201), ("", 201)],
)
async def test_a_body_in_another_encoding(tenant: Tenant, encoding: str, status: int) -> None:
    """RFC 9110 section 8.4."""
    answer = await tenant.scim.post(
        "/Users", json=user("ada"), headers={"Content-Encoding": encoding}
    )
    assert answer.status_code == status
    if status == 415:
        assert "without compression" in answer.json()["detail"]
        assert await tenant.contents() == {}


@pytest.mark.parametrize(("more", "status"), [(0, 201), (1, 413)])
async def test_the_largest_body(tenant: Tenant, more: int, status: int) -> None:
    """RFC 7644 section 3.12: 413; the limit itself is still taken."""
    body = httpx.Request("POST", "http://x", json=user("ada")).content
    content = body[:-1] + b" " * (BODY_BYTES + more - len(body)) + b"}"
    before = await tenant.contents()
    answer = await tenant.scim.post("/Users", content=content)
    assert answer.status_code == status
    if status == 413:
        assert "4 MB" in answer.json()["detail"]
        assert await tenant.contents() == before


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
@pytest.mark.parametrize(("more", "status"), [(0, 201), (1, 413)])
async def test_the_largest_body_of_a_server_that_takes_chunks(
    tenant: Tenant, more: int, status: int
) -> None:
    """Without a Content-Length the limit counts what arrives."""
    body = httpx.Request("POST", "http://x", json=user("ada")).content

    async def chunks() -> AsyncIterator[bytes]:
        yield body[:-1]
        yield b" " * (BODY_BYTES + more - len(body))
        yield b"}"

    before = await tenant.contents()
    answer = await tenant.scim.post("/Users", content=chunks())
    assert answer.status_code == status
    assert (await tenant.contents() == before) is (status == 413)


async def test_a_user_that_the_store_cannot_hold(tenant: Tenant) -> None:
    """A document has at most 2 MB."""
    before = await tenant.contents()
    answer = await tenant.scim.post("/Users", json=user("ada", title="x" * 2_200_000))
    assert answer.status_code == 413
    assert "2 MB" in answer.json()["detail"]
    assert await tenant.contents() == before


@functions_only
@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_body_in_chunks_without_length_does_not_arrive(
    tenant: Tenant, method: str, path: str
) -> None:
    """The Functions host hands such a body over empty."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"userName":'
        yield b'"ada"}'

    before = await tenant.contents()
    url = path.format(user=NOBODY, group=NOBODY)
    answer = await tenant.scim.request(method, url, content=chunks())
    assert answer.status_code == 400
    assert "Content-Length" in answer.json()["detail"]
    assert await tenant.contents() == before


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({}, "invalidSyntax"),
        ({"schemas": ["urn:x"], "Operations": [operation("add", "title", "x")]}, "invalidSyntax"),
        ({"Operations": {}}, "invalidSyntax"),
        (patch(), "invalidSyntax"),
        (patch(operation("move", "title", "x")), "invalidSyntax"),
        (patch({"path": "title", "value": "x"}), "invalidSyntax"),
        (patch(operation("add", "emails[type eq", "x")), "invalidPath"),
        (patch(operation("add", "emails[nope eq 1].value", "x")), "invalidFilter"),
        (patch(operation("remove")), "noTarget"),
        (patch(operation("replace", 'emails[type ne "work"].value', "x")), "noTarget"),
        (patch(operation("replace", "userName")), "invalidValue"),
        (patch(operation("replace", "active", "perhaps")), "invalidValue"),
        (patch(operation("remove", "userName")), "mutability"),
        (patch(operation("replace", "id", "x")), "mutability"),
        (
            patch(operation("replace", "title", "x"), operation("replace", "active", 7)),
            "invalidValue",
        ),
    ],
)
async def test_a_patch_that_cannot_be_applied_changes_nothing(
    tenant: Tenant, body: dict[str, object], scim_type: str
) -> None:
    """RFC 7644 sections 3.5.2 and 3.12, table 9: all operations or none."""
    id = await create_user(tenant.scim, "ada")
    before = await tenant.contents()
    answer = await tenant.scim.patch(f"/Users/{id}", json=body)
    assert answer.status_code == 400
    assert answer.json()["scimType"] == scim_type
    assert await tenant.contents() == before


@pytest.mark.parametrize("member", [7, None, "", {}, {"value": None}, {"value": 7}, ["x"]])
async def test_members_that_are_no_members(tenant: Tenant, member: object) -> None:
    """RFC 7643 section 4.2."""
    id = await create_group(tenant.scim, "Sales")
    before = await tenant.contents()
    body = patch(operation("add", "members", [member]))
    requests = [
        ("PATCH", f"/Groups/{id}", body),
        ("PUT", f"/Groups/{id}", {"schemas": [GROUP], "displayName": "x", "members": [member]}),
        ("POST", "/Groups", {"schemas": [GROUP], "displayName": "x", "members": [member]}),
    ]
    for method, path, sent in requests:
        answer = await tenant.scim.request(method, path, json=sent)
        assert answer.status_code == 400, method
        assert answer.json()["scimType"] == "invalidValue"
        assert "members[0]" in answer.json()["detail"]
    assert await tenant.contents() == before


@pytest.mark.parametrize(
    "body",
    [
        {"schemas": ["urn:x"]},
        {"schemas": [SEARCH_REQUEST], "filter": {"userName": "ada"}},
        {"schemas": [SEARCH_REQUEST], "filter": ["userName eq 1"]},
        {"schemas": [SEARCH_REQUEST], "count": "many"},
        {"schemas": [SEARCH_REQUEST], "count": 1.5},
        {"schemas": [SEARCH_REQUEST], "count": True},
        {"schemas": [SEARCH_REQUEST], "attributes": [1]},
        {"schemas": [SEARCH_REQUEST], "sortBy": {}},
        {"schemas": [SEARCH_REQUEST], "filter": "userName eq"},
    ],
)
@both
async def test_a_search_that_cannot_be_read_is_refused_and_not_widened(
    scim: httpx.AsyncClient, kind: str, body: dict[str, object]
) -> None:
    """RFC 7644 section 3.4.3."""
    answer = await scim.post(f"/{kind}s/.search", json=body)
    assert answer.status_code == 400


async def test_a_patch_of_members_below_users_is_no_way_in(scim: httpx.AsyncClient) -> None:
    """A user has no members; the name is unknown there, and ignored."""
    ada, grace = await create_user(scim, "ada"), await create_user(scim, "grace")
    before = (await scim.get(f"/Users/{ada}")).json()
    answer = await scim.patch(f"/Users/{ada}", json=add([grace]))
    assert answer.status_code == 200
    assert answer.json() == before
