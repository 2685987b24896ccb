"""Who may call: RFC 7644 section 2, RFC 6750 section 3, product section 2."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from administration.connections import Connections
from administration.errors import AdministrationError
from administration.tenants import create_tenant, read_tenant
from administration.tokens import Tokens
from directory.store import Stored
from directory.tenants import Policy, Token
from directory.tenants import Tenant as StoredTenant
from settings import Settings
from tests.environment import change_tenant
from tests.scim.bulk import bulk, post, process
from tests.scim.messages import CORE, NOBODY, Body, create_user, patch, user
from tests.transports import Muster, Tenant, beside
from trust.authenticator import Authenticator
from trust.refusal import Unproven
from trust.tenants import ANEW_PER_SECOND
from trust.tokens import TokenKind, bearer_tokens
from wiring import Application

SECRET = "0" * 64
CHANGED_SECRET = str.maketrans("0123456789abcdef", "123456789abcdef0")


def tampered(token: str) -> str:
    """The token with another secret."""
    name, _, secret = token.rpartition("_")
    return f"{name}_{secret.translate(CHANGED_SECRET)}"


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, False),
        ("", False),
        ("Bearer", True),
        ("Basic {token}", True),
        ("{token}", True),
        ("Bearer {tampered}", True),
        ("Bearer {token}x", True),
        ("Bearer {access_token}", True),
        (f"Bearer muster_scim_nobody_00000000_{SECRET}", True),
        (f"Bearer muster_scim_{{tenant}}_00000000_{SECRET}", True),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", True),
        ("Bearer {token} {token}", True),
    ],
)
async def test_without_a_valid_token(tenant: Tenant, header: str | None, error: bool) -> None:
    """RFC 6750 section 3.1: an error code only where something was presented."""
    client = await tenant.muster.scim(None)
    headers = {}
    if header is not None:
        headers["Authorization"] = header.format(
            token=tenant.token,
            tampered=tampered(tenant.token),
            access_token=tenant.access_token,
            tenant=tenant.tenant_id,
        )
    for method, path in (("GET", "/Users"), ("POST", "/Groups"), ("GET", "/Schemas")):
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == 401
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer realm=")
        assert ('error="invalid_token"' in challenge) is error
        assert "Secret Token" in answer.json()["detail"]
        for secret in (tenant.token, tenant.access_token):
            assert secret not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(tenant: Tenant, scheme: str) -> None:
    """RFC 9110 section 11.1."""
    client = await tenant.muster.scim(None)
    headers = {"Authorization": f"{scheme} {tenant.token}"}
    assert (await client.get("/Users", headers=headers)).status_code == 200


async def test_a_scim_token_reads_no_access(tenant: Tenant) -> None:
    """Product section 8: tokens of their own."""
    async with tenant.muster.connect("/access/v1", tenant.token) as client:
        answer = await client.get(f"/users/{NOBODY}")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def with_tokens(tenant: StoredTenant, tokens: tuple[Token, ...]) -> StoredTenant:
    """The tenant with these tokens of its only connection."""
    (connection,) = tenant.connections
    return tenant.model_copy(
        update={"connections": (connection.model_copy(update={"tokens": tokens}),)}
    )


def ended(tenant: StoredTenant, now: datetime) -> StoredTenant:
    """The tenant after the end of those tokens that have one."""
    (connection,) = tenant.connections
    end = now - timedelta(seconds=1)
    return with_tokens(
        tenant,
        tuple(
            token.model_copy(update={"expires": end}) if token.expires else token
            for token in connection.tokens
        ),
    )


async def test_two_tokens_live_at_once_and_a_revoked_or_expired_one_is_refused(
    tenant: Tenant,
) -> None:
    """Product section 2: rotation."""
    now, tokens = datetime.now(UTC), tenant.changing(Tokens)
    expired = await tokens.create("scim", expires=now + timedelta(days=1))
    await change_tenant(tenant.muster.store, tenant.tenant_id, lambda found: ended(found, now))
    revoked = await tokens.create("scim", expires=now + timedelta(days=1))
    await tokens.revoke(revoked.split("_")[3])
    second = await tokens.create("scim", expires=now + timedelta(days=1))
    statuses = []
    for token in (tenant.token, second, expired, revoked):
        client = await tenant.muster.scim(token)
        statuses.append((await client.get("/Users")).status_code)
    assert statuses == [200, 200, 401, 401]


async def test_a_third_token_of_a_connection_is_refused(tenant: Tenant) -> None:
    """Product section 2: one in use and one to take its place; others' do not count."""
    new = tenant.changing(Tokens)
    await tenant.changing(Connections).create("second", "Second application")
    pools: list[tuple[TokenKind, str]]
    pools = [("scim", "entra"), ("access", "entra"), ("console", "entra"), ("scim", "second")]
    for kind, connection in pools:
        while len(await tokens_of(tenant, kind, connection)) < 2:
            await new.create(kind, connection_id=connection)
        before = await tokens_of(tenant, kind, connection)
        with pytest.raises(AdministrationError, match=f"{before[0]}, {before[1]}.*revoke the one"):
            await new.create(kind, connection_id=connection)
        assert await tokens_of(tenant, kind, connection) == before


async def tokens_of(tenant: Tenant, kind: str, connection: str) -> list[str]:
    """Ids of the tokens of a kind; those of SCIM, of one connection."""
    stored = await read_tenant(tenant.muster.store, tenant.tenant_id)
    return [
        token.token_id
        for owner, token in bearer_tokens(stored, kind)
        if kind != "scim" or owner == connection
    ]


@pytest.mark.parametrize("set_by", [-86_400, 0, 86_400], ids=["set back", "right", "set ahead"])
async def test_a_revoked_token_works_for_seconds_at_most(tmp_path: Path, set_by: int) -> None:
    """Product section 2: tenants are remembered for seconds, whatever the clock on the wall is
    set to meanwhile."""
    now, clock = datetime(2026, 1, 31, 8, tzinfo=UTC), 0.0
    application = Application(Settings(data=tmp_path), lambda: now)
    store, tokens = application.store, Tokens(application.service, "acme")
    authenticator = Authenticator(store, lambda: now, remember=5, clock=lambda: clock)
    await create_tenant(store, "acme", "Acme", "eu")
    header = f"Bearer {await tokens.create('scim')}"
    assert (await authenticator.caller(header, "scim")).connection_id == "entra"
    await change_tenant(store, "acme", lambda tenant: with_tokens(tenant, ()))
    now += timedelta(seconds=5 + set_by)
    clock += 5
    with pytest.raises(Unproven):
        await authenticator.caller(header, "scim")
    await application.close()


async def test_a_proof_is_remembered_for_its_purpose_and_until_the_token_expires(
    tmp_path: Path,
) -> None:
    """Also where the tenant itself is remembered for longer."""
    now = datetime(2026, 1, 31, 8, tzinfo=UTC)
    application = Application(Settings(data=tmp_path), lambda: now)
    store, tokens = application.store, Tokens(application.service, "acme")
    authenticator = Authenticator(store, lambda: now, remember=60, clock=lambda: 0.0)
    await create_tenant(store, "acme", "Acme", "eu")
    expires = now + timedelta(seconds=5)
    header = f"Bearer {await tokens.create('scim', expires=expires)}"
    first = await authenticator.caller(header, "scim")
    assert await authenticator.caller(header, "scim") is first
    with pytest.raises(Unproven):
        await authenticator.caller(header, "access")
    now += timedelta(seconds=5)
    with pytest.raises(Unproven):
        await authenticator.caller(header, "scim")
    await application.close()


STRANGE = user("ada", favouriteColour="blue")
INCOMPLETE = {"schemas": [f"{CORE}User"], "userName": "ada"}


@pytest.mark.parametrize(
    ("before", "after", "method", "path", "body", "refused"),
    [
        ({"provisioning": "disabled"}, {"provisioning": "enabled"}, "POST", "/Users", user("ada"),
         403),
        ({"provisioning": "disabled"}, {"provisioning": "enabled"}, "POST", "/Bulk",
         bulk(post("/Users", "1", user("ada"))), 403),
        ({"policy": {"strict": True}}, {"policy": {}}, "POST", "/Users", STRANGE, 400),
        ({}, {"policy": {"acceptIncompleteUsers": True}}, "POST", "/Users", INCOMPLETE, 400),
        ({"region": "us"}, {"region": "eu"}, "GET", "/Users", None, 403),
        ({"connections": []}, {}, "GET", "/Users", None, 401),
    ],
)  # fmt: skip
async def test_what_is_permitted_counts_at_once_in_every_process(
    muster: Muster, before: Body, after: Body, method: str, path: str, body: Any, refused: int
) -> None:
    """The process that serves the request remembers the tenant as it was when it refused."""
    tenant = await muster.tenant()
    stored = await read_tenant(muster.store, tenant.tenant_id)
    had = stored.model_dump(mode="json", by_alias=True)

    async def ask(change: Body) -> httpx.Response:
        """Another process changes the tenant; then the request is sent."""
        wanted = StoredTenant.model_validate({**had, **change})
        await change_tenant(muster.store, tenant.tenant_id, lambda _: wanted)
        return await tenant.scim.request(method, path, json=body)

    assert (await ask(before)).status_code == refused
    assert (await ask(after)).is_success


async def test_each_operation_of_a_bulk_request_is_held_against_the_tenant_of_now(
    muster: Muster,
) -> None:
    tenant = await muster.tenant({"strict": True})
    (result,) = await process(tenant.scim, post("/Users", "1", STRANGE))
    assert result["status"] == "400"
    await change_tenant(
        muster.store,
        tenant.tenant_id,
        lambda stored: stored.model_copy(update={"policy": Policy()}),
    )
    (result,) = await process(tenant.scim, post("/Users", "1", STRANGE))
    assert result["status"] == "201"


async def test_a_flood_of_refused_requests_is_no_flood_of_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whoever is proven, and of whoever guesses at a tenant or at many."""
    moment = datetime(2026, 1, 31, 8, tzinfo=UTC)

    def now() -> datetime:
        """A millisecond passes whenever somebody looks."""
        nonlocal moment
        moment += timedelta(milliseconds=1)
        return moment

    application = Application(Settings(data=tmp_path), now)
    store, tokens = application.store, Tokens(application.service, "acme")
    await create_tenant(store, "acme", "Acme", "eu")
    header = f"Bearer {await tokens.create('scim')}"
    authenticator, read = Authenticator(store, now), []
    reading = store.read

    async def counted(tenant_id: str, document_id: str) -> Stored:
        read.append(tenant_id)
        return await reading(tenant_id, document_id)

    monkeypatch.setattr(store, "read", counted)
    caller, begun = await authenticator.caller(header, "scim"), moment
    for _ in range(100):
        assert await authenticator.renewed(caller, header, "scim") is None
        with pytest.raises(Unproven):
            await authenticator.caller(tampered(header), "scim")
    allowed = 1 + 2 * ANEW_PER_SECOND + ANEW_PER_SECOND * (moment - begun).total_seconds()
    assert len(read) <= allowed

    read.clear()
    for number in range(100):
        with pytest.raises(Unproven):
            await authenticator.caller(f"Bearer muster_scim_t{number}_00000000_{SECRET}", "scim")
    assert len(read) == 100
    await application.close()


async def provisioned(muster: Muster) -> tuple[Tenant, str]:
    """A tenant with a user, whose provisioning was disabled afterwards, and the user's id."""
    tenant = await muster.tenant()
    async with beside(muster) as another:  # so that the server has not seen it enabled
        id = await create_user(await another.scim(tenant.token), "ada")
    await change_tenant(
        muster.store,
        tenant.tenant_id,
        lambda stored: stored.model_copy(update={"provisioning": "disabled"}),
    )
    return tenant, id


async def test_while_provisioning_is_disabled_reads_work_and_writes_do_not(
    muster: Muster,
) -> None:
    """Product section 2."""
    tenant, id = await provisioned(muster)
    for path in ("/Users", f"/Users/{id}", "/Groups", "/Schemas", "/ServiceProviderConfig"):
        assert (await tenant.scim.get(path)).status_code == 200
    match = await tenant.scim.get("/Users", params={"filter": 'userName eq "ada@example.com"'})
    assert match.json()["totalResults"] == 1
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    assert (await tenant.scim.post("/Users/.search", json=search)).status_code == 200

    before = await tenant.contents()
    change = patch({"op": "replace", "path": "active", "value": False})
    for method, path, body in (
        ("POST", "/Users", user("grace")),
        ("PUT", f"/Users/{id}", user("grace")),
        ("PATCH", f"/Users/{id}", change),
        ("DELETE", f"/Users/{id}", None),
        ("POST", "/Groups", {"displayName": "Sales"}),
        ("PUT", f"/Groups/{NOBODY}", {"displayName": "Sales"}),
        ("PATCH", f"/Groups/{NOBODY}", change),
        ("DELETE", f"/Groups/{NOBODY}", None),
    ):
        answer: httpx.Response = await tenant.scim.request(method, path, json=body)
        assert answer.status_code == 403, (method, path)
        assert "Overview" in answer.json()["detail"]
        assert f"tenant enable {tenant.tenant_id}" in answer.json()["detail"]
    assert await tenant.contents() == before
