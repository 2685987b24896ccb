"""A server that is measured, whichever it is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from laptop.bench.operations import Case


async def _at_once() -> None:
    """Nothing is left to do after an answer."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server: its process, the operations by name, and what a reader must know of it.
    `settle` waits until all is done that the requests caused."""

    name: str
    pid: int
    cases: Mapping[str, Case]
    note: str
    settle: Callable[[], Awaitable[None]] = _at_once
