"""The provisioning job in the box: what a schema makes of people, and what a cycle sends."""

import copy
from typing import Any

import httpx
import pytest

from laptop.simulation.mapping import UnusableSchema, expression
from tests.scim.messages import remove
from tests.setup.customer import Customer
from tests.setup.playing import Play, program

ADA = {"givenName": "Ada", "surname": "Ek", "mail": None, "IsSoftDeleted": "True"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (program.ACTIVE, "False"),
        ('Switch([surname], "other", "Ek", "one")', "one"),
        ('Switch([surname], "other", "Bo", "one")', "other"),
        ('Join(" ", [givenName], [mail], [surname])', "Ada Ek"),
        ("Coalesce([mail], [givenName])", "Ada"),
        ('"always"', "always"),
        ("[surname]", "Ek"),
    ],
)
def test_an_expression(text: str, value: str) -> None:
    assert expression({"type": "Function", "expression": text})(ADA) == value


@pytest.mark.parametrize("text", ["Reverse([mail])", "Switch([mail]", "[mail] [mail]", ""])
def test_an_expression_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UnusableSchema):
        expression({"type": "Function", "expression": text})


def not_an_operator(schema: dict[str, Any]) -> None:
    scope = program.object_mapping(schema, "User")["scope"]
    scope["groups"][0]["clauses"][0]["operatorName"] = "EXISTS"


def not_a_function(schema: dict[str, Any]) -> None:
    (name,) = program.attributes_of(program.object_mapping(schema, "User"), "name.formatted")
    name["source"]["expression"] = "Reverse([mail])"


def other_directories(schema: dict[str, Any]) -> None:
    schema["directories"] = []


def half(schema: dict[str, Any]) -> None:
    del schema["version"]


@pytest.mark.parametrize("change", [not_an_operator, not_a_function, other_directories, half])
async def test_a_schema_that_is_not_whole_or_not_understood_is_refused(
    play: Play, change: Any
) -> None:
    await play.set_up()
    schema = copy.deepcopy(play.schema)
    ((principal, job),) = play.graph.jobs.items()
    headers = {"Authorization": f"Bearer {play.graph.sign_in.issue(program.WRITING)}"}
    path = f"https://graph.test/v1.0/servicePrincipals/{principal}/synchronization/jobs/{job.id}"
    transport = httpx.ASGITransport(app=play.graph)
    async with httpx.AsyncClient(transport=transport, headers=headers) as client:
        assert (await client.put(f"{path}/schema", json=schema)).status_code == 204
        change(schema)
        assert (await client.put(f"{path}/schema", json=schema)).status_code == 400


async def test_cycles_follow_the_directory(play: Play, customer: Customer) -> None:
    await play.set_up()
    await play.cycle()
    sales, staff = customer.groups.values()
    ada, bo, carl, dana = list(customer.accounts.values())[:4]
    bo.enabled, dana.enabled = False, True
    carl.surname = "Other"
    sales.members.remove(ada.id)
    staff.members.append(ada.id)
    staff.members.remove(carl.id)
    alone = {"principalType": "User", "principalId": carl.id, "id": ""}
    (principal,) = customer.principals.values()
    principal.assignments[:] = [
        one for one in principal.assignments if one["principalId"] != sales.id
    ] + [alone]
    await play.cycle()
    users = await play.users()
    assert {name: one["active"] for name, one in users.items()} == {
        "ada": True,
        "bo": False,
        "carl": True,
        "dana": True,
    }
    assert users["carl"]["name"]["familyName"] == "Other"
    assert await play.members() == {"Staff's": {"ada", "bo", "dana"}}
    (job,) = play.graph.jobs.values()
    assert await job.account_on_demand(job.entra, ada.id) == ("Skipped", "RedundantExport")


async def found(play: Play, path: str) -> list[dict[str, Any]]:
    """What Muster lists."""
    resources: list[dict[str, Any]] = (await play.muster.client.get(path)).json()["Resources"]
    return resources


async def test_what_was_lost_in_muster_comes_with_a_restart(play: Play) -> None:
    """Entra ID does not read Muster again. Credentials that ended put the job into
    quarantine; with new ones set-up restarts it, and all is matched and sent anew."""
    await play.set_up(MUSTER_SECRET_TOKEN=play.muster.token)
    await play.cycle()
    (sales,) = (one for one in await found(play, "/Groups") if one["displayName"] == "Sales")
    users = await play.users()
    await play.muster.client.patch(f"/Groups/{sales['id']}", json=remove([users["bo"]["id"]]))
    await play.muster.client.delete(f"/Users/{users['carl']['id']}")
    await play.cycle()
    assert await play.members() == {"Sales": {"ada"}, "Staff's": {"bo"}}
    (saved,) = play.graph.credentials.values()
    good, saved.values["SecretToken"] = saved.values["SecretToken"], "revoked"
    await play.cycle()
    run = await play.run("check")
    assert (run.code, "in quarantine" in run.said) == (1, True)
    saved.values["SecretToken"] = good
    assert (await play.set_up()).code == 0
    await play.cycle()
    assert await play.members() == {"Sales": {"ada", "bo"}, "Staff's": {"bo", "carl"}}
    assert len(await play.users()) == 3, "nobody twice"
