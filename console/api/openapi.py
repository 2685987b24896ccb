"""The OpenAPI document (3.1), made of the operations and of their models' JSON schemas."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from console.api.models import Answer, ProblemDetails
from console.api.operation import PATH, Operation
from console.api.problems import MEDIA_TYPE

REFERENCE = "#/components/schemas/{model}"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (ProblemDetails, "serialization"): None
    }
    for each in operations:
        if each.answer and issubclass(each.answer, Answer):
            models[each.answer, "serialization"] = None
        if sent := each.body or each.file:
            models[sent, "validation"] = None
    references, definitions = models_json_schema(list(models), ref_template=REFERENCE)
    described: dict[Any, Any] = dict(references)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster, the console's API",
            "version": "1",
            "description": "What the console does, for programs. Errors are problem details.",
        },
        "servers": [{"url": PATH}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(each.subject for each in operations)],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of kind `console`, of one organisation.",
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


def _operation(each: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    summary, _, _ = each.description.partition(". ")
    found: dict[str, Any] = {
        "operationId": each.name,
        "summary": summary.removesuffix("."),
        "description": each.description,
        "tags": [each.subject],
        "parameters": [*_in_path(each), *_in_query(each), *_in_headers(each)],
        "responses": {str(each.status): _success(each, schemas), **_problems(_statuses(each))},
    }
    if each.body:
        content: dict[str, Any] = {"application/json": {"schema": schemas[each.body, "validation"]}}
        found["requestBody"] = {"required": True, "content": content}
    elif each.file:
        content = {
            "application/json": {"schema": schemas[each.file, "validation"]},
            "text/csv": {"schema": {"type": "string"}},
        }
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
    """A parameter's schema without references to definitions of its model's own."""
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
    if not each.conditional:
        return []
    what = "The ETag that was read; 412 where it is another by now."
    return [{"name": "If-Match", "in": "header", "description": what, "schema": {"type": "string"}}]


def _success(each: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(each.status).phrase}
    if each.answer is str:
        answer["content"] = {"text/csv": {"schema": {"type": "string"}}}
    elif each.answer:
        content = {"schema": schemas[each.answer, "serialization"]}
        answer["content"] = {"application/json": content}
    return answer


def _statuses(each: Operation) -> Iterable[int]:
    """What can go wrong."""
    yield from (400, 401, 403, 429, 503)
    if "{" in each.path:
        yield 404
    if each.method != "GET":
        yield 422
    if each.body or each.file:
        yield from (413, 415)
    if each.conditional:
        yield from (409, 412, 428)


def _problems(statuses: Iterable[int]) -> dict[str, Any]:
    return {str(one): {"$ref": "#/components/responses/Problem"} for one in sorted(statuses)}
