"""Credentials of the deployment: they alone name a tenant in the path, and open nothing else
(product section 2, invariant 5)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from administration.credentials import Credentials
from administration.tenants import create_tenant
from administration.tokens import Tokens
from directory.tenants import Policy
from tests.administration.operating import Operator
from tests.environment import Environment, add_tenant, client_of, running
from tests.scim.messages import create_user
from tests.trust.issuer import DIRECTORY, OTHER_DIRECTORY, TENANT, Issuer
from trust.entra import OF_PEOPLE
from wiring import utc_now

AUDIENCE = "0b6e1f7a-2d1c-4a55-8f10-7c4f7a7d1e99"
READER: dict[str, Any] = {"aud": AUDIENCE, "tid": OTHER_DIRECTORY, "roles": ["Access.Read.All"]}


@pytest.fixture
async def vendor(tmp_path: Path, issuer: Issuer) -> Any:
    """A Muster whose vendor's directory is another one than its tenant's."""
    async with running(
        tmp_path,
        tenant_id=TENANT,
        entra_login_url=issuer.url,
        operator_directory=OTHER_DIRECTORY,
        operator_audience=f"api://{AUDIENCE}",
    ) as environment:
        yield environment


async def ask(muster: Environment, path: str, token: str) -> httpx.Response:
    """The access API's answer."""
    return await muster.access.get(path, headers={"Authorization": f"Bearer {token}"})


def credentials(muster: Environment) -> Credentials:
    """Those of the deployment."""
    return Credentials(muster.application.store, utc_now)


async def test_one_credential_serves_every_tenant(vendor: Environment) -> None:
    other, _ = await add_tenant(vendor.application.store, "other", Policy())
    scim = client_of(vendor.application.scim, "/scim", other)
    found = {TENANT: await create_user(vendor.client, "ada"), "other": await create_user(scim, "o")}
    _, secret = await credentials(vendor).create("application", "booking")
    for tenant, id in found.items():
        answer = await ask(vendor, f"/tenants/{tenant}/users/{id}", secret)
        assert (answer.status_code, answer.json()["id"]) == (200, id)
    assert (
        await ask(vendor, f"/tenants/{TENANT}/users/{found['other']}", secret)
    ).status_code == 404


async def test_what_it_does_not_open(vendor: Environment) -> None:
    """Without a tenant it says what to do; what is another's or nobody's is told apart only now
    that it is proven."""
    await create_tenant(vendor.application.store, "faraway", "Faraway", "us")
    _, secret = await credentials(vendor).create("application")
    _, operator = await credentials(vendor).create("operator")
    api = await vendor.changing(Tokens).create("console")
    own = vendor.access.headers["Authorization"].removeprefix("Bearer ")
    for token, path, status, says in (
        (secret, "/users", 403, "/access/v1/tenants/{tenant}/users"),
        (secret, "/tenants/nobody/users/x", 404, "no such organisation"),
        (secret, "/tenants/_deployment/users/x", 404, "no such organisation"),
        (secret, "/tenants/faraway/users/x", 403, '"us"'),
        (operator, f"/tenants/{TENANT}/users", 401, "credential create --kind application"),
        (operator, "/users", 401, "--kind access"),
        (own, f"/tenants/{TENANT}/users", 401, "credential of the deployment"),
        (own, "/tenants/nobody/users", 401, "credential of the deployment"),
        (vendor.token, f"/tenants/{TENANT}/users", 401, "credential of the deployment"),
        (api, f"/tenants/{TENANT}/users", 401, "credential of the deployment"),
        (secret[:-1] + "x", f"/tenants/{TENANT}/users", 401, "credential of the deployment"),
    ):
        answer = await ask(vendor, path, token)
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), (path, says)
        if status == 401:
            assert answer.headers["www-authenticate"].startswith('Bearer realm="muster"')
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await vendor.client.get("/Users", headers=headers)).status_code == 401


async def test_a_secret_is_rotated_and_ends(vendor: Environment) -> None:
    kept, path = credentials(vendor), f"/tenants/{TENANT}/users/x"
    credential, first = await kept.create("application", expires=utc_now() + timedelta(days=9))
    second = await kept.rotate(credential.credential_id, timedelta(hours=1))
    for secret in (first, second):
        assert (await ask(vendor, path, secret)).status_code == 404
    with pytest.raises(Exception, match="live already"):
        await kept.rotate(credential.credential_id, timedelta(hours=1))
    await vendor.application.authenticator.close()
    old, new = await kept.list()
    assert old.last_used
    assert new.last_used
    assert old.token
    assert new.token
    assert new.token.expires
    assert old.token.expires
    assert old.token.expires < utc_now() + timedelta(hours=2)
    assert new.token.expires > utc_now() + timedelta(days=8)
    assert first not in str(
        await vendor.application.store.read("_deployment", credential.document_id)
    )


async def test_what_is_revoked_opens_nothing_once_it_is_read_again(tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        kept = credentials(muster)
        credential, secret = await kept.create("application")
        await kept.revoke(credential.credential_id, secret.split("_")[3])
        assert (await ask(muster, "/tenants/acme/users/x", secret)).status_code == 401
        again = await kept.rotate(credential.credential_id, timedelta())
        assert (await ask(muster, "/tenants/acme/users/x", again)).status_code == 404
        await kept.revoke(credential.credential_id)
    async with running(tmp_path, tenant_id="second") as restarted:
        assert (await ask(restarted, "/tenants/acme/users/x", again)).status_code == 401


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_an_application_of_the_vendor_s_directory_is_let_in_by_its_app_role(
    vendor: Environment, issuer: Issuer, version: str
) -> None:
    path = f"/tenants/{TENANT}/users/x"
    assert (await ask(vendor, path, issuer.token(version, **READER))).status_code == 404
    assert (await ask(vendor, "/users/x", issuer.token(version, **READER))).status_code == 403
    cases: list[tuple[dict[str, Any], str]] = [
        ({"roles": ["Tenants.ReadWrite.All"]}, "no app role Access.Read.All"),
        ({"roles": None}, "no app role"),
        ({"roles": "Access.Read.All"}, "no app role"),
        ({"tid": DIRECTORY}, ""),
        ({"aud": "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"}, "another audience"),
        ({"idtyp": "user"}, "speaks for a user"),
        *(({claim: "ada"}, "speaks for a user") for claim in OF_PEOPLE),
        ({"exp": 1}, "expired"),
    ]
    for changed, says in cases:
        answer = await ask(vendor, path, issuer.token(version, **{**READER, **changed}))
        assert (answer.status_code, says in answer.json()["detail"]) == (401, True), changed
    assert (
        await ask(vendor, path, issuer.token(version, key="other", **READER))
    ).status_code == 401


async def test_without_the_settings_no_directory_counts(tmp_path: Path, issuer: Issuer) -> None:
    async with running(tmp_path, tenant_id=TENANT, entra_login_url=issuer.url) as muster:
        for claims in (READER, {**READER, "tid": DIRECTORY}, {**READER, "tid": ""}):
            answer = await ask(muster, f"/tenants/{TENANT}/users/x", issuer.token(**claims))
            assert answer.status_code == 401
        assert issuer.asked == []


def test_at_the_command_line(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    made = operator.does("credential", "create", "--kind", "application", "--name", "booking")
    assert made["secret"].startswith(f"muster_application_{made['credentialId']}_")
    rotated = operator.does("credential", "rotate", made["credentialId"])
    listed = operator.does("credential", "list")
    assert [(row["name"], row["state"], row["lastUsed"]) for row in listed] == [
        ("booking", "live", "")
    ] * 2
    assert rotated["secret"] not in operator.reads("credential", "list")
    operator.does("credential", "revoke", made["credentialId"], "--secret", listed[0]["secretId"])
    assert len(operator.does("credential", "list")) == 1
    operator.does("credential", "revoke", made["credentialId"])
    assert operator.does("credential", "list") == []
    for arguments, says in (
        (("rotate", "x"), "There is no credential x"),
        (("create", "--kind", "operator", "--expires", "2020-01-01"), "in the past"),
        (("create", "--kind", "operator", "--expires", "soon"), "A time looks like"),
    ):
        assert says in operator.fails("credential", *arguments)
