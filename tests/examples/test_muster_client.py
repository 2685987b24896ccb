"""The client that applications may take: a copy that it keeps equals the access records, wherever
it dies and goes on (invariant 9)."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import httpx
import pytest

from administration.credentials import Credentials
from directory.documents import EntitlementKey
from examples import muster_client
from examples.muster_client import Access, Copy, User
from tests.environment import TENANT, Environment, running
from tests.scim.messages import add, create_group, create_user, operation, patch
from wiring import utc_now

OFF = patch(operation("replace", "active", False))
ON = patch(operation("replace", "active", True))


@pytest.fixture
async def muster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Environment]:
    monkeypatch.setattr(muster_client, "WAIT_SECONDS", 0)
    monkeypatch.setattr(muster_client, "AGAIN_SECONDS", 0)
    async with running(tmp_path) as environment:
        yield environment


async def client(muster: Environment, tenants: tuple[str, ...]) -> Access:
    """With a token of the tenant, or with a credential of the deployment."""
    transport = httpx.ASGITransport(muster.application.access)
    own = muster.access.headers["Authorization"].removeprefix("Bearer ")
    _, secret = await Credentials(muster.application.store, utc_now).create("application")
    return Access("http://muster.test", secret if tenants else own, tenants, transport)


async def truth(access: Access, tenant: str) -> dict[tuple[str, str], User]:
    """What the access API says once everything is reconciled."""
    return {(tenant, user.id): user async for user in access.users(tenant)}


async def until_nothing_changes(access: Access, copy: Copy) -> None:
    """Follow until a page has nothing new and nobody lags behind."""
    async for changed in access.follow(copy):
        if not changed and not any(user.pending for user in copy.users.values()):
            return


@pytest.mark.parametrize("tenants", [(), (TENANT,)])
async def test_a_copy_equals_the_records_though_the_follower_dies(
    muster: Environment, tenants: tuple[str, ...]
) -> None:
    """A user who is deactivated and comes back while the list is made has no change at all."""
    tenant, scim = "".join(tenants), muster.client
    ada = await create_user(scim, "ada")
    owners = await create_group(scim, "Owners", [ada])
    await muster.mappings.save(owners, (EntitlementKey(kind="role", key="owner"),))
    await muster.settle()
    async with await client(muster, tenants) as access:
        await scim.patch(f"/Users/{ada}", json=OFF)
        grace = await create_user(scim, "grace")
        saved = await access.snapshot()
        assert saved.users[tenant, ada].pending
        assert not saved.users[tenant, ada].enabled
        await scim.patch(f"/Users/{ada}", json=ON)
        for number in range(3):
            joan = await create_user(scim, f"joan{number}")
            await scim.patch(f"/Groups/{owners}", json=add([grace, joan]))
            await muster.settle()
            dying = deepcopy(saved)  # what was not saved is lost
            async for _ in access.follow(dying):
                break
        await scim.delete(f"/Users/{grace}")
        await muster.settle()
        await until_nothing_changes(access, saved)
        assert saved.users == await truth(access, tenant)
        assert saved.users[tenant, ada].grants == {"role:owner"}
        asked = [*(f"role:r{n}" for n in range(100)), "role:owner"]
        held = await access.decide("ada@example.com", asked, tenant)
        assert held == {grant: grant == "role:owner" for grant in asked}
        assert not any((await access.decide(grace, asked, tenant)).values())
        assert await access.user(grace, tenant) is None


async def test_a_position_that_is_too_old_begins_anew(muster: Environment) -> None:
    ada = await create_user(muster.client, "ada")
    await muster.settle()
    async with await client(muster, ()) as access:
        copy = Copy("1~1", {("", "gone"): User("", "gone", 1, True, frozenset())})
        async with asyncio.timeout(20):
            changes = [changed async for changed in _first(access, copy, 3)]
        assert sorted(key for page in changes for key in page) == sorted([("", ada), ("", "gone")])
        assert copy.users == await truth(access, "")
        with pytest.raises(httpx.HTTPStatusError):
            await anext(access.follow(Copy("nonsense")))


async def _first(access: Access, copy: Copy, pages: int) -> AsyncIterator[list[tuple[str, str]]]:
    async for changed in access.follow(copy):
        yield changed
        pages -= 1
        if not pages:
            return


async def test_filters(muster: Environment) -> None:
    ada = await create_user(muster.client, "ada")
    await muster.settle()
    async with await client(muster, ()) as access:
        assert [user.id async for user in access.users(enabled="false")] == [ada]
        assert [user async for user in access.users(grant="role:owner")] == []
