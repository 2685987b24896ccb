"""The access API keeps what its OpenAPI document promises (schemathesis, on a real store)."""

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode

from access.call import PATH
from access.operations import INTERFACE, OPERATIONS
from administration.credentials import Credentials
from directory.documents import EntitlementKey
from tests.environment import TENANT, Environment, client_of, running
from tests.promises import kept, operations_of
from tests.scim.messages import create_group, create_users
from tests.scim.test_fuzz import examples
from wiring import utc_now

BY_NAME = operations_of(INTERFACE)


@cache
def requests_of(name: str) -> list[st.SearchStrategy[Any]]:
    """Well-formed ones, and such as are not. Of a list of users the latter are drawn differently
    each time, which hypothesis refuses; tests/access/test_everybody.py has some."""
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    known = modes[:1] if name in ("users", "usersOfTenant") else modes
    return [BY_NAME[name].as_strategy(generation_mode=mode) for mode in known]


@pytest.fixture
async def muster(tmp_path: Path) -> AsyncIterator[Environment]:
    """A small organisation whose first user is an owner."""
    async with running(tmp_path) as environment:
        people = await create_users(environment.client, 3)
        owners = await create_group(environment.client, "Owners", people[:1])
        await environment.mappings.save(owners, (EntitlementKey(kind="role", key="owner"),))
        await environment.settle()
        yield environment


@pytest.fixture
async def vendor(muster: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a credential of the deployment."""
    _, secret = await Credentials(muster.application.store, utc_now).create("application")
    async with client_of(muster.application.access, PATH, secret) as client:
        yield client


def test_the_document_has_every_operation_and_says_what_it_does() -> None:
    assert sorted(BY_NAME) == sorted(each.name for each in OPERATIONS)
    assert all(each.definition.raw["summary"] for each in BY_NAME.values())


@pytest.mark.parametrize("name", sorted(BY_NAME))
@examples(8)
@given(data=st.data())
async def test_what_the_document_promises_is_kept(
    muster: Environment, vendor: httpx.AsyncClient, name: str, data: st.DataObject
) -> None:
    (user,) = (await muster.access.get("/users", params={"limit": 1})).json()["users"]
    case = data.draw(data.draw(st.sampled_from(requests_of(name))))
    for parameter, known in (("id", user["id"]), ("tenant", TENANT)):
        if parameter in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters[parameter] = known
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = 0 if case.query["wait"] in range(31) else -1
    client = vendor if "tenant" in (case.path_parameters or {}) else muster.access
    await kept(client, case, PATH)


async def test_the_document_is_open_to_everybody(muster: Environment) -> None:
    answer = await muster.access.get("/openapi.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.json()["openapi"] == "3.1.0"
    assert answer.json()["paths"]["/tenants/{tenant}/changes"]["get"]["parameters"]
