"""A server that is measured."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from laptop.bench.operations import Case


async def _at_once() -> None:
    """For a server that has nothing left to do after an answer."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server: its process, the operations by name, and a note for readers. `settle` waits
    until all work that the requests caused is done."""

    name: str
    pid: int
    cases: Mapping[str, Case]
    note: str
    settle: Callable[[], Awaitable[None]] = _at_once
