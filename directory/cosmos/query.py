"""Conditions and pages in the SQL of Azure Cosmos DB for NoSQL
(https://learn.microsoft.com/azure/cosmos-db/nosql/query).

That SQL has a third truth value, undefined: the result of comparing with a missing value or a value
of another type. Like false it selects nothing, but its negation selects nothing either. So a leaf
is left as it is, for the index to answer, and undefined is made false before a negation.
"""

# ruff: noqa: S608 - composes SQL of constants, quoted keys and parameters

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from directory.condition import All, Compare, Condition, Operator, Path
from directory.cosmos.indexing import PAGE_ORDER
from directory.indexing import ELEMENT_INDEXES
from directory.sqlite.query import Compiler
from directory.store import NEWEST_FIRST, Query

DOCUMENT = "c"
"""The alias of the document: what paths start from."""

_OPERATORS: dict[Operator, str] = {"eq": "=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FUNCTIONS: dict[Operator, str] = {"co": "CONTAINS", "sw": "STARTSWITH", "ew": "ENDSWITH"}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Select:
    """A query's text, and its parameters as the service takes them."""

    sql: str
    parameters: list[dict[str, object]]


def select_page(query: Query, after: str | None) -> Select:
    """One page of a tenant and one document more, behind the id `after`; ascending by `id`, or
    descending (NEWEST_FIRST). Raises ValueError for a condition that makes no sense."""
    compiler = CosmosCompiler(query.type)
    selected = compiler.selected(query.where)
    beyond, direction = ("<", " DESC") if query.order == NEWEST_FIRST else (">", "")
    if after is not None:
        selected += f' AND c["id"] {beyond} {compiler.bind(after)}'
    order = ", ".join(f"{member(DOCUMENT, path)}{direction}" for path in PAGE_ORDER)
    return compiler.select(
        f"SELECT {_columns(query.fields)} FROM c WHERE {selected} ORDER BY {order}"
        f" OFFSET {query.offset} LIMIT {query.limit + 1}"
    )


def select_keys(query: Query) -> Select:
    """Everything that a query selects, unordered: `id`, `tenant`, and `k0`, `k1`, ... to sort by.
    Raises ValueError for a condition that makes no sense."""
    compiler = CosmosCompiler(query.type)
    selected = compiler.selected(query.where)
    keys = [
        f", {member(DOCUMENT, order.path)} AS {sort_key(n)}" for n, order in enumerate(query.order)
    ]
    return compiler.select(
        f'SELECT c["id"] AS id, c["tenantId"] AS tenant{"".join(keys)} FROM c WHERE {selected}'
    )


def select_count(type: str, where: Condition) -> Select:
    """How many documents satisfy the condition. Raises ValueError for one that makes no sense."""
    compiler = CosmosCompiler(type)
    return compiler.select(f"SELECT VALUE COUNT(1) FROM c WHERE {compiler.selected(where)}")


def sort_key(n: int) -> str:
    """What `select_keys` calls the value of the query's n-th Order."""
    return f"k{n}"


class CosmosCompiler(Compiler[str]):
    """The dialect of Cosmos DB, for documents of one type. A source is the alias of a document or
    of an array's element."""

    always = "true"
    never = "false"

    def __init__(self, type: str) -> None:
        super().__init__()
        self._type = type
        self._elements = 0

    def selected(self, where: Condition) -> str:
        """SQL of a WHERE clause: the type and the condition."""
        return f'c["type"] = {self.bind(self._type)} AND {self.compile(where, DOCUMENT)}'

    def select(self, sql: str) -> Select:
        """The statement with the bound parameters."""
        values = enumerate(self.parameters)
        return Select(sql, [{"name": f"@p{n}", "value": value} for n, value in values])

    def bind(self, value: Any) -> str:
        self.parameters.append(value)
        return f"@p{len(self.parameters) - 1}"

    def negate(self, leaf: str) -> str:
        return f"(NOT ({leaf} ?? false))"

    def compare(self, source: str, comparison: Compare) -> str:
        path, operator, value = comparison.path, comparison.operator, comparison.value
        if operator == "ne":
            return self.negate(self.compare(source, Compare(path, "eq", value)))
        actual = member(source, path)
        if isinstance(value, str):
            return self._compare_text(actual, operator, value)
        if operator not in _OPERATORS or (isinstance(value, bool) and operator != "eq"):
            kind = "Booleans" if isinstance(value, bool) else "Numbers"
            raise ValueError(f"{kind} cannot be compared with {operator}.")
        return f"({actual} {_OPERATORS[operator]} {self.bind(value)})"

    def present(self, source: str, path: Path) -> str:
        actual = member(source, path)
        return f"(IS_DEFINED({actual}) AND NOT IS_NULL({actual}))"

    def one_of(self, source: str, path: Path, values: Sequence[str]) -> str:
        storable = [value for value in values if is_text(value)]
        if not storable:
            return self.never
        return f"({member(source, path)} IN ({', '.join(map(self.bind, storable))}))"

    def any_element(self, source: str, path: Path, condition: Condition) -> str:
        array = member(source, path)
        indexed = [
            inner for known, inner in ELEMENT_INDEXES.get(self._type, ()) if known == path
        ] * (source == DOCUMENT)
        narrowed = []
        for conjunct in condition.conditions if isinstance(condition, All) else (condition,):
            match conjunct:
                case Compare(inner, "eq", str(value)) if inner in indexed and is_text(value):
                    element = self.bind(_nested(inner, value))
                    narrowed.append(f"ARRAY_CONTAINS({array}, {element}, true)")
                    if conjunct is condition:
                        return narrowed[0]
        self._elements += 1
        alias = f"e{self._elements}"
        inner_sql = self.compile(condition, alias)
        exists = f"EXISTS(SELECT VALUE {alias} FROM {alias} IN {array} WHERE {inner_sql})"
        return f"({' AND '.join([*narrowed, exists])})" if narrowed else exists

    def _compare_text(self, actual: str, operator: Operator, value: str) -> str:
        half_pair = _SURROGATE.search(value)
        if half_pair:  # no document holds one: compare with the first character behind them
            if operator not in ("gt", "ge", "lt", "le"):
                return self.never
            value = value[: half_pair.start()] + "\ue000"
            operator = "ge" if operator in ("gt", "ge") else "lt"
        if operator in _OPERATORS:
            return f"({actual} {_OPERATORS[operator]} {self.bind(value)})"
        return f"{_FUNCTIONS[operator]}({actual}, {self.bind(value)})"


def member(source: str, path: Path) -> str:
    """SQL of what is at a path; keys are quoted as JSON strings, whose escapes the SQL knows."""
    return source + "".join(f"[{json.dumps(key)}]" for key in path)


def is_text(value: str) -> bool:
    """Whether a document can hold it: it has no half of a surrogate pair."""
    return _SURROGATE.search(value) is None


def _columns(fields: Sequence[str] | None) -> str:
    if fields is None:
        return "*"
    names = dict.fromkeys(("id", "_etag", *fields))
    return ", ".join(member(DOCUMENT, (name,)) for name in names)


def _nested(path: Path, value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value
