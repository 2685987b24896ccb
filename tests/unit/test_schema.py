"""Schemas as shipped, schemas from files, and where paths lead."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from scim2_models import EnterpriseUser, Group, User

from scim.protocol.schema import (
    Attribute,
    Location,
    ResourceType,
    Schema,
    SchemaError,
    attribute_path,
    load_resource_types,
    load_schema,
)
from tests.unit.payloads import EXTENSION, STAFF, USER

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
TYPES = load_resource_types()


def characteristics(attribute: Attribute) -> dict[str, Any]:
    return {
        "type": attribute.type,
        "multiValued": attribute.multi_valued,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
        "sub": sorted(sub.name for sub in attribute.sub_attributes.values()),
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (TYPES["User"].schema, User),
        (TYPES["Group"].schema, Group),
        (TYPES["User"].extensions[ENTERPRISE.lower()], EnterpriseUser),
    ],
)
def test_shipped_schemas_agree_with_an_independent_implementation(ours: Any, theirs: Any) -> None:
    schema = theirs.to_schema().model_dump(mode="json", by_alias=True)
    expected = {
        attribute["name"]: {
            "type": attribute["type"],
            "multiValued": attribute["multiValued"],
            "mutability": attribute["mutability"],
            "returned": attribute["returned"],
            "sub": sorted(sub["name"] for sub in attribute.get("subAttributes") or []),
        }
        for attribute in schema["attributes"]
    }
    if theirs is Group:  # there, `display` is writable; here, the server says it
        assert ours.attributes["members"].sub_attributes["display"].mutability == "readOnly"
    if theirs is User:  # here, a plain GET of a user costs one read
        expected["groups"]["returned"] = "request"
    assert {a.name: characteristics(a) for a in ours.attributes.values()} == expected


def test_what_makes_a_user_unique_and_required() -> None:
    attributes = TYPES["User"].attributes
    assert [a.name for a in attributes.values() if a.uniqueness == "server"] == [
        "id",
        "externalId",
        "userName",
    ]
    assert attributes["username"].required
    assert not attributes["username"].case_exact
    assert attributes["externalid"].case_exact
    assert TYPES["Group"].attributes["displayname"].required


CORE = "urn:ietf:params:scim:schemas:core:2.0:User"


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("USERNAME", ("userName",)),
        ("externalid", ("externalId",)),
        ("meta.lastmodified", ("meta", "lastModified")),
        ("Name.GIVENNAME", ("name", "givenName")),
        ("emails.Value", ("emails", "value")),
        ("groups.$REF", ("groups", "$ref")),
        (f"{CORE.upper()}:userName", ("userName",)),
        (f"{CORE}:name.givenName", ("name", "givenName")),
        (f"{ENTERPRISE.upper()}:department", (ENTERPRISE, "department")),
        (f"{ENTERPRISE}:manager.value", (ENTERPRISE, "manager", "value")),
        (f"{STAFF}:startdate", (STAFF, "startDate")),
        # the dot of Microsoft's "SCIM Inbound"
        (f"{CORE}.userName", ("userName",)),
        (f"{CORE}.name.givenName", ("name", "givenName")),
        (f"{ENTERPRISE}.Manager", (ENTERPRISE, "manager")),
        (f"{ENTERPRISE}.manager.value", (ENTERPRISE, "manager", "value")),
        # short names of the one extension that has them
        ("manager", (ENTERPRISE, "manager")),
        ("manager.$ref", (ENTERPRISE, "manager", "$ref")),
        ("startDate", (STAFF, "startDate")),
    ],
)
def test_locate(path: str, keys: tuple[str, ...]) -> None:
    location = USER.locate(path)
    assert isinstance(location, Location)
    assert location.keys == keys
    assert location.attribute.name == keys[-1]
    holder = keys[-2] if len(keys) > 1 and ":" not in keys[-2] else None
    assert (location.parent.name if location.parent else None) == holder


@pytest.mark.parametrize("urn", [CORE, ENTERPRISE, STAFF])
def test_locate_a_schema(urn: str) -> None:
    found = USER.locate(urn.upper())
    assert isinstance(found, Schema)
    assert found.id == urn


@pytest.mark.parametrize(
    "path",
    [
        "userName.value",
        "name.givenname2",
        "name.",
        "",
        f"{CORE}:",
        f"{CORE}.",
        f"{ENTERPRISE}:userName",
        "urn:ietf:params:scim:schemas:core:2.0:Group:displayName",
    ],
)
def test_locate_nothing(path: str) -> None:
    assert USER.locate(path) is None


def test_schemas_core_first() -> None:
    assert [schema.id for schema in USER.schemas] == [USER.schema.id, ENTERPRISE, STAFF]


def test_attribute_path() -> None:
    assert attribute_path(("name", "givenName")) == "name.givenName"
    assert attribute_path((ENTERPRISE, "manager", "value")) == ENTERPRISE + ":manager.value"
    assert attribute_path((ENTERPRISE,)) == ENTERPRISE


def changed(path: str, value: Any) -> dict[str, Any]:
    document: Any = copy.deepcopy(EXTENSION)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = document
    for step in steps:
        place = place[step]
    place[last] = value
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("id", "Staff", "id"),
        ("attributes", [], "attributes"),
        ("attributes/0/type", "date", "attributes[0].type"),
        ("attributes/1/multivalued", True, "attributes[1].multivalued"),
        ("attributes/2/name", "a b", "attributes[2].name"),
        ("attributes/2/name", "STARTDATE", "attributes[2] ('STARTDATE')"),
        ("attributes/3/mutability", "readwrite", "attributes[3].mutability"),
        ("attributes/3/required", "yes", "attributes[3].required"),
        ("attributes/0/type", "complex", "attributes[0] ('startDate')"),
        ("attributes/8/type", "string", "attributes[8] ('desks')"),
        (
            "attributes/8/subAttributes/1",
            {"name": "since", "type": "complex", "subAttributes": [{"name": "x"}]},
            "attributes[8].subAttributes[1] ('since'): a sub-attribute cannot be complex",
        ),
        ("attributes/8/subAttributes/1/name", "VALUE", "attributes[8].subAttributes[1]"),
    ],
)
def test_errors_name_the_file_and_the_place(path: str, value: Any, place: str) -> None:
    with pytest.raises(SchemaError) as error:
        load_schema(changed(path, value), "staff.json")
    assert str(error.value).startswith(f"staff.json: {place}")


def test_references_and_binaries_are_case_exact_unless_the_file_says_otherwise() -> None:
    document: Any = {
        "id": "urn:x:y",
        "attributes": [
            {"name": "a", "type": "reference"},
            {"name": "b", "type": "reference", "caseExact": False},
            {"name": "c"},
        ],
    }
    attributes = load_schema(document, "x").attributes
    assert [attributes[name].case_exact for name in "abc"] == [True, False, False]


def written(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_extension_files(tmp_path: Path) -> None:
    group: Any = {
        "id": "urn:x:Group",
        "resourceType": "Group",
        "attributes": [{"name": "purpose"}],
    }
    files = [written(tmp_path, "a.json", EXTENSION), written(tmp_path, "b.json", group)]
    types = load_resource_types(files)
    assert isinstance(types["User"], ResourceType)
    assert types["User"].locate(f"{STAFF}:floor")
    assert types["Group"].locate("urn:X:group:Purpose")
    assert not types["User"].locate("urn:x:Group:purpose")


@pytest.mark.parametrize(
    ("document", "fragment"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "the document"),
        ({**EXTENSION, "resourceType": "Device"}, "resourceType"),
        ({**EXTENSION, "id": ENTERPRISE.upper()}, "there is a schema"),
    ],
)
def test_bad_extension_files(tmp_path: Path, document: Any, fragment: str) -> None:
    path = written(tmp_path, "bad.json", document)
    with pytest.raises(SchemaError, match=r"bad\.json") as error:
        load_resource_types([path])
    assert fragment in str(error.value)


def test_an_extension_is_taken_once(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", EXTENSION)
    with pytest.raises(SchemaError, match="already"):
        load_resource_types([path, path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"none\.json"):
        load_resource_types([tmp_path / "none.json"])
