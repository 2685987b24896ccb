"""The filter and path grammar (RFC 7644 sections 3.4.2.2 and 3.5.2)."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scim.protocol.errors import InvalidFilter, InvalidPath
from scim.protocol.filter import (
    MAX_CHARACTERS,
    MAX_COMPARISONS,
    MAX_DEPTH,
    And,
    AttributePath,
    Comparison,
    Filter,
    Not,
    Or,
    PatchPath,
    Presence,
    ValuePath,
    parse_filter,
    parse_path,
)

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")


def path(name: str, sub: str | None = None, urn: str | None = None) -> AttributePath:
    return AttributePath(urn, name, sub)


def equal(name: str, value: str = "x") -> Comparison:
    return Comparison(path(name), "eq", value)


A, B, C, D = (Presence(path(name)) for name in "abcd")


def rendered(filter: Filter) -> str:
    """The text of a syntax tree, with only the parentheses that it needs."""
    match filter:
        case Comparison(where, operator, value):
            return f"{where} {operator} {json.dumps(value)}"
        case Presence(where):
            return f"{where} pr"
        case ValuePath(where, inner):
            return f"{where}[{rendered(inner)}]"
        case Not(inner):
            return f"not ({rendered(inner)})"
        case And(filters):
            return " and ".join(
                f"({rendered(f)})" if isinstance(f, And | Or) else rendered(f) for f in filters
            )
        case Or(filters):
            return " or ".join(
                f"({rendered(f)})" if isinstance(f, Or) else rendered(f) for f in filters
            )


# Comparisons


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_in_any_case(operator: str) -> None:
    for written in (operator, operator.upper(), operator.title()):
        assert parse_filter(f'userName {written} "x"') == Comparison(
            path("userName"),
            operator,  # type: ignore[arg-type]
            "x",
        )


@pytest.mark.parametrize("written", ["pr", "PR", "Pr"])
def test_presence(written: str) -> None:
    assert parse_filter(f"title {written}") == Presence(path("title"))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"x"', "x"),
        ('""', ""),
        ('"a b and (c) [d] eq"', "a b and (c) [d] eq"),
        (r'"a\"b\\c\/d\n\u00e9"', 'a"b\\c/d\né'),
        (r'"\ud83d\ude00"', "😀"),
        ('"é😀"', "é😀"),
        ('"a\tb\\n"', "a\tb\n"),
        ('"o\'brien+x#EXT#@t%"', "o'brien+x#EXT#@t%"),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("-2.5e-3", -0.0025),
        ("1E2", 100.0),
        ("999999999999999999", 999999999999999999),
        ("true", True),
        ("True", True),
        ("false", False),
        ("False", False),
        ("null", None),
    ],
)
def test_every_kind_of_value(written: str, value: object) -> None:
    comparison = parse_filter(f"a eq {written}")
    assert isinstance(comparison, Comparison)
    assert (comparison.value, type(comparison.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("userName", path("userName")),
        ("name.givenName", path("name", "givenName")),
        ("a-b_9", path("a-b_9")),
        ("manager.$ref", path("manager", "$ref")),
        ("$ref", path("$ref")),
        (f"{ENTERPRISE}:department", path("department", None, ENTERPRISE)),
        (f"{ENTERPRISE}:manager.value", path("manager", "value", ENTERPRISE)),
        ("urn:x:y:2.0User:z", path("z", None, "urn:x:y:2.0User")),
    ],
)
def test_attribute_paths(written: str, expected: AttributePath) -> None:
    assert parse_filter(f"{written} pr") == Presence(expected)
    assert parse_path(written) == PatchPath(expected)
    assert str(expected) == written


@pytest.mark.parametrize("urn", [ENTERPRISE, "urn:example:hr:1.0", "urn:a:b:1.2.3", "urn:x:y"])
def test_a_schema_alone_is_a_path_whose_text_is_kept(urn: str) -> None:
    assert str(parse_path(urn).attribute) == urn


# Logic


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a pr and b pr", And((A, B))),
        ("a pr AND b pr And c pr", And((A, B, C))),
        ("a pr or b pr OR c pr", Or((A, B, C))),
        ("a pr or b pr and c pr", Or((A, And((B, C))))),
        ("a pr and b pr or c pr", Or((And((A, B)), C))),
        ("a pr and b pr or c pr and d pr", Or((And((A, B)), And((C, D))))),
        ("(a pr or b pr) and c pr", And((Or((A, B)), C))),
        ("a pr and (b pr and c pr)", And((A, And((B, C))))),
        ("not (a pr)", Not(A)),
        ("NOT(a pr)", Not(A)),
        ("not (a pr) and b pr", And((Not(A), B))),
        ("not (a pr and b pr) or c pr", Or((Not(And((A, B))), C))),
        ("not (not (a pr))", Not(Not(A))),
        ("((a pr))", A),
        ("  a \t pr\n and ( b  pr ) ", And((A, B))),
        ('a eq"x"and b pr', And((equal("a"), B))),
    ],
)
def test_precedence_and_grouping(written: str, expected: Filter) -> None:
    assert parse_filter(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('members[value eq "x"]', ValuePath(path("members"), equal("value"))),
        (
            'emails [ type eq "x" and not (primary pr) ] or a pr',
            Or(
                (ValuePath(path("emails"), And((equal("type"), Not(Presence(path("primary")))))), A)
            ),
        ),
        (
            f'{ENTERPRISE}:things[value eq "x"]',
            ValuePath(path("things", None, ENTERPRISE), equal("value")),
        ),
    ],
)
def test_value_paths(written: str, expected: Filter) -> None:
    assert parse_filter(written) == expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_sub_attribute_after_brackets_belongs_inside(operator: str) -> None:
    assert parse_filter(f'emails[type eq "work"].value {operator} "x"') == parse_filter(
        f'emails[type eq "work" and value {operator} "x"]'
    )


def test_more_of_sub_attributes_after_brackets() -> None:
    assert parse_filter('emails[type eq "work"].value pr') == parse_filter(
        'emails[type eq "work" and value pr]'
    )
    assert parse_filter('emails[a pr or b pr].value eq "x" and c pr') == parse_filter(
        'emails[(a pr or b pr) and value eq "x"] and c pr'
    )
    assert parse_filter('emails[a pr and b pr].value eq "x"') == parse_filter(
        'emails[a pr and b pr and value eq "x"]'
    )


# Errors


@pytest.mark.parametrize(
    ("written", "character", "said"),
    [
        ("", 1, "an attribute name, found the end"),
        ("   ", 4, "an attribute name, found the end"),
        ('userName = "x"', 10, "an operator (eq, ne, co"),
        ("userName", 9, "after 'userName', found the end"),
        ("userName eq", 12, "a value"),
        ("externalId eq jyoung", 15, "without double quotes is not read, found 'jyoung'"),
        ("a eq 'x'", 6, "double quotes"),
        ("a eq TRUE", 6, "a value"),
        ("a eq Null", 6, "a value"),
        ("a eq 007", 6, "a value"),
        ("a eq 1.", 6, "a value"),
        ("a eq ٣", 6, "a value"),
        ("a eq 1e999", 6, "a smaller number"),
        ("a eq 9223372036854775808", 6, "at most 18 digits"),
        ("a eq " + "9" * 5000, 6, "at most 18 digits"),
        ("a eq (1)", 6, "a value"),
        ('a ne "x" "y"', 10, "found a text in quotes"),
        ('a eq "x" b pr', 10, "'and', 'or' or the end, found 'b'"),
        ('a ne "\\x"', 6, "escapes of JSON"),
        ('a ne "\\ud800"', 6, "whole characters"),
        ('a eq "open', 6, "no closing quotation mark"),
        ('a eq "x" and b eq "open\\"', 19, "no closing quotation mark"),
        ("a pr and", 9, "an attribute name"),
        ("a pr or or b pr", 12, "an operator"),
        ("a pr )", 6, "found ')'"),
        ("(a pr", 6, "')', found the end"),
        ("()", 2, "an attribute name, found ')'"),
        ("not a pr", 5, "'(' after 'not'"),
        ("a.b.c pr", 1, "one with one sub-attribute"),
        ("a. pr", 1, "an attribute name"),
        ("9a pr", 1, "an attribute name"),
        ("a@b pr", 1, "found 'a@b'"),
        ("naïve pr", 1, "an attribute name"),
        ("urn:x: pr", 1, "a schema's URN"),
        (":a pr", 1, "a schema's URN"),
        ("emails[]", 8, "an attribute name, found ']'"),
        ("emails[a pr", 12, "']', found the end"),
        ("emails[a pr)", 12, "found ')'"),
        ("emails[b[c pr]]", 9, "brackets cannot stand inside brackets"),
        ("emails[a pr].value", 19, "an operator"),
        ("emails[a pr].v.w pr", 13, "a sub-attribute"),
        ('emails[a pr] eq "x"', 14, "'and', 'or' or the end"),
    ],
)
def test_what_is_wrong_and_where(written: str, character: int, said: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(written)
    assert f"character {character}" in caught.value.detail
    assert said in caught.value.detail


def test_errors_quote_no_value_and_nothing_long() -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter('a ne "x" "anna@example.com"')
    assert "anna" not in caught.value.detail
    with pytest.raises(InvalidFilter) as caught:
        parse_filter("a" * 5000 + " xx 1")
    assert len(caught.value.detail) < 300


def test_limits() -> None:
    longest = 'a eq "' + "x" * (MAX_CHARACTERS - 7) + '"'
    parse_filter(longest)
    with pytest.raises(InvalidFilter, match=f"at most {MAX_CHARACTERS}"):
        parse_filter(longest + " ")

    parse_filter("(" * MAX_DEPTH + "a pr" + ")" * MAX_DEPTH)
    for opening in ("(", "not (", "a[("):
        with pytest.raises(InvalidFilter, match=f"more than {MAX_DEPTH}"):
            parse_filter(opening[:-1] + "(" * (MAX_DEPTH + 1) + "a pr")
    parse_filter(" and ".join(["(a pr)"] * (MAX_DEPTH + 1)))  # beside each other is not inside

    most = " or ".join(["a pr"] * MAX_COMPARISONS)
    parse_filter(most)
    with pytest.raises(InvalidFilter, match=f"more than {MAX_COMPARISONS} comparisons"):
        parse_filter(f"{most} or b[c pr].d pr")


# Paths of PATCH operations


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("members", PatchPath(path("members"))),
        ("name.familyName", PatchPath(path("name", "familyName"))),
        ('addresses[type eq "x"]', PatchPath(path("addresses"), equal("type"))),
        ('members[value eq "x"].display', PatchPath(path("members"), equal("value"), "display")),
        ('emails[type eq "x"].Value', PatchPath(path("emails"), equal("type"), "Value")),
        (
            'roles[primary eq "True"].$ref',
            PatchPath(path("roles"), equal("primary", "True"), "$ref"),
        ),
        (
            f'{ENTERPRISE}:things[type eq "x"].value',
            PatchPath(path("things", None, ENTERPRISE), equal("type"), "value"),
        ),
        (" active ", PatchPath(path("active"))),
    ],
)
def test_patch_paths(written: str, expected: PatchPath) -> None:
    assert parse_path(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "a b",
        'a eq "x"',
        '"a"',
        "a.b.c",
        "a[b pr",
        "a[b pr]x",
        "a[b pr].c.d",
        "a[b pr].c d",
        "a[b pr][c pr]",
        "a[]",
        "a[b]",
        "[a pr]",
        ".a",
        "a/b",
        "urn:x:",
        'a[b eq "open]',
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_malformed_patch_paths(written: str) -> None:
    with pytest.raises(InvalidPath, match=r"^The path "):
        parse_path(written)


# Laws

names = st.from_regex(r"[$]?[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() != "not"
)
urns = st.from_regex(r"urn(:[a-z0-9.]{1,6}){1,3}", fullmatch=True)
paths = st.builds(AttributePath, st.none() | urns, names, st.none() | names)
values = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.booleans()
    | st.none()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
leaves = st.builds(Comparison, paths, st.sampled_from(OPERATORS), values) | st.builds(
    Presence, paths
)


def _logic(operands: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(operands, min_size=2, max_size=3).map(tuple)
    return st.builds(And, several) | st.builds(Or, several) | st.builds(Not, operands)


inside_brackets: st.SearchStrategy[Filter] = st.recursive(leaves, _logic, max_leaves=6)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaves | st.builds(ValuePath, paths, inside_brackets), _logic, max_leaves=10
)


@given(filters)
def test_a_rendered_filter_parses_to_itself(filter: Filter) -> None:
    again = parse_filter(rendered(filter))
    assert again == filter
    assert repr(again) == repr(filter)  # 1, 1.0 and true are equal in Python


@given(filters)
def test_names_of_logic_and_operators_have_no_case(filter: Filter) -> None:
    def shouted(text: str) -> str:
        pieces = text.split('"')  # outside of texts only
        words = {*OPERATORS, "pr", "and", "or", "not"}
        for index in range(0, len(pieces), 2):
            pieces[index] = " ".join(
                word.upper() if word in words else word for word in pieces[index].split(" ")
            )
        return '"'.join(pieces)

    text = rendered(filter)
    if '\\"' not in text:  # an attribute may be called `lt`, so names are compared without case
        assert rendered(parse_filter(shouted(text))).casefold() == text.casefold()


words = (
    """a name.b urn:x:2.0:y eq pr and or not ( ) [ ] "x" " \\ \\u 1 - 1e9 true null .value : $ é"""
)
fragments = st.lists(st.sampled_from([*words.split(), " ", "\0"]), max_size=30).map("".join)


@given(st.text() | fragments | st.lists(st.sampled_from(words.split())).map(" ".join))
@example("\ud800 pr")
@example('a eq "' + "\\" * 4001)
@example("a:" * 4000 + "!")
@example("a:" + "b." * 4000)
@example("[" * MAX_CHARACTERS)
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse, error in ((parse_filter, InvalidFilter), (parse_path, InvalidPath)):
        detail = ""
        try:
            parse(text)
        except error as refused:
            detail = refused.detail
        assert len(detail.encode()) < 500  # encodes: an answer can carry it


# Texts of clients that escape nothing


@pytest.mark.parametrize(
    "text",
    [
        'say "hi"',
        'x and y eq "z"',
        'ends with quote"',
        '"',
        '"a" b',
        'a" "b',
        "slash\\",
        "C:\\Users",
        "C:\\u00",
        'a]"',
        'a" or "b',
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        'displayName eq "{}"',
        ' ( displayName EQ "{}" ) ',
        'emails[type eq "work"].value eq "{}"',
        'emails[type eq "work" and not (primary eq true)].value eq "{}"',
        'emails[value eq "{}"]',
        'urn:x:2.0:User:name eq"{}"',
    ],
)
def test_a_text_that_is_not_escaped_is_what_stands_between_the_outer_quotes(
    form: str, text: str
) -> None:
    escaped = form.format(json.dumps(text)[1:-1])
    assert without_raw(parse_filter(form.format(text))) == without_raw(parse_filter(escaped))


@pytest.mark.parametrize("path", ['emails[value eq "{}"]', 'emails[ value eq "{}" ].display'])
@pytest.mark.parametrize("text", ['say "hi"', "slash\\", 'a"] or "b'])
def test_a_text_in_a_path_that_is_not_escaped(path: str, text: str) -> None:
    found = parse_path(path.format(text))
    assert isinstance(found.filter, Comparison)
    assert found.filter.value == text


@pytest.mark.parametrize(
    ("text", "value"), [("C:\\new", "C:\new"), ("slash\\back", "slash\back"), ("a\\\\b", "a\\b")]
)
def test_a_backslash_is_read_either_way(text: str, value: str) -> None:
    for form in ('{} eq "{}"', '(emails[type eq "work"].{} eq "{}")', 'emails[{} eq "{}"]'):
        tree = parse_filter(form.format("value", text))
        while not isinstance(tree, Comparison):
            assert isinstance(tree, ValuePath | And)
            tree = tree.filter if isinstance(tree, ValuePath) else tree.filters[-1]
        assert (tree.value, tree.raw) == (value, text)


@pytest.mark.parametrize(
    "text",
    ['a eq "x\\\\y" and b eq "z"', 'a ne "x\\\\y"', 'a sw "x\\\\y"', 'not (a eq "x\\\\y")'],
)
def test_a_backslash_is_an_escape_in_whatever_is_more_than_one_eq(text: str) -> None:
    tree = parse_filter(text)
    assert tree == without_raw(tree)


@pytest.mark.parametrize(
    "text",
    [
        'a eq "x" and',
        'a ne "say "hi""',
        'a eq "x" and b',
        '(a eq "say "hi""',
        'a eq "say "hi"")',
        'emails[value eq "say "hi""',
        'a eq "say "hi" or b pr',
        " or ".join(['a eq "x"'] * (MAX_COMPARISONS + 1)),
        "(" * (MAX_DEPTH + 1) + 'a eq "x"' + ")" * (MAX_DEPTH + 1),
        f'a eq "{"x" * MAX_CHARACTERS}""',
    ],
)
def test_what_no_reading_makes_a_filter_of(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(text)


@given(st.lists(st.sampled_from([*'ab "\\]).[(', " and ", " eq ", "pr"]), max_size=12).map("".join))
def test_every_text_is_found_as_it_stands_unless_it_is_more_than_one_comparison(text: str) -> None:
    try:
        tree = parse_filter(f'a eq "{text}"')
    except InvalidFilter:
        tree = A
    if "eq" not in text and "pr" not in text:
        assert isinstance(tree, Comparison)
        assert text in (tree.value, tree.raw)


def without_raw(tree: Filter) -> Filter:
    """The tree as if nothing could be read either way."""
    match tree:
        case Comparison(where, operator, value):
            return Comparison(where, operator, value)
        case ValuePath(where, inner):
            return ValuePath(where, without_raw(inner))
        case And(filters):
            return And(tuple(map(without_raw, filters)))
        case Or(filters):
            return Or(tuple(map(without_raw, filters)))
        case Not(inner):
            return Not(without_raw(inner))
        case Presence():
            return tree
