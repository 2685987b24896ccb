"""Drift, preview, why and history at the command line, beside a running application."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from directory.access import access_id
from directory.documents import EntitlementKey
from directory.store import Delete
from tests.administration.operating import Operator
from tests.environment import TENANT, Environment, running
from tests.scim.messages import create_group, create_user, operation, patch

ADD_IN_USER = EntitlementKey(kind="role", key="addInUser")


async def in_thread(do: Any, *arguments: Any) -> Any:
    """A command has an event loop of its own."""
    return await asyncio.to_thread(do, *arguments)


async def populate(environment: Environment) -> tuple[str, str]:
    """Ada is in Sales, which gives the role Add-in User."""
    ada = await create_user(environment.client, "ada", externalId="ada-in-entra")
    sales = await create_group(environment.client, "Sales", [ada])
    await environment.settle()
    await environment.mappings.save(sales, (ADD_IN_USER,))
    await environment.settle()
    return ada, sales


async def test_drift_is_reported_and_repaired_without_a_server(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        ada, _ = await populate(environment)
        await create_user(environment.client, "eve")
        await environment.settle()
        operator = Operator(tmp_path)
        clean = await in_thread(operator.does, "drift")
        assert (clean["users"], clean["drift"], clean["differences"]) == (2, 0, [])
        await environment.application.store.batch(TENANT, [Delete(access_id(ada))])
        fen = await create_user(environment.client, "fen")
        report = json.loads(await in_thread(operator.fails, "drift", TENANT, "--json"))
        assert (report["drift"], report["pending"]) == (1, 1)
        assert {row["user"]: row["kind"] for row in report["differences"]} == {
            ada: "missing",
            fen: "pending",
        }
        assert "1 drifted" in await in_thread(operator.fails, "drift")
        mended = await in_thread(operator.does, "drift", "--repair")
        assert (mended["drift"], mended["repaired"], mended["pending"]) == (0, 1, 1)
        access = (await environment.access.get(f"/users/{ada}")).json()
        assert [grant["key"] for grant in access["grants"]] == ["addInUser"]
        await environment.settle()
        assert "0 drifted, 0 repaired, 0 pending" in await in_thread(operator.reads, "drift")


async def test_a_preview_of_a_file_changes_nothing_and_loading_it_does(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        ada, sales = await populate(environment)
        file = tmp_path / "mappings.json"
        owner = {"kind": "role", "key": "owner"}
        content = {"mappings": [{"displayName": "Sales", "entitlements": [owner]}]}
        file.write_text(json.dumps(content))
        operator = Operator(tmp_path)
        seen = await in_thread(operator.does, "preview", TENANT, str(file))
        (effect,) = seen["effects"]
        assert effect["userName"] == "ada@example.com"
        assert (effect["gained"], effect["lost"]) == (
            [owner],
            [{"kind": "role", "key": "addInUser"}],
        )
        assert (seen["counts"]["changed"], seen["nobodyWouldBeOwner"]) == (1, False)
        text = await in_thread(operator.reads, "preview", TENANT, str(file))
        assert "ada@example.com" in text
        assert "1 gain, 1 lose, 0 become enabled, 0 disabled" in text
        file.write_text(json.dumps({"mappings": [{"displayName": "Sales", "entitlements": []}]}))
        assert "Nobody would hold the role Owner" in await in_thread(
            operator.reads, "preview", TENANT, str(file)
        )
        access = (await environment.access.get(f"/users/{ada}")).json()
        assert [grant["key"] for grant in access["grants"]] == ["addInUser"]
        await environment.mappings.save(sales, (EntitlementKey("role", "owner"),))
        await environment.settle()
        text = await in_thread(operator.reads, "preview", TENANT, str(file))
        assert f"role owner would be kept for {ada}" in text


async def test_why_and_since_when(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        ada, sales = await populate(environment)
        now = datetime.now(UTC)
        before = now.isoformat()
        change = patch(operation("replace", "active", False))
        await environment.client.patch(f"/Users/{ada}", json=change)
        operator = Operator(tmp_path)
        at_once = await in_thread(operator.does, "access", "show", TENANT, "ada-in-entra")
        assert at_once["state"] == {"enabled": False, "reasons": ["inactive"], "grants": []}
        await environment.settle()

        why = await in_thread(operator.does, "why", TENANT, "ADA@example.com", "role", "addInUser")
        assert (why["granted"], [one["kind"] for one in why["obstacles"]]) == (False, ["disabled"])
        (chain,) = why["chains"]
        assert chain["links"][0]["group"] == {"groupId": sales, "name": "Sales"}
        assert chain["links"][0]["cause"]["event"]["operation"] == "create"
        assert chain["cause"]["event"]["actor"] == {"type": "operator", "id": "manage.py"}
        text = await in_thread(operator.reads, "why", TENANT, ada, "role", "addInUser")
        for part in ("does not hold", "active is false", "“Sales”", "mapping version 1"):
            assert part in text

        was = await in_thread(operator.does, "access", "show", TENANT, ada, "--at", before)
        assert [grant["key"] for grant in was["state"]["grants"]] == ["addInUser"]
        text = await in_thread(operator.reads, "access", "show", TENANT, ada, "--at", before)
        assert "addInUser" in text
        assert "There was no such user" in await in_thread(
            operator.reads, "access", "show", TENANT, ada, "--at", f"{now - timedelta(days=9)}"
        )
        assert "does not reach back" in await in_thread(
            operator.reads,
            "access",
            "show",
            TENANT,
            ada,
            "--at",
            f"{now - timedelta(days=900):%Y-%m-%d}",
        )
        told = await in_thread(operator.does, "access", "history", TENANT, ada)
        assert [(one["gained"], one["lost"]) for one in told["changes"]] == [
            ("", "role addInUser"),
            ("role addInUser", ""),
            ("", ""),
        ]
        missing = await in_thread(operator.fails, "why", TENANT, "nobody", "role", "addInUser")
        assert "named by id, userName or externalId" in missing
