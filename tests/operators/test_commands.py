"""Commands by `--url`: what a command does, refuses and answers is the same on the store and by the
operators' interface of a server."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from administration.credentials import Credentials
from administration.tenants import create_tenant
from laptop.devhost.server import served
from manage import app
from tests.environment import Environment, running
from wiring import utc_now

ORIGIN = "https://muster.example.com"
COMMANDS = """
tenant create contoso --name Contoso
tenant create contoso --name Again
tenant list
tenant enable contoso
tenant policy contoso --strict --disable-when inactive --protected role:owner
tenant entra contoso --directory-id 5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01 --no-accept
tenant region contoso us
tenant health contoso
tenant export contoso
connection create contoso second --name Second
connection list contoso
connection show contoso nobody
token create contoso --connection second --days 9 --note Ada
token list contoso
token revoke contoso 00000000
client show contoso
client create contoso --days 30
client federate contoso --issuer https://i --subject s --audience a --keys-url https://i/keys
client remove contoso
console invite contoso
console invitations contoso --revoke nobody
console end contoso
credential create --kind application --name booking --expires 2099-01-31
credential create --kind application --expires soon
credential list
credential revoke nobody
webhook create http://127.0.0.1:9/x --label Booking --type access.changed --tenant contoso
webhook list
webhook test nobody
replay
replay --all --tenant contoso
drift acme
replay 01x
""".strip().splitlines()
STORE_ALONE = ("drift", "catalog list acme", "user list acme", "replay --discard x", "why a b c d")
GENERATED = [
    (r"muster_(\w+?)_([a-z0-9-]+)_[0-9a-f]{8}_[0-9a-f]{64}", r"muster_\1_<secret>"),
    (r"muster_client_contoso_[0-9a-f]{8}", "<client>"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "<time>"),
    (r"\b[0-9a-f]{8}\b", "<id>"),
    (r"\b[0-9a-z]{26}\b", "<id>"),
    (r"whsec_[\w+/=-]+", "<secret>"),
    (r'"lastUsed": "<time>"', '"lastUsed": ""'),
    (r" Try 'manage\.py [^']*'\.", ""),
    (r"(live, the most there can be|\(<id>, <id>\))", ""),
]


def typed(line: str, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a command, and what it prints, without what is generated."""
    words = line.split()
    options = [] if words[:2] == ["tenant", "export"] else ["--json"]
    result = CliRunner(env={"COLUMNS": "200", **environment}).invoke(app, [*words, *options])
    text = result.output
    for pattern, name in GENERATED:
        text = re.sub(pattern, name, text)
    return result.exit_code, " ".join(text.split())


async def settings_of(muster: Environment, url: str) -> dict[str, str]:
    """What has commands work on a server alone: its store is nowhere near."""
    _, secret = await Credentials(muster.application.store, utc_now).create("operator")
    return {"MUSTER_OPERATOR_URL": url, "MUSTER_OPERATOR_CREDENTIAL": secret}


async def test_the_same_on_the_store_and_by_the_interface(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    async with (
        running(here) as local,
        running(there, public_url=ORIGIN, webhook_private=True) as remote,
        served(remote.application.operator) as url,
    ):
        for muster in (local, remote):
            await create_tenant(muster.application.store, "older", "Older", "eu")
        await Credentials(local.application.store, utc_now).create("operator")
        await remote.application.fleet.refresh()
        on_store = {
            "MUSTER_DATA": str(here),
            "MUSTER_WEBHOOK_PRIVATE": "true",
            "MUSTER_PUBLIC_URL": ORIGIN,
        }
        by_url = {**await settings_of(remote, url), "MUSTER_DATA": str(tmp_path / "nowhere")}
        for line in COMMANDS:
            expected = await asyncio.to_thread(typed, line, on_store)
            assert await asyncio.to_thread(typed, line, by_url) == expected, line
            assert expected[0] in (0, 1), (line, expected)
        assert not (tmp_path / "nowhere").exists()


async def test_what_works_on_the_store_alone_says_so(tmp_path: Path) -> None:
    by_url = {
        "MUSTER_OPERATOR_URL": "https://muster.example.com",
        "MUSTER_OPERATOR_CREDENTIAL": "x",
        "MUSTER_DATA": str(tmp_path / "nowhere"),
    }
    for line in STORE_ALONE:
        code, text = await asyncio.to_thread(typed, line, by_url)
        assert (code, "works on the store alone" in text) == (1, True), line
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MUSTER_OPERATOR_URL": "http://muster.example.com"}, "is https://<host>"),
        ({"MUSTER_OPERATOR_URL": "https://h", "MUSTER_OPERATOR_CREDENTIAL": ""}, "--credential"),
        (
            {"MUSTER_OPERATOR_URL": "http://127.0.0.1:9", "MUSTER_OPERATOR_CREDENTIAL": "x"},
            "did not answer as Muster does (ConnectError)",
        ),
    ],
)
def test_a_server_that_cannot_be_asked(environment: dict[str, str], says: str) -> None:
    code, text = typed("tenant show acme", environment)
    assert code
    assert says in text.replace(" │ │ ", " ")


async def test_what_is_no_muster_is_told(tmp_path: Path) -> None:
    async def strange(scope: Any, _receive: Any, send: Any) -> None:
        status = 200 if scope["path"].endswith("/tokens") else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>" if status == 200 else b"[]"})

    async with served(strange) as url:
        by_url = {"MUSTER_OPERATOR_URL": url, "MUSTER_OPERATOR_CREDENTIAL": "x"}
        for line in ("token list acme", "tenant enable acme"):
            code, text = await asyncio.to_thread(typed, line, by_url)
            assert (code, "did not answer as Muster does" in text) == (1, True), text


async def test_a_credential_that_does_not_count_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as muster, served(muster.application.operator) as url:
        wrong = {"MUSTER_OPERATOR_URL": url, "MUSTER_OPERATOR_CREDENTIAL": muster.token}
        code, text = await asyncio.to_thread(typed, "tenant list", wrong)
        assert (code, "credential create --kind operator" in text) == (1, True)
        assert muster.token not in text
