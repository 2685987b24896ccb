"""Service discovery (RFC 7644 section 4, RFC 7643 sections 5 to 7, RFC 9865).

Every function returns a JSON body; `base_url` is the client's Tenant URL without a trailing slash,
so that `meta.location` is right under each base path.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from scim.protocol.errors import ResourceNotFound
from scim.protocol.representation import list_response
from scim.protocol.schema import Attribute, ResourceType, Schema

_CORE = "urn:ietf:params:scim:schemas:core:2.0:"
_ENTRA_SETUP = "https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups"

type Required = Collection[tuple[str, ...]]
"""Users' attributes that a tenant requires beyond the schema, as `Location.keys`."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What this deployment offers; sizes in resources, operations and bytes."""

    default_page_size: int
    max_page_size: int
    bulk: bool = False
    bulk_max_operations: int = 0
    bulk_max_payload_size: int = 0
    documentation_uri: str | None = None


def service_provider_config(offer: Offer, base_url: str) -> dict[str, Any]:
    """The body of /ServiceProviderConfig."""
    body: dict[str, Any] = {
        "schemas": [_CORE + "ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {
            "supported": offer.bulk,
            "maxOperations": offer.bulk_max_operations,
            "maxPayloadSize": offer.bulk_max_payload_size,
        },
        "filter": {"supported": True, "maxResults": offer.max_page_size},
        "changePassword": {"supported": False},
        "sort": {"supported": True},
        "etag": {"supported": True},
        "pagination": {
            "cursor": True,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": offer.default_page_size,
            "maxPageSize": offer.max_page_size,
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "OAuth Bearer Token",
                "description": "The secret token of the connection, or Entra ID's own token, "
                "sent as a bearer token.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "documentationUri": _ENTRA_SETUP,
                "primary": True,
            },
            {
                "type": "oauth2",
                "name": "OAuth 2.0 Client Credentials",
                "description": "A token of the token endpoint /oauth/token of this host, for a "
                "client id and a secret, or for a workload's own assertion; it lasts an hour.",
                "specUri": "https://www.rfc-editor.org/info/rfc6749",
                "documentationUri": _ENTRA_SETUP,
                "primary": False,
            },
        ],
        "meta": _meta("ServiceProviderConfig", f"{base_url}/ServiceProviderConfig"),
    }
    if offer.documentation_uri:
        body["documentationUri"] = offer.documentation_uri
    return body


def resource_types_list(
    resource_types: Mapping[str, ResourceType], base_url: str
) -> dict[str, Any]:
    """The body of /ResourceTypes."""
    bodies = [_resource_type(each, base_url) for each in resource_types.values()]
    return list_response(bodies, len(bodies))


def resource_type_named(
    resource_types: Mapping[str, ResourceType], name: str, base_url: str
) -> dict[str, Any]:
    """The body of /ResourceTypes/{name}. Raises ResourceNotFound."""
    if name not in resource_types:
        known = ", ".join(resource_types)
        raise ResourceNotFound(f"There is no resource type {name[:100]!r}; there are: {known}.")
    return _resource_type(resource_types[name], base_url)


def schemas_for(
    resource_types: Mapping[str, ResourceType], required: Required, base_url: str
) -> dict[str, Any]:
    """The body of /Schemas for a tenant that requires these attributes of its users."""
    bodies = list(_schemas(resource_types, required, base_url).values())
    return list_response(bodies, len(bodies))


def schema_with_urn(
    resource_types: Mapping[str, ResourceType], required: Required, base_url: str, urn: str
) -> dict[str, Any]:
    """The body of /Schemas/{urn}, the URN in any case. Raises ResourceNotFound."""
    body = _schemas(resource_types, required, base_url).get(urn.lower())
    if body is None:
        raise ResourceNotFound(
            f"There is no schema {urn[:100]!r}; {base_url}/Schemas lists those there are."
        )
    return body


def _resource_type(resource_type: ResourceType, base_url: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schemas": [_CORE + "ResourceType"],
        "id": resource_type.name,
        "name": resource_type.name,
        "endpoint": resource_type.endpoint,
        "description": resource_type.description,
        "schema": resource_type.schema.id,
    }
    if resource_type.extensions:
        body["schemaExtensions"] = [
            {"schema": schema.id, "required": False} for schema in resource_type.extensions.values()
        ]
    body["meta"] = _meta("ResourceType", f"{base_url}/ResourceTypes/{resource_type.name}")
    return body


def _schemas(
    resource_types: Mapping[str, ResourceType], required: Required, base_url: str
) -> dict[str, dict[str, Any]]:
    """URN in lower case → body."""
    bodies: dict[str, dict[str, Any]] = {}
    for resource_type in resource_types.values():
        paths = _with_parents(required) if resource_type.name == "User" else frozenset()
        for schema in resource_type.schemas:
            prefix = () if schema is resource_type.schema else (schema.id,)
            bodies[schema.id.lower()] = _schema(schema, prefix, paths, base_url)
    return bodies


def _with_parents(paths: Required) -> frozenset[tuple[str, ...]]:
    """The paths with their parents: where `name.givenName` is required, so is `name`."""
    return frozenset(path[:length] for path in paths for length in range(1, len(path) + 1))


def _schema(
    schema: Schema, prefix: tuple[str, ...], required: Required, base_url: str
) -> dict[str, Any]:
    return {
        "schemas": [_CORE + "Schema"],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": _attributes(schema.attributes, prefix, required),
        "meta": _meta("Schema", f"{base_url}/Schemas/{schema.id}"),
    }


def _attributes(
    attributes: Mapping[str, Attribute], prefix: tuple[str, ...], required: Required
) -> list[dict[str, Any]]:
    return [_attribute(attribute, prefix, required) for attribute in attributes.values()]


def _attribute(attribute: Attribute, prefix: tuple[str, ...], required: Required) -> dict[str, Any]:
    keys = (*prefix, attribute.name)
    body: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.type,
        "multiValued": attribute.multi_valued,
        "description": attribute.description,
        "required": attribute.required or keys in required,
    }
    if attribute.type == "complex":
        body["subAttributes"] = _attributes(attribute.sub_attributes, keys, required)
    if attribute.type in ("string", "reference", "binary"):
        body["caseExact"] = attribute.case_exact
    if attribute.canonical_values:
        body["canonicalValues"] = list(attribute.canonical_values)
    if attribute.reference_types:
        body["referenceTypes"] = list(attribute.reference_types)
    body["mutability"] = attribute.mutability
    body["returned"] = attribute.returned
    if attribute.type not in ("complex", "boolean"):
        body["uniqueness"] = attribute.uniqueness
    return body


def _meta(resource_type: str, location: str) -> dict[str, str]:
    return {"resourceType": resource_type, "location": location}
