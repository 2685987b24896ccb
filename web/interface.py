"""A JSON interface over HTTP: routes made of its operations, and its OpenAPI document."""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from web.openapi import Interface, document
from web.operation import Answer, Operation
from web.surface import REQUEST_SECONDS, Endpoint, Refuse, Surface, at, routed

type Serve = Callable[[Request, Operation], Awaitable[Response]]
"""Answers a request of an operation."""


def interface_surface(
    name: str,
    interface: Interface,
    serve: Serve,
    refuse: Refuse,
    seconds: float = REQUEST_SECONDS,
    *,
    known: str,
    beside: Mapping[str, Endpoint] | None = None,
) -> Surface:
    """The surface of an interface. `known` is the text of a 404 and says what exists; `beside` are
    further paths that answer GET."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in interface.operations:
        by_path.setdefault(interface.path + each.path, {})[each.method] = each
    open_to_all = {interface.document: _document(interface), **(beside or {})}
    # literal paths before those that a parameter would match, too
    ordered = sorted(by_path.items(), key=lambda each: each[0].count("{"))
    routes = [
        *(at(path, endpoint, ("GET",)) for path, endpoint in open_to_all.items()),
        *(at(path, _served(by_method, serve), by_method) for path, by_method in ordered),
    ]
    methods = {path: [*by_method] for path, by_method in by_path.items()}
    methods |= {path: ["GET"] for path in open_to_all}
    return Surface(name, routed(routes, known), methods, refuse, seconds)


def answered(operation: Operation, answer: BaseModel | str | None) -> Response:
    """The result of an operation's handler, as a response."""
    if answer is None:
        return Response(status_code=operation.status)
    if isinstance(answer, str):
        return Response(answer, operation.status, media_type="text/csv")
    etag = answer.etag if isinstance(answer, Answer) else None
    headers = {"ETag": etag} if etag else {}
    content = answer.model_dump_json(by_alias=True)
    return Response(content, operation.status, headers, "application/json")


def _served(by_method: Mapping[str, Operation], serve: Serve) -> Endpoint:
    """The endpoint of a path."""

    async def endpoint(request: Request) -> Response:
        return await serve(
            request, by_method["GET" if request.method == "HEAD" else request.method]
        )

    return endpoint


def _document(interface: Interface) -> Endpoint:
    """The OpenAPI document: the same for everybody, made when it is first asked for."""
    made: list[bytes] = []

    async def endpoint(_: Request) -> Response:
        if not made:
            made.append(orjson.dumps(document(interface)))
        return Response(made[0], media_type="application/json")

    return endpoint
