"""App roles as access: what Entra ID sends in `roles`, where the policy lets it grant."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from administration.catalog import parse_catalog
from administration.catalog_change import Catalog
from administration.tenants import Tenancy
from directory.documents import EntitlementKey
from reconciler.questions.preview import Preview
from reconciler.questions.proposal import PolicyProposal
from reconciler.questions.why import Why, why
from tests.consistency import assert_consistent
from tests.environment import TENANT, Environment, running
from tests.scim.messages import create_user, operation, patch

ADD_IN = EntitlementKey(kind="role", key="addInUser")
WITHOUT_GROUPS = {"app_roles": True, "disable_when": ("inactive",)}
ASSIGNED = "WindowsAzureActiveDirectoryRole"
SHAPES: dict[str, dict[str, Any]] = {
    "its key": operation("Add", 'roles[primary eq "True"].value', "addInUser"),
    "its name": operation("Add", 'roles[primary eq "True"].value', "Add-in User"),
    "its name as display": operation("Add", 'roles[primary eq "True"].display', "Add-in User"),
    "JSON text": operation(
        "Add", "roles", [{"value": '{"id":"06b0","value":"addInUser","displayName":"Any"}'}]
    ),
    "JSON text with its name": operation(
        "Add", "roles", [{"value": '{"id":"06b0","value":"7","displayName":"Add-in User"}'}]
    ),
    "several": operation(
        "replace",
        "roles",
        [
            {"primary": False, "type": ASSIGNED, "display": "Reader", "value": "Reader"},
            {"primary": False, "type": ASSIGNED, "display": "Add-in User", "value": "User"},
        ],
    ),
    "a displayName": operation("Add", "roles", [{"displayName": "Add-in User", "value": "7"}]),
}
"""Microsoft's "Customize application attributes", and what was captured of it."""


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    async with running(tmp_path, WITHOUT_GROUPS) as environment:
        yield environment


async def held(environment: Environment, user: str) -> list[tuple[str, list[str]]]:
    """What somebody holds, each with what gives it."""
    await environment.settle()
    access = (await environment.access.get(f"/users/{user}")).json()
    return [(one["key"], [source["type"] for source in one["sources"]]) for one in access["grants"]]


async def asked(environment: Environment, user: str) -> Why:
    found = await why(environment.application.store, TENANT, user, ADD_IN)
    assert found
    return found


async def test_every_shape_gives_the_role_and_what_clears_it_takes_it(
    environment: Environment,
) -> None:
    for name, shape in SHAPES.items():
        ada = await create_user(environment.client, "ada")
        assert (await environment.client.patch(f"/Users/{ada}", json=patch(shape))).is_success
        assert await held(environment, ada) == [("addInUser", ["appRole"])], name
        await assert_consistent(environment.application.store, TENANT)
        await environment.client.patch(f"/Users/{ada}", json=patch(operation("remove", "roles")))
        assert await held(environment, ada) == [], name
        await environment.client.delete(f"/Users/{ada}")


async def test_what_names_nothing_or_several_gives_nothing(environment: Environment) -> None:
    twins = "kind,key,displayName\nrole,one,Twin\nrole,two,Twin\nreceptionMembership,Desk,Desk\n"
    await Catalog(environment.application.service, TENANT).load(parse_catalog(twins.encode()))
    roles = [{"value": name} for name in ("Twin", "Desk", "ADDINUSER", "nothing")]
    ada = await create_user(environment.client, "ada", roles=roles)
    assert await held(environment, ada) == []


async def test_the_catalog_decides_what_is_named(environment: Environment) -> None:
    ada = await create_user(environment.client, "ada", roles=[{"value": "Guide"}])
    catalog = Catalog(environment.application.service, TENANT)
    for line, expected in (
        ("role,guide,Guide", [("guide", ["appRole"])]),
        ("role,guide,Leader", []),
        ("role,Guide,Other", [("Guide", ["appRole"])]),
    ):
        await catalog.load(parse_catalog(f"kind,key,displayName\n{line}\n".encode()))
        assert await held(environment, ada) == expected
    await catalog.remove("role", "Guide")
    assert await held(environment, ada) == []


async def test_switching_is_previewed_and_why_names_the_attribute(
    environment: Environment,
) -> None:
    store, tenancy = environment.application.store, environment.changing(Tenancy)
    ada = await create_user(environment.client, "ada", roles=[{"value": "addInUser"}])
    on = await tenancy.change_policy({"app_roles": False})
    assert await held(environment, ada) == []
    found = await asked(environment, ada)
    assert [one.kind for one in found.obstacles] == ["appRolesOff", "noGroupMapped"]
    wanted = on.policy.model_copy(update={"app_roles": True})
    page = await Preview(store, TENANT, PolicyProposal(wanted)).page()
    assert [(one.user_id, one.gained) for one in page.effects] == [(ada, (ADD_IN,))]
    await tenancy.change_policy({"app_roles": True})
    assert await held(environment, ada) == [("addInUser", ["appRole"])]
    (chain,) = (await asked(environment, ada)).chains
    assert chain.source.type == "appRole"
    assert chain.cause
    assert chain.cause.event
    assert (chain.cause.event.operation, chain.cause.event.resource_id) == ("create", ada)
