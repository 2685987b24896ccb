"""What a JSON interface's OpenAPI document promises, and what it answers (schemathesis)."""

from typing import Any

import httpx
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from web.openapi import Interface, document

KEPT = [
    checks.content_type_conformance,
    checks.negative_data_rejection,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.status_code_conformance,
]

# A refusal of what is too long, before it is read; the interfaces document it.
CONFIG = SchemathesisConfig()
REJECTION = CONFIG.projects.default.checks.negative_data_rejection
REJECTION.expected_statuses = [*REJECTION.expected_statuses, "413"]


def operations_of(interface: Interface) -> dict[str, Any]:
    """By operationId. The client proves itself; what is to be made up is everything else."""
    schema = schemathesis.openapi.from_dict({**document(interface), "security": []}, config=CONFIG)
    results: list[Any] = list(schema.get_all_operations())
    found = [each.ok() for each in results]
    return {each.definition.raw["operationId"]: each for each in found}


async def kept(client: httpx.AsyncClient, case: Any, base: str) -> None:
    """Send a request that was made up, to the interface at this path; its answer is as promised."""
    request = case.as_transport_kwargs(base_url=f"http://muster.test{base}")
    request.pop("cookies")
    if isinstance(request.get("data"), bytes | str):
        request["content"] = request.pop("data")
    answer = await client.request(**request)
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=KEPT)
