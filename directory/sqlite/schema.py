"""The tables of the SQLite store, with the indexes that `directory.indexing` names.

The file may hold other tables (the queue's, for one); PRAGMA user_version belongs to this store.
"""

# ruff: noqa: S608 - composes SQL of constants, plain names and placeholders

import sqlite3
from contextlib import suppress
from pathlib import Path

from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES, TEXT_INDEXES, UNLISTED
from directory.sqlite import feed
from directory.sqlite.indexing import (
    INDEXED_COLUMNS,
    REMOVE_ELEMENTS,
    add_elements,
    index_columns,
    scalar_columns,
)
from directory.sqlite.json_text import load

SCHEMA_VERSION = 6
BUSY_SECONDS = 10.0
"""How long a connection waits for another one's write before it gives up."""

# A document that never expires has an infinite `expires`, so that one comparison finds what has not
# expired. The last columns hold `directory.sqlite.indexing.index_columns`, and the table `indexing`
# the paths that they are taken from. `directory.sqlite.batch` also writes the tables `elements` and
# `feed`.
_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    etag TEXT NOT NULL,
    expires REAL NOT NULL,
    indexed1 ANY,
    indexed2 ANY,
    indexed3 ANY,
    indexed4 ANY,
    element_values TEXT,
    texts TEXT,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_expires ON documents (expires) WHERE expires < 9e999;
CREATE TABLE elements (
    document INTEGER NOT NULL,
    path TEXT NOT NULL,
    value TEXT NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (document, path, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX elements_value ON elements (path, value, tenant);
CREATE TABLE indexing (
    type TEXT NOT NULL PRIMARY KEY,
    paths TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
_LISTED = f"""
CREATE INDEX documents_type ON documents (tenant, type, id, expires) WHERE type <> '{UNLISTED}'
"""
_FILL = (
    f"UPDATE documents SET {', '.join(f'{column} = ?' for column in INDEXED_COLUMNS)}"
    " WHERE number = ?"
)

# The planner's statistics, written instead of measured by ANALYZE: many tenants, many documents of
# a type, few with one value. Without figures the planner reads a whole type in the order of `id`
# rather than look up a list of values; if they said that most of a tenant is of one type, it would
# walk the whole tenant for the newest. Rows, then rows per value of the first 1, 2, ... columns.
_STATISTICS = (
    ("documents", "sqlite_autoindex_documents_1", "1000000 100000 1"),
    ("documents", "documents_type", "1000000 100000 10000 1 1"),
    ("documents", "documents_expires", "1000000 1"),
    ("elements", "elements", "1000000 2 2 1"),
    ("elements", "elements_value", "1000000 500000 2 1 1"),
)
_SCALAR_STATISTICS = "1000000 100000 10 1 1"
_TEXT_STATISTICS = "1000000 100000 1 1 1"


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the file, which gets the tables that it lacks. Raises DamagedFile, and
    NewerFile where a newer version of Muster wrote it."""
    path.touch(mode=0o600)
    with suppress(PermissionError):  # the file of another user, shared on purpose
        path.chmod(0o600)  # SQLite gives the files beside it (-wal, -shm) the same mode
    try:
        return _opened(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise DamagedFile(
            f"{path} is damaged ({error.sqlite_errorname}): SQLite cannot read it. Restore a backup"
            f" of it, or rescue what is left with 'sqlite3 {path} .recover'; on a laptop, delete"
            " the folder to begin anew."
        ) from error


class UnusableFile(RuntimeError):
    """The file cannot be used as it is; the text says what to do."""


class DamagedFile(UnusableFile):
    """SQLite cannot read it."""


class NewerFile(UnusableFile):
    """A newer version of Muster wrote it."""


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        if not _is_up_to_date(connection, path):  # looking waits for nobody who writes
            _bring_up_to_date(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The file's version of the schema; 0: it has no tables. Raises NewerFile."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise NewerFile(
            f"{path} was written by a newer version of Muster (schema {version}; this one"
            f" knows {SCHEMA_VERSION}). Run that version, or restore a backup."
        )
    return version


def _is_up_to_date(connection: sqlite3.Connection, path: Path) -> bool:
    return (
        _version(connection, path) == SCHEMA_VERSION
        and not _missing_statistics(connection)
        and not _outdated_types(connection)
    )


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)
    if version == 1:
        _upgrade(connection)
    if version < 2:
        _create_tables(connection)
    if version < 3:
        _create_feed(connection)
    if version < 4:
        connection.execute("DROP INDEX IF EXISTS documents_type")
        connection.execute(_LISTED)
    if 1 < version < 5:
        connection.execute("ALTER TABLE documents ADD COLUMN texts TEXT")
    if 1 < version < 6:
        _drop_triggers(connection)
    if version < SCHEMA_VERSION:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for row in _missing_statistics(connection):
        connection.execute("DELETE FROM sqlite_stat1 WHERE idx = ?", (row[1],))
        connection.execute("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", row)
    for type, paths in _outdated_types(connection).items():
        _index(connection, type)
        connection.execute("INSERT OR REPLACE INTO indexing VALUES (?, ?)", (type, paths))
    connection.execute("COMMIT")


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode. A committed write survives the death of the process, and the
    loss of power once the log was flushed."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        # Savepoints and RETURNING then keep small buffers in memory. Otherwise each starts with one
        # of 64 KB, which malloc takes from the system and gives back, at several times the cost of
        # the write.
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """From version 1, whose indexes were on expressions over the body."""
    derived = "SELECT type, name FROM sqlite_schema WHERE name LIKE '%.%'"
    for kind, name in connection.execute(derived).fetchall():
        connection.execute(f'DROP {kind} "{name}"')
    connection.execute("DROP TABLE elements")
    for column in INDEXED_COLUMNS:
        kind = "TEXT" if column in ("element_values", "texts") else "ANY"
        connection.execute(f"ALTER TABLE documents ADD COLUMN {column} {kind}")


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute("ANALYZE documents")  # creates the table of statistics
    connection.execute("DELETE FROM sqlite_stat1 WHERE tbl = 'documents'")


def _create_feed(connection: sqlite3.Connection) -> None:
    for statement in feed.TABLES.split(";"):
        connection.execute(statement)


def _drop_triggers(connection: sqlite3.Connection) -> None:
    """What they did up to version 5, the writer does. A process of an earlier version that still
    runs must not write without them: it does not find the column, and answers 503."""
    triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'documents'"
    for (name,) in connection.execute(triggers).fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("ALTER TABLE documents RENAME COLUMN elements TO element_values")


def _missing_statistics(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Those of `_STATISTICS` that the planner does not have."""
    present = set(connection.execute("SELECT tbl, idx, stat FROM sqlite_stat1"))
    return [row for row in _STATISTICS if row not in present]


def _outdated_types(connection: sqlite3.Connection) -> dict[str, str]:
    """The types whose documents are not indexed as `directory.indexing` says, with how they must
    be, in the form of the table `indexing`."""
    kept = dict(connection.execute("SELECT type, paths FROM indexing"))
    wanted = {type: _indexed(type) for type in (*SCALAR_INDEXES, *ELEMENT_INDEXES, *TEXT_INDEXES)}
    return {type: paths for type, paths in wanted.items() if kept.get(type) != paths}


def _indexed(type: str) -> str:
    indexed = [SCALAR_INDEXES.get(type), ELEMENT_INDEXES.get(type)]
    if type in TEXT_INDEXES:
        indexed.append(TEXT_INDEXES[type])
    return repr(tuple(indexed))


def _index(connection: sqlite3.Connection, type: str) -> None:
    """Fill the indexed columns of a type's documents, and create their indexes."""
    found = "SELECT number, tenant FROM documents WHERE type = ?"
    for number, tenant in connection.execute(found, (type,)).fetchall():
        read = "SELECT body FROM documents WHERE number = ?"
        (body,) = connection.execute(read, (number,)).fetchone()
        indexed = index_columns(load(body))
        connection.execute(_FILL, (*indexed, number))
        connection.execute(REMOVE_ELEMENTS, (number,))
        add_elements(connection, number, tenant, indexed)
    for column in scalar_columns(type).values():
        columns = f"tenant, {column}, id, expires"
        _create_index(connection, f"{type}.{column}", type, columns, _SCALAR_STATISTICS)
    if type in TEXT_INDEXES:
        # In the order of ids, so that a page of many results ends where it is full.
        columns = "tenant, id, expires, texts"
        _create_index(connection, f"{type}.texts", type, columns, _TEXT_STATISTICS)


def _create_index(
    connection: sqlite3.Connection, name: str, type: str, columns: str, statistics: str
) -> None:
    connection.execute(
        f"CREATE INDEX IF NOT EXISTS \"{name}\" ON documents ({columns}) WHERE type = '{type}'"
    )
    connection.execute("DELETE FROM sqlite_stat1 WHERE idx = ?", (name,))
    connection.execute("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", ("documents", name, statistics))
