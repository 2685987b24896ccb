"""/Bulk: RFC 7644 section 3.7."""

import math
from typing import Any

import httpx
import pytest

from scim.bulk.message import MAXIMUM_OPERATIONS, MAXIMUM_REFERENCES
from scim.bulk.operations import AT_ONCE
from scim.exchange import BODY_BYTES
from tests.scim.bulk import BULK_REQUEST, bulk, change, id_of, post, process, statuses
from tests.scim.messages import (
    CORE,
    ENTERPRISE,
    GROUP,
    MESSAGES,
    NOBODY,
    USER,
    Body,
    add,
    create_group,
    create_user,
    create_users,
    group,
    members,
    operation,
    patch,
    user,
)
from tests.transports import Muster, Tenant


def manager(value: str) -> Body:
    """The enterprise extension with a manager."""
    return {ENTERPRISE: {"employeeNumber": "11250", "manager": {"value": value}}}


@pytest.fixture
async def lenient(muster: Muster) -> httpx.AsyncClient:
    """A client of a tenant that takes the incomplete users of the RFC's examples."""
    return (await muster.tenant({"acceptIncompleteUsers": True})).scim


def named(name: str, **more: Any) -> Body:
    """A user as the RFC's examples have them."""
    return {"schemas": [USER], "userName": name, **more}


# The examples of the RFC


async def test_circular_references(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.1."""
    results = await process(
        lenient,
        post("/Groups", "qwerty", group("Group A", ["bulkId:ytrewq"])),
        post("/Groups", "ytrewq", group("Group B", ["bulkId:qwerty"])),
    )
    assert statuses(results) == ["201", "201"]
    a, b = map(id_of, results)
    answer = await lenient.get("/Groups", params={"filter": 'displayName sw "Group"'})
    found = answer.json()
    assert {g["id"]: [m["value"] for m in g["members"]] for g in found["Resources"]} == {
        a: [b],
        b: [a],
    }
    assert {g["id"]: g["meta"]["version"] for g in found["Resources"]} == {
        id_of(result): result["version"] for result in results
    }


async def test_a_new_user_in_a_new_group(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.2, the first example."""
    results = await process(
        lenient,
        post("/Users", "qwerty", named("Alice")),
        post("/Groups", "ytrewq", group("Tour Guides", ["bulkId:qwerty"])),
    )
    assert [(r["method"], r["bulkId"], r["status"]) for r in results] == [
        ("POST", "qwerty", "201"),
        ("POST", "ytrewq", "201"),
    ]
    alice, guides = map(id_of, results)
    shown = await lenient.get(results[1]["location"])
    assert shown.headers["ETag"] == results[1]["version"]
    assert shown.json()["members"] == [
        {
            "value": alice,
            "$ref": results[0]["location"],
            "type": "User",
        }
    ]
    assert (await lenient.get(f"/Groups/{guides}")).json()["id"] == guides


async def test_a_reference_in_an_extension(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.2, the second example."""
    results = await process(
        lenient,
        post("/Users", "qwerty", named("Alice")),
        post("/Users", "ytrewq", named("Bob", **manager("bulkId:qwerty"))),
    )
    bob = (await lenient.get(results[1]["location"])).json()
    assert bob[ENTERPRISE]["manager"]["value"] == id_of(results[0])


async def _three(scim: httpx.AsyncClient) -> tuple[list[str], list[str]]:
    """The paths and versions of three users."""
    paths = [f"/Users/{await create_user(scim, name)}" for name in ("bob", "dave", "carol")]
    return paths, [(await scim.get(path)).headers["ETag"] for path in paths]


def _add_update_and_remove(alice: Body, paths: list[str], versions: list[str]) -> list[Body]:
    return [
        post("/Users", "qwerty", alice),
        change("PUT", paths[0], named("Bob"), version=versions[0]),
        change(
            "PATCH",
            paths[1],
            [{"op": "remove", "path": "nickName"}, operation("add", "userName", "Dave")],
            version=versions[1],
        ),
        change("DELETE", paths[2], version=versions[2]),
    ]


async def test_add_update_and_remove(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.3, the first example."""
    paths, versions = await _three(lenient)
    operations = _add_update_and_remove(named("Alice"), paths, versions)
    results = await process(lenient, *operations, failOnErrors=1)
    assert statuses(results) == ["201", "200", "200", "204"]
    assert [r["location"].removeprefix(str(lenient.base_url).rstrip("/")) for r in results[1:]] == (
        paths
    )
    for result, name in zip(results[:3], ("Alice", "Bob", "Dave"), strict=True):
        shown = await lenient.get(result["location"])
        assert (shown.json()["userName"], shown.headers["ETag"]) == (name, result["version"])
    assert (await lenient.get(paths[2])).status_code == 404


async def test_the_first_error_ends_it(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.3, the second example."""
    paths, versions = await _three(lenient)
    alice = named("Alice") | {"schemas": [f"{MESSAGES}User"]}
    operations = _add_update_and_remove(alice, paths, versions)
    (result,) = await process(lenient, *operations, failOnErrors=1)
    assert (result["method"], result["bulkId"], result["status"]) == ("POST", "qwerty", "400")
    assert result["response"]["scimType"] == "invalidSyntax"
    assert "location" not in result
    assert [(await lenient.get(path)).headers["ETag"] for path in paths] == versions


async def test_all_operations_fail(lenient: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.3, the third example."""
    paths, _ = await _three(lenient)
    paths[2] = f"/Users/{NOBODY}"
    alice = named("Alice") | {"schemas": [f"{MESSAGES}User"]}
    stale = ['W/"stale"'] * 3
    results = await process(lenient, *_add_update_and_remove(alice, paths, stale))
    assert statuses(results) == ["400", "412", "412", "404"]
    assert "location" not in results[0]
    base = str(lenient.base_url).rstrip("/")
    assert [result["location"] for result in results[1:]] == [base + path for path in paths]


# What is written, and how it may be written


async def test_groups_answer_as_a_single_request_would(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.3: the code that a single request would get."""
    sales, (one, two) = await create_group(scim, "Sales"), await create_users(scim, 2)
    path = f"/Groups/{sales}"
    version = (await scim.get(path)).headers["ETag"]
    results = await process(
        scim,
        change("PATCH", path, add([one]), version=version),
        change("PATCH", path, add([two]), version=version),
        change("PUT", path, group("Sales", [two])),
    )
    assert statuses(results) == ["204", "412", "200"]
    assert (await scim.get(path)).headers["ETag"] == results[2]["version"]
    assert await members(scim, sales) == [two]
    assert statuses(await process(scim, change("DELETE", path))) == ["204"]
    assert (await scim.get(path)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "post", "Post"])
@pytest.mark.parametrize("path", ["/Users", "Users", "/users/", "/scim/v2/Users", "{base}/Users"])
async def test_methods_and_paths_in_any_case_and_form(
    scim: httpx.AsyncClient, method: str, path: str
) -> None:
    """RFC 7643 section 2.1 for the names of attributes; clients differ in paths."""
    path = path.format(base=str(scim.base_url).rstrip("/"))
    sent = {"METHOD": method, "Path": path, "bulkid": "a", "Data": user("ada")}
    answer = await scim.post("/Bulk", json={"operations": [sent]})
    (result,) = answer.json()["Operations"]
    assert (result["method"], result["bulkId"], result["status"]) == ("POST", "a", "201")
    assert (await scim.get(result["location"])).status_code == 200


async def test_the_parameters_of_the_bulk_request_are_not_those_of_its_operations(
    scim: httpx.AsyncClient,
) -> None:
    """RFC 7644 section 3.5.2.1 would have a single PATCH answered with 200."""
    sales = await create_group(scim, "Sales")
    rename = change("PATCH", f"/Groups/{sales}", patch(operation("replace", "displayName", "x")))
    answer = await scim.post("/Bulk?attributes=id", json=bulk(rename))
    assert statuses(answer.json()["Operations"]) == ["204"]


async def test_locations_are_below_the_base_that_the_client_uses(scim: httpx.AsyncClient) -> None:
    url = scim.base_url.copy_with(path="/scim/v2/Bulk")
    answer = await scim.post(url, json=bulk(post("/Users", "a", user("ada"))))
    (result,) = answer.json()["Operations"]
    assert result["location"].startswith(str(url).removesuffix("Bulk") + "Users/")


REFERRING: list[tuple[str, Any]] = [
    ("PATCH", patch(operation("add", "members", [{"value": "bulkId:new"}]))),
    ("PATCH", patch(operation("add", "members", "bulkId:new"))),
    ("PATCH", patch(operation("add", None, {"members": [{"value": "bulkId:new"}]}))),
    ("PATCH", patch(operation("replace", "members", [{"value": "bulkId:new"}]))),
    ("PUT", group("Sales", ["bulkId:new"])),
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("method", "data"), REFERRING)
async def test_a_reference_in_the_data_of_a_change(
    scim: httpx.AsyncClient, method: str, data: Any, first: bool
) -> None:
    """RFC 7644 section 3.7.2; the POST may come later in the request."""
    sales = await create_group(scim, "Sales")
    operations = [post("/Users", "new", user("ada")), change(method, f"/Groups/{sales}", data)]
    results = await process(scim, *operations[:: 1 if first else -1])
    (created,) = (result for result in results if result["method"] == "POST")
    assert await members(scim, sales) == [id_of(created)]
    assert [r["method"] for r in results] == [
        o["method"] for o in operations[:: 1 if first else -1]
    ]


async def test_a_reference_in_the_path_of_a_patch(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.5.2: the filter of a value path."""
    ada = await create_user(scim, "ada")
    results = await process(
        scim,
        post("/Users", "new", user("grace")),
        post("/Groups", "team", group("Team", [ada, "bulkId:new"])),
        change(
            "PATCH",
            "/Groups/bulkId:team",
            patch(operation("remove", 'members[value eq "bulkId:new"]')),
        ),
    )
    assert statuses(results) == ["201", "201", "204"]
    assert results[2]["location"] == results[1]["location"]
    assert await members(scim, id_of(results[1])) == [ada]


async def test_a_reference_in_the_path_of_an_operation(scim: httpx.AsyncClient) -> None:
    """A resource is created, replaced, changed and removed in one request, in that order."""
    results = await process(
        scim,
        change("PUT", "/Users/bulkId:a b", user("ada", title="First")),
        change("PATCH", "/Users/bulkId%3Aa%20b", patch(operation("add", "nickName", "Countess"))),
        post("/Users", "a b", user("ada")),
        post("/Users", "c", user("grace")),
        change("DELETE", "/Users/bulkId:c"),
    )
    assert statuses(results) == ["200", "200", "201", "201", "204"]
    assert len({result["location"] for result in results[:3]}) == 1
    ada = (await scim.get(results[2]["location"])).json()
    assert (ada["title"], ada["nickName"]) == ("First", "Countess")
    assert (await scim.get(results[3]["location"])).status_code == 404


async def test_a_manager_as_a_bare_string_and_a_ref(scim: httpx.AsyncClient) -> None:
    """As Entra ID writes it; and `$ref` is a reference, too (RFC 7643 section 4.3)."""
    ref = {"value": "bulkId:boss", "$ref": "../Users/bulkId:boss"}
    results = await process(
        scim,
        post("/Users", "a", user("ada", **{f"{ENTERPRISE}:manager": "bulkId:boss"})),
        post("/Users", "b", user("bob", **{ENTERPRISE: {"manager": ref}})),
        post("/Users", "boss", user("grace")),
    )
    boss = id_of(results[2])
    for result in results[:2]:
        found = (await scim.get(result["location"])).json()[ENTERPRISE]["manager"]
        assert found["value"] == boss
        assert found.get("$ref", f"../Users/{boss}") == f"../Users/{boss}"


async def test_a_value_without_the_prefix_is_no_reference(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.2: the literal `bulkId:`."""
    results = await process(
        scim,
        post("/Users", "qwerty", user("ada", nickName="qwerty")),
        post("/Users", "b", user("bob", nickName="see bulkId:qwerty")),
    )
    found = [(await scim.get(result["location"])).json()["nickName"] for result in results]
    assert found == ["qwerty", "see bulkId:qwerty"]


# Circles


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_a_circle_of_groups(scim: httpx.AsyncClient, size: int) -> None:
    """RFC 7644 section 3.7.1; and nobody who was named with them is lost."""
    ada = await create_user(scim, "ada")
    results = await process(
        scim,
        *(
            post("/Groups", f"g{i}", group(f"Group {i}", [ada, f"bulkId:g{(i + 1) % size}"]))
            for i in range(size)
        ),
    )
    assert statuses(results) == ["201"] * size
    ids = [id_of(result) for result in results]
    for i, result in enumerate(results):
        assert set(await members(scim, ids[i])) == {ada, ids[(i + 1) % size]}
        assert (await scim.get(result["location"])).headers["ETag"] == result["version"]


async def test_a_circle_of_managers(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7.1: what else the extension says is kept."""
    results = await process(
        scim,
        post("/Users", "a", user("ada", **manager("bulkId:b"))),
        post("/Users", "b", user("bob", **manager("bulkId:a"))),
        post("/Users", "c", user("carol", **manager("bulkId:c"))),
    )
    a, b, c = map(id_of, results)
    for id, expected in ((a, b), (b, a), (c, c)):
        found = (await scim.get(f"/Users/{id}")).json()[ENTERPRISE]
        assert (found["employeeNumber"], found["manager"]["value"]) == ("11250", expected)


async def test_a_circle_through_both_kinds_and_a_change_of_it(scim: httpx.AsyncClient) -> None:
    """Whoever changes what is in a circle finds it complete."""
    results = await process(
        scim,
        post("/Groups", "g", group("G", ["bulkId:h", "bulkId:u"])),
        change(
            "PATCH",
            "/Groups/bulkId:g",
            patch(operation("remove", 'members[value eq "bulkId:h"]')),
        ),
        post("/Groups", "h", group("H", ["bulkId:g"])),
        post("/Users", "u", user("ada", **manager("bulkId:u"))),
    )
    assert statuses(results) == ["201", "204", "201", "201"]
    g, _, h, u = map(id_of, results)
    assert await members(scim, g) == [u]
    assert await members(scim, h) == [g]


async def test_a_circle_that_cannot_be_closed(tenant: Tenant) -> None:
    """RFC 7644 section 3.7.1: 409. What was created stays, and the answer says so."""
    ada = await create_user(tenant.scim, "ada")
    results = await process(
        tenant.scim,
        post("/Groups", "a", group("A", [ada, "bulkId:b", "bulkId:c"])),
        post("/Groups", "b", {"schemas": [GROUP], "members": [{"value": "bulkId:a"}]}),
        post("/Groups", "c", group("C", ["bulkId:a"])),
        post("/Groups", "d", group("D", ["bulkId:a"])),
    )
    assert statuses(results) == ["409", "400", "201", "201"]
    detail = results[0]["response"]["detail"]
    assert "was created" in detail
    assert "Operations[1]" in detail
    assert '"b"' in detail
    a, c = id_of(results[0]), id_of(results[2])
    assert set(await members(tenant.scim, a)) == {ada, c}
    assert await members(tenant.scim, c) == [a]


async def test_a_circle_whose_first_one_fails(tenant: Tenant) -> None:
    results = await process(
        tenant.scim,
        post("/Groups", "a", {"schemas": [GROUP], "members": [{"value": "bulkId:b"}]}),
        post("/Groups", "b", group("B", ["bulkId:a"])),
    )
    assert statuses(results) == ["400", "409"]
    assert await tenant.contents() == {}


async def test_the_version_of_a_new_resource_means_nothing(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7: it is for PUT, PATCH and DELETE."""
    itself = post("/Groups", "a", group("A", ["bulkId:a"])) | {"version": 'W/"1"'}
    assert statuses(await process(scim, itself)) == ["201"]


# References that lead nowhere


@pytest.mark.parametrize(
    "referring",
    [
        post("/Groups", "g", group("G", ["bulkId:x"])),
        post("/Users", "u", user("ada", **manager("bulkId:x"))),
        change("PUT", "/Users/bulkId:x", user("ada")),
        change("PATCH", "/Groups/{group}", add(["bulkId:x"])),
        change(
            "PATCH", "/Groups/{group}", patch(operation("remove", 'members[value eq "bulkId:x"]'))
        ),
        change("DELETE", "/Groups/bulkId:x"),
    ],
)
async def test_a_reference_to_what_is_not_created(tenant: Tenant, referring: Body) -> None:
    """400 where no operation has that bulkId, 409 where it failed; nothing is written."""
    sales = await create_group(tenant.scim, "Sales")
    referring = referring | {"path": referring["path"].format(group=sales)}
    before = await tenant.contents()
    (unknown,) = await process(tenant.scim, referring)
    assert (unknown["status"], unknown["response"]["scimType"]) == ("400", "invalidValue")
    assert '"x"' in unknown["response"]["detail"]
    failed = await process(tenant.scim, post("/Users", "x", {"userName": 7}), referring)
    assert statuses(failed) == ["400", "409"]
    assert "scimType" not in failed[1]["response"]
    assert "Operations[0]" in failed[1]["response"]["detail"]
    assert await tenant.contents() == before


async def test_a_failure_is_passed_on(tenant: Tenant) -> None:
    """What waits for what failed fails, too, and so on; the rest is done."""
    results = await process(
        tenant.scim,
        post("/Groups", "c", group("C", ["bulkId:b"])),
        post("/Groups", "b", group("B", ["bulkId:a"])),
        post("/Groups", "a", {"schemas": [GROUP]}),
        post("/Groups", "d", group("D")),
    )
    assert statuses(results) == ["409", "409", "400", "201"]


# failOnErrors


@pytest.mark.parametrize("wrong", [{0, 1, 2}, {2, 20, 21, 22}, set(range(40))])
@pytest.mark.parametrize("limit", [1, 3, 17, None])
async def test_after_so_many_errors_nothing_begins(
    tenant: Tenant, wrong: set[int], limit: int | None
) -> None:
    """RFC 7644 section 3.7: `failOnErrors`, exactly, also where POSTs run at once."""
    size = 40
    assert size > 2 * AT_ONCE
    taken = [post("/Users", f"t{i}", user(f"taken{i}")) for i in range(size)]
    assert statuses(await process(tenant.scim, *taken)) == ["201"] * size
    operations = [
        post("/Users", f"u{i}", user(f"taken{i}" if i in wrong else f"user{i}"))
        for i in range(size)
    ]
    more = {} if limit is None else {"failOnErrors": limit}
    results = await process(tenant.scim, *operations, **more)
    expected: list[str] = []
    for i in range(size):
        if limit is None or expected.count("409") < limit:
            expected.append("409" if i in wrong else "201")
    assert statuses(results) == expected
    created = (await tenant.scim.get("/Users?count=0")).json()["totalResults"]
    assert created - size == expected.count("201") == len(await tenant.events()) - size


async def test_errors_of_every_kind_count(scim: httpx.AsyncClient) -> None:
    ada = await create_user(scim, "ada")
    results = await process(
        scim,
        change("DELETE", f"/Users/{NOBODY}"),
        change("PATCH", f"/Users/{ada}", patch(operation("add", "nickName", "A"))),
        change("PUT", "/Devices/1", {}),
        post("/Users", "again", user("ada")),
        change("DELETE", f"/Users/{ada}"),
        failOnErrors=3,
    )
    assert statuses(results) == ["404", "200", "404", "409"]


async def test_a_circle_that_errors_cut(tenant: Tenant) -> None:
    """What has begun is ended: its result says which reference it lacks."""
    results = await process(
        tenant.scim,
        post("/Groups", "a", group("A", ["bulkId:b"])),
        change("DELETE", f"/Users/{NOBODY}"),
        post("/Groups", "b", group("B", ["bulkId:a"])),
        failOnErrors=1,
    )
    assert statuses(results) == ["409", "404"]
    assert await members(tenant.scim, id_of(results[0])) == []


@pytest.mark.parametrize("value", [0, None])
async def test_no_number_of_errors_is_any_number(scim: httpx.AsyncClient, value: Any) -> None:
    """What clients that do not use it send."""
    wrong = [change("DELETE", f"/Users/{NOBODY}")] * 3
    assert statuses(await process(scim, *wrong, failOnErrors=value)) == ["404"] * 3


@pytest.mark.parametrize("value", [-1, 1.5, "1", True, [1], {}])
async def test_fail_on_errors_is_a_number_from_one(tenant: Tenant, value: Any) -> None:
    body = bulk(post("/Users", "a", user("ada")), failOnErrors=value)
    answer = await tenant.scim.post("/Bulk", json=body)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert "failOnErrors" in answer.json()["detail"]
    assert await tenant.contents() == {}


# The same as one after the other


async def test_the_first_of_equals_wins(scim: httpx.AsyncClient) -> None:
    """RFC 7644 section 3.7: the same result as without optimization."""
    results = await process(
        scim,
        *(post("/Users", f"u{i}", user("ADA" if i % 2 else "ada")) for i in range(6)),
        *(post("/Users", f"e{i}", user(f"e{i}", externalId="7")) for i in range(4)),
        *(post("/Groups", f"g{i}", group("Sales")) for i in range(4)),
    )
    assert statuses(results) == ["201", *["409"] * 5, "201", *["409"] * 3, "201", *["409"] * 3]
    for result in results:
        if result["status"] == "409":
            assert result["response"]["scimType"] == "uniqueness"


async def test_what_a_delete_sets_free_can_be_taken(scim: httpx.AsyncClient) -> None:
    ada = await create_user(scim, "ada")
    results = await process(
        scim,
        post("/Users", "early", user("ada")),
        change("DELETE", f"/Users/{ada}"),
        post("/Users", "late", user("ada")),
    )
    assert statuses(results) == ["409", "204", "201"]


# Events


async def test_every_operation_leaves_its_own_event(tenant: Tenant) -> None:
    """Product section 6; the request id is that of the bulk request with the position."""
    body = bulk(
        post("/Groups", "a", group("A", ["bulkId:b"])),
        post("/Groups", "b", group("B", ["bulkId:a", "bulkId:u"])),
        post("/Users", "u", user("ada")),
        post("/Users", "bad", {}),
        change("PATCH", "/Users/bulkId:u", patch(operation("replace", "active", False))),
        change("DELETE", "/Groups/bulkId:a"),
    )
    answer = await tenant.scim.post("/Bulk", json=body, headers={"x-request-id": "r-1"})
    results = answer.json()["Operations"]
    assert statuses(results) == ["201", "201", "201", "400", "200", "204"]
    a, b, u = map(id_of, results[:3])
    found = {(e.request_id, e.operation, e.resource_id) for e in await tenant.events()}
    assert found == {
        ("r-1:0", "create", a),
        ("r-1:0", "patch", a),
        ("r-1:1", "create", b),
        ("r-1:2", "create", u),
        ("r-1:4", "patch", u),
        ("r-1:5", "delete", a),
    }
    await tenant.settle()
    access = await tenant.access.get(f"/users/{u}")
    assert (access.json()["enabled"], access.json()["reasons"]) == (False, ["inactive"])


async def test_before_provisioning_is_enabled_nothing_is_done(muster: Muster) -> None:
    tenant = await muster.tenant(enabled=False)
    answer = await tenant.scim.post("/Bulk", json=bulk(post("/Users", "a", user("ada"))))
    assert answer.status_code == 403
    assert await tenant.contents() == {}


# What is refused


@pytest.mark.parametrize(
    ("operation", "status", "named"),
    [
        (post("/Devices", "a", {}), "404", "/Devices"),
        (post("/Bulk", "a", {}), "404", "/Bulk"),
        (post("/Users/.search/x", "a", {}), "404", ".search"),
        (post("https://elsewhere.example/scim/Users", "a", user("ada")), "404", "elsewhere"),
        (post(f"/Users/{NOBODY}", "a", user("ada")), "405", "POST"),
        (change("PUT", "/Users", user("ada")), "405", "PUT"),
        (change("PATCH", "/Groups", patch()), "405", "PATCH"),
        (change("DELETE", "/Users/"), "405", "DELETE"),
        (change("POST", "/Users", user("ada")), "400", "bulkId"),
        (change("POST", "/Users", user("ada"), bulkId=""), "400", "bulkId"),
        (change("POST", "/Users", bulkId="a"), "400", "data"),
        (change("PUT", f"/Users/{NOBODY}"), "400", "data"),
        (change("PATCH", f"/Users/{NOBODY}"), "400", "data"),
        (post("/Users", "a", "x"), "400", "JSON object"),
        (post("/Users", "a", []), "400", "JSON object"),
        (post("/Groups", "a", {"displayName": 7}), "400", "displayName"),
        (change("PATCH", f"/Groups/{NOBODY}", []), "400", "Operations"),
        (change("PATCH", f"/Groups/{NOBODY}", [[]]), "400", "Operations[0]"),
        (change("DELETE", "/Users/bulkId:"), "404", "bulkId:"),
    ],
)
async def test_an_operation_that_a_single_request_would_get_wrong(
    tenant: Tenant, operation: Body, status: str, named: str
) -> None:
    """RFC 7644 section 3.7: partial failures are disregarded."""
    good = post("/Groups", "good", group("Good"))
    results = await process(tenant.scim, operation, good)
    assert statuses(results) == [status, "201"]
    assert named in results[0]["response"]["detail"]
    if operation["method"] == "POST":
        assert "location" not in results[0]
    assert len(await tenant.events()) == 1


GOOD = post("/Groups", "good", group("Good"))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "object"),
        ({}, "Operations"),
        (bulk(), "Operations"),
        ({"schemas": [f"{CORE}User"], "Operations": [GOOD]}, "schemas"),
        ({"schemas": BULK_REQUEST, "Operations": [GOOD]}, "schemas"),
        ({"Operations": {}}, "Operations"),
        ({"Operations": GOOD}, "Operations"),
        (bulk(GOOD, "x"), "Operations[1]"),
        (bulk(GOOD, None), "Operations[1]"),
        (bulk(GOOD, {}), "Operations[1].method"),
        (bulk(GOOD, change("GET", "/Users")), "Operations[1].method"),
        (bulk(GOOD, change("", "/Users")), "Operations[1].method"),
        (bulk(GOOD, {"method": 7, "path": "/Users"}), "Operations[1].method"),
        (bulk(GOOD, {"method": "DELETE"}), "Operations[1]"),
        (bulk(GOOD, {"method": "DELETE", "path": 7}), "Operations[1].path"),
        (bulk(GOOD, {"method": "DELETE", "path": ""}), "Operations[1]"),
        (bulk(GOOD, post("/Users", 7, {})), "Operations[1].bulkId"),
        (bulk(GOOD, change("DELETE", "/Users/1", version=7)), "Operations[1].version"),
        (bulk(GOOD, GOOD), "Operations[1].bulkId"),
    ],
)
async def test_what_is_no_bulk_request_is_refused_whole(
    tenant: Tenant, body: Any, named: str
) -> None:
    """RFC 7644 section 3.12 `invalidSyntax`: nothing is written."""
    answer = await tenant.scim.post("/Bulk", json=body)
    assert (answer.status_code, answer.json().get("scimType")) == (400, "invalidSyntax")
    assert named in answer.json()["detail"]
    assert await tenant.contents() == {}


async def test_a_bulk_id_need_not_be_unique_where_nothing_is_created(
    scim: httpx.AsyncClient,
) -> None:
    """RFC 7644 section 3.7: it identifies a new resource."""
    results = await process(
        scim,
        post("/Users", "a", user("ada")),
        change("PATCH", "/Users/bulkId:a", patch(operation("add", "title", "x")), bulkId="a"),
        change("DELETE", "/Users/bulkId:a", bulkId="a"),
    )
    assert statuses(results) == ["201", "200", "204"]
    assert [result["bulkId"] for result in results] == ["a", "a", "a"]


# Limits


async def test_the_limits_are_announced(scim: httpx.AsyncClient) -> None:
    """RFC 7643 section 5."""
    assert (await scim.get("/ServiceProviderConfig")).json()["bulk"] == {
        "supported": True,
        "maxOperations": MAXIMUM_OPERATIONS,
        "maxPayloadSize": BODY_BYTES,
    }


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
async def test_the_number_of_operations(tenant: Tenant, more: int, status: int) -> None:
    """RFC 7644 section 3.7.4; the limit itself is still taken."""
    nothing = [change("DELETE", f"/Users/{NOBODY}")] * (MAXIMUM_OPERATIONS - 1 + more)
    answer = await tenant.scim.post("/Bulk", json=bulk(GOOD, *nothing))
    assert answer.status_code == status
    if status == 413:
        assert f"maxOperations is {MAXIMUM_OPERATIONS}" in answer.json()["detail"]
        assert await tenant.contents() == {}
    else:
        assert len(answer.json()["Operations"]) == MAXIMUM_OPERATIONS


async def test_the_number_of_references(tenant: Tenant) -> None:
    """They are counted before anything is written, and the remedy is said."""
    size = math.isqrt(MAXIMUM_REFERENCES) + 1
    others = [f"bulkId:g{other}" for other in range(size)]
    circle = [post("/Groups", f"g{i}", group(f"G{i}", others)) for i in range(size)]
    answer = await tenant.scim.post("/Bulk", json=bulk(*circle))
    assert answer.status_code == 413
    assert "create the resources first" in answer.json()["detail"]
    assert await tenant.contents() == {}


async def test_the_size_of_the_body(tenant: Tenant) -> None:
    """RFC 7644 section 3.7.4: the error names the limit."""
    body = bulk(GOOD, post("/Users", "a", user("ada", title="x" * BODY_BYTES)))
    answer = await tenant.scim.post("/Bulk", json=body)
    assert answer.status_code == 413
    assert "maxPayloadSize" in answer.json()["detail"]
    assert str(BODY_BYTES) in answer.json()["detail"]
    assert await tenant.contents() == {}


async def test_one_operation_that_the_store_cannot_hold(scim: httpx.AsyncClient) -> None:
    results = await process(scim, post("/Users", "a", user("ada", title="x" * 2_200_000)), GOOD)
    assert statuses(results) == ["413", "201"]
