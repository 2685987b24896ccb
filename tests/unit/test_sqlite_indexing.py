"""What index columns hold is what SQLite itself takes from the stored JSON."""

import sqlite3
from typing import Any

from hypothesis import given

from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES, TEXT_INDEXES
from directory.operations import to_json
from directory.sqlite.indexing import INDEXED_COLUMNS, SCALAR_COLUMNS, index_columns
from directory.sqlite.json_text import stored_body
from directory.sqlite.query import DOCUMENT, SqliteCompiler
from tests.unit.test_query import values

NAME = ("search", "userName")


def extracted(document: dict[str, Any]) -> Any:
    """The scalar at NAME, by SQL over the document alone."""
    scalar = SqliteCompiler().scalar(DOCUMENT, NAME)
    connection = sqlite3.connect(":memory:")
    select = f"SELECT {scalar} FROM (SELECT ? AS body) AS documents"  # noqa: S608
    (found,) = connection.execute(select, (stored_body(to_json(document)).decode(),)).fetchone()
    connection.close()
    return found


@given(values)
def test_a_scalar_is_held_as_sql_extracts_it(value: Any) -> None:
    document = {"type": "User", "search": {"userName": value}}
    held, found = index_columns(document)[0], extracted(document)
    assert held == found
    assert type(held) is type(found)


def test_there_is_a_column_for_every_index() -> None:
    assert max(map(len, SCALAR_INDEXES.values())) <= len(SCALAR_COLUMNS)
    for type in SCALAR_INDEXES | ELEMENT_INDEXES | TEXT_INDEXES:
        assert len(index_columns({"type": type})) == len(INDEXED_COLUMNS)
