"""The requests of Entra ID for invented employees (its default attribute mapping, filled in)."""

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

CORE = "urn:ietf:params:scim:schemas:core:2.0"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


def user_name(number: int) -> str:
    """The user principal name of employee `number`."""
    return f"employee.{number}@contoso.example"


def object_id(number: int) -> str:
    """The Entra ID object id of employee `number`; it is provisioned as externalId."""
    return str(uuid5(NAMESPACE_URL, user_name(number)))


def user(number: int) -> dict[str, Any]:
    """The body of the POST that creates employee `number`."""
    return {
        "schemas": [f"{CORE}:User", ENTERPRISE],
        "externalId": object_id(number),
        "userName": user_name(number),
        "active": True,
        "displayName": f"Employee {number}",
        "title": "Engineer",
        "preferredLanguage": "de-CH",
        "emails": [{"primary": True, "type": "work", "value": user_name(number)}],
        "meta": {"resourceType": "User"},
        "name": {
            "formatted": f"Employee {number}",
            "familyName": f"Number {number}",
            "givenName": "Employee",
        },
        "addresses": [
            {
                "primary": True,
                "type": "work",
                "formatted": "Room 12",
                "streetAddress": "Bundesplatz 3",
                "locality": "Bern",
                "region": "BE",
                "postalCode": "3005",
                "country": "CH",
            }
        ],
        "phoneNumbers": [
            {"primary": True, "type": "work", "value": "+41 31 555 00 00"},
            {"type": "mobile", "value": f"+41 79 {number:07}"},
        ],
        ENTERPRISE: {
            "employeeNumber": str(number),
            "department": "Engineering",
            "costCenter": f"CC-{number % 20}",
        },
    }


def update(number: int) -> dict[str, Any]:
    """A PATCH of five operations, as Entra ID sends it for an employee who changed departments."""
    operations = [
        ("Replace", "active", "True"),
        ("Replace", "displayName", f"Employee {number} (Sales)"),
        ("Replace", 'emails[type eq "work"].value', f"sales.{number}@contoso.example"),
        ("Add", 'phoneNumbers[type eq "mobile"].value', "+41 79 555 00 01"),
        ("Replace", f"{ENTERPRISE}:department", "Sales"),
    ]
    return patch(*({"op": op, "path": path, "value": value} for op, path, value in operations))


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """The body of a PATCH."""
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


def bulk(users: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The body of a bulk request that creates users."""
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": f"b{index}", "data": user}
        for index, user in enumerate(users)
    ]
    return {"schemas": [BULK_REQUEST], "Operations": operations}
