"""/ServiceProviderConfig, /ResourceTypes and /Schemas as use cases (RFC 7644 section 4)."""

from collections.abc import Mapping
from typing import Any

from directory.reasons import REQUIRED
from scim.bulk.message import MAXIMUM_OPERATIONS
from scim.exchange import BODY_BYTES, Answer, Request
from scim.protocol import discovery
from scim.protocol.errors import Forbidden
from scim.protocol.schema import ResourceType
from scim.selection import PAGE_DEFAULT, PAGE_LIMIT

OFFER = discovery.Offer(
    default_page_size=PAGE_DEFAULT,
    max_page_size=PAGE_LIMIT,
    bulk=True,
    bulk_max_operations=MAXIMUM_OPERATIONS,
    bulk_max_payload_size=BODY_BYTES,
)


class ServiceProvider:
    """Service discovery; a filter on it is refused, as RFC 7644 section 4 asks."""

    def __init__(self, resource_types: Mapping[str, ResourceType]) -> None:
        self._resource_types = resource_types

    def configuration(self, base_url: str, parameters: Mapping[str, str]) -> Answer:
        """/ServiceProviderConfig, the same for every tenant."""
        return _answer(parameters, discovery.service_provider_config(OFFER, base_url))

    async def all_resource_types(self, request: Request, _: Mapping[str, str]) -> Answer:
        """/ResourceTypes."""
        body = discovery.resource_types_list(self._resource_types, request.base_url)
        return _answer(request.parameters, body)

    async def one_resource_type(self, request: Request, at: Mapping[str, str]) -> Answer:
        """/ResourceTypes/{name}."""
        body = discovery.resource_type_named(self._resource_types, at["name"], request.base_url)
        return _answer(request.parameters, body)

    async def all_schemas(self, request: Request, _: Mapping[str, str]) -> Answer:
        """/Schemas."""
        body = discovery.schemas_for(self._resource_types, _required(request), request.base_url)
        return _answer(request.parameters, body)

    async def one_schema(self, request: Request, at: Mapping[str, str]) -> Answer:
        """/Schemas/{urn}."""
        body = discovery.schema_with_urn(
            self._resource_types, _required(request), request.base_url, at["urn"]
        )
        return _answer(request.parameters, body)


def _required(request: Request) -> list[tuple[str, ...]]:
    """The user attributes that this tenant requires beyond the schema."""
    if request.tenant.policy.accept_incomplete_users:
        return []
    return [required.path for required in REQUIRED.values()]


def _answer(parameters: Mapping[str, str], body: dict[str, Any]) -> Answer:
    if "filter" in parameters:
        raise Forbidden(
            "This endpoint cannot be filtered (RFC 7644 section 4); ask without `filter`."
        )
    return Answer(200, body)
