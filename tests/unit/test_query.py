"""Compiled conditions agree with `matches`, whatever the condition and the document."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.condition import (
    EVERYTHING,
    NOTHING,
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
    matches,
)
from directory.operations import to_json
from directory.sqlite.json_text import stored_body
from directory.sqlite.query import DOCUMENT, SqliteCompiler

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
HARD_KEYS = (
    "",
    "a.b",
    'quo"te',
    "back\\slash",
    "it's",
    "é",
    "0",
    "nul\0",
    "%",
    "[0]",
    "\U0001f600",
)
KEYS = ("a", "b", "value", "$ref", ENTERPRISE, *HARD_KEYS)
CHARACTERS = "aAb%_\\'\"\0\x01\x02\x03\x06\n\x7féß\u0301\ue000\uffff\U0001f600\U0010ffff"

keys = st.sampled_from(KEYS) | st.sampled_from(("a", "b"))
texts = st.text(st.sampled_from(CHARACTERS), max_size=4) | st.text(max_size=4)
integers = st.sampled_from((0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))) | st.integers(
    -(2**63), 2**63 - 1
)
floats = st.sampled_from((0.0, -0.0, 1.0, 0.1, 1e308, 5e-324, 2.0**63)) | st.floats(
    allow_nan=False, allow_infinity=False
)
scalars = texts | st.booleans() | integers | floats
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(keys, values, max_size=4).map(
    lambda members: members | {"id": "user:1", "tenantId": "t", "type": "User"}
)
paths: st.SearchStrategy[Path] = st.lists(keys, max_size=3).map(tuple) | st.just(("id",))

ordered = st.sampled_from(("eq", "ne", "gt", "ge", "lt", "le"))
textual = st.sampled_from(("eq", "ne", "gt", "ge", "lt", "le", "co", "sw", "ew"))
comparisons = (
    st.builds(Compare, paths, textual, texts)
    | st.builds(Compare, paths, ordered, integers | floats | st.just(10**400))
    | st.builds(Compare, paths, st.sampled_from(("eq", "ne")), st.booleans())
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    comparisons
    | st.builds(Present, paths)
    | st.builds(OneOf, paths, st.lists(texts, max_size=3).map(tuple)),
    lambda inner: (
        st.builds(AnyElement, paths, inner)
        | st.builds(All, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Either, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Negated, inner)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (number, tenant, id, type, body)")
    yield connection
    connection.close()


def selects(database: sqlite3.Connection, condition: Condition, document: dict[str, Any]) -> Any:
    """What the SQL of the condition says of the document."""
    compiler = SqliteCompiler()
    sql = compiler.compile(condition, DOCUMENT)
    database.execute("DELETE FROM documents")
    row = (
        document["tenantId"],
        document["id"],
        document["type"],
        stored_body(to_json(document)).decode(),
    )
    database.execute("INSERT INTO documents VALUES (1, ?, ?, ?, ?)", row)
    selected = database.execute(f"SELECT {sql} FROM documents", compiler.parameters)  # noqa: S608
    return selected.fetchone()[0]


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Literals that have much to do with a JSON value."""
    match value:
        case str():
            near = (value, value[1:], value[:-1], value[1:-1], value + "\0", value[:-1] + "a")
            return st.sampled_from(near)
        case bool():
            return st.sampled_from((value, not value, int(value), str(value).lower()))
        case int() | float():
            bounded = max(min(value, 2**62), -(2**62))
            return st.sampled_from(
                (value, float(value), bounded + 1, bounded - 1, str(value), True)
            )
        case _:
            return st.sampled_from(("", "{}", "[]", "null", "a", 0, False))


@st.composite
def leaves(draw: st.DrawFn, path: Path, value: Any) -> Condition:
    """A condition on the value at the path that is hard to decide."""
    literal = draw(alike(value) if draw(st.booleans()) else scalars)
    operators: st.SearchStrategy[Any] = ordered
    if isinstance(literal, str):
        operators = textual
    elif isinstance(literal, bool):
        operators = st.sampled_from(("eq", "ne"))
    comparison = Compare(path, draw(operators), literal)
    one_of = OneOf(path, (literal, "a") if isinstance(literal, str) else ())
    choices: tuple[Condition, ...] = (comparison, comparison, comparison, Present(path), one_of)
    return draw(st.sampled_from(choices))


@st.composite
def aimed(draw: st.DrawFn) -> tuple[Condition, dict[str, Any]]:
    """A document, and a condition on a value that it holds."""
    value, other, key, inner = draw(scalars | values), draw(values), draw(keys), draw(keys)
    document: dict[str, Any]
    places = ("member", "inner member", "beyond", "element", "member of an element")
    match draw(st.sampled_from(places)):
        case "beyond":
            document, condition = {key: value}, draw(leaves((key, inner), value))
        case "member":
            document, condition = {key: value}, draw(leaves((key,), value))
        case "inner member":
            document, condition = {key: {inner: value}}, draw(leaves((key, inner), value))
        case "element":
            document = {key: [other, value]}
            condition = AnyElement((key,), draw(leaves((), value)))
        case _:
            document = {key: [other, {inner: value}]}
            condition = AnyElement((key,), draw(leaves((inner,), value)))
    return condition, document | {"id": "user:1", "tenantId": "t", "type": "User"}


@settings(max_examples=300)
@given(conditions, documents)
def test_sql_says_what_matches_says(
    database: sqlite3.Connection, condition: Condition, document: dict[str, Any]
) -> None:
    assert selects(database, condition, document) is int(matches(condition, document))


@settings(max_examples=700)
@given(aimed())
def test_sql_says_what_matches_says_of_a_value_that_is_there(
    database: sqlite3.Connection, case: tuple[Condition, dict[str, Any]]
) -> None:
    condition, document = case
    assert selects(database, condition, document) is int(matches(condition, document))
    assert selects(database, Negated(condition), document) is int(not matches(condition, document))


@settings(max_examples=300)
@given(texts, texts, texts, textual)
def test_sql_says_what_matches_says_of_parts_of_texts(
    database: sqlite3.Connection, before: str, part: str, after: str, operator: Operator
) -> None:
    for whole in (before + part + after, part + after, before + part):
        document = {"id": "user:1", "tenantId": "t", "type": "User", "a": whole}
        condition = Compare(("a",), operator, part)
        assert selects(database, condition, document) is int(matches(condition, document))


@pytest.mark.parametrize("condition", [EVERYTHING, NOTHING, Compare((), "eq", "x"), Present(())])
def test_conditions_on_the_document_itself(
    database: sqlite3.Connection, condition: Condition
) -> None:
    document = {"id": "user:1", "tenantId": "t", "type": "User"}
    assert selects(database, condition, document) is int(matches(condition, document))


def test_half_of_a_surrogate_pair_is_in_no_document(database: sqlite3.Connection) -> None:
    document = {"id": "user:1", "tenantId": "t", "type": "User", "a": "\x01\x01"}
    operators: tuple[Operator, ...] = ("eq", "co", "sw", "ew")
    for operator in operators:
        condition = Compare(("a",), operator, "\ud800")
        assert selects(database, condition, document) == 0
    assert selects(database, OneOf(("a",), ("\ud800",)), document) == 0


@pytest.mark.parametrize("join", [All, Either])
@pytest.mark.parametrize("depth", [1, 40])
def test_conditions_may_be_deep_and_wide(
    database: sqlite3.Connection, join: type[All | Either], depth: int
) -> None:
    """As deep as a SCIM filter may be, inside brackets of its own, and then some."""
    document = {"id": "user:1", "tenantId": "t", "type": "User", "a": [{"b": "x"}]}
    leaf = Compare(("b",), "eq", "x")
    condition: Condition = join((leaf,) * 200)
    for level in range(depth):
        other = (Either, All)[level % 2]
        condition = Negated(other((leaf, Negated(leaf), condition)))
    condition = Negated(AnyElement(("a",), condition))
    assert selects(database, condition, document) is int(matches(condition, document))


@pytest.mark.parametrize(
    ("value", "operator"), [(True, "gt"), (False, "co"), (1, "sw"), (1.5, "co")]
)
def test_operators_that_a_type_lacks_are_refused(value: Any, operator: Any) -> None:
    with pytest.raises(ValueError, match=operator):
        SqliteCompiler().compile(Compare(("a",), operator, value), DOCUMENT)


def test_values_and_strange_keys_are_parameters() -> None:
    hostile = "x') OR 1 -- \""
    compiler = SqliteCompiler()
    sql = compiler.compile(Compare((hostile, hostile), "co", hostile), DOCUMENT)
    assert hostile not in sql
    assert compiler.parameters.count(hostile) >= 3


def test_what_an_index_answers_is_asked_before_an_array_is_looked_through() -> None:
    emails = AnyElement(("search", "emails"), Compare(("value",), "eq", "a@example.com"))
    sql = SqliteCompiler("User", "acme").compile(Either((emails, emails)), DOCUMENT)
    for each in sql.split(" OR "):
        assert 0 < each.index("FROM elements") < each.index("json_each")
