"""The OpenAPI document (3.1), made of the operations and of their models' JSON schemas."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from web.operation import CSV, JSON, Operation, ProblemDetails
from web.problems import MEDIA_TYPE

REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Interface:
    """A JSON interface: what its document says of all operations."""

    title: str
    description: str
    path: str
    """The prefix of every operation's path."""
    token: str
    """Which bearer token to send."""
    operations: Sequence[Operation]
    refuses: bool = False
    """Whether a well-formed request can be refused because of its effect (422)."""

    @property
    def document(self) -> str:
        """The path of its OpenAPI document."""
        return f"{self.path}/openapi.json"


def document(interface: Interface) -> dict[str, Any]:
    """The whole document."""
    operations = interface.operations
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (ProblemDetails, "serialization"): None
    }
    for each in operations:
        if each.answer and issubclass(each.answer, BaseModel):
            models[each.answer, "serialization"] = None
        if sent := each.body or each.file:
            models[sent, "validation"] = None
    references, definitions = models_json_schema(list(models), ref_template=REFERENCE)
    described: dict[Any, Any] = dict(references)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        described_operation = _operation(each, described, _statuses(each, interface.refuses))
        paths.setdefault(each.path, {})[each.method.lower()] = described_operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": interface.title,
            "version": "1",
            "description": interface.description,
        },
        "servers": [{"url": interface.path}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(each.subject for each in operations)],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": interface.token,
                }
            },
            "responses": {
                "Problem": {
                    "description": "What is wrong, and what to do",
                    "content": {MEDIA_TYPE: {"schema": described[ProblemDetails, "serialization"]}},
                }
            },
        },
    }


def _operation(each: Operation, schemas: dict[Any, Any], statuses: Iterable[int]) -> dict[str, Any]:
    summary, _, _ = each.description.partition(". ")
    found: dict[str, Any] = {
        "operationId": each.name,
        "summary": summary.removesuffix("."),
        "description": each.description,
        "tags": [each.subject],
        "parameters": [*_in_path(each), *_in_query(each), *_in_headers(each)],
        "responses": {**_successes(each, schemas), **_problems(statuses)},
    }
    if each.body:
        content: dict[str, Any] = {"application/json": {"schema": schemas[each.body, "validation"]}}
        found["requestBody"] = {"required": True, "content": content}
    elif each.file:
        described = {JSON: schemas[each.file, "validation"], CSV: {"type": "string"}}
        content = {name: {"schema": described[name]} for name in each.media_types}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _in_path(each: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", each.path)
    ]


def _in_query(each: Operation) -> list[dict[str, Any]]:
    schema = each.query.model_json_schema(mode="validation")
    required = schema.get("required", ())
    found = []
    for name, one in schema.get("properties", {}).items():
        described = {"description": one.pop("description")} if "description" in one else {}
        given = {"name": name, "in": "query", "required": name in required}
        inlined = _inlined(_without_null(one), schema.get("$defs", {}))
        found.append({**given, **described, "schema": inlined})
    return found


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema, with references to its model's definitions resolved."""
    name = schema.pop("$ref", "").removeprefix("#/$defs/")
    return {**schema, **definitions.get(name, {})}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is never null."""
    if schema.get("default", "") is None:
        del schema["default"]
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        del schema["anyOf"]
        return {**schema, **options[0]}
    return schema


def _in_headers(each: Operation) -> list[dict[str, Any]]:
    told = {
        "If-Match": (each.conditional, "The ETag that was read; 412 if it has changed since."),
        "If-None-Match": (
            each.cached,
            "ETags that the client has; 304 if the present one is among them.",
        ),
    }
    return [
        {"name": name, "in": "header", "description": what, "schema": {"type": "string"}}
        for name, (counts, what) in told.items()
        if counts
    ]


def _successes(each: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    unchanged = {"304": {"description": HTTPStatus.NOT_MODIFIED.phrase}} if each.cached else {}
    return {str(each.status): _success(each, schemas), **unchanged}


def _success(each: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(each.status).phrase}
    if each.answer is str:
        answer["content"] = {"text/csv": {"schema": {"type": "string"}}}
    elif each.answer:
        content = {"schema": schemas[each.answer, "serialization"]}
        answer["content"] = {"application/json": content}
    return answer


def _statuses(each: Operation, refuses: bool) -> Iterable[int]:
    """The statuses of errors."""
    yield from (400, 401, 403, 429, 503, *each.refusals)
    if "{" in each.path:
        yield 404
    if refuses and each.method != "GET":
        yield 422
    if each.body or each.file:
        yield from (413, each.other_media_type)
    if each.conditional:
        yield from (409, 412, 428)


def _problems(statuses: Iterable[int]) -> dict[str, Any]:
    return {str(one): {"$ref": "#/components/responses/Problem"} for one in sorted({*statuses})}
