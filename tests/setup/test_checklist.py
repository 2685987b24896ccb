"""A job that somebody clicked together, with a mistake: Muster's checklist names it and its remedy.

Of the mistakes in a job's schema, these are the ones that requests show; `muster_entra.py check`
reads the schema and names all of them (test_setup).
"""

from datetime import timedelta
from pathlib import Path

import pytest

from administration.reading.checklist import Item, read_checklist
from administration.tenants import read_tenant
from administration.tokens import Tokens, list_tokens
from laptop.graph.directory import ROLES, Principal
from laptop.graph.job import Credentials, Job, template_schema
from tests.environment import TENANT, Environment, running
from tests.setup.customer import Customer
from tests.setup.playing import Hosts
from tests.setup.test_setup import MISTAKES, right_schema
from wiring import utc_now

SHOWN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "as Entra ID begins": ("userMatch", "Map objectId to externalId", ()),
    "externalId not mapped": ("externalId", "Map objectId to externalId", ("no externalId",)),
    "matched by address": ("userMatch", "first matching", ("externalId not matched by",)),
    "no address": ("refused", 'emails[type eq "work"]', ("no address",)),
    "no given name": ("refused", "name.givenName", ("no given name",)),
    "no family name": ("refused", "name.familyName", ("no family name",)),
    "no active": ("active", "Map Switch([IsSoftDeleted]", ("no active",)),
    "groups by name": (
        "groupMatch",
        "make it the matching attribute",
        ("group by name", "group externalId unmatched"),
    ),
    "groups without members": ("members", "Assign groups that have direct members", ()),
    "its token was revoked": ("credential", "make a new one", ()),
}
"""What was done wrong → the step that says so, in which words; the mistakes in the schema."""


async def provisioned(muster: Environment, customer: Customer, mistake: str = "") -> None:
    """A job with that mistake, and its first cycle."""
    groups = [
        {"principalType": "Group", "principalId": id, "id": id, "appRoleId": ROLES[0]["id"]}
        for id in customer.groups
    ]
    principal = Principal("sp", "app", "Muster", ROLES, 0, 0, assignments=groups)
    if mistake == "groups without members":
        for group in customer.groups.values():
            group.members.clear()
    job = Job("job", "scim", customer, principal)
    job.schema = template_schema("job") if mistake == "as Entra ID begins" else right_schema()
    for name in SHOWN[mistake][2] if mistake else ():
        MISTAKES[name][0](job.schema)
    saved = Credentials({"BaseAddress": "https://muster.test/scim", "SecretToken": muster.token})
    entra = await job.connect(saved, Hosts(muster_scim=muster.application.scim))
    await job.cycle(entra)
    await job.close()
    if mistake == "its token was revoked":
        await muster.changing(Tokens).revoke(muster.token.split("_")[3])


async def steps(muster: Environment) -> dict[str, Item]:
    """The checklist, two hours later."""
    await muster.application.counter.close()
    store, now = muster.application.store, utc_now() + timedelta(hours=2)
    tenant = await read_tenant(store, TENANT)
    tokens = await list_tokens(store, tenant, now)
    return {one.key: one for one in await read_checklist(store, tenant, tokens, now)}


@pytest.mark.parametrize("mistake", SHOWN)
async def test_a_mistake_shows_with_its_remedy(
    tmp_path: Path, customer: Customer, mistake: str
) -> None:
    key, words, _ = SHOWN[mistake]
    async with running(tmp_path) as muster:
        await provisioned(muster, customer, mistake)
        step = (await steps(muster))[key]
        assert (step.state, words in step.says) == ("wrong", True), step


async def test_a_job_without_a_mistake_shows_none(tmp_path: Path, customer: Customer) -> None:
    async with running(tmp_path) as muster:
        await provisioned(muster, customer)
        assert [one for one in (await steps(muster)).values() if one.state == "wrong"] == []
