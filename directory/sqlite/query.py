"""Conditions compiled to SQL: `directory.condition` for a database.

`Compiler` walks a condition; a dialect says how its database evaluates and negates the leaves, so
that the SQL agrees with `directory.condition.matches` on every document. SQLite's leaves are true
or false and never NULL (Cosmos DB's: `directory.cosmos.query`); values, and keys that are not plain
names, are parameters.
"""

# ruff: noqa: S608 - composes SQL of constants, plain names and placeholders

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from directory.condition import (
    All,
    AnyElement,
    Compare,
    Condition,
    Either,
    Negated,
    OneOf,
    Operator,
    Path,
    Present,
    Scalar,
)
from directory.indexing import ELEMENT_INDEXES, SCALAR_INDEXES, UNLISTED
from directory.sqlite.indexing import element_label, scalar_columns
from directory.sqlite.json_text import stored_text


class Compiler[Source](ABC):
    """Builds the SQL of conditions on one query. `Source` is what paths start from: the document,
    or an element of one of its arrays."""

    always: str
    never: str

    def __init__(self) -> None:
        self.parameters: list[Scalar] = []

    def compile(self, condition: Condition, source: Source) -> str:
        """SQL that is true where the condition holds."""
        return self._compile(condition, source, negated=False)

    @abstractmethod
    def bind(self, value: Scalar) -> str:
        """Append a parameter; returns its placeholder."""

    @abstractmethod
    def compare(self, source: Source, comparison: Compare) -> str:
        """SQL of a comparison. Raises ValueError for an operator that the value's type lacks."""

    @abstractmethod
    def present(self, source: Source, path: Path) -> str:
        """SQL of `Present`."""

    @abstractmethod
    def one_of(self, source: Source, path: Path, values: Sequence[str]) -> str:
        """SQL of `OneOf`."""

    @abstractmethod
    def any_element(self, source: Source, path: Path, condition: Condition) -> str:
        """SQL of `AnyElement`."""

    def negate(self, leaf: str) -> str:
        """SQL that is true where a leaf is not."""
        return f"(NOT {leaf})"

    def _compile(self, condition: Condition, source: Source, *, negated: bool) -> str:
        """Negations are moved to the leaves (De Morgan), which saves a level of nesting each."""
        match condition:
            case Negated(inner):
                return self._compile(inner, source, negated=not negated)
            case All(conditions):
                return self._join(conditions, source, conjunction=not negated, negated=negated)
            case Either(conditions):
                return self._join(conditions, source, conjunction=negated, negated=negated)
            case Compare():
                leaf = self.compare(source, condition)
            case Present(path):
                leaf = self.present(source, path)
            case OneOf(path, values):
                leaf = self.one_of(source, path, tuple(values))
            case AnyElement(path, inner):
                leaf = self.any_element(source, path, inner)
        return self.negate(leaf) if negated else leaf

    def _join(
        self,
        conditions: Sequence[Condition],
        source: Source,
        *,
        conjunction: bool,
        negated: bool,
    ) -> str:
        if not conditions:
            return self.always if conjunction else self.never
        # The deepest comes first: SQLite's parser then keeps one bracket per level on its stack
        # (of 100 entries), and not an operand and an operator as well.
        deepest_first = sorted(conditions, key=_depth, reverse=True)
        operands = [self._compile(inner, source, negated=negated) for inner in deepest_first]
        operator = " AND " if conjunction else " OR "
        return operands[0] if len(operands) == 1 else f"({operator.join(operands)})"


def _depth(condition: Condition) -> int:
    match condition:
        case Negated(inner):
            return _depth(inner)
        case AnyElement(_, inner):
            return 1 + _depth(inner)
        case All(conditions) | Either(conditions):
            return 1 + max(map(_depth, conditions), default=0)
        case _:
            return 0


_SQL_OPERATORS: dict[Operator, str] = {
    "eq": "=",
    "ne": "<>",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$:.-]+")
_SCALARS = "('text', 'integer', 'real', 'true', 'false')"
MISSING = "x''"
"""SQL of `directory.sqlite.indexing.MISSING`."""


@dataclass(frozen=True, slots=True)
class Json:
    """SQL of a JSON value in SQLite: its type, its value, and its value where it is an object (NULL
    otherwise); and the paths that have a column, which holds a string."""

    type: str
    value: str
    object: str
    columns: Mapping[Path, str] = field(default_factory=dict)


def element(alias: str) -> Json:
    """A row of json_each over an array."""
    return Json(
        f"{alias}.type", f"{alias}.value", f"iif({alias}.type = 'object', {alias}.value, NULL)"
    )


DOCUMENT = Json(
    "'object'",
    "documents.body",
    "documents.body",
    {("id",): "documents.id", ("type",): "documents.type", ("tenantId",): "documents.tenant"},
)
"""A row of `documents`."""


class SqliteCompiler(Compiler[Json]):
    """SQLite's dialect, for documents of one type in the tables of `directory.sqlite.schema`.

    It compares strings through `scalar`, which is an indexed column where `directory.indexing` says
    so. For indexed elements it asks the table `elements` first.
    """

    always = "1"
    never = "0"

    def __init__(self, type: str | None = None, tenant_id: str | None = None) -> None:
        super().__init__()
        self._type = type
        self._scalar_columns = scalar_columns(type or "")
        self._tenant_id = tenant_id
        self._elements = 0

    def bind(self, value: Scalar) -> str:
        self.parameters.append(stored_text(value) if isinstance(value, str) else value)
        return f"?{len(self.parameters)}"

    def scope(self) -> str:
        """SQL that is true for documents of the type, in the tenant where there is one. A type with
        indexes is written as a literal, because SQLite uses the indexes only then."""
        plain = self._type in SCALAR_INDEXES or self._type in ELEMENT_INDEXES
        type = f"'{self._type}'" if plain else self.bind(self._type or "")
        conditions = [f"documents.type = {type}"]
        if self._type != UNLISTED:  # SQLite does not infer it, and uses the index only then
            conditions.append(f"documents.type <> '{UNLISTED}'")
        if self._tenant_id is not None:
            conditions.append(f"documents.tenant = {self.bind(self._tenant_id)}")
        return " AND ".join(conditions)

    def scalar(self, source: Json, path: Path) -> str:
        """The scalar at a path, for comparison with text and for sorting: MISSING where there is
        none; true is 1 and false is 0."""
        if path in source.columns:
            return source.columns[path]
        if source is DOCUMENT and path in self._scalar_columns:
            return f"documents.{self._scalar_columns[path]}"
        type, value = self._type_and_value(source, path)
        return f"iif({type} IN {_SCALARS}, {value}, {MISSING})"

    def compare(self, source: Json, comparison: Compare) -> str:
        path, operator, value = comparison.path, comparison.operator, comparison.value
        if isinstance(value, str):
            return self._compare_text(source, path, operator, value)
        type, actual = self._type_and_value(source, path)
        if isinstance(value, bool):
            if operator not in ("eq", "ne"):
                raise ValueError(f"Booleans cannot be compared with {operator}.")
            return f"({type} {'IS' if operator == 'eq' else 'IS NOT'} '{str(value).lower()}')"
        if operator not in _SQL_OPERATORS:
            raise ValueError(f"Numbers cannot be compared with {operator}.")
        holds = f"{actual} {_SQL_OPERATORS[operator]} {self.bind(_number(value))}"
        return f"iif({type} IN ('integer', 'real'), {holds}, {int(operator == 'ne')})"

    def present(self, source: Json, path: Path) -> str:
        return f"(ifnull({self._type_and_value(source, path)[0]}, 'null') <> 'null')"

    def one_of(self, source: Json, path: Path, values: Sequence[str]) -> str:
        array = orjson.dumps([stored_text(value) for value in values]).decode()
        return f"({self.scalar(source, path)} IN (SELECT value FROM json_each({self.bind(array)})))"

    def any_element(self, source: Json, path: Path, condition: Condition) -> str:
        self._elements += 1
        alias = f"e{self._elements}"
        inner = self.compile(condition, element(alias))
        exists = (
            f"EXISTS (SELECT 1 FROM json_each({self.array(source, path)}) {alias} WHERE {inner})"
        )
        narrowed = [*self._narrowing(path, condition)] if source is DOCUMENT else []
        # What an index answers comes first, so that no other document's array is looked through.
        return f"({' AND '.join((*narrowed, exists))})" if narrowed else exists

    def array(self, source: Json, path: Path) -> str:
        """The array at a path, NULL where there is none."""
        type, value = self._type_and_value(source, path)
        return f"iif({type} = 'array', {value}, NULL)"

    def _narrowing(self, path: Path, condition: Condition) -> Iterator[str]:
        """Conditions that follow from the one on an element and that `elements` answers."""
        indexed = dict.fromkeys(
            inner for array, inner in ELEMENT_INDEXES.get(self._type or "", ()) if array == path
        )
        for conjunct in condition.conditions if isinstance(condition, All) else (condition,):
            match conjunct:
                case Compare(inner, "eq", str(value)) if inner in indexed:
                    found = f"path = '{element_label(self._type or '', path, inner)}'"
                    found += f" AND value = {self.bind(value)}"
                    if self._tenant_id is not None:
                        found += f" AND tenant = {self.bind(self._tenant_id)}"
                    yield f"documents.number IN (SELECT document FROM elements WHERE {found})"

    def _compare_text(self, source: Json, path: Path, operator: Operator, value: str) -> str:
        match operator:
            case "eq" | "ne":
                return (
                    f"({self.scalar(source, path)} {_SQL_OPERATORS[operator]} {self.bind(value)})"
                )
            case "gt" | "ge":
                scalar, operand = self.scalar(source, path), self.bind(value)
                return f"({scalar} {_SQL_OPERATORS[operator]} {operand} AND {scalar} < {MISSING})"
            case "lt" | "le":
                scalar, operand = self.scalar(source, path), self.bind(value)
                return f"({scalar} {_SQL_OPERATORS[operator]} {operand} AND {scalar} >= '')"
        type, actual = self._type_and_value(source, path)
        if not value:  # every text holds it, at both ends
            return f"({type} IS 'text')"
        part = self.bind(value)
        match operator:
            case "co":
                holds = f"instr({actual}, {part}) > 0"
            case "sw":
                holds = f"substr({actual}, 1, length({part})) = {part}"
            case "ew":
                holds = f"substr({actual}, -length({part})) = {part}"
        return f"({type} IS 'text' AND {holds})"

    def _type_and_value(self, source: Json, path: Path) -> tuple[str, str]:
        """SQL of the JSON type at a path (NULL where there is nothing) and of the value as
        SQLite knows it; objects and arrays are JSON text."""
        if not path:
            return source.type, source.value
        if path in source.columns:
            return "'text'", source.columns[path]
        if all(_PLAIN_KEY.fullmatch(key) for key in path):
            arguments = f"{source.object}, '$.{'.'.join(f'"{key}"' for key in path)}'"
            return f"json_type({arguments})", f"json_extract({arguments})"
        *parents, last = path
        inside = source.object
        for key in parents:
            inside = (
                f"(SELECT value FROM json_each({inside})"
                f" WHERE key = {self.bind(key)} AND type = 'object')"
            )
        member = f"FROM json_each({inside}) WHERE key = {self.bind(last)})"
        return f"(SELECT type {member}", f"(SELECT value {member}"


def _number(value: float) -> float:
    """A number that SQLite takes: an integer outside 64 bits becomes the nearest double."""
    if isinstance(value, float) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
