"""The body of a bulk request, its paths and references: RFC 7644 sections 3.7 and 3.7.2."""

from typing import Any

import pytest

from scim.bulk.message import BulkRequest, references, resolved, split

BASE = "https://muster.example/scim/v2"
ENDPOINTS = ("/Users", "/Groups")
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def parse(*operations: Any, **more: Any) -> BulkRequest:
    return BulkRequest.parse({"Operations": list(operations), **more}, BASE, ENDPOINTS)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/Users", ("/Users", None, None)),
        ("Users", ("/Users", None, None)),
        ("/users/", ("/Users", None, None)),
        (" /GROUPS ", ("/Groups", None, None)),
        ("/Users/42", ("/Users", "42", None)),
        ("//Users//42/", ("/Users", "42", None)),
        ("/scim/v2/Users/42", ("/Users", "42", None)),
        ("/scim/Groups/42", ("/Groups", "42", None)),
        (f"{BASE}/Users/42", ("/Users", "42", None)),
        ("HTTPS://Muster.example/scim/Users/42", ("/Users", "42", None)),
        ("/Users/bulkId:q", ("/Users", None, "q")),
        ("/Users/bulkId%3Aa%2Fb", ("/Users", None, "a/b")),
        ("https://elsewhere.example/scim/Users/42", (None, None, None)),
        ("/Devices", (None, None, None)),
        ("/Users/42/name", (None, None, None)),
        ("/Bulk", (None, None, None)),
        ("/", (None, None, None)),
        ("/scim", (None, None, None)),
    ],
)
def test_a_path_leads_to(path: str, place: tuple[str | None, str | None, str | None]) -> None:
    (operation,) = parse({"method": "delete", "path": path}).operations
    assert (operation.endpoint, operation.id, operation.id_reference) == place


DATA = {
    "displayName": "bulkId:",
    "members": [{"value": "bulkId:a"}, {"value": "c"}, "BULKID:b c"],
    ENTERPRISE: {
        "department": "Sales",
        "manager": {"value": "bulkId:m", "$ref": "../Users/bulkId:r"},
    },
    "Operations": [{"path": 'members[value eq "bulkId:p" or value eq "bulkId:q"]'}],
    "title": 'no "bulkId:x" here, nor at /bulkId:y',
}


def test_references_are_found_and_resolved() -> None:
    """RFC 7644 section 3.7.2."""
    assert references(DATA) == {"a", "b c", "m", "r", "p", "q"}
    found = resolved(DATA, str.upper)
    assert found["members"] == [{"value": "A"}, {"value": "c"}, "B C"]
    assert found[ENTERPRISE] == {
        "department": "Sales",
        "manager": {"value": "M", "$ref": "../Users/R"},
    }
    assert found["Operations"] == [{"path": 'members[value eq "P" or value eq "Q"]'}]
    assert (found["title"], found["displayName"]) == (DATA["title"], "bulkId:")


def test_data_is_split_where_values_begin() -> None:
    rest, parts = split(DATA, {"a", "m"})
    assert parts == {
        "members": [{"value": "bulkId:a"}],
        ENTERPRISE: {"manager": {"value": "bulkId:m", "$ref": "../Users/bulkId:r"}},
    }
    assert rest["members"] == [{"value": "c"}, "BULKID:b c"]
    assert rest[ENTERPRISE] == {"department": "Sales"}
    assert rest["title"] == DATA["title"]
