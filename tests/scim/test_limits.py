"""What one client may ask of Muster at most, and what becomes of a request that is ended."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.portions import Portions
from directory.store import Store
from directory.tenants import Policy
from scim import membership
from scim.protocol.body import BODY_DEPTH
from scim.selection import PARAMETER_CHARACTERS
from tests.consistency import assert_consistent
from tests.environment import TENANT, Environment, add_tenant, client_of, running
from tests.recorded.protocol import violations
from tests.scim.messages import (
    SEARCH_REQUEST,
    add,
    create_group,
    create_user,
    create_users,
    group,
    members,
    user,
)


def nested(depth: int) -> Any:
    """An attribute that nobody knows, in a body that it makes so deep."""
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return user("ada", unknown=value)


async def test_a_body_deeper_than_any_request_is_refused_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        for path in ("/Users", "/Users/.search", "/Bulk"):
            answer = await muster.client.post(path, json=nested(BODY_DEPTH + 1))
            assert answer.status_code == 400
            assert answer.json()["scimType"] == "invalidSyntax"
            assert str(BODY_DEPTH) in answer.json()["detail"]
        assert (await muster.client.get("/Users")).json()["totalResults"] == 0
        assert (await muster.client.post("/Users", json=nested(BODY_DEPTH))).status_code == 201


async def test_too_many_members_are_refused_before_any_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as muster:
        users = await create_users(muster.client, 3)
        team = await create_group(muster.client, "Team", users)

        async def nothing(*_: object) -> None:
            raise AssertionError("members were looked up")

        monkeypatch.setattr(membership, "read_all", nothing)
        named = [*users, *(f"nobody{n}" for n in range(membership.NAMED_LIMIT - 2))]
        for method, path, body in (
            ("POST", "/Groups", group("Other", named)),
            ("PUT", f"/Groups/{team}", group("Team", named)),
            ("PATCH", f"/Groups/{team}", add(named)),
        ):
            answer = await muster.client.request(method, path, json=body)
            assert answer.status_code == 413
            assert "names 5,001 members; at most 5,000" in answer.json()["detail"]
        monkeypatch.undo()
        assert await members(muster.client, team) == users


@pytest.mark.parametrize("name", ["attributes", "excludedAttributes", "sortBy", "cursor", "filter"])
async def test_a_parameter_is_not_longer_in_a_body_than_in_a_url(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as muster:
        long = "x" * (PARAMETER_CHARACTERS + 1)
        body = {"schemas": [SEARCH_REQUEST], name: [long] if "ttributes" in name else long}
        for path in ("/Users/.search", "/Groups/.search", "/.search"):
            answer = await muster.client.post(path, json=body)
            assert answer.status_code == 400
            assert str(len(long)) in answer.json()["detail"].replace(",", "")


async def test_a_tenant_that_sends_too_fast_is_asked_to_wait(tmp_path: Path) -> None:
    """429 with Retry-After, before anything is done; nobody else notices."""
    async with running(tmp_path, requests_per_second=0.001) as muster:
        token, _ = await add_tenant(muster.application.store, "other", Policy())
        first = await muster.client.get("/Users")
        refused = await muster.client.post("/Users", json=user("ada"))
        assert (first.status_code, refused.status_code) == (200, 429)
        assert int(refused.headers["Retry-After"]) > 900
        assert not violations(refused)
        assert "token" in refused.json()["detail"]
        async with client_of(muster.application.scim, "/scim", token) as other:
            assert (await other.get("/Users")).status_code == 200
        asked = {"userName": "ada@example.com"}
        assert (await muster.access.get("/users", params=asked)).status_code == 404
        busy = await muster.access.get("/users", params=asked)
        assert (busy.status_code, busy.json()["status"]) == (429, 429)
        assert int(busy.headers["Retry-After"]) > 900


async def test_whoever_has_no_token_uses_up_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, requests_per_second=0.001) as muster:
        stranger = {"Authorization": f"Bearer muster_scim_{TENANT}_00000000_{'0' * 64}"}
        for _ in range(5):
            answer = await muster.client.get("/Users", headers=stranger)
            assert answer.status_code == 401
        assert (await muster.client.get("/Users")).status_code == 200


class Stalling:
    """A store's batch that hangs at the n-th call, before it is written or after it."""

    def __init__(self, store: Store, call: int, written: bool) -> None:
        self._batch = store.batch
        self._call = call
        self._written = written

    async def __call__(self, tenant_id: str, operations: Any) -> Any:
        self._call -= 1
        if self._call == 0 and not self._written:
            await asyncio.Event().wait()
        answer = await self._batch(tenant_id, operations)
        if self._call == 0:
            await asyncio.Event().wait()
        return answer


async def ended(
    muster: Environment,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    written: bool,
    send: Callable[[], Awaitable[httpx.Response]],
) -> None:
    """Send a request whose `call`-th write hangs; it must be ended in the right words."""
    store = muster.application.store
    with monkeypatch.context() as patched:
        patched.setattr(store, "batch", Stalling(store, call, written))
        answer = await send()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    detail = answer.json()["detail"]
    assert "may be written" in detail
    assert "nothing was" not in detail.lower()


@pytest.mark.parametrize("written", [False, True])
async def test_a_request_that_takes_too_long_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """Cut off after its commit, it is there with its event, which the timer finds; cut off before,
    nothing of it is. To repeat it does no harm."""
    async with running(tmp_path, request_seconds=0.2) as muster:
        sales = await create_group(muster.client, "Sales")
        ada = await create_user(muster.client, "ada")
        await ended(
            muster,
            monkeypatch,
            1,
            written,
            lambda: muster.client.patch(f"/Groups/{sales}", json=add([ada])),
        )
        assert await members(muster.client, sales) == ([ada] if written else [])
        await muster.application.relay.resend_pending(-1)
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)
        access = (await muster.access.get(f"/users/{ada}")).json()
        assert access["enabled"] is written
        again = await muster.client.patch(f"/Groups/{sales}", json=add([ada]))
        assert again.status_code == 204
        assert await members(muster.client, sales) == [ada]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("written", [False, True])
async def test_a_large_change_that_takes_too_long_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, written: bool
) -> None:
    """What is committed is the whole intention; whoever finds it finishes it."""
    few = Portions(edges_beside_group=3, edges_per_batch=2)
    async with running(tmp_path, portions=few, request_seconds=1.0) as muster:
        people = await create_users(muster.client, 6)
        await muster.settle()
        body = group("Sales", people)
        await ended(
            muster, monkeypatch, call, written, lambda: muster.client.post("/Groups", json=body)
        )
        await muster.application.relay.resend_pending(-1)
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)
        found = (await muster.client.get("/Groups")).json()["Resources"]
        committed = written or call > 1
        assert [len(each["members"]) for each in found] == ([6] if committed else [])


@pytest.mark.parametrize("written", [False, True])
async def test_a_bulk_request_that_takes_too_long_has_done_whole_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """Each is a request of its own: what came before the end is there, with its event."""
    async with running(tmp_path, request_seconds=0.5) as muster:
        sales = await create_group(muster.client, "Sales")
        people = await create_users(muster.client, 3)
        operations = [
            {"method": "PATCH", "path": f"/Groups/{sales}", "data": add([id])} for id in people
        ]
        body = {"Operations": operations}
        await ended(muster, monkeypatch, 2, written, lambda: muster.client.post("/Bulk", json=body))
        assert await members(muster.client, sales) == people[: 2 if written else 1]
        await muster.application.relay.resend_pending(-1)
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)


async def test_the_access_api_ends_requests_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, request_seconds=0.2) as muster:
        ada = await create_user(muster.client, "ada")
        await muster.application.counter.close()  # what is noted beside the requests reads, too

        async def hanging(tenant_id: str, ids: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(muster.application.store, "read_many", hanging)
        answer = await muster.access.get(f"/users/{ada}")
        assert (answer.status_code, answer.json()["status"]) == (503, 503)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
