"""The indexed values of the SQLite store, taken from documents when they are written.

The row of a document has a column for each indexed scalar, one for the indexed elements, which have
a row each in the table `elements`, too, and one for all texts in which a part is looked for. An
index on an expression over the JSON would be shorter to write, but would parse the document several
times at every write; a trigger would make SQLite copy every page that a statement changes.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson

from directory.condition import Path
from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES, TEXT_INDEXES
from directory.sqlite.json_text import stored_text
from directory.store import Document

SCALAR_COLUMNS = ("indexed1", "indexed2", "indexed3", "indexed4")
"""Columns of `documents`; what they hold depends on the document's type."""
INDEXED_COLUMNS = (*SCALAR_COLUMNS, "element_values", "texts")
_ELEMENTS = INDEXED_COLUMNS.index("element_values")
_ADD = "INSERT INTO elements (document, path, value, tenant) VALUES (?, ?, ?, ?)"
REMOVE_ELEMENTS = "DELETE FROM elements WHERE document = ?"
MISSING = b""
"""Stored in place of a missing scalar; sorts after every text and number."""

type IndexColumns = tuple[str | float | bytes | None, ...]
"""Values of INDEXED_COLUMNS."""
_INDEXED_TYPES = frozenset((*SCALAR_INDEXES, *ELEMENT_INDEXES, *TEXT_INDEXES))
_NOTHING_INDEXED: IndexColumns = (None,) * len(INDEXED_COLUMNS)


def scalar_columns(type: str) -> dict[Path, str]:
    """Path → the column that holds the scalar there, in documents of the type."""
    return dict(zip(SCALAR_INDEXES.get(type, ()), SCALAR_COLUMNS, strict=False))


def element_label(type: str, array: Path, inner: Path) -> str:
    """The value of `elements.path` for an index on elements."""
    return ".".join((type, *array, *inner))


def index_columns(document: Document) -> IndexColumns:
    """The indexed values of a document, which is given with its original text."""
    type = document["type"]
    if type not in _INDEXED_TYPES:
        return _NOTHING_INDEXED
    paths = SCALAR_INDEXES.get(type, ())
    scalars = [_scalar(_value(document, path)) for path in paths]
    unused = [None] * (len(SCALAR_COLUMNS) - len(scalars))
    elements = [*dict.fromkeys(_elements(document))] if type in ELEMENT_INDEXES else None
    found = orjson.dumps(elements).decode() if elements else None
    return (*scalars, *unused, found, _texts(document) if type in TEXT_INDEXES else None)


def add_elements(
    connection: sqlite3.Connection, number: int, tenant: str, columns: IndexColumns
) -> None:
    """Give each indexed element of a document its row; `columns` is from `index_columns`."""
    if isinstance(labelled := columns[_ELEMENTS], str):
        rows = [(number, label, value, tenant) for label, value in orjson.loads(labelled)]
        connection.executemany(_ADD, rows)


def _value(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _scalar(value: Any) -> str | float | bytes:
    """A JSON value as SQLite's own functions would extract it for comparison."""
    if isinstance(value, str):
        return stored_text(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    return value if isinstance(value, float) else MISSING


def _elements(document: Document) -> Iterator[tuple[str, str]]:
    """Label and text of every indexed element."""
    for array, inner in ELEMENT_INDEXES[document["type"]]:
        label = element_label(document["type"], array, inner)
        values = _value(document, array)
        for element in values if isinstance(values, list) else ():
            text = _value(element, inner)
            if isinstance(text, str):
                yield label, stored_text(text)


def _texts(document: Document) -> str | None:
    """The texts in which a part is looked for, each once, one per line."""
    paths = TEXT_INDEXES[document["type"]]
    found = dict.fromkeys(text for path in paths for text in _texts_at(document, path))
    return "\n".join(map(stored_text, found)) or None


def _texts_at(value: Any, path: Path) -> list[str]:
    for depth, key in enumerate(path):
        if isinstance(value, list):
            return [text for element in value for text in _texts_at(element, path[depth:])]
        value = value.get(key) if isinstance(value, dict) else None
    return [value] if isinstance(value, str) else []
