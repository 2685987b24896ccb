"""The façade's SQL: undefined as Cosmos DB has it, and refusals instead of guesses."""

from typing import Any

import pytest

from tests.emulators.cosmos_sql import UNDEFINED, Unsupported, parse

ITEM: dict[str, Any] = {
    "id": "a",
    "text": "x",
    "number": 1,
    "yes": True,
    "nothing": None,
    "list": [{"value": "x", "type": "work"}, "x", 1],
    "object": {"key": "x"},
}


def value(expression: str, **parameters: Any) -> Any:
    values = {f"@{name}": value for name, value in parameters.items()}
    sql = f"SELECT * FROM c WHERE {expression}"  # noqa: S608
    return parse(sql, values).where({"c": ITEM})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("c.text = @x", True),
        ("c.text = @y", False),
        ("c.number = @x", UNDEFINED),
        ("c.missing = @x", UNDEFINED),
        ("c.nothing = @x", UNDEFINED),
        ("c.yes = @one", UNDEFINED),
        ("c.number >= @one", True),
        ("c.text < @one", UNDEFINED),
        ("(NOT (c.text = @y))", True),
        ("(NOT (c.missing = @x))", UNDEFINED),
        ("NOT IS_NULL(c.nothing)", False),
        ("IS_DEFINED(c.missing)", False),
        ("IS_NULL(c.missing)", False),
        ("((c.missing = @x) ?? false)", False),
        ("((c.text = @x) ?? false)", True),
        ("c.missing = @x AND c.text = @y", False),
        ("c.missing = @x AND c.text = @x", UNDEFINED),
        ("c.missing = @x OR c.text = @x", True),
        ("c.missing = @x OR c.text = @y", UNDEFINED),
        ("c.text = @x OR c.text = @y AND c.text = @y", True),
        ("c.text IN (@y, @x)", True),
        ("c.missing IN (@y, @x)", UNDEFINED),
        ('c["object"]["key"] = @x', True),
        ("c.text.key = @x", UNDEFINED),
        ("CONTAINS(c.text, @empty)", True),
        ("CONTAINS(c.number, @x)", UNDEFINED),
        ("STARTSWITH(c.text, @y)", False),
        ("ENDSWITH(c.text, @x)", True),
        ("ARRAY_CONTAINS(c.list, @part, true)", True),
        ("ARRAY_CONTAINS(c.list, @other, true)", False),
        ("ARRAY_CONTAINS(c.text, @part, true)", UNDEFINED),
        ("EXISTS(SELECT VALUE e FROM e IN c.list WHERE e = @x)", True),
        ("EXISTS(SELECT VALUE e FROM e IN c.list WHERE e.type = @x)", False),
        ("EXISTS(SELECT VALUE e FROM e IN c.object WHERE true)", False),
        ("EXISTS(SELECT VALUE e FROM e IN c.missing WHERE true)", False),
        ('EXISTS(SELECT VALUE e FROM e IN c.list WHERE e["value"] = c.text)', True),
    ],
)
def test_truth_has_three_values(expression: str, expected: Any) -> None:
    found = value(
        expression, x="x", y="y", one=1, empty="", part={"value": "x"}, other={"value": "y"}
    )
    assert found is expected


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT *",
        "SELECT * FROM c WHERE",
        "SELECT * FROM c WHERE c.a = @missing",
        "SELECT * FROM c WHERE c.a = 'x'",
        "SELECT * FROM c WHERE c.a = 1",
        "SELECT * FROM c WHERE c.a != @x",
        "SELECT * FROM c WHERE c.a + @x",
        "SELECT * FROM c WHERE NOT c.a = @x",
        "SELECT * FROM c WHERE c.a ?? false",
        "SELECT * FROM c WHERE d.a = @x",
        "SELECT * FROM c WHERE c.value = @x",
        "SELECT * FROM c WHERE LOWER(c.a) = @x",
        "SELECT * FROM c WHERE CONTAINS(c.a, @x, true)",
        "SELECT * FROM c WHERE c.a = @x GROUP BY c.a",
        "SELECT * FROM c WHERE EXISTS(SELECT VALUE 1 FROM e IN c.a WHERE true)",
        "SELECT * FROM c WHERE (true",
        "SELECT * FROM c JOIN e IN c.a",
        "SELECT TOP 1 * FROM c",
        "SELECT DISTINCT c.id FROM c",
        "SELECT VALUE c.id FROM c",
        "SELECT VALUE SUM(1) FROM c",
        "SELECT * FROM c OFFSET 1",
        "SELECT * FROM c -- comment",
    ],
)
def test_what_it_does_not_know_it_refuses(sql: str) -> None:
    with pytest.raises(Unsupported):
        parse(sql, {"@x": "x"})


@pytest.mark.parametrize(
    ("expression", "parameters"),
    [
        ("c.list = @x", {"x": []}),
        ("c.yes < @x", {"x": False}),
        ("ARRAY_CONTAINS(c.list, @x, true)", {"x": "x"}),
        ("ARRAY_CONTAINS(c.list, @x, false)", {"x": {"value": "x"}}),
    ],
)
def test_values_that_it_does_not_know_it_refuses(
    expression: str, parameters: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported):
        value(expression, **parameters)


def test_rows() -> None:
    statement = parse('SELECT c["id"], c.missing, c.object.key AS inner FROM c', {})
    assert statement.project(ITEM) == {"id": "a", "inner": "x"}
