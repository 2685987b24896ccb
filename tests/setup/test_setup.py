"""`setup`: one run from nothing to people in Muster, and any number of runs after it."""

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from administration.clients import Clients
from laptop.graph.job import template_schema
from laptop.graph.program import Terminal
from laptop.graph.service import Doubts, Pace
from tests.environment import change_tenant
from tests.scim.messages import user
from tests.setup.conftest import Begin
from tests.setup.customer import Customer
from tests.setup.playing import Play, program

PROOF = ("POST", "provisionOnDemand")
EVERYBODY = {"Sales": {"ada", "bo"}, "Staff's": {"bo", "carl"}}


def last_parts(play: Play) -> list[tuple[str, str]]:
    """What was changed, by the last part of the path."""
    return [(method, path.rpartition("/")[2]) for method, path in play.writes()]


async def test_one_run_brings_everybody_and_a_second_changes_nothing(play: Play) -> None:
    first = await play.set_up()
    assert first.code == 0, first.said
    await play.cycle()
    assert await play.members() == EVERYBODY
    users = await play.users()
    ids = {one.principal_name.partition("@")[0]: id for id, one in accounts(play).items()}
    assert {name: one["externalId"] for name, one in users.items()} == {
        name: ids[name] for name in ("ada", "bo", "carl")
    }, "neither the room nor whom nobody may sign in as"
    assert all(one["active"] for one in users.values())
    (principal,) = play.graph.directory.principals.values()
    assert {one["appRoleId"] for one in principal.assignments} == {principal.roles[0]["id"]}
    saved = play.graph.credentials[principal.id].values
    assert (saved["SyncAll"], saved.get("SecretToken")) == ("false", None)
    assert "amber" not in first.said

    play.graph.requests.clear()
    again = await play.set_up()
    assert again.code == 0
    assert last_parts(play) == [PROOF, PROOF]
    assert "credentials that were saved" in again.said


def accounts(play: Play) -> dict[str, Any]:
    """People of the directory by object id."""
    return play.graph.directory.accounts


async def test_what_was_put_is_what_the_facts_ask_for(play: Play) -> None:
    await play.set_up()
    (rule,) = play.schema["synchronizationRules"]
    original = template_schema(play.schema["id"])
    assert play.schema["directories"] == original["directories"]
    group, user = rule["objectMappings"]
    assert {
        one["targetAttributeName"]: one["matchingPriority"]
        for one in (*user["attributeMappings"], *group["attributeMappings"])
        if one["matchingPriority"]
    } == {"externalId": 1, 'emails[type eq "work"].value': 2}
    (only,) = user["scope"]["groups"]
    assert [one["sourceOperandName"] for one in only["clauses"]] == ["mail", "givenName", "surname"]
    before = original["synchronizationRules"][0]["objectMappings"]
    for kept in ("active", "name.formatted", "members"):
        assert attribute(rule["objectMappings"], kept) == attribute(before, kept)


def attribute(mappings: list[dict[str, Any]], target: str) -> dict[str, Any]:
    """The mapping of one attribute."""
    everything = [one for mapping in mappings for one in mapping["attributeMappings"]]
    return next(one for one in everything if one["targetAttributeName"] == target)


async def test_a_dry_run_and_a_no_write_nothing(play: Play) -> None:
    for ended in ("before", "after"):
        play.graph.requests.clear()
        dry = await play.run("setup", "--dry-run", "--group=Sales")
        assert (dry.code, play.writes()) == (0, []), ended
        refused = await play.run("setup", "--group=Sales", answers=("no",))
        assert (refused.code, play.writes()) == (1, [])
        assert "Left as it is" in refused.said
        await play.run("setup", "--group=Sales", answers=("y",))


DOUBTS: dict[str, tuple[Doubts, str]] = {
    "template": (Doubts(template="customappsso"), ""),
    "blank_is_left_out": (Doubts(blank_is_left_out=False), ""),
    "not_null": (Doubts(not_null="IsNotNull"), ""),
    "no operator": (Doubts(not_null=None), "make one filter with three clauses"),
    "lists_operators": (Doubts(lists_operators=False), ""),
    "shows_template": (Doubts(shows_template=False), ""),
    "says_types": (Doubts(says_types=False), ""),
    "says_template": (Doubts(says_template=False), ""),
    "has_roles": (Doubts(has_roles=False), ""),
    "running": (Doubts(running="InProgress"), ""),
    "outcome_in_key": (Doubts(outcome_in_key=False), ""),
}
"""What is open, answered the other way, and what somebody is told to do by hand."""


@pytest.mark.parametrize("doubt", DOUBTS)
async def test_either_way_of_what_is_uncertain_ends_right(begin: Begin, doubt: str) -> None:
    doubts, by_hand = DOUBTS[doubt]
    async with begin(doubts=doubts) as play:
        run = await play.set_up()
        assert run.code == 0, run.said
        assert by_hand in run.said
        assert ("amber" in run.said) == bool(by_hand)
        again = await play.set_up()
        assert again.code == 0
        await play.cycle()
        found = await play.members()
        assert {name: found[name] - {"room"} for name in found} == EVERYBODY


def test_every_doubt_is_answered_both_ways() -> None:
    elsewhere = {"oauth", "removes", "shows_log", "keeps_schema", "echoes"}
    assert {one.name for one in fields(Doubts)} <= {*DOUBTS, *elsewhere}


@pytest.mark.parametrize("offered", [True, False])
async def test_oauth_by_program_or_by_hand(begin: Begin, offered: bool) -> None:
    async with begin(doubts=Doubts(oauth=offered)) as play:
        client, secret = await play.muster.changing(Clients).add_secret("entra", timedelta(days=1))
        play.environment["MUSTER_OAUTH_SECRET"] = secret
        arguments = ("setup", "--yes", "--group=Sales", f"--oauth-client={client}")
        run = await play.run(*arguments)
        if not offered:
            assert run.code == 2
            assert "--credentials kept" in run.said
            assert not play.graph.jobs, "it would be quarantined"
            return
        assert run.code == 0, run.said
        (saved,) = [one.values for one in play.graph.credentials.values()]
        assert saved["oauth2TokenExchangeUri"] == "https://muster.test/oauth/token"
        assert "BaseAddress" not in saved
        await play.cycle()
        assert (await play.members())["Sales"] == {"ada", "bo"}


async def test_a_death_between_any_two_requests_leaves_nothing_twice(play: Play) -> None:
    """Run again, it goes on; the application is in no list yet when it does."""
    left = 0
    while True:
        play.begin_anew()
        token = play.graph.sign_in.issue(program.WRITING)
        died = await play.run("setup", "--yes", "--group=Sales", left=left, GRAPH_TOKEN=token)
        if died.code == 0:
            break
        again = await play.set_up("Sales", GRAPH_TOKEN=token)
        assert again.code == 0, (left, again.said)
        assert len(play.graph.directory.principals) == len(play.graph.jobs) == 1, left
        (job,) = play.graph.jobs.values()
        assert (job.state, job.quarantine) == ("Active", None)
        await play.graph.idle()
        left += 1
    assert left > 20


async def test_throttled_and_in_small_pages_it_ends_the_same(begin: Begin) -> None:
    async with begin(pace=Pace(page=1, throttled_every=3)) as play:
        assert (await play.set_up()).code == 0
        await play.cycle()
        assert await play.members() == EVERYBODY
        assert (await play.run("audit")).code == 0


async def test_people_who_were_there_before_are_adopted(play: Play) -> None:
    address = {"type": "work", "value": "ada@example.com"}
    legacy = {
        "userName": "legacy",
        "name": {"givenName": "A", "familyName": "B"},
        "emails": [address],
    }
    made = (await play.muster.client.post("/Users", json=legacy)).json()
    await play.set_up()
    await play.cycle()
    assert (await play.users())["ada"]["id"] == made["id"]


async def test_a_secret_that_is_not_given_is_asked_for(play: Play) -> None:
    arguments = ("setup", "--yes", "--group=Sales", "--credentials=token")
    run = await play.run(*arguments, answers=(play.muster.token,))
    assert (run.code, "Secret Token: " in run.said) == (0, True)
    (saved,) = play.graph.credentials.values()
    assert saved.values["SecretToken"] == play.muster.token
    oauth = ("setup", "--yes", "--group=Sales", "--credentials=oauth")
    run = await play.run(*oauth)
    assert (run.code, "client identifier is missing" in run.said) == (2, True)
    run = await play.run(*oauth, "--oauth-client=muster_client_x", answers=("not-it",))
    assert (run.code, "Client secret: " in run.said) == (2, True)
    assert "CredentialValidationUnavailable" in run.said


async def test_without_a_word_saved_credentials_stay(play: Play) -> None:
    """A second run without the token must not make it blank."""
    await play.set_up(MUSTER_SECRET_TOKEN=play.muster.token)
    (saved,) = play.graph.credentials.values()
    assert saved.values["SecretToken"] == play.muster.token
    await play.set_up()
    assert [*play.graph.credentials.values()] == [saved]


class TestWhatStopsIt:
    """Each says what was wrong and what to do; the exit code is 2."""

    async def stopped(self, play: Play, *words: str, group: str = "Sales", **more: str) -> None:
        run = await play.set_up(group, **more)
        assert run.code == 2, run.said
        assert "Stopped: " in run.said
        for word in (*words, "What to do: "):
            assert word in run.said

    async def test_credentials_that_muster_refuses(self, play: Play) -> None:
        wrong = play.muster.token[:-1] + ("0" if play.muster.token[-1] != "0" else "1")
        await self.stopped(
            play, "CredentialValidationUnavailable", "Tenant URL", MUSTER_SECRET_TOKEN=wrong
        )
        assert not play.graph.jobs, "it would be quarantined"
        assert (await play.set_up()).code == 0

    async def test_provisioning_that_is_not_enabled_in_muster(self, play: Play) -> None:
        store, tenant = play.muster.application.store, play.muster.tenant_id
        disabled = {"provisioning": "disabled"}
        await change_tenant(store, tenant, lambda one: one.model_copy(update=disabled))
        await self.stopped(play, "403", "enable it in Muster's console")

    async def test_a_group_that_nobody_has(self, play: Play) -> None:
        await self.stopped(play, "0 groups are named 'Sails'", group="Sails")
        assert not play.graph.directory.principals

    async def test_a_name_that_two_groups_have(self, play: Play, customer: Customer) -> None:
        other = customer.group("Sales")
        await self.stopped(play, "2 groups are named 'Sales'", other.id)
        assert (await play.set_up(other.id)).code == 0

    async def test_somebody_who_may_not(self, play: Play) -> None:
        token = play.graph.sign_in.issue(program.READING)
        await self.stopped(play, "403", "Application Administrator", GRAPH_TOKEN=token)

    async def test_nobody_signs_in(self, play: Play) -> None:
        play.graph.sign_in.accepts = False
        await self.stopped(play, "the sign-in was refused")

    async def test_a_name_that_another_kind_of_application_has(self, play: Play) -> None:
        await play.set_up()
        (principal,) = play.graph.directory.principals.values()
        principal.template = "3c8ad3b9-0000-4000-8000-000000000000"
        await self.stopped(play, "of another kind", "--name")

    async def test_an_address_without_https(self, play: Play) -> None:
        run = await play.run("check", "--api-url=http://muster.example/console/api")
        assert run.code == 2
        assert "is no https:// URL" in run.said
        assert play.graph.requests == []

    async def test_two_applications_of_one_name(self, play: Play) -> None:
        await play.set_up()
        (principal,) = play.graph.directory.principals.values()
        play.graph.directory.principals["other"] = replace(principal, id="other")
        await self.stopped(play, "There are 2 Enterprise Applications", principal.id)

    async def test_a_schema_that_is_not_kept(self, begin: Begin) -> None:
        async with begin(doubts=Doubts(keeps_schema=False)) as play:
            await self.stopped(play, "did not keep the mappings: users: externalId")
            assert all(job.state == "Paused" for job in play.graph.jobs.values())

    async def test_an_operator_that_could_not_be_listed_and_is_none(self, begin: Begin) -> None:
        async with begin(doubts=Doubts(lists_operators=False, not_null="IsNotNull")) as play:
            await self.stopped(play, "InvalidOperator", "IS NOT NULL is no operator")

    async def test_two_users_in_muster_who_match(self, play: Play) -> None:
        for name in ("first", "second"):
            address = [{"type": "work", "value": "ada@example.com"}]
            await play.muster.client.post("/Users", json=user(name, emails=address))
        await self.stopped(play, "DuplicateTargetEntries", "have one of them removed")

    async def test_an_error_that_repeats_the_secret_is_shown_without_it(self, begin: Begin) -> None:
        async with begin(doubts=Doubts(echoes=True)) as play:
            play.environment["MUSTER_SECRET_TOKEN"] = "wr0ng-secret"  # the fixture looks for it
            await self.stopped(play, "'SecretToken': '***'")


async def test_the_proof_takes_somebody_who_may_sign_in(play: Play, customer: Customer) -> None:
    groups = {one.name: one for one in customer.groups.values()}
    groups["Staff's"].members.reverse()  # the first one is disabled now
    run = await play.set_up("Staff's")
    assert run.code == 0, run.said
    assert "carl@example.com" in run.said


async def test_a_group_that_is_not_provisioned_is_told(play: Play, customer: Customer) -> None:
    mailing = customer.group("Mailing")
    mailing.security = False
    run = await play.set_up("Sales", "Mailing")
    assert run.code == 0
    assert "'Mailing' is not security-enabled" in run.said


async def test_an_assignment_that_no_list_shows_yet_is_no_fault(begin: Begin) -> None:
    async with begin(pace=Pace(assigned_after=3600)) as play:
        assert (await play.set_up()).code == 0
        assert (await play.set_up()).code == 0
        (principal,) = play.graph.directory.principals.values()
        assert len(principal.assignments) == 2


@pytest.mark.parametrize(
    ("status", "schedule", "trouble"),
    [
        ({"code": "Active"}, {"state": "Active"}, ""),
        ({"code": "InProgress", "quarantine": None}, {"state": "Active"}, ""),
        ({"code": "Active"}, {"state": "Disabled"}, "schedule is Disabled"),
        ({"code": "NotRun"}, {"state": "Active"}, "status is NotRun"),
        ({"code": "Active", "quarantine": {"reason": "Unknown"}}, {"state": "Active"}, "Unknown"),
        (None, None, "status is None"),
    ],
)
def test_what_is_in_the_way_of_a_job(status: Any, schedule: Any, trouble: str) -> None:
    found = program.job_trouble({"status": status, "schedule": schedule})
    assert trouble in found
    assert bool(trouble) == bool(found)


class Scripted(Terminal):
    """Answers in turn; None: no answer."""

    def __init__(self, *answers: tuple[int, dict[str, str]] | None) -> None:
        super().__init__()
        self.answers = [*answers]
        self.pauses: list[float] = []

    def send(self, *_: Any) -> Any:
        answer = self.answers.pop(0)
        if answer is None:
            raise OSError("reset")
        return program.Answer(*answer, b"")

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def came_to(terminal: Scripted, method: str) -> str:
    """The status that a request ends with, or what stops it."""
    try:
        answer = program.patiently(terminal, "Graph", method, "https://graph.test/x", {}, None)
    except program.Problem as problem:
        return str(problem.wrong)
    return str(answer.status)


@pytest.mark.parametrize(
    ("method", "answers", "status", "pauses"),
    [
        ("GET", [None, (500, {}), (200, {})], 200, [2, 4]),
        ("PUT", [(503, {"retry-after": "7"}), (204, {})], 204, [7]),
        ("POST", [(429, {"retry-after": "3"}), (201, {})], 201, [3]),
        ("POST", [(429, {}), (200, {})], 200, [10]),
        ("POST", [(429, {"retry-after": "Mon, 30 Nov 2026"}), (200, {})], 200, [10]),
        ("POST", [(500, {})], 500, []),
        ("POST", [None], "does not answer", []),
        ("GET", [None, None, None], "does not answer", [2, 4]),
        ("GET", [(429, {"retry-after": "1"})] * 30, "asks for patience", [1] * 30),
    ],
)
def test_what_is_asked_again_and_when(
    method: str, answers: list[Any], status: int | str, pauses: list[float]
) -> None:
    terminal = Scripted(*answers)
    assert str(status) in came_to(terminal, method)
    assert (terminal.pauses, terminal.answers) == (pauses, [])


async def test_a_job_in_quarantine_is_restarted(play: Play) -> None:
    await play.set_up()
    (job,) = play.graph.jobs.values()
    job.quarantine = {
        "reason": "EncounteredQuarantineException",
        "currentBegan": "2026-11-01T00:00:00Z",
        "error": {"message": "Credentials are invalid."},
    }
    checked = await play.run("check")
    assert checked.code == 1
    assert "in quarantine since 2026-11-01T00:00:00Z: Credentials are invalid." in checked.said
    assert (await play.set_up()).code == 0
    assert ("POST", "restart") in last_parts(play)
    assert (await play.run("check")).code == 0


# 40 mistakes that people make in a job's schema.


def of(schema: dict[str, Any], source: str) -> dict[str, Any]:
    """The mapping of users or of groups."""
    found: dict[str, Any] = program.object_mapping(schema, source)
    return found


def change(kind: str, target: str, **to: Any) -> Callable[[dict[str, Any]], None]:
    def make(schema: dict[str, Any]) -> None:
        program.attributes_of(of(schema, kind), target)[0].update(to)

    return make


def comes_from(source: str, target: str, name: str) -> Callable[[dict[str, Any]], None]:
    return change(source, target, source=program.new_attribute(target, name, 0)["source"])


def drop(source: str, target: str) -> Callable[[dict[str, Any]], None]:
    def make(schema: dict[str, Any]) -> None:
        mapping = of(schema, source)
        mapping["attributeMappings"] = [
            one for one in mapping["attributeMappings"] if one["targetAttributeName"] != target
        ]

    return make


def twice(source: str, target: str) -> Callable[[dict[str, Any]], None]:
    def make(schema: dict[str, Any]) -> None:
        mapping = of(schema, source)
        other = copy.deepcopy(program.attributes_of(mapping, target)[0])
        mapping["attributeMappings"].append(other)

    return make


def set_mapping(source: str, **to: Any) -> Callable[[dict[str, Any]], None]:
    return lambda schema: of(schema, source).update(to)


def scope(*groups: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    def make(schema: dict[str, Any]) -> None:
        clause = of(schema, "User")["scope"]["groups"][0]["clauses"][0]
        of(schema, "User")["scope"]["groups"] = [
            {"clauses": [{**clause, "sourceOperandName": name} for name in names]}
            for names in groups
        ]

    return make


MAIL, MAILS = "mail", 'emails[type eq "work"].value'
MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no externalId": (drop("User", "externalId"), "externalId was not mapped"),
    "externalId of mailNickname": (comes_from("User", "externalId", "mailNickname"), "mailNick"),
    "externalId of the address": (comes_from("User", "externalId", "mail"), "externalId came from"),
    "externalId not matched by": (change("User", "externalId", matchingPriority=0), "externalId"),
    "externalId matched third": (change("User", "externalId", matchingPriority=3), "externalId"),
    "externalId once": (change("User", "externalId", flowType="ObjectAddOnly"), "externalId"),
    "externalId twice": (twice("User", "externalId"), "externalId was mapped more than once"),
    "externalId for all": (change("User", "externalId", defaultValue="x"), "default value"),
    "externalId no source": (change("User", "externalId", source=None), "came from nothing"),
    "no address": (drop("User", MAILS), f"{MAILS} was not mapped"),
    "address of the name": (comes_from("User", MAILS, "userPrincipalName"), "userPrincipalName"),
    "address not matched by": (change("User", MAILS, matchingPriority=0), MAILS),
    "address first": (change("User", MAILS, matchingPriority=1), MAILS),
    "address once": (change("User", MAILS, flowType="ObjectAddOnly"), MAILS),
    "address for all": (change("User", MAILS, defaultValue="x@example.com"), "default value"),
    "address twice": (twice("User", MAILS), "more than once"),
    "userName matched by": (change("User", "userName", matchingPriority=1), "userName"),
    "userName of the address": (comes_from("User", "userName", "mail"), "userName came from"),
    "no userName": (drop("User", "userName"), "userName was not mapped"),
    "no given name": (drop("User", "name.givenName"), "name.givenName was not mapped"),
    "given name of another": (comes_from("User", "name.givenName", "displayName"), "givenName"),
    "no family name": (drop("User", "name.familyName"), "name.familyName was not mapped"),
    "names exchanged": (comes_from("User", "name.familyName", "givenName"), "familyName"),
    "family name for all": (change("User", "name.familyName", defaultValue="-"), "default value"),
    "displayName matched by": (change("User", "displayName", matchingPriority=2), "displayName"),
    "no active": (drop("User", "active"), "active is mapped from nothing"),
    "active of accountEnabled": (comes_from("User", "active", "accountEnabled"), "accountEnabled"),
    "active once": (change("User", "active", flowType="ObjectAddOnly"), "active is mapped"),
    "active matched by": (change("User", "active", matchingPriority=4), "active"),
    "users switched off": (set_mapping("User", enabled=False), "users: their mapping was switched"),
    "users never deleted": (set_mapping("User", flowTypes="Add,Update"), "users: not all of"),
    "no scope": (set_mapping("User", scope=None), "no scoping filter"),
    "half a scope": (scope(("mail",)), "no scoping filter"),
    "three filters": (scope(("mail",), ("givenName",), ("surname",)), "one of several scoping"),
    "group by name": (change("Group", "displayName", matchingPriority=1), "displayName"),
    "group without externalId": (drop("Group", "externalId"), "groups: externalId was not mapped"),
    "group externalId unmatched": (
        change("Group", "externalId", matchingPriority=0),
        "groups: ext",
    ),
    "no members": (drop("Group", "members"), "members is mapped from nothing"),
    "members of owners": (comes_from("Group", "members", "owners"), "members is mapped from"),
    "groups switched off": (set_mapping("Group", enabled=False), "groups: their mapping was"),
    "groups never made": (set_mapping("Group", flowTypes="Update"), "groups: not all of"),
    "groups scoped": (
        set_mapping("Group", scope={"groups": [{"clauses": []}]}),
        "keeps groups out",
    ),
}


def right_schema() -> dict[str, Any]:
    """A schema without mistakes."""
    schema = template_schema("job")
    found: dict[str, Any] = program.mend(schema, "IS NOT NULL", schema).schema
    return found


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_schema_is_named_and_mended(mistake: str) -> None:
    make, words = MISTAKES[mistake]
    right, original = right_schema(), template_schema("job")
    assert program.mend(right, "IS NOT NULL", original).changes == []
    wrong = copy.deepcopy(right)
    make(wrong)
    mended = program.mend(wrong, "IS NOT NULL", original)
    assert [one for one in mended.changes if words in one], mended.changes
    again = program.mend(mended.schema, "IS NOT NULL", original)
    assert (again.changes, again.left, mended.left) == ([], [], [])


def test_there_are_forty_mistakes() -> None:
    assert len(MISTAKES) >= 40


async def test_a_mistake_by_hand_is_shown_by_check_and_mended_by_setup(play: Play) -> None:
    await play.set_up()
    MISTAKES["active of accountEnabled"][0](play.schema)
    MISTAKES["externalId of mailNickname"][0](play.schema)
    checked = await play.run("check")
    assert checked.code == 1
    assert "accountEnabled" in checked.said
    assert "mailNickname" in checked.said
    assert (await play.set_up()).code == 0
    assert (await play.run("check")).code == 0
    assert program.mend(play.schema, "IS NOT NULL", None).changes == []


def test_what_the_customer_added_stays() -> None:
    """A clause of their own, in one filter or in two of which one is enough, and other
    attributes."""
    right, original = right_schema(), template_schema("job")
    own = {
        "sourceOperandName": "userType",
        "operatorName": "EQUALS",
        "targetOperand": {"values": ["Member"]},
    }
    of(right, "User")["scope"]["groups"][0]["clauses"].append(own)
    assert program.mend(right, "IS NOT NULL", original).changes == []
    other = {**own, "targetOperand": {"values": ["Guest"]}}
    of(right, "User")["scope"]["groups"] = [{"clauses": [own]}, {"clauses": [other]}]
    mended = of(program.mend(right, "IS NOT NULL", original).schema, "User")
    assert [
        [one["sourceOperandName"] for one in group["clauses"]]
        for group in mended["scope"]["groups"]
    ] == [["mail", "givenName", "surname", "userType"]] * 2
    assert program.attributes_of(mended, "title")


async def test_a_wrong_mapping_shows_as_wrong_users(play: Play) -> None:
    """The job in the box provisions by the schema that was put, not by the right one."""
    await play.set_up()
    MISTAKES["names exchanged"][0](play.schema)
    carl = next(one for one in accounts(play).values() if one.principal_name.startswith("carl"))
    await play.cycle()
    assert (await play.users())["carl"]["name"]["familyName"] == carl.given_name


class TestTheBoxIsStrict:
    """What it does not know it refuses, so that the program cannot ask for it."""

    async def test_five_on_demand_in_ten_seconds(self, play: Play) -> None:
        await play.set_up()
        play.clock.forward(10)
        ((principal, job),) = play.graph.jobs.items()
        (rule,) = job.schema["synchronizationRules"]
        ada = next(iter(accounts(play)))
        subject = {"objectId": ada, "objectTypeName": "User"}
        body = {"parameters": [{"ruleId": rule["id"], "subjects": [subject]}]}
        headers = {"Authorization": f"Bearer {play.graph.sign_in.issue(program.WRITING)}"}
        path = f"/v1.0/servicePrincipals/{principal}/synchronization/jobs/{job.id}"
        transport = httpx.ASGITransport(app=play.graph)
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            url = f"https://graph.test{path}/provisionOnDemand"
            answers = [await client.post(url, json=body) for _ in range(6)]
        assert [one.status_code for one in answers] == [200] * 5 + [429]
        assert answers[-1].headers["retry-after"] == "11"

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "/v1.0/me", None, 404),
            ("GET", "/v1.0/groups?$search=x", None, 400),
            ("GET", "/v1.0/servicePrincipals?$filter=startswith(displayName,'M')", None, 400),
            ("GET", "/v1.0/servicePrincipals/1", None, 404),
            ("POST", f"/v1.0/applicationTemplates/{program.NON_GALLERY}/instantiate", {}, 400),
            ("POST", "/v1.0/applicationTemplates/1/instantiate", {"displayName": "M"}, 404),
        ],
    )
    async def test_it(self, play: Play, method: str, path: str, body: Any, status: int) -> None:
        transport = httpx.ASGITransport(app=play.graph)
        async with httpx.AsyncClient(transport=transport, base_url="https://graph.test") as client:
            assert (await client.get("/v1.0/groups")).status_code == 401
            token = play.graph.sign_in.issue(program.WRITING)
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.request(method, path, json=body, headers=headers)
            assert answer.status_code == status
