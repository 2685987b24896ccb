"""From refused requests to the refusals that administrators see: about whom, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directory.refusals import Refusal
from scim.exchange import Answer
from trust.caller import Caller

TEXT = 250
"""Characters that are kept of each name of a user or group in a request."""
DETAIL = 1_000
"""Characters that are kept of an answer's detail."""
_ABSENT = 404


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of an authenticated caller, as far as it could be read.

    `operation` is the method and the path's pattern, such as `PATCH /Users/{id}`; `resource_id` is
    the id in the path; `body` is parsed JSON, None without a body; `filter` is the query's.
    """

    caller: Caller
    request_id: str
    operation: str
    resource_id: str | None = None
    body: Any = None
    filter: str = ""


def refusals_of(asked: Asked, answer: Answer, at: datetime) -> Iterator[Refusal]:
    """The refusals in an answer: of the whole request, of operations in a bulk request, or none. A
    404 for a read does not count: to look for a missing resource is no mistake."""
    if answer.status >= 400:
        if not (answer.status == _ABSENT and asked.operation.startswith(("GET ", "HEAD "))):
            yield _refusal(asked, answer.status, answer.body or {}, at)
    elif asked.operation == "POST /Bulk":
        results = (answer.body or {}).get("Operations", [])
        sent = member(asked.body, "operations") or []
        for position, result in enumerate(results):
            if int(result["status"]) < 400:
                continue
            # Where the request ended early, positions do not match: which was sent is unknown.
            one = sent[position] if len(sent) == len(results) else None
            part = _operation_of(asked, result, one)
            yield _refusal(part, int(result["status"]), result.get("response") or {}, at)


def _refusal(asked: Asked, status: int, error: Mapping[str, Any], at: datetime) -> Refusal:
    external_id, user_name, display_name = (
        _text(member(asked.body, name)) for name in ("externalid", "username", "displayname")
    )
    return Refusal(
        tenant_id=asked.caller.tenant.tenant_id,
        connection_id=asked.caller.connection_id,
        operation=asked.operation,
        resource_id=_text(asked.resource_id),
        external_id=external_id,
        user_name=user_name,
        display_name=display_name,
        status=status,
        scim_type=error.get("scimType"),
        detail=str(error.get("detail", ""))[:DETAIL],
        first_at=at,
        last_at=at,
        request_id=asked.request_id,
    )


def _operation_of(bulk: Asked, result: Mapping[str, Any], sent: Any) -> Asked:
    """An operation of a bulk request in the form of a single request."""
    path = _text(member(sent, "path")) or ""
    _, endpoint, id = [*path.split("/", 2), "", ""][:3]
    pattern = f"/{endpoint}" if endpoint in ("Users", "Groups") else "/Bulk"
    known = id and not id.startswith("bulkId:")
    return Asked(
        bulk.caller,
        bulk.request_id,
        f"{result['method']} {pattern}{'/{id}' if id else ''}",
        id if known else None,
        member(sent, "data"),
    )


def member(body: Any, name: str) -> Any:
    """A member of an object, by its name in lower case; the object may write it in any case (RFC
    7643 section 2.1)."""
    if not isinstance(body, Mapping):
        return None
    return next((value for key, value in body.items() if key.casefold() == name), None)


def _text(value: Any) -> str | None:
    return value[:TEXT] if isinstance(value, str) and value else None
