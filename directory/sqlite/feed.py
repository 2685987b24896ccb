"""The feed on SQLite: a table that numbers the changes of access as they are written.

SQLite has one writer at a time, so the order of the numbers is the order of the commits.
AUTOINCREMENT never reuses a number, even after the last changes expired.
"""

# ruff: noqa: S608 - composes SQL of constants

from collections.abc import Sequence
from typing import Any

from directory.access import AccessChange
from directory.sqlite.json_text import stored_text
from directory.sqlite.select import Row, Select, whole
from directory.store import LATEST, BadPosition, Changes, LostPosition

FED = AccessChange.document_type
"""The type of the documents that are in the feed."""
TABLES = f"""
CREATE TABLE feed (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL UNIQUE,
    tenant TEXT NOT NULL
) STRICT;
CREATE INDEX feed_tenant ON feed (tenant, position);
INSERT INTO feed (document, tenant)
SELECT number, tenant FROM documents WHERE type = '{FED}' ORDER BY number
"""
ADD = "INSERT INTO feed (document, tenant) VALUES (?, ?)"
REMOVE = "DELETE FROM feed WHERE document = ?"

# One statement, so that the changes and the end of the feed are read at the same moment.
_SELECT = """
SELECT ended.at, page.position, page.id, page.etag, page.body
FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'feed'), 0) AS at) ended
LEFT JOIN (
    SELECT feed.position, documents.id, documents.etag, documents.body
    FROM feed JOIN documents ON documents.number = feed.document
    WHERE {tenant}feed.position > ?1 AND documents.expires > ?2
    ORDER BY feed.position LIMIT ?3
) page
ORDER BY page.position
"""


def select_changes(tenant_id: str | None, after: str | None, limit: int, now: float) -> Select:
    """The statement that reads `limit` changes and one more, and the end of the feed; over all
    tenants without `tenant_id`. Raises BadPosition."""
    rows = 0 if after == LATEST else limit + 1
    parameters: list[Any] = [_number(after), now, rows]
    if tenant_id is None:
        return Select(_SELECT.format(tenant=""), parameters)
    return Select(
        _SELECT.format(tenant="feed.tenant = ?4 AND "), [*parameters, stored_text(tenant_id)]
    )


def to_changes(after: str | None, limit: int, rows: Sequence[Row]) -> Changes:
    """The answer from the rows of `select_changes`. Raises LostPosition."""
    ended = rows[0][0]
    if _number(after) > ended:
        raise LostPosition
    found = [row[1:] for row in rows if row[1] is not None]
    items = tuple(whole(*row[1:]) for row in found[:limit])
    if len(found) > limit > 0:
        return Changes(items, str(found[limit - 1][0]), more=True)
    return Changes(items, str(ended))


def _number(after: str | None) -> int:
    if after is None or after == LATEST:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise BadPosition
    return int(after)
