"""Every page with what is another organisation's, and with anything at all in its URL and its
form: nothing of theirs is shown or changed, and nothing is a fault of Muster's."""

import re
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from administration.connections import Connections
from administration.invitations import Invitations
from console.pages import PAGES
from console.session import PATH
from console.visit import Page
from directory.store import Document, Query, Store
from directory.tenants import Policy
from tests.console.conftest import BASE
from tests.console.organisation import Form, Organisation, organisation, shown
from tests.environment import Environment, add_tenant, client_of
from tests.scim.messages import create_group, create_user
from tests.scim.test_fuzz import examples

STORED = (
    "Tenant",
    "User",
    "Group",
    "Membership",
    "Mapping",
    "ManualGrants",
    "Entitlement",
    "Event",
)
GIVEN = {
    "entitlement": "role:owner",
    "version": "0",
    "do": "revoke",
    "userName": "x@acme.example",
    "name.givenName": "X",
    "name.familyName": "Y",
    'emails[type eq "work"].value': "x@acme.example",
    "at": "2030-01-01T00:00",
}
FIELDS = [
    *GIVEN,
    *("after", "confirmed", "connection", "content", "cursor", "disable", "event", "key", "kind"),
    *("name", "note", "operation", "q", "remove", "resource", "rule", "since", "state", "type"),
    *("audience", "days", "issuer", "secret", "subject"),
    *("until", "was"),
]
values = st.one_of(
    st.sampled_from(
        [
            *GIVEN.values(),
            *("", "\0", ":", "::", "%00", "²", "9" * 400, "-1", "yes", "all", "delete", "rotate"),
            *("enabled", "scim", "{}", "[", "null", '{"after": {}}', "e30=", "\u202e", "💩"),
            *("kind,key,displayName\nrole,x", "2026-01-31T13:45+99:99", "0001-01-01T00:00"),
            *("x" * 900, "9999-12-31T23:59", "role:" + "x" * 900),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


@pytest.fixture
async def acme(environment: Environment) -> Organisation:
    """The organisation, provisioned and reconciled."""
    return await organisation(environment)


async def contents(store: Store, tenant_id: str) -> list[Document]:
    """What is stored of a tenant."""
    pages = [await store.query(tenant_id, Query(type, limit=1000)) for type in STORED]
    return [stored.document for page in pages for stored in page.items]


@pytest.fixture
async def csrf(owner: httpx.AsyncClient) -> str:
    """What this session's forms carry."""
    return Form(await shown(owner, ""), "/provisioning").fields["csrf"][0]


async def test_no_page_shows_or_changes_what_is_another_tenants(
    acme: Organisation, owner: httpx.AsyncClient, csrf: str
) -> None:
    application = acme.environment.application
    token, _ = await add_tenant(application.store, "other", Policy())
    async with client_of(application.scim, "/scim", token) as other:
        user = await create_user(other, "theirs")
        group = await create_group(other, "Theirs", [user])
    events = (await application.store.query("other", Query("Event"))).items
    event = events[0].document["eventId"]
    ids = {"users": user, "groups": group, "log": event, "tokens": token.split("_")[3]}
    theirs = await Invitations(application.service, "other").create(BASE)
    await Connections(application.service, "other").create("hr", "HR")
    ids |= {"invitations": theirs.id, "clients": "hr"}
    before = await contents(application.store, "other")
    for page in (page for page in PAGES if "{" in page.path):
        kind = page.path.partition("/{")[0].rpartition("/")[2]
        path = PATH + re.sub(r"\{\w+\}", ids[kind], page.path)
        fields = {**GIVEN, "csrf": csrf}
        answer = await owner.request(
            page.method,
            path,
            params=GIVEN if page.method == "GET" else None,
            data=fields if page.method == "POST" else None,
        )
        assert answer.status_code in (400, 404, 422), (page, answer.text[-800:])
        assert "theirs" not in answer.text.lower(), page
    replayed = await owner.post(f"{PATH}/failed", data={"csrf": csrf, "event": event})
    assert replayed.status_code == 422
    for path in ("", "/users", "/groups", "/log", "/log.csv", "/failed", "/users?q=theirs"):
        whole = (await shown(owner, path)).text.lower().replace('value="theirs"', "")
        assert "theirs@" not in whole
        assert ">theirs" not in whole
    assert await contents(application.store, "other") == before


async def test_every_form_is_refused_without_its_sessions_mark(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    application = acme.environment.application
    before = await contents(application.store, "acme")
    for page in (page for page in PAGES if page.method == "POST"):
        path = PATH + page.path.replace("{id}", acme.sales).replace("{token}", "00000000")
        for mark in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
            answer = await owner.post(path, data={**GIVEN, **mark})
            assert answer.status_code == 403, page
            assert "no longer valid" in answer.text
    assert await contents(application.store, "acme") == before


@examples(60)
@given(
    page=st.sampled_from(PAGES),
    piece=values | st.just("{known}"),
    query=st.dictionaries(st.sampled_from(FIELDS), values, max_size=3),
    form=st.dictionaries(st.sampled_from(FIELDS), st.lists(values, max_size=2), max_size=4),
)
async def test_whatever_is_asked_is_answered(
    acme: Organisation,
    owner: httpx.AsyncClient,
    csrf: str,
    page: Page,
    piece: str,
    query: dict[str, str],
    form: dict[str, list[str]],
) -> None:
    known = acme.ada if page.path.startswith("/users") else acme.sales
    piece = piece.replace("{known}", known).replace("/", "").strip(".") or known
    path = re.sub(r"\{\w+\}", lambda _: quote(piece, safe=""), page.path)
    answer = await owner.request(
        page.method,
        PATH + path,
        params=query,
        data={**form, "csrf": csrf} if page.method == "POST" else None,
    )
    assert answer.status_code < 500, answer.text[-800:]
