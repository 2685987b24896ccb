"""Entra ID directories and home regions at the operator's command line."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from administration import directories
from administration.directories import Directories, claim_directory, holder_of
from administration.errors import AdministrationError
from administration.tenants import create_tenant
from directory.store import Store
from scim.writing import Service
from settings import Settings
from tests.administration.operating import Operator
from tests.environment import client_of
from trust.cloud import Cloud
from trust.tokens import issue
from wiring import Application, utc_now

FIRST = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
SECOND = "9d1e6a42-77aa-4f0b-8c3d-2b9e0d5c6f02"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """What changes the tenants acme and other."""
    application = Application(Settings(data=tmp_path))
    for name in ("acme", "other"):
        await create_tenant(application.store, name, name.title(), "eu")
    yield application.service
    await application.close()


def test_a_directory_is_one_tenants(operator: Operator) -> None:
    acme = operator.does(
        "tenant", "create", "acme", "--name", "Acme", "--directory-id", FIRST.upper()
    )
    assert acme["directoryId"] == FIRST
    create_other = ("tenant", "create", "other", "--name", "Other")
    refused = operator.fails(*create_other, "--directory-id", FIRST)
    assert "is registered for the tenant acme" in refused
    assert "There is no tenant other" in operator.fails("tenant", "show", "other")
    operator.does(*create_other)
    taking = ("tenant", "entra", "other", "--directory-id", FIRST)
    assert "for the tenant acme" in operator.fails(*taking)
    operator.does("tenant", "entra", "acme", "--directory-id", SECOND)
    assert operator.does(*taking)["directoryId"] == FIRST
    operator.does("tenant", "entra", "other", "--no-directory")
    operator.does("tenant", "entra", "acme", "--directory-id", FIRST)
    assert "is no directory id" in operator.fails("tenant", "entra", "acme", "--directory-id", "x")


def test_which_tokens_count(operator: Operator) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    audiences = ("--audience", "a", "--audience", "b")
    row = operator.does("tenant", "entra", "acme", "--no-accept", *audiences)
    assert (row["accepted"], row["audiences"], row["applications"]) == (False, ["a", "b"], [])
    row = operator.does("tenant", "entra", "acme", "--accept", "--audience", "")
    assert (row["accepted"], row["audiences"]) == (True, [])
    assert operator.does("tenant", "entra", "acme") == row


async def test_what_a_death_leaves_behind_is_taken_over(service: Service) -> None:
    """Claim first, tenant second: a claim that no tenant stands behind holds nobody up."""
    store = service.store
    await claim_directory(store, "acme", FIRST)
    await claim_directory(store, "never-created", SECOND)
    for directory in (FIRST, SECOND):
        await Directories(service, "other").register(directory)
        assert await holder_of(store, directory) == "other"
    assert await holder_of(store, FIRST) is None, "given free with the change to the second"


async def test_of_two_that_claim_at_once_one_wins(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = service.store
    await claim_directory(store, "never-created", FIRST)
    names = directories._names

    async def meanwhile(store: Store, tenant_id: str, directory_id: str) -> bool:
        """Another operator is quicker."""
        monkeypatch.setattr(directories, "_names", names)
        await Directories(service, "other").register(FIRST)
        return await names(store, tenant_id, directory_id)

    monkeypatch.setattr(directories, "_names", meanwhile)
    with pytest.raises(AdministrationError, match="Try again"):
        await Directories(service, "acme").register(FIRST)
    with pytest.raises(AdministrationError, match="tenant other"):
        await Directories(service, "acme").register(FIRST)
    assert await holder_of(store, FIRST) == "other"


@pytest.mark.parametrize(
    ("region_urls", "says"),
    [
        ({"us": "https://muster-us.example/"}, "https://muster-us.example/scim;"),
        ({}, "Ask the operator"),
    ],
)
async def test_a_tenant_of_another_region_is_sent_there(
    tmp_path: Path, region_urls: dict[str, str], says: str
) -> None:
    """Product section 2. The token is the other region's, so this one cannot prove it."""
    application = Application(Settings(data=tmp_path, region_urls=region_urls))
    await create_tenant(application.store, "acme", "Acme", "us")
    for kind, app, path in (
        ("scim", application.scim, "/scim/Users"),
        ("access", application.access, "/access/v1/users?userName=a"),
    ):
        text, _ = issue(kind, "acme", utc_now())  # type: ignore[arg-type]
        async with client_of(app, "", text) as client:
            answer = await client.get(path)
        assert answer.status_code == 403
        assert says in answer.json()["detail"]
        assert "muster-us" not in answer.json()["detail"] or region_urls
    await application.close()


def test_a_tenant_moves_between_regions(operator: Operator) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    assert operator.does("tenant", "region", "acme", "us")["region"] == "us"
    assert operator.does("tenant", "show", "acme")["region"] == "us"


def test_keys_come_over_https_or_from_this_machine() -> None:
    for url in ("http://login.example", "ftp://login.example", "https://", "login.example"):
        with pytest.raises(ValueError, match="https"):
            Settings(entra_login_url=url)
    for url in ("https://login.microsoftonline.us/", "http://127.0.0.1:5000"):
        assert Settings(entra_login_url=url).entra_login_url == url.rstrip("/")


def test_where_the_keys_of_an_issuer_are() -> None:
    cloud = Cloud()
    for version in ("1.0", "2.0"):
        issuer = cloud.issuer(version, FIRST)
        assert cloud.keys_url_of(issuer) == cloud.keys_url(version, FIRST)
    for foreign in (
        "https://login.microsoftonline.com/common/v2.0",
        f"https://login.microsoftonline.com/{FIRST}/v2.0/",
        f"https://login.microsoftonline.com.evil.example/{FIRST}/v2.0",
        f"https://sts.windows.net/{FIRST}",
        FIRST,
        "",
    ):
        assert cloud.keys_url_of(foreign) is None
