"""Cosmos DB's SQL of a condition agrees with `matches`, and stays what the indexes answer."""

from typing import Any

import pytest
from hypothesis import given, settings

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
    Present,
    matches,
)
from directory.cosmos.query import CosmosCompiler, Select, select_count, select_page
from directory.store import Query
from tests.emulators.cosmos_sql import Statement, parse
from tests.unit.test_query import aimed, conditions, documents, texts, textual

USER = {"id": "user:1", "tenantId": "t", "type": "User"}
EMAILS, VALUE = ("search", "emails"), ("value",)


def selects(condition: Condition, document: dict[str, Any]) -> bool:
    """Whether the SQL of the condition selects the document, as it does under AND."""
    return _statement(select_count("User", condition)).selects(document)


def _statement(select: Select) -> Statement:
    return parse(select.sql, {str(p["name"]): p["value"] for p in select.parameters})


def where(condition: Condition) -> str:
    compiler = CosmosCompiler("User")
    return compiler.compile(condition, "c")


@settings(max_examples=300)
@given(conditions, documents)
def test_sql_says_what_matches_says(condition: Condition, document: dict[str, Any]) -> None:
    assert selects(condition, document) is matches(condition, document)


@settings(max_examples=700)
@given(aimed())
def test_sql_says_what_matches_says_of_a_value_that_is_there(
    case: tuple[Condition, dict[str, Any]],
) -> None:
    condition, document = case
    expected = matches(condition, document)
    assert selects(condition, document) is expected
    assert selects(Negated(condition), document) is not expected
    assert selects(Either((NOTHING, Negated(All((condition,))))), document) is not expected


@settings(max_examples=300)
@given(texts, texts, texts, textual)
def test_sql_says_what_matches_says_of_parts_of_texts(
    before: str, part: str, after: str, operator: Operator
) -> None:
    for whole in (before + part + after, part + after, before + part):
        condition = Compare(("a",), operator, part)
        assert selects(condition, USER | {"a": whole}) is matches(condition, {"a": whole})


@settings(max_examples=300)
@given(texts, texts, textual)
def test_half_of_a_surrogate_pair_has_a_place_among_texts(
    before: str, other: str, operator: Operator
) -> None:
    """No document can hold it, and the service must not be sent it."""
    condition = Compare(("a",), operator, before + "\ud83d" + other)
    for whole in (other, before, before + other, before + "\ue000", before + "\U0001f600"):
        assert selects(condition, USER | {"a": whole}) is matches(condition, {"a": whole})
    for parameter in select_count(
        "User", Either((condition, OneOf(("a",), ("\ud800",))))
    ).parameters:
        str(parameter["value"]).encode()


@pytest.mark.parametrize("condition", [EVERYTHING, NOTHING, Compare((), "eq", "x"), Present(())])
def test_conditions_on_the_document_itself(condition: Condition) -> None:
    assert selects(condition, USER) is matches(condition, USER)


def test_what_an_index_answers_stands_as_it_is() -> None:
    """Neither wrapped nor converted: that would be a scan."""
    assert where(Compare(("search", "userName"), "eq", "ada")) == '(c["search"]["userName"] = @p0)'
    assert where(Compare(("id",), "sw", "user:")) == 'STARTSWITH(c["id"], @p0)'
    assert where(OneOf(("groupId",), ("a", "b"))) == '(c["groupId"] IN (@p0, @p1))'
    assert where(AnyElement(EMAILS, Compare(VALUE, "eq", "a@x"))) == (
        'ARRAY_CONTAINS(c["search"]["emails"], @p0, true)'
    )
    work = All((Compare(("type",), "eq", "work"), Compare(VALUE, "eq", "a@x")))
    assert where(AnyElement(EMAILS, work)) == (
        '(ARRAY_CONTAINS(c["search"]["emails"], @p0, true) AND EXISTS(SELECT VALUE e1 FROM e1 IN'
        ' c["search"]["emails"] WHERE ((e1["type"] = @p1) AND (e1["value"] = @p2))))'
    )


def test_values_are_parameters_and_keys_cannot_end_their_quotes() -> None:
    hostile = 'x"] OR true OR c["'
    select = select_page(
        Query("User", Compare((hostile,), "eq", hostile), fields=(hostile,)), hostile
    )
    assert hostile not in select.sql
    statement = _statement(select)
    assert statement.selects({"id": "z", "type": "User", hostile: hostile})
    assert not statement.selects({"id": "z", "type": "User"})
    assert statement.project({"id": "z", hostile: 1, "x": 2}) == {"id": "z", hostile: 1}


@pytest.mark.parametrize(
    ("value", "operator"), [(True, "gt"), (False, "co"), (1, "sw"), (1.5, "co")]
)
def test_operators_that_a_type_lacks_are_refused(value: Any, operator: Any) -> None:
    with pytest.raises(ValueError, match=operator):
        select_count("User", Compare(("a",), operator, value))


@pytest.mark.parametrize("depth", [1, 40])
def test_conditions_may_be_deep(depth: int) -> None:
    leaf = Compare(("b",), "eq", "x")
    condition: Condition = leaf
    for level in range(depth):
        other = (Either, All)[level % 2]
        condition = Negated(other((leaf, Negated(leaf), condition)))
    condition = Negated(AnyElement(("a",), condition))
    document = USER | {"a": [{"b": "x"}]}
    assert selects(condition, document) is matches(condition, document)
