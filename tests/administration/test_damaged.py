"""What cannot be read stops only itself: one stored document of each type is damaged, in each way,
and everybody whom it does not concern gets the answers that they got before."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest

from administration.grants import Grants
from directory.access import Access, AccessChange, ManualGrants, Publication
from directory.checked import RESOURCES
from directory.condition import All, Compare, Condition
from directory.cosmos.indexing import indexing_policy
from directory.documents import (
    Entitlement,
    EntitlementKey,
    Event,
    Key,
    Mapping,
    Membership,
    StoredModel,
)
from directory.reading import every
from directory.sqlite import store as sqlite
from directory.sqlite.schema import open_database
from directory.store import Assign, Document, Query, Unset, Update, Upsert, member
from directory.tenants import LastUse, Policy, RequestCount
from queues.relay import parse, replay_message
from reconciler.questions.drift import audit
from reconciler.questions.preview import Preview
from reconciler.questions.proposal import MappingProposal
from tests.console.organisation import ADD_IN, OWNER, VISITORS
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container
from tests.environment import (
    TENANT,
    Environment,
    add_console_token,
    add_tenant,
    client_of,
    running,
    settle,
)
from tests.scim.messages import add, group, user
from wiring import utc_now

type Change = Assign | Unset
MODELS: dict[str, type[StoredModel]] = {
    model.document_type: model
    for model in (
        *(
            Access,
            AccessChange,
            Entitlement,
            Event,
            Key,
            LastUse,
            ManualGrants,
            Mapping,
            Membership,
        ),
        *(Publication, RequestCount),
    )
} | RESOURCES
ROOMS = EntitlementKey(kind="role", key="searchSpecificRoom")
FIRST_CHOICE = {"User": "resource", "Group": "resource", "Event": "eventId"}


def damages() -> Iterator[tuple[str, str, Change]]:
    """Type, name, and what is done to a document of it."""
    for type, model in MODELS.items():
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        needed = [
            n for n, field in fields.items() if field.is_required() and n not in ("tenantId", "ttl")
        ]
        key = FIRST_CHOICE.get(type, needed[-1])
        yield type, "missing", Unset((key,))
        yield type, "of another type", Assign((key,), [["x"]])
        choices = [n for n, field in fields.items() if get_args(field.annotation)]
        known = {"state", "operation", "source", "memberType"} & {*choices, "memberType"}
        for name in sorted(known & fields.keys()):
            yield type, f"of an unknown {name}", Assign((name,), "planet")
    yield "User", "with strange values", Assign(("resource", "emails"), ["x"])
    yield "Group", "with a strange name", Assign(("resource", "displayName"), {"de": "x"})


class Organisation:
    """Ada is fine and in Sales, which Bo is in, too; all that is Bo's may be damaged, and Odd,
    whose only member Bo is. Somebody is in another tenant."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.store = environment.application.store

    async def provision(self) -> None:
        token = await add_console_token(self.store, TENANT)
        self.api = client_of(self.environment.application.console, "/console/api", token)
        scim = self.environment.client
        self.ada, self.bo = [
            (await scim.post("/Users", json=user(name))).json()["id"] for name in ("ada", "bo")
        ]
        self.sales, self.odd = [
            (await scim.post("/Groups", json=group(name, members))).json()["id"]
            for name, members in (("Sales", [self.ada, self.bo]), ("Odd", [self.bo]))
        ]
        await self.environment.mappings.save(self.odd, (VISITORS,))
        await self.environment.changing(Grants).give(self.bo, [ADD_IN])
        await self.environment.settle()
        token, access = await add_tenant(self.store, "other", Policy())
        self.other = client_of(self.environment.application.scim, "/scim", token)
        self.other_access = client_of(self.environment.application.access, "/access/v1", access)

    async def note(self) -> None:
        """What is written beside the requests, and gone again soon."""
        now = utc_now()
        use = LastUse(tenant_id=TENANT, credential="bo", at=now, ttl=1000)
        count = RequestCount(
            tenant_id=TENANT, hour=now, process="p", requests=1, errors=0, last=now, ttl=1000
        )
        waiting = Publication(tenant_id=TENANT, publication_id="p", at=now, changes=())
        await self.store.batch(TENANT, [Upsert(one.to_document()) for one in (use, count, waiting)])

    async def victim(self, type: str) -> str:
        """The document of Bo's to damage."""
        mine: dict[str, Condition] = {
            "User": All((Compare(("resource", "id"), "eq", self.bo),)),
            "Group": Compare(("resource", "id"), "eq", self.odd),
            "Mapping": Compare(("groupId",), "eq", self.odd),
            "Membership": Compare(("groupId",), "eq", self.odd),
            "Event": Compare(("resourceId",), "eq", self.bo),
            "Key": Compare(("resourceId",), "eq", self.bo),
            "Entitlement": Compare(("key",), "eq", VISITORS.key),
        }
        of_bo = Compare(("userId",), "eq", self.bo)
        everything: Condition = All(())
        where = mine.get(type, everything if type in ELSEWHERE else of_bo)
        found: list[Document] = [
            one.document async for one in every(self.store, TENANT, Query(type, where))
        ]
        return str(found[-1]["id"])


ELSEWHERE = ("LastUse", "RequestCount", "Publication")


@asynccontextmanager
async def on(place: str, folder: Path) -> AsyncIterator[Environment]:
    if place == "sqlite":
        async with running(folder) as environment:
            yield environment
    else:
        async with (
            serving(Facade(Container(indexing_policy()))) as facade,
            running(folder, cosmos_endpoint=facade.endpoint, cosmos_key="Zm9v") as environment,
        ):
            yield environment


@pytest.fixture(params=["sqlite", "cosmos"])
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Organisation]:
    async with on(request.param, tmp_path) as environment:
        organisation = Organisation(environment)
        await organisation.provision()
        yield organisation


async def test_what_cannot_be_read_stops_only_itself(
    there: Organisation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "muster.store")
    for number, (type, how, change) in enumerate(damages()):
        await there.note()
        id = await there.victim(type)
        before = await there.store.read(TENANT, id)
        pending = Assign(("state",), "pending")
        changes = (pending, change) if type == "Event" and change.path != ("state",) else (change,)
        await there.store.batch(TENANT, [Update(id, changes)])
        caplog.clear()
        try:
            await _walk(there, number)
        except Exception as error:
            error.add_note(f"a {type} {how}")
            raise
        said = [record for record in caplog.records if record.name == "muster.store"]
        assert all(id in record.getMessage() for record in said), (type, how)
        assert all("bo@" not in record.getMessage() for record in said)
        await there.store.batch(TENANT, [Upsert(before.document)])
        await there.environment.settle()


async def _walk(there: Organisation, number: int) -> None:
    """Everybody else is served; the pages and lists of the same tenant are there."""
    environment, application = there.environment, there.environment.application
    # the timer
    await application.relay.resend_pending(-10)
    await application.publisher.resend_pending(-10)
    await _deliver(environment)
    # SCIM
    for path, known in (("/Users", there.ada), ("/Groups", there.sales)):
        answer = await environment.client.get(path)
        assert answer.status_code == 200
        assert known in [one["id"] for one in answer.json()["Resources"]]
    sales = (await environment.client.get(f"/Groups/{there.sales}")).json()
    assert there.ada in [one["value"] for one in sales["members"]]
    assert (await environment.client.get(f"/Users/{there.ada}?attributes=groups")).json()["groups"]
    # a mapping reaches everybody whom it can
    wanted = (ROOMS,) if number % 2 else (ADD_IN,)
    await environment.mappings.save(there.sales, wanted)
    await _deliver(environment)
    ada = (await environment.access.get(f"/users/{there.ada}")).json()
    given = [one for one in ada["grants"] if one["sources"][0]["type"] != "kept"]
    assert [(grant["kind"], grant["key"]) for grant in given] == [
        (one.kind, one.key) for one in wanted
    ]
    # another tenant
    made = await there.other.post("/Users", json=user(f"somebody{number}"))
    assert made.status_code == 201
    await settle(application)
    answer = await there.other_access.get(f"/users/{made.json()['id']}")
    assert (answer.status_code, answer.json()["pending"]) == (200, False)
    # what administrators and operators ask
    drifted = [one async for page in audit(there.store, TENANT) for one in page.differences]
    assert there.ada not in [one.user_id for one in drifted]
    preview = Preview(there.store, TENANT, MappingProposal({there.sales: (VISITORS,)}))
    assert there.ada in [effect.user_id for effect in (await preview.page()).effects]
    for path in (
        *("/users", "/users?q=ada", "/groups", "/log", "/log.csv", "/failed", "/overview"),
        *("/tokens", "/catalog", f"/users/{there.ada}", f"/groups/{there.sales}"),
        f"/groups/{there.sales}/members",
        f"/users/{there.ada}/why?kind=role&key={wanted[0].key}",
        f"/users/{there.ada}/changes",
    ):
        answer = await there.api.get(path)
        assert answer.status_code == 200, (path, answer.text)


async def _deliver(environment: Environment) -> None:
    """As the host does: what fails is abandoned, and a dead letter in the end."""
    application, queue = environment.application, environment.queue
    while True:
        await application.relay.drain()
        received = await queue.receive(16)
        if not received:
            return
        for message in received:
            delivery = message.delivery_count
            try:
                await application.reconciler.handle_all(
                    parse(message.body), delivery=delivery, last=delivery >= 10
                )
            except Exception:  # noqa: BLE001 - whatever it is, as the host does
                await queue.abandon(message)
            else:
                await queue.complete(message)


async def test_a_user_who_cannot_be_read(there: Organisation) -> None:
    """Is told wherever somebody looks, and is right as soon as that is mended."""
    environment, id = there.environment, f"user:{there.bo}"
    whole = await there.store.read(TENANT, id)
    await there.store.batch(TENANT, [Update(id, (Unset(("resource",)),))])
    answer = await environment.client.get(f"/Users/{there.bo}")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert (await environment.access.get(f"/users/{there.bo}")).status_code == 500
    await environment.mappings.save(there.sales, (OWNER,))
    await _deliver(environment)
    events = [one.document async for one in every(there.store, TENANT, Query("Event"))]
    (failed,) = [event for event in events if event["state"] == "failed"]
    assert id in failed["reason"]
    drifted = [one async for page in audit(there.store, TENANT) for one in page.differences]
    assert [(one.user_id, one.kind) for one in drifted] == [(there.bo, "unreadable")]
    preview = Preview(there.store, TENANT, MappingProposal({there.sales: (VISITORS,)}))
    assert (await preview.summary()).counts.unreadable == 1
    await there.store.batch(TENANT, [Upsert(whole.document)])
    assert (await there.api.post(f"/failed/{failed['eventId']}/replay")).status_code == 200
    await _deliver(environment)
    held = (await environment.access.get(f"/users/{there.bo}")).json()["grants"]
    assert OWNER.key in [grant["key"] for grant in held]


async def test_an_event_without_its_id_is_listed_as_failed(there: Organisation) -> None:
    environment = there.environment
    id = await there.victim("Event")
    changes = (Assign(("state",), "pending"), Unset(("eventId",)))
    await there.store.batch(TENANT, [Update(id, changes)])
    await environment.queue.send([replay_message(TENANT, id.partition(":")[2])])
    await _deliver(environment)
    assert member(await there.store.read(TENANT, id), "state") == "failed"
    (shown,) = (await there.api.get("/failed")).json()["events"]
    assert (shown["eventId"], "eventId" in shown["reason"]) == (id.partition(":")[2], True)
    assert (await there.api.post("/failed/replay")).status_code == 200


async def test_a_member_who_cannot_be_read_can_be_removed_and_added(there: Organisation) -> None:
    """It is there; only what it says is not."""
    id = f"user:{there.bo}"
    await there.store.batch(TENANT, [Update(id, (Unset(("resource",)),))])
    scim = there.environment.client
    made = (await scim.post("/Groups", json=group("New"))).json()["id"]
    answer = await scim.patch(f"/Groups/{made}", json=add([there.bo, there.ada]))
    assert answer.status_code == 204
    members = (await scim.get(f"/Groups/{made}")).json()["members"]
    assert [one["value"] for one in members] == [there.ada]


async def test_the_log_says_why_a_store_did_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients are told no more than that it did not."""
    opened: list[sqlite3.Connection] = []

    def opening(path: Path) -> sqlite3.Connection:
        opened.append(open_database(path))
        return opened[-1]

    monkeypatch.setattr(sqlite, "open_database", opening)
    caplog.set_level(logging.WARNING, "muster.store")
    async with running(tmp_path) as environment:
        (pages,) = opened[0].execute("PRAGMA page_count").fetchone()
        opened[0].execute(f"PRAGMA max_page_count = {pages}")  # the disk is full
        body = user("ada", nickName="x" * 100_000)
        answer = await environment.client.post("/Users", json=body)
        opened[0].execute("PRAGMA max_page_count = 1000000")
    assert answer.status_code == 503
    assert "SQLITE_FULL" in caplog.text
    assert "SQLITE_FULL" not in answer.text
    assert "ada@" not in caplog.text
