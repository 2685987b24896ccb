"""Turns any exception of a use case into the SCIM error that the client gets."""

from collections.abc import Mapping

from directory.store import Throttled, Unavailable
from scim.exchange import Answer
from scim.protocol.errors import ScimError, error_body
from web.trouble import Kind, Trouble, trouble_of

SCIM_TYPES: Mapping[Kind, str] = {"syntax": "invalidSyntax", "cursor": "invalidCursor"}
"""Kind of trouble → `scimType` of RFC 7644 section 3.12 and RFC 9865 section 2.1."""


def failed(error: Exception, request_id: str = "") -> Answer:
    """The SCIM error for any exception; `request_id` identifies the request, or the bulk operation
    in it."""
    if isinstance(error, ScimError):
        return Answer(error.status, error.body(), error.headers)
    found = trouble_of(error, request_id)
    body = error_body(found.status, found.detail, SCIM_TYPES.get(found.kind))
    return Answer(found.status, body, found.headers)


def unfinished(error: Throttled | Unavailable) -> Trouble:
    """The answer where a change too large for one batch was committed, and the store failed before
    all of it was written."""
    found = trouble_of(error)
    return Trouble(
        found.status,
        "The change is accepted and partly written, and Muster finishes it by itself: the "
        "directory was too busy to do so within this request. To repeat it does no harm.",
        found.headers,
    )
