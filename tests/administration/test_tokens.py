"""Tokens and connections at the operator's command line."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from tests.administration.operating import Operator
from tests.environment import client_of
from trust.tokens import presented
from wiring import Application


@pytest.fixture
def acme(operator: Operator) -> Operator:
    """Somebody whose tenant is `acme`."""
    operator.does("tenant", "create", "acme", "--name", "Acme")
    return operator


def states(operator: Operator) -> dict[str, str]:
    """State by token id."""
    return {row["tokenId"]: row["state"] for row in operator.does("token", "list", "acme")}


def created(operator: Operator, *options: str) -> tuple[str, str]:
    """A new token's text and id."""
    text = operator.does("token", "create", "acme", *options)["token"]
    shown = presented(text)
    assert shown is not None
    return text, shown.token_id


def days_of(row: dict[str, str]) -> float:
    """How long a token is valid; the command reads the clock a moment before the token is made."""
    lifetime = datetime.fromisoformat(row["expires"]) - datetime.fromisoformat(row["created"])
    return round(lifetime / timedelta(days=1), 4)


def test_tokens_are_listed_without_their_text(acme: Operator) -> None:
    one, id = created(acme, "--note", "for Entra ID", "--days", "30")
    (row,) = acme.does("token", "list", "acme")
    assert (row["tokenId"], row["connection"], row["state"]) == (id, "entra", "live")
    assert days_of(row) == 30
    for command in (("token", "list"), ("tenant", "show")):
        assert id in acme.reads(*command, "acme")
        assert one.rpartition("_")[2] not in acme.reads(*command, "acme")


def test_a_rotation_replaces_a_token_in_its_own_time(acme: Operator) -> None:
    _, old = created(acme, "--kind", "console", "--note", "script")
    rotated = acme.does("token", "rotate", "acme", old, "--overlap-hours", "1")["token"]
    old_row, new_row = acme.does("token", "list", "acme")
    assert rotated.startswith(f"muster_console_acme_{new_row['tokenId']}_")
    assert (new_row["kind"], new_row["note"], new_row["expires"]) == ("console", "script", "")
    left = datetime.fromisoformat(old_row["expires"]) - datetime.now(UTC)
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    assert "Two such tokens live already" in acme.fails("token", "rotate", "acme", old)
    acme.does("token", "rotate", "acme", revoke_then(acme, new_row["tokenId"], old))
    assert list(states(acme).values()) == ["live", "live"]


def revoke_then(operator: Operator, revoked: str, left: str) -> str:
    """The id that is left after the other's token was revoked."""
    operator.does("token", "revoke", "acme", revoked)
    assert list(states(operator)) == [left]
    return left


def test_a_rotation_without_overlap_ends_the_old_token_at_once(acme: Operator) -> None:
    _, old = created(acme, "--days", "10")
    acme.does("token", "rotate", "acme", old, "--overlap-hours", "0")
    (row,) = acme.does("token", "list", "acme")
    assert row["tokenId"] != old
    assert days_of(row) == 10


async def test_each_connection_has_tokens_of_its_own(tmp_path: Path) -> None:
    def prepare() -> list[str]:
        acme = Operator(tmp_path)
        acme.does("tenant", "create", "acme", "--name", "Acme")
        acme.does("tenant", "enable", "acme")
        acme.does("connection", "create", "acme", "hr", "--name", "HR system")
        acme.does("connection", "rename", "acme", "hr", "--name", "Human resources")
        tokens = [created(acme)[0], created(acme, "--connection", "hr")[0]]
        rows = acme.does("connection", "list", "acme")
        assert [(row["connection"], row["name"]) for row in rows] == [
            ("entra", "Microsoft Entra ID"),
            ("hr", "Human resources"),
        ]
        (token,) = acme.does("connection", "show", "acme", "hr")["tokens"]
        assert token["tokenId"] in tokens[1]
        return tokens

    entra, hr = await asyncio.to_thread(prepare)
    application = Application(Settings(data=tmp_path))
    async with (
        client_of(application.scim, "/scim", entra) as first,
        client_of(application.scim, "/scim", hr) as second,
    ):
        group: dict[str, Any] = {"displayName": "Sales"}
        sales = (await second.post("/Groups", json=group)).json()["id"]
        refused = await first.delete(f"/Groups/{sales}")
        assert (refused.status_code, "Human resources" in refused.text) == (403, True)
        assert (await second.delete(f"/Groups/{sales}")).status_code == 204
    await application.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("token", "revoke", "acme", "00000000"), "has no token 00000000"),
        (("token", "rotate", "acme", "00000000"), "has no token 00000000"),
        (("token", "create", "acme", "--connection", "hr"), "has no connection hr"),
        (("connection", "create", "acme", "entra", "--name", "x"), "has a connection entra"),
        (("connection", "create", "acme", "H R", "--name", "x"), "cannot be a connection's id"),
        (("connection", "show", "acme", "hr"), "has no connection hr"),
        (("connection", "rename", "acme", "hr", "--name", "x"), "has no connection hr"),
    ],
)
def test_what_cannot_be_done_is_said(acme: Operator, arguments: tuple[str, ...], says: str) -> None:
    assert says in acme.fails(*arguments)
