"""Cursors: where a page of a query ended (RFC 9865).

A cursor carries the store's continuation and the total that the first page counted, so that the
cost of a page does not depend on its number. It belongs to one query of one tenant: anywhere else
it is invalid. Cursors do not expire.
"""

import base64
import hashlib
from dataclasses import dataclass

import orjson

from scim.errors import InvalidCursor


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of a page; `total` counts the results of all pages."""

    continuation: str
    total: int

    def write(self, query: str) -> str:
        """URL-safe text for a client; `query` names the tenant and everything that was asked."""
        content = [_digest(query), self.total, self.continuation]
        return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, query: str) -> "Cursor":
        """Raises InvalidCursor for what was not written for this query."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            digest, total, continuation = orjson.loads(base64.urlsafe_b64decode(padded))
        except (ValueError, TypeError):
            raise invalid() from None
        expected = isinstance(continuation, str) and type(total) is int and total >= 0
        if not expected or digest != _digest(query):
            raise invalid()
        return cls(continuation, total)


def invalid() -> InvalidCursor:
    """The error for a cursor that cannot be used."""
    return InvalidCursor(
        "The cursor is not one of this query's. Begin with an empty cursor, then send the "
        "nextCursor of each answer, and leave every other parameter as it was (RFC 9865 section 2)."
    )


def _digest(query: str) -> str:
    return hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:32]
