"""What is read of a request: where it was sent, its body, as far as a surface takes it, and
what the operations of a JSON interface are sent."""

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from web.operation import Operation
from web.problems import Problem, unreadable
from web.trouble import LESS, body_too_large

_LENGTH_DIGITS = 18
"""No body is as long as a number with more."""


async def read_body(request: Request, most: int, hint: str = LESS) -> bytes:
    """The body, of so many bytes at most; one that announces more is not read. Raises Trouble for
    more, with a hint what to do."""
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
    """What the body is said to be, in lower case and without parameters."""
    named, _, _ = request.headers.get("content-type", "").partition(";")
    return named.strip().lower()


async def read_content(request: Request, operation: Operation, most: int) -> bytes:
    """The body that an operation is sent, of so many bytes at most. Raises Problem for what is not
    said to be JSON (or CSV, where it takes a file), Trouble for more."""
    allowed = operation.media_types
    if media_type(request) not in allowed:
        raise Problem(
            operation.other_media_type,
            f"Send the body as {' or '.join(allowed)}, and say so in Content-Type.",
        )
    return await read_body(request, most)


def parsed_query(request: Request, operation: Operation, document: str) -> BaseModel:
    """The query's parameters as the operation has them; `document` is the path of the interface's
    OpenAPI document. Raises Problem."""
    try:
        return operation.query.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise unreadable("query", error, document) from None


def parsed_body(operation: Operation, content: bytes, document: str) -> BaseModel | None:
    """The body as the operation has it; None where it has none. Raises Problem."""
    if operation.body is None:
        return None
    try:
        return operation.body.model_validate_json(content)
    except ValidationError as error:
        raise unreadable("body", error, document) from None
