"""The order of a bulk request's operations: RFC 7644 sections 3.7 and 3.7.1."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim.bulk.message import BulkOperation
from scim.bulk.plan import Step, circles, plan


def post(position: int, bulk_id: str, *references: str) -> BulkOperation:
    return BulkOperation(
        position, "POST", "/Groups", bulk_id, endpoint="/Groups", references=frozenset(references)
    )


def patch(position: int, id: str, *references: str) -> BulkOperation:
    """On the resource `id`, or on the one that the bulkId after a colon names."""
    known, _, bulk_id = id.partition(":")
    return BulkOperation(
        position,
        "PATCH",
        f"/Groups/{id}",
        endpoint="/Groups",
        id=known or None,
        id_reference=bulk_id or None,
        references=frozenset(references),
    )


def shown(steps: list[Step]) -> list[str]:
    """Position of each step; `-` before what it leaves out, `+` before what it adds then."""
    return [
        f"{step.operation.position}"
        + "".join(f"{'+' if step.completes else '-'}{b}" for b in sorted(step.left_out))
        for step in steps
    ]


@pytest.mark.parametrize(
    ("operations", "order"),
    [
        pytest.param([post(0, "a"), post(1, "b", "a"), patch(2, "x")], ["0", "1", "2"], id="as is"),
        pytest.param([post(0, "a", "b"), patch(1, "x"), post(2, "b")], ["1", "2", "0"], id="waits"),
        pytest.param(
            [post(0, "a", "b"), post(1, "b", "c"), post(2, "c")], ["2", "1", "0"], id="chain"
        ),
        pytest.param(
            [patch(0, "x", "a"), patch(1, "x"), patch(2, "y"), post(3, "a")],
            ["2", "3", "0", "1"],
            id="order on one resource",
        ),
        pytest.param(
            [patch(0, ":a"), patch(1, ":a", "b"), post(2, "a"), post(3, "b")],
            ["2", "0", "3", "1"],
            id="a path with bulkId",
        ),
        pytest.param([post(0, "a", "a"), post(1, "b")], ["0-a", "0+a", "1"], id="itself"),
        pytest.param(
            [post(0, "a", "b"), post(1, "b", "a")], ["0-b", "1", "0+b"], id="RFC 7644 3.7.1"
        ),
        pytest.param(
            [post(0, "a", "b"), patch(1, ":a"), post(2, "b", "a")],
            ["0-b", "2", "0+b", "1"],
            id="who changes it waits until it is complete",
        ),
        pytest.param(
            [post(0, "z", "a"), post(1, "a", "b"), post(2, "b", "a")],
            ["1-b", "0", "2", "1+b"],
            id="who only refers to a circle leaves nothing out",
        ),
        pytest.param(
            [post(0, "a", "b", "d"), post(1, "b", "a"), post(2, "d")],
            ["1-a", "2", "0", "1+a"],
            id="a circle waits for what is outside of it",
        ),
        pytest.param([post(0, "a", "nobody")], ["0"], id="an unknown bulkId"),
    ],
)
def test_the_order(operations: list[BulkOperation], order: list[str]) -> None:
    assert shown(plan(operations)) == order


@st.composite
def bulks(draw: st.DrawFn) -> list[BulkOperation]:
    """Operations that refer to each other in any way."""
    size = draw(st.integers(1, 9))
    bulk_ids = [f"b{i}" for i in range(size)]
    some = st.lists(st.sampled_from([*bulk_ids, "unknown"]), max_size=3)
    resources = st.sampled_from(["x", "y", *(f":{b}" for b in bulk_ids)])
    return [
        post(i, f"b{i}", *draw(some))
        if draw(st.booleans())
        else patch(i, draw(resources), *draw(some))
        for i in range(size)
    ]


def leads_to(links: dict[int, set[int]], start: int) -> set[int]:
    """Everything that can be reached from a node, by one link at least."""
    found: set[int] = set()
    more = set(links[start])
    while more:
        node = more.pop()
        if node not in found:
            found.add(node)
            more |= links[node]
    return found


def creators(operations: list[BulkOperation]) -> dict[str, int]:
    return {o.creates: o.position for o in operations if o.creates is not None}


@given(bulks())
def test_every_operation_has_its_turn(operations: list[BulkOperation]) -> None:
    """Once, and a second time where it left something out."""
    steps = plan(operations)
    first = [step for step in steps if not step.completes]
    second = [step for step in steps if step.completes]
    assert sorted(step.operation.position for step in first) == list(range(len(operations)))
    owed = {step.operation.position: step.left_out for step in first if step.left_out}
    assert {step.operation.position: step.left_out for step in second} == owed
    assert len(second) == len(owed)


@given(bulks())
def test_a_step_comes_after_what_it_needs(operations: list[BulkOperation]) -> None:
    posts = creators(operations)
    created: set[str] = set()
    through: set[int] = set()
    for step in plan(operations):
        operation = step.operation
        needed = operation.references if step.completes else operation.references - step.left_out
        assert {bulk_id for bulk_id in needed if bulk_id in posts} <= created
        if operation.id_reference in posts:
            assert posts[operation.id_reference] in through
        if operation.creates:
            created.add(operation.creates)
        if step.completes or not step.left_out:
            through.add(operation.position)


@given(bulks())
def test_operations_on_one_resource_keep_their_order(operations: list[BulkOperation]) -> None:
    order = [step.operation for step in plan(operations) if step.operation.method != "POST"]
    for resource in {(o.id, o.id_reference) for o in order}:
        positions = [o.position for o in order if (o.id, o.id_reference) == resource]
        assert all(one < other for one, other in pairwise(positions))


@given(bulks())
def test_only_what_leads_back_is_left_out(operations: list[BulkOperation]) -> None:
    posts = creators(operations)
    links = {
        o.position: {posts[b] for b in o.references if b in posts and o.method == "POST"}
        for o in operations
    }
    for step in plan(operations):
        for bulk_id in step.left_out:
            assert step.operation.position in leads_to(links, posts[bulk_id])


@given(bulks())
def test_without_a_reference_forward_the_order_is_that_of_the_request(
    operations: list[BulkOperation],
) -> None:
    posts = creators(operations)
    backward = [
        o
        for o in operations
        if all(posts.get(b, -1) < o.position for b in {*o.references, o.id_reference or ""})
    ]
    renumbered = [
        BulkOperation(
            i, o.method, o.path, o.bulk_id, id=o.id, id_reference=o.id_reference,
            endpoint=o.endpoint, references=o.references,
        )
        for i, o in enumerate(backward)
    ]  # fmt: skip
    assert plan(renumbered) == [Step(operation) for operation in renumbered]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=10, max_size=10))
def test_two_nodes_share_a_circle_where_each_leads_to_the_other(links: list[list[int]]) -> None:
    reached = {node: leads_to(dict(enumerate(map(set, links))), node) for node in range(10)}
    circle = circles(links)
    for one in range(10):
        for other in range(10):
            together = one == other or (other in reached[one] and one in reached[other])
            assert (circle[one] == circle[other]) == together


def test_a_long_chain_is_no_recursion() -> None:
    links = [[node + 1] for node in range(5000)] + [[0]]
    assert len(set(circles(links).values())) == 1
