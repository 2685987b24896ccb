"""The feed of changes: a list and the changes behind it are all there is (invariant 9)."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from access.following import WAITING_EACH, Feed
from directory.access import access_change_id
from directory.documents import RETENTION
from directory.store import Assign, Update
from tests.access.surface import access_client
from tests.access.test_everybody import OFF, OWNER, ids, listed
from tests.environment import running
from tests.scim.messages import add, create_group, create_user, operation, patch, remove
from tests.transports import Muster, Tenant
from wiring import utc_now

ON = patch(operation("replace", "active", True))
IN_PROCESS = pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)


async def followed(
    client: httpx.AsyncClient, after: str | None = None, path: str = "/changes", limit: int = 2
) -> tuple[list[Any], str]:
    """Every change behind a position, and the position at the end."""
    found: dict[str, Any] = {}
    while True:
        query: dict[str, Any] = {"limit": limit} | ({"after": after} if after else {})
        answer = await client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["changes"]) <= limit
        found |= {change["id"]: change for change in page["changes"]}
        after = page["position"]
        if not page["more"]:
            return list(found.values()), str(after)


class Copy:
    """The application's own copy, as the documents say how to keep it."""

    def __init__(self) -> None:
        self.users: dict[str, tuple[int, bool, list[str]]] = {}
        self.pending: set[str] = set()

    def snapshot(self, users: list[Any]) -> None:
        for user in users:
            self.pending.discard(user["id"])
            if user["pending"]:
                self.pending.add(user["id"])
            self._keep(user["id"], user["version"], user)

    def apply(self, change: dict[str, Any]) -> None:
        id, version, after = change["userId"], change["version"], change["after"]
        if id in self.users and self.users[id][0] >= version:
            return
        self.pending.discard(id)
        if after is None:
            self.users.pop(id, None)
        else:
            self._keep(id, version, after)

    def _keep(self, id: str, version: int, state: dict[str, Any]) -> None:
        keys = sorted(grant["key"] for grant in state["grants"])
        self.users[id] = version, state["enabled"], keys


async def changing(tenant: Tenant) -> None:
    """Joiners, movers and leavers."""
    people = [await create_user(tenant.scim, name) for name in ("ada", "grace", "joan")]
    owners = await create_group(tenant.scim, "Owners", people[:1])
    await tenant.mappings.save(owners, (OWNER,))
    await tenant.settle()
    await tenant.scim.patch(f"/Groups/{owners}", json=add(people[1:]))
    await tenant.settle()
    await tenant.scim.patch(f"/Users/{people[0]}", json=OFF)
    await tenant.scim.patch(f"/Groups/{owners}", json=remove(people[1:2]))
    await tenant.settle()
    await tenant.scim.delete(f"/Users/{people[2]}")
    await tenant.settle()


async def test_a_list_and_the_changes_behind_it_are_all_there_is(tenant: Tenant) -> None:
    """Wherever in between the list is made; changes may be told again, and versions decide."""
    await changing(tenant)
    page = (await tenant.access.get("/users", params={"limit": 1})).json()
    copy = Copy()
    copy.snapshot(page["users"])
    ada = page["users"][0]["id"]
    await tenant.scim.patch(f"/Users/{ada}", json=ON)
    await create_user(tenant.scim, "late")
    await tenant.settle()
    copy.snapshot(await listed_behind(tenant, page["nextCursor"]))
    await tenant.scim.delete(f"/Users/{ada}")
    await tenant.settle()
    found, position = await followed(tenant.access, page["feedPosition"])
    for change in [*found, *found]:
        copy.apply(change)
    again = (await tenant.access.post("/users/query", json={"ids": [*copy.pending]})).json()
    copy.snapshot(again["users"])
    truth = {
        user["id"]: (user["enabled"], sorted(grant["key"] for grant in user["grants"]))
        for user in await listed(tenant.access)
    }
    assert {id: rest for id, (_, *rest) in copy.users.items()} == {
        id: [*rest] for id, rest in truth.items()
    }
    more, _ = await followed(tenant.access, position)
    assert {change["id"] for change in more} <= {change["id"] for change in found}


async def listed_behind(tenant: Tenant, cursor: str) -> list[Any]:
    page = (await tenant.access.get("/users", params={"cursor": cursor})).json()
    assert "nextCursor" not in page
    return list(page["users"])


async def test_what_a_change_says(tenant: Tenant) -> None:
    ada = await create_user(tenant.scim, "ada")
    owners = await create_group(tenant.scim, "Owners", [ada])
    await tenant.settle()
    await tenant.mappings.save(owners, (OWNER,))
    await tenant.settle()
    await tenant.scim.delete(f"/Users/{ada}")
    await tenant.settle()
    found, _ = await followed(tenant.access)
    assert {change["userId"] for change in found} == {ada}
    assert {change["tenant"] for change in found} == {tenant.tenant_id}
    versions = [change["version"] for change in found]
    assert versions == sorted(versions)
    assert [change["before"] for change in found] == [None, *(c["after"] for c in found[:-1])]
    assert found[-1]["after"] is None
    held = {"enabled": True, "reasons": [], "grants": [{"kind": "role", "key": "owner"}]}
    assert found[-2]["after"] == held
    events = {event.event_id for event in await tenant.events()}
    assert {change["eventId"] for change in found} <= events
    stored = {document["changeId"] for document in await tenant.documents("AccessChange")}
    assert {change["id"] for change in found} <= stored


async def test_one_follower_for_every_tenant(
    muster: Muster, tenant: Tenant, vendor: httpx.AsyncClient
) -> None:
    other = await muster.tenant()
    begun = (await vendor.get(f"/tenants/{tenant.tenant_id}/users")).json()["feedPosition"]
    for each in (tenant, other):
        await changing(each)
    found, _ = await followed(vendor, begun)
    for each in (tenant, other):
        own, _ = await followed(each.access)
        mine = [change for change in found if change["tenant"] == each.tenant_id]
        by_user = {change["userId"] for change in own}
        assert {change["id"] for change in mine} == {change["id"] for change in own}
        for user in by_user:
            versions = [change["version"] for change in mine if change["userId"] == user]
            assert versions == sorted(versions)
        path = f"/tenants/{each.tenant_id}/changes"
        assert {c["id"] for c in (await followed(vendor, None, path))[0]} == {c["id"] for c in own}


@IN_PROCESS
async def test_what_the_application_cannot_see_is_not_told(muster: Muster, tenant: Tenant) -> None:
    """A new version of a mapping that gives the same; the position moves past it."""
    ada = await create_user(tenant.scim, "ada")
    owners = await create_group(tenant.scim, "Owners", [ada])
    await tenant.mappings.save(owners, (OWNER,))
    await tenant.settle()
    before, position = await followed(tenant.access)
    await tenant.mappings.save(owners, (OWNER,), version=1)
    await tenant.settle()
    stored = await tenant.documents("AccessChange")
    assert len(stored) > len(before)
    found, later = await followed(tenant.access, position)
    assert {change["id"] for change in found} <= {change["id"] for change in before}
    assert later != position


@IN_PROCESS
async def test_who_waits_is_answered_as_soon_as_there_is_something(
    muster: Muster, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(muster.store, utc_now, RETENTION, look_seconds=0.01)
    access = access_client(muster, tenant, feed=feed)
    position = (await access.get("/users")).json()["feedPosition"]
    asked = {"after": position, "wait": 20}
    waiting = asyncio.create_task(access.get("/changes", params=asked))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await create_user(tenant.scim, "ada")
    await tenant.settle()
    assert len((await waiting).json()["changes"]) == 1
    position = (await waiting).json()["position"]
    looks = 0
    original = muster.store.changes

    async def looked(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return await original(*given)

    monkeypatch.setattr(muster.store, "changes", looked)
    assert (await access.get("/changes", params={"after": position})).json()["changes"] == []
    assert looks == 1
    asked = {"after": position, "wait": 20}
    several = [
        asyncio.create_task(access.get("/changes", params=asked)) for _ in range(WAITING_EACH + 1)
    ]
    (refused,), others = await asyncio.wait(several, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().json()["changes"] == []
    await create_user(tenant.scim, "grace")
    await tenant.settle()
    for each in others:
        assert len((await each).json()["changes"]) == 1
    assert (await access.get("/changes?wait=31")).status_code == 400


@IN_PROCESS
async def test_a_change_that_cannot_be_read_is_told_as_such(muster: Muster, tenant: Tenant) -> None:
    ada = await create_user(tenant.scim, "ada")
    await tenant.settle()
    (document,) = await tenant.documents("AccessChange")
    damaging = Update(access_change_id(document["changeId"]), (Assign(("differences",), 7),))
    await muster.store.batch(tenant.tenant_id, [damaging])
    ((change,), _) = await followed(tenant.access)
    assert (change["complete"], change["userId"], change["after"]) == (False, ada, None)


async def test_whoever_was_away_for_too_long_is_told(tmp_path: Path) -> None:
    moment = utc_now()
    async with running(tmp_path, now=lambda: moment, retention_days=30) as muster:
        await create_user(muster.client, "ada")
        await muster.settle()
        (change,), position = await followed(muster.access)
        assert change["version"] == 1
        for days, status in ((28, 200), (30, 410), (400, 410)):
            moment = utc_now() + timedelta(days=days)
            answer = await muster.access.get("/changes", params={"after": position})
            assert answer.status_code == status
        assert "feedPosition" in answer.json()["detail"]
        moment = utc_now()
        at, _, place = position.partition("~")
        for wrong in ("x", f"{at}~x", f"~{place}", "9" * 12 + f"~{place}", f"{at}~{'9' * 99}"):
            answer = await muster.access.get("/changes", params={"after": wrong})
            assert (answer.status_code, "position" in answer.json()["detail"]) == (400, True)


@IN_PROCESS
async def test_an_answer_ends_where_it_holds_many_grants(muster: Muster, tenant: Tenant) -> None:
    feed = Feed(muster.store, utc_now, RETENTION, chunk=1, most_grants=1)
    access = access_client(muster, tenant, feed=feed)
    await changing(tenant)
    page = (await access.get("/changes", params={"limit": 100})).json()
    whole, _ = await followed(access, limit=100)
    assert page["more"]
    assert 0 < len(page["changes"]) < len(whole)
    assert len(whole) == len({change["id"] for change in whole})
    assert ids(page["changes"]) == ids(whole)[: len(page["changes"])]
