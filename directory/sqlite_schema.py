"""The tables of the SQLite store, with the indexes that `directory.indexing` names.

Other tables may live in the same file (the queue's do); PRAGMA user_version is this store's.
"""

# ruff: noqa: S608 - composes SQL of constants, plain names and placeholders

import sqlite3
from pathlib import Path

from directory.condition import Path as JsonPath
from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES
from directory.query import SqliteCompiler, element, element_label, row

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
"""How long a connection waits for another one's write before it gives up."""

# A document that never expires has an infinite `expires`: a plain comparison tells who is alive.
# `elements` holds the strings that ELEMENT_INDEXES names; triggers keep it, whoever writes.
_TABLES = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    etag TEXT NOT NULL,
    expires REAL NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX documents_type ON documents (tenant, type, id, expires);
CREATE INDEX documents_expires ON documents (expires) WHERE expires < 9e999;
CREATE TABLE elements (
    document INTEGER NOT NULL,
    path TEXT NOT NULL,
    value TEXT NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (document, path, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX elements_value ON elements (path, value, tenant);
"""

# What the planner is told instead of letting ANALYZE measure: many tenants, many documents of a
# type, few with one value. Without figures it reads a whole type, in the order of `id`, rather
# than look up a list of values. Rows, then rows per value of the first 1, 2, ... columns.
_STATISTICS = (
    ("documents", "sqlite_autoindex_documents_1", "1000000 100000 1"),
    ("documents", "documents_type", "1000000 100000 50000 1 1"),
    ("documents", "documents_expires", "1000000 1"),
    ("elements", "elements", "1000000 2 2 1"),
    ("elements", "elements_value", "1000000 500000 2 1 1"),
)
_SCALAR_STATISTICS = "1000000 100000 10 1 1"


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the file, which gets the tables that it lacks. Raises RuntimeError where a
    newer version of Muster wrote it."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise RuntimeError(
                f"{path} was written by a newer version of Muster (schema {version}; this one"
                f" knows {SCHEMA_VERSION}). Run that version, or restore a backup."
            )
        if version == 0:
            _create_tables(connection)
        _create_indexes(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode. A committed write survives the loss of power."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA synchronous = FULL")
    # Savepoints then keep little buffers in memory; otherwise each begins with one of 64 KB, which
    # malloc takes from the system and gives back, at several times the cost of the write.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute("ANALYZE documents")  # creates the table of statistics
    connection.execute("DELETE FROM sqlite_stat1 WHERE tbl = 'documents'")
    connection.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", _STATISTICS)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _create_indexes(connection: sqlite3.Connection) -> None:
    existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for type, paths in SCALAR_INDEXES.items():
        for path in paths:
            name = ".".join((type, *path))
            if name not in existing:
                _create_scalar_index(connection, name, type, path)
    for type, elements in ELEMENT_INDEXES.items():
        for array, inner in elements:
            label = element_label(type, array, inner)
            if f"{label}.insert" not in existing:
                _create_element_index(connection, label, type, array, inner)


def _create_scalar_index(
    connection: sqlite3.Connection, name: str, type: str, path: JsonPath
) -> None:
    scalar = SqliteCompiler().scalar(row(), path)
    connection.execute(
        f'CREATE INDEX "{name}" ON documents (tenant, {scalar}, id, expires)'
        f" WHERE type = '{type}'"
    )
    connection.execute(
        "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", ("documents", name, _SCALAR_STATISTICS)
    )


def _create_element_index(
    connection: sqlite3.Connection, label: str, type: str, array: JsonPath, inner: JsonPath
) -> None:
    """Triggers that keep the rows of `elements`, and the rows of what is stored already."""
    compiler = SqliteCompiler()
    scalar = compiler.scalar(element("e"), inner)

    def added(prefix: str, tables: str = "") -> str:
        return (
            "INSERT OR IGNORE INTO elements (document, path, value, tenant)"
            f" SELECT {prefix}number, '{label}', {scalar}, {prefix}tenant"
            f" FROM {tables}json_each({compiler.array(row(prefix), array)}) e"
            f" WHERE {prefix}type = '{type}' AND typeof({scalar}) = 'text'"
        )

    removed = f"DELETE FROM elements WHERE document = old.number AND path = '{label}'"
    old, new = f"old.type = '{type}'", f"new.type = '{type}'"
    for event, when, actions in (
        ("insert", new, added("new.")),
        ("update", f"{old} OR {new}", f"{removed}; {added('new.')}"),
        ("delete", old, removed),
    ):
        connection.execute(
            f'CREATE TRIGGER "{label}.{event}" AFTER {event.upper()} ON documents'
            f" WHEN {when} BEGIN {actions}; END"
        )
    connection.execute(added("documents.", "documents, "))
