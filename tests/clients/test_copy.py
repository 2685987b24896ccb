"""The client of Python: what it answers, and that a copy which it keeps equals the access records,
wherever it dies and goes on (invariant 9)."""

from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import httpx
import pytest

import muster_client.access
from administration.credentials import Credentials
from directory.documents import EntitlementKey
from muster_client import Access, Change, Copy, User
from tests.scim.messages import add, create_group, create_user, operation, patch
from tests.transports import Muster, Tenant
from wiring import utc_now

OWNER = EntitlementKey(kind="role", key="owner")
OFF = patch(operation("replace", "active", False))
ON = patch(operation("replace", "active", True))
ON_SQLITE = pytest.mark.parametrize("muster", ["asgi"], indirect=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muster_client.access, "WAIT_SECONDS", 0)
    monkeypatch.setattr(muster_client.access, "AGAIN_SECONDS", 0)


@pytest.fixture
async def tenant(muster: Muster) -> Tenant:
    return await muster.tenant()


def own(tenant: Tenant) -> Access:
    """A client with the tenant's own token."""
    transport = httpx.ASGITransport(tenant.muster.application.access)
    return Access("http://muster.test", tenant.access_token, transport=transport)


async def vendors(muster: Muster, *tenants: str) -> Access:
    """A client with a credential of the deployment."""
    _, secret = await Credentials(muster.store, utc_now).create("application")
    transport = httpx.ASGITransport(muster.application.access)
    return Access("http://muster.test", secret, tenants=tenants, transport=transport)


async def truth(access: Access, *tenants: str) -> dict[tuple[str, str], User]:
    """What the access API says once everything is reconciled."""
    return seen({user.key: user for tenant in tenants async for user in access.users(tenant)})


def seen(users: dict[tuple[str, str], User]) -> dict[tuple[str, str], User]:
    """All but the version: it moves where nobody sees a difference, too, and the feed leaves that
    out."""
    return {key: replace(user, version=0) for key, user in users.items()}


async def until_nothing_changes(access: Access, copy: Copy) -> None:
    """Follow until a page has nothing new and nobody lags behind."""
    async for changes in access.follow(copy):
        if not changes and not any(user.pending for user in copy.users.values()):
            return


async def owners_of(tenant: Tenant) -> tuple[str, str]:
    """A user, and a group that makes owners of its members."""
    ada = await create_user(tenant.scim, "ada")
    owners = await create_group(tenant.scim, "Owners", [ada])
    await tenant.mappings.save(owners, (OWNER,))
    await tenant.settle()
    return ada, owners


@pytest.mark.parametrize(
    ("muster", "followed"), [("asgi", 0), ("asgi", 1), ("wire", 2)], indirect=["muster"]
)
async def test_a_copy_equals_the_records_though_the_follower_dies(
    muster: Muster, tenant: Tenant, followed: int
) -> None:
    """With a tenant's own token, with a credential for one of three tenants, and for two. A user
    who is deactivated and comes back while the list is made has no change at all."""
    other, third = await muster.tenant(), await muster.tenant()
    tenants = [tenant.tenant_id, other.tenant_id][:followed]
    ada, owners = await owners_of(tenant)
    async with await vendors(muster, *tenants) if followed else own(tenant) as access:
        await tenant.scim.patch(f"/Users/{ada}", json=OFF)
        grace = await create_user(tenant.scim, "grace")
        saved = await access.snapshot()
        key = "".join(tenants[:1]), ada
        assert (saved.users[key].pending, saved.users[key].enabled) == (True, False)
        await tenant.scim.patch(f"/Users/{ada}", json=ON)
        for number in range(3):
            joan = await create_user(tenant.scim, f"joan{number}")
            await tenant.scim.patch(f"/Groups/{owners}", json=add([grace, joan]))
            await create_user(other.scim, f"linus{number}")
            await create_user(third.scim, f"edsger{number}")
            await muster.settle(tenant.tenant_id)
            dying = deepcopy(saved)  # what was not saved is lost
            async for _ in access.follow(dying):
                break
        await tenant.scim.delete(f"/Users/{grace}")
        await muster.settle(tenant.tenant_id)
        await until_nothing_changes(access, saved)
        assert seen(saved.users) == await truth(access, *(tenants or [""]))
        assert saved.users[key].grants == {"role:owner"}
        assert saved.users[key].user_name == "ada@example.com"
        assert len(saved.users) == {0: 4, 1: 4, 2: 7}[followed]


@ON_SQLITE
async def test_a_change_says_what_was_and_what_is(tenant: Tenant) -> None:
    ada, _ = await owners_of(tenant)
    copy = Copy()
    async with own(tenant) as access:
        following = access.follow(copy)
        (new,) = await anext(following)
        assert new == Change("", ada, None, copy.users["", ada])
        await tenant.scim.patch(f"/Users/{ada}", json=OFF)
        await tenant.settle()
        (disabled,) = [change async for change in _changes(following)]
        assert disabled.before == new.after
        assert disabled.after
        assert (disabled.after.enabled, disabled.after.reasons) == (False, ("inactive",))
        await tenant.scim.delete(f"/Users/{ada}")
        await tenant.settle()
        (deleted,) = [change async for change in _changes(following)]
        assert deleted == Change("", ada, disabled.after, None)


async def _changes(following: AsyncIterator[list[Change]]) -> AsyncIterator[Change]:
    """The next ones."""
    async for changes in following:
        for change in changes:
            yield change
        if changes:
            return


OUT = {"enabled": False, "reasons": ["inactive"], "grants": []}
IN = {"enabled": True, "reasons": [], "grants": []}
NOBODY = httpx.Response(404)


@pytest.mark.parametrize("tenant_id", ["", "acme"])
async def test_a_webhook_hastens_what_the_feed_will_bring(tenant_id: str) -> None:
    """It may be late: it brings back nobody, and undoes nothing."""

    def message(version: int, after: Any, type: str = "access.changed", **more: Any) -> Any:
        told = {"tenantId": "acme", "userId": "ada", "version": version, "complete": True}
        return {"type": type, "data": {**told, "after": after, **more}}

    ada = User(tenant_id, "ada", 3, True, frozenset({"role:owner"}))
    grace = {"id": "grace", "userName": "grace", "externalId": None, "version": 2, **OUT}

    def muster(request: httpx.Request) -> httpx.Response:
        known = request.url.path.endswith("/users/grace")
        return httpx.Response(200, json={**grace, "pending": False}) if known else NOBODY

    copy, transport = Copy("1~1", {ada.key: ada}), httpx.MockTransport(muster)
    async with Access("http://muster.test", "x", tenant_id or None, transport=transport) as access:
        for unheard in (
            message(3, OUT),
            message(4, OUT, "test"),
            message(4, OUT, userId="deleted"),
            message(4, OUT, userId="grace", tenantId="contoso") if tenant_id else message(3, OUT),
        ):
            assert await access.hear(copy, unheard) == []
        (change,) = await access.hear(copy, message(4, OUT))
        assert change.after == User(*ada.key, 4, False, frozenset(), reasons=("inactive",))
        (new,) = await access.hear(copy, message(1, IN, userId="grace"))
        assert (new.before, new.after) == (None, copy.users[tenant_id, "grace"])
        assert new.after
        assert (new.after.version, new.after.enabled, new.after.pending) == (2, False, True)
        told_in_part = message(3, None, userId="grace", complete=False)
        assert await access.hear(copy, told_in_part) == [], "Muster was asked, and knows no more"
        assert await access.hear(copy, message(5, None, complete=False)) == [
            Change(*ada.key, change.after, None)
        ]
        assert await access.hear(copy, message(4, OUT)) == []
        assert [*copy.users] == [(tenant_id, "grace")]


async def test_who_is_told_in_part_is_asked_for() -> None:
    """A change whose stored form cannot be read, of a user who exists and one who does not."""
    part = {"tenant": "acme", "version": 0, "complete": False, "before": None, "after": None}
    changes = [{**part, "userId": id} for id in ("ada", "grace", None)]
    ada = {"id": "ada", "userName": "ada", "externalId": None, "version": 4, **OUT}

    def muster(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/changes"):
            page = {"changes": changes, "position": "2~2", "more": False}
            return httpx.Response(200, json=page)
        known = request.url.path.endswith("/users/ada")
        return httpx.Response(200, json={**ada, "pending": False}) if known else NOBODY

    before = {("", id): User("", id, 3, True, frozenset()) for id in ("ada", "grace")}
    copy, transport = Copy("1~1", dict(before)), httpx.MockTransport(muster)
    async with Access("http://muster.test", "x", transport=transport) as access:
        await anext(access.follow(copy))
    left = User("", "ada", 4, False, frozenset(), reasons=("inactive",))
    assert copy == Copy("2~2", {("", "ada"): left})


def test_what_is_known_is_not_undone() -> None:
    """The feed tells again what a list, or an answer, has overtaken."""

    def user(version: int, *, enabled: bool, pending: bool = False) -> User:
        return User("", "ada", version, enabled, frozenset(), pending, (), "ada")

    copy, off = Copy(), user(3, enabled=False, pending=True)
    copy.put(off)
    for version in (2, 3):
        assert copy.apply("", "ada", version, user(version, enabled=True)) == []
    assert copy.apply("", "ada", 2, None) == []
    assert copy.put(user(2, enabled=True)) == []
    assert copy.users == {("", "ada"): off}
    (change,) = copy.apply("", "ada", 4, User("", "ada", 4, False, frozenset()))
    assert change.after == user(4, enabled=False)
    assert copy.users["", "ada"].user_name == "ada", "a change tells no names"
    assert copy.apply("", "ada", 5, None) == [Change("", "ada", change.after, None)]


@ON_SQLITE
async def test_one_user_some_users_and_decisions(muster: Muster, tenant: Tenant) -> None:
    ada, _ = await owners_of(tenant)
    async with await vendors(muster) as access, own(tenant) as by_token:
        assert await access.user(ada, tenant.tenant_id)
        found = await by_token.user(user_name="ADA@example.com")
        assert found
        assert (found.id, found.enabled, found.grants) == (ada, True, frozenset({"role:owner"}))
        await tenant.scim.patch(
            f"/Users/{ada}", json=patch(operation("replace", "externalId", "0a21"))
        )
        assert await by_token.user(external_id="0a21")
        for nobody in ("nobody", "a/b", ".."):
            assert await by_token.user(nobody) is None
            assert await by_token.user(user_name=nobody) is None
        with pytest.raises(ValueError, match="Name the user"):
            await by_token.user(ada, user_name="ada@example.com")
        assert await by_token.several([ada, "nobody"]) == {ada: found, "nobody": None}
        assert [user async for user in by_token.users(enabled="false")] == []
        assert [user async for user in by_token.users(grant="role:owner")] == [found]
        asked = [*(f"role:r{n}" for n in range(100)), "role:owner"]
        held = await by_token.decide("ada@example.com", asked)
        assert held == {grant: grant == "role:owner" for grant in asked}
        assert not any((await by_token.decide("nobody", asked)).values())


@ON_SQLITE
async def test_a_position_that_is_too_old_begins_anew(tenant: Tenant) -> None:
    ada, _ = await owners_of(tenant)
    async with own(tenant) as access:
        copy = Copy("1~1", {("", "gone"): User("", "gone", 1, True, frozenset())})
        changes = {change.key async for change in _changes(access.follow(copy))}
        assert changes == {("", ada), ("", "gone")}
        assert seen(copy.users) == await truth(access, "")
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await anext(access.follow(Copy("nonsense")))
        assert "position" in str(refused.value.__notes__)


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        ([httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(401)], 2),
        ([httpx.Response(429, headers={"Retry-After": "soon"}), httpx.Response(403)], 2),
        ([httpx.ConnectError("gone"), httpx.Response(500), httpx.Response(404)], 3),
        ([httpx.Response(400)], 1),
    ],
)
async def test_it_tries_again_where_that_may_help(
    answers: list[httpx.Response | httpx.TransportError], tries: int
) -> None:
    left = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        found = left.pop(0)
        if isinstance(found, httpx.Response):
            return found
        raise found

    async with Access("http://muster.test", "x", transport=httpx.MockTransport(answer)) as access:
        with pytest.raises(httpx.HTTPStatusError):
            await anext(access.follow(Copy()))
    assert len(answers) - len(left) == tries
