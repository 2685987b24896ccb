"""A whole cycle: the initial synchronisation, then days of joiners, movers and leavers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress

from laptop.simulation.checking import Checking, Expected
from laptop.simulation.organisation import Change, Organisation, Person, Team
from laptop.simulation.provisioning import Provisioning

PATIENCE_SECONDS = 60.0
"""How long access may take to become as expected."""

type Entitlements = frozenset[tuple[str, str]]
type MapTeams = Callable[[Sequence[tuple[Team, str]]], Awaitable[Mapping[str, Entitlements]]]
"""Maps teams, each with its SCIM id; returns object id → (kind, key) pairs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One person's access at the end. `access` is None where it never became as expected."""

    person: Person
    teams: tuple[str, ...]
    access: dict[str, Any] | None
    expected: Expected


@dataclass
class Play:
    """One simulated customer against one Muster."""

    organisation: Organisation
    provisioning: Provisioning
    checking: Checking
    progress: Progress
    entitlements: Mapping[str, Entitlements] | None = None
    """Object id of a team → its mapped entitlements; None where the mappings are unknown."""

    async def initial_cycle(self, map_teams: MapTeams | None) -> None:
        """Test the connection, then send users, groups and, after the mapping, memberships."""
        await self.provisioning.test_connection()
        people = list(self.organisation.people.values())
        teams = self.organisation.teams
        await self._each("Users", people, self.provisioning.provision_user)
        await self._each("Groups", teams, self.provisioning.provision_group)
        if map_teams:
            links = self.provisioning.links
            self.entitlements = await map_teams([(t, links[t.object_id]) for t in teams])
        await self._each("Memberships", teams, self._fill)

    async def day(self, number: int, changes: int) -> None:
        """Play one incremental cycle."""
        by_person: dict[str, list[Change]] = {}
        for change in self.organisation.day(changes):
            by_person.setdefault(change.person.object_id, []).append(change)
        await self._each(f"Cycle {number}", by_person.values(), self._apply)

    async def outcomes(self) -> list[Outcome]:
        """Everybody's access, after waiting until it is as expected."""
        people = list(self.organisation.people.values())
        found: list[Outcome] = []

        async def check(person: Person) -> None:
            expected = self._expected(person)
            link = self.provisioning.links[person.object_id]
            access = await self.checking.wait(link, expected, PATIENCE_SECONDS)
            teams = tuple(team.display_name for team in self.organisation.teams_of(person))
            found.append(Outcome(person, teams, access, expected))

        await self._each("Checking access", people, check)
        return sorted(found, key=lambda outcome: outcome.person.user_name)

    async def _fill(self, team: Team) -> None:
        people = [self.organisation.people[member] for member in sorted(team.members)]
        await self.provisioning.add_members(team, people)

    async def _apply(self, changes: Sequence[Change]) -> None:
        """Send one person's changes in order. Those of different people are sent concurrently, so
        that groups are patched in parallel."""
        person = changes[0].person
        for change in changes:
            if change.kind == "joiner":
                await self.provisioning.provision_user(person)
            elif change.kind == "leaver":
                await self.provisioning.update_user(person)
            for team in change.joined:
                await self.provisioning.add_members(team, [person])
            for team in change.left:
                await self.provisioning.remove_members(team, [person])
        link = self.provisioning.links[person.object_id]
        await self.checking.watch(link, self._expected(person), PATIENCE_SECONDS)

    def _expected(self, person: Person) -> Expected:
        teams = self.organisation.teams_of(person)
        if not (person.active and teams):
            return Expected(enabled=False, grants=frozenset())
        if self.entitlements is None:
            return Expected(enabled=True)
        mapped = (self.entitlements[team.object_id] for team in teams)
        return Expected(enabled=True, grants=frozenset().union(*mapped))

    async def _each[T](
        self, what: str, items: Iterable[T], do: Callable[[T], Awaitable[None]]
    ) -> None:
        chosen = list(items)
        bar = self.progress.add_task(what, total=len(chosen))

        async def one(item: T) -> None:
            await do(item)
            self.progress.advance(bar)

        async with asyncio.TaskGroup() as group:
            for item in chosen:
                group.create_task(one(item))
