"""The console's JSON API: the same use cases as the pages, for a bearer token."""

import re

import httpx
import pytest

from administration.catalog_change import Catalog
from administration.errors import AdministrationError
from administration.tenants import read_tenant
from console.api.operation import PATH
from directory.condition import Compare
from directory.documents import Event
from directory.store import Assign, Query, Update
from queues.relay import message_for
from tests.console.organisation import (
    ADD_IN,
    OWNER,
    VISITORS,
    Organisation,
    organisation,
)
from tests.environment import TENANT, Environment


def sent(*some: object) -> list[dict[str, str]]:
    """Entitlements as a body names them."""
    return [{"kind": one.kind, "key": one.key} for one in some]  # type: ignore[attr-defined]


@pytest.fixture
async def acme(environment: Environment, api: httpx.AsyncClient) -> Organisation:
    """The organisation, provisioned and reconciled; a server remembers tenants, and their tokens,
    for seconds, so the token comes first."""
    assert api
    return await organisation(environment)


async def test_a_mapping_is_previewed_saved_and_explained(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    mapping = f"/groups/{acme.staff}/mapping"
    read = await api.get(mapping)
    assert (read.json()["version"], read.headers["etag"]) == (0, '"0"')
    wanted = {"entitlements": sent(ADD_IN, VISITORS)}
    preview = (await api.post(f"{mapping}/preview", json=wanted)).json()
    assert {one["userId"] for one in preview["effects"]} == {acme.ada, acme.bo}
    assert preview["counts"]["gaining"] == 2
    assert preview["effects"][0]["gained"][0]["displayName"] == "Add-in User"
    saved = await api.put(mapping, json=wanted, headers={"If-Match": read.headers["etag"]})
    assert (saved.status_code, saved.json()["version"], saved.headers["etag"]) == (200, 1, '"1"')
    await acme.environment.settle()
    user = (await api.get(f"/users/{acme.ada}")).json()
    assert {(one["kind"], one["key"]) for one in user["held"]} == {
        (one.kind, one.key) for one in (ADD_IN, VISITORS)
    }
    assert user["held"][0]["sources"][0]["path"] == [acme.sales, acme.staff]
    why = (await api.get(f"/users/{acme.ada}/why", params=sent(ADD_IN)[0])).json()
    assert why["granted"]
    assert why["chains"][0]["cause"]["event"]["operation"] == "mapping"
    assert why["chains"][0]["cause"]["event"]["actor"]["id"].startswith("token ")
    assert [link["group"]["name"] for link in why["chains"][0]["links"]] == ["Sales", "Staff"]
    carl = (await api.get(f"/users/{acme.carl}")).json()
    assert (carl["enabled"], carl["reasons"]) == (False, ["inactive"])
    assert "enable it in Entra ID" in carl["advice"][0]
    changes = (await api.get(f"/users/{acme.ada}/changes")).json()["changes"]
    assert [len(one["gained"]) for one in changes] == [2, 0]
    before = changes[1]["at"]
    past = (await api.get(f"/users/{acme.ada}/past-access", params={"at": before})).json()
    assert (past["known"], past["state"]["grants"]) == (True, [])


async def test_nobodys_change_of_a_mapping_is_overwritten(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    mapping = f"/groups/{acme.sales}/mapping"
    body = {"entitlements": sent(OWNER)}
    assert (await api.put(mapping, json=body)).status_code == 428
    assert (await api.put(mapping, json={**body, "version": 0})).status_code == 200
    assert (await api.put(mapping, json={**body, "version": 0})).status_code == 409
    stale = await api.put(mapping, json=body, headers={"If-Match": '"0"'})
    assert stale.status_code == 412
    assert "version 1" in stale.json()["detail"]
    await acme.environment.settle()
    less = {"entitlements": [], "version": 1}
    refused = await api.put(mapping, json=less)
    assert refused.status_code == 422
    assert "Owner" in refused.json()["detail"]
    assert (await api.post(f"{mapping}/preview", json={"entitlements": []})).json()["noOwner"]
    assert (await api.put(mapping, json={**less, "confirmed": True})).json()["version"] == 2
    unknown = {"entitlements": [{"kind": "role", "key": "invented"}], "version": 2}
    assert "role invented" in (await api.put(mapping, json=unknown)).json()["detail"]


async def test_lists_go_on_at_signed_cursors(acme: Organisation, api: httpx.AsyncClient) -> None:
    for path, rows, name in (
        ("/groups", "groups", "displayName"),
        ("/users", "users", "name"),
        ("/log", "entries", "name"),
    ):
        whole = (await api.get(path)).json()[rows]
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in whole:
            page = (await api.get(path, params={"limit": "1", **cursor})).json()
            found += [one[name] for one in page[rows]]
            cursor = {"cursor": page["nextCursor"]}
        assert found == [one[name] for one in whole]
        assert page["nextCursor"] is None
    first = (await api.get("/groups", params={"limit": 1})).json()["nextCursor"]
    for path, params in (
        ("/users", {"cursor": first}),
        ("/groups", {"cursor": first, "q": "s"}),
        ("/groups", {"cursor": first[:-2] + "AA"}),
        (f"/groups/{acme.sales}/members", {"cursor": first}),
    ):
        answer = await api.get(path, params=params)
        assert answer.status_code == 400
        assert "nextCursor" in answer.json()["detail"]
    members = (await api.get(f"/groups/{acme.sales}/members")).json()["members"]
    assert {one["id"] for one in members} == {acme.ada, acme.bo, acme.carl}


async def test_an_empty_cursor_is_the_first_page(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    for path in ("/groups", f"/groups/{acme.sales}/members", "/users", "/log"):
        empty = await api.get(path, params={"cursor": ""})
        assert (empty.status_code, empty.json()) == (200, (await api.get(path)).json())
    preview, body = f"/groups/{acme.staff}/mapping/preview", {"entitlements": sent(ADD_IN)}
    empty = await api.post(preview, json={**body, "cursor": ""})
    assert (empty.status_code, empty.json()) == (200, (await api.post(preview, json=body)).json())


async def test_a_user_is_made_by_hand_given_something_and_deleted(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    lacking = await api.post("/users", json={"userName": "eve@partner.example"})
    assert lacking.status_code == 422
    assert "name.givenName" in lacking.json()["detail"]
    made = await api.post(
        "/users",
        json={
            "userName": "eve@partner.example",
            "givenName": "Eve",
            "familyName": "Ng",
            "workEmail": "eve@partner.example",
            "attributes": {"title": "CTO"},
        },
    )
    assert made.status_code == 201
    user = f"/users/{made.json()['userId']}"
    edited = await api.patch(user, json={"displayName": "Eve the Second"})
    assert (edited.json()["name"], edited.json()["resource"]["title"]) == ("Eve the Second", "CTO")
    for given in ((OWNER, VISITORS), (VISITORS,)):
        answer = await api.put(f"{user}/given-grants", json={"grants": sent(*given)})
        assert [one["key"] for one in answer.json()["grants"]] == [one.key for one in given]
    await acme.environment.settle()
    assert [one["key"] for one in (await api.get(user)).json()["held"]] == [VISITORS.key]
    assert (await api.patch(f"/users/{acme.ada}", json={"givenName": "A"})).status_code == 422
    assert (await api.delete(user)).status_code == 204
    assert (await api.get(user)).status_code == 404


async def test_what_is_kept_is_listed_and_let_go(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    environment = acme.environment
    await environment.mappings.save(acme.sales, (OWNER,))
    await environment.settle()
    preview = (
        await api.post(f"/groups/{acme.sales}/mapping/preview", json={"entitlements": []})
    ).json()
    assert [(one["userId"], one["key"]) for one in preview["kept"]] == [(acme.ada, OWNER.key)]
    assert [one["userId"] for one in preview["effects"]] == [acme.bo]
    await environment.mappings.save(acme.sales, ())
    await environment.settle()
    (kept,) = (await api.get("/overview")).json()["kept"]
    assert (kept["userId"], kept["displayName"]) == (acme.ada, "Owner")
    (held,) = (await api.get(f"/users/{acme.ada}")).json()["held"]
    assert held["sources"][0]["eventId"] == kept["eventId"]
    (chain,) = (
        await api.get(f"/users/{acme.ada}/why", params={"kind": "role", "key": "owner"})
    ).json()["chains"]
    assert (chain["source"]["type"], chain["cause"]["eventId"]) == ("kept", kept["eventId"])
    with pytest.raises(AdministrationError, match="Ada Lovelace"):
        await environment.changing(Catalog).remove(*OWNER)
    for given in ([VISITORS], []):  # what is given by hand is written beside it
        answer = await api.put(f"/users/{acme.ada}/given-grants", json={"grants": sent(*given)})
        assert len(answer.json()["grants"]) == len(given)
        await environment.settle()
        held = (await api.get(f"/users/{acme.ada}")).json()["held"]
        assert {one["key"] for one in held} == {OWNER.key, *(one.key for one in given)}
    for status in (200, 422):
        gone = await api.post(f"/users/{acme.ada}/let-go", json={"kind": "role", "key": "owner"})
        assert gone.status_code == status
    await environment.settle()
    assert (await api.get(f"/users/{acme.ada}")).json()["held"] == []
    assert (await api.get("/overview")).json()["kept"] == []
    policy = (await api.get("/policy")).json()
    assert policy["protected"] == [{"kind": "role", "key": "owner"}]
    assert policy["massLoss"] == {"users": 10, "percent": 20}
    unknown = {**policy, "protected": [{"kind": "role", "key": "none"}], "confirmed": True}
    assert (await api.put("/policy", json=unknown)).status_code == 422
    saved = await api.put("/policy", json={**policy, "protected": [], "confirmed": True})
    assert saved.json()["protected"] == []
    stored = await read_tenant(environment.application.store, TENANT)
    assert await environment.application.store.read(TENANT, f"event:{stored.protected_since}")


async def test_tokens_provisioning_catalog_and_policy_are_administered(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    made = await api.post("/tokens", json={"kind": "access", "note": "reports"})
    assert made.status_code == 201
    token_id = made.json()["token"].split("_")[3]
    listed = {one["tokenId"]: one for one in (await api.get("/tokens")).json()["tokens"]}
    assert (listed[token_id]["note"], listed[token_id]["kind"]) == ("reports", "access")
    assert (await api.post("/tokens", json={"kind": "access"})).status_code == 422
    assert (await api.delete(f"/tokens/{token_id}")).status_code == 204
    assert (await api.delete(f"/tokens/{token_id}")).status_code == 404
    for state in ("disabled", "enabled"):
        assert (await api.put("/provisioning", json={"state": state})).status_code == 200
        assert (await api.get("/overview")).json()["provisioning"] == state
    table = "kind,key,displayName\nrole,pilot,Pilot\n"
    csv = {"Content-Type": "text/csv"}
    for dry, there in (("true", False), ("false", True)):
        plan = await api.post("/catalog/import", content=table, headers=csv, params={"dryRun": dry})
        assert [one["key"] for one in plan.json()["added"]] == ["pilot"]
        catalog = (await api.get("/catalog")).json()["entitlements"]
        assert any(one["key"] == "pilot" for one in catalog) is there
    policy = (await api.get("/policy")).json()
    wanted = policy | {"disableWhen": []}
    preview = (await api.post("/policy/preview", json=wanted)).json()
    assert [one["userId"] for one in preview["effects"]] == [acme.carl]
    assert (await api.put("/policy", json=wanted)).status_code == 422  # nobody has Owner
    saved = await api.put("/policy", json=wanted | {"confirmed": True})
    assert saved.json() == (await api.get("/policy")).json() == wanted


async def test_oauth_clients_are_administered(
    environment: Environment, api: httpx.AsyncClient
) -> None:
    path = "/clients/entra"
    made = [(await api.post(f"{path}/secrets", json={"days": 365})).json() for _ in range(2)]
    assert made[0]["clientId"] == made[1]["clientId"]
    assert (await api.post(f"{path}/secrets", json={"days": 1097})).status_code == 400
    assert (await api.post(f"{path}/secrets", json={})).status_code == 422
    old = made[0]["clientSecret"].split("_")[3]
    for status in (204, 404):
        assert (await api.delete(f"{path}/secrets/{old}")).status_code == status
    rotated = await api.post(f"{path}/secrets", json={"overlapHours": 1})
    assert rotated.json()["tokenEndpoint"] == "http://muster.test/oauth/token"
    workload = {
        "issuer": "https://login.microsoftonline.com/5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01/v2.0",
        "subject": "sync-fabric",
        "audience": "3C1F6F6E-9c0e-4f0a-8f43-6a1d6f0f7b11",
    }
    saved = (await api.put(f"{path}/federation", json=workload)).json()
    assert saved["federation"]["audience"] == "api://3c1f6f6e-9c0e-4f0a-8f43-6a1d6f0f7b11"
    assert [one["kind"] for one in saved["credentials"]] == ["secret", "secret", "federation"]
    foreign = await api.put(
        f"{path}/federation", json={**workload, "issuer": "https://idp.example"}
    )
    assert foreign.status_code == 422
    assert (await api.get("/clients")).json()["clients"] == [saved]
    for status in (204, 404):
        assert (await api.delete(path)).status_code == status
    assert (await api.post("/clients/hr/secrets", json={})).status_code == 404


async def test_what_administrators_change_is_no_request_of_a_connection(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    await acme.environment.application.counter.close()
    before = (await api.get("/overview")).json()["health"]
    assert sum(hour["requests"] for hour in before["hours"]) == 6  # those of the organisation
    assert before["lastRequest"]
    assert (await api.put("/provisioning", json={"state": "disabled"})).status_code == 200
    by_hand = (await api.get("/log", params={"limit": 1})).json()["entries"][0]["event"]
    assert by_hand["operation"] == "disable"
    assert (await api.get("/overview")).json()["health"] == before


async def test_what_failed_is_shown_and_replayed(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    store = acme.environment.application.store
    query = Query("Event", Compare(("resourceId",), "eq", acme.empty), limit=1)
    (stored,) = (await store.query(TENANT, query)).items
    event = Event.from_document(stored.document)
    failing = (Assign(("state",), "failed"), Assign(("reason",), "poison"))
    await store.batch(TENANT, [Update(event.document_id, failing)])
    (shown,) = (await api.get("/failed")).json()["events"]
    assert (shown["eventId"], shown["reason"]) == (event.event_id, "poison")
    assert (await api.get(f"/failed/{event.event_id}")).json() == shown
    entries = (await api.get("/log", params={"state": "failed"})).json()["entries"]
    assert [one["event"]["eventId"] for one in entries] == [event.event_id]
    assert (await api.post(f"/failed/{event.event_id}/replay")).json()["events"] == 1
    await acme.environment.settle()
    assert (await api.get("/failed")).json()["events"] == []
    assert (await api.get(f"/failed/{event.event_id}")).status_code == 404
    assert (await api.get(f"/log/{event.event_id}")).json()["event"]["state"] == "done"


async def test_log_and_catalog_are_exported_as_on_the_pages(
    acme: Organisation, owner: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    formula = {"kind": "role", "key": "=1+1", "displayName": "'@ends\nmeet"}
    imported = await api.post("/catalog/import", json={"entitlements": [formula]})
    assert len(imported.json()["added"]) == 1
    for path in ("/log.csv", "/log.csv?type=User&resource=lovelace", "/catalog.csv"):
        taken = await api.get(path)
        assert taken.headers["content-type"] == "text/csv; charset=utf-8"
        assert taken.text == (await owner.get(f"/console{path}")).text
        assert not re.search(r"(^|,)[=@]", taken.text)
    assert acme.ada in (await api.get("/log.csv?resource=lovelace")).text
    assert acme.bo not in (await api.get("/log.csv?resource=lovelace")).text
    catalog = (await api.get("/catalog.csv")).content
    entries = len((await api.get("/catalog")).json()["entitlements"])
    plan = await api.post(
        "/catalog/import?removeMissing=true", content=catalog, headers={"Content-Type": "text/csv"}
    )
    assert plan.json() == {"added": [], "changed": [], "removed": [], "unchanged": entries}
    assert (await api.get("/log.csv?cursor=x")).status_code == 400


async def test_a_dead_letter_is_discarded_unless_its_event_is_to_be_applied(
    acme: Organisation, api: httpx.AsyncClient
) -> None:
    environment = acme.environment
    mapping = await environment.mappings.save(acme.sales, (OWNER,))
    await environment.application.relay.drain()
    await environment.bury(message_for(TENANT, "long-gone"), message_for("other", "others"))
    letters = (await api.get("/failed")).json()["letters"]
    assert {(one["messageId"], one["event"]) for one in letters} == {
        (mapping.event_id, "pending"),
        ("long-gone", "gone"),
    }
    kept = await api.delete(f"/dead-letters/{mapping.event_id}")
    assert (kept.status_code, "sent again by itself" in kept.json()["detail"]) == (422, True)
    for message, status in (("others", 404), ("long-gone", 204), ("long-gone", 404)):
        assert (await api.delete(f"/dead-letters/{message}")).status_code == status
    left = {letter.id for letter in await environment.queue.list_dead_letters()}
    assert left == {mapping.event_id, "others"}


async def test_groups_are_imported(acme: Organisation, api: httpx.AsyncClient) -> None:
    entry = {"externalId": "old-1", "displayName": "Old", "entitlements": sent(ADD_IN)}
    for dry, total in (("true", 3), ("false", 4)):
        answer = await api.post("/groups/import", json={"groups": [entry]}, params={"dryRun": dry})
        assert [one["outcome"] for one in answer.json()["groups"]] == ["new"]
        assert len((await api.get("/groups")).json()["groups"]) == total
    (group,) = (await api.get("/groups", params={"q": "OLD"})).json()["groups"]
    assert group["status"] == "Waiting for sync"


async def test_a_session_opens_no_api_and_a_token_no_page(
    environment: Environment, owner: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    assert (await owner.get("/console")).status_code == 200
    for method, path in (("GET", "/overview"), ("PUT", "/provisioning")):
        answer = await owner.request(method, f"{PATH}{path}", json={"state": "disabled"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    token = {"Authorization": api.headers["Authorization"]}
    async with httpx.AsyncClient(transport=owner._transport, base_url=owner.base_url) as stranger:
        page = await stranger.get("/console", headers=token)
        assert page.status_code == 303
        assert "/sign-in" in page.headers["location"]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "says"),
    [
        (b'{"state": "enabled"}', "text/plain", 415, "application/json"),
        (b"{", "application/json", 400, "cannot be read"),
        (b'{"state": "perhaps"}', "application/json", 400, "/state"),
        (b'{"state": "enabled", "more": 1}', "application/json", 400, "/more"),
        (b" " * 4_200_000, "application/json", 413, "bytes"),
    ],
)
async def test_what_is_wrong_is_said_with_its_place(
    environment: Environment,
    api: httpx.AsyncClient,
    body: bytes,
    media_type: str,
    status: int,
    says: str,
) -> None:
    headers = {"Content-Type": media_type}
    answer = await api.put("/provisioning", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text
