"""A tenant goes into a file and comes out of it, in another deployment or in this one again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from administration.errors import AdministrationError
from administration.tenant_file import TenantFile, export_tenant, parse_tenant_file
from administration.tenant_import import TenantImport
from administration.tenants import read_tenant
from directory.reading import every_tenant
from directory.store import Query, Store, Unavailable
from scim.writing import Service
from settings import Settings
from tests.administration.operating import Operator
from tests.environment import client_of
from tests.reconciler.world import Hooked
from wiring import Application

DIRECTORY = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
GROUPS = {
    "groups": [
        {
            "externalId": "e-1",
            "displayName": "Sales",
            "entitlements": [{"kind": "costCenterMembership", "key": "cc-1"}],
        }
    ]
}
CATALOG = {"entitlements": [{"kind": "costCenterMembership", "key": "cc-1", "displayName": "One"}]}
ISSUER = f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"


class Deployment(Operator):
    """An operator of one deployment, with the files that are used there."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder / "state", **settings)
        self.folder = folder
        self.settings = Settings(data=folder / "state")
        self.folder.mkdir()

    def file(self, content: Any) -> str:
        path = self.folder / "file.json"
        path.write_text(json.dumps(content))
        return str(path)

    def exported(self, tenant: str = "acme") -> dict[str, Any]:
        path = self.folder / "exported.json"
        assert "is in" in self.reads("tenant", "export", tenant, "--output", str(path))
        assert path.stat().st_mode & 0o777 == 0o600
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content

    def imports(self, content: Any, *options: str) -> dict[str, Any]:
        report: dict[str, Any] = self.does("tenant", "import", self.file(content), *options)
        return report


@pytest.fixture
def here(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "eu")


@pytest.fixture
def there(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "us", MUSTER_REGION="us")


def furnish(deployment: Deployment) -> tuple[str, str]:
    """A tenant with some of everything; the text of its SCIM token and of its client's secret."""
    does = deployment.does
    does("tenant", "create", "acme", "--name", "Acme", "--directory-id", DIRECTORY)
    does("tenant", "policy", "acme", "--strict")
    does("tenant", "entra", "acme", "--audience", "a")
    does("connection", "create", "acme", "second", "--name", "Second")
    does("catalog", "import", "acme", deployment.file(CATALOG))
    does("group", "import", "acme", deployment.file(GROUPS))
    token = does("token", "create", "acme")["token"]
    for kind in ("access", "console"):
        does("token", "create", "acme", "--kind", kind)
    secret = does("client", "create", "acme", "--connection", "second")["clientSecret"]
    workload = ("--issuer", ISSUER, "--subject", "s", "--audience", "api://muster")
    does("client", "federate", "acme", "--connection", "second", *workload)
    return token, secret


@dataclass(frozen=True)
class Furnished:
    """A tenant of `here` with some of everything."""

    token: str
    secret: str
    """Of the OAuth client."""
    content: dict[str, Any]
    """What it is exported as."""

    @property
    def file(self) -> TenantFile:
        return parse_tenant_file(json.dumps(self.content).encode())


@pytest.fixture
def acme(here: Deployment) -> Furnished:
    return Furnished(*furnish(here), here.exported())


@pytest.fixture
def moved(acme: Furnished, there: Deployment) -> Furnished:
    """The same, imported there."""
    there.imports(acme.content)
    return acme


def lasting(exported: dict[str, Any]) -> dict[str, Any]:
    """What is the same in every deployment."""
    tenant = {k: v for k, v in exported["tenant"].items() if k not in ("region", "provisioning")}
    return exported | {"exportedAt": "", "tenant": tenant}


async def everything(store: Store) -> dict[str, str]:
    types = ("Tenant", "DirectoryClaim", "Entitlement", "Group", "Key", "Mapping", "Event")
    return {
        f"{stored.document['tenantId']}/{stored.document['id']}": stored.etag
        for type in types
        async for stored in every_tenant(store, Query(type))
    }


def test_a_tenant_moves_to_another_region(here: Deployment, there: Deployment) -> None:
    furnish(here)
    exported = here.exported()
    planned = there.imports(exported, "--dry-run")
    assert planned["outcome"] == "new"
    assert "There is no tenant acme" in there.fails("tenant", "show", "acme")
    done = there.imports(exported)
    assert {**done, "groups": []} == {**planned, "groups": []}
    assert [group["outcome"] for group in done["groups"]] == ["new"]
    shown = there.does("tenant", "show", "acme")
    assert (shown["region"], shown["provisioning"]) == ("us", "disabled")
    assert lasting(there.exported()) == lasting(exported)
    assert there.imports(exported)["outcome"] == "unchanged"
    (mapping,) = there.does("mapping", "list", "acme")
    assert (mapping["group"], mapping["entitlements"]) == ("Sales", "costCenterMembership cc-1")


async def test_credentials_work_on_in_the_other_region(moved: Furnished, there: Deployment) -> None:
    connections = moved.content["tenant"]["connections"]
    (second,) = (one for one in connections if one["connectionId"] == "second")
    application = Application(there.settings.model_copy(update={"region": "us"}))
    try:
        async with client_of(application.scim, "/scim", moved.token) as client:
            assert (await client.get("/Users?count=1")).status_code == 200
            assert (await client.post("/Users", json={})).status_code == 403, "not enabled yet"
        async with client_of(application.oauth, "/oauth", "") as client:
            del client.headers["Authorization"]
            form = {
                "grant_type": "client_credentials",
                "client_id": second["client"]["clientId"],
                "client_secret": moved.secret,
            }
            assert (await client.post("/token", data=form)).status_code == 200
    finally:
        await application.close()


async def test_nothing_in_the_file_is_secret(acme: Furnished, here: Deployment) -> None:
    text = json.dumps(acme.content)
    application = Application(here.settings)
    tenant = await read_tenant(application.store, "acme")
    await application.close()
    client = tenant.connections[1].client
    assert client
    assert client.federation
    keys = [client.federation.signing_key, *(each.signing_key for each in client.secrets)]
    for each in (acme.token, acme.secret, *keys):
        assert each not in text
    assert tenant.connections[0].tokens[0].digest in text


def test_what_differs_is_brought_and_the_rest_is_kept(here: Deployment) -> None:
    furnish(here)
    file = here.exported()
    file["tenant"]["name"] = "Acme Corporation"
    file["tenant"]["accessTokens"][0]["digest"] = "0" * 64
    file["catalog"].append({"kind": "role", "key": "new", "displayName": "New"})
    file["groups"][0]["entitlements"].append({"kind": "role", "key": "new"})
    file["groups"].append({"displayName": "Nameless", "entitlements": []})
    report = here.imports(file)
    assert (report["outcome"], report["settings"]) == ("updated", ["name"])
    assert [entry["key"] for entry in report["catalog"]["added"]] == ["new"]
    assert [group["outcome"] for group in report["groups"]] == ["updated"]
    nameless, tokens = report["leftOut"]
    assert "Nameless" in nameless
    assert "tokens are not imported: the tenant has some already" in tokens
    assert here.exported()["tenant"]["accessTokens"][0]["digest"] != "0" * 64


def test_as_another_tenant_it_has_no_credentials(here: Deployment) -> None:
    furnish(here)
    file = here.exported()
    assert "registered for the tenant acme" in here.fails(
        "tenant", "import", here.file(file), "--tenant", "staging"
    )
    del file["tenant"]["directoryId"]
    report = here.imports(file, "--tenant", "staging")
    assert "name the tenant acme" in report["leftOut"][0]
    for connection in here.exported("staging")["tenant"]["connections"]:
        assert (connection["tokens"], connection.get("client")) == ([], None)


def _with(**changes: Any) -> Any:
    return lambda file: file | changes


def _inside(**changes: Any) -> Any:
    return lambda file: file | {"tenant": file["tenant"] | changes}


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (_with(version=2), "has version 2; this Muster reads version 1"),
        (_with(format="other"), "format"),
        (_with(webhooks=[]), "does not know: webhooks"),
        (_inside(residency="x"), "does not know: tenant.residency"),
        (_inside(policy={"keepOwner": True}), "does not know: tenant.policy.keepOwner"),
        (_inside(name=None), "tenant.name"),
        (_with(schemas=[{"id": "urn:example:Rooms"}]), "does not serve the extension schemas urn"),
        (_with(catalog=[{"kind": "x", "key": "k", "displayName": "d"}]), "there is no kind 'x'"),
        (_with(catalog=[]), "The catalog does not have: costCenterMembership cc-1"),
        (lambda _: [], "cannot be read"),
    ],
)
def test_a_file_that_is_not_understood_changes_nothing(
    here: Deployment, there: Deployment, damaged: Any, says: str
) -> None:
    furnish(here)
    file = damaged(here.exported())
    assert says in " ".join(there.fails("tenant", "import", there.file(file)).split())
    assert "There is no tenant acme" in there.fails("tenant", "show", "acme")


async def test_an_interrupted_import_lets_nobody_in_and_is_completed_by_the_next(
    acme: Furnished, tmp_path: Path
) -> None:
    file = acme.file
    for fatal in range(1, 20):
        application = Application(Settings(data=tmp_path / f"dies-at-{fatal}"))
        writes = 0

        async def die(method: str, _: tuple[Any, ...], fatal: int = fatal) -> None:
            nonlocal writes
            writes += method == "batch"
            if writes == fatal:
                raise Unavailable("killed")

        service = application.service
        dying = Service(
            Hooked(service.store, before=die), service.submit, service.now, service.resource_types
        )
        try:
            await TenantImport(dying, "acme").load(file, "eu")
        except Unavailable:
            async with client_of(application.scim, "/scim", acme.token) as client:
                assert (await client.get("/Users?count=1")).status_code == 401
        else:
            assert writes > 3
            return
        finally:
            await TenantImport(service, "acme").load(file, "eu")
            imported = await export_tenant(service, "acme")
            assert lasting(json.loads(imported.to_json())) == lasting(json.loads(file.to_json()))
            await application.close()
    raise AssertionError("it never came to its end")


async def test_a_dry_run_writes_nothing(acme: Furnished, there: Deployment) -> None:
    file = acme.file
    application = Application(there.settings)
    for _ in range(2):
        before = await everything(application.store)
        report = await TenantImport(application.service, "acme").load(file, "us", dry_run=True)
        assert await everything(application.store) == before
        await TenantImport(application.service, "acme").load(file, "us")
    assert report.outcome == "unchanged"
    await application.close()


async def test_there_must_be_a_tenant_to_export(here: Deployment) -> None:
    application = Application(here.settings)
    with pytest.raises(AdministrationError, match="There is no tenant gone"):
        await export_tenant(application.service, "gone")
    await application.close()
