"""Transactional batches in SQLite: checked first, on the caller's side, then executed."""

# ruff: noqa: S608 - composes SQL of constants

import math
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import orjson

from directory.changes import apply_changes
from directory.indexing import ELEMENT_INDEXES
from directory.operations import document_to_json, update_to_json
from directory.sqlite import feed
from directory.sqlite.indexing import (
    INDEXED_COLUMNS,
    REMOVE_ELEMENTS,
    IndexColumns,
    add_elements,
    index_columns,
)
from directory.sqlite.json_text import load, original_text, stored_body, stored_text
from directory.store import (
    BATCH_BYTES,
    BATCH_OPERATIONS,
    Assign,
    Conflict,
    Create,
    Delete,
    Document,
    NotFound,
    Operation,
    PreconditionFailed,
    Replace,
    Require,
    TooLarge,
    Update,
    Upsert,
)

_COLUMNS = ("type", "body", "expires", "etag", *INDEXED_COLUMNS)
_AT = {column: f"?{number}" for number, column in enumerate(_COLUMNS, 3)}
"""Column → the placeholder of its value."""
_PLACEHOLDERS = ", ".join(_AT.values())
_EXPECTED = f"""
tenant = ?1 AND id = ?2 AND expires > ?{len(_COLUMNS) + 3}
    AND etag = ifnull(?{len(_COLUMNS) + 4}, etag)
"""
_CREATE = f"""
INSERT INTO documents (tenant, id, {", ".join(_COLUMNS)}) VALUES (?1, ?2, {_PLACEHOLDERS})
ON CONFLICT (tenant, id) DO NOTHING
"""
_REPLACE = f"""
UPDATE documents SET ({", ".join(_COLUMNS)}) = ({_PLACEHOLDERS}) WHERE {_EXPECTED}
"""
_REWRITE = f"""
UPDATE documents SET body = {_AT["body"]}, etag = {_AT["etag"]} WHERE {_EXPECTED}
    AND type = {_AT["type"]} AND expires = {_AT["expires"]}
    AND ({", ".join(INDEXED_COLUMNS)}) IS ({", ".join(_AT[column] for column in INDEXED_COLUMNS)})
"""
"""_REPLACE where no index changes, as in most changes of a document. SQLite writes every index on a
column that is assigned, even if its value stays."""
_DELETE = """
DELETE FROM documents
WHERE tenant = ?1 AND id = ?2 AND expires > ?3 AND etag = ifnull(?4, etag)
RETURNING number, type
"""
_DELETE_EXPIRED = """
DELETE FROM documents WHERE tenant = ?1 AND id = ?2 AND expires <= ?3
RETURNING number, type
"""
_PURGE = """
DELETE FROM documents WHERE number IN (
    SELECT number FROM documents WHERE expires < 9e999 AND expires <= ? LIMIT 1000
)
RETURNING number, type
"""
_NUMBER = "SELECT number FROM documents WHERE tenant = ? AND id = ?"
_REMOVE_FORMER_ELEMENTS = f"""
DELETE FROM elements WHERE document = ({_NUMBER} AND element_values IS NOT NULL)
"""
_EXISTS = "SELECT 1 FROM documents WHERE tenant = ? AND id = ? AND expires > ?"
_READ = """
SELECT body, etag, element_values IS NOT NULL FROM documents
WHERE tenant = ? AND id = ? AND expires > ?
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A document as columns; `ttl` in seconds, infinite where it never expires."""

    tenant: str
    id: str
    type: str
    body: bytes
    ttl: float
    indexed: IndexColumns

    @classmethod
    def of(cls, tenant_id: str, document: Document) -> "Row":
        """Raises ValueError for an invalid document or one of another tenant, TooLarge."""
        body = stored_body(document_to_json(tenant_id, document))
        ttl = document.get("ttl")
        lifetime = math.inf if ttl is None or ttl == -1 else float(ttl)
        id, type = stored_text(document["id"]), stored_text(document["type"])
        return cls(stored_text(tenant_id), id, type, body, lifetime, index_columns(document))

    def columns(self, now: float, etag: str) -> tuple[str | float | bytes | None, ...]:
        """Parameters of `_CREATE`; those of `_REPLACE` begin with the same."""
        expires = now + self.ttl
        body = self.body.decode()
        return self.tenant, self.id, self.type, body, expires, etag, *self.indexed


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations that were checked; each with its row where it writes a whole document. `size` is
    in bytes of documents and assigned values."""

    tenant_id: str
    steps: tuple[tuple[Operation, Row | None], ...]
    size: int

    @classmethod
    def of(cls, tenant_id: str, operations: Sequence[Operation]) -> "Batch":
        """Copies everything that the caller may change later. Raises ValueError, TooLarge."""
        if len(operations) > BATCH_OPERATIONS:
            raise TooLarge(
                f"A batch of {len(operations)} operations; at most {BATCH_OPERATIONS} are taken."
            )
        steps: list[tuple[Operation, Row | None]] = []
        size = 0
        for operation in operations:
            match operation:
                case Create(document) | Replace(document) | Upsert(document):
                    row = Row.of(tenant_id, document)
                    size += len(row.body)
                    steps.append((operation, row))
                case Update():
                    update, length = _checked(operation)
                    size += length
                    steps.append((update, None))
                case Delete() | Require():
                    steps.append((operation, None))
        if size > BATCH_BYTES:
            raise TooLarge(f"A batch of {size} bytes; at most {BATCH_BYTES} are taken.")
        return cls(tenant_id, tuple(steps), size)


def execute(connection: sqlite3.Connection, batch: Batch, now: float) -> list[str | None]:
    """Write the batch inside the transaction that is open; returns an ETag per operation. Raises
    NotFound, Conflict, PreconditionFailed, ValueError, TooLarge; the caller then rolls back."""
    version = secrets.token_hex(8)
    etags: list[str | None] = []
    for index, (operation, row) in enumerate(batch.steps):
        etag = f"{version}-{index}"
        match operation:
            case Create() if row is not None:
                _create(connection, row, now, etag)
            case Upsert() if row is not None:
                if not _replaced(connection, row, now, etag, None):
                    _create(connection, row, now, etag)
            case Replace(document, expected) if row is not None:
                if not _replaced(connection, row, now, etag, expected):
                    raise _reason(connection, batch.tenant_id, document["id"], now)
            case Update():
                _update(connection, batch.tenant_id, operation, now, etag)
            case Delete(id, expected):
                key = (stored_text(batch.tenant_id), stored_text(id), now, expected)
                if not _removed(connection, _DELETE, key):
                    raise _reason(connection, batch.tenant_id, id, now)
            case Require(id):
                required = (stored_text(batch.tenant_id), stored_text(id), now)
                if connection.execute(_EXISTS, required).fetchone() is None:
                    raise NotFound(id)
        etags.append(None if isinstance(operation, Delete | Require) else etag)
    return etags


def purge(connection: sqlite3.Connection, now: float) -> None:
    """Remove some of what has expired."""
    _removed(connection, _PURGE, (now,))


def _create(connection: sqlite3.Connection, row: Row, now: float, etag: str) -> None:
    """Raises Conflict where there is a document with this id."""
    columns = row.columns(now, etag)
    created = connection.execute(_CREATE, columns)
    if not created.rowcount:
        if not _removed(connection, _DELETE_EXPIRED, (row.tenant, row.id, now)):
            raise Conflict(original_text(row.id))
        created = connection.execute(_CREATE, columns)
    number = cast("int", created.lastrowid)
    add_elements(connection, number, row.tenant, row.indexed)
    if row.type == feed.FED:
        connection.execute(feed.ADD, (number, row.tenant))


def _removed(
    connection: sqlite3.Connection, delete: str, parameters: tuple[str | float | None, ...]
) -> bool:
    """Delete documents, by a statement that returns number and type of each; whether it did."""
    gone = connection.execute(delete, parameters).fetchall()
    for number, type in gone:
        if type in ELEMENT_INDEXES:
            connection.execute(REMOVE_ELEMENTS, (number,))
        if type == feed.FED:
            connection.execute(feed.REMOVE, (number,))
    return bool(gone)


def _update(
    connection: sqlite3.Connection, tenant_id: str, update: Update, now: float, etag: str
) -> None:
    key = (stored_text(tenant_id), stored_text(update.id), now)
    found = connection.execute(_READ, key).fetchone()
    if found is None:
        raise NotFound(update.id)
    body, current, has_elements = found
    document = load(body)
    if update.etag not in (None, current) or not apply_changes(document, update.changes):
        raise PreconditionFailed(update.id)
    row = Row.of(tenant_id, document)
    _replaced(connection, row, now, etag, None, has_elements=has_elements)


def _replaced(
    connection: sqlite3.Connection,
    row: Row,
    now: float,
    etag: str,
    expected: str | None,
    *,
    has_elements: bool = True,
) -> bool:
    """Replace a document, if it exists with the expected ETag; whether it did. `has_elements`:
    it may have indexed elements until now."""
    parameters = (*row.columns(now, etag), now, expected)
    # The end of a document that expires moves with each change, and it is in every index.
    if math.isinf(row.ttl) and connection.execute(_REWRITE, parameters).rowcount:
        return True
    if has_elements:
        connection.execute(_REMOVE_FORMER_ELEMENTS, (row.tenant, row.id))
    if not connection.execute(_REPLACE, parameters).rowcount:
        return False
    if row.type in ELEMENT_INDEXES:
        ((number,),) = connection.execute(_NUMBER, (row.tenant, row.id)).fetchall()
        add_elements(connection, number, row.tenant, row.indexed)
    return True


def _reason(
    connection: sqlite3.Connection, tenant_id: str, id: str, now: float
) -> NotFound | PreconditionFailed:
    """Why a Replace or a Delete touched nothing."""
    key = (stored_text(tenant_id), stored_text(id), now)
    found = connection.execute(_READ, key).fetchone()
    return NotFound(id) if found is None else PreconditionFailed(id)


def _checked(update: Update) -> tuple[Update, int]:
    """The update with copies of its values, and their size in bytes. Raises ValueError."""
    values = update_to_json(update)
    changes = tuple(
        replace(change, value=value) if isinstance(change, Assign) else change
        for change, value in zip(update.changes, orjson.loads(values), strict=True)
    )
    return replace(update, changes=changes), len(values)
