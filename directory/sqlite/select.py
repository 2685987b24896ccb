"""Queries as SELECT statements; each page resumes where the page before it ended."""

# ruff: noqa: S608 - composes SQL of constants, plain names and placeholders

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from directory.condition import All, AnyElement, Compare, Condition, Either, Path
from directory.indexing import TEXT_INDEXES, scanned
from directory.sqlite.json_text import load, original_text, stored_text
from directory.sqlite.query import DOCUMENT, MISSING, SqliteCompiler
from directory.store import BadContinuation, Damaged, Page, Query, Stored, Unreadable

LONGEST_PATTERN = 64
"""Characters of a text that are looked for before the condition itself is asked."""
_GLOB = re.compile(r"[*?\[]")

type Row = tuple[Any, ...]
type _Key = tuple[str, bool]
"""SQL to sort by, and whether descending."""


@dataclass(frozen=True, slots=True)
class Select:
    """A statement with its parameters `?1`, `?2`, ..."""

    sql: str
    parameters: Sequence[str | float]


def select_page(query: Query, tenant_id: str | None, now: float) -> Select:
    """The statement that reads one page and one row more; over all tenants without `tenant_id`.
    Raises BadContinuation, and ValueError for a negative limit or offset, and a condition that
    makes no sense."""
    if query.limit < 0 or query.offset < 0:
        raise ValueError("limit and offset cannot be negative.")
    compiler = SqliteCompiler(query.type, tenant_id)
    keys = [(compiler.scalar(DOCUMENT, o.path), o.descending) for o in query.order]
    if all(order.path != ("id",) for order in query.order):
        keys.append(("documents.id", False))
    if tenant_id is None:
        keys.append(("documents.tenant", False))
    selected = _selected(compiler, query.type, query.where, now)
    conditions = [selected.condition]
    if query.continuation is not None:
        values = _resume(query, tenant_id, len(keys))
        first, descending = keys[0]
        bound = f"{first} {'<=' if descending else '>='} {_bind(compiler, values[0])}"
        conditions += [bound, _after(compiler, keys, values)]
    columns = ", ".join(key for key, _ in keys)
    order = ", ".join(f"{key} DESC" if descending else key for key, descending in keys)
    limit, offset = compiler.bind(query.limit + 1), compiler.bind(query.offset)
    return Select(
        f"SELECT documents.tenant, documents.id, documents.etag, documents.body, {columns}"
        f" FROM {selected.table} WHERE {' AND '.join(conditions)}"
        f" ORDER BY {order} LIMIT {limit} OFFSET {offset}",
        compiler.parameters,
    )


def select_count(type: str, where: Condition, tenant_id: str, now: float) -> Select:
    """The statement that counts. Raises ValueError for a condition that makes no sense."""
    compiler = SqliteCompiler(type, tenant_id)
    selected = _selected(compiler, type, where, now)
    return Select(
        f"SELECT count(*) FROM {selected.table} WHERE {selected.condition}", compiler.parameters
    )


def to_page(query: Query, tenant_id: str | None, rows: Sequence[Row]) -> Page:
    """The page that the rows of `select_page` make."""
    items = tuple(_stored(query.fields, tenant_id, row) for row in rows[: query.limit])
    more = items and len(rows) > query.limit
    last = rows[len(items) - 1][4:] if more else None
    return Page(items, _continuation(query, tenant_id, last) if last else None)


@dataclass(frozen=True, slots=True)
class _Selected:
    """SQL of the table, and of the condition on its rows."""

    table: str
    condition: str


def _selected(compiler: SqliteCompiler, type: str, where: Condition, now: float) -> _Selected:
    table, first = "documents", ""
    found = sought(where)
    if found and found.paths <= {*TEXT_INDEXES.get(type, ())} and scanned(type, where):
        # No other index leads to few documents; this one is read whole, and the documents are not.
        table = f'documents INDEXED BY "{type}.texts"'
        first = f"documents.texts GLOB {compiler.bind(_pattern(found.beginning))} AND "
    elif found:
        # To look for a text in the whole document takes a quarter of the time of its JSON.
        written = orjson.dumps(stored_text(found.beginning)).decode()[1:-1]
        first = f"documents.body GLOB {compiler.bind(_pattern(written))} AND "
    condition = first + compiler.compile(where, DOCUMENT)
    in_scope = f"{compiler.scope()} AND documents.expires > {compiler.bind(now)}"
    return _Selected(table, f"{condition} AND {in_scope}")


@dataclass(frozen=True, slots=True)
class Sought:
    """A text that is looked for, and the paths of which at least one has to hold it."""

    text: str
    paths: frozenset[Path]

    @property
    def beginning(self) -> str:
        """What is looked for first: the time is that of the document times that of the pattern."""
        return self.text[:LONGEST_PATTERN]


def sought(where: Condition, above: Path = ()) -> Sought | None:
    """What a document has to hold for the condition to be true, where it asks for texts by a part
    of them; None: it does not, or for different ones. `above` leads to the array of the element
    that the condition is on."""
    match where:
        case Compare(path, "co" | "sw" | "ew", str(value)) if value:
            return Sought(value, frozenset({(*above, *path)}))
        case AnyElement(path, inner):
            return sought(inner, (*above, *path))
        case All(conditions):
            return next(filter(None, (sought(each, above) for each in conditions)), None)
        case Either(conditions):
            found = [sought(each, above) for each in conditions]
            known = [each for each in found if each]
            if len(known) == len(found) and len({each.text for each in known}) == 1:
                return Sought(known[0].text, frozenset().union(*(each.paths for each in known)))
    return None


def _pattern(text: str) -> str:
    """For GLOB: anything that has this text in it."""
    return f"*{_GLOB.sub(r'[\g<0>]', text)}*"


def _after(compiler: SqliteCompiler, keys: Sequence[_Key], values: Sequence[Any]) -> str:
    """SQL that is true behind the row that has these values."""
    (key, descending), value = keys[0], _bind(compiler, values[0])
    beyond = f"{key} {'<' if descending else '>'} {value}"
    if len(keys) == 1:
        return beyond
    return f"({beyond} OR ({key} = {value} AND {_after(compiler, keys[1:], values[1:])}))"


def _bind(compiler: SqliteCompiler, value: Any) -> str:
    return MISSING if value is None else compiler.bind(value)


def whole(id: str, etag: str, body: str) -> Stored:
    """The document in a row; Damaged where the body is no JSON object with this id."""
    try:
        document = load(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("id") == original_text(id):
        return Stored(document, etag)
    error = Unreadable(original_text(id), "document", "it is no JSON object that has its id")
    return Damaged(document, etag, error)


def _stored(fields: Sequence[str] | None, tenant_id: str | None, row: Row) -> Stored:
    tenant, id, etag, body = row[:4]
    if fields is None:
        return whole(id, etag, body)
    document = {"id": original_text(id)}
    if tenant_id is None:
        document["tenantId"] = original_text(tenant)
    if fields:
        stored = whole(id, etag, body)
        if isinstance(stored, Damaged):
            return Damaged(document, etag, stored.error)
        document |= {name: stored.document[name] for name in fields if name in stored.document}
    return Stored(document, etag)


def _continuation(query: Query, tenant_id: str | None, key: Row) -> str:
    """URL-safe text that names the query's order and the values that the last row has in it."""
    values = [_original(value) for value in key]
    return base64.urlsafe_b64encode(orjson.dumps([_order(query, tenant_id), *values])).decode()


def _original(value: str | float | bytes) -> str | float | None:
    if isinstance(value, bytes):  # MISSING
        return None
    return original_text(value) if isinstance(value, str) else value


def _resume(query: Query, tenant_id: str | None, keys: int) -> list[Any]:
    """The values in the query's continuation. Raises BadContinuation."""
    try:
        token: list[Any] = orjson.loads(base64.urlsafe_b64decode(query.continuation or ""))
        order, *values = token
    except (ValueError, TypeError):
        raise BadContinuation from None
    same_order = order == _order(query, tenant_id) and len(values) == keys
    if not same_order or not all(_is_key(value) for value in values):
        raise BadContinuation
    return values


def _is_key(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str | float)


def _order(query: Query, tenant_id: str | None) -> str:
    order = (query.type, query.order, tenant_id is None)
    return hashlib.sha256(repr(order).encode("utf-8", "surrogatepass")).hexdigest()[:16]
