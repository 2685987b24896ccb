"""What lies below fails, or is asked for what cannot be: pages and API say so, and alike."""

from typing import Any

import httpx
import pytest

from directory.access import access_id
from directory.store import Upsert
from queues.port import QueueError
from tests.console.organisation import Organisation, organisation, shown
from tests.environment import TENANT, Environment


@pytest.fixture
async def acme(environment: Environment, api: httpx.AsyncClient) -> Organisation:
    """After the token of the API was made: tenants are remembered for a while."""
    assert api
    return await organisation(environment)


async def test_while_the_queue_is_away_what_failed_cannot_be_shown(
    acme: Organisation, owner: httpx.AsyncClient, api: httpx.AsyncClient, monkeypatch: Any
) -> None:
    async def away(*_: object) -> Any:
        raise QueueError

    monkeypatch.setattr(acme.environment.queue, "list_dead_letters", away)
    page, answer = await owner.get("/console/failed"), await api.get("/failed")
    for each in (page, answer):
        assert (each.status_code, each.headers["Retry-After"]) == (503, "5")
    assert "The queue did not answer" in page.text


async def test_one_unreadable_access_record_stops_only_its_own_row(
    acme: Organisation, owner: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    store = acme.environment.application.store
    stored = await store.read(TENANT, access_id(acme.ada))
    await store.batch(TENANT, [Upsert({**stored.document, "grants": "none of ours"})])
    others = [user["userId"] for user in (await api.get("/users")).json()["users"]]
    assert acme.ada in others
    assert len(others) > 1
    listed = {user["userId"]: user for user in (await api.get("/users")).json()["users"]}
    assert [id for id, user in listed.items() if user["unreadable"]] == [acme.ada]
    assert (listed[acme.ada]["enabled"], listed[acme.ada]["grants"]) == (False, 0)
    assert (await shown(owner, "/users")).text.count("Cannot be read") == 1
    assert (await shown(owner, f"/groups/{acme.sales}")).text.count("Cannot be read") == 1
    members = (await api.get(f"/groups/{acme.sales}/members")).json()["members"]
    assert [one["id"] for one in members if one["unreadable"]] == [acme.ada]
    for client, path in ((owner, f"/console/users/{acme.ada}"), (api, f"/users/{acme.ada}")):
        alone = await client.get(path)
        assert alone.status_code == 500
        assert alone.headers["x-request-id"] in alone.text
        assert "cannot be read" in alone.text


IMPOSSIBLE = ("9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00", "yesterday", "2026-13-01")


@pytest.mark.parametrize("text", IMPOSSIBLE)
async def test_a_moment_that_is_none_is_said_to_be_none(
    acme: Organisation, owner: httpx.AsyncClient, api: httpx.AsyncClient, text: str
) -> None:
    log = await owner.get("/console/log", params={"since": text})
    assert (log.status_code, "A time looks like" in log.text) == (200, True)
    for client, path, name in (
        (owner, "/console/log.csv", "until"),
        (owner, f"/console/users/{acme.ada}/past", "at"),
        (api, "/log", "since"),
        (api, "/log.csv", "until"),
        (api, f"/users/{acme.ada}/past-access", "at"),
    ):
        answer = await client.get(path, params={name: text})
        assert answer.status_code == 400, path
        assert "time looks like" in answer.text, path


@pytest.mark.parametrize("text", ["9999-12-31T23:59", "0001-01-01", "2026-01-31T13:45+01:00"])
async def test_every_moment_that_is_one_is_taken(
    acme: Organisation, owner: httpx.AsyncClient, api: httpx.AsyncClient, text: str
) -> None:
    for client, path, name in (
        (owner, "/console/log", "since"),
        (owner, "/console/log.csv", "until"),
        (owner, f"/console/users/{acme.ada}/past", "at"),
        (api, "/log", "since"),
        (api, f"/users/{acme.ada}/past-access", "at"),
    ):
        answer = await client.get(path, params={name: text})
        assert answer.status_code == 200, (path, answer.text[-500:])
