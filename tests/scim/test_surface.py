"""What every surface owes to every answer: request ids, careful headers, and HEAD and OPTIONS."""

import httpx
import pytest

from tests.scim.messages import NOBODY, create_user
from tests.transports import Tenant
from web.surface import HEADERS


async def answers(tenant: Tenant) -> list[httpx.Response]:
    """One answer of each kind, of each surface."""
    id = await create_user(tenant.scim, "ada")
    nobody = {"Authorization": "Bearer nobody"}
    found = []
    for client in (tenant.scim, tenant.access):
        path = f"/{'U' if client is tenant.scim else 'u'}sers/{id}"
        found += [
            await client.get(path),
            await client.head(path),
            await client.get(path, headers=nobody),
            await client.get(path.replace(id, NOBODY)),
            await client.get("/nowhere"),
            await client.request("TRACE", path),
        ]
    expected = [200, 200, 401, 404, 404, 405] * 2
    assert [answer.status_code for answer in found] == expected
    return found


async def test_every_answer_is_careful(tenant: Tenant) -> None:
    """Not cached, not sniffed, framed by nobody, and without a server's banner."""
    for answer in await answers(tenant):
        assert HEADERS.items() <= answer.headers.items(), answer.url
        assert not answer.headers.keys() & {"server", "x-powered-by"}
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["cache-control"] == "no-store"


async def test_the_request_id_is_the_clients_or_a_new_one(tenant: Tenant) -> None:
    """What an administrator reports, and log, trace and event name."""
    given = [answer.headers["x-request-id"] for answer in await answers(tenant)]
    assert len(set(given)) == len(given)
    assert all(id.isalnum() for id in given)
    for client in (tenant.scim, tenant.access):
        for path in ("/Users", "/users", "/nowhere"):
            for name in ("x-request-id", "client-request-id"):
                answer = await client.get(path, headers={name: "6f1d-7"})
                assert answer.headers["x-request-id"] == "6f1d-7"
            harmful = await client.get(path, headers={"x-request-id": "a b;<script>"})
            assert harmful.headers["x-request-id"].isalnum()


async def test_head_is_get_without_the_body(tenant: Tenant) -> None:
    """RFC 9110 section 9.3.2."""
    id = await create_user(tenant.scim, "ada")
    await tenant.settle()  # the access record comes into being beside the requests
    for client, path in ((tenant.scim, f"/Users/{id}"), (tenant.access, f"/users/{id}")):
        got, head = await client.get(path), await client.head(path)
        assert head.status_code == 200
        for name in got.headers.keys() - {"x-request-id", "date"}:
            assert head.headers[name] == got.headers[name], name


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "https://x", "Access-Control-Request-Method": "GET"}]
)
async def test_no_page_of_another_origin_is_let_in(tenant: Tenant, headers: dict[str, str]) -> None:
    """OPTIONS names the methods and grants a browser nothing."""
    for client, path in ((tenant.scim, "/Users"), (tenant.access, "/users")):
        answer = await client.options(path, headers=headers)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_what_has_no_body_has_no_content_type(tenant: Tenant) -> None:
    id = await create_user(tenant.scim, "ada")
    made = await tenant.api.post("/tokens", json={"kind": "access"})
    token = made.json()["token"].split("_")[3]
    for answer in (
        await tenant.scim.delete(f"/Users/{id}"),
        await tenant.api.delete(f"/tokens/{token}"),
    ):
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
