"""What the service says about itself: RFC 7644 section 4, RFC 7643 sections 5 to 7."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from scim.selection import PAGE_DEFAULT, PAGE_LIMIT
from tests.environment import running
from tests.scim.messages import CORE, ENTERPRISE, GROUP, NOBODY, USER, create_users, ids
from tests.transports import Muster

BASES = ["/scim", "/scim/v2"]


@pytest.mark.parametrize("base", BASES)
async def test_the_configuration_names_what_is_served(scim: httpx.AsyncClient, base: str) -> None:
    """RFC 7643 section 5."""
    url = scim.base_url.copy_with(path=f"{base}/ServiceProviderConfig")
    body = (await scim.get(url)).json()
    assert body["schemas"] == [f"{CORE}ServiceProviderConfig"]
    supported = {name: value["supported"] for name, value in body.items() if "supported" in value}
    offers_bulk = (await scim.post("/Bulk", json={})).status_code != 501
    assert supported == {
        "patch": True,
        "bulk": offers_bulk,
        "filter": True,
        "changePassword": False,
        "sort": True,
        "etag": True,
    }
    assert [scheme["type"] for scheme in body["authenticationSchemes"]] == [
        "oauthbearertoken",
        "oauth2",
    ]
    assert body["meta"] == {"resourceType": "ServiceProviderConfig", "location": str(url)}


async def test_the_announced_page_sizes_are_kept(scim: httpx.AsyncClient) -> None:
    """RFC 7643 section 5, RFC 9865 section 4."""
    body = (await scim.get("/ServiceProviderConfig")).json()
    assert body["filter"]["maxResults"] == body["pagination"]["maxPageSize"] == PAGE_LIMIT
    default = body["pagination"]["defaultPageSize"]
    assert default == PAGE_DEFAULT
    await create_users(scim, default + 1)
    assert len(ids(await scim.get("/Users"))) == default


@pytest.mark.parametrize("base", BASES)
async def test_resource_types(scim: httpx.AsyncClient, base: str) -> None:
    """RFC 7643 section 6."""
    url = scim.base_url.copy_with(path=f"{base}/ResourceTypes")
    body = (await scim.get(url)).json()
    assert body["totalResults"] == 2
    described = {
        each["id"]: (each["name"], each["endpoint"], each["schema"], each.get("schemaExtensions"))
        for each in body["Resources"]
    }
    assert described == {
        "User": ("User", "/Users", USER, [{"schema": ENTERPRISE, "required": False}]),
        "Group": ("Group", "/Groups", GROUP, None),
    }
    for each in body["Resources"]:
        assert each["meta"] == {"resourceType": "ResourceType", "location": f"{url}/{each['id']}"}
        assert (await scim.get(each["meta"]["location"])).json() == each


@pytest.mark.parametrize("base", BASES)
async def test_schemas(scim: httpx.AsyncClient, base: str) -> None:
    """RFC 7643 section 7."""
    url = scim.base_url.copy_with(path=f"{base}/Schemas")
    body = (await scim.get(url)).json()
    assert {each["id"] for each in body["Resources"]} == {USER, GROUP, ENTERPRISE}
    for each in body["Resources"]:
        assert each["schemas"] == [f"{CORE}Schema"]
        assert each["meta"] == {"resourceType": "Schema", "location": f"{url}/{each['id']}"}
        assert (await scim.get(each["meta"]["location"])).json() == each
        assert (await scim.get(f"/Schemas/{each['id'].upper()}")).status_code == 200


def required(schema: dict[str, Any]) -> set[str]:
    """The paths of the attributes that a schema says are required."""
    return {
        ".".join(filter(None, (parent.get("name"), attribute["name"])))
        for parent in ({"subAttributes": schema["attributes"]}, *schema["attributes"])
        for attribute in parent.get("subAttributes", ())
        if attribute["required"]
    }


@pytest.mark.parametrize(
    ("accepts", "more"),
    [(False, {"name", "name.givenName", "name.familyName", "emails"}), (True, set())],
)
async def test_the_schema_of_a_user_requires_what_this_tenant_requires(
    muster: Muster, accepts: bool, more: set[str]
) -> None:
    """RFC 7643 section 7 `required`, product section 5."""
    tenant = await muster.tenant({"acceptIncompleteUsers": accepts})
    schema = (await tenant.scim.get(f"/Schemas/{USER}")).json()
    assert required(schema) == {"userName"} | more
    body = {"schemas": [USER], "userName": "only@example.com"}
    answer = await tenant.scim.post("/Users", json=body)
    assert answer.status_code == (201 if accepts else 400)
    if not accepts:
        assert answer.json()["scimType"] == "invalidValue"
        for named in ("name.givenName", "name.familyName", 'emails[type eq "work"].value'):
            assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/ServiceProviderConfig",
        "/ResourceTypes",
        "/ResourceTypes/User",
        "/Schemas",
        f"/Schemas/{USER}",
    ],
)
async def test_discovery_cannot_be_filtered(scim: httpx.AsyncClient, path: str) -> None:
    """RFC 7644 section 4."""
    answer = await scim.get(path, params={"filter": 'id eq "User"'})
    assert answer.status_code == 403
    assert "filter" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/ResourceTypes/Device",
        f"/Schemas/{CORE}Device",
        "/Schemas/urn:scim:schemas:core:1.0",
        f"/ResourceTypes/{NOBODY}",
    ],
)
async def test_what_is_not_described_is_not_found(scim: httpx.AsyncClient, path: str) -> None:
    """RFC 7644 section 3.12."""
    assert (await scim.get(path)).status_code == 404


@pytest.mark.parametrize("token", [None, "nobody"])
async def test_the_configuration_needs_no_token(muster: Muster, token: str | None) -> None:
    """RFC 7643 section 5: a client reads it to learn how it authenticates. What tells a tenant's
    truth needs its token."""
    tenant = await muster.tenant()
    stranger = await muster.scim(token)
    for base in BASES:
        url = stranger.base_url.copy_with(path=f"{base}/ServiceProviderConfig")
        answer, known = await stranger.get(url), await tenant.scim.get(url)
        assert (answer.status_code, answer.json()) == (200, known.json())
        assert (await stranger.head(url)).status_code == 200
        for path in ("Schemas", f"Schemas/{USER}", "ResourceTypes", "ResourceTypes/User"):
            hidden = await stranger.get(stranger.base_url.copy_with(path=f"{base}/{path}"))
            assert hidden.status_code == 401
    assert (await stranger.post("/ServiceProviderConfig", json={})).status_code == 405


async def test_strangers_share_one_rate(tmp_path: Path) -> None:
    async with running(tmp_path, requests_per_second=0.001) as muster:
        del muster.client.headers["Authorization"]
        first, second = [await muster.client.get("/ServiceProviderConfig") for _ in range(2)]
        assert (first.status_code, second.status_code) == (200, 429)
        assert int(second.headers["Retry-After"]) > 900
        muster.client.headers["Authorization"] = f"Bearer {muster.token}"
        assert (await muster.client.get("/Schemas")).status_code == 200
