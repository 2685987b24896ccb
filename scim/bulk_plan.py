"""In which order the operations of a bulk request run (RFC 7644 sections 3.7 and 3.7.1). Pure.

In that of the request, but an operation waits for those that create what it refers to, and for
those before it on the same resource. POSTs that wait for each other in a circle are broken up:
one of them creates its resource without the references that are not there yet, and adds them as
soon as they are.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

from scim.bulk_message import BulkOperation


@dataclass(frozen=True, slots=True)
class Step:
    """The turn of an operation. One that leaves out references has a second turn, which
    `completes` it by adding them."""

    operation: BulkOperation
    left_out: frozenset[str] = frozenset()
    completes: bool = False


type _Event = tuple[Literal["created"], str] | tuple[Literal["done"], int]
"""The resource with this bulkId was created (or could not be); the operation at this position is
done with."""


def plan(operations: Sequence[BulkOperation]) -> list[Step]:
    """The steps in the order in which they run; `operations` are in order of their positions."""
    return list(_Planner(operations).steps())


class _Planner:
    def __init__(self, operations: Sequence[BulkOperation]) -> None:
        self._operations = operations
        self._creators = {o.creates: o.position for o in operations if o.creates is not None}
        self._awaited = self._events()
        self._waiting: dict[_Event, list[int]] = {}
        for position, events in enumerate(self._awaited):
            for event in events:
                self._waiting.setdefault(event, []).append(position)
        self._ready = [position for position, events in enumerate(self._awaited) if not events]

    def _events(self) -> list[dict[_Event, None]]:
        """What each operation waits for, in an order that is always the same."""
        awaited: list[dict[_Event, None]] = []
        last: dict[tuple[str | None, str | None], int] = {}
        for operation in self._operations:
            events: dict[_Event, None] = {
                ("created", bulk_id): None
                for bulk_id in sorted(operation.references)
                if bulk_id in self._creators
            }
            if operation.method != "POST":
                resource = operation.id, operation.id_reference
                before = last.get(resource, self._creators.get(operation.id_reference or ""))
                if before is not None:
                    events["done", before] = None
                last[resource] = operation.position
            awaited.append(events)
        return awaited

    def steps(self) -> Iterator[Step]:
        left_out: dict[int, frozenset[str]] = {}
        remaining = len(self._operations)
        while remaining:
            if not self._ready:
                position = self._in_a_circle(left_out)
                operation = self._operations[position]
                left_out[position] = frozenset(str(event[1]) for event in self._awaited[position])
                yield Step(operation, left_out[position])
                self._created(operation)
                continue
            position = heappop(self._ready)
            operation = self._operations[position]
            remaining -= 1
            if position in left_out:
                yield Step(operation, left_out[position], completes=True)
            else:
                yield Step(operation)
                self._created(operation)
            self._happened(("done", position))

    def _created(self, operation: BulkOperation) -> None:
        if operation.creates is not None:
            self._happened(("created", operation.creates))

    def _happened(self, event: _Event) -> None:
        for position in self._waiting.pop(event, ()):
            del self._awaited[position][event]
            if not self._awaited[position]:
                heappush(self._ready, position)

    def _in_a_circle(self, begun: Collection[int]) -> int:
        """The first POST of a circle, when everything that remains waits.

        Whoever waits leads to a circle in the end. It is one of POSTs that have not begun: what
        is created keeps no POST waiting, and what is no POST keeps none waiting.
        """
        position = next(p for p, events in enumerate(self._awaited) if events and p not in begun)
        way: dict[int, None] = {}
        while position not in way:
            way[position] = None
            kind, value = next(iter(self._awaited[position]))
            position = self._creators[str(value)] if kind == "created" else int(value)
        passed = list(way)
        return min(passed[passed.index(position) :])
