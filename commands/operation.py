"""Runs the operations of the operators' interface for commands: on the server that `--url` names,
or else in this process, on the store. So a command does, refuses and answers the same both ways."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

import wiring
from administration.errors import AdministrationError
from administration.events import OPERATOR
from commands.output import Server, on_store, reported, server
from operators.call import PATH, Call
from operators.http import DOCUMENT, OPERATIONS
from trust.signing import SigningKeys
from web.cursor import Pages
from web.operation import Fault, Handler, Operation, ProblemDetails
from web.problems import Problem
from web.reading import parsed_body

SECONDS = 100.0
"""Timeout of a request: longer than the server's own limit."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation with its parameters and body."""

    operation: Operation
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    content: bytes
    origin: str


def ask(
    handler: Handler,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    *,
    content: bytes = b"",
    origin: str = "",
) -> Any:
    """The answer of this handler's operation, as JSON. `body` is JSON; `content` is a file's
    instead. `origin` (such as `https://scim.example.com`) is what clients see, if this process
    works on the store. A refusal ends the command and says why."""
    operation = _operation(handler, path or {})
    asked = _Asked(operation, path or {}, query or {}, body or {}, content, origin)
    if (known := server()) is not None:
        return reported(lambda: _there(known, asked))
    return on_store(lambda application: _here(application, asked))


def every_row(handler: Handler, rows: str) -> Iterator[Any]:
    """All rows of a list with cursors."""
    query: dict[str, Any] = {"limit": 1000}
    while True:
        page = ask(handler, query=query)
        yield from page[rows]
        if page["nextCursor"] is None:
            return
        query["cursor"] = page["nextCursor"]


def _operation(handler: Handler, path: Mapping[str, str]) -> Operation:
    """The handler's operation whose path has these parameters."""
    for each in OPERATIONS:
        if each.handler is handler and {*re.findall(r"\{(\w+)\}", each.path)} == path.keys():
            return each
    raise LookupError(handler.__name__)


async def _here(application: wiring.Application, asked: _Asked) -> Any:
    operation, keys = asked.operation, SigningKeys(application.store, wiring.utc_now)
    try:
        body = parsed_body(operation, json.dumps(asked.body).encode(), DOCUMENT)
    except Problem as problem:
        raise AdministrationError(_told(problem.detail, problem.faults)) from None
    call: Call[Any, Any] = Call(
        deployment=application.deployment,
        actor=OPERATOR,
        origin=asked.origin or application.settings.public_url,
        path=asked.path,
        query=operation.query.model_validate(asked.query),
        body=body,
        content=asked.content,
        if_match="",
        pages=Pages(
            repr([operation.name, sorted(asked.path.items())]), await keys.keys("operator")
        ),
    )
    answer = await operation.handler(call)
    return None if answer is None else answer.model_dump(mode="json", by_alias=True)


def _there(known: Server, asked: _Asked) -> Any:
    """Raises AdministrationError."""
    operation = asked.operation
    content = asked.content if operation.file else json.dumps(asked.body).encode()
    headers = {"Authorization": f"Bearer {known.credential}"}
    if operation.body or operation.file:
        headers["Content-Type"] = "application/json"
    named = {name: quote(value, safe="") for name, value in asked.path.items()}
    url = known.url + PATH + operation.path.format(**named)
    try:
        answer = httpx.request(
            operation.method,
            url,
            params=dict(asked.query),
            content=content if "Content-Type" in headers else b"",
            headers=headers,
            timeout=SECONDS,
        )
        told = answer.json() if answer.content else None
        if answer.is_success:
            return told
        problem = ProblemDetails.model_validate(told)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise AdministrationError(
            f"{known.url} did not answer as Muster does ({type(error).__name__})."
        ) from None
    raise AdministrationError(_told(problem.detail, problem.errors or ()))


def _told(detail: str, faults: Sequence[Fault]) -> str:
    return " ".join([detail, *(f"{one.pointer}: {one.detail}." for one in faults)])
