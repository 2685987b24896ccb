"""Laws of PATCH, on resources and operations of every kind, and an independent implementation."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st
from scim2_models import PatchOp, ScimPolicy
from scim2_models import User as AnyUser

from scim.protocol import entra, patch
from scim.protocol.binding import element_matches
from scim.protocol.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    MutabilityViolation,
    NoTarget,
)
from scim.protocol.schema import Attribute
from scim.protocol.target import Target, locate
from scim.protocol.validation import Changed, defaulted, normalise
from tests.unit.payloads import USER, bodies, json_values, values_of

BAD_REQUEST = (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    MutabilityViolation,
    NoTarget,
)

resources = bodies(USER).map(
    lambda body: {**defaulted(USER, normalise(USER, body).resource), "id": "u1"}
)

type Operation = dict[str, Any]


def targets() -> list[tuple[str, Attribute]]:
    """Every path without a filter that can be written, and the attribute that it leads to."""
    found: list[tuple[str, Attribute]] = []
    for schema in USER.schemas:
        prefix = "" if schema is USER.schema else f"{schema.id}:"
        for attribute in schema.attributes.values():
            path = f"{prefix}{attribute.name}"
            found.append((path, attribute))
            found.extend((f"{path}.{sub.name}", sub) for sub in attribute.sub_attributes.values())
    return [(path, attribute) for path, attribute in found if path.split(".")[0] != "groups"]


TARGETS = targets()
SELECTABLE = [
    (path, attribute)
    for path, attribute in TARGETS
    if attribute.multi_valued and attribute.type == "complex"
]
LITERALS = {
    "boolean": st.sampled_from(["true", '"True"', "null"]),
    "dateTime": st.just('"2026-01-31T08:00:00Z"'),
}
texts_in_filters = st.sampled_from(['"work"', '"a"', '""', "null"])


@st.composite
def selections(draw: st.DrawFn) -> tuple[str, Attribute]:
    """A path with a filter on elements that may be there, and the attribute that it leads to."""
    path, attribute = draw(st.sampled_from(SELECTABLE))
    subs = [sub for sub in attribute.sub_attributes.values() if sub.returned != "never"]
    comparisons = []
    for sub in draw(st.lists(st.sampled_from(subs), min_size=1, max_size=2)):
        operator = draw(st.sampled_from(["eq", "eq", "eq", "ne"]))
        literal = draw(LITERALS.get(sub.type, texts_in_filters))
        comparisons.append(
            draw(st.sampled_from([f"{sub.name} {operator} {literal}", f"{sub.name} pr"]))
        )
    filter = draw(st.sampled_from([" and ", " or "])).join(comparisons)
    chosen = draw(st.sampled_from([None, *subs]))
    return (
        (f"{path}[{filter}].{chosen.name}", chosen) if chosen else (f"{path}[{filter}]", attribute)
    )


@st.composite
def operations_with(draw: st.DrawFn, *verbs: str) -> Operation:
    """An operation on any path, with a value that mostly fits."""
    path, attribute = draw(st.sampled_from(TARGETS) | selections())
    operation: Operation = {"op": draw(st.sampled_from(verbs)), "path": path}
    if operation["op"] != "remove" or draw(st.booleans()):
        operation["value"] = draw(st.one_of(*[values_of(attribute)] * 9, json_values))
    return operation


any_operation = operations_with("add", "replace", "remove")


def apply(resource: dict[str, Any], *operations: Operation) -> Changed:
    note(f"{operations}")
    return patch.apply(USER, resource, entra.operations({"Operations": list(operations)}))


def changed(resource: dict[str, Any], *operations: Operation) -> dict[str, Any]:
    """The changed resource; another example where the operations are refused."""
    try:
        return apply(resource, *operations).resource
    except BAD_REQUEST:
        assume(False)
        raise


@given(resources, st.lists(any_operation, min_size=1, max_size=4))
def test_operations_give_a_canonical_resource_or_an_error_and_touch_nothing(
    resource: dict[str, Any], operations: list[Operation]
) -> None:
    before = copy.deepcopy(resource)
    with contextlib.suppress(*BAD_REQUEST):
        after, names, _ = apply(resource, *operations)
        assert {**normalise(USER, after).resource, "id": "u1"} == after
        assert (after == before) == (not names)
        for value in after.values():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                assert sum(element.get("primary") is True for element in value) <= 1
    assert resource == before


def test_half_a_surrogate_pair_for_several_elements_is_refused_by_name() -> None:
    photos = [{"value": "https://example.com/a"}, {"value": "https://example.com/b"}]
    with pytest.raises(InvalidValue, match=r"'photos\.value' is no valid Unicode text"):
        patch.apply(USER, {"photos": photos}, [entra.Operation("add", "photos.value", "\ud800")])


@given(resources, operations_with("replace"))
def test_replacing_twice_is_replacing_once(resource: dict[str, Any], operation: Operation) -> None:
    once = changed(resource, operation)
    with contextlib.suppress(NoTarget):  # where the new value left the filter's selection
        assert apply(once, operation).resource == once


@given(resources, operations_with("add", "remove"))
def test_a_repeated_request_changes_nothing_more(
    resource: dict[str, Any], operation: Operation
) -> None:
    once = changed(resource, operation)
    with contextlib.suppress(NoTarget):
        assert apply(once, operation).changed == ()


@given(resources, st.lists(any_operation, max_size=5))
def test_one_request_does_what_many_requests_do(
    resource: dict[str, Any], operations: list[Operation]
) -> None:
    accepted, one_by_one = [], resource
    for operation in operations:
        with contextlib.suppress(*BAD_REQUEST):
            one_by_one = apply(one_by_one, operation).resource
            accepted.append(operation)
    assume(accepted)
    assert apply(resource, *accepted).resource == one_by_one


@given(resources, st.data())
def test_adding_what_is_there_changes_nothing(
    resource: dict[str, Any], data: st.DataObject
) -> None:
    present = [
        (path, element)
        for path, attribute in TARGETS
        if attribute.multi_valued and not path.endswith(":desks.keys")
        for element in at(resource, path) or []
    ]
    assume(present)
    path, element = data.draw(st.sampled_from(present))
    assert apply(resource, {"op": "add", "path": path, "value": [element]}).resource is resource


@given(resources, st.sampled_from(TARGETS))
def test_what_is_removed_is_absent(resource: dict[str, Any], target: tuple[str, Attribute]) -> None:
    after = changed(resource, {"op": "remove", "path": target[0]})
    if target[0] == "active":  # nobody is without it
        assert after["active"] is resource["active"]
    else:
        assert at(after, target[0]) in (None, [])


@given(resources, selections())
def test_no_element_that_was_removed_is_selected(
    resource: dict[str, Any], selection: tuple[str, Attribute]
) -> None:
    path = selection[0]
    assume(path.endswith("]"))
    after = changed(resource, {"op": "remove", "path": path})
    target = locate(USER, path)
    assert isinstance(target, Target)
    assert target.condition is not None
    rest = at(after, path.partition("[")[0]) or []
    assert not any(element_matches(target.attribute, target.condition, e) for e in rest)


def at(resource: dict[str, Any], path: str) -> Any:
    """The value at a path without a filter; of elements, the values that they have."""
    target = locate(USER, path)
    assert isinstance(target, Target)
    value: Any = resource
    for key in target.keys:
        value = value.get(key, {})
    if target.sub is None:
        return value or None
    elements = value if isinstance(value, list) else [value]
    return [element[target.sub.name] for element in elements if target.sub.name in element]


def operation(verbs: str, path: st.SearchStrategy[str], value: Any) -> Any:
    return st.fixed_dictionaries(
        {"op": st.sampled_from(verbs.split()), "path": path, "value": value}
    )


texts = st.sampled_from(["a", "B", "work", "x@example.com"])
kinds = st.sampled_from(["work", "home"])
mails = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["work", "home", "other"]),
        "value": st.sampled_from(["a@example.com", "b@example.com"]),
    }
)
common_ground = st.one_of(
    operation(
        "add replace remove",
        st.sampled_from(["displayName", "title", "name.givenName", "NAME.familyName", "nickName"]),
        texts,
    ),
    operation(
        "add replace",
        st.just("name"),
        st.dictionaries(
            st.sampled_from(["givenName", "familyName", "formatted"]), texts, min_size=1
        ),
    ),
    operation(
        "replace",
        st.just("emails"),
        st.lists(mails, max_size=3, unique_by=lambda mail: (mail["type"], mail["value"])),
    ),
    operation("add replace", kinds.map('emails[type eq "{}"].display'.format), texts),
    operation("replace", st.just('emails[type eq "work" and value pr].display'), texts),
    operation("remove", kinds.map('emails[type eq "{}"]'.format), st.none()),
)
POLICY = ScimPolicy(unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create)


def without_value(operation: Operation) -> Operation:
    """`remove` as RFC 7644 has it."""
    if operation["op"] != "remove":
        return operation
    return {name: value for name, value in operation.items() if name != "value"}


@given(st.lists(common_ground.map(without_value), min_size=1, max_size=5))
def test_an_independent_implementation_agrees(operations: list[Operation]) -> None:
    resource = {
        "schemas": [USER.schema.id],
        "id": "u1",
        "userName": "bjensen",
        "active": True,
        "name": {"givenName": "Barbara"},
        "emails": [{"type": "work", "value": "b@example.com", "primary": True}],
    }
    reference: AnyUser[Any] = AnyUser.model_validate(resource)
    message = {"schemas": [entra.PATCH_OP], "Operations": operations}
    try:
        PatchOp[AnyUser[Any]].model_validate(message).patch(reference, POLICY)
    except Exception as error:  # noqa: BLE001 - whatever it raises, it refuses
        note(f"refused there: {error}")
        with pytest.raises(BAD_REQUEST):
            apply(resource, *operations)
    else:
        expected = reference.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert apply(resource, *operations).resource == expected
