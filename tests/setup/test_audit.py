"""`audit` finds what Entra ID and Muster have otherwise, and `repair` mends it."""

import json
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from administration.connections import Connections
from administration.group_import import GroupImport, ImportFile
from administration.tokens import Tokens
from directory.documents import EntitlementKey
from laptop.graph.directory import Directory
from laptop.graph.job import entry
from laptop.graph.service import Doubts
from laptop.simulation.organisation import Organisation
from tests.scim.messages import add, group, operation, patch, remove, user
from tests.setup.conftest import Begin
from tests.setup.customer import Customer
from tests.setup.playing import Play, playing, program

ADD_IN = EntitlementKey(kind="role", key="addInUser")
OWNER = EntitlementKey(kind="role", key="owner")


async def running_for(play: Play) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set up and provisioned, Sales and Staff's mapped: users and groups by name."""
    assert (await play.set_up()).code == 0
    await play.cycle()
    found = (await play.muster.client.get("/Groups")).json()["Resources"]
    groups = {one["displayName"]: one for one in found}
    await play.muster.mappings.save(groups["Sales"]["id"], (ADD_IN,))
    await play.muster.mappings.save(groups["Staff's"]["id"], (OWNER, ADD_IN))
    await play.muster.settle()
    return await play.users(), groups


async def differences(play: Play) -> list[tuple[str, str, list[str], list[str]]]:
    """What an audit finds: kind, text, what mending it gives, what it takes."""
    run = await play.run("audit", "--json")
    found = run.json["differences"]
    assert run.code == (1 if found else 0)
    return sorted((one["kind"], one["text"], one["gives"], one["takes"]) for one in found)


@pytest.mark.parametrize("removes", [True, False])
async def test_each_kind_of_difference_is_found_with_what_it_means_and_mended(
    begin: Begin, removes: bool
) -> None:
    async with begin(doubts=Doubts(removes=removes)) as play:
        users, groups = await running_for(play)
        assert await differences(play) == []
        client = play.muster.client
        sales, staff = (f"/Groups/{groups[name]['id']}" for name in ("Sales", "Staff's"))
        ada, bo, carl = (users[name]["id"] for name in ("ada", "bo", "carl"))
        guest = (await client.post("/Users", json=user("guest", externalId="gone"))).json()["id"]
        for path, body in (
            (sales, remove([ada, bo])),
            (sales, add([carl, guest])),
            (staff, patch(operation("Replace", "displayName", "Staff of old"))),
            (f"/Users/{carl}", patch(operation("Replace", "active", "False"))),
            (f"/Users/{bo}", patch(operation("Replace", "name.familyName", "Other"))),
        ):
            assert (await client.patch(path, json=body)).status_code in (200, 204)
        await client.post("/Groups", json=group("Left over", externalId="left-over"))
        await client.delete(f"/Users/{ada}")
        await play.muster.settle()
        assert await differences(play) == [
            ("group differs", "The group \"Staff's\" is named 'Staff of old'", [], []),
            ("group too many", "The group 'Left over' is there, and not assigned", [], []),
            (
                "member missing",
                "ada@example.com is missing in the group 'Sales'",
                ["Add-in User"],
                [],
            ),
            ("member missing", "bo@example.com is missing in the group 'Sales'", [], []),
            (
                "member too many",
                "carl@example.com is in the group 'Sales', and not in Entra ID",
                [],
                [],
            ),
            (
                "member too many",
                "guest@example.com is in the group 'Sales', and not in Entra ID",
                [],
                ["Add-in User"],
            ),
            ("person differs", "bo@example.com has another family name", [], []),
            ("person inactive", "carl@example.com is not active", ["Add-in User", "Owner"], []),
            ("person missing", "ada@example.com is not there", ["Add-in User"], []),
            (
                "person not assigned",
                "guest@example.com is active, and not assigned",
                [],
                ["Add-in User"],
            ),
        ]
        play.graph.requests.clear()
        dry = await play.run("repair", "--dry-run")
        assert (dry.code, play.writes()) == (1, [])
        refused = await play.run("repair", answers=("",))
        assert (refused.code, play.writes()) == (1, [])
        first = await play.run("repair", "--yes")
        assert "repair --remove" in first.said
        left = Counter(one[0] for one in await differences(play))
        members = {} if removes else {"member too many": 1}
        kinds = {"group too many": 1, "person not assigned": 1}
        # Who is in no directory is nobody whom Entra ID takes out.
        assert left == {**kinds, "member too many": 1 + len(members)}
        kept = await play.run("repair", "--remove", answers=("y", "n"))
        assert (kept.code, "taken away" in kept.said) == (1, False)
        second = await play.run("repair", "--yes", "--remove")
        assert second.code == 0, second.said
        assert await differences(play) == []


async def test_who_left_and_is_still_active_is_found(play: Play, customer: Customer) -> None:
    await running_for(play)
    bo = next(one for one in customer.accounts.values() if one.principal_name.startswith("bo"))
    bo.enabled = False
    assert await differences(play) == [
        (
            "person still active",
            "bo@example.com is disabled in Entra ID, and active",
            [],
            ["Add-in User", "Owner"],
        )
    ]
    assert (await play.run("repair", "--yes")).code == 0
    assert not (await play.users())["bo"]["active"]


async def test_people_whom_graph_hides_are_not_taken_for_disabled(play: Play) -> None:
    await running_for(play)
    token = play.graph.sign_in.issue(program.REPAIRING.replace("User.Read.All", ""))
    run = await play.run("repair", "--yes", "--remove", GRAPH_TOKEN=token)
    assert (run.code, "User.Read.All" in run.said) == (2, True)
    assert all(one["active"] for one in (await play.users()).values())


@pytest.mark.parametrize("typed", [True, False])
async def test_nested_groups_and_accounts_out_of_scope_are_told(
    begin: Begin, customer: Customer, typed: bool
) -> None:
    inner = customer.group("Inner", customer.account("eve"))
    outer = next(one for one in customer.groups.values() if one.name == "Sales")
    outer.members.append(inner.id)
    async with begin(doubts=Doubts(says_types=typed)) as play:
        await play.set_up("Sales", "Staff's")
        await play.cycle()
        customer.groups[outer.id].name = "Sales force"
        next(one for one in customer.groups.values() if one.name == "Staff's").security = False
        run = await play.run("audit")
    assert "does not provision the 1 people who are only in those" in run.said
    assert "1 assigned accounts have no mail" in run.said
    assert '"Staff\'s" is not security-enabled' in run.said
    assert "The group 'Sales force' is named 'Sales'" in run.said


async def test_without_the_api_s_token_it_compares_and_says_what_it_does_not_know(
    play: Play,
) -> None:
    users, groups = await running_for(play)
    await play.muster.client.patch(
        f"/Groups/{groups['Sales']['id']}", json=remove([users["ada"]["id"]])
    )
    run = await play.run("audit", MUSTER_API_TOKEN="")
    assert run.code == 1
    assert "needs MUSTER_API_TOKEN" in run.said
    run = await play.run("audit", MUSTER_TOKEN="")
    assert (run.code, "Download this program" in run.said) == (2, True)


async def test_what_another_connection_brought_is_no_difference(play: Play) -> None:
    """Nor what was imported, which no connection has touched yet. Without the API's token that is
    not known: then it is shown, and stays."""
    _, groups = await running_for(play)
    await play.muster.changing(Connections).create("other", "Other")
    token = await play.muster.changing(Tokens).create("scim", connection_id="other")
    headers = {"Authorization": f"Bearer {token}"}
    client = play.muster.client
    for path, body in (
        ("/Groups", group("Theirs", externalId="theirs")),
        ("/Users", user("them", externalId="them")),
    ):
        assert (await client.post(path, json=body, headers=headers)).status_code == 201
    imported = ImportFile.model_validate(
        {"groups": [{"externalId": "old", "displayName": "Old", "entitlements": []}]}
    )
    await play.muster.changing(GroupImport).load(imported)
    run = await play.run("audit")
    assert (run.code, "another connection may have brought" in run.said) == (0, True)
    run = await play.run("repair", "--yes", "--remove", MUSTER_API_TOKEN="")
    assert run.code == 1
    assert "only MUSTER_API_TOKEN shows whose it is" in run.said
    assert {"Theirs", "Old"} <= (await play.members()).keys()
    for one in groups.values():
        await client.delete(f"/Groups/{one['id']}")
    run = await play.run("audit")
    assert ("'Sales' is not there" in run.said, "'Theirs'" in run.said) == (True, False)
    run = await play.run("repair", "--yes", "--remove")
    assert run.code == 0, run.said
    assert {"Theirs", "Old"} <= (await play.members()).keys()


async def test_200_seeded_differences_are_found_and_mended(tmp_path: Path) -> None:
    organisation = Organisation(users=70, groups=6, seed=5)
    directory = Directory.of(organisation)
    async with playing(tmp_path, directory) as play:
        assert (await play.set_up()).code == 0
        await play.cycle()
        seeded = await _drift(play, random.Random(7))
        assert sum(seeded.values()) == 200
        found = Counter(one[0] for one in await differences(play))
        assert found == seeded
        run = await play.run("repair", "--yes", "--remove")
        assert run.code == 0, run.said[-2000:]


async def _drift(play: Play, chance: random.Random) -> Counter[str]:
    """Make differences by hand in Muster; how many of each kind."""
    client = play.muster.client
    found = (await client.get("/Users?count=200")).json()["Resources"]
    people = {one["id"]: one for one in found}
    made: Counter[str] = Counter()
    for one in chance.sample(sorted(people), 30):
        kind, path, value = chance.choice(
            (("person inactive", "active", "False"), ("person differs", "name.familyName", "Other"))
        )
        await client.patch(f"/Users/{one}", json=patch(operation("Replace", path, value)))
        made[kind] += 1
    groups = (await client.get("/Groups")).json()["Resources"]
    for number, one in enumerate(groups):
        wanted = (200 - made.total()) // (len(groups) - number)
        members = sorted(member["value"] for member in one["members"])
        others = sorted(set(people) - set(members))
        out = chance.sample(members, min(len(members), wanted // 2))
        into = chance.sample(others, wanted - len(out))
        await client.patch(f"/Groups/{one['id']}", json=remove(out))
        await client.patch(f"/Groups/{one['id']}", json=add(into))
        made += Counter({"member missing": len(out), "member too many": len(into)})
    return made


def test_check_names_what_ends_and_what_failed() -> None:
    answer = {"key": json_of(result="Skipped", details={"errorCode": "RedundantExport"})}
    assert program.outcome(answer) == (True, "in step already")
    failed = {"key": json_of(result="Failure", details={"errorCode": "DuplicateTargetEntries"})}
    good, text = program.outcome(failed)
    assert (good, "removed or corrected" in text) == (False, True)
    assert program.outcome({"key": "no JSON", "value": "[]"})[0] is False


def json_of(**parts: Any) -> str:
    """JSON in a text, as Graph answers."""
    return json.dumps(parts)


@pytest.mark.parametrize("shown", [True, False])
async def test_check_tells_failures_and_tokens_that_end(begin: Begin, shown: bool) -> None:
    async with begin(doubts=Doubts(shows_log=shown)) as play:
        await play.set_up()
        assert (await play.run("check")).code == 0
        (job,) = play.graph.jobs.values()
        job.log += [entry(job.id, "x", "required attributes are missing: emails")] * 2
        soon = play.muster.application.service.now() + timedelta(days=3)
        for kind in ("scim", "access", "console"):
            await play.muster.changing(Tokens).create(kind, expires=soon)
        await play.cycle()
        run = await play.run("check")
        assert run.code == 1
        assert run.said.count("have a new one made") == 1
        assert ("2 times" in run.said and "required attributes" in run.said) == shown
        assert ("log cannot be read" in run.said) != shown
