"""What requests say about the members of a group, as steps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.condition import matches
from scim.protocol import entra
from scim.protocol.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidValue,
    MutabilityViolation,
    ScimError,
)
from scim.protocol.members import (
    AddMembers,
    MemberStep,
    RemoveMembers,
    RemoveMembersWhere,
    ReplaceMembers,
    members_of,
    split,
)
from tests.unit.payloads import GROUP

URN = "urn:ietf:params:scim:schemas:core:2.0:Group"


def steps(*operations: dict[str, Any]) -> list[MemberStep]:
    others, found = split(GROUP, entra.operations({"Operations": list(operations)}))
    assert others == []
    return found


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            {"op": "Add", "path": "members", "value": [{"$ref": None, "value": "U"}]},
            [AddMembers(("U",))],
        ),
        (
            {"op": "Add", "path": "members", "value": [{"value": f"U{n}"} for n in range(3)]},
            [AddMembers(("U0", "U1", "U2"))],
        ),
        (
            {"op": "Add", "path": "Members", "value": ["U", "V", {"Value": "U", "type": "User"}]},
            [AddMembers(("U", "V"))],
        ),
        ({"op": "add", "path": "members", "value": {"value": "U"}}, [AddMembers(("U",))]),
        ({"op": "add", "path": "members", "value": "U"}, [AddMembers(("U",))]),
        ({"op": "add", "path": f"{URN}:members", "value": "U"}, [AddMembers(("U",))]),
        ({"op": "add", "value": {"members": [{"value": "U"}]}}, [AddMembers(("U",))]),
        ({"op": "Add", "path": "members", "value": []}, []),
        ({"op": "Add", "path": "members", "value": None}, []),
        (
            {"op": "Remove", "path": "members", "value": [{"value": "U"}]},
            [RemoveMembers(("U",))],
        ),
        (
            {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "U"}]},
            [RemoveMembers(("U",))],
        ),
        ({"op": "Remove", "path": "members", "value": []}, []),
        ({"op": "remove", "path": "members"}, [ReplaceMembers(())]),
        (
            {"op": "remove", "path": 'members[value eq "u"]'},
            [RemoveMembers(("u",))],
        ),
        (
            {"op": "remove", "path": 'MEMBERS[Value EQ "u" or value eq "v" or value eq "u"]'},
            [RemoveMembers(("u", "v"))],
        ),
        (
            {"op": "remove", "path": 'members[(value eq "u" or value eq "v") or value eq "w"]'},
            [RemoveMembers(("u", "v", "w"))],
        ),
        (
            {"op": "remove", "path": 'members[value eq "u"]', "value": [{"value": "u"}]},
            [RemoveMembers(("u",))],
        ),
        (
            {"op": "remove", "path": 'members[value eq "u"]', "value": [{"value": "v"}]},
            [RemoveMembers(())],
        ),
        (
            {"op": "replace", "path": "members", "value": [{"value": "U"}, {"value": "V"}]},
            [ReplaceMembers(("U", "V"))],
        ),
        ({"op": "replace", "path": "members", "value": []}, [ReplaceMembers(())]),
        ({"op": "replace", "path": "members", "value": None}, [ReplaceMembers(())]),
        ({"op": "replace", "value": {"members": []}}, [ReplaceMembers(())]),
    ],
)
def test_an_operation_on_members_is_a_step(
    operation: dict[str, Any], expected: list[MemberStep]
) -> None:
    assert steps(operation) == expected


def test_a_filter_with_a_value_removes_only_whom_both_mean() -> None:
    (step,) = steps({"op": "remove", "path": 'members[type eq "User"]', "value": ["u1", "g1"]})
    assert isinstance(step, RemoveMembersWhere)
    members = {"u1": "user", "u2": "user", "g1": "group"}
    gone = {
        id for id, type in members.items() if matches(step.condition, {"value": id, "type": type})
    }
    assert gone == {"u1"}


@pytest.mark.parametrize(
    ("filter", "gone"),
    [
        ('value eq "u1" and type eq "User"', {"u1"}),
        ('type eq "Group"', {"g1"}),
        ('value eq "u1" or type eq "Group"', {"u1", "g1"}),
        ('value ne "u1"', {"u2", "g1"}),
        ('not (value eq "u1" or value eq "u2")', {"g1"}),
        ('value sw "u" or type eq "group"', {"u1", "u2", "g1"}),
    ],
)
def test_other_filters_become_a_condition_on_comparable_elements(
    filter: str, gone: set[str]
) -> None:
    (step,) = steps({"op": "remove", "path": f"members[{filter}]"})
    assert isinstance(step, RemoveMembersWhere)
    members = {"u1": "user", "u2": "user", "g1": "group"}
    removed = {
        member
        for member, type in members.items()
        if matches(step.condition, {"value": member, "type": type})
    }
    assert removed == gone


@pytest.mark.parametrize("sub", ["display", "$ref", "Display"])
@pytest.mark.parametrize(
    "filter",
    [
        '{0} eq "Ada"',
        '{0} ne "Ada"',
        "{0} pr",
        "not ({0} pr)",
        "{0} eq null",
        'value eq "u1" and {0} eq "Ada"',
        'value eq "u1" or not (type eq "User" and {0} ne "Ada")',
    ],
)
@pytest.mark.parametrize("path", ["members[{}]", f"{URN}.members[{{}}]"])
def test_what_is_made_for_answers_selects_nobody(path: str, filter: str, sub: str) -> None:
    """To take it for absent would remove nobody, or everybody."""
    with pytest.raises(InvalidFilter) as error:
        steps({"op": "remove", "path": path.format(filter.format(sub))})
    for part in ("Operations[0]", f"members.{sub.lower()} is made", 'members[value eq "…"]'):
        assert part in error.value.detail


def test_ids_compare_exactly_in_a_path_as_they_do_in_a_list() -> None:
    assert steps({"op": "remove", "path": 'members[value eq "U1"]'}) == [RemoveMembers(("U1",))]
    listed = {"op": "remove", "path": "members", "value": [{"value": "U1"}]}
    assert steps(listed) == [RemoveMembers(("U1",))]


def test_steps_and_everything_else_keep_their_order() -> None:
    operations = entra.operations(
        {
            "Operations": [
                {"op": "Replace", "path": "displayName", "value": "Tours"},
                {"op": "Add", "path": "members", "value": [{"value": "U"}]},
                {"op": "replace", "value": {"members": ["V"], "externalId": "e", "nope": 1}},
                {"op": "remove", "path": 'members[value eq "w"]'},
            ]
        }
    )
    others, found = split(GROUP, operations)
    assert [one.path for one in others] == ["displayName", "externalId", "nope"]
    assert found == [AddMembers(("U",)), ReplaceMembers(("V",)), RemoveMembers(("w",))]


@pytest.mark.parametrize(
    ("operation", "error", "detail"),
    [
        ({"op": "add", "path": "members", "value": 7}, InvalidValue, r"members\[0\] must be"),
        ({"op": "add", "path": "members", "value": ["U", {}]}, InvalidValue, r"members\[1\]"),
        ({"op": "add", "path": "members", "value": [None]}, InvalidValue, r"members\[0\]"),
        ({"op": "add", "path": "members", "value": [["U"]]}, InvalidValue, r"members\[0\]"),
        ({"op": "add", "path": "members", "value": ""}, InvalidValue, r"members\[0\]"),
        ({"op": "add", "path": "members", "value": [{"value": 7}]}, InvalidValue, r"members\[0\]"),
        ({"op": "remove", "path": "members", "value": {}}, InvalidValue, r"members\[0\]"),
        ({"op": "replace", "path": "members", "value": {"$ref": "u"}}, InvalidValue, r"\[0\]"),
        (
            {"op": "replace", "path": 'members[value eq "u"].value', "value": "v"},
            MutabilityViolation,
            "cannot be changed",
        ),
        (
            {"op": "add", "path": 'members[value eq "u"]', "value": {"value": "u"}},
            MutabilityViolation,
            "cannot be changed",
        ),
        ({"op": "remove", "path": "members.value"}, MutabilityViolation, "cannot be changed"),
        (
            {"op": "remove", "path": 'members[value eq "u"].display'},
            MutabilityViolation,
            "cannot be changed",
        ),
        ({"op": "remove", "path": 'members[value eq "u"'}, InvalidPath, "path is not valid"),
        ({"op": "remove", "path": "members[value eq 7]"}, InvalidFilter, "value"),
        ({"op": "remove", "path": 'members[size eq "u"]'}, InvalidFilter, "size"),
    ],
)
def test_errors_name_the_operation(
    operation: dict[str, Any], error: type[ScimError], detail: str
) -> None:
    first = {"op": "add", "path": "members", "value": "U"}
    with pytest.raises(error, match=detail) as raised:
        steps(first, operation)
    assert raised.value.detail.startswith(f"Operations[1] ({operation['op']}): ")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"displayName": "Sales"}, None),
        ({"displayName": "Sales", "members": None}, None),
        ({"displayName": "Sales", "members": []}, ()),
        ({"displayName": "Sales", "Members": [{"value": "U"}, "V", {"value": "U"}]}, ("U", "V")),
    ],
)
def test_the_members_of_a_body(body: dict[str, Any], expected: tuple[str, ...] | None) -> None:
    rest, ids = members_of(body)
    assert rest == {"displayName": "Sales"}
    assert ids == expected


def test_members_in_a_body_are_checked() -> None:
    with pytest.raises(InvalidValue, match=r"members\[1\] must be"):
        members_of({"members": [{"value": "U"}, {"display": "Barbara"}]})


@given(st.lists(st.text(min_size=1), max_size=6))
def test_ids_arrive_as_they_were_sent_each_once_and_in_order(ids: list[str]) -> None:
    value = [{"value": one} for one in ids]
    expected = [AddMembers(tuple(dict.fromkeys(ids)))] if ids else []
    assert steps({"op": "Add", "path": "members", "value": value}) == expected
