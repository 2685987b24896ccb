"""Texts that are one for people are one for Muster, in stores of an earlier version, too."""

import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.condition import EVERYTHING
from directory.cosmos.indexing import indexing_policy
from directory.documents import new_resource_id
from directory.portions import PORTIONS, Portions
from directory.store import Create, Delete, Query, Store, Unset, Update
from directory.tenants import COMPARABLE_FORM, TENANT_ID
from scim.protocol import comparison
from scim.protocol.comparison import searchable
from scim.protocol.schema import load_resource_types
from scim.reservations import reserve
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container
from tests.environment import Environment, running
from tests.scim.messages import GROUP, create_group, create_user, operation, patch, user

COMPOSED = "Ren\u00e9@example.com"
DECOMPOSED = "Rene\u0301@example.com"
FULL_WIDTH = "\uff32\uff25\uff2e\u00c9\uff20example.com"
SPELLINGS = (COMPOSED, DECOMPOSED, FULL_WIDTH)
CREATED = "2026-01-31T08:00:00.000Z"


@pytest.fixture
def portions(request: pytest.FixtureRequest) -> Portions:
    """As a test's parameter says."""
    found: Portions = getattr(request, "param", PORTIONS)
    return found


@pytest.fixture(params=["sqlite", "cosmos"])
async def muster(
    request: pytest.FixtureRequest, tmp_path: Path, portions: Portions
) -> AsyncIterator[Environment]:
    if request.param == "sqlite":
        async with running(tmp_path, portions=portions) as environment:
            yield environment
        return
    async with serving(Facade(Container(indexing_policy()))) as facade:
        settings: dict[str, Any] = {"cosmos_endpoint": facade.endpoint, "cosmos_key": "Zm9v"}
        async with running(tmp_path, portions=portions, **settings) as environment:
            yield environment


class Former:
    """What the version before wrote: strings case-folded, and nothing else."""

    def __init__(self, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store: Store = environment.application.store
        self.tenant_id = environment.tenant_id
        self.types = load_resource_types()
        self._monkeypatch = monkeypatch

    async def add(self, type: str = "User", *, reserved: bool = True, **resource: Any) -> str:
        """A user or group as it was stored; its id."""
        id = new_resource_id()
        core = self.types[type].schema.id
        whole = {"schemas": [core], "id": id, "active": True, **resource}
        with self._monkeypatch.context() as patched:
            patched.setattr(comparison, "fold", str.casefold)
            search = searchable(self.types[type], whole, CREATED, CREATED)
        document = {
            "id": f"{type.lower()}:{id}",
            "tenantId": self.tenant_id,
            "type": type,
            "source": "scim",
            "connectionId": "entra",
            "resource": whole,
            "search": search,
            "created": CREATED,
            "modified": CREATED,
        }
        keys = await reserve(self.store, self.types[type], {}, document) if reserved else []
        await self.store.batch(self.tenant_id, [Create(document), *keys])
        return id

    async def form(self) -> int | None:
        """What the tenant's document says."""
        document = (await self.store.read(self.tenant_id, TENANT_ID)).document
        return document.get("comparableForm")

    async def events(self) -> int:
        """How many there are."""
        return await self.store.count(self.tenant_id, "Event", EVERYTHING)


@pytest.fixture
async def former(muster: Environment, monkeypatch: pytest.MonkeyPatch) -> Former:
    before = Former(muster, monkeypatch)
    unmarked = Update(TENANT_ID, (Unset(("comparableForm",)),))
    await before.store.batch(before.tenant_id, [unmarked])
    return before


async def found(scim: httpx.AsyncClient, filter: str, path: str = "/Users") -> list[str]:
    answer = await scim.get(path, params={"filter": filter, "excludedAttributes": "members"})
    assert answer.status_code == 200, answer.text
    return sorted(resource["id"] for resource in answer.json()["Resources"])


@pytest.mark.parametrize("spelled", SPELLINGS)
async def test_spellings_of_one_text_are_one(muster: Environment, spelled: str) -> None:
    scim = muster.client
    emails = [{"type": "work", "value": spelled}]
    rene = await create_user(scim, spelled, userName=spelled, displayName=spelled, emails=emails)
    sales = await create_group(scim, spelled)
    for other in SPELLINGS:
        for filter in (
            f'userName eq "{other}"',
            f'displayName sw "{other[:5]}" and active eq true',
            f'emails[type eq "work"].value eq "{other}"',
        ):
            assert await found(scim, filter) == [rene]
        assert await found(scim, f'displayName eq "{other}"', "/Groups") == [sales]
        refused = await scim.post("/Users", json=user("x", userName=other))
        assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
        shown = await muster.access.get("/users", params={"userName": other})
        assert shown.json()["id"] == rene
    shown = await scim.get(f"/Users/{rene}")
    assert shown.json()["userName"] == spelled


async def test_a_user_name_with_spaces_is_accepted(muster: Environment) -> None:
    await create_user(muster.client, "x", userName="Ren\u00e9 de la Tour")


@pytest.mark.parametrize("other", SPELLINGS)
async def test_what_an_earlier_version_stored_is_found_and_stays_unique(
    muster: Environment, former: Former, other: str
) -> None:
    scim = muster.client
    emails = [{"type": "work", "value": DECOMPOSED}]
    rene = await former.add(userName=DECOMPOSED, displayName=DECOMPOSED, emails=emails)
    sales = await former.add("Group", displayName=DECOMPOSED)
    events = await former.events()
    for filter in ("userName", "displayName", "emails.value"):
        assert await found(scim, f'{filter} eq "{DECOMPOSED}"') == [rene]
    assert await found(scim, f'displayName eq "{DECOMPOSED}"', "/Groups") == [sales]
    shown = await muster.access.get("/users", params={"userName": DECOMPOSED})
    assert shown.json()["id"] == rene

    refused = await scim.post("/Users", json=user("x", userName=other))
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    refused = await scim.post("/Groups", json={"schemas": [GROUP], "displayName": other})
    assert refused.status_code == 409

    assert await former.form() == COMPARABLE_FORM
    assert await former.events() == events
    for spelled in SPELLINGS:
        for filter in ("userName", "displayName", "emails.value"):
            assert await found(scim, f'{filter} eq "{spelled}"') == [rene]
        assert await found(scim, f'displayName eq "{spelled}"', "/Groups") == [sales]
    body = (await scim.get(f"/Users/{rene}")).json()
    assert (body["userName"], body["meta"]["lastModified"]) == (DECOMPOSED, CREATED)
    assert (await scim.delete(f"/Users/{rene}")).status_code == 204
    await create_user(scim, "x", userName=other)


async def test_a_user_of_an_earlier_version_is_changed_before_it_is_brought_up_to_date(
    muster: Environment, former: Former
) -> None:
    rene = await former.add(userName=DECOMPOSED)
    scim = muster.client
    answer = await scim.patch(f"/Users/{rene}", json=patch(operation("add", "title", "Sir")))
    assert answer.status_code == 200, answer.text
    assert await found(scim, f'userName eq "{DECOMPOSED}"') == [rene]
    renamed = patch(operation("replace", "userName", "rene@example.com"))
    assert (await scim.patch(f"/Users/{rene}", json=renamed)).status_code == 200
    await create_user(scim, "x", userName=COMPOSED)


@pytest.mark.parametrize(
    "portions", [Portions(documents_per_page=2, pages_per_run=2)], indirect=True, ids=["small"]
)
async def test_the_timer_brings_every_tenant_up_to_date_once(
    muster: Environment, former: Former, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await former.add(userName=f"{n}{DECOMPOSED}") for n in range(6)]
    form = muster.application.service.form
    lefts = [await form.run() for _ in range(4)]
    assert lefts == sorted(lefts, reverse=True)
    assert (lefts[0], lefts[-1], await former.form()) == (1, 0, COMPARABLE_FORM)
    for n, id in enumerate(ids):
        assert await found(muster.client, f'userName eq "{n}{COMPOSED}"') == [id]
    monkeypatch.setattr(muster.application.store, "query_every_tenant", None)
    assert await form.run() == 0


@pytest.mark.parametrize(
    "portions", [Portions(documents_per_page=2, pages_per_request=1)], indirect=True, ids=["small"]
)
async def test_a_large_directory_is_gone_through_before_a_value_is_reserved(
    muster: Environment, former: Former
) -> None:
    for n in range(3):
        await former.add(userName=f"{n}@example.com")
    await former.add(userName=DECOMPOSED)
    body = user("x", userName=COMPOSED)
    answers = [await muster.client.post("/Users", json=body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 409, 409]
    assert int(answers[0].headers["Retry-After"]) > 0


async def test_two_who_were_two_before_stay_two(muster: Environment, former: Former) -> None:
    scim = muster.client
    first = await former.add(userName=COMPOSED, externalId="1")
    second = await former.add(userName=DECOMPOSED, externalId="2")
    await muster.application.service.form.run()
    assert await former.form() == COMPARABLE_FORM
    assert await found(scim, f'userName eq "{COMPOSED}"') == [first]
    assert second in await found(scim, f'userName eq "{DECOMPOSED}"')
    disabled = patch(operation("replace", "active", False))
    assert (await scim.patch(f"/Users/{second}", json=disabled)).status_code == 200
    assert (await scim.delete(f"/Users/{second}")).status_code == 204
    assert await found(scim, f'userName eq "{COMPOSED}"') == [first]
    assert (await scim.post("/Users", json=user("x", userName=DECOMPOSED))).status_code == 409


async def test_what_cannot_be_brought_up_to_date_stops_only_itself(
    muster: Environment, former: Former
) -> None:
    broken = await former.add(userName="broken@example.com")
    stored = await former.store.read(former.tenant_id, f"user:{broken}")
    unreadable = {**stored.document, "id": "user:0", "resource": None}
    await former.store.batch(former.tenant_id, [Create(unreadable)])
    unreserved = await former.add(userName=DECOMPOSED, reserved=False)
    rene = await former.add(userName=f"2{DECOMPOSED}")
    assert await muster.application.service.form.run() == 0
    for id, name in ((unreserved, COMPOSED), (rene, f"2{COMPOSED}")):
        assert await found(muster.client, f'userName eq "{name}"') == [id]
    await former.store.batch(former.tenant_id, [Delete("user:0")])


async def test_a_new_tenant_is_up_to_date(muster: Environment) -> None:
    store = muster.application.store
    document = (await store.read(muster.tenant_id, TENANT_ID)).document
    assert document["comparableForm"] == COMPARABLE_FORM
    page = await store.query(muster.tenant_id, Query("Tenant"))
    assert len(page.items) == 1
    assert unicodedata.is_normalized("NFC", COMPOSED)
    assert not unicodedata.is_normalized("NFC", DECOMPOSED)


async def test_two_reserved_values_are_sorted_and_paged_like_any_results(
    muster: Environment,
) -> None:
    scim = muster.client
    ids = [await create_user(scim, name) for name in ("b", "a", "c")]
    query = {"filter": 'userName eq "b@example.com" or userName eq "a@example.com"'}
    for more, expected in (
        ({}, ids[:2]),
        ({"count": "1"}, ids[:1]),
        ({"startIndex": "2"}, ids[1:2]),
        ({"sortBy": "userName"}, [ids[1], ids[0]]),
    ):
        body = (await scim.get("/Users", params={**query, **more})).json()
        assert [resource["id"] for resource in body["Resources"]] == expected
        assert body["totalResults"] == 2
