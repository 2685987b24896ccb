"""The bodies that show a resource, and a list of resources."""

from collections.abc import Mapping, Sequence
from typing import Any

from scim.protocol.etags import weak
from scim.protocol.schema import ResourceType

LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


def render(
    resource_type: ResourceType, document: Mapping[str, Any], etag: str, location: str
) -> dict[str, Any]:
    """A stored user or group as a client sees it, with `meta` (RFC 7643 section 3.1).

    `document` has `resource`, `created` and `modified`; `location` is the resource's URL. The
    parts are shared with the document, not copied.
    """
    resource = document["resource"]
    return {
        "schemas": resource["schemas"],
        "id": resource["id"],
        **resource_type.defaults,  # for resources stored before defaults were
        **resource,
        "meta": {
            "resourceType": resource_type.name,
            "created": document["created"],
            "lastModified": document["modified"],
            "location": location,
            "version": weak(etag),
        },
    }


def list_response(
    resources: Sequence[Mapping[str, Any]], total: int, start_index: int | None = 1
) -> dict[str, Any]:
    """A page of a list (RFC 7644 section 3.4.2). `total` counts the resources of all pages;
    `start_index` is the index of the first resource here, from 1, and None where the client pages
    by cursor. Entra ID wants `Resources` even where it is empty."""
    start = {} if start_index is None else {"startIndex": start_index}
    return {
        "schemas": [LIST_RESPONSE],
        "totalResults": total,
        **start,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }
