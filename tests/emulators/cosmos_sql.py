"""The part of Cosmos DB's SQL that Muster and the SDK speak, parsed and evaluated.

What it does not know it refuses (`Unsupported`): a test that passes because a query was guessed at
would prove nothing. Truth has three values here, as in Cosmos DB: `UNDEFINED` is what a missing
property is, and what an operator makes of operands that it is not for
(https://learn.microsoft.com/azure/cosmos-db/nosql/query).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

type Scope = Mapping[str, Any]
"""Alias → document or array element."""
type Expression = Callable[[Scope], Any]
type Path = tuple[str, ...]


class _Undefined:
    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = _Undefined()


class Unsupported(Exception):
    """SQL that this evaluator does not know."""


@dataclass(frozen=True)
class Statement:
    """A parsed query on documents, each of which is the root alias."""

    alias: str
    columns: tuple[tuple[str, Expression], ...] | None
    """None: SELECT *."""
    counts: bool
    """SELECT VALUE COUNT(1)."""
    where: Expression
    order: tuple[tuple[Path, bool], ...] = ()
    """Paths, and whether descending."""
    offset: int = 0
    limit: int | None = None

    def selects(self, document: Any) -> bool:
        """Whether WHERE is true: neither false nor undefined."""
        return self.where({self.alias: document}) is True

    def project(self, document: Any) -> Any:
        """The row of a document; undefined columns are left out."""
        if self.columns is None:
            return document
        scope = {self.alias: document}
        row = {name: value(scope) for name, value in self.columns}
        return {name: value for name, value in row.items() if value is not UNDEFINED}


_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>\d+)|(?P<parameter>@\w+)
    |(?P<word>[A-Za-z_]\w*)|(?P<symbol>\?\?|<=|>=|[=<>()\[\].,*]))""",
    re.VERBOSE,
)
_RESERVED = frozenset(
    "SELECT VALUE FROM WHERE ORDER BY ASC DESC OFFSET LIMIT AS AND OR NOT IN EXISTS"
    " TRUE FALSE NULL UNDEFINED TOP DISTINCT JOIN GROUP LIKE BETWEEN ARRAY".split()
)


def parse(sql: str, parameters: Mapping[str, Any]) -> Statement:
    """Raises Unsupported."""
    return _Parser(_tokens(sql), parameters).statement()


def _tokens(sql: str) -> list[tuple[str, str]]:
    tokens, position, sql = [], 0, sql.rstrip()
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        if found is None:
            raise Unsupported(f"{sql[position : position + 20]!r}")
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        position = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], parameters: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._parameters = parameters
        self._next = 0
        self._aliases: list[str] = []

    def statement(self) -> Statement:
        self._expect("SELECT")
        start = self._next
        while not self._is("FROM"):  # columns name the alias that comes after them
            self._next += 1
            if self._next >= len(self._tokens):
                raise Unsupported("SELECT without FROM")
        self._expect("FROM")
        self._aliases.append(alias := self._name())
        after = self._next
        self._next = start
        columns, counts = self._columns()
        self._expect("FROM")
        self._next = after
        where: Expression = lambda _: True  # noqa: E731
        if self._take("WHERE"):
            where = self._either()
        order = self._order() if self._take("ORDER") else ()
        offset, limit = 0, None
        if self._take("OFFSET"):
            offset = self._number()
            self._expect("LIMIT")
            limit = self._number()
        if self._next != len(self._tokens):
            raise Unsupported(f"{self._peek()[1]!r} after the end")
        return Statement(alias, columns, counts, where, order, offset, limit)

    def _columns(self) -> tuple[tuple[tuple[str, Expression], ...] | None, bool]:
        if self._take("*"):
            return None, False
        if self._take("VALUE"):
            for token in ("COUNT", "(", "1", ")"):
                self._expect(token)
            return None, True
        columns = []
        while True:
            path, value = self._path()
            columns.append((self._name() if self._take("AS") else path[-1], value))
            if not self._take(","):
                return tuple(columns), False

    def _order(self) -> tuple[tuple[Path, bool], ...]:
        self._expect("BY")
        order = []
        while True:
            path, _ = self._path()
            descending = self._take("DESC")
            if not descending:
                self._take("ASC")
            order.append((path, descending))
            if not self._take(","):
                return tuple(order)

    def _either(self) -> Expression:
        operands = [self._every()]
        while self._take("OR"):
            operands.append(self._every())
        return operands[0] if len(operands) == 1 else lambda s: _or([o(s) for o in operands])

    def _every(self) -> Expression:
        operands = [self._negation()]
        while self._take("AND"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else lambda s: _and(o(s) for o in operands)

    def _negation(self) -> Expression:
        if self._take("NOT"):
            operand = self._primary()
            if self._peek()[1] in ("=", "<", ">", "<=", ">=", "IN", "??"):
                raise Unsupported("NOT before a comparison without brackets")
            return lambda s: _not(operand(s))
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._primary()
        for operator, compare in _COMPARISONS.items():
            if self._take(operator):
                right = self._primary()
                return lambda s: compare(left(s), right(s))
        if self._take("IN"):
            self._expect("(")
            choices = self._arguments()
            texts = self._texts(choices)
            if texts:
                return lambda s: _in_texts(left(s), texts)
            return lambda s: _in(left(s), [choice(s) for choice in choices])
        if self._take("??"):
            right = self._primary()
            if not self._is(")"):
                raise Unsupported("?? without brackets around it")
            return lambda s: right(s) if (value := left(s)) is UNDEFINED else value
        return left

    def _texts(self, choices: list[Expression]) -> frozenset[str]:
        """The choices, where all of them are strings that no item decides; else none."""
        try:
            values = [choice({}) for choice in choices]
        except KeyError:
            return frozenset()
        return frozenset(values) if all(isinstance(v, str) for v in values) else frozenset()

    def _primary(self) -> Expression:
        kind, text = self._peek()
        if kind == "parameter":
            self._next += 1
            if text not in self._parameters:
                raise Unsupported(f"no value for {text}")
            value = self._parameters[text]
            return lambda _: value
        if text in ("true", "false"):
            self._next += 1
            return lambda _: text == "true"
        if self._take("("):
            inner = self._either()
            self._expect(")")
            return inner
        if self._take("EXISTS"):
            return self._exists()
        if kind == "word" and text in _FUNCTIONS and self._tokens[self._next + 1][1] == "(":
            self._next += 2
            function, count = _FUNCTIONS[text]
            arguments = self._arguments()
            if len(arguments) != count:
                raise Unsupported(f"{text} with {len(arguments)} arguments")
            return lambda s: function(*(argument(s) for argument in arguments))
        return self._path()[1]

    def _exists(self) -> Expression:
        """EXISTS(SELECT VALUE e FROM e IN array WHERE condition)"""
        for token in ("(", "SELECT", "VALUE"):
            self._expect(token)
        alias = self._name()
        self._expect("FROM")
        self._expect(alias)
        self._expect("IN")
        _, array = self._path()
        self._expect("WHERE")
        self._aliases.append(alias)
        condition = self._either()
        self._aliases.pop()
        self._expect(")")

        def exists(scope: Scope) -> bool:
            elements = array(scope)
            if not isinstance(elements, list):
                return False
            return any(condition({**scope, alias: element}) is True for element in elements)

        return exists

    def _path(self) -> tuple[Path, Expression]:
        alias = self._name()
        if alias not in self._aliases:
            raise Unsupported(f"{alias} is no alias")
        keys: list[str] = []
        while True:
            if self._take("."):
                keys.append(self._name())
            elif self._take("["):
                kind, text = self._peek()
                if kind != "string":
                    raise Unsupported(f"[{text}]")
                self._next += 1
                keys.append(json.loads(text))
                self._expect("]")
            else:
                break

        def at(scope: Scope) -> Any:
            value = scope[alias]
            for key in keys:
                value = value.get(key, UNDEFINED) if isinstance(value, dict) else UNDEFINED
            return value

        return tuple(keys), at

    def _arguments(self) -> list[Expression]:
        arguments = [self._primary()]
        while self._take(","):
            arguments.append(self._primary())
        self._expect(")")
        return arguments

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def _is(self, text: str) -> bool:
        kind, found = self._peek()
        return kind != "string" and found == text

    def _take(self, text: str) -> bool:
        taken = self._is(text)
        self._next += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise Unsupported(f"{self._peek()[1]!r} instead of {text!r}")

    def _name(self) -> str:
        kind, text = self._peek()
        if kind != "word" or text.upper() in _RESERVED:
            raise Unsupported(f"{text!r} is no name")
        self._next += 1
        return text

    def _number(self) -> int:
        kind, text = self._peek()
        if kind != "number":
            raise Unsupported(f"{text!r} is no number")
        self._next += 1
        return int(text)


_TYPES = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "undefined")


def _comparing(compare: Callable[[Any, Any], bool], *types: str) -> Callable[[Any, Any], Any]:
    """Values of two types do not compare: that is undefined."""

    def compared(left: Any, right: Any) -> Any:
        type = _type(left)
        if type != _type(right) or left is UNDEFINED:
            return UNDEFINED
        if type not in types:
            raise Unsupported(f"a comparison of {type}s")
        return compare(left, right)

    return compared


_equal = _comparing(lambda a, b: bool(a == b), "string", "number", "boolean")
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": _equal,
    "<": _comparing(lambda a, b: bool(a < b), "string", "number"),
    ">": _comparing(lambda a, b: bool(a > b), "string", "number"),
    "<=": _comparing(lambda a, b: bool(a <= b), "string", "number"),
    ">=": _comparing(lambda a, b: bool(a >= b), "string", "number"),
}


def _and(values: Iterable[Any]) -> Any:
    """One False decides; what follows it is not looked at."""
    result: Any = True
    for value in values:
        if value is False:
            return False
        if value is not True:
            result = UNDEFINED
    return result


def _or(values: list[Any]) -> Any:
    if any(value is True for value in values):
        return True
    return False if all(value is False for value in values) else UNDEFINED


def _not(value: Any) -> Any:
    return not value if isinstance(value, bool) else UNDEFINED


def _in(value: Any, choices: list[Any]) -> Any:
    return _or([_equal(value, choice) for choice in choices])


def _in_texts(value: Any, choices: frozenset[str]) -> Any:
    return value in choices if isinstance(value, str) else UNDEFINED


def _text(function: Callable[[str, str], bool]) -> Callable[[Any, Any], Any]:
    def applied(value: Any, part: Any) -> Any:
        both = isinstance(value, str) and isinstance(part, str)
        return function(value, part) if both else UNDEFINED

    return applied


def _array_contains(array: Any, wanted: Any, partial: Any) -> Any:
    """Partial: an object that has these members, and maybe more."""
    if not isinstance(array, list):
        return UNDEFINED
    if partial is not True or not isinstance(wanted, dict):
        raise Unsupported("ARRAY_CONTAINS of something else than part of an object")
    return any(_includes(element, wanted) for element in array)


def _includes(value: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(value, dict) and all(
            key in value and _includes(value[key], inner) for key, inner in part.items()
        )
    return _equal(value, part) is True


_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "IS_DEFINED": (lambda value: value is not UNDEFINED, 1),
    "IS_NULL": (lambda value: value is None, 1),
    "CONTAINS": (_text(lambda value, part: part in value), 2),
    "STARTSWITH": (_text(str.startswith), 2),
    "ENDSWITH": (_text(str.endswith), 2),
    "ARRAY_CONTAINS": (_array_contains, 3),
}
