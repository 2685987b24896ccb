"""A tenant's catalog follows the vendor's product."""

from typing import Any

import httpx

from administration.grants import Grants
from administration.tenants import Tenancy
from directory.documents import EntitlementKey
from tests.environment import TENANT, Environment
from tests.scim.messages import create_group, create_user

PATH = f"/tenants/{TENANT}/catalog"
OWNER = {"kind": "role", "key": "owner", "displayName": "Owner"}
FRONT = {"kind": "receptionMembership", "key": "front", "displayName": "Front desk"}
BACK = {"kind": "receptionMembership", "key": "back", "displayName": "Back door"}
DESK = EntitlementKey(kind="receptionMembership", key="front")


async def put(
    operator: httpx.AsyncClient, *entries: Any, if_match: str = "", **query: bool
) -> httpx.Response:
    headers = {"If-Match": if_match} if if_match else {}
    body = {"entitlements": entries}
    return await operator.put(PATH, json=body, params=query, headers=headers)


async def entries(operator: httpx.AsyncClient) -> tuple[list[str], str]:
    """The keys in the catalog, and its ETag."""
    answer = await operator.get(PATH)
    return [one["key"] for one in answer.json()["entitlements"]], answer.headers["etag"]


async def held(muster: Environment, user: str) -> list[str]:
    await muster.settle()
    access = (await muster.access.get(f"/users/{user}")).json()
    return [one["key"] for one in access["grants"]]


async def test_it_is_what_was_sent_last(operator: httpx.AsyncClient) -> None:
    before, tag = await entries(operator)
    would = (await put(operator, OWNER, FRONT, dryRun=True)).json()
    assert [one["key"] for one in would["added"]] == ["front"]
    assert len(would["removed"]) == len(before) - 1
    assert await entries(operator) == (before, tag)
    assert (await put(operator, OWNER, FRONT, if_match=tag)).json() == would
    assert (await entries(operator))[0] == ["front", "owner"]
    refused = await put(operator, OWNER, if_match=tag)
    assert (refused.status_code, "Read it again" in refused.json()["detail"]) == (409, True)
    again = (await put(operator, FRONT | {"displayName": "Desk"}, OWNER)).json()
    assert [one["displayName"] for one in again["changed"]] == ["Desk"]
    assert again["unchanged"] == 1


async def test_what_is_gone_is_taken_away_only_where_that_is_meant(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    await put(operator, OWNER, FRONT, BACK)
    ada = await create_user(muster.client, "ada")
    bo = await create_user(muster.client, "bo")
    group = await create_group(muster.client, "Reception", [ada])
    back = EntitlementKey(kind="receptionMembership", key="back")
    await muster.mappings.save(group, (DESK, back))
    await muster.changing(Grants).give(bo, [DESK])
    assert await held(muster, ada) == ["back", "front"]

    refused = await put(operator, OWNER, BACK)
    assert (refused.status_code, "Reception" in refused.json()["detail"]) == (422, True)
    would = (await put(operator, OWNER, BACK, takeAway=True, dryRun=True)).json()
    assert [one["userName"] for one in would["losers"]] == ["ada@example.com"]
    assert [(one["kind"], one["key"]) for one in would["losers"][0]["lost"]] == [DESK]
    assert (would["mappings"], would["given"], would["losing"]) == (1, 1, 1)
    assert await held(muster, ada) == ["back", "front"]

    assert (await put(operator, OWNER, BACK, takeAway=True)).json() == would
    assert await held(muster, ada) == ["back"]
    assert (await entries(operator))[0] == ["back", "owner"]
    assert not (await put(operator, OWNER, BACK, takeAway=True)).json()["removed"]


async def test_what_is_protected_stays(muster: Environment, operator: httpx.AsyncClient) -> None:
    refused = await put(operator, BACK, takeAway=True)
    assert (refused.status_code, "protected" in refused.json()["detail"]) == (422, True)
    await muster.changing(Tenancy).change_policy({"protected": ()})
    assert (await put(operator, BACK, takeAway=True)).status_code == 200


async def test_of_two_replacements_at_the_same_time_one_is_refused(
    operator: httpx.AsyncClient, muster: Environment, monkeypatch: Any
) -> None:
    _, tag = await entries(operator)
    ledger = type(muster.application.service.ledger)
    commit, others = ledger.commit, [OWNER, FRONT]

    async def meanwhile(self: Any, *given: Any, **more: Any) -> Any:
        if others:
            wanted = [others.pop(), others.pop()]
            assert (await put(operator, *wanted, if_match=tag)).status_code == 200
        return await commit(self, *given, **more)

    monkeypatch.setattr(ledger, "commit", meanwhile)
    refused = await put(operator, OWNER, BACK, if_match=tag)
    assert refused.status_code == 409
    assert (await entries(operator))[0] == ["front", "owner"]
