"""What conditions say of a document, case by case."""

import pytest

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
    Scalar,
    matches,
)

DOCUMENT = {
    "name": "Ada",
    "born": 1815,
    "height": 1.5,
    "active": True,
    "nothing": None,
    "empty": "",
    "emails": [{"type": "work", "value": "ada@example.com"}, {"type": "home", "value": "a@b.c"}],
    "tags": ["x", "y", 1],
    "urn:x:2.0:User": {"manager": {"value": "42"}},
}


@pytest.mark.parametrize(
    ("path", "operator", "value", "expected"),
    [
        ("name", "eq", "Ada", True),
        ("name", "eq", "ada", False),
        ("name", "ne", "ada", True),
        ("name", "co", "d", True),
        ("name", "co", "", True),
        ("name", "sw", "Ad", True),
        ("name", "sw", "da", False),
        ("name", "ew", "da", True),
        ("name", "ew", "", True),
        ("name", "gt", "Abe", True),
        ("name", "lt", "Ada", False),
        ("name", "le", "Ada", True),
        ("empty", "eq", "", True),
        ("born", "eq", 1815.0, True),
        ("born", "eq", "1815", False),
        ("born", "ge", 1815, True),
        ("born", "lt", "9", False),
        ("height", "gt", 1, True),
        ("active", "eq", True, True),
        ("active", "eq", 1, False),
        ("active", "ne", 1, True),
        ("born", "eq", True, False),
        ("nothing", "eq", "", False),
        ("nothing", "ne", "x", True),
        ("missing", "eq", "x", False),
        ("missing", "ne", "x", True),
        ("missing", "lt", "x", False),
        ("missing", "co", "", False),
        ("emails", "ne", "x", True),
        ("emails", "co", "ada", False),
    ],
)
def test_comparisons(path: str, operator: Operator, value: Scalar, expected: bool) -> None:
    assert matches(Compare((path,), operator, value), DOCUMENT) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("name",), True),
        (("empty",), True),
        (("nothing",), False),
        (("missing",), False),
        (("name", "x"), False),
        (("urn:x:2.0:User", "manager", "value"), True),
        (("tags", "0"), False),
        ((), True),
    ],
)
def test_presence(path: Path, expected: bool) -> None:
    assert matches(Present(path), DOCUMENT) is expected


WORK = Compare(("type",), "eq", "work")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (AnyElement(("emails",), Compare(("value",), "eq", "a@b.c")), True),
        (AnyElement(("emails",), All((WORK, Compare(("value",), "eq", "a@b.c")))), False),
        (AnyElement(("tags",), Compare((), "eq", "y")), True),
        (AnyElement(("tags",), Compare((), "eq", "z")), False),
        (AnyElement(("tags",), EVERYTHING), True),
        (AnyElement(("name",), EVERYTHING), False),
        (AnyElement(("missing",), EVERYTHING), False),
        (AnyElement(("emails",), AnyElement((), EVERYTHING)), False),
        (OneOf(("name",), ("Ada", "Bob")), True),
        (OneOf(("name",), ("Bob",)), False),
        (OneOf(("name",), ()), False),
        (OneOf(("missing",), ("Ada",)), False),
        (EVERYTHING, True),
        (NOTHING, False),
        (Negated(NOTHING), True),
        (All((Present(("name",)), Present(("missing",)))), False),
        (Either((Present(("name",)), Present(("missing",)))), True),
    ],
)
def test_compositions(condition: Condition, expected: bool) -> None:
    assert matches(condition, DOCUMENT) is expected
    assert matches(Negated(condition), DOCUMENT) is not expected
