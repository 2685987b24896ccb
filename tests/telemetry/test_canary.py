"""No person's data and no token in any log record, exception that leaves a trigger, span or line
of standard error (product, section 9): requests full of values that occur nowhere else are played
over every surface, whatever fails on the way, and then looked for."""

import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import wiring
from administration.invitations import Invitations
from administration.tokens import Tokens
from console.one_time import one_time_link
from console.pages import PAGES
from directory.condition import Compare
from directory.store import Query, Store, StoreError, Unavailable
from queues.port import Message, QueueError
from telemetry import logs
from tests.environment import TENANT, Environment, client_of, running
from tests.hosting import Host
from tests.scim.messages import (
    ENTERPRISE,
    NOBODY,
    SEARCH_REQUEST,
    USER,
    group,
    operation,
    patch,
    user,
)
from tests.telemetry.tracing import tracing
from tests.transports import Muster
from tests.triggers import functions

CANARY = "kanari"
"""In every value, whatever its case."""
NAME, MAIL, PHONE = "Kanarina", "kanarina@kanari.example", "+49 555 kanari 018273"
EXTERNAL, TITLE, GROUP = "kanari-ext-77", "Head of Kanari", "Kanari Islands"
SECRET = f"muster_scim_kanari_00000000_{b'kanari'.hex():0<64}"
FORGED = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJrYW5hcmkifQ."
"""An unsigned JWT; the part between the points says kanari in base64."""
TELLING = (CANARY, "555", SECRET[-64:], FORGED.split(".")[1])
"""What no text may hold; in lower case, but for the last."""

TEST_SIDE = ("httpx", "httpcore", "aiohttp.access", "asyncio", "hypothesis")
"""Loggers of the tests' own clients and servers."""

type Send = Callable[[str, str, dict[str, Any]], Awaitable[httpx.Response]]


class Heard(logging.Handler):
    """Every record, as each format would write it and with all that it carries."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self._formatters = [logging.Formatter(), logs.Readable(), logs.json_lines()]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if not record.name.startswith(TEST_SIDE):
            self.texts.append(repr(record.__dict__))
            self.texts += [formatter.format(record) for formatter in self._formatters[:1]]
            record.exc_text = None
            self.texts += [formatter.format(record) for formatter in self._formatters[1:]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """All that is logged and traced while a test runs, at every level."""
    heard, spans, root = Heard(), InMemorySpanExporter(), logging.getLogger()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    with tracing(SimpleSpanProcessor(spans)):
        yield heard
    root.removeHandler(heard)
    root.setLevel(level)
    assert heard.texts, "nothing was heard at all"
    told = [span.to_json() for span in spans.get_finished_spans()]
    assert_silent("\n".join([*heard.texts, *told]))


def assert_silent(text: str) -> None:
    """Nothing that a client sent as somebody's is in a text; `555` in a number is not."""
    for telling in TELLING:
        place = (text if telling == TELLING[-1] else text.lower()).find(telling)
        if telling == "555" and place >= 0:
            place = text.find("+49 555")
        assert place < 0, text[max(0, place - 300) : place + 100]


PERSON = user(
    "kanarina",
    schemas=[USER, ENTERPRISE],
    externalId=EXTERNAL,
    userName=MAIL,
    displayName=NAME,
    title=TITLE,
    password=SECRET,
    name={"givenName": NAME, "familyName": NAME},
    emails=[{"type": "work", "value": MAIL, "primary": True}],
    phoneNumbers=[{"type": "mobile", "value": PHONE}],
    kanariAttribute=NAME,
    **{ENTERPRISE: {"department": TITLE, "manager": {"value": EXTERNAL}}},
)
QUERIES: list[dict[str, Any]] = [
    {"filter": f'userName eq "{MAIL}"'},
    {"filter": f'externalId eq "{EXTERNAL}"'},
    {"filter": f'name.familyName co "{NAME}" and title pr'},
    {"filter": f'emails[type eq "work"].value eq "{MAIL}"'},
    {"filter": f"userName eq {MAIL}"},
    {"filter": f'{NAME} eq "{PHONE}"'},
    {"sortBy": NAME, "count": "10"},
    {"sortBy": "userName", "sortOrder": NAME},
    {"sortBy": "userName", "cursor": NAME},
    {"startIndex": PHONE},
    {"attributes": NAME},
]


BAD_BODIES = [
    patch(operation("replace", f'emails[value eq "{MAIL}"].display', NAME)),
    patch(operation("replace", "userName", {"value": MAIL})),
    patch(operation("replace", "active", NAME), operation("add", NAME, PHONE)),
    patch(operation("add", f"{NAME}[", PHONE)),
    patch(operation(NAME, "title", TITLE)),
    patch(operation("add", None, {"phoneNumbers": PHONE, NAME: PHONE})),
    patch(operation("add", "members", [{"value": MAIL}, {"value": {NAME: PHONE}}])),
    {NAME: [MAIL, {MAIL: PHONE}]},
]
BULK = [
    {"method": "POST", "path": "/Users", "bulkId": NAME, "data": {**PERSON, "userName": NAME}},
    {"method": "PATCH", "path": f"/Users/{MAIL}", "data": {NAME: f"bulkId:{MAIL}"}},
    {"method": "POST", "path": f"/{NAME}", "bulkId": MAIL, "data": PERSON},
]


async def play(scim: httpx.AsyncClient, access: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    """All there is to ask, well and badly, with values that must not be told; whatever comes."""
    id = (await scim.post("/Users", json=PERSON)).json().get("id", NOBODY)
    body = group(GROUP, [id], externalId=EXTERNAL)
    sales = (await scim.post("/Groups", json=body)).json().get("id", NOBODY)
    await write(scim, id, sales)
    await ask(scim, id)
    await ask_access(access, id)
    await administer(api, id, sales)
    await present_secrets(scim, access)
    await present_secrets(api, api)
    await scim.delete(f"/Groups/{sales}")
    await scim.delete(f"/Users/{id}")


async def write(scim: httpx.AsyncClient, id: str, sales: str) -> None:
    """Writes that are accepted, and such as are not."""
    await scim.post("/Users", json=PERSON)  # taken
    for body in BAD_BODIES:
        await scim.patch(f"/Users/{id}", json=body)
        await scim.patch(f"/Groups/{sales}", json=body)
        await scim.post("/Users", json=body)
    await scim.put(f"/Users/{id}", json={**PERSON, "active": NAME})
    await scim.put(f"/Users/{id}", json={**PERSON, "active": "False"})
    await scim.put(f"/Groups/{sales}", json=group(GROUP, [EXTERNAL, id]))
    await scim.post("/Bulk", json={"Operations": BULK})
    await scim.post("/Users", content=json.dumps(PERSON).encode()[:-5])


async def ask(scim: httpx.AsyncClient, id: str) -> None:
    """Values in queries, paths, methods and headers."""
    for query in QUERIES:
        for path in ("/Users", "/Groups", ""):
            await scim.get(path, params=query)
            await scim.post(f"{path}/.search", json={"schemas": [SEARCH_REQUEST], **query})
    for path in (f"/Users/{MAIL}", f"/{NAME}", f"/Schemas/{NAME}", f"/Groups/{EXTERNAL}/{NAME}"):
        for method in ("GET", "PUT", "DELETE", "KANARI"):
            await scim.request(method, path, json=PERSON)
    for name in ("If-Match", "If-None-Match", "X-Request-Id", "User-Agent", "Content-Type"):
        await scim.get(f"/Users/{id}", headers={name: f"{NAME} {MAIL}"})


async def ask_access(access: httpx.AsyncClient, id: str) -> None:
    """The same of the access API."""
    for path in (f"/users/{id}", f"/users/{MAIL}", f"/{NAME}", f"/users?{NAME}={MAIL}"):
        for method in ("GET", "DELETE", "KANARI"):
            await access.request(method, path)
    for name, value in (("userName", MAIL), ("externalId", EXTERNAL), ("externalId", NAME)):
        await access.get("/users", params={name: value})
    for name in ("ids", "cursor", "grant", "changedSince", "enabled"):
        for value in (NAME, f"{MAIL}:{NAME}", id):
            await access.get("/users", params={name: value})
    for path in ("/users", "/changes", f"/changes?after={NAME}", f"/tenants/{NAME}/users/{MAIL}"):
        await access.get(path)
    for body in ({"ids": [MAIL, id]}, {NAME: PHONE}, [NAME]):
        await access.post("/users/query", json=body)
    for name in (MAIL, EXTERNAL, id):
        about = {"subject": {"type": "user", "id": name}, "resource": {"type": NAME, "id": NAME}}
        for action in ({"name": "hold"}, {"name": NAME}, NAME):
            asked = {**about, "action": action}
            more = {**asked, "evaluations": [about, {NAME: MAIL}], "page": {"token": NAME}}
            for path in ("evaluation", "evaluations", "search/subject", "search/resource"):
                await access.post(f"/{path}", json=asked)
                await access.post(f"/{path}", json=more)
            await access.post("/search/action", json=more)


async def administer(api: httpx.AsyncClient, id: str, sales: str) -> None:
    """Through the console's API, well and badly."""
    by_hand = {
        "userName": f"x{MAIL}",
        "givenName": NAME,
        "familyName": NAME,
        "workEmail": f"x{MAIL}",
        "attributes": {"title": TITLE},
    }
    made = (await api.post("/users", json=by_hand)).json().get("userId", NOBODY)
    for body in (by_hand, {NAME: PHONE}, {"attributes": {NAME: PHONE}}, [NAME]):
        await api.post("/users", json=body)
        await api.patch(f"/users/{made}", json=body)
        await api.put("/provisioning", json=body)
    entitlements = {"entitlements": [{"kind": "role", "key": NAME}], "version": 0}
    await api.put(f"/groups/{sales}/mapping", json=entitlements)
    await api.put(f"/groups/{sales}/mapping", json=entitlements, headers={"If-Match": NAME})
    await api.put(f"/users/{id}/given-grants", json={"grants": [{"kind": NAME, "key": NAME}]})
    await api.post(f"/users/{id}/let-go", json={"kind": NAME, "key": NAME})
    await api.post("/groups/import", json={"groups": [{"externalId": NAME, "displayName": GROUP}]})
    await api.post("/catalog/import", json={"entitlements": [{"kind": NAME, "key": NAME}]})
    await api.post("/tokens", json={"kind": "access", "note": NAME, "connectionId": NAME})
    for path in ("/users", "/groups", "/log", "/overview", "/failed", "/catalog", f"/{NAME}"):
        for query in ({"q": NAME}, {"resource": MAIL}, {"cursor": NAME}, {NAME: PHONE}, {}):
            await api.get(path, params=query)
    for one in (id, made, NAME):
        for path in (f"/users/{one}", f"/users/{one}/changes", f"/log/{one}", f"/tokens/{one}"):
            await api.get(path)
        await api.get(f"/users/{one}/why", params={"kind": "role", "key": NAME})
        await api.get(f"/users/{one}/past-access", params={"at": NAME})
    await api.delete(f"/users/{made}")


async def operate(operator: httpx.AsyncClient) -> None:
    """Through the operators' interface, well and badly."""
    for path in ("/tenants", f"/tenants/{NAME}", "/failed", "/webhooks", f"/{NAME}"):
        for query in ({"q": NAME}, {"cursor": MAIL}, {NAME: PHONE}, {}):
            await operator.get(path, params=query)
    made = (await operator.post("/tenants", json={"id": "back-office", "name": NAME})).json()
    assert made["id"] == "back-office"
    for body in ({"name": NAME, "connectionId": MAIL}, {"kind": "access", "note": NAME}, [NAME]):
        for path in ("/tenants", "/tenants/back-office/connections", "/tenants/back-office/tokens"):
            await operator.post(path, json=body)
        await operator.put("/tenants/back-office/directory", json=body)
        await operator.post("/tenant-files", json=body)
    await operator.post("/credentials", json={"kind": "application", "name": NAME})
    await operator.post("/webhooks", json={"url": f"https://h/{MAIL}", "label": NAME})
    for path in (f"/credentials/{MAIL}", f"/webhooks/{NAME}", f"/dead-letters/{MAIL}"):
        await operator.delete(path)


async def present_secrets(scim: httpx.AsyncClient, access: httpx.AsyncClient) -> None:
    """Tokens that are none of Muster's, in every scheme."""
    for secret in (SECRET, FORGED, NAME, f"{SECRET} {SECRET}"):
        for scheme in ("Bearer", "Basic", NAME):
            headers = {"Authorization": f"{scheme} {secret}"}
            await scim.get("/Users", headers=headers)
            await access.get("/users", params={"userName": MAIL}, headers=headers)


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_nothing_personal_is_logged(heard: Heard, muster: Muster) -> None:
    tenant = await muster.tenant()
    tenant.scim.event_hooks = {}
    await play(tenant.scim, tenant.access, tenant.api)
    await ask_access(await muster.vendor(), NOBODY)
    await operate(await muster.operator())
    await tenant.settle()
    assert any("POST /Users" in text for text in heard.texts)


@pytest.mark.parametrize("muster", ["functions"], indirect=True)
async def test_nothing_personal_is_in_a_line_of_standard_error(muster: Muster, host: Host) -> None:
    tenant = await muster.tenant()
    tenant.scim.event_hooks = {}
    await play(tenant.scim, tenant.access, tenant.api)
    await tenant.settle()
    log = host.log.read_text()
    assert "PATCH /Users/{id}" in log
    assert "reconcile" in log
    assert_silent(log)


FAULTS: list[Callable[[str], Exception]] = [RuntimeError, Unavailable, StoreError]


def broken(
    monkeypatch: pytest.MonkeyPatch, store: Store, fault: Callable[[str], Exception]
) -> None:
    """Every call of the store but those that prove a token fails, and tells what it was given."""
    for name in ("read_many", "batch", "query", "count", "query_every_tenant", "changes"):

        async def fails(*given: Any, **named: Any) -> Any:
            raise fault(f"{given} {named} {PERSON}")

        monkeypatch.setattr(store, name, fails)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_store_that_fails_is_told_without_what_it_was_given(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[str], Exception]
) -> None:
    async with running(tmp_path) as muster:
        token = await muster.changing(Tokens).create("console")
        api = client_of(muster.application.console, "/console/api", token)
        assert (await api.get("/policy")).status_code == 200
        assert (await muster.client.get("/Users")).status_code == 200
        assert (await muster.access.get("/users/x")).status_code == 404
        with monkeypatch.context() as patched:
            broken(patched, muster.application.store, fault)
            await play(muster.client, muster.access, api)


@pytest.fixture
async def triggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Muster behind the triggers of function_app.py: `(environment, functions by name)`."""
    monkeypatch.setattr(logs, "configure", lambda: None)  # the handlers of pytest stay as they are
    found = {name: function.get_user_function() for name, function in functions().items()}
    async with running(tmp_path) as muster:
        monkeypatch.setattr(wiring, "application", lambda: muster.application)
        yield muster, found


def message(body: bytes) -> Any:
    """A Service Bus message at its last delivery."""
    return SimpleNamespace(get_body=lambda: body, delivery_count=10)


async def leaving(run: Awaitable[Any]) -> str:
    """What the host is told of the exception that leaves a trigger."""
    with pytest.raises(Exception, match=r".") as left:
        await run
    return "".join(traceback.format_exception(left.value))


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_leaves_a_trigger_tells_nothing(
    heard: Heard,
    triggers: tuple[Environment, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[str], Exception],
) -> None:
    muster, functions = triggers
    id = (await muster.client.post("/Users", json=PERSON)).json()["id"]
    await muster.application.relay.drain()
    (received,) = await muster.queue.receive(1, 0)
    told = []
    with monkeypatch.context() as patched:
        broken(patched, muster.application.store, fault)
        told.append(await leaving(functions["reconcile"](message=message(received.body))))
        told.append(await leaving(functions["relay"](timer=None)))
        told.append(await leaving(functions["fleet"](timer=None)))
        patched.setattr(wiring, "application", lambda: (_ for _ in ()).throw(fault(str(PERSON))))
        told.append(await leaving(functions["reconcile"](message=message(received.body))))
        told.append(await leaving(functions["relay"](timer=None)))
        request = func.HttpRequest("GET", f"http://h/scim/Users/{id}?filter={MAIL}", body=b"")
        trace = SimpleNamespace(trace_parent="")
        context = SimpleNamespace(invocation_id="i-1", trace_context=trace)
        for name in ("scim", "access"):
            answer = await functions[name](req=request, context=context)
            assert answer.status_code == (503 if fault is Unavailable else 500)
            told.append(answer.get_body().decode())
    told.append(await leaving(functions["reconcile"](message=message(str(PERSON).encode()))))
    await functions["fleet"](timer=None)
    assert any("looked at 1 tenants" in text for text in heard.texts)
    assert_silent("\n".join(told))


@pytest.mark.parametrize("fault", [RuntimeError, QueueError])
async def test_a_sender_that_fails_is_told_without_what_it_sent(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    """A queue's own error says what was wrong with the queue; anything else may say anything."""
    async with running(tmp_path) as muster:

        async def fails(messages: list[Message]) -> None:
            raise fault("the queue is down" if fault is QueueError else f"{messages} {PERSON}")

        monkeypatch.setattr(muster.application.relay, "_backoff", 0.0)
        monkeypatch.setattr(muster.application.sender, "send", fails)
        monkeypatch.setattr(muster.application.topic, "send", fails)
        id = (await muster.client.post("/Users", json=PERSON)).json()["id"]
        await muster.application.relay.drain()
        query = Query("Event", Compare(("resourceId",), "eq", id))
        (event,) = (await muster.application.store.query(TENANT, query)).items
        reconciling = muster.application.reconciler.handle(TENANT, event.document["eventId"])
        if fault is QueueError:
            await reconciling
        else:
            with pytest.raises(RuntimeError):
                await reconciling


async def test_nothing_personal_is_logged_by_the_console(heard: Heard, tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        id = (await muster.client.post("/Users", json=PERSON)).json()["id"]
        sales = (await muster.client.post("/Groups", json=group(GROUP, [id]))).json()["id"]
        await muster.settle()
        application, base = muster.application, "http://127.0.0.1:7071"
        transport = httpx.ASGITransport(app=application.console)
        link = await one_time_link(application.store, TENANT, base, wiring.utc_now())
        async with httpx.AsyncClient(transport=transport, base_url=base) as browser:
            await browser.get(f"/console/sign-in/once?tenant={TENANT}&key={SECRET}")
            asked = dict(parse_qsl(urlsplit(link).query))
            await browser.get(link)
            await browser.post("/console/sign-in/once", data=asked)
            invitation = await muster.changing(Invitations).create(base)
            await browser.get(invitation.link)
            (csrf,) = set(
                re.findall(r'name="csrf" value="([^"]+)"', (await browser.get("/console")).text)
            )
            given = dict.fromkeys(
                ("q", "resource", "after", "at", "note", "content", "event"), MAIL
            )
            given |= {"userName": MAIL, "entitlement": f"role:{NAME}", "do": NAME, "kind": "scim"}
            for page in PAGES:
                path = re.sub(r"\{id\}", sales if "groups" in page.path else id, page.path)
                for named in (path, re.sub(r"\{\w+\}", MAIL, page.path)):
                    form = {**given, "csrf": csrf} if page.method == "POST" else None
                    params = given if page.method == "GET" else None
                    await browser.request(page.method, f"/console{named}", params=params, data=form)
        told = "\n".join(heard.texts)
        assert "GET /console/users/{id}" in told
        assert link.split("key=")[1] not in told
        assert invitation.link.split("key=")[1] not in told
        assert csrf not in told
