"""What the vendor's back office does with tenants (product section 2, Credentials of the
deployment): only its credential may, and everything that it does is noted."""

import logging
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from administration.credentials import Credentials
from administration.invitations import Invitations
from administration.tenants import create_tenant
from administration.tokens import Tokens
from directory.condition import Compare
from directory.documents import Event
from directory.reading import every
from directory.store import Assign, Query, Update
from operators.call import PATH
from operators.http import OPERATIONS
from queues.relay import message_for
from tests.environment import TENANT, Environment, client_of, running
from tests.scim.messages import create_group, create_user
from tests.trust.issuer import OTHER_DIRECTORY, Issuer, publishing
from trust.refusal import _REMEDIES
from wiring import utc_now

DIRECTORY = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
AUDIENCE = "0b6e1f7a-2d1c-4a55-8f10-7c4f7a7d1e99"


async def events(muster: Environment, tenant: str = TENANT) -> list[tuple[str, str, str]]:
    """What the tenant's log has of operators: operation, actor, what was worked on."""
    query = Query("Event", Compare(("actor", "type"), "eq", "operator"))
    stored = [one async for one in every(muster.application.store, tenant, query)]
    found = [Event.from_document(one.document) for one in stored]
    return [(one.operation, one.actor.id, ", ".join(one.attributes)) for one in found]


async def done(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """What an operation that succeeds answers."""
    answer = await client.request(method, path, **({} if body is None else {"json": body}))
    assert answer.is_success, (path, answer.text)
    return answer.json() if answer.content else None


async def test_nobody_else_is_let_in(muster: Environment, operator: httpx.AsyncClient) -> None:
    """Tokens of a tenant, of every kind, a set-up link, and the application's credential are told
    what would do, and nothing of the tenant: of one that does not exist, the same."""
    service = muster.application.service
    tokens = muster.changing(Tokens)
    invitation = await muster.changing(Invitations).create("https://h")
    _, application = await Credentials(service.store, utc_now).create("application")
    shown = [
        muster.token,
        muster.access.headers["Authorization"].removeprefix("Bearer "),
        await tokens.create("console"),
        invitation.link.partition("key=")[2],
        application,
        str(operator.headers["Authorization"])[7:-1] + "x",
        "",
    ]
    for each in OPERATIONS:
        for token in shown if each.method == "GET" else shown[2:3]:
            answers = [
                await operator.request(
                    each.method,
                    re.sub(r"\{\w+\}", "x", each.path.replace("{tenant}", tenant)),
                    headers={"Authorization": f"Bearer {token}"},
                    json={},
                )
                for tenant in (TENANT, "nobody")
            ]
            assert [answer.status_code for answer in answers] == [401, 401], each.path
            assert _REMEDIES["operator"] in answers[0].json()["detail"]
            assert answers[0].content == answers[1].content
    assert [entry for entry in await events(muster) if "credential" in entry[1]] == []


async def test_an_operator_s_credential_opens_nothing_else(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    headers = {"Authorization": operator.headers["Authorization"]}
    assert (await muster.client.get("/Users", headers=headers)).status_code == 401
    assert (await muster.access.get("/changes", headers=headers)).status_code == 401
    answer = await muster.access.get(f"/tenants/{TENANT}/users", headers=headers)
    assert answer.status_code == 401


async def test_a_managed_identity_needs_the_app_role(tmp_path: Any) -> None:
    async with (
        publishing(Issuer()) as issuer,
        running(
            tmp_path,
            entra_login_url=issuer.url,
            operator_directory=OTHER_DIRECTORY,
            operator_audience=AUDIENCE,
        ) as muster,
    ):
        claims: dict[str, Any] = {
            "aud": "0b6e1f7a-2d1c-4a55-8f10-7c4f7a7d1e99",
            "tid": OTHER_DIRECTORY,
        }
        for role, status in (("Tenants.ReadWrite.All", 200), ("Access.Read.All", 401)):
            token = issuer.token(roles=[role], **claims)
            async with client_of(muster.application.operator, PATH, token) as client:
                assert (await client.get(f"/tenants/{TENANT}")).status_code == status


async def test_a_customer_from_the_contract_to_the_first_request(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    """Created, handed a link, enabled, looked after: all of it in the tenant's log."""
    made = await done(
        operator, "POST", "/tenants", {"id": "contoso", "name": "Contoso", "directoryId": DIRECTORY}
    )
    assert (made["provisioning"], made["region"]) == ("disabled", "eu")
    assert made["directoryId"] == DIRECTORY
    assert made["tenantUrl"] == "http://muster.test/scim"
    again = await operator.post("/tenants", json={"id": "contoso", "name": "Again"})
    assert (again.status_code, "exists already" in again.json()["detail"]) == (422, True)
    tenant = "/tenants/contoso"
    link = await done(operator, "POST", f"{tenant}/set-up-links")
    assert link["link"].startswith("http://muster.test/console/set-up/link?key=muster_invitation_")
    (listed,) = (await done(operator, "GET", f"{tenant}/set-up-links"))["links"]
    assert (listed["id"], listed["live"], "link" in listed) == (link["id"], True, False)
    token = await done(operator, "POST", f"{tenant}/tokens", {"kind": "scim"})
    async with client_of(muster.application.scim, "/scim", token["secret"]) as scim:
        assert (await scim.get("/Users")).status_code == 200
        assert (await scim.post("/Users", json={})).status_code == 403
        await done(operator, "PUT", f"{tenant}/provisioning", {"state": "enabled"})
        await create_group(scim, "Sales", [await create_user(scim, "ada")])
    await muster.application.counter.close()
    health = await done(operator, "GET", f"{tenant}/health")
    assert (health["summary"]["users"], health["summary"]["groups"]) == (1, 1)
    assert health["summary"]["requests"] == 4
    assert {"done"} < {each["state"] for each in health["checklist"]}
    await done(operator, "DELETE", f"{tenant}/set-up-links/{link['id']}")
    await done(operator, "PATCH", f"{tenant}/policy", {"strict": True, "disableWhen": ["inactive"]})
    await done(operator, "PUT", f"{tenant}/directory", {"directoryId": None})
    await done(operator, "PATCH", f"{tenant}/entra-tokens", {"accepted": False})
    changed = await done(operator, "PUT", f"{tenant}/region", {"region": "us"})
    assert changed["policy"]["disableWhen"] == ["inactive"]
    assert changed["entra"]["accepted"] is False
    await done(operator, "PUT", f"{tenant}/region", {"region": "eu"})
    logged = await events(muster, "contoso")
    assert [operation for operation, _, _ in logged] == [
        "invitationCreate",
        "tokenCreate",
        "enable",
        "invitationRevoke",
        "policy",
        "directory",
        "entraTokens",
        "region",
        "region",
    ]
    (credential,) = (await done(operator, "GET", "/credentials"))["credentials"]
    assert {actor for _, actor, _ in logged} == {f"credential {credential['secretId']}"}


async def test_connections_tokens_and_clients(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    tenant = f"/tenants/{TENANT}"
    new = {"connectionId": "second", "name": "Second"}
    await done(operator, "POST", f"{tenant}/connections", new)
    await done(operator, "PATCH", f"{tenant}/connections/second", {"name": "Other"})
    connections = (await done(operator, "GET", f"{tenant}/connections"))["connections"]
    assert [one["name"] for one in connections] == ["Microsoft Entra ID", "Other"]
    token = await done(
        operator, "POST", f"{tenant}/tokens", {"kind": "scim", "connectionId": "second"}
    )
    fresh = await done(operator, "POST", f"{tenant}/tokens/{token['id']}/rotate", {})
    await done(operator, "DELETE", f"{tenant}/tokens/{token['id']}")
    rows = (await done(operator, "GET", f"{tenant}/tokens"))["tokens"]
    assert fresh["id"] in {one["tokenId"] for one in rows}
    assert not {"digest", "secret"} & {name for one in rows for name in one}
    client = f"{tenant}/clients/entra"
    secret = await done(operator, "POST", f"{client}/secrets", {"days": 30})
    federation = {"issuer": "https://i", "subject": "s", "audience": "a"}
    refused = await operator.put(f"{client}/federation", json=federation)
    assert refused.status_code == 422
    named = {**federation, "keysUrl": "https://i/keys"}
    assert (await done(operator, "PUT", f"{client}/federation", named))["federation"]
    id = secret["clientSecret"].split("_")[3]
    await done(operator, "DELETE", f"{client}/secrets/{id}")
    await done(operator, "DELETE", client)
    assert (await done(operator, "GET", f"{tenant}/clients")) == {"clients": []}
    for path in ("tokens/0", "clients/entra", "set-up-links/x", "clients/none/secrets/x"):
        assert (await operator.delete(f"{tenant}/{path}")).status_code == 404
    assert len([1 for _, actor, _ in await events(muster) if actor != "manage.py"]) == 9


SECRETS = [
    (f"/tenants/{TENANT}/tokens", {"kind": "console"}),
    ("/credentials", {"kind": "application", "name": "Ada"}),
]


@pytest.mark.parametrize(("path", "body"), SECRETS, ids=["token", "credential"])
async def test_a_secret_ends_in_the_years_to_come(
    operator: httpx.AsyncClient, path: str, body: dict[str, str]
) -> None:
    """Also the one that replaces it."""
    late = await operator.post(path, json={**body, "expires": "2020-01-01T00:00:00Z"})
    assert (late.status_code, "in the past" in late.json()["detail"]) == (422, True)
    last = "9999-12-31T23:59:59.999999Z"
    made = await done(operator, "POST", path, {**body, "expires": last})
    await done(operator, "POST", f"{path}/{made['id']}/rotate", {})
    shown = await done(operator, "GET", path)
    (listed,) = shown.values()
    ends = [one["expires"] for one in listed if one.get("kind") == body["kind"]]
    assert [end[:10] for end in ends][-1] == last[:10]


async def test_what_concerns_no_tenant_is_a_line_of_the_log(
    muster: Environment, operator: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "muster.operator"):
        made = await done(operator, "POST", "/credentials", {"kind": "application", "name": "Ada"})
        credential = f"/credentials/{made['id']}"
        second = await done(operator, "POST", f"{credential}/rotate", {"overlapHours": 1})
        await done(operator, "DELETE", f"{credential}/secrets/{second['secret'].split('_')[3]}")
        await done(operator, "DELETE", credential)
        past = {"kind": "application", "expires": "2020-01-01T00:00:00Z"}
        assert (await operator.post("/credentials", json=past)).status_code == 422
        url = "http://127.0.0.1:9/hook"
        hook = await done(operator, "POST", "/webhooks", {"url": url, "types": ["test"]})
        assert len(hook["secrets"]) == 1
        webhook = f"/webhooks/{hook['endpointId']}"
        rotated = await done(operator, "POST", f"{webhook}/rotate", {})
        assert rotated["secrets"][1:] == hook["secrets"]
        await done(operator, "POST", f"{webhook}/test")
        since = {"since": "2026-01-01T00:00:00Z"}
        assert await done(operator, "POST", f"{webhook}/resend", since) == {"messages": 0}
        assert (await operator.post(f"{webhook}/resend", json={})).status_code == 400
        missing = await operator.post(f"{webhook}/resend", json={"messageId": "x"})
        assert missing.status_code == 404
        assert await done(operator, "GET", f"{webhook}/deliveries") == {"attempts": []}
        await done(operator, "PUT", f"{webhook}/state", {"state": "disabled"})
        (listed,) = (await done(operator, "GET", "/webhooks"))["endpoints"]
        assert (listed["state"], "secrets" in listed) == ("disabled", False)
        await done(operator, "DELETE", webhook)
        assert (await operator.get(webhook)).status_code == 404
    own = str(operator.headers["Authorization"]).split("_")[3]
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("credential ")]
    assert told == [
        f"credential {own}: {what}"
        for what in (
            f"createCredential {made['id']}",
            f"rotateCredential {made['id']} {made['id']}",
            f"revokeCredentialSecret {made['id']} {second['secret'].split('_')[3]}",
            f"revokeCredential {made['id']}",
            f"createWebhook {hook['endpointId']}",
            f"rotateWebhook {hook['endpointId']} {hook['endpointId']}",
            f"testWebhook {hook['endpointId']}",
            f"resendMessages {hook['endpointId']}",
            f"setWebhookState {hook['endpointId']} {hook['endpointId']}",
            f"deleteWebhook {hook['endpointId']}",
        )
    ]


async def test_what_failed_is_replayed_and_what_drifted_is_told(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    store, tenant = muster.application.store, f"/tenants/{TENANT}"
    ada = await create_user(muster.client, "ada")
    await muster.settle()
    about_ada = Query("Event", Compare(("resourceId",), "eq", ada))
    (event,) = (await store.query(TENANT, about_ada)).items
    id = event.document["eventId"]
    fail = Update(event.document["id"], (Assign(("state",), "failed"),))
    await store.batch(TENANT, [fail])
    await muster.bury(message_for(TENANT, "gone"))
    for path in ("/failed", f"{tenant}/failed"):
        found = await done(operator, "GET", path)
        assert [one["eventId"] for one in found["events"]] == [id]
        assert [one["event"] for one in found["letters"]] == ["gone"]
    assert (await operator.post(f"{tenant}/failed/nobody/replay")).status_code == 404
    replayed = await done(operator, "POST", f"{tenant}/failed/{id}/replay")
    assert replayed["events"] == 1
    await done(operator, "DELETE", f"{tenant}/dead-letters/gone")
    assert (await operator.delete("/dead-letters/gone")).status_code == 404
    assert await done(operator, "POST", "/failed/replay") == {"events": 0, "letters": 0}
    await muster.settle()
    assert [name for name, *_ in await events(muster)][-2:] == ["replay", "discard"]
    wrong = Update(f"access:{ada}", (Assign(("enabled",), True), Assign(("reasons",), [])))
    await store.batch(TENANT, [wrong])
    first = await done(operator, "GET", f"{tenant}/drift")
    assert (first["users"], [one["userId"] for one in first["differences"]]) == (1, [ada])
    last = await operator.get(f"{tenant}/drift", params={"cursor": first["nextCursor"]})
    assert last.json() == {"users": 0, "differences": [], "nextCursor": None}


async def test_a_tenant_in_a_file(muster: Environment, operator: httpx.AsyncClient) -> None:
    file = await done(operator, "GET", f"/tenants/{TENANT}/file")
    file["tenant"] |= {"id": "copy"}
    dry = await operator.post("/tenant-files", params={"dryRun": "true"}, json=file)
    assert dry.json()["outcome"] == "new"
    assert (await operator.get("/tenants/copy")).status_code == 404
    assert (await operator.post("/tenant-files", json=file)).json()["outcome"] == "new"
    assert (await operator.post("/tenant-files", json=file)).json()["outcome"] == "unchanged"
    logged = await events(muster, "copy")
    assert {actor.partition(" ")[0] for _, actor, _ in logged} == {"credential"}
    assert (await operator.post("/tenant-files", json={**file, "x": 1})).status_code == 422


async def test_who_is_elsewhere_is_managed_too(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    """Where a tenant's home is, operators say."""
    await create_tenant(muster.application.store, "faraway", "Faraway", "us")
    assert (await done(operator, "GET", "/tenants/faraway"))["region"] == "us"
    assert (await operator.get("/tenants/nobody")).status_code == 404
    assert (await operator.get("/tenants/_deployment")).status_code == 404


async def test_the_list_has_every_tenant_the_worst_first(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    store, fleet = muster.application.store, muster.application.fleet
    for n in range(3):
        await create_tenant(store, f"quiet{n}", f"Quiet {n}", "eu")
    await muster.changing(Tokens).create("console", expires=utc_now() + timedelta(days=3))
    assert await fleet.refresh() == 4
    assert await fleet.refresh() == 0, "nothing has happened since"
    rows = await done(operator, "GET", "/tenants")
    assert [row["tenant"] for row in rows["tenants"]] == [TENANT, "quiet0", "quiet1", "quiet2"]
    assert rows["tenants"][0]["troubles"] == ["secretEnding"]
    page = await operator.get("/tenants", params={"q": "QUIET", "limit": 2})
    assert [row["tenant"] for row in page.json()["tenants"]] == ["quiet0", "quiet1"]
    cursor = page.json()["nextCursor"]
    page = await operator.get("/tenants", params={"q": "QUIET", "limit": 1, "cursor": cursor})
    assert [row["tenant"] for row in page.json()["tenants"]] == ["quiet2"]
    assert (await operator.get("/tenants", params={"cursor": cursor})).status_code == 400


async def test_an_empty_cursor_is_the_first_page(
    muster: Environment, operator: httpx.AsyncClient
) -> None:
    await muster.application.fleet.refresh()
    for path in ("/tenants", f"/tenants/{TENANT}/drift"):
        empty = await operator.get(path, params={"cursor": ""})
        assert (empty.status_code, empty.json()) == (200, await done(operator, "GET", path))
