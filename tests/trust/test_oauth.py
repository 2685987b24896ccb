"""The token endpoint and its tokens (RFC 6749, RFC 7523; product section 2)."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from starlette.responses import Response

from administration.clients import Clients
from administration.connections import Connections
from administration.directories import Directories
from administration.tenants import create_tenant
from directory.tenants import Tenant
from oauth.http import BODY_BYTES
from tests.environment import Environment, change_tenant, running
from tests.scim.messages import create_group, group, user
from tests.trust.issuer import DIRECTORY, OTHER_DIRECTORY, TENANT, Issuer, encoded, signed
from trust.tokens import presented

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT = {"grant_type": "client_credentials"}
SUBJECT = "33333333-4444-5555-6666-777777777777"
YEAR = timedelta(days=365)


@dataclass
class Client:
    """A SCIM client that has been given an id and a secret."""

    muster: Environment
    http: httpx.AsyncClient
    id: str
    secret: str

    @property
    def body(self) -> dict[str, str]:
        """Its credentials as parameters."""
        return {**GRANT, "client_id": self.id, "client_secret": self.secret}

    async def asks(self, form: dict[str, str], **headers: str) -> httpx.Response:
        """The token endpoint's answer, which nobody may keep."""
        answer = await self.http.post("/oauth/token", data=form, headers=headers)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json"
        return answer

    async def token(self) -> str:
        """A new access token."""
        answer = await self.asks(self.body)
        assert answer.status_code == 200, answer.text
        text: str = answer.json()["access_token"]
        return text

    async def status(self, token: str) -> int:
        """Of a SCIM request with this token."""
        return (await self.scim("GET", "/Users", token)).status_code

    async def scim(self, method: str, path: str, token: str, body: Any = None) -> httpx.Response:
        """A SCIM request with this token."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.muster.client.request(method, path, json=body, headers=headers)

    def forget(self) -> None:
        """As after some seconds: tenants are read again."""
        self.muster.application.authenticator._tenants._tenants._known.clear()


@asynccontextmanager
async def client_in(muster: Environment) -> AsyncIterator[Client]:
    """The client of the connection `hr`."""
    application = muster.application
    await muster.changing(Connections).create("hr", "HR system")
    id, secret = await muster.changing(Clients).add_secret("hr", YEAR)
    transport = httpx.ASGITransport(app=application.oauth)
    async with httpx.AsyncClient(transport=transport, base_url="http://muster.test") as http:
        yield Client(muster, http, id, secret)


@pytest.fixture
async def client(muster: Environment) -> AsyncIterator[Client]:
    """Where nobody asks too often."""
    async with client_in(muster) as client:
        yield client


def basic(id: str, secret: str) -> dict[str, str]:
    """RFC 6749 section 2.3.1."""
    text = f"{quote(id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


async def test_a_client_that_asks_too_often_waits(tmp_path: Path) -> None:
    async with running(tmp_path, requests_per_second=0.001) as muster, client_in(muster) as client:
        assert (await client.asks(client.body)).status_code == 200
        refused = await client.asks(client.body)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 900


async def test_a_token_for_a_secret_in_the_body_or_the_header(client: Client) -> None:
    """RFC 6749 sections 4.4 and 5.1."""
    for answer in (
        await client.asks(client.body),
        await client.asks(GRANT, **basic(client.id, client.secret)),
        await client.asks({**GRANT, "client_id": client.id}, **basic(client.id, client.secret)),
        await client.asks({**client.body, "scope": ""}),
    ):
        granted = answer.json()
        assert granted.keys() == {"access_token", "token_type", "expires_in"}
        assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
        assert granted["access_token"].startswith("muster_oauth_")
        assert await client.status(granted["access_token"]) == 200
        assert client.secret.rpartition("_")[2] not in granted["access_token"]
    scoped = await client.asks({**client.body, "scope": "api://x/.default"})
    assert scoped.json()["scope"] == "scim"


async def test_a_token_is_its_connections(client: Client) -> None:
    token = await client.token()
    created = await client.scim("POST", "/Groups", token, group("Sales"))
    id = created.json()["id"]
    refused = await client.muster.client.delete(f"/Groups/{id}")
    assert (refused.status_code, "HR system" in refused.json()["detail"]) == (403, True)
    own = await create_group(client.muster.client, "Own")
    assert (await client.scim("DELETE", f"/Groups/{own}", token)).status_code == 403
    assert (await client.scim("DELETE", f"/Groups/{id}", token)).status_code == 204


type Ask = Callable[[Client], tuple[dict[str, str], dict[str, str]]]
REFUSALS: dict[str, tuple[Ask, str]] = {
    "no grant type": (lambda c: ({**c.body, "grant_type": ""}, {}), "invalid_request"),
    "another grant type": (
        lambda c: ({**c.body, "grant_type": "password"}, {}),
        "unsupported_grant_type",
    ),
    "the code grant": (
        lambda c: ({**c.body, "grant_type": "authorization_code"}, {}),
        "unsupported_grant_type",
    ),
    "no credentials": (lambda _: (GRANT, {}), "invalid_client"),
    "no secret": (lambda c: ({**GRANT, "client_id": c.id}, {}), "invalid_client"),
    "a wrong secret": (
        lambda c: ({**c.body, "client_secret": c.secret[:-1] + "g"}, {}),
        "invalid_client",
    ),
    "another secret of the form": (
        lambda c: ({**c.body, "client_secret": flipped(c.secret)}, {}),
        "invalid_client",
    ),
    "a wrong secret in the header": (
        lambda c: (GRANT, basic(c.id, flipped(c.secret))),
        "invalid_client",
    ),
    "another client": (
        lambda c: ({**c.body, "client_id": f"muster_client_{TENANT}_00000000"}, {}),
        "invalid_client",
    ),
    "a client of nobody": (
        lambda c: ({**c.body, "client_id": "muster_client_nobody_00000000"}, {}),
        "invalid_client",
    ),
    "a client id of another form": (
        lambda c: ({**c.body, "client_id": "../tenant"}, {}),
        "invalid_client",
    ),
    "a SCIM token as the secret": (
        lambda c: ({**c.body, "client_secret": c.muster.token}, {}),
        "invalid_client",
    ),
    "a bearer header": (
        lambda c: (GRANT, {"Authorization": f"Bearer {c.secret}"}),
        "invalid_client",
    ),
    "a header that is no base64": (
        lambda _: (GRANT, {"Authorization": "Basic ???"}),
        "invalid_client",
    ),
    "a header without colon": (
        lambda _: (GRANT, {"Authorization": f"Basic {base64.b64encode(b'abc').decode()}"}),
        "invalid_client",
    ),
    "header and body": (lambda c: (c.body, basic(c.id, c.secret)), "invalid_request"),
    "secret and assertion": (
        lambda c: ({**c.body, "client_assertion": "a.b.c"}, {}),
        "invalid_request",
    ),
    "two client ids": (
        lambda c: ({**GRANT, "client_id": "other"}, basic(c.id, c.secret)),
        "invalid_request",
    ),
    "another type of assertion": (
        lambda c: ({**GRANT, "client_id": c.id, "client_assertion": "a.b.c"}, {}),
        "invalid_request",
    ),
    "an assertion without a client id": (
        lambda _: (
            {**GRANT, "client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE},
            {},
        ),
        "invalid_request",
    ),
    "an assertion of a client that has none": (
        lambda c: (asserting(c, "a.b.c"), {}),
        "invalid_client",
    ),
}


def flipped(secret: str) -> str:
    """Another secret of the same form."""
    return secret[:-1] + ("0" if secret[-1] != "0" else "1")


def asserting(client: Client, assertion: str) -> dict[str, str]:
    """A request with an assertion."""
    return {
        **GRANT,
        "client_id": client.id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }


@pytest.mark.parametrize(("ask", "error"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_what_gets_no_token(client: Client, ask: Ask, error: str) -> None:
    """RFC 6749 section 5.2."""
    form, headers = ask(client)
    answer = await client.asks(form, **headers)
    assert answer.json()["error"] == error
    assert answer.status_code == (401 if error == "invalid_client" else 400)
    assert ("WWW-Authenticate" in answer.headers) is (error == "invalid_client")
    if error == "invalid_client":
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert client.secret not in answer.text


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", None),
        (b"grant_type=client_credentials&client_id=%ff", None),
        (b"grant_type=\xff", None),
        (b"&".join(b"p%d=1" % n for n in range(50)), None),
        (b"x" * 70_000, None),
        (b'{"grant_type": "client_credentials"}', "application/json"),
        (b"grant_type=client_credentials", "text/plain"),
        (b"", None),
    ],
    ids=["twice", "no UTF-8", "no ASCII", "many", "large", "JSON", "no form", "empty"],
)
async def test_a_malformed_request_is_said_to_be_one(
    client: Client, body: bytes, media_type: str | None
) -> None:
    headers = {"Content-Type": media_type or "application/x-www-form-urlencoded"}
    answer = await client.http.post("/oauth/token", content=body, headers=headers)
    status = 413 if len(body) > BODY_BYTES else 400
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_there_is_nothing_but_post_token(client: Client) -> None:
    got = await client.http.get("/oauth/token")
    assert (got.status_code, got.headers["Allow"]) == (405, "POST")
    assert (await client.http.post("/oauth/else")).status_code == 404
    assert (await client.http.post("/oauth/token/", data=client.body)).status_code == 200


class TestRotation:
    """Secrets come and go, and tokens with them."""

    async def test_a_second_secret_works_beside_the_first(self, client: Client) -> None:
        clients = client.muster.changing(Clients)
        id, second = await clients.add_secret("hr", YEAR, timedelta(hours=1))
        assert id == client.id
        client.forget()
        for secret in (client.secret, second):
            assert (
                await client.status(
                    (await client.asks({**client.body, "client_secret": secret})).json()[
                        "access_token"
                    ]
                )
                == 200
            )

    async def test_a_revoked_secret_takes_its_tokens_along_during_traffic(
        self, client: Client
    ) -> None:
        clients = client.muster.changing(Clients)
        _, second = await clients.add_secret("hr", YEAR)
        client.forget()
        old = await client.token()
        client.secret, revoked = second, client.secret
        new = await client.token()
        shown = presented(revoked)
        assert shown is not None
        seen: list[tuple[int, int]] = []

        async def traffic() -> None:
            while not (seen and seen[-1][0] == 401):
                seen.append((await client.status(old), await client.status(new)))
                await asyncio.sleep(0)

        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(traffic())
            while len(seen) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await clients.revoke_secret("hr", shown.token_id)
            client.forget()
        assert seen[0] == (200, 200)
        assert {after for _, after in seen} == {200}, "the other secret's token is not touched"
        client.secret = revoked
        assert (await client.asks(client.body)).json()["error"] == "invalid_client"

    async def test_a_secret_that_expired_gives_no_token_and_leaves_those_it_gave(
        self, client: Client
    ) -> None:
        token = await client.token()
        store = client.muster.application.store
        await change_tenant(store, TENANT, expire_secrets)
        client.forget()
        assert (await client.asks(client.body)).status_code == 401
        assert await client.status(token) == 200

    async def test_a_client_that_is_removed_is_gone(self, client: Client) -> None:
        token = await client.token()
        await client.muster.changing(Clients).remove("hr")
        client.forget()
        assert await client.status(token) == 401
        assert (await client.asks(client.body)).status_code == 401


def expire_secrets(tenant: Tenant) -> Tenant:
    """The tenant with every secret of a client expired."""
    document = tenant.to_document()
    for connection in document["connections"]:
        for secret in connection.get("client", {}).get("secrets", []):
            secret["expires"] = "2020-01-01T00:00:00Z"
    return Tenant.from_document(document)


def with_part(token: str, index: int, **changes: Any) -> str:
    """A token with its header (0) or claims (1) changed after signing."""
    parts = token.split(".")
    prefix = "muster_oauth_" if index == 0 else ""
    text = parts[index].removeprefix(prefix)
    content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    parts[index] = prefix + encoded(json.dumps(content | changes).encode())
    return ".".join(parts)


type Forge = Callable[[str], str]
FORGERIES: dict[str, Forge] = {
    "other claims": lambda t: with_part(t, 1, exp=int(time.time()) + 10**6),
    "another client": lambda t: with_part(t, 1, sub=f"muster_client_{TENANT}_00000000"),
    "no client": lambda t: with_part(t, 1, sub=None),
    "another credential": lambda t: with_part(t, 0, kid="00000000"),
    "alg none": lambda t: with_part(t, 0, alg="none").rpartition(".")[0] + ".",
    "alg RS256": lambda t: with_part(t, 0, alg="RS256"),
    "no signature": lambda t: t.rpartition(".")[0] + ".",
    "another signature": lambda t: t[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"),
    "without its prefix": lambda t: t.removeprefix("muster_oauth_"),
    "prefix alone": lambda _: "muster_oauth_",
    "signed with nothing": lambda t: resigned(t, b""),
    "signed with a key of one's own": lambda t: resigned(t, b"k" * 32),
    "a directory's token": lambda _: "muster_oauth_" + signed({"tid": DIRECTORY}),
}


def resigned(token: str, key: bytes) -> str:
    """The same claims, signed with another key."""
    import hashlib
    import hmac

    body = token.removeprefix("muster_oauth_").rpartition(".")[0]
    signature = hmac.digest(key, body.encode(), hashlib.sha256)
    return f"muster_oauth_{body}.{encoded(signature)}"


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_access_token_is_refused(client: Client, forge: Forge) -> None:
    token = await client.token()
    answer = await client.scim("GET", "/Users", forge(token))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="muster", error="invalid_token"'
    assert await client.status(token) == 200


async def test_an_access_token_lives_for_an_hour(client: Client) -> None:
    kept = await stored_client(client)
    for age, status in ((3590, 200), (3610, 401)):
        claims = jwt.decode(
            (await client.token()).removeprefix("muster_oauth_"),
            options={"verify_signature": False},
        )
        assert claims["exp"] - claims["iat"] == 3600
        claims |= {"iat": int(time.time()) - age, "exp": int(time.time()) - age + 3600}
        key = bytes.fromhex(kept["signingKey"])
        token = "muster_oauth_" + jwt.encode(claims, key, "HS256", {"kid": kept["tokenId"]})
        assert await client.status(token) == status


async def stored_client(client: Client) -> dict[str, Any]:
    """What the tenant keeps of the secret."""
    tenant = await client.muster.application.store.read(TENANT, "tenant")
    (connection,) = (c for c in tenant.document["connections"] if c["connectionId"] == "hr")
    (secret,) = connection["client"]["secrets"]
    assert client.secret not in json.dumps(tenant.document)
    assert secret["signingKey"] not in repr(Tenant.from_document(tenant.document))
    return dict(secret)


async def test_it_opens_nothing_but_scim(client: Client) -> None:
    headers = {"Authorization": f"Bearer {await client.token()}"}
    answer = await client.muster.access.get("/users?userName=a", headers=headers)
    assert answer.status_code == 401


async def test_a_client_of_another_tenant_gets_its_own_tenants_token(client: Client) -> None:
    service = client.muster.application.service
    await create_tenant(service.store, "other", "Other", "eu")
    id, secret = await Clients(service, "other").add_secret("entra", YEAR)
    for form in ({"client_id": id}, {"client_secret": secret}):
        assert (await client.asks({**client.body, **form})).status_code == 401
    own = {**GRANT, "client_id": id, "client_secret": secret}
    token = (await client.asks(own)).json()["access_token"]
    assert (await client.scim("POST", "/Users", token, user("ada"))).status_code == 403
    assert (await client.scim("POST", "/Users", await client.token(), user("ada"))).is_success
    assert (await client.scim("GET", "/Users", token)).json()["totalResults"] == 0


async def test_a_client_of_another_region_is_sent_there(client: Client) -> None:
    store = client.muster.application.store
    token = await client.token()
    await change_tenant(store, TENANT, lambda t: t.model_copy(update={"region": "us"}))
    client.forget()
    answer = await client.asks(client.body)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert await client.status(token) == 403


class TestWorkloadIdentity:
    """RFC 7523: an assertion of Entra ID instead of a secret."""

    @pytest.fixture
    async def federated(self, client: Client, issuer: Issuer) -> Client:
        """The client, which a workload's identity may stand in for."""
        application = client.muster.application
        await client.muster.changing(Clients).federate(
            "hr",
            issuer=f"{issuer.url}/{OTHER_DIRECTORY}/v2.0",
            subject=SUBJECT,
            audience="api://muster",
            keys_url="",
            cloud=application.settings.cloud,
        )
        client.forget()
        return client

    def assertion(self, issuer: Issuer, **changes: Any) -> str:
        """What the provisioning service shows."""
        own = {"tid": OTHER_DIRECTORY, "sub": SUBJECT, "aud": "api://muster"}
        return signed(issuer.claims("2.0", **(own | changes)))

    async def test_an_assertion_gets_a_token(self, federated: Client, issuer: Issuer) -> None:
        answer = await federated.asks(asserting(federated, self.assertion(issuer)))
        token = answer.json()["access_token"]
        created = await federated.scim("POST", "/Groups", token, group("Sales"))
        stored = await federated.muster.application.store.read(
            TENANT, f"group:{created.json()['id']}"
        )
        assert stored.document["connectionId"] == "hr"
        assert issuer.asked == [f"/{OTHER_DIRECTORY}/discovery/v2.0/keys"]
        assert await federated.status(await federated.token()) == 200, "the secret works, too"

    @pytest.mark.parametrize("named", ["api://{}/.default", "api://{}", "{}"])
    @pytest.mark.parametrize(
        ("audience", "status"),
        [("api://{}", 200), ("{}", 200), ("api://{}/.default", 200), ("api://else", 401)],
    )
    async def test_the_forms_of_an_application_are_one_audience(
        self, federated: Client, issuer: Issuer, named: str, audience: str, status: int
    ) -> None:
        await federated.muster.changing(Clients).federate(
            "hr",
            issuer=f"{issuer.url}/{OTHER_DIRECTORY}/v2.0",
            subject=SUBJECT,
            audience=named.format(DIRECTORY),
            keys_url="",
            cloud=federated.muster.application.settings.cloud,
        )
        federated.forget()
        assertion = self.assertion(issuer, aud=audience.format(DIRECTORY))
        assert (await federated.asks(asserting(federated, assertion))).status_code == status

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"sub": "somebody else"}, "another subject"),
            ({"sub": None}, "another subject"),
            ({"aud": "api://else"}, "another audience"),
            ({"iss": "https://evil.example/v2.0"}, "not known"),
            ({"tid": DIRECTORY, "iss": f"https://sts.windows.net/{DIRECTORY}/"}, "not known"),
            ({"exp": 1}, "has expired"),
            ({"exp": None}, "not known"),
            ({"exp": 10**400}, "not known"),
        ],
    )
    async def test_another_assertion_gets_none(
        self, federated: Client, issuer: Issuer, changes: dict[str, Any], says: str
    ) -> None:
        answer = await federated.asks(asserting(federated, self.assertion(issuer, **changes)))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert says in answer.json()["error_description"]

    async def test_an_assertion_that_lives_too_long_gets_none(
        self, federated: Client, issuer: Issuer
    ) -> None:
        now = int(time.time())
        for changes in (
            {"exp": now + 91 * 60},
            {"exp": str(now + 91 * 60)},
            {"exp": now + 200 * 60, "iat": None},
            {"exp": now + 60, "iat": now - 6000},
        ):
            answer = await federated.asks(asserting(federated, self.assertion(issuer, **changes)))
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
            assert "lives too long" in answer.json()["error_description"]

    async def test_an_assertion_may_live_as_long_as_entra_ids_do(
        self, federated: Client, issuer: Issuer
    ) -> None:
        long = self.assertion(issuer, exp=int(time.time()) + 90 * 60)
        assert (await federated.asks(asserting(federated, long))).status_code == 200

    async def test_a_forged_assertion_gets_none(self, federated: Client, issuer: Issuer) -> None:
        good = self.assertion(issuer)
        body, _, signature = good.rpartition(".")
        forged = signed(issuer.claims("2.0"), "forged", {"kid": "first"})
        for assertion in (f"{body}.{signature[::-1]}", f"{body}.", "a.b.c", "x", forged):
            answer = await federated.asks(asserting(federated, assertion))
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    async def test_keys_that_do_not_answer_are_no_401(
        self, federated: Client, issuer: Issuer
    ) -> None:
        issuer.answer = Response(status_code=500)
        answer = await federated.asks(asserting(federated, self.assertion(issuer)))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0

    async def test_an_assertion_is_no_bearer_token(self, federated: Client, issuer: Issuer) -> None:
        await federated.muster.changing(Directories).register(OTHER_DIRECTORY)
        assert await federated.status(self.assertion(issuer)) == 401
