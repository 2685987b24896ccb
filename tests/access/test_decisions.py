"""Decisions and searches by OpenID AuthZEN 1.0 (product, section 8).

The shapes of the requests are those of the working group's certification scenario
(https://github.com/openid/authzen, certification/authorization-api-1_0-scenario.md) by its
sections, on Muster's own fixture: Ada is an owner and an add-in user, Bob a visitors administrator,
Zoe was an owner and is inactive.
"""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from access import searching
from access.call import OF_TENANT, PATH
from access.metadata import WELL_KNOWN
from directory.access import access_id
from directory.documents import EntitlementKey, user_id
from directory.store import Assign, Update
from tests.access.surface import access_client
from tests.environment import running
from tests.scim.messages import NOBODY, create_group, create_user, operation, patch
from tests.transports import Muster, Tenant

OWNER, VISITORS = "owner", "visitorsAdministrator"
HOLD = {"name": "hold"}
CONTEXT = {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}


def role(key: str, **more: Any) -> dict[str, Any]:
    return {"type": "role", "id": key, **more}


def user(id: str, identifier: str | None = None, **properties: Any) -> dict[str, Any]:
    if identifier:
        properties["identifier"] = identifier
    return {"type": "user", "id": id} | ({"properties": properties} if properties else {})


def asked(subject: Any = None, action: Any = HOLD, resource: Any = None, **more: Any) -> Any:
    """An evaluation; ADA, hold and owner unless it says otherwise."""
    subject, resource = subject or user("{ada}"), resource or role(OWNER)
    return {"subject": subject, "action": action, "resource": resource, **more}


def without(name: str, inside: str | None = None) -> Any:
    """An evaluation that lacks something."""
    question = asked()
    if inside is None:
        return {each: value for each, value in question.items() if each != name}
    return {**question, name: {k: v for k, v in question[name].items() if k != inside}}


@dataclass(frozen=True)
class Staff:
    """A tenant with three people in it, and the client that asks about them."""

    tenant: Tenant
    client: httpx.AsyncClient
    below: str
    ids: dict[str, str]
    groups: dict[str, str]

    async def ask(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """The answer, with the ids of people in place of their names."""
        return await self.client.post(self.below + path, json=self.named(body), headers=headers)

    def named(self, part: Any) -> Any:
        if isinstance(part, dict):
            return {key: self.named(value) for key, value in part.items()}
        if isinstance(part, list):
            return [self.named(each) for each in part]
        return self.ids.get(part[1:-1], part) if isinstance(part, str) else part


@pytest.fixture
async def staff(request: pytest.FixtureRequest, muster: Muster, tenant: Tenant) -> Staff:
    """Asked with the tenant's own token, or with a credential of the deployment (`vendor`)."""
    people = {
        name: await create_user(tenant.scim, name, externalId=f"ext-{name}")
        for name in ("ada", "bob", "zoe")
    }
    groups = {
        name: await create_group(tenant.scim, name, [people[each] for each in members])
        for name, members in (("Owners", ["ada", "zoe"]), ("Visitors", ["bob"]))
    }
    for name, keys in (("Owners", (OWNER, "addInUser")), ("Visitors", (VISITORS,))):
        entitlements = tuple(EntitlementKey("role", key) for key in keys)
        await tenant.mappings.save(groups[name], entitlements)
    await tenant.settle()
    # Not reconciled yet: it counts at once (invariant 4).
    off = patch(operation("replace", "active", False))
    assert (await tenant.scim.patch(f"/Users/{people['zoe']}", json=off)).status_code == 200
    own = getattr(request, "param", "own") == "own"
    client = tenant.access if own else await muster.vendor()
    return Staff(tenant, client, "" if own else f"/tenants/{tenant.tenant_id}", people, groups)


BASIC: dict[str, tuple[Any, bool, str]] = {
    "2.2.1 permit": (asked(), True, "held"),
    "2.2.2 deny": (asked(user("{bob}")), False, "notHeld"),
    "2.2.3 context": (asked(context=CONTEXT), True, "held"),
    "2.2.8 more properties": (
        asked(
            user("{ada}", department="Sales", role="manager"),
            {"name": "hold", "properties": {"method": "GET"}},
            role(OWNER, properties={"status": "active", "owner": "bob"}),
        ),
        True,
        "held",
    ),
    "2.2.9 unknown members": (asked(foo="bar", futureField={"nested": True}), True, "held"),
    "by externalId": (asked(user("ext-ada")), True, "held"),
    "by userName in any case": (asked(user("ADA@example.com")), True, "held"),
    "by id, said so": (asked(user("{ada}", "id")), True, "held"),
    "by externalId, said so": (asked(user("ext-ada", "externalId")), True, "held"),
    "by userName, said so": (asked(user("ada@example.com", "userName")), True, "held"),
    "externalId is no userName": (asked(user("ext-ada", "userName")), False, "unknownSubject"),
    "userName is no id": (asked(user("ada@example.com", "id")), False, "unknownSubject"),
    "id is no externalId": (asked(user("{ada}", "externalId")), False, "unknownSubject"),
    "nobody": (asked(user("nobody")), False, "unknownSubject"),
    "no such id": (asked(user(NOBODY)), False, "unknownSubject"),
    "empty id": (asked(user("")), False, "unknownSubject"),
    "a group is nobody": (asked(user("Owners")), False, "unknownSubject"),
    "unknown type": (asked({"type": "spaceship", "id": "{ada}"}), False, "unknownSubjectType"),
    "unknown action": (asked(action={"name": "write"}), False, "unknownAction"),
    "unknown entitlement": (asked(resource=role("king")), False, "notHeld"),
    "unknown kind": (asked(resource={"type": "record", "id": OWNER}), False, "notHeld"),
    "disabled a moment ago": (asked(user("{zoe}")), False, "disabled"),
}
WRONG: dict[str, tuple[Any, str]] = {
    **{f"2.4.1 no {name}": (without(name), f"/{name}") for name in asked()},
    **{
        f"2.4.2 no {name}.{inside}": (without(name, inside), f"/{name}/{inside}")
        for name, inside in (
            ("subject", "type"),
            ("subject", "id"),
            ("action", "name"),
            ("resource", "type"),
            ("resource", "id"),
        )
    },
    "2.4.6 subject is text": ({**asked(), "subject": "alice"}, "/subject"),
    "2.4.6 action.name is a number": (asked(action={"name": 123}), "/action/name"),
    "unknown identifier": (asked(user("x", "upn")), "/subject/properties/identifier"),
    "too long": (asked(user("x" * 2_001)), "/subject/id"),
}


@pytest.mark.parametrize("staff", ["own", "vendor"], indirect=True)
async def test_one_question(staff: Staff) -> None:
    """Basic level of the scenario, and who is meant."""
    ids = {"client-request-id": "another", "X-Request-ID": "bfe9eb29-ab87"}
    for name, (question, decision, ground) in BASIC.items():
        for path in ("/evaluation", "/evaluations"):
            answer = await staff.ask(path, question, **ids)
            assert answer.status_code == 200, (name, answer.text)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-request-id"] == "bfe9eb29-ab87"
            told = answer.json()
            assert (told["decision"], told["context"]["id"]) == (decision, ground), name


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_the_reason_says_where_a_grant_comes_from(staff: Staff) -> None:
    held = (await staff.ask("/evaluation", asked())).json()["context"]["reason_admin"]
    version = {"type": "group", "groupId": staff.groups["Owners"], "mappingVersion": 1}
    assert held["sources"] == [version]
    off = (await staff.ask("/evaluation", asked(user("{zoe}")))).json()["context"]["reason_admin"]
    assert off["reasons"] == ["inactive"]
    assert "enable it in Entra ID" in off["en"]


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_what_is_missing_is_named(staff: Staff) -> None:
    for name, (question, pointer) in WRONG.items():
        for path in ("/evaluation", "/evaluations"):
            answer = await staff.ask(path, question)
            assert answer.status_code == 400, (name, path, answer.text)
            assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer], name
    for content, type in ((b"{}", "text/plain"), (b"{", "application/json"), (b"", "")):
        headers = {"content-type": type} if type else {}  # 2.4.3 to 2.4.5
        path = f"{staff.below}/evaluation"
        answer = await staff.client.post(path, content=content, headers=headers)
        assert answer.status_code == 400, content


def several(*evaluations: Any, **beside: Any) -> dict[str, Any]:
    return {**beside, "evaluations": list(evaluations)}


_ADA, _BOB = user("{ada}"), user("{bob}")
_BOTH = ({"resource": role(OWNER)}, {"resource": role(VISITORS)})
_THREE = [{"resource": role(key)} for key in (OWNER, VISITORS, "addInUser")]
BATCH: dict[str, tuple[Any, list[bool]]] = {
    "3.2.1 resources": (several(*_BOTH, subject=_ADA, action=HOLD), [True, False]),
    "3.2.2 actions": (
        several(
            {"action": HOLD}, {"action": {"name": "write"}}, subject=_ADA, resource=role(OWNER)
        ),
        [True, False],
    ),
    "3.2.4 subjects": (
        several({"subject": _BOB}, {"subject": _ADA}, action=HOLD, resource=role(OWNER)),
        [False, True],
    ),
    "3.2.5 nothing beside": (several(asked(), asked(_BOB)), [True, False]),
    "3.2.6 context": (
        several(_BOTH[0], {**_BOTH[1], "context": {"source": "x"}}, **asked(context=CONTEXT)),
        [True, False],
    ),
    "3.2.7 merged": (
        several(
            {"resource": {"id": OWNER, "properties": {"status": "active"}}},
            {"resource": role(VISITORS)},
            subject=_ADA,
            action=HOLD,
            resource={"type": "role"},
        ),
        [True, False],
    ),
    "properties are not merged": (
        several(
            {"subject": {"id": "ext-ada"}},
            {"subject": {"id": "ext-ada", "properties": {}}},
            {},
            **asked(user("ada@example.com", "id")),
        ),
        [True, True, False],
    ),
    "3.4.1 one is wrong": (
        several({"resource": role(OWNER)}, {}, {"resource": 7}, subject=_ADA, action=HOLD),
        [True, False, False],
    ),
    "all": (several(*_THREE, **asked()), [True, False, True]),
    "all, said so": (
        several(*_THREE, **asked(), options={"evaluations_semantic": "execute_all", "x": 1}),
        [True, False, True],
    ),
    "until denied": (
        several(*_THREE, **asked(), options={"evaluations_semantic": "deny_on_first_deny"}),
        [True, False],
    ),
    "until permitted": (
        several(
            *_THREE[::-1][1:],
            **asked(),
            options={"evaluations_semantic": "permit_on_first_permit"},
        ),
        [False, True],
    ),
}


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_several_questions(staff: Staff) -> None:
    """Batch level of the scenario: as many answers, in order, each with its reason."""
    for name, (question, expected) in BATCH.items():
        answer = await staff.ask("/evaluations", question)
        assert answer.status_code == 200, (name, answer.text)
        told = answer.json()
        assert [*told] == ["evaluations"], name
        assert [each["decision"] for each in told["evaluations"]] == expected, name
    wrong = BATCH["3.4.1 one is wrong"][0]
    failed = (await staff.ask("/evaluations", wrong)).json()["evaluations"][1]["context"]
    assert failed == {
        "id": "error",
        "error": {"status": 400, "message": "/resource: Field required"},
    }
    answer = await staff.ask("/evaluations", {**asked(), "evaluations": []})  # 3.4.3
    assert answer.json()["decision"] is True
    for wrong in (
        several({}, options={"evaluations_semantic": "any"}),
        several(7),
        {**asked(), "evaluations": {}},
        several(*[{}] * 101),
    ):
        assert (await staff.ask("/evaluations", wrong)).status_code == 400


def who(key: str, **more: Any) -> dict[str, Any]:
    return {"subject": {"type": "user"}, "action": HOLD, "resource": role(key), **more}


def what(subject: Any, kind: str = "role", **more: Any) -> dict[str, Any]:
    return {"subject": subject, "action": HOLD, "resource": {"type": kind}, **more}


SEARCHES: dict[str, tuple[str, Any, list[str]]] = {
    "4.2.1 who": ("subject", who(OWNER), ["{ada}"]),
    "4.2.2 context": ("subject", who(VISITORS, context=CONTEXT), ["{bob}"]),
    "4.2.3 an id is ignored": ("subject", {**who(OWNER), "subject": _BOB}, ["{ada}"]),
    "4.2.4 properties": (
        "subject",
        {**who(OWNER), "resource": role(OWNER, properties={"x": 1})},
        ["{ada}"],
    ),
    "who, of another type": ("subject", {**who(OWNER), "subject": {"type": "spaceship"}}, []),
    "who, another action": ("subject", {**who(OWNER), "action": {"name": "write"}}, []),
    "who holds nothing known": ("subject", who("king"), []),
    "4.3.1 what": ("resource", what(_ADA), ["addInUser", OWNER]),
    "4.3.2 an id is ignored": ("resource", {**what(_BOB), "resource": role(OWNER)}, [VISITORS]),
    "4.3.3 properties": ("resource", what(user("ext-bob", "externalId")), [VISITORS]),
    "what, of another kind": ("resource", what(_ADA, "costCenterMembership"), []),
    "what, disabled": ("resource", what(user("{zoe}")), []),
    "what, another action": ("resource", {**what(_ADA), "action": {"name": "write"}}, []),
    "what, of another type": ("resource", what({"type": "spaceship", "id": "{ada}"}), []),
    "4.4.1 may": ("action", {"subject": _ADA, "resource": role(OWNER)}, ["hold"]),
    "4.4.2 context": (
        "action",
        {"subject": _ADA, "resource": role(OWNER), "context": CONTEXT, "page": {"limit": 1}},
        ["hold"],
    ),
    "may not": ("action", {"subject": _BOB, "resource": role(OWNER)}, []),
    "4.6.1 nobody": ("action", {"subject": user("nobody"), "resource": role(OWNER)}, []),
    "4.6.2 no such type": (
        "action",
        {"subject": {"type": "spaceship", "id": "{ada}"}, "resource": role(OWNER)},
        [],
    ),
}
BAD_SEARCHES: list[tuple[str, Any, str]] = [
    ("subject", {"subject": {"type": "user"}, "resource": role(OWNER)}, "/action"),
    ("subject", {**who(OWNER), "resource": {"type": "role"}}, "/resource/id"),
    ("resource", {"action": HOLD, "resource": {"type": "role"}}, "/subject"),
    ("resource", what({"type": "user"}), "/subject/id"),
    ("action", {"subject": _ADA}, "/resource"),
    ("subject", who(OWNER, page={"limit": 0}), "/page/limit"),
    ("subject", who(OWNER, page={"token": 7}), "/page/token"),
]


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_searches(staff: Staff) -> None:
    """Search level of the scenario. What is found is permitted when it is asked for."""
    for name, (path, question, expected) in SEARCHES.items():
        answer = await staff.ask(f"/search/{path}", question)
        assert answer.status_code == 200, (name, answer.text)
        told = answer.json()
        found = [each["id"] if "id" in each else each["name"] for each in told["results"]]
        assert found == staff.named(expected), name
        assert told["page"] == {"next_token": "", "count": len(expected)}
        for each in told["results"]:
            again = {"action": HOLD, **question, path: each}
            assert (await staff.ask("/evaluation", again)).json()["decision"] is True, name
    for path, question, pointer in BAD_SEARCHES:
        answer = await staff.ask(f"/search/{path}", question)
        assert answer.status_code == 400
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def walked(staff: Staff, path: str, question: Any, limit: int) -> list[list[str]]:
    """The ids on each page of a search."""
    pages: list[list[str]] = []
    page: dict[str, Any] = {"limit": limit}
    while True:
        told = (await staff.ask(f"/search/{path}", {**question, "page": page})).json()
        assert told["page"]["count"] == len(told["results"]) <= limit
        pages.append([each["id"] for each in told["results"]])
        if not told["page"]["next_token"]:
            return pages
        page = {"token": told["page"]["next_token"], "limit": limit}


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_searches_page_by_page(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few a page holds; a token is for the question that it was made for."""
    others = [await create_user(staff.tenant.scim, f"u{n}") for n in range(3)]
    for group, id in zip(["Owners", "Visitors", "Owners"], others, strict=True):
        add = operation("add", "members", [{"value": id}])
        await staff.tenant.scim.patch(f"/Groups/{staff.groups[group]}", json=patch(add))
    await staff.tenant.settle()
    for path, question, expected in (
        ("subject", who(OWNER), [staff.ids["ada"], others[0], others[2]]),
        ("resource", what(_ADA), ["addInUser", OWNER]),
    ):
        for limit, chunk in ((1, 1), (1, 250), (2, 1), (5_000, 250)):
            monkeypatch.setattr(searching, "LOOKED_AT", chunk)
            pages = await walked(staff, path, question, limit)
            assert [id for page in pages for id in page] == expected, (path, limit, chunk)
            assert chunk == 1 or len(pages) == math.ceil(len(expected) / limit)
        first = await staff.ask(f"/search/{path}", {**question, "page": {"limit": 1}})
        token = first.json()["page"]["next_token"]
        for other, wrong in (("subject", who(VISITORS)), ("resource", what(_BOB))):
            for page in ({"token": token}, {"token": "x"}, {"token": f"{token}x"}):
                answer = await staff.ask(f"/search/{other}", {**wrong, "page": page})
                assert answer.status_code == 400
                assert "next_token of the page before" in answer.json()["detail"]
    found = await staff.ask("/search/subject", who(OWNER, page={"limit": 1}))
    page = {"token": found.json()["page"]["next_token"] + "x"}
    answer = await staff.ask("/search/subject", who(OWNER, page=page))
    assert (answer.status_code, "next_token" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("muster", ["asgi", "wire"], indirect=True)
async def test_what_a_decision_reads(muster: Muster, staff: Staff) -> None:
    """Two point reads in one round trip, however many questions are about one user; a name that is
    no SCIM id takes a round trip more."""
    await staff.ask("/evaluation", asked())
    read: list[int] = []
    for name in ("read", "read_many", "query"):
        original = getattr(muster.store, name)

        def told(*given: Any, original: Any = original, name: str = name) -> Any:
            read.append(len(given[1]) if name == "read_many" else 0)
            return original(*given)

        setattr(muster.store, name, told)
    hundred = several(*[{"resource": role(f"r{n}")} for n in range(100)], **asked())
    by_name = several(*[{"resource": role(f"r{n}")} for n in range(100)], **asked(user("ext-ada")))
    for path, question, expected in (
        ("/evaluation", asked(), [2]),
        ("/evaluation", asked(user("{zoe}")), [2]),
        ("/evaluation", asked(user("ext-ada", "externalId")), [1, 2]),
        ("/evaluation", asked(action={"name": "write"}), []),
        ("/evaluation", asked({"type": "spaceship", "id": "x"}), []),
        ("/evaluations", hundred, [2]),
        ("/evaluations", several(asked(), asked(_BOB), asked(user(NOBODY, "id"))), [6]),
        ("/search/resource", what(_ADA), [2]),
        ("/search/action", {"subject": _ADA, "resource": role(OWNER)}, [2]),
        ("/search/subject", who(OWNER), [0, 3]),
    ):
        read.clear()
        assert (await staff.ask(path, question)).status_code == 200
        assert read == expected, (path, read)
    read.clear()
    assert (await staff.ask("/evaluations", by_name)).status_code == 200
    assert (len(read), read[-1]) == (2, 2)


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_what_cannot_be_read_denies_only_itself(muster: Muster, staff: Staff) -> None:
    store, id = muster.store, staff.tenant.tenant_id
    await store.batch(id, [Update(user_id(staff.ids["bob"]), (Assign(("resource",), 7),))])
    both = several({"subject": _BOB}, {"subject": _ADA}, action=HOLD, resource=role(OWNER))
    broken, whole = (await staff.ask("/evaluations", both)).json()["evaluations"]
    assert (broken["decision"], broken["context"]["error"]["status"]) == (False, 500)
    assert whole["decision"] is True
    assert (await staff.ask("/evaluation", asked(_BOB))).status_code == 500
    broken = Update(access_id(staff.ids["ada"]), (Assign(("enabled",), "perhaps"),))
    await store.batch(id, [broken])
    told = (await staff.ask("/evaluation", asked())).json()
    assert (told["decision"], told["context"]["id"]) == (False, "pending")


@pytest.mark.parametrize("muster", ["asgi"], indirect=True)
async def test_users_who_hold_too_much_together_are_asked_about_apart(
    muster: Muster, staff: Staff
) -> None:
    staff = replace(staff, client=access_client(muster, staff.tenant, most_grants=2))
    both = several({"subject": _BOB}, {"subject": _ADA}, action=HOLD, resource=role(OWNER))
    answer = await staff.ask("/evaluations", both)
    assert (answer.status_code, "Ask for fewer" in answer.json()["detail"]) == (413, True)
    assert (await staff.ask("/evaluation", asked())).json()["decision"] is True


@pytest.fixture
async def strangers(muster: Muster) -> AsyncIterator[httpx.AsyncClient]:
    """Without a token."""
    async with muster.connect(WELL_KNOWN, None) as client:
        yield client


async def test_the_metadata_names_every_endpoint(
    muster: Muster, tenant: Tenant, strangers: httpx.AsyncClient
) -> None:
    """Discovery level of the scenario: what is found there answers, and is what was asked for."""
    origin = str(strangers.base_url).removesuffix(f"{WELL_KNOWN}/")
    vendor = await muster.vendor()
    below = PATH + OF_TENANT.format(tenant=tenant.tenant_id)
    for path, client in (("", tenant.access), (PATH, tenant.access), (below, vendor)):
        answer = await strangers.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        told = answer.json()
        assert told.pop("policy_decision_point") == origin + path
        assert len(told) == 5
        for endpoint in told.values():
            assert (await client.post(endpoint, json={})).status_code == 400
            assert (await strangers.post(endpoint, json={})).status_code == 401
    for path in ("/access", "/access/v1/tenants/A%20B", "/access/v1/users", f"{below}/users"):
        assert (await strangers.get(path)).status_code == 404
    unknown = await strangers.get(f"{PATH}/tenants/nobody")
    assert unknown.json()["policy_decision_point"].endswith("/access/v1/tenants/nobody")


async def test_the_metadata_is_of_the_public_url(tmp_path: Any) -> None:
    async with running(tmp_path, public_url="https://eu.muster.example.com/") as muster:
        answer = await muster.access.get(f"http://elsewhere{WELL_KNOWN}/access/v1")
        told = answer.json()
        assert told["policy_decision_point"] == "https://eu.muster.example.com/access/v1"
        assert all(each.startswith("https://eu.muster.example.com/") for each in told.values())
