"""The order in which the operations of a bulk request run (RFC 7644 sections 3.7 and 3.7.1). Pure.

It is the order of the request, but an operation waits for those that create what it refers to, and
for those before it on the same resource. POSTs that refer to each other in a circle do not wait for
each other: one creates its resource without the references whose targets do not exist yet, and adds
them as soon as they do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

from scim.bulk.message import BulkOperation


@dataclass(frozen=True, slots=True)
class Step:
    """The turn of an operation. One that leaves out references has a second turn, which
    `completes` it by adding them."""

    operation: BulkOperation
    left_out: frozenset[str] = frozenset()
    completes: bool = False


type _Event = tuple[Literal["created"], str] | tuple[Literal["done"], int]
"""The resource of this bulkId was created (or could not be); the operation at this position has had
all its turns."""


def plan(operations: Sequence[BulkOperation]) -> list[Step]:
    """The steps in the order in which they run; `operations` are in order of their positions."""
    return list(_Planner(operations).steps())


class _Planner:
    def __init__(self, operations: Sequence[BulkOperation]) -> None:
        self._operations = operations
        self._creators = {o.creates: o.position for o in operations if o.creates is not None}
        self._circle = circles([self._links(operation) for operation in operations])
        self._past: set[_Event] = set()
        self._awaited: dict[int, int] = {}
        """Position → how many events it still waits for."""
        self._waiting: dict[_Event, list[int]] = {}
        self._ready: list[int] = []
        """Positions, a heap."""

    def steps(self) -> Iterator[Step]:
        last: dict[tuple[str | None, str | None], int] = {}
        for operation in self._operations:
            self._wait(operation.position, self._needs(operation, last))
        left_out: dict[int, frozenset[str]] = {}
        while self._ready:
            position = heappop(self._ready)
            operation = self._operations[position]
            if position in left_out:
                yield Step(operation, left_out[position], completes=True)
            else:
                missing = frozenset(self._missing(operation))
                yield Step(operation, missing)
                if operation.creates is not None:
                    self._happened(("created", operation.creates))
                if missing:
                    left_out[position] = missing
                    self._wait(position, [("created", bulk_id) for bulk_id in missing])
                    continue
            self._happened(("done", position))

    def _links(self, operation: BulkOperation) -> list[int]:
        """The POSTs that a POST refers to."""
        if operation.method != "POST":
            return []
        return [self._creators[b] for b in operation.references if b in self._creators]

    def _needs(
        self, operation: BulkOperation, last: dict[tuple[str | None, str | None], int]
    ) -> Iterator[_Event]:
        """What must have happened before the operation; `last` is by resource the position of
        the last operation on it so far."""
        for bulk_id in operation.references:
            if bulk_id in self._creators and not self._in_its_circle(operation, bulk_id):
                yield "created", bulk_id
        if operation.method != "POST":
            resource = operation.id, operation.id_reference
            before = last.get(resource, self._creators.get(operation.id_reference or ""))
            if before is not None:
                yield "done", before
            last[resource] = operation.position

    def _missing(self, operation: BulkOperation) -> Iterator[str]:
        """The references in a circle whose targets do not exist yet."""
        for bulk_id in operation.references & self._creators.keys():
            if self._in_its_circle(operation, bulk_id) and ("created", bulk_id) not in self._past:
                yield bulk_id

    def _in_its_circle(self, operation: BulkOperation, bulk_id: str) -> bool:
        creator = self._circle[self._creators[bulk_id]]
        return operation.method == "POST" and self._circle[operation.position] == creator

    def _wait(self, position: int, events: Iterable[_Event]) -> None:
        awaited = [event for event in events if event not in self._past]
        for event in awaited:
            self._waiting.setdefault(event, []).append(position)
        self._awaited[position] = len(awaited)
        if not awaited:
            heappush(self._ready, position)

    def _happened(self, event: _Event) -> None:
        self._past.add(event)
        for position in self._waiting.pop(event, ()):
            self._awaited[position] -= 1
            if not self._awaited[position]:
                heappush(self._ready, position)


def circles(links: Sequence[Sequence[int]]) -> dict[int, int]:
    """Node → a node that represents its circle: the strongly connected component, all nodes that
    lead to each other (Gabow's path-based algorithm, without recursion). `links` has, for each
    node, the nodes that it leads to."""
    number: dict[int, int] = {}
    circle: dict[int, int] = {}
    unassigned: list[int] = []
    path: list[int] = []
    for start in range(len(links)):
        walk = [start] if start not in number else []
        rest: dict[int, Iterator[int]] = {}
        while walk:
            node = walk[-1]
            if node not in number:
                number[node] = len(number)
                unassigned.append(node)
                path.append(node)
                rest[node] = iter(links[node])
            for linked in rest[node]:
                if linked not in number:
                    walk.append(linked)
                    break
                while linked not in circle and number[path[-1]] > number[linked]:
                    path.pop()
            else:
                walk.pop()
                if path[-1] == node:
                    path.pop()
                    while node not in circle:
                        circle[unassigned.pop()] = node
    return circle
