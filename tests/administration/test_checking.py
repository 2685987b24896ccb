"""`manage.py tenant check`: every cause that makes Test Connection fail is found, and named with
its remedy; and where it finds none, Test Connection succeeds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from administration.clients import Clients
from administration.directories import Directories
from administration.tokens import Tokens
from directory.store import Delete
from directory.tenants import CLAIM_ID, Tenant, directory_partition
from tests.administration.operating import Operator
from tests.environment import TENANT, Environment, change_tenant, running
from tests.trust.issuer import DIRECTORY, Issuer, publishing
from wiring import utc_now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with publishing(Issuer()) as issuer:
        yield issuer


@pytest.fixture
async def muster(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Environment]:
    async with running(tmp_path, entra_login_url=issuer.url) as environment:
        yield environment


async def check(muster: Environment, issuer: Issuer) -> tuple[int, dict[str, dict[str, str]]]:
    """The command's exit code, and what it found by item."""
    operator = Operator(muster.application.settings.data, MUSTER_ENTRA_LOGIN_URL=issuer.url)
    code, rows = await asyncio.to_thread(operator.exits, "tenant", "check", TENANT)
    return code, {row["item"]: row for row in rows}


async def connects(muster: Environment, token: str) -> bool:
    """Whether Test Connection succeeds."""
    muster.application.authenticator._tenants._tenants._known.clear()
    muster.application.authenticator._tenants._claims._known.clear()
    headers = {"Authorization": f"Bearer {token}"}
    return (await muster.client.get("/Users", headers=headers)).status_code == 200


async def test_a_tenant_that_is_ready(muster: Environment, issuer: Issuer) -> None:
    code, found = await check(muster, issuer)
    assert (code, found["last request"]["state"]) == (0, "warning")
    assert await connects(muster, muster.token)
    await muster.application.authenticator.close()
    code, found = await check(muster, issuer)
    assert code == 0
    assert {item for item, row in found.items() if row["state"] != "ok"} == {"mappings"}
    assert "mapping load acme" in found["mappings"]["remedy"]
    await asyncio.to_thread(
        Operator(muster.application.settings.data).does, "tenant", "disable", TENANT
    )
    code, found = await check(muster, issuer)
    assert (code, found["provisioning"]["state"]) == (0, "warning"), "reads work without it"
    assert "tenant enable acme" in found["provisioning"]["remedy"]
    assert await connects(muster, muster.token)


type Break = Callable[[Tenant], Tenant]


def of_another_region(tenant: Tenant) -> Tenant:
    return tenant.model_copy(update={"region": "us"})


def without_tokens(tenant: Tenant) -> Tenant:
    return with_first(tenant, tokens=())


def with_expired_tokens(tenant: Tenant) -> Tenant:
    (token,) = tenant.connections[0].tokens
    return with_first(
        tenant, tokens=(token.model_copy(update={"expires": utc_now() - timedelta(days=1)}),)
    )


def with_first(tenant: Tenant, **changes: Any) -> Tenant:
    first, *others = tenant.connections
    return tenant.model_copy(update={"connections": (first.model_copy(update=changes), *others)})


@pytest.mark.parametrize(
    ("broken", "item", "remedy"),
    [
        (of_another_region, "region", "Ask the operator for that region's URL"),
        (without_tokens, "ways in", "token create acme"),
        (with_expired_tokens, "token of entra", "token create acme --connection entra"),
    ],
)
async def test_what_keeps_a_token_out(
    muster: Environment, issuer: Issuer, broken: Break, item: str, remedy: str
) -> None:
    assert (await check(muster, issuer))[0] == 0
    await change_tenant(muster.application.store, TENANT, broken)
    assert not await connects(muster, muster.token)
    code, found = await check(muster, issuer)
    assert (code, found[item]["state"]) == (1, "failing")
    assert remedy in found[item]["remedy"]


class TestEntraTokens:
    """A tenant that has nothing but its directory."""

    @pytest.fixture(autouse=True)
    async def registered(self, muster: Environment) -> None:
        await muster.changing(Directories).register(DIRECTORY)
        await change_tenant(muster.application.store, TENANT, without_tokens)

    async def test_ready(self, muster: Environment, issuer: Issuer) -> None:
        code, found = await check(muster, issuer)
        assert (code, found["Entra ID's tokens"]["state"]) == (0, "ok")
        assert await connects(muster, issuer.token())

    async def test_refused(self, muster: Environment, issuer: Issuer) -> None:
        def refuse(tenant: Tenant) -> Tenant:
            trust = tenant.entra.model_copy(update={"accepted": False})
            return tenant.model_copy(update={"entra": trust})

        await change_tenant(muster.application.store, TENANT, refuse)
        await self.fails(muster, issuer, "entra acme --accept")

    async def test_not_claimed(self, muster: Environment, issuer: Issuer) -> None:
        await muster.application.store.batch(directory_partition(DIRECTORY), [Delete(CLAIM_ID)])
        await self.fails(muster, issuer, f"--directory-id {DIRECTORY}")

    async def test_without_its_connection(self, muster: Environment, issuer: Issuer) -> None:
        rename = {"connection_id": "hr"}
        await change_tenant(
            muster.application.store, TENANT, lambda tenant: with_first(tenant, **rename)
        )
        await self.fails(muster, issuer, "connection create acme entra")

    async def test_keys_out_of_reach(self, muster: Environment, issuer: Issuer) -> None:
        issuer.answer = Response(status_code=404)
        await self.fails(muster, issuer, "reach that address")

    async def fails(self, muster: Environment, issuer: Issuer, remedy: str) -> None:
        """The check and the connection agree; beside a live token it is but a warning."""
        assert not await connects(muster, issuer.token())
        code, found = await check(muster, issuer)
        assert (code, found["Entra ID's tokens"]["state"]) == (1, "failing")
        assert remedy in found["Entra ID's tokens"]["remedy"]
        connection, *_ = await connections(muster)
        token = await muster.changing(Tokens).create("scim", connection_id=connection)
        code, found = await check(muster, issuer)
        assert (code, found["Entra ID's tokens"]["state"]) == (0, "warning")
        assert await connects(muster, token)


async def connections(muster: Environment) -> list[str]:
    stored = await muster.application.store.read(TENANT, "tenant")
    return [each["connectionId"] for each in stored.document["connections"]]


async def test_what_expires_soon_is_told(muster: Environment, issuer: Issuer) -> None:
    soon = utc_now() + timedelta(days=29)
    token = await muster.changing(Tokens).create("scim", expires=soon)
    await muster.changing(Clients).add_secret("entra", timedelta(days=31))
    code, found = await check(muster, issuer)
    assert code == 0
    expiring = {item for item in found if item.startswith("expiry")}
    assert expiring == {f"expiry of {token.split('_')[3]}"}
    (item,) = expiring
    assert f"token rotate acme {token.split('_')[3]}" in found[item]["remedy"]
