"""OAuth clients at the operator's command line."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.administration.operating import Operator

DIRECTORY = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
ISSUER = f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"
WORKLOAD = ("--subject", "object-id", "--audience", "api://muster")


@pytest.fixture
def acme(operator: Operator) -> Operator:
    """Somebody whose tenant is `acme`."""
    operator.does("tenant", "create", "acme", "--name", "Acme")
    return operator


def test_a_client_and_its_secrets(acme: Operator) -> None:
    first = acme.does("client", "create", "acme", "--days", "730")
    assert first["clientId"].startswith("muster_client_acme_")
    assert first["clientSecret"].startswith("muster_secret_acme_")
    second = acme.does("client", "rotate", "acme", "--overlap-hours", "2")
    assert second["clientId"] == first["clientId"]
    old, new = acme.does("client", "show", "acme")["credentials"]
    left = datetime.fromisoformat(old["expires"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)
    assert old["id"] in first["clientSecret"]
    for command in ("create", "rotate"):
        assert "has two secrets already" in acme.fails("client", command, "acme")
    acme.does("client", "revoke", "acme", old["id"])
    acme.does("client", "rotate", "acme", "--overlap-hours", "0")
    (only,) = acme.does("client", "show", "acme")["credentials"]
    assert only["id"] not in (old["id"], new["id"])
    shown = acme.reads("client", "show", "acme") + acme.reads("tenant", "show", "acme")
    assert only["id"] in shown
    for secret in (first, second):
        assert secret["clientSecret"].rpartition("_")[2] not in shown
    acme.does("client", "remove", "acme")
    assert "has no client" in acme.fails("client", "show", "acme")


def test_a_workload_in_place_of_a_secret(acme: Operator) -> None:
    shown = acme.does("client", "federate", "acme", "--issuer", ISSUER, *WORKLOAD)
    assert shown["federation"] == {
        "issuer": ISSUER,
        "subject": "object-id",
        "audience": "api://muster",
        "keysUrl": f"https://login.microsoftonline.com/{DIRECTORY}/discovery/v2.0/keys",
    }
    assert [row["credential"] for row in shown["credentials"]] == ["federation"]
    other = ("--issuer", "https://idp.example", *WORKLOAD)
    assert "--keys-url" in acme.fails("client", "federate", "acme", *other)
    plain = (*other, "--keys-url", "http://idp.example/keys")
    assert "over https only" in acme.fails("client", "federate", "acme", *plain)
    keys = (*other, "--keys-url", "https://idp.example/keys")
    again = acme.does("client", "federate", "acme", *keys)
    assert again["clientId"] == shown["clientId"]
    assert again["federation"]["keysUrl"] == "https://idp.example/keys"
    assert [row["credential"] for row in again["credentials"]] == ["federation"]


APPLICATION = "3c1f6f6e-9c0e-4f0a-8f43-6a1d6f0f7b11"


@pytest.mark.parametrize(
    "named",
    [
        f"api://{APPLICATION}/.default",
        f"api://{APPLICATION}",
        APPLICATION,
        APPLICATION.upper(),
    ],
)
def test_the_forms_of_an_application_are_one_audience(acme: Operator, named: str) -> None:
    workload = ("--issuer", ISSUER, "--subject", "object-id", "--audience", named)
    shown = acme.does("client", "federate", "acme", *workload)
    assert shown["federation"]["audience"] == f"api://{APPLICATION}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "acme", "--connection", "hr"), "has no connection hr"),
        (("create", "nobody"), "There is no tenant nobody"),
        (("show", "acme"), "client create acme --connection entra"),
        (("revoke", "acme", "00000000"), "has no client"),
        (("remove", "acme"), "has no client"),
    ],
)
def test_what_cannot_be_done_is_said(acme: Operator, arguments: tuple[str, ...], says: str) -> None:
    assert says in acme.fails("client", *arguments)


def test_a_secret_that_is_not_there(acme: Operator) -> None:
    acme.does("client", "create", "acme")
    assert "has no secret 00000000" in acme.fails("client", "revoke", "acme", "00000000")
