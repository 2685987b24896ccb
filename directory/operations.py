"""Operations, checked by every store against Cosmos DB's rules before they are sent
(https://learn.microsoft.com/azure/cosmos-db/concepts-limits)."""

import re
from typing import Any

import orjson

from directory.store import DOCUMENT_BYTES, Assign, Document, Increment, TooLarge, Unset, Update

ID_BYTES = 1023
UPDATE_CHANGES = 10

_FORBIDDEN = re.compile(r"[/\\?#\x00-\x1f]|^\.\.?$")
"""What Cosmos DB forbids in an id, and what a URL cannot carry."""
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def is_document_id(text: str) -> bool:
    """Whether a document can have this id."""
    if not text or _FORBIDDEN.search(text):
        return False
    try:
        return len(text.encode()) <= ID_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def to_json(value: Any) -> bytes:
    """JSON in UTF-8. Raises ValueError for values that JSON cannot hold: types other than dict,
    list, str, int (64 bits), float, bool and None, keys that are not strings, half surrogate
    pairs."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"Not JSON: {error}") from error


def document_to_json(tenant_id: str, document: Document) -> bytes:
    """The document as JSON. Raises ValueError for an invalid document or one of another tenant,
    TooLarge."""
    id, type, ttl = document.get("id"), document.get("type"), document.get("ttl")
    if not isinstance(id, str) or not is_document_id(id):
        raise ValueError(f"An id has 1 to {ID_BYTES} bytes and none of / \\ ? #, not {id!r}.")
    if document.get("tenantId") != tenant_id:
        raise ValueError(f"{id}: tenantId is not that of the batch.")
    if not isinstance(type, str):
        raise ValueError(f"{id}: type must be a string.")
    if ttl is not None and not _is_ttl(ttl):
        raise ValueError(f"{id}: ttl must be a positive whole number of seconds, or -1.")
    body = to_json(document)
    if len(body) > DOCUMENT_BYTES:
        raise TooLarge(f"{id} has {len(body)} bytes; at most {DOCUMENT_BYTES} are stored.")
    return body


def update_to_json(update: Update) -> bytes:
    """The values that the update assigns, one per change (null for a change that assigns none).
    Raises ValueError for an update that no document can take."""
    if not 1 <= len(update.changes) <= UPDATE_CHANGES:
        raise ValueError(f"{update.id}: an update has 1 to {UPDATE_CHANGES} changes.")
    for change in update.changes:
        if not change.path or change.path[0] in ("id", "tenantId"):
            raise ValueError(f"{update.id}: {'.'.join(change.path)!r} cannot be changed.")
        match change:
            case Assign(("type",), value) if not isinstance(value, str):
                raise ValueError(f"{update.id}: type must be a string.")
            case Assign(("ttl",), value) if not _is_ttl(value):
                raise ValueError(f"{update.id}: ttl must be a positive whole number, or -1.")
            case Unset(("type",)) | Increment(("type",) | ("ttl",)):
                raise ValueError(f"{update.id}: {change.path[0]} can only be assigned.")
    return to_json([c.value if isinstance(c, Assign) else None for c in update.changes])


def _is_ttl(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value > 0 or value == -1)
