"""The operator's command line, on a real store, beside a running application."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from directory.documents import event_id
from directory.store import Assign, Update
from directory.tenants import Policy
from tests.administration.operating import Operator
from tests.environment import TENANT, Environment, running
from tests.scim.messages import create_group, create_user

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def written(folder: Path, name: str, content: Any) -> str:
    """A JSON file."""
    file = folder / name
    file.write_text(json.dumps(content))
    return str(file)


def test_a_tenant_from_its_creation_on(operator: Operator) -> None:
    created = operator.does("tenant", "create", "contoso", "--name", "Contoso Ltd")
    assert (created["tenant"], created["provisioning"]) == ("contoso", "disabled")
    operator.does("tenant", "create", "fabrikam", "--name", "Fabrikam", "--region", "us")
    assert [row["tenant"] for row in operator.does("tenant", "list")] == ["contoso", "fabrikam"]
    assert operator.does("tenant", "enable", "contoso")["provisioning"] == "enabled"
    assert operator.does("tenant", "disable", "contoso")["provisioning"] == "disabled"
    roles = operator.does("catalog", "list", "contoso")
    assert {"kind": "role", "key": "owner", "displayName": "Owner"} in roles
    token = operator.does("token", "create", "contoso", "--note", "for Entra ID")["token"]
    assert token.startswith("muster_scim_contoso_")
    shown = operator.does("tenant", "show", "contoso")
    assert [(t["kind"], t["note"]) for t in shown["tokens"]] == [("scim", "for Entra ID")]
    assert token not in operator.reads("tenant", "show", "contoso")
    assert "Contoso Ltd" in operator.reads("tenant", "list")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tenant", "create", "Con_toso", "--name", "x"], "cannot be a tenant id"),
        (["tenant", "create", "acme", "--name", "x"], "exists already"),
        (["tenant", "show", "nobody"], "There is no tenant nobody"),
        (["tenant", "show", "no/body"], "There is no tenant no/body"),
        (["tenant", "enable", "nobody"], "There is no tenant nobody"),
        (["token", "create", "nobody"], "There is no tenant nobody"),
        (["tenant", "policy", "nobody", "--strict"], "There is no tenant nobody"),
        (["replay", "01x"], "No event 01x has failed"),
        (["replay", "--all", "--tenant", "nobody"], "There is no tenant nobody"),
        (["simulate"], "start 'make run' first"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    operator: Operator, arguments: list[str], says: str
) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    assert says in operator.fails(*arguments)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"entitlements": [{"kind": "role", "key": "a"}]}, "entitlements.0.displayName"),
        ({"entitlements": [{"kind": "", "key": "a", "displayName": "A"}]}, "entitlements.0.kind"),
        ([], "the file"),
    ],
)
def test_a_catalog_that_cannot_be_read_names_the_place(
    operator: Operator, tmp_path: Path, content: Any, says: str
) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    before = operator.does("catalog", "list", "acme")
    assert says in operator.fails("catalog", "import", "acme", written(tmp_path, "c.json", content))
    assert operator.does("catalog", "list", "acme") == before


def test_an_earlier_integration_is_imported(operator: Operator, tmp_path: Path) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("kind,key,displayName\nreceptionAssignment,front,Front desk\n")
    assert "Front desk" in operator.reads("catalog", "import", "acme", str(catalog), "--dry-run")
    groups = tmp_path / "groups.csv"
    groups.write_text(
        "externalId,displayName,kind,key\ne-1,Desk,receptionAssignment,front\ne-2,Sales,,\n"
    )
    load = ("group", "import", "acme", str(groups))
    assert "does not have: receptionAssignment front" in operator.fails(*load)
    operator.does("catalog", "import", "acme", str(catalog))
    for options, new in ((["--dry-run"], 2), ([], 2), ([], 0)):
        done = operator.does(*load, *options)
        assert (done["new"], done["updated"], done["unchanged"]) == (new, 0, 2 - new)
    assert "0 new, 0 updated, 2 unchanged" in operator.reads(*load)
    found = operator.does("group", "list", "acme")["groups"]
    assert {group["status"] for group in found} == {"Waiting for sync"}
    assert "Waiting" in operator.reads("group", "list", "acme")
    remove = ("catalog", "remove", "acme", "receptionAssignment", "front")
    assert "given by the group Desk" in operator.fails(*remove)
    assert operator.does("catalog", "remove", "acme", "role", "owner")["change"] == "removed"


class TestBesideAServer:
    """Commands act on the store of an application that runs."""

    async def test_mappings_reach_the_members(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            ada = await create_user(environment.client, "ada")
            sales = await create_group(environment.client, "Sales", [ada])
            await environment.settle()
            await in_thread(load_mappings, tmp_path, sales)
            await environment.settle()
            assert await grants(environment, ada) == {"addInUser", "cc-1"}
            (row,) = await in_thread(Operator(tmp_path).does, "mapping", "list", TENANT)
            assert (row["group"], row["version"], row["appliedVersion"]) == ("Sales", 1, 1)

    async def test_what_a_deleted_group_gave_is_listed_and_forgotten(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            sales = await create_group(environment.client, "Sales", externalId="sales-id")
            await in_thread(load_mappings, tmp_path, sales)
            await environment.client.delete(f"/Groups/{sales}")
            operator = Operator(tmp_path)
            (row,) = await in_thread(operator.does, "mapping", "list", TENANT)
            assert row["group"].startswith("Sales (deleted 2")
            assert (row["groupId"], row["version"]) == (sales, 1)
            told = await in_thread(operator.reads, "mapping", "forget", TENANT, sales)
            assert "Forgotten" in told
            told = await in_thread(operator.fails, "mapping", "forget", TENANT, sales)
            assert "Nothing is remembered" in told
            assert await in_thread(operator.does, "mapping", "list", TENANT) == []

    async def test_a_policy_reaches_everybody(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            center = {ENTERPRISE: {"costCenter": "cc-7"}}
            ada = await create_user(environment.client, "ada", **center)
            await create_group(environment.client, "Sales", [ada])
            await environment.settle()
            entry = {"kind": "costCenterMembership", "key": "cc-7", "displayName": "Seven"}
            file = written(tmp_path, "catalog.json", {"entitlements": [entry]})
            operator = Operator(tmp_path)
            await in_thread(operator.does, "catalog", "import", TENANT, file)
            await environment.settle()
            assert await grants(environment, ada) == set()
            switch = ("tenant", "policy", TENANT, "--cost-center-from-attribute")
            assert (await in_thread(operator.does, *switch))["costCenterFromAttribute"] is True
            await environment.settle()
            assert await grants(environment, ada) == {"cc-7"}

    async def test_all_that_the_console_sets_of_a_policy_can_be_set(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            lonely = await create_user(environment.client, "ada")
            await environment.settle()
            operator, policy = Operator(tmp_path), ("tenant", "policy", TENANT)
            named = ("--disable-when", "userNameMissing", "--disable-when", "inactive")
            changed = await in_thread(operator.does, *policy, *named)
            assert changed["disableWhen"] == ["inactive", "userNameMissing"]
            await environment.settle()
            assert (await environment.access.get(f"/users/{lonely}")).json()["enabled"] is True
            nothing = await in_thread(operator.does, *policy, "--disable-when", "")
            assert nothing["disableWhen"] == []
            for given in (["role:owner", "role:addInUser"], [""]):
                options = [part for one in given for part in ("--protected", one)]
                changed = await in_thread(operator.does, *policy, *options)
                keys = [f"{one['kind']}:{one['key']}" for one in changed["protected"]]
                assert keys == [one for one in given if one]
            changed = await in_thread(operator.does, *policy, "--mass-loss", "50:30")
            assert changed["massLoss"] == {"users": 50, "percent": 30}
            assert "10 users" in await in_thread(operator.fails, *policy, "--mass-loss", "9:30")
            flags = Policy.model_fields.keys() - {"disable_when", "protected", "mass_loss"}
            for rule in flags:
                flag = f"--{rule.replace('_', '-')}"
                assert (await in_thread(operator.does, *policy, flag))[to_camel(rule)] is True
            refused = await in_thread(operator.fails, *policy, "--disable-when", "lazy")
            assert "knows no lazy" in refused

    async def test_a_user_made_by_hand_gets_what_is_given_by_hand(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            operator = Operator(tmp_path)
            ada = await in_thread(make_user, operator)
            await environment.settle()
            assert await grants(environment, ada) == {"owner"}
            await in_thread(operator.does, "grant", "withdraw", TENANT, ada, "role:owner")
            await environment.settle()
            (kept,) = await in_thread(operator.does, "access", "kept", TENANT)
            assert (kept["userId"], kept["key"]) == (ada, "owner")
            assert not await in_thread(operator.does, "access", "let-go", TENANT, ada, "role:owner")
            await environment.settle()
            assert await grants(environment, ada) == set()
            deleted = await in_thread(operator.does, "user", "delete", TENANT, "ada@example.com")
            assert deleted["deleted"] == ada
            await environment.settle()
            assert (await environment.access.get(f"/users/{ada}")).status_code == 404

    async def test_what_failed_is_shown_and_replayed(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            operator, queue = Operator(tmp_path), environment.queue
            await create_user(environment.client, "ada")
            await environment.application.relay.drain()
            (message,) = await queue.receive()
            await queue.dead_letter(message, "Test")
            failed = Update(event_id(message.id), (Assign(("state",), "failed"),))
            await environment.application.store.batch(TENANT, [failed])
            (shown,) = (await in_thread(operator.does, "replay", "--list"))["events"]
            assert (shown["eventId"], shown["tenantId"]) == (message.id, TENANT)
            assert message.id in await in_thread(operator.reads, "replay")
            sent = await in_thread(operator.does, "replay", message.id, "--tenant", TENANT)
            assert sent == {"events": 1, "letters": 1}
            await environment.settle()
            assert (await in_thread(operator.does, "replay"))["events"] == []
            assert (await in_thread(operator.does, "replay", "--all"))["events"] == 0

    async def test_groups_with_their_status(self, tmp_path: Path) -> None:
        async with running(tmp_path) as environment:
            operator = Operator(tmp_path)
            sales = await create_group(environment.client, "Sales")
            (row,) = (await in_thread(operator.does, "group", "list", TENANT))["groups"]
            assert (row["displayName"], row["status"]) == ("Sales", "New")
            assert await in_thread(operator.does, "group", "show", TENANT, sales) == row
            assert "has no group" in await in_thread(operator.fails, "group", "show", TENANT, "x")


def make_user(operator: Operator) -> str:
    """The id of a user made by hand who was given a role by hand, after some mistakes."""
    names = ("--given-name", "Ada", "--family-name", "Lovelace")
    create = ("user", "create", TENANT, "ada@example.com", *names)
    assert "A user needs emails" in operator.fails(*create)
    made = operator.does(*create, "--email", "ada@example.com", "--set", "title=CTO")
    assert (made["source"], made["userName"]) == ("manual", "ada@example.com")
    assert "already used by Ada Lovelace" in operator.fails(*create, "--email", "ada@example.com")
    edited = operator.does("user", "edit", TENANT, "ADA@example.com", "--display-name", "Ada L.")
    assert edited["displayName"] == "Ada L."
    assert operator.does("user", "list", TENANT, "--by-hand")["users"] == [edited]
    give = ("grant", "give", TENANT, "ada@example.com")
    assert "does not have: role boss" in operator.fails(*give, "role:boss")
    (given,) = operator.does(*give, "role:owner")
    assert (given["displayName"], given["by"]) == ("Owner", "operator manage.py")
    assert operator.does("grant", "list", TENANT, made["userId"]) == [given]
    return str(made["userId"])


def load_mappings(folder: Path, sales: str) -> None:
    """Mistakes first, which change nothing; then a mapping, by the group's name."""
    operator = Operator(folder)
    role, center = {"kind": "role", "key": "addInUser"}, {"kind": "costCenterMembership"}
    unknown = {"displayName": "Sales", "entitlements": [role, center | {"key": "cc-1"}]}
    nobody = {"displayName": "Nobody", "entitlements": [role]}
    for mapping, says in (
        (unknown, "does not have: costCenterMembership cc-1"),
        (nobody, "has no group 'Nobody'"),
        ({"entitlements": [role]}, "groupId, externalId or displayName"),
        ({"displayName": "Sales"}, "mappings.1.entitlements"),
    ):
        good = {"groupId": sales, "entitlements": [role]}
        file = written(folder, "mappings.json", {"mappings": [good, mapping]})
        assert says in operator.fails("mapping", "load", TENANT, file)
    assert operator.does("mapping", "list", TENANT) == []
    entry = center | {"key": "cc-1", "displayName": "One"}
    catalog = written(folder, "catalog.json", {"entitlements": [entry]})
    assert len(operator.does("catalog", "import", TENANT, catalog)["added"]) == 1
    file = written(folder, "mappings.json", {"mappings": [unknown]})
    (saved,) = operator.does("mapping", "load", TENANT, file)
    assert saved == {"groupId": sales, "version": 1, "entitlements": 2}


async def in_thread(do: Any, *arguments: Any) -> Any:
    """A command has an event loop of its own."""

    return await asyncio.to_thread(do, *arguments)


async def grants(environment: Environment, user: str) -> set[str]:
    """Keys of what a user holds."""
    access = (await environment.access.get(f"/users/{user}")).json()
    return {grant["key"] for grant in access["grants"]}


def test_settings_come_from_the_file_that_core_tools_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_REGION", "eu")  # so that it is forgotten after the test
    monkeypatch.delenv("MUSTER_REGION")
    elsewhere, given = tmp_path / "elsewhere", tmp_path / "given"
    values = {"MUSTER_DATA": str(elsewhere), "MUSTER_REGION": "us"}
    file = written(tmp_path, "local.settings.json", {"IsEncrypted": False, "Values": values})
    demo = Operator(given).does("--settings", file, "tenant", "demo")
    assert demo["access_token"].startswith("muster_access_demo_")
    assert (given / "demo.json").is_file(), "what the environment says counts"
    assert not elsewhere.exists()
    operator = Operator(given, MUSTER_SETTINGS=file)
    assert operator.does("tenant", "demo") == demo
    assert "in the file" in operator.reads("tenant", "demo")
    assert operator.does("tenant", "show", "demo")["region"] == "us"


def test_a_container_is_made_only_where_there_is_a_key(operator: Operator, tmp_path: Path) -> None:
    assert "MUSTER_COSMOS_KEY" in operator.fails("store", "create")
    account = {"MUSTER_COSMOS_ENDPOINT": "https://muster.documents.azure.com"}
    assert "Bicep makes it" in Operator(tmp_path, **account).fails("store", "create")
