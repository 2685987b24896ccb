"""A customer's directory in memory: people, groups, and their daily changes."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

GIVEN = (
    "Ada Bo Chen Dana Elif Femi Greta Hugo Ines Jonas Kaya Lars Mei Nora Omar Pia Quentin Rosa "
    "Samir Tove Uma Viktor Wanda Ximena Yusuf Zoe"
).split()
FAMILY = (
    "Andersen Bauer Costa Dubois Eriksen Fischer Garcia Hansen Ivanova Jensen Kowalski Larsen "
    "Moreau Nielsen Okafor Petersen Quist Rossi Schmidt Tanaka Ueda Vargas Weber Xu Yilmaz Zhang"
).split()
DEPARTMENTS = (
    "Sales Finance Legal Support Research Design Facilities Reception Marketing Security Logistics "
    "Training"
).split()


@dataclass(slots=True)
class Person:
    """A user object in the directory; Entra ID sends `object_id` as externalId."""

    object_id: str
    user_name: str
    given_name: str
    family_name: str
    active: bool = True

    @property
    def display_name(self) -> str:
        """The name in address books."""
        return f"{self.given_name} {self.family_name}"


@dataclass(slots=True)
class Team:
    """A security group with its direct members (object ids)."""

    object_id: str
    display_name: str
    members: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one person in the directory."""

    kind: str
    """`joiner`, `mover` or `leaver`."""
    person: Person
    joined: Sequence[Team] = ()
    left: Sequence[Team] = ()


class Organisation:
    """People and teams; the seed determines everything random."""

    def __init__(self, users: int, groups: int, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret is made of it
        self.tag = f"{self._random.getrandbits(24):06x}"
        self.people: dict[str, Person] = {}
        self.teams = [self._team(number) for number in range(groups)]
        for _ in range(users):
            self._hire()

    def day(self, changes: int) -> list[Change]:
        """One cycle's joiners, movers and leavers."""
        kinds = self._random.choices(("joiner", "mover", "leaver"), (3, 5, 2), k=changes)
        return [change for kind in kinds if (change := self._change(kind))]

    def teams_of(self, person: Person) -> list[Team]:
        """The teams that a person is in."""
        return [team for team in self.teams if person.object_id in team.members]

    def _change(self, kind: str) -> Change | None:
        if kind == "joiner":
            person = self._hire()
            return Change(kind, person, joined=self.teams_of(person))
        staff = [person for person in self.people.values() if person.active]
        if not staff:
            return None
        person = self._random.choice(staff)
        if kind == "leaver":
            person.active = False
            return Change(kind, person)
        left = self._random.sample(self.teams_of(person), min(1, len(self.teams_of(person))))
        others = [team for team in self.teams if person.object_id not in team.members]
        joined = self._random.sample(others, min(1, len(others)))
        for team in left:
            team.members.discard(person.object_id)
        for team in joined:
            team.members.add(person.object_id)
        return Change(kind, person, joined=joined, left=left)

    def _hire(self) -> Person:
        given, family = self._random.choice(GIVEN), self._random.choice(FAMILY)
        number = len(self.people) + 1
        person = Person(
            self._guid(), f"{given}.{family}.{number}@{self.tag}.example".lower(), given, family
        )
        self.people[person.object_id] = person
        for team in self._random.sample(self.teams, min(len(self.teams), number % 3 + 1)):
            team.members.add(person.object_id)
        return person

    def _team(self, number: int) -> Team:
        name = DEPARTMENTS[number % len(DEPARTMENTS)]
        suffix = f" {number // len(DEPARTMENTS) + 1}" if number >= len(DEPARTMENTS) else ""
        return Team(self._guid(), f"{name}{suffix} ({self.tag})")

    def _guid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
