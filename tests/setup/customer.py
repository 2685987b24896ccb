"""A customer's directory and a Graph's clock, both made and moved by hand."""

import uuid

from laptop.graph.clock import Clock
from laptop.graph.directory import Account, Directory, Group


class Customer(Directory):
    """The directory of a customer whose people and groups a test names."""

    def account(self, name: str, *, mail: bool = True) -> Account:
        """A new account: a person, or without mail a room."""
        address = f"{name}@example.com"
        made = Account(str(uuid.uuid4()), address, address if mail else None, name.title(), "Ek")
        self.accounts[made.id] = made
        return made

    def group(self, name: str, *members: Account | Group) -> Group:
        """A new group."""
        made = Group(str(uuid.uuid4()), name, [member.id for member in members])
        self.groups[made.id] = made
        return made


class StandingClock(Clock):
    """It stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__(speed=0.0)
        self._seconds = 0.0

    def now(self) -> float:
        return self._seconds

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self._seconds += seconds
