"""A policy: something that must hold of infra/, and the changes under which it must be seen to
fail. A policy that no change can break asserts nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.infra.bicep import Infra


@dataclass(frozen=True, slots=True)
class Change:
    """In `file`, the first `old` becomes `new`."""

    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}: {self.new.strip() or 'without ' + self.old.strip()}"[:60]


@dataclass(frozen=True, slots=True)
class Policy:
    """`problems` says what is wrong and where, to the person who will mend it."""

    problems: Callable[[Infra], Iterator[str]]
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return self.problems.__name__


def policy(
    *changes: Change,
) -> Callable[[Callable[[Infra], Iterator[str]]], Policy]:
    """Make a policy of a function that yields problems."""
    return lambda problems: Policy(problems, changes)
