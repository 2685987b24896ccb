"""What the service says about itself."""

from typing import Any

import pytest
from scim2_models import Context, ListResponse, ServiceProviderConfig
from scim2_models import ResourceType as TheirResourceType
from scim2_models import Schema as TheirSchema

from scim.protocol.discovery import (
    Offer,
    resource_type_named,
    resource_types_list,
    schema_with_urn,
    schemas_for,
    service_provider_config,
)
from scim.protocol.errors import ResourceNotFound
from scim.protocol.schema import load_resource_types, load_schema
from tests.unit.payloads import GROUP, STAFF, USER

BASE = "https://muster.example/scim/v2"
TYPES = load_resource_types()
WITH_STAFF = {"User": USER, "Group": GROUP}
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
RESPONSE = Context.RESOURCE_QUERY_RESPONSE


def flat(attributes: list[dict[str, Any]], prefix: str = "") -> dict[str, dict[str, Any]]:
    result = {}
    for attribute in attributes:
        name = prefix + attribute["name"]
        result[name] = attribute
        result |= flat(attribute.get("subAttributes", []), name + ".")
    return result


def required_in(body: dict[str, Any]) -> set[str]:
    return {name for name, each in flat(body["attributes"]).items() if each["required"]}


def test_service_provider_config() -> None:
    offer = Offer(default_page_size=100, max_page_size=200, documentation_uri="https://x.example")
    body = service_provider_config(offer, BASE)
    ServiceProviderConfig.model_validate(body, scim_ctx=RESPONSE)
    assert body["patch"] == body["sort"] == body["etag"] == {"supported": True}
    assert body["bulk"] == {"supported": False, "maxOperations": 0, "maxPayloadSize": 0}
    assert body["filter"] == {"supported": True, "maxResults": 200}
    assert body["changePassword"] == {"supported": False}
    assert body["pagination"] == {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 200,
    }
    assert [each["type"] for each in body["authenticationSchemes"]] == [
        "oauthbearertoken",
        "oauth2",
    ]
    assert body["documentationUri"] == "https://x.example"
    assert body["meta"] == {
        "resourceType": "ServiceProviderConfig",
        "location": f"{BASE}/ServiceProviderConfig",
    }


def test_service_provider_config_with_bulk_and_without_documentation() -> None:
    body = service_provider_config(Offer(1, 2, True, 1000, 2**20), BASE)
    assert body["bulk"] == {"supported": True, "maxOperations": 1000, "maxPayloadSize": 2**20}
    assert "documentationUri" not in body


def test_resource_types() -> None:
    body = resource_types_list(WITH_STAFF, BASE)
    ListResponse[TheirResourceType].model_validate(body, scim_ctx=RESPONSE)
    assert body["totalResults"] == 2
    user, group = body["Resources"]
    assert user == {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "description": "User Account",
        "schema": USER.schema.id,
        "schemaExtensions": [
            {"schema": ENTERPRISE, "required": False},
            {"schema": STAFF, "required": False},
        ],
        "meta": {"resourceType": "ResourceType", "location": f"{BASE}/ResourceTypes/User"},
    }
    assert "schemaExtensions" not in group
    assert resource_type_named(WITH_STAFF, "Group", BASE) == group


def test_schemas_are_shown_as_they_are_served() -> None:
    body = schemas_for(WITH_STAFF, (), BASE)
    ListResponse[TheirSchema].model_validate(body, scim_ctx=RESPONSE)
    assert [each["id"] for each in body["Resources"]] == [
        USER.schema.id,
        ENTERPRISE,
        STAFF,
        GROUP.schema.id,
    ]
    assert body["totalResults"] == body["itemsPerPage"] == 4
    for served, schema in zip(body["Resources"], (*USER.schemas, *GROUP.schemas), strict=True):
        again = load_schema(served, "served")
        assert repr(again) == repr(schema)
        assert served["meta"] == {
            "resourceType": "Schema",
            "location": f"{BASE}/Schemas/{schema.id}",
        }


def test_no_nulls_and_camel_case() -> None:
    for schema in schemas_for(WITH_STAFF, (), BASE)["Resources"]:
        for attribute in flat(schema["attributes"]).values():
            assert None not in attribute.values()
            assert [] not in attribute.values()
            assert set(attribute) <= {
                "name",
                "type",
                "multiValued",
                "description",
                "required",
                "caseExact",
                "canonicalValues",
                "referenceTypes",
                "mutability",
                "returned",
                "uniqueness",
                "subAttributes",
            }


def test_the_tenants_truth_about_required() -> None:
    required = [("name", "givenName"), ("emails",), ("displayName",), (ENTERPRISE, "costCenter")]
    user, enterprise, group = schemas_for(TYPES, required, BASE)["Resources"]
    assert required_in(user) == {"userName", "name", "name.givenName", "emails", "displayName"}
    assert required_in(enterprise) == {"costCenter"}
    assert required_in(group) == {"displayName"}
    user, enterprise, group = schemas_for(TYPES, (), BASE)["Resources"]
    assert (required_in(user), required_in(enterprise)) == ({"userName"}, set())


def test_a_users_attribute_is_not_required_of_groups() -> None:
    group = schemas_for(TYPES, [("members",)], BASE)["Resources"][-1]
    assert required_in(group) == {"displayName"}


def test_one_schema() -> None:
    required = [("emails",)]
    body = schema_with_urn(TYPES, required, BASE, USER.schema.id.upper())
    assert body == schemas_for(TYPES, required, BASE)["Resources"][0]


def test_unknown_names() -> None:
    with pytest.raises(ResourceNotFound, match="User, Group"):
        resource_type_named(TYPES, "Device", BASE)
    with pytest.raises(ResourceNotFound, match="/Schemas"):
        schema_with_urn(TYPES, (), BASE, "urn:x\ud800")
