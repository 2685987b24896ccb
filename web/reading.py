"""Reading a request: its origin, its body within limits, and the parameters and bodies of JSON
interfaces."""

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from web.operation import Operation
from web.problems import Problem, unreadable
from web.trouble import LESS, body_too_large

_LENGTH_DIGITS = 18
"""A Content-Length with more digits is too large in any case."""


async def read_body(request: Request, most: int, hint: str = LESS) -> bytes:
    """The body, `most` bytes at most; a body whose Content-Length is larger is not read. Raises
    Trouble for more, with the hint what to do."""
    length = request.headers.get("content-length", "")
    announced = length.isascii() and length.isdigit()
    if announced and (len(length) > _LENGTH_DIGITS or int(length) > most):
        raise body_too_large(most, hint)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise body_too_large(most, hint)
    return bytes(body)


def origin_of(request: Request, public_url: str) -> str:
    """Scheme and host that clients see: the deployment's public URL, or else the request's."""
    return public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"


def media_type(request: Request) -> str:
    """The media type in Content-Type, in lower case and without parameters, such as
    `application/json`."""
    named, _, _ = request.headers.get("content-type", "").partition(";")
    return named.strip().lower()


async def read_content(request: Request, operation: Operation, most: int) -> bytes:
    """The body for an operation, `most` bytes at most. Raises Problem where Content-Type is not
    JSON (or CSV, where it takes a file), Trouble for more bytes."""
    allowed = operation.media_types
    if media_type(request) not in allowed:
        raise Problem(
            operation.other_media_type,
            f"Send the body as {' or '.join(allowed)}, and say so in Content-Type.",
        )
    return await read_body(request, most)


def parsed_query(request: Request, operation: Operation, document: str) -> BaseModel:
    """The query's parameters in the operation's model; `document` is the path of the interface's
    OpenAPI document. Raises Problem."""
    try:
        return operation.query.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise unreadable("query", error, document) from None


def parsed_body(operation: Operation, content: bytes, document: str) -> BaseModel | None:
    """The body in the operation's model; None where the operation has no body. Raises Problem."""
    if operation.body is None:
        return None
    try:
        return operation.body.model_validate_json(content)
    except ValidationError as error:
        raise unreadable("body", error, document) from None
