"""What a request costs: processor time linear in what it sends and selects, and bounded.

A row of GROWING is an entry point with something of which a request can hold n or 2n. A row of
LARGEST is one with as much as it takes. A row of REFUSED is a request that would cost too much. A
new entry point is a row more in each.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
import pytest_asyncio

from administration.catalog import MOST_ENTITLEMENTS, MOST_ENTRIES
from administration.errors import AdministrationError
from administration.files import MOST_LINES
from administration.grants import Grants
from administration.group_import import MOST_GROUPS
from administration.tenant_file import parse_tenant_file
from administration.tenant_import import TenantImport
from console.one_time import one_time_link
from directory.documents import EntitlementKey
from directory.lanes import LIGHT
from scim.bulk.message import MAXIMUM_OPERATIONS as MOST_IN_BULK
from scim.computing import compute
from scim.membership import NAMED_LIMIT, SHOWN_LIMIT
from scim.protocol.body import BODY_VALUES, BULK_VALUES
from scim.protocol.entra import MAXIMUM_OPERATIONS
from scim.protocol.errors import PayloadTooLarge
from scim.protocol.work import MOST_STEPS, Work
from scim.selection import MOST_SCANNED
from tests.console.conftest import BASE, client, redeem
from tests.console.organisation import Form
from tests.environment import TENANT, Environment, add_console_token, client_of, running
from tests.scim.bulk import bulk, change, post
from tests.scim.messages import (
    ENTERPRISE,
    SEARCH_REQUEST,
    USER,
    add,
    create_group,
    create_user,
    create_users,
    group,
    operation,
    patch,
    user,
)
from wiring import utc_now

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 10
MOST_TIMES = 2.5
"""Twice the input may take so many times the processor time; twice and no more is expected."""
MOST_SECONDS = 2.0
"""Of processor time, for any request."""
MOST_HELD_SECONDS = 0.25
"""Of them on the event loop at once."""
BUSY = 3
"""So many times that is let pass: a machine that measures coverage and does other things besides is
no reason to fail, and what grows with the square of the limit takes far more."""
FEW, MANY = 50, 1000
"""Members of two groups, and elements of two users' e-mails."""


@dataclass(frozen=True)
class Place:
    """A tenant with FEW and MANY of everything."""

    muster: Environment
    api: httpx.AsyncClient
    browser: httpx.AsyncClient
    """Signed in at the console."""
    people: list[str]
    few: str
    many: str
    other: str
    small: str
    large: str
    empty: str
    """Ids: users with FEW, MANY and some e-mails, groups with FEW, MANY and no members."""

    async def send(
        self, method: str, path: str, body: Any = None, *, console: bool = False
    ) -> httpx.Response:
        """The answer of SCIM, or of the console's API."""
        client = self.api if console else self.muster.client
        headers = {} if body is None else {"content-type": "application/json"}
        if isinstance(body, str):
            headers = {"content-type": "text/csv"}
        content = body.encode() if isinstance(body, str) else body
        if not (content is None or isinstance(content, bytes)):
            content = orjson.dumps(content)
        return await client.request(method, path, content=content, headers=headers)

    async def submit(self, page: str, action: str, **fields: object) -> httpx.Response:
        """The answer to a form of one of the console's pages, with some fields changed."""
        shown = await self.browser.get(f"/console{page}")
        return await Form(shown, action).send(self.browser, **fields)


def emails(number: int) -> list[dict[str, str]]:
    return [{"type": f"t{n}" if n else "work", "value": f"{n}@example.com"} for n in range(number)]


def text(value: Any) -> str:
    """The value as JSON text."""
    return orjson.dumps(value).decode()


def raw_filter(place: Place, around: str, inside: str, n: int) -> Awaitable[httpx.Response]:
    """A filter of about n characters, most of them `inside` again and again."""
    filter = around.replace("{}", inside * (n // len(inside)))
    return place.send("GET", f"/Users?filter={quote(filter)}")


def alternatives(number: int, attribute: str = "value", operator: str = "eq") -> str:
    return " or ".join(f'{attribute} {operator} "nobody {n}"' for n in range(number))


HOLDERS = {
    "subject": {"type": "user"},
    "action": {"name": "hold"},
    "resource": {"type": "role", "id": "owner"},
}
"""Who is an owner?"""


def questions(people: list[str]) -> dict[str, Any]:
    """Is each of them an owner?"""
    return {**HOLDERS, "evaluations": [{"subject": {"id": id}} for id in people]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with running(tmp_path_factory.mktemp("cost"), requests_per_second=1e9) as muster:
        scim = muster.client
        token = await add_console_token(muster.application.store, TENANT)
        people = await create_users(scim, MANY)
        few = await create_user(scim, "few", emails=emails(FEW))
        many = await create_user(scim, "many", emails=emails(MANY))
        other = await create_user(scim, "other")
        small = await create_group(scim, "Small", people[:FEW])
        large = await create_group(scim, "Large", people)
        empty = await create_group(scim, "Empty")
        await muster.settle()
        async with (
            client_of(muster.application.console, "/console/api", token) as api,
            client(muster) as browser,
        ):
            link = await one_time_link(muster.application.store, TENANT, BASE, utc_now())
            await redeem(browser, link)
            ids = people, few, many, other, small, large, empty
            yield Place(muster, api, browser, *ids)


type Send = Callable[[Place, int], Awaitable[httpx.Response]]

GROWING: dict[str, tuple[int, Send]] = {}
"""What grows → the smaller number of it, and the request."""
REFUSED: dict[str, tuple[int, str, Callable[[Place], Awaitable[httpx.Response]]]] = {}
"""What is too much → status and words of the refusal, and the request."""


def growing(number: int) -> Callable[[Send], Send]:
    def note(send: Send) -> Send:
        GROWING[send.__name__] = number, send
        return send

    return note


def refused(status: int, words: str) -> Callable[[Any], Any]:
    def note(send: Any) -> Any:
        REFUSED[send.__name__] = status, words, send
        return send

    return note


@growing(2_000)
def post_dotted_keys(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", {**user("few"), **{f"a{i}.b": 1 for i in range(n)}})


@growing(2_000)
def post_keys_of_one_object(place: Place, n: int) -> Awaitable[httpx.Response]:
    keys = {f"{ENTERPRISE}:a{i}.b": 1 for i in range(n)} | {f"name.a{i}": 1 for i in range(n)}
    return place.send("POST", "/Users", {**user("few"), **keys})


@growing(20_000)
def post_unknown_keys(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", {**user("few"), **{f"a{i}": 1 for i in range(n)}})


@growing(500)
def put_emails(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("PUT", f"/Users/{place.other}", user("other", emails=emails(n)))


@growing(500)
def put_emails_in_json_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("PUT", f"/Users/{place.other}", user("other", emails=text(emails(n))))


@growing(2_000)
def post_roles_in_json_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    """Text in text in an array in a text."""
    roles = text([text({"value": text({"value": "r", "id": i})}) for i in range(n)])
    return place.send("POST", "/Users", user("few", roles=roles))


@growing(1_000_000)
def post_megabytes_of_json_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    manager = text({"value": text({"value": "x", "displayName": "y" * n})})
    return place.send("POST", "/Users", user("few", **{ENTERPRISE: {"manager": manager}}))


@growing(100_000)
def post_megabytes_of_broken_json_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", user("few", emails=["{" * n, "[" + "{}," * (n // 3)]))


@growing(100_000)
def post_blank_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    blanks = "\u200b\u2003" * (n // 2)
    return place.send("POST", "/Users", user("few", title=blanks, nickName=blanks + "x"))


@growing(8_000)
def post_combining_characters(place: Place, n: int) -> Awaitable[httpx.Response]:
    marks = "a" + "\u0301" * n + "\u0316" * n + "\u0f73" * n
    return place.send("POST", "/Users", user("few", title=marks))


@growing(500)
def post_members(place: Place, n: int) -> Awaitable[httpx.Response]:
    """Of a name that is taken, so that every round finds the same."""
    return place.send("POST", "/Groups", group("Small", place.people[:n]))


@growing(400)
def patch_operations(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = 'emails[value eq "{}@example.com"].display'
    wanted = [operation("replace", path.format(i % 100), f"{i}") for i in range(n)]
    return place.send("PATCH", f"/Users/{place.few}", patch(*wanted))


@growing(50)
def patch_comparisons(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = f"emails[{alternatives(n)}]"
    return place.send("PATCH", f"/Users/{place.many}", patch(operation("remove", path)))


@growing(200)
def patch_without_path(place: Place, n: int) -> Awaitable[httpx.Response]:
    keys = {f'emails[value eq "{i % 100}@example.com" and type pr].type': "t" for i in range(n)}
    keys |= {f"unknown{i}": "x" for i in range(n)}
    return place.send("PATCH", f"/Users/{place.few}", patch(operation("add", None, keys)))


@growing(50)
def patch_group_comparisons(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = f'members[{alternatives(n - 1)} or type eq "x"]'
    return place.send("PATCH", f"/Groups/{place.large}", patch(operation("remove", path)))


@growing(500)
def patch_members_one_by_one(place: Place, n: int) -> Awaitable[httpx.Response]:
    gone = [operation("remove", f'members[value eq "{id}"]') for id in place.people[:n]]
    return place.send("PATCH", f"/Groups/{place.empty}", patch(*gone))


@growing(200)
def patch_removes_values(place: Place, n: int) -> Awaitable[httpx.Response]:
    gone = [{"value": f"{i}@example.org"} for i in range(n)]
    wanted = operation("remove", "emails[type pr]", gone)
    return place.send("PATCH", f"/Users/{place.few}", patch(wanted))


@growing(100)
def patch_group_comparisons_and_values(place: Place, n: int) -> Awaitable[httpx.Response]:
    gone = [f"somebody {i}" for i in range(200 * n)]
    wanted = operation("remove", f"members[{alternatives(n)}]", gone)
    return place.send("PATCH", f"/Groups/{place.large}", patch(wanted))


@growing(500)
def patch_members_in_json_text(place: Place, n: int) -> Awaitable[httpx.Response]:
    wanted = operation("add", "members", text([{"value": id} for id in place.people[:n]]))
    return place.send("PATCH", f"/Groups/{place.large}", patch(wanted))


@growing(500)
def patch_members(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("PATCH", f"/Groups/{place.large}", add(place.people[:n]))


@growing(50)
def bulk_of_posts(place: Place, n: int) -> Awaitable[httpx.Response]:
    wanted = [post("/Users", f"b{i}", {**user("few"), "title": "x" * 500}) for i in range(n)]
    return place.send("POST", "/Bulk", bulk(*wanted))


@growing(50)
def bulk_of_patches(place: Place, n: int) -> Awaitable[httpx.Response]:
    one = patch(operation("remove", f"emails[{alternatives(5)}]"))
    wanted = [change("PATCH", f"/Users/{place.few}", one) for _ in range(n)]
    return place.send("POST", "/Bulk", bulk(*wanted))


@growing(25)
def filter_of_comparisons(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Users?filter={quote(alternatives(n, 'userName'))}")


@growing(50)
def filter_of_elements(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Users?filter={quote(alternatives(n, 'emails.value'))}")


@growing(4_000)
def raw_filter_of_quotes(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, 'userName eq "{}"', '"', n)


@growing(4_000)
def raw_filter_of_quotes_and_brackets(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, 'emails[type eq "{}"].value eq "x"', '"].a ', n)


@growing(4_000)
def raw_filter_of_backslashes(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, 'userName eq "{}" )', '\\" )) ', n)


@growing(4_000)
def raw_filter_of_comparisons(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, 'emails[value eq "{}"', '" and a eq "', n)


@growing(4_000)
def filter_of_brackets(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, "emails[{}", '"a" ] ', n)


@growing(1_300)
def filter_of_combining_characters(place: Place, n: int) -> Awaitable[httpx.Response]:
    return raw_filter(place, 'userName eq "{}"', "\u0f73" * 3, n)


@growing(50)
def patch_raw_paths(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = 'emails[value eq "' + '\\" ' * 1_000 + '"].display'
    wanted = [operation("remove", path)] * n
    return place.send("PATCH", f"/Users/{place.few}", patch(*wanted))


@growing(500)
def access_of_users(place: Place, n: int) -> Awaitable[httpx.Response]:
    ids = (place.people * 2)[:n]
    headers = {"content-type": "application/json"}
    body = orjson.dumps({"ids": [*ids, *(f"x{number}" for number in range(n - len(ids)))]})
    return place.muster.access.post("/users/query", content=body, headers=headers)


@growing(50)
def access_evaluations(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.muster.access.post("/evaluations", json=questions(place.people[:n]))


@growing(200)
def access_search(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.muster.access.post("/search/subject", json={**HOLDERS, "page": {"limit": 2 * n}})


@growing(5)
def filter_that_scans(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Users?filter={quote(alternatives(n, 'title', 'co'))}")


@growing(25)
def search(place: Place, n: int) -> Awaitable[httpx.Response]:
    body = {"schemas": [SEARCH_REQUEST], "filter": alternatives(n, "userName")}
    return place.send("POST", "/.search", body)


@growing(100)
def list_of_users(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Users?count={n}")


@growing(500)
def console_search(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/users?q={'x' * n}", console=True)


@growing(2_000)
def console_catalog_import(place: Place, n: int) -> Awaitable[httpx.Response]:
    rows = "".join(f"role,r{i},Role {i}\n" for i in range(n))
    path = "/catalog/import?dryRun=true"
    return place.send("POST", path, f"kind,key,displayName\n{rows}", console=True)


@growing(300)
def console_group_import(place: Place, n: int) -> Awaitable[httpx.Response]:
    rows = "".join(f"g{i},Group {i},,\n" for i in range(n))
    path = "/groups/import?dryRun=true"
    return place.send("POST", path, f"externalId,displayName,kind,key\n{rows}", console=True)


@growing(2_000)
def console_body(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = f"/groups/{place.small}/mapping/preview"
    return place.send("POST", path, {"entitlements": [1] * n}, console=True)


@growing(20)
def console_preview(place: Place, n: int) -> Awaitable[httpx.Response]:
    path = f"/groups/{place.small}/mapping/preview"
    wanted = [{"kind": "role", "key": f"{i}"} for i in range(n)]
    return place.send("POST", path, {"entitlements": wanted}, console=True)


@growing(20)
def page_preview(place: Place, n: int) -> Awaitable[httpx.Response]:
    group = f"/groups/{place.small}"
    return place.submit(group, f"{group}/preview", entitlement=[f"role:{i}" for i in range(n)])


@growing(1_000)
def page_catalog_import(place: Place, n: int) -> Awaitable[httpx.Response]:
    rows = "".join(f"role,r{i},Role {i}\n" for i in range(n))
    return place.submit("/catalog", "/catalog/import", content=f"kind,key,displayName\n{rows}")


@growing(2_000)
def console_catalog_import_of_json(place: Place, n: int) -> Awaitable[httpx.Response]:
    entries = [{"kind": "role", "key": f"r{i}", "displayName": "Role"} for i in range(n)]
    path = "/catalog/import?dryRun=true"
    return place.send("POST", path, {"entitlements": entries}, console=True)


@growing(300)
def console_group_import_of_json(place: Place, n: int) -> Awaitable[httpx.Response]:
    owner = [{"kind": "role", "key": "owner"}]
    groups = [{"externalId": f"g{i}", "displayName": "g", "entitlements": owner} for i in range(n)]
    path = "/groups/import?dryRun=true"
    return place.send("POST", path, {"groups": groups}, console=True)


@growing(20)
def console_policy_preview(place: Place, n: int) -> Awaitable[httpx.Response]:
    """Everybody is examined, whatever is asked; what is said of the rules may grow."""
    rules = {"strict": False, "acceptIncompleteUsers": False, "costCenterFromAttribute": True}
    return place.send("POST", "/policy/preview", {**rules, "disableWhen": ["x"] * n}, console=True)


@growing(20)
def console_user_made_by_hand(place: Place, n: int) -> Awaitable[httpx.Response]:
    attributes = {f'emails[type eq "t{i}"].value': "x" * 900 for i in range(n)}
    names = {"userName": "few", "givenName": "x", "familyName": "y", "workEmail": "f@example.com"}
    return place.send("POST", "/users", {**names, "attributes": attributes}, console=True)


@growing(200)
def console_grants_by_hand(place: Place, n: int) -> Awaitable[httpx.Response]:
    grants = [{"kind": "role", "key": f"{i}"} for i in range(n)]
    path = f"/users/{place.people[0]}/given-grants"
    return place.send("PUT", path, {"grants": grants}, console=True)


@growing(200)
async def tenant_import(place: Place, n: int) -> httpx.Response:
    """What importing the file of a tenant with so many entries and groups would do."""
    settings = {"id": TENANT, "name": "Acme", "region": "eu", "provisioning": "enabled"}
    keys = [{"kind": "role", "key": f"t{i}"} for i in range(n)]
    file = {
        "exportedAt": "2026-01-01T00:00:00Z",
        "tenant": settings,
        "catalog": [{**key, "displayName": "x"} for key in keys],
        "groups": [
            {"externalId": f"t{i}", "displayName": "t", "entitlements": [key]}
            for i, key in enumerate(keys)
        ],
    }
    importing = place.muster.changing(TenantImport)
    await importing.load(parse_tenant_file(orjson.dumps(file)), "eu", dry_run=True)
    return httpx.Response(200)


@growing(200)
def access_by_name(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.muster.access.get(f"/users?userName={'x' * n}")


@growing(2_000)
def oauth_token(place: Place, n: int) -> Awaitable[httpx.Response]:
    fields = "&".join(f"a{i}={i}" for i in range(n))
    transport = httpx.ASGITransport(app=place.muster.application.oauth)
    form = {"content-type": "application/x-www-form-urlencoded"}
    outside = httpx.AsyncClient(transport=transport, base_url=BASE)
    return outside.post("/oauth/token", content=fields, headers=form)


@growing(50)
def sorted_list(place: Place, n: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Users?sortBy=emails.value&count={n}")


@growing(20)
def bulk_of_references(place: Place, n: int) -> Awaitable[httpx.Response]:
    """Of groups whose names are taken, so that every round finds the same."""
    wanted = [
        post("/Groups", f"g{i}", group("Small", [f"bulkId:g{(i + j) % n}" for j in range(1, 10)]))
        for i in range(n)
    ]
    return place.send("POST", "/Bulk", bulk(*wanted))


async def seconds(send: Callable[[], Awaitable[httpx.Response]]) -> float:
    """Processor time of a request."""
    began = time.process_time()
    answer = await send()
    took = time.process_time() - began
    assert answer.status_code in (200, 204, 400, 401, 404, 409, 422), answer.text[:500]
    return took


@pytest.mark.parametrize("what", GROWING)
async def test_twice_as_much_takes_twice_as_long(place: Place, what: str) -> None:
    number, send = GROWING[what]
    for times in (1, 2):  # what was parsed last is remembered: neither is asked for twice in a row
        await send(place, times * number)
    once, twice = [], []
    for _ in range(ROUNDS):  # by turns, so that what else the machine does meets both
        once.append(await seconds(lambda: send(place, number)))
        twice.append(await seconds(lambda: send(place, 2 * number)))
        if len(once) > 1 and min(twice) < MOST_TIMES * median(once):
            return
    raise AssertionError(f"{number}: {min(once):.4f} s, {2 * number}: {min(twice):.4f} s")


LARGEST: dict[str, tuple[float, Send]] = {}
"""What a request holds → the share of the limit that is sent (of which a run after the first has
another number), and the request."""


def largest(share: float = 1.0) -> Callable[[Send], Send]:
    def note(send: Send) -> Send:
        LARGEST[send.__name__] = share, send
        return send

    return note


@largest()
def most_keys(place: Place, run: int) -> Awaitable[httpx.Response]:
    keys = {f"a{i}.b": 1 for i in range(190_000)}
    return place.send("POST", "/Users", {**user(f"keys{run}"), **keys})


@largest()
def most_text(place: Place, run: int) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", user(f"text{run}", title="\u200b\u2003" * 650_000))


@largest(MANY / NAMED_LIMIT)
def most_members(place: Place, run: int) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Groups", group(f"Members {run}", place.people))


@largest(MANY / SHOWN_LIMIT)
def most_memberships_shown(place: Place, run: int) -> Awaitable[httpx.Response]:
    return place.send("GET", f"/Groups/{place.large}")


@largest()
def most_operations(place: Place, run: int) -> Awaitable[httpx.Response]:
    path = 'emails[value eq "{}@example.com"].display'
    many = [operation("replace", path.format(i % 50), f"{run} {i}") for i in range(1000)]
    return place.send("PATCH", f"/Users/{place.few}", patch(*many))


@largest()
def most_comparisons(place: Place, run: int) -> Awaitable[httpx.Response]:
    one = operation("remove", f"emails[{alternatives(200)}]")
    return place.send("PATCH", f"/Users/{place.many}", patch(one, one))


@largest()
def most_in_bulk(place: Place, run: int) -> Awaitable[httpx.Response]:
    each = BULK_VALUES // MOST_IN_BULK // 3 - 5
    users = [user(f"bulk{run} {i}", emails=emails(each)) for i in range(MOST_IN_BULK)]
    return place.send(
        "POST", "/Bulk", bulk(*[post("/Users", one["userName"], one) for one in users])
    )


@largest()
def most_references_in_bulk(place: Place, run: int) -> Awaitable[httpx.Response]:
    groups = [
        group(f"Bulk {run} {i}", [f"bulkId:g{(i * 7 + j) % MOST_IN_BULK}" for j in range(1, 10)])
        for i in range(MOST_IN_BULK)
    ]
    wanted = [post("/Groups", f"g{i}", one) for i, one in enumerate(groups)]
    return place.send("POST", "/Bulk", bulk(*wanted))


@largest()
def most_entitlements_previewed(place: Place, run: int) -> Awaitable[httpx.Response]:
    wanted = [{"kind": "role", "key": f"{i}"} for i in range(1000)]
    path = f"/groups/{place.large}/mapping/preview"
    return place.send("POST", path, {"entitlements": wanted}, console=True)


@largest()
def most_entitlements_previewed_by_a_page(place: Place, run: int) -> Awaitable[httpx.Response]:
    page = f"/groups/{place.large}"
    wanted = [f"role:{i}" for i in range(1000)]
    return place.submit(page, f"{page}/preview", entitlement=wanted)


@largest(0.1)
def most_entries_of_a_catalog(place: Place, run: int) -> Awaitable[httpx.Response]:
    rows = "".join(f"role,c{run} {i},Role {i}\n" for i in range(MOST_ENTRIES // 10))
    path = "/catalog/import"
    return place.send("POST", path, f"kind,key,displayName\n{rows}", console=True)


@largest(0.1)
def a_catalog_in_a_page(place: Place, run: int) -> Awaitable[httpx.Response]:
    return place.browser.get(f"/console/groups/{place.small}")


@largest(0.1)
def most_groups_imported(place: Place, run: int) -> Awaitable[httpx.Response]:
    each = MOST_LINES // MOST_GROUPS
    rows = "".join(
        f"i{run}-{i},Group {i},role,{key}\n"
        for i in range(MOST_GROUPS // 10)
        for key in ["owner"] * each
    )
    path = "/groups/import"
    return place.send("POST", path, f"externalId,displayName,kind,key\n{rows}", console=True)


@largest()
def most_evaluations(place: Place, run: int) -> Awaitable[httpx.Response]:
    return place.muster.access.post("/evaluations", json=questions(place.people[-100:]))


@contextmanager
def longest_turn() -> Iterator[list[float]]:
    """How long the event loop was kept at once, in seconds of processor time; the last is most."""
    held = [0.0]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        held.append(max(held[-1], time.thread_time() - began))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield held


@pytest.mark.parametrize("what", LARGEST)
async def test_as_much_as_is_taken_is_taken_in_time(place: Place, what: str) -> None:
    share, send = LARGEST[what]
    for run in range(3):
        with longest_turn() as held:
            began = time.process_time()
            answer = await send(place, run)
            took = time.process_time() - began
        assert answer.status_code in (200, 201, 204, 400, 413), answer.text[:500]
        if took < BUSY * MOST_SECONDS * share and held[-1] < BUSY * MOST_HELD_SECONDS:
            return
    raise AssertionError(
        f"{took:.2f} s in all of {MOST_SECONDS * share:.2f}, {held[-1]:.3f} s at once"
    )


@refused(413, "500,000 steps")
def operations_on_many_elements(place: Place) -> Awaitable[httpx.Response]:
    path = f"emails[{alternatives(200)}]"
    return place.send("PATCH", f"/Users/{place.many}", patch(*[operation("remove", path)] * 20))


@refused(413, "500,000 steps")
def additions_to_many_elements(place: Place) -> Awaitable[httpx.Response]:
    one = operation("add", "emails", [{"type": "t1", "value": "1@example.com", "display": "x"}])
    return place.send("PATCH", f"/Users/{place.many}", patch(*[one] * 1000))


@refused(413, "500,000 steps")
def a_long_value_for_every_element(place: Place) -> Awaitable[httpx.Response]:
    one = operation("replace", "emails.display", "é" * 1_000_000)
    return place.send("PATCH", f"/Users/{place.many}", patch(one))


@refused(413, f"at most {MAXIMUM_OPERATIONS}")
def a_value_without_a_path(place: Place) -> Awaitable[httpx.Response]:
    keys = {f'emails[value eq "{i}"].display': "x" for i in range(3_000)}
    return place.send("PATCH", f"/Users/{place.many}", patch(operation("replace", None, keys)))


@refused(413, f"at most {MAXIMUM_OPERATIONS}")
def several_values_without_a_path(place: Place) -> Awaitable[httpx.Response]:
    one = operation("replace", None, {f"a{i}": "x" for i in range(600)})
    return place.send("PATCH", f"/Users/{place.many}", patch(one, one))


@refused(413, f"at most {MAXIMUM_OPERATIONS}")
def the_object_of_a_schema(place: Place) -> Awaitable[httpx.Response]:
    keys = {f'emails[value eq "{i}"].display': "x" for i in range(3_000)}
    one = operation("add", USER, keys)
    return place.send("PATCH", f"/Users/{place.many}", patch(one))


@refused(413, f"at most {MAXIMUM_OPERATIONS}")
def several_objects_of_a_schema(place: Place) -> Awaitable[httpx.Response]:
    one = operation("add", USER, {"title" if i else "nickName": "x" for i in range(2)})
    return place.send("PATCH", f"/Users/{place.many}", patch(*[one] * 600))


@refused(413, "500,000 steps")
def conditions_on_members(place: Place) -> Awaitable[httpx.Response]:
    path = f'members[{alternatives(199)} or type eq "x"]'
    return place.send("PATCH", f"/Groups/{place.large}", patch(*[operation("remove", path)] * 10))


@refused(413, "500,000 steps")
def paths_without_elements(place: Place) -> Awaitable[httpx.Response]:
    path = f"photos[{alternatives(200)}]"
    return place.send("PATCH", f"/Users/{place.many}", patch(*[operation("remove", path)] * 300))


@refused(400, f"at most {MOST_SCANNED}")
def a_filter_that_no_index_answers(place: Place) -> Awaitable[httpx.Response]:
    text = alternatives(MOST_SCANNED + 1, "displayName", "co")
    return place.send("GET", f"/Users?filter={quote(text)}")


@refused(400, f"at most {MOST_SCANNED}")
def a_filter_on_many_memberships(place: Place) -> Awaitable[httpx.Response]:
    text = alternatives(MOST_SCANNED + 1, "members.value", "ne")
    return place.send("GET", f"/Groups?filter={quote(text)}")


@refused(413, "more than 400,000 values")
def a_body_of_empty_arrays(place: Place) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", {**user("deep"), "a": [[[]]] * 500_000})


@refused(413, "more than 400,000 values")
def a_json_text_of_escaped_values(place: Place) -> Awaitable[httpx.Response]:
    body = orjson.dumps(user("deep", emails="[]"))
    values = b"[" + b"1\\u002c" * 450_000 + b"1]"
    return place.send("POST", "/Users", body.replace(b'"[]"', b'"' + values + b'"'))


@refused(400, "more than 32 deep")
def a_json_text_for_several_elements(place: Place) -> Awaitable[httpx.Response]:
    deep = '{"value":' * 500 + "1" + "}" * 500
    one = operation("replace", 'emails[type eq "t1" or type eq "t2"]', deep)
    return place.send("PATCH", f"/Users/{place.few}", patch(one))


@refused(400, "more than 32 deep")
def a_json_text_in_a_role(place: Place) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", user("deep", roles=[{"value": "[" * 900 + "]" * 900}]))


@refused(413, "500,000 steps")
def values_without_weight_for_every_element(place: Place) -> Awaitable[httpx.Response]:
    one = operation("remove", "emails.display", ["a"] * 1_000)
    return place.send("PATCH", f"/Users/{place.many}", patch(one))


@refused(413, "more than 80,000 values")
def a_bulk_request_of_many_values(place: Place) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Bulk", bulk(post("/Users", "a", user("a", emails=emails(30_000)))))


@refused(413, f"at most {NAMED_LIMIT:,}")
def more_members_than_are_looked_up(place: Place) -> Awaitable[httpx.Response]:
    named = [f"nobody{i}" for i in range(NAMED_LIMIT + 1)]
    return place.send("PATCH", f"/Groups/{place.empty}", add(named))


@refused(422, f"at most {MOST_ENTITLEMENTS:,}")
def more_entitlements_than_a_group_gives(place: Place) -> Awaitable[httpx.Response]:
    rows = "".join(f"g,G,role,{i}\n" for i in range(MOST_ENTITLEMENTS + 1))
    path = "/groups/import"
    return place.send("POST", path, f"externalId,displayName,kind,key\n{rows}", console=True)


@refused(422, f"at most {MOST_LINES:,}")
def more_lines_than_are_imported(place: Place) -> Awaitable[httpx.Response]:
    rows = "kind,key,displayName\n" + "role,x,y\n" * (MOST_LINES + 1)
    return place.send("POST", "/catalog/import", rows, console=True)


@refused(422, f"at most {MOST_ENTRIES:,}")
def more_entries_than_a_catalog_has(place: Place) -> Awaitable[httpx.Response]:
    rows = "".join(f"role,more{i},y\n" for i in range(MOST_ENTRIES))
    return place.send("POST", "/catalog/import", f"kind,key,displayName\n{rows}", console=True)


@refused(422, f"at most {MOST_GROUPS:,}")
def more_groups_than_are_imported(place: Place) -> Awaitable[httpx.Response]:
    rows = "".join(f"more{i},y,,\n" for i in range(MOST_GROUPS + 1))
    path = "/groups/import"
    return place.send("POST", path, f"externalId,displayName,kind,key\n{rows}", console=True)


@refused(400, "at most 1000")
def more_elements_than_are_kept(place: Place) -> Awaitable[httpx.Response]:
    return place.send("POST", "/Users", user("deep", emails=["a@example.com"] * 200_000))


@refused(400, "at most 100")
def more_evaluations_than_are_decided_at_once(place: Place) -> Awaitable[httpx.Response]:
    return place.muster.access.post("/evaluations", json=questions(place.people[:101]))


@refused(413, "more than 5,000 values")
def an_evaluation_of_many_values(place: Place) -> Awaitable[httpx.Response]:
    question = {**questions(place.people[:1]), "context": {"a": [1] * 6_000}}
    return place.muster.access.post("/evaluation", json=question)


@refused(413, "more than 20,000 values")
def a_console_body_of_wrong_values(place: Place) -> Awaitable[httpx.Response]:
    path = f"/groups/{place.small}/mapping/preview"
    return place.send("POST", path, {"entitlements": [1] * 1_000_000}, console=True)


@refused(413, "more than 100,000 values")
def a_console_file_of_wrong_values(place: Place) -> Awaitable[httpx.Response]:
    return place.send("POST", "/groups/import", {"groups": [1] * 1_000_000}, console=True)


@pytest.mark.parametrize("what", REFUSED)
async def test_too_much_is_refused_in_words_that_say_what_to_do(place: Place, what: str) -> None:
    status, words, send = REFUSED[what]
    answer = await send(place)
    assert answer.status_code == status, answer.text[:500]
    assert words in answer.json()["detail"]


async def test_a_page_previews_no_more_entitlements_than_can_be_saved(place: Place) -> None:
    """A form holds 10,000 fields."""
    page = f"/groups/{place.large}"
    wanted = [f"role:{i}" for i in range(MOST_ENTITLEMENTS + 1)]
    answer = await place.submit(page, f"{page}/preview", entitlement=wanted)
    assert answer.status_code == 422
    assert f"at most {MOST_ENTITLEMENTS:,}" in answer.text


async def test_nobody_is_given_more_by_hand_than_a_mapping_gives(place: Place) -> None:
    """Nor by several requests."""
    rows = "".join(f"role,h{i},x\n" for i in range(MOST_ENTITLEMENTS + 1))
    rows = f"kind,key,displayName\n{rows}"
    await place.send("POST", "/catalog/import", rows, console=True)
    grants = place.muster.changing(Grants)
    keys = [EntitlementKey(kind="role", key=f"h{i}") for i in range(MOST_ENTITLEMENTS + 1)]
    await grants.give(place.other, keys[1:])
    with pytest.raises(AdministrationError, match=f"at most {MOST_ENTITLEMENTS:,}"):
        await grants.give(place.other, keys)


async def test_what_is_refused_was_not_computed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All operations of a bulk request share one bound, and none begins what would exceed it."""
    spent: list[int] = []
    spend = Work.spend

    def noting(self: Work, steps: int) -> None:
        spend(self, steps)
        if self.most == MOST_STEPS:
            spent.append(steps)

    monkeypatch.setattr(Work, "spend", noting)
    one = patch(operation("remove", f"emails[{alternatives(190)}]"))
    wanted = [change("PATCH", f"/Users/{place.many}", one) for _ in range(10)]
    results = (await place.send("POST", "/Bulk", bulk(*wanted))).json()["Operations"]
    assert [each["status"] for each in results] == ["200"] * 2 + ["413"] * 8
    assert sum(spent) <= MOST_STEPS


async def test_honest_requests_are_taken(place: Place) -> None:
    """1,000 operations on 50 elements, and one operation of all comparisons on all elements."""
    path = 'emails[value eq "{}@example.com"].display'
    many = [operation("replace", path.format(i % 50), f"{i}") for i in range(1000)]
    id = await create_user(place.muster.client, "honest", emails=emails(50))
    assert (await place.send("PATCH", f"/Users/{id}", patch(*many))).status_code == 200
    one = patch(operation("remove", f"emails[{alternatives(200)}]"))
    assert (await place.send("PATCH", f"/Users/{place.many}", one)).status_code == 200


async def test_long_computing_begins_again_in_a_thread_and_short_does_not() -> None:
    runs: list[int] = []

    def job(steps: int) -> Callable[[Work], int]:
        def run(work: Work) -> int:
            runs.append(work.most)
            work.spend(steps)
            return steps

        return run

    work = Work()
    assert await compute("acme", work, 0, job(LIGHT)) == LIGHT
    assert runs == [LIGHT]
    assert await compute("acme", work, 0, job(LIGHT + 1)) == LIGHT + 1
    assert runs == [LIGHT, LIGHT, MOST_STEPS]
    assert await compute("acme", work, LIGHT + 1, job(1)) == 1
    assert runs == [LIGHT, LIGHT, MOST_STEPS, MOST_STEPS]
    assert work.spent == 2 * LIGHT + 2
    with pytest.raises(PayloadTooLarge):
        await compute("acme", work, 0, job(MOST_STEPS))
    assert work.spent == 2 * LIGHT + 2


async def test_more_memberships_than_an_answer_holds_can_be_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut off: the list is refused, smaller pages are not, and a write is answered."""
    assert SHOWN_LIMIT < BODY_VALUES
    for module in ("scim.groups", "scim.users", "scim.membership"):
        monkeypatch.setattr(f"{module}.SHOWN_LIMIT", 4)
    async with running(tmp_path) as muster:
        scim = muster.client
        users = await create_users(scim, 5)
        teams = [await create_group(scim, f"Team {n}", users[:3]) for n in range(2)]
        for path in ("/Groups", "/Users?attributes=groups", "/"):
            answer = await scim.get(path)
            assert answer.status_code == 400, (path, answer.text[:300])
            assert answer.json()["scimType"] == "tooMany"
            assert "smaller count" in answer.json()["detail"]
        walked = [
            (await scim.get(f"/Groups?count=1&startIndex={n}")).json()["Resources"][0]
            for n in (1, 2)
        ]
        assert [len(each["members"]) for each in walked] == [3, 3]
        assert (await scim.get("/Groups?excludedAttributes=members")).status_code == 200
        written = await scim.put(f"/Groups/{teams[0]}", json=group("Team 0", users))
        assert written.status_code == 200
        assert "members" not in written.json()
        whole = await scim.get(f"/Groups/{teams[0]}")
        assert (whole.status_code, whole.json()["scimType"]) == (400, "tooMany")
        assert "excludedAttributes=members" in whole.json()["detail"]
        direct = {"filter": f'groups.value eq "{teams[0]}"', "excludedAttributes": "groups"}
        assert (await scim.get("/Users", params=direct)).json()["totalResults"] == 5
