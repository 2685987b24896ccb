"""The catalog: imports, removals, and what they mean for access."""

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from administration.catalog import COLUMNS, list_catalog, parse_catalog
from administration.catalog_change import Catalog, CatalogPlan
from administration.errors import AdministrationError
from administration.files import FORMULA, as_csv
from administration.grants import Grants
from administration.tenants import Tenancy
from directory.documents import ENTITLEMENT_KINDS, EntitlementKey
from directory.reading import every
from directory.store import Document, Query
from scim.writing import Service
from tests.environment import TENANT, Environment, change_tenant
from tests.reconciler.world import Hooked
from tests.scim.messages import ENTERPRISE, create_group, create_user

CENTER = {"kind": "costCenterMembership", "key": "cc-7", "displayName": "Seven"}
DESK = {"kind": "receptionAssignment", "key": "front", "displayName": "Front desk"}


def catalog_of(environment: Environment) -> Catalog:
    return Catalog(environment.application.service, TENANT)


def content(*entries: dict[str, str]) -> bytes:
    return json.dumps({"entitlements": entries}).encode()


def told(plan: CatalogPlan) -> tuple[list[str], list[str], list[str], int]:
    """Keys that are added, changed, removed; how many stay."""
    changes = (plan.added, plan.changed, plan.removed)
    added, changed, removed = ([entry.key for entry in entries] for entries in changes)
    return added, changed, removed, plan.unchanged


async def catalog_events(environment: Environment) -> list[Document]:
    found = every(environment.application.store, TENANT, Query("Event"))
    return [item.document async for item in found if item.document["operation"] == "catalog"]


async def holder_of(environment: Environment) -> str:
    """A user whose cost center is cc-7."""
    ada = await create_user(environment.client, "ada", **{ENTERPRISE: {"costCenter": "cc-7"}})
    await create_group(environment.client, "Sales", [ada])
    await environment.settle()
    return ada


async def holds(environment: Environment, user: str) -> list[str]:
    await environment.settle()
    access = (await environment.access.get(f"/users/{user}")).json()
    return [grant["key"] for grant in access["grants"]]


async def use_cost_centers(environment: Environment) -> None:
    await environment.changing(Tenancy).change_policy({"cost_center_from_attribute": True})


async def test_an_import_and_what_it_would_do(environment: Environment) -> None:
    store, catalog = environment.application.store, catalog_of(environment)
    roles = len(await list_catalog(store, TENANT))
    renamed = {"kind": "role", "key": "owner", "displayName": "Boss"}
    as_csv = (
        "Kind,KEY,displayName,remark\n"
        'role,owner,Boss,"a, b"\n'
        "receptionAssignment, front ,Front desk,\n"
    )
    assert parse_catalog(as_csv.encode()) == parse_catalog(content(renamed, DESK))
    file = parse_catalog(content(renamed, DESK))
    expected: Any = (["front"], ["owner"], [], 0)
    assert told(await catalog.load(file, dry_run=True)) == expected
    assert len(await list_catalog(store, TENANT)) == roles
    assert told(await catalog.load(file)) == expected
    assert told(await catalog.load(file)) == ([], [], [], 2)
    plan = await catalog.load(file, remove_missing=True, dry_run=True)
    assert len(plan.removed) == roles - 1
    await catalog.load(file, remove_missing=True)
    left = [(entry.key, entry.display_name) for entry in await list_catalog(store, TENANT)]
    assert left == [("front", "Front desk"), ("owner", "Boss")]
    events = await catalog_events(environment)
    assert [(event["scope"], event["state"]) for event in events] == [("none", "done")] * 2


async def test_a_cost_center_is_access_where_the_policy_says_so(environment: Environment) -> None:
    ada, catalog = await holder_of(environment), catalog_of(environment)
    await catalog.load(parse_catalog(content(CENTER)))
    assert await holds(environment, ada) == []
    await use_cost_centers(environment)
    assert await holds(environment, ada) == ["cc-7"]
    await catalog.remove("costCenterMembership", "cc-7")
    assert await holds(environment, ada) == []
    await catalog.load(parse_catalog(content(CENTER)))
    assert await holds(environment, ada) == ["cc-7"]
    await catalog.load(parse_catalog(content(CENTER | {"displayName": "VII"}, DESK)))
    events = await catalog_events(environment)
    assert [event["scope"] for event in events] == ["none", "tenant", "tenant", "none"]


async def test_a_large_import_leaves_one_event_to_reconcile(environment: Environment) -> None:
    """Also where the process dies between two of its batches."""
    await use_cost_centers(environment)
    ada, service = await holder_of(environment), environment.application.service
    centers = [CENTER | {"key": f"cc-{number}"} for number in range(250)]
    file = parse_catalog(content(*centers))
    batches = 0

    async def die(method: str, _: tuple[Any, ...]) -> None:
        nonlocal batches
        batches += method == "batch"
        if batches == 2:
            raise KeyboardInterrupt

    dying = Service(
        Hooked(service.store, after=die), lambda *_: None, service.now, service.resource_types
    )
    with pytest.raises(KeyboardInterrupt):
        await Catalog(dying, TENANT).load(file)
    states = [event["state"] for event in await catalog_events(environment)]
    assert states == ["done", "pending"]
    await environment.application.relay.resend_pending(-2)
    assert await holds(environment, ada) == ["cc-7"]
    plan = await catalog_of(environment).load(file)
    assert (len(plan.added), plan.unchanged) == (250 - 2 * 97, 2 * 97)
    last = (await catalog_events(environment))[-1]
    assert (last["scope"], last["state"]) == ("tenant", "pending")


async def test_the_policy_changes_during_an_import(environment: Environment) -> None:
    ada, service = await holder_of(environment), environment.application.service
    switching = [use_cost_centers]

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        if method == "batch" and switching:
            await switching.pop()(environment)
            await environment.settle()

    raced = Service(
        Hooked(service.store, before=meanwhile), service.submit, service.now, service.resource_types
    )
    await Catalog(raced, TENANT).load(parse_catalog(content(CENTER)))
    assert await holds(environment, ada) == ["cc-7"]


async def test_what_is_in_use_stays(environment: Environment) -> None:
    catalog, store = catalog_of(environment), environment.application.store
    await catalog.load(parse_catalog(content(DESK)))
    desk = EntitlementKey(kind="receptionAssignment", key="front")
    groups = [await create_group(environment.client, f"Group {number}") for number in range(7)]
    for group in groups:
        await environment.mappings.save(group, (desk,))
    with pytest.raises(AdministrationError, match=r"the group Group \d, .* and 2 more\. Take"):
        await catalog.remove("receptionAssignment", "front")
    for group in groups:
        await environment.mappings.save(group, ())
    user = await create_user(environment.client, "ada")
    grants = Grants(environment.application.service, TENANT)
    await grants.give(user, (desk,))
    before = await list_catalog(store, TENANT)
    with pytest.raises(AdministrationError, match="given by hand to Ada Example"):
        await catalog.load(parse_catalog(content()), remove_missing=True)
    assert await list_catalog(store, TENANT) == before
    await grants.withdraw(user, (desk,))
    await catalog.remove("receptionAssignment", "front")
    with pytest.raises(AdministrationError, match="does not have receptionAssignment front"):
        await catalog.remove("receptionAssignment", "front")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (content(DESK, CENTER | {"kind": "parking"}), "entitlements.1: there is no kind 'parking'"),
        (content(CENTER | {"kind": "parking"}), ", ".join(ENTITLEMENT_KINDS)),
        (b"kind,key,displayName\nrole,a,A\nrole,a,B\n", "line 3: role a is there twice"),
        (b"kind,key,displayName\nrole,,A\n", "line 2.key"),
        (b"kind,key\nrole,a\n", "it lacks displayName"),
    ],
)
def test_a_file_that_cannot_be_read_names_the_place(given: bytes, says: str) -> None:
    with pytest.raises(AdministrationError) as refused:
        parse_catalog(given)
    assert says in str(refused.value)


SIGNS = tuple(FORMULA.strip())
CELL = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("'=+-@＝,;\"\t\r\n"))
STRIPPED = CELL.map(str.strip).filter(lambda text: 0 < len(text) <= 200)
ENTRIES = st.dictionaries(STRIPPED, STRIPPED, min_size=1)


@example({"0": ';"=1'})
@given(ENTRIES)
def test_what_is_exported_is_imported_as_it_was(names: dict[str, str]) -> None:
    """And no cell of it is a formula to a spreadsheet, wherever it takes cells to begin."""
    rows = [("role", key, name) for key, name in names.items()]
    exported = as_csv(COLUMNS, rows)
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(exported, newline=""), delimiter=delimiter):
            assert not any(cell.lstrip("\t\r\n").startswith(SIGNS) for cell in row)
    for cell in re.split(r"[,;\t\r\n]\"*", exported):  # by readers that know no quotes
        assert not cell.startswith(SIGNS), exported
    imported = parse_catalog(exported.encode()).entitlements
    assert [(one.kind, one.key, one.display_name) for one in imported] == rows


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("\n=1+1", "'\n'=1+1"),
        ("＝1+1", "'＝1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("a\t@b", "a\t'@b"),
        ("a\n-1;+1", "a\n'-1;'+1"),
        ("a,=1", "a,'=1"),
        ('a;"=1', "a;'\"=1"),
        ("'=1", "''=1"),
        ("a; -b, c-d", "a; -b, c-d"),
        ("it's", "it's"),
        ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
        ("1,2;/.:<>?", "1,2;/.:<>?"),
    ],
)
def test_an_apostrophe_goes_where_a_formula_would_begin(cell: str, written: str) -> None:
    (row,) = csv.reader(io.StringIO(as_csv(("a",), [(cell,)]).split("\r\n", 1)[1], newline=""))
    assert row == [written]


def test_a_deployment_has_kinds_of_its_own(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_ENTITLEMENT_KINDS", '["parking"]')
    kinds = type(environment.application.settings)().kinds
    assert kinds == (*ENTITLEMENT_KINDS, "parking")
    assert parse_catalog(content(CENTER | {"kind": "parking"}), kinds).entitlements


async def test_somebody_renames_the_tenant_meanwhile(environment: Environment) -> None:
    """The fence is about the policy; it takes nothing back."""
    service = environment.application.service
    renaming = [lambda tenant: tenant.model_copy(update={"name": "New"})]

    async def meanwhile(method: str, _: tuple[Any, ...]) -> None:
        if method == "batch" and renaming:
            await change_tenant(service.store, TENANT, renaming.pop())

    raced = Service(
        Hooked(service.store, before=meanwhile), service.submit, service.now, service.resource_types
    )
    await Catalog(raced, TENANT).load(parse_catalog(content(CENTER)))
    stored = await service.store.read(TENANT, "tenant")
    assert stored.document["name"] == "New"
