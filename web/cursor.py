"""Cursors: where a page of a query ended (RFC 9865).

A cursor carries the store's continuation and the total that the first page counted, so that the
cost of a page does not depend on its number. It is signed together with its query and its tenant:
it is invalid for any other, and when it was changed. It is valid as long as the key that signed it.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from directory.store import BadContinuation


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of a page; `total` counts the results of all pages."""

    continuation: str
    total: int

    def write(self, query: str, keys: Sequence[bytes]) -> str:
        """The cursor as URL-safe text for a client; `query` names the tenant and everything that
        was asked. The first key signs."""
        content = [self._signature(query, keys[0]), self.total, self.continuation]
        return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, query: str, keys: Sequence[bytes]) -> "Cursor":
        """The cursor in a text. Raises BadContinuation for a text that was not written for this
        query with one of these keys."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            signature, total, continuation = orjson.loads(base64.urlsafe_b64decode(padded))
            cursor = cls(continuation, total)
            for key in keys:
                if hmac.compare_digest(signature, cursor._signature(query, key)):
                    return cursor
        except (ValueError, TypeError):
            pass
        raise BadContinuation

    def _signature(self, query: str, key: bytes) -> str:
        signed = repr([query, self.total, self.continuation]).encode("utf-8", "surrogatepass")
        return hmac.digest(key, signed, "sha256").hex()[:32]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one list of a JSON interface: its cursors carry no total. `asked` names
    everything in the request that decides what is listed; the first of the `keys` signs."""

    asked: str
    keys: Sequence[bytes]

    def continuation(self, cursor: str | None) -> str | None:
        """The store's continuation in a client's cursor; None for the first page, which an empty
        cursor asks for, too (RFC 9865). Raises BadContinuation for a cursor of another list."""
        return Cursor.read(cursor, self.asked, self.keys).continuation if cursor else None

    def cursor(self, continuation: str | None) -> str | None:
        """The cursor of the next page; None after the last one."""
        return Cursor(continuation, 0).write(self.asked, self.keys) if continuation else None
