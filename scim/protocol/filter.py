r"""The grammar of SCIM filters and PATCH paths: from text to syntax tree, without schemas.

All of RFC 7644 section 3.4.2.2 (figure 1) and section 3.5.2 (figure 7). Beyond them:

- `emails[type eq "work"].value eq "x"`, Entra ID's way to match, means
  `emails[type eq "work" and value eq "x"]`; the same for every operator and for `pr`.
- Operators, `and`, `or`, `not` in any case; any amount of white space; `True` and `False`.
- The last segment after a URN may begin with a digit and hold dots, because a schema's URN alone
  is a path, too, and may end in a version. The text is split at the last colon;
  `AttributePath.__str__` gives the whole text back, and the code that knows the schemas decides
  which of the two it is.
- Microsoft's own library escapes neither `"` nor `\` in a text. This matters where the whole filter
  is one `attribute eq "…"` (or one in the brackets of a value path, or after them). Where the
  grammar does not accept it, the text is everything between the first and the last quotation mark,
  unless another comparison follows the text that the grammar reads. Where the grammar accepts it
  and the text holds a backslash, both readings count: `Comparison.raw` is the unescaped one.

Text without quotes (`externalId eq jyoung`, as printed in Microsoft's documentation) is refused
with a detail that says so: guessing where the text ends would mean guessing who is meant.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, cast

from directory.condition import Operator
from scim.protocol.errors import InvalidFilter, InvalidPath, ScimError

MAX_CHARACTERS = 8192
MAX_DEPTH = 32
"""Nesting of parentheses and brackets."""
MAX_COMPARISONS = 200

type Literal = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class AttributePath:
    """An attribute as it was written; names compare without case (RFC 7643 section 2.1)."""

    urn: str | None
    name: str
    sub: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.urn}:" if self.urn else ""
        suffix = f".{self.sub}" if self.sub else ""
        return f"{prefix}{self.name}{suffix}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`."""

    path: AttributePath
    operator: Operator
    value: Literal
    raw: str | None = None
    """The text read without escapes, where that differs from `value`; only with `eq`, and only
    where the comparison is the whole filter."""


@dataclass(frozen=True, slots=True)
class Presence:
    """`path pr`."""

    path: AttributePath


@dataclass(frozen=True, slots=True)
class ValuePath:
    """`path[filter]`: one element satisfies the filter, whose paths are sub-attributes."""

    path: AttributePath
    filter: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """Every filter holds; at least two."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one filter holds; at least two."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not hold."""

    filter: "Filter"


type Filter = Comparison | Presence | ValuePath | And | Or | Not


@dataclass(frozen=True, slots=True)
class PatchPath:
    """What a PATCH operation points at: `attribute`, `attribute[filter]`, `attribute[filter].sub`.

    `sub` is the sub-attribute after brackets; that of `name.givenName` is in `attribute`.
    """

    attribute: AttributePath
    filter: Filter | None = None
    sub: str | None = None


def parse_filter(text: str) -> Filter:
    """The syntax tree of a filter. Raises InvalidFilter, which says where it is wrong and what was
    expected, or which limit it exceeds."""
    return _read(text, "filter", InvalidFilter, _Parser.whole_filter)


def parse_path(text: str) -> PatchPath:
    """The path of a PATCH operation. Raises InvalidPath, which says where it is wrong and what was
    expected."""
    return _read(text, "path", InvalidPath, _Parser.whole_path)


def _read[Tree](
    text: str, what: str, error: type[ScimError], parse: Callable[["_Parser"], Tree]
) -> Tree:
    single = _SINGLE.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    raw = single["raw"] if single and ("\\" in single["raw"] or '"' in single["raw"]) else None
    try:
        return parse(_Parser(text, what, error, raw))
    except _Ungrammatical as fault:
        if single is None or raw is None:
            raise error(str(fault)) from None
        escaped = f"{single['before']}{json.dumps(raw, ensure_ascii=False)}{single['after']}"
        try:
            return parse(_Parser(escaped, what, error))
        except _Ungrammatical:
            raise error(str(fault)) from None


class _Ungrammatical(Exception):
    """The grammar does not allow the text; the message says where, and what was expected."""


_TOKEN = re.compile(
    r"""
    \s*+ (?:
        (?P<word> [^\s()\[\]"]++ )
      | (?P<string> " [^"\\]*+ (?: \\. [^"\\]*+ )*+ " )
      | (?P<bracket> [()\[\]] )
      | (?P<end> \Z )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_SINGLE = re.compile(
    r"""
    (?P<before> [\s(]*+ [^\s()\[\]"]++
        (?: \[ [^"\]]*+ (?: "[^"]*+" [^"\]]*+ )*+ \] \.[^\s()\[\]"]++ (?= \s++ eq \s*+ " )
          | \[ \s*+ [^\s()\[\]"]++
        )?+
        \s++ eq \s*+
    )
    (?! " [^"\\]*+ (?: \\. [^"\\]*+ )*+ " \s*+ (?:(?:and|or) \s++)?+ (?:not \s*+ \()?+ [\s(]*+
        [^\s()\[\]"]++ (?: \[ \s*+ [^\s()\[\]"]++ )?+ \s++ (?:eq|ne|co|sw|ew|g[te]|l[te]|pr)\b )
    "(?P<raw> .*)"
    (?P<after> \s*+ (?: \] (?: \.[^\s()\[\]"]++ )?+ )?+ [\s)]*+ )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
"""`a eq "…"`, `a[b eq "…"]` or `a[…].b eq "…"`, whatever the text in quotes holds, unless another
comparison follows."""
_NAME = r"[$]?[A-Za-z][A-Za-z0-9_-]*"
_PATH = re.compile(rf"({_NAME})(?:\.({_NAME}))?")
_SUB = re.compile(rf"\.({_NAME})")
_AFTER_URN = r"[$]?[A-Za-z0-9][A-Za-z0-9_-]*"
_LAST_SEGMENT = re.compile(rf"({_AFTER_URN}(?:\.{_AFTER_URN})*?)(?:\.({_AFTER_URN}))?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<fraction>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_INTEGER_DIGITS = 18
"""An integer of this many digits fits 64 bits, which databases compare exactly."""
_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
}
_OPERATORS = frozenset(("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"))
_OPERATOR_LIST = "eq, ne, co, sw, ew, gt, ge, lt, le or pr"
_SHOWN_CHARACTERS = 40


class _Parser:
    """Recursive descent over one text; `kind`, `lexeme` and `start` are the current token's."""

    def __init__(
        self, text: str, what: str, error: type[ScimError], raw: str | None = None
    ) -> None:
        self._text = text
        self._raw = raw
        self._what = what
        self._error = error
        self._end = 0
        self._depth = 0
        self._comparisons = 0
        self._in_brackets = False
        if len(text) > MAX_CHARACTERS:
            raise error(
                f"The {what} has {len(text)} characters; at most {MAX_CHARACTERS} are allowed."
            )
        if not text.isascii() and not _is_unicode(text):
            raise error(f"The {what} holds half of a surrogate pair, which is no character.")
        self._advance()

    def whole_filter(self) -> Filter:
        """The text as a filter."""
        tree = self.disjunction()
        if self.kind != "end":
            self.fail("'and', 'or' or the end")
        return tree

    def whole_path(self) -> PatchPath:
        """The text as the path of a PATCH operation."""
        attribute = self.attribute_path()
        filter, sub = None, None
        if self.lexeme == "[":
            filter = self.brackets()
            if self.kind == "word":
                sub = self.sub_attribute()
        if self.kind != "end":
            self.fail("the end")
        return PatchPath(attribute, filter, sub)

    def disjunction(self) -> Filter:
        """A whole filter: operands of `or`, which are operands of `and`."""
        return self._chain("or", self._conjunction, Or)

    def _conjunction(self) -> Filter:
        return self._chain("and", self._operand, And)

    def _chain(
        self,
        word: str,
        operand: Callable[[], Filter],
        build: Callable[[tuple[Filter, ...]], Filter],
    ) -> Filter:
        filters = [operand()]
        while self.kind == "word" and self.lexeme.lower() == word:
            self._advance()
            filters.append(operand())
        return build(tuple(filters)) if len(filters) > 1 else filters[0]

    def _operand(self) -> Filter:
        if self.lexeme == "(":
            return self._nested(")")
        if self.kind == "word" and self.lexeme.lower() == "not":
            self._advance()
            if self.lexeme != "(":
                self.fail("'(' after 'not'")
            return Not(self._nested(")"))
        path = self.attribute_path()
        if self.lexeme == "[":
            return self._value_path(path)
        return self._expression(path)

    def _value_path(self, path: AttributePath) -> Filter:
        inner = self.brackets()
        if self.kind != "word" or not self.lexeme.startswith("."):
            return ValuePath(path, inner)
        last = self._expression(AttributePath(None, self.sub_attribute()))
        first = inner.filters if isinstance(inner, And) else (inner,)
        return ValuePath(path, And((*first, last)))

    def brackets(self) -> Filter:
        """The filter in the brackets that begin here."""
        if self._in_brackets:
            self.fail("a comparison (brackets cannot stand inside brackets)")
        self._in_brackets = True
        inner = self._nested("]")
        self._in_brackets = False
        return inner

    def _nested(self, closing: str) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(
                f"The {self._what} has more than {MAX_DEPTH} parentheses and brackets"
                f" inside each other (character {self.start + 1})."
            )
        self._advance()
        inner = self.disjunction()
        if self.lexeme != closing:
            self.fail(f"'and', 'or' or '{closing}'")
        self._advance()
        self._depth -= 1
        return inner

    def _expression(self, path: AttributePath) -> Comparison | Presence:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self._error(f"The {self._what} has more than {MAX_COMPARISONS} comparisons.")
        operator = self.lexeme.lower()
        if operator == "pr":
            self._advance()
            return Presence(path)
        if operator not in _OPERATORS:
            self.fail(f"an operator ({_OPERATOR_LIST}) after '{_shown(str(path))}'")
        self._advance()
        value = self._literal()
        # The raw text belongs to the last string, if the grammar reads it as one string, too.
        raw = self._raw if self.lexeme == f'"{self._raw}"' and self._raw != value else None
        self._advance()
        return Comparison(path, cast("Operator", operator), value, raw)

    def attribute_path(self) -> AttributePath:
        """A name, perhaps with its schema's URN before it and a sub-attribute after it."""
        if self.kind != "word":
            self.fail("an attribute name")
        urn = None
        if ":" in self.lexeme:
            urn, _, last = self.lexeme.rpartition(":")
            match = _LAST_SEGMENT.fullmatch(last)
            if match is None or not urn:
                self.fail("a schema's URN, ':' and an attribute name")
        else:
            match = _PATH.fullmatch(self.lexeme)
            if match is None:
                self.fail("an attribute name, or one with one sub-attribute (name.givenName)")
        name, sub = match.groups()
        self._advance()
        return AttributePath(urn, name, sub)

    def sub_attribute(self) -> str:
        """The name after the dot that follows brackets."""
        match = _SUB.fullmatch(self.lexeme)
        if match is None:
            self.fail("'.' and the name of a sub-attribute")
        self._advance()
        return match[1]

    def _literal(self) -> Literal:
        if self.kind == "string":
            return self._string()
        if self.lexeme in _CONSTANTS:
            return _CONSTANTS[self.lexeme]
        number = _NUMBER.fullmatch(self.lexeme)
        if number is None:
            self.fail(
                'a value: text in double quotes ("), a number, true, false or null;'
                " text without double quotes is not read"
            )
        if not number["fraction"]:
            if len(self.lexeme.lstrip("-")) > _INTEGER_DIGITS:
                self.fail(f"a number of at most {_INTEGER_DIGITS} digits")
            return int(self.lexeme)
        value = float(self.lexeme)
        if not math.isfinite(value):
            self.fail("a smaller number")
        return value

    def _string(self) -> str:
        if "\\" not in self.lexeme:
            return self.lexeme[1:-1]
        try:
            value = json.loads(self.lexeme, strict=False)
        except ValueError:
            self.fail("a text with the escapes of JSON (a backslash is written \\\\)")
        if not _is_unicode(value):
            self.fail("a text in which \\u escapes are whole characters")
        return cast("str", value)

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        if match is None:  # only a quotation mark that is never closed matches nothing
            opening = self._text.index('"', self._end)
            raise _Ungrammatical(
                f"The {self._what} is not valid: the text that begins at character {opening + 1}"
                " has no closing quotation mark."
            )
        self.kind = cast("str", match.lastgroup)
        self.lexeme = match[self.kind]
        self.start = match.start(self.kind)
        self._end = match.end()

    def fail(self, expected: str) -> NoReturn:
        """Raise _Ungrammatical: the grammar does not allow the current token here."""
        found = {"end": "the end", "string": "a text in quotes"}.get(
            self.kind, f"'{_shown(self.lexeme)}'"
        )
        raise _Ungrammatical(
            f"The {self._what} is not valid at character {self.start + 1}:"
            f" expected {expected}, found {found}."
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
