"""The API keeps what its OpenAPI document promises: requests made from the document, well-formed
and not, are answered as it says (schemathesis, on a real store)."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode

from administration.clients import Clients
from administration.manual_users import ManualUsers
from administration.reading.log import EXPORTED
from administration.tokens import Tokens
from console.api.application import INTERFACE, OPERATIONS
from console.api.operation import PATH
from directory.condition import Compare
from directory.store import Assign, Query, Update
from directory.tenants import ENTRA_CONNECTION
from queues.relay import message_for
from settings import Settings
from tests.console.organisation import ADD_IN, organisation
from tests.environment import TENANT, client_of, running
from tests.promises import kept, operations_of
from tests.scim.test_fuzz import examples
from web.operation import Operation
from wiring import Application

BY_NAME = operations_of(INTERFACE)
CHALLENGED = re.compile(r'Bearer realm="muster"(, error="invalid_token")?')


@dataclass(frozen=True)
class Prepared:
    """A small organisation on disk: its API token, tokens of the other kinds, and ids that exist,
    by the names that paths have for them."""

    folder: Path
    token: str
    others: tuple[str, str]
    ids: dict[str, list[str]]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """With a mapping, a user made by hand, a failed event and a dead letter."""
    return asyncio.run(_prepare(tmp_path_factory.mktemp("api") / "data"))


async def _prepare(folder: Path) -> Prepared:
    async with running(folder) as environment:
        acme = await organisation(environment)
        store = environment.application.store
        await environment.mappings.save(acme.sales, (ADD_IN,))
        by_hand = await ManualUsers(environment.application.service, TENANT).create(
            {
                "userName": "eve@partner.example",
                "name.givenName": "Eve",
                "name.familyName": "Ng",
                'emails[type eq "work"].value': "eve@partner.example",
            }
        )
        await environment.settle()
        query = Query("Event", Compare(("resourceId",), "eq", acme.empty), limit=1)
        (stored,) = (await store.query(TENANT, query)).items
        failing = Update(stored.document["id"], (Assign(("state",), "failed"),))
        await store.batch(TENANT, [failing])
        token = await environment.changing(Tokens).create("console")
        year = timedelta(days=365)
        _, secret = await environment.changing(Clients).add_secret(ENTRA_CONNECTION, year)
        await environment.bury(message_for(TENANT, "gone"))
        access = environment.access.headers["Authorization"].removeprefix("Bearer ")
        ids = {
            "userId": [acme.ada, acme.carl, by_hand],
            "groupId": [acme.sales, acme.staff, acme.empty],
            "messageId": ["gone"],
            "eventId": [stored.document["eventId"]],
            "connectionId": [ENTRA_CONNECTION],
            "secretId": [secret.split("_")[3]],
            "tokenId": [access.split("_")[3]],
        }
        return Prepared(folder, token, (environment.token, access), ids)


@pytest.fixture
async def application(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Application]:
    """A Muster on a copy of it."""
    shutil.copytree(prepared.folder, tmp_path / "data")
    application = Application(Settings(data=tmp_path / "data"))
    yield application
    await application.close()


@pytest.fixture
async def client(prepared: Prepared, application: Application) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its API."""
    async with client_of(application.console, PATH, prepared.token) as client:
        yield client


def test_the_document_has_every_operation_and_says_what_it_does() -> None:
    assert sorted(BY_NAME) == sorted(each.name for each in OPERATIONS)
    assert all(each.definition.raw["summary"] for each in BY_NAME.values())


def test_the_document_says_how_much_is_exported() -> None:
    assert f" {EXPORTED:,} at most" in BY_NAME["logAsCsv"].definition.raw["description"]


@pytest.mark.parametrize("name", sorted(BY_NAME))
@examples(8)
@given(data=st.data())
async def test_what_the_document_promises_is_kept(
    prepared: Prepared, client: httpx.AsyncClient, name: str, data: st.DataObject
) -> None:
    mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = data.draw(BY_NAME[name].as_strategy(generation_mode=mode))
    for parameter, known in prepared.ids.items():
        if parameter in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters[parameter] = data.draw(st.sampled_from(known))
    await kept(client, case, PATH)


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
async def test_nobody_is_let_in_without_a_token_of_its_own_kind(
    prepared: Prepared, client: httpx.AsyncClient, each: Operation
) -> None:
    path = re.sub(r"\{(\w+)\}", lambda found: prepared.ids[found[1]][0], each.path)
    headers = [{"Authorization": f"Bearer {token}"} for token in prepared.others]
    headers += [{"Authorization": ""}, {"Authorization": "Basic Og=="}]
    for given_headers in headers:
        answer = await client.request(each.method, path, headers=given_headers, json={})
        assert answer.status_code == 401
        assert CHALLENGED.fullmatch(answer.headers["www-authenticate"])
        assert answer.headers["content-type"] == "application/problem+json"
